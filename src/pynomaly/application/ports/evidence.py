"""Bundles of evidence: where they are kept and who vouches for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["Bundles", "Signatures", "Signer"]


class Signer(Protocol):
    """Holds a private key."""

    def public_key(self) -> bytes:
        """Return the 32 bytes of the public key.

        Raises:
            ConfigurationError: The key cannot be used, or others can read it.
        """

    def public_pem(self) -> str:
        """Return the public key as the text of a PEM file; raises like :meth:`public_key`."""

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature; equal messages give equal ones.

        Raises:
            ConfigurationError: The key cannot be used, or others can read it.
        """


class Signatures(Protocol):
    """Checks signatures; knows no private key."""

    def holds(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` was made over ``message`` with the key's private half."""

    def fingerprint(self, key: str) -> str:
        """Return the fingerprint of a public key.

        Args:
            key: A fingerprint (``sha256:…``), or the path of a PEM file.

        Raises:
            UsageError: Neither.
        """


class Bundles(Protocol):
    """Files that hold the parts of a bundle."""

    def write(self, parts: Sequence[tuple[str, bytes]], path: Path, *, overwrite: bool) -> None:
        """Write parts in order; the file appears whole, and equal parts give equal bytes.

        Args:
            parts: Name and content of each.
            path: The file.
            overwrite: Replace another file that is there; one with these very bytes may stay.

        Raises:
            OutputExistsError: Another file is there.
            OutputNotWritableError: The folder refuses us.
        """

    def read(self, path: Path) -> list[tuple[str, bytes]]:
        """Return the parts in order; a file of anybody's making may be given.

        Raises:
            SourceNotFoundError: There is no such file.
            IntegrityError: A byte of it is not as :meth:`write` would have written it; names the
                part.
        """
