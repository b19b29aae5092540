"""Ed25519 keys in PEM files (RFC 8032 signatures, RFC 8410 files)."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pynomaly.domain.errors import ConfigurationError, UsageError
from pynomaly.domain.evidence import key_fingerprint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["Ed25519Signatures", "Ed25519Signer"]

_FINGERPRINT = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE | re.ASCII)
_MOST_BYTES = 1 << 14


class Ed25519Signer:
    """Implements ``Signer`` (application/ports/evidence.py) with a key in a file.

    Args:
        path: PEM file of the private key, not encrypted.
        create: Make a new key where there is none; readable for its owner alone.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        self._path = path
        self._create = create

    def public_key(self) -> bytes:
        """Return the 32 bytes of the public key."""
        return self._key().public_key().public_bytes_raw()

    def public_pem(self) -> str:
        """Return the public key as the text of a PEM file."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        key = self._key().public_key()
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature."""
        return self._key().sign(message)

    def _key(self) -> Ed25519PrivateKey:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        if self._create and not self._path.exists():
            self._make()
        try:
            mode = self._path.stat().st_mode
            content = self._path.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"the signing key {self._path} cannot be read: {error.strerror}",
                hint="check evidence.signing_key (PYNOMALY_EVIDENCE__SIGNING_KEY)",
            ) from error
        if os.name == "posix" and mode & 0o007:
            raise ConfigurationError(
                f"the signing key {self._path} can be read or changed by anybody on this machine",
                hint=f"chmod 600 {self._path}; if others may have read it, make a new one",
            )
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigurationError(
                f"the signing key {self._path} is not an unencrypted PEM file: {error}",
                hint="make one: openssl genpkey -algorithm ed25519 -out FILE",
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(
                f"the signing key {self._path} is not an Ed25519 key",
                hint="make one: openssl genpkey -algorithm ed25519 -out FILE",
            )
        return key

    def _make(self) -> None:
        """Make a key; of several processes at once, the first one's stays."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        key = Ed25519PrivateKey.generate()
        content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                f.write(content)
                f.flush()
                os.fsync(f.fileno())
            with suppress(FileExistsError):
                os.link(draft, self._path)
        except OSError as error:
            raise ConfigurationError(
                f"no signing key can be made at {self._path}: {error.strerror}",
                hint="check the folder's permissions, or set evidence.signing_key",
            ) from error
        finally:
            draft.unlink(missing_ok=True)


class Ed25519Signatures:
    """Implements ``Signatures`` (application/ports/evidence.py)."""

    def holds(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether a signature fits."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def fingerprint(self, key: str) -> str:
        """Return the fingerprint of a key."""
        if given := _FINGERPRINT.fullmatch(key):
            return f"sha256:{given.group(1).lower()}"
        return key_fingerprint(_public_key(Path(key)))


def _public_key(path: Path) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    hint = "give the PEM file of an Ed25519 public key, or its fingerprint sha256:…"
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
        key = load_pem_public_key(content)
    except OSError as error:
        raise UsageError(f"the key {path} cannot be read: {error.strerror}", hint=hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is not a public key: {error}", hint=hint) from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path} is not an Ed25519 key", hint=hint)
    return key.public_bytes_raw()
