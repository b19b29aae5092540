r"""A chain of digests over the parts of an evidence bundle, and what is signed of it.

Every link depends on the one before it, on the name of its part and on the part's bytes:

    link(0) = sha256("pynomaly evidence 1\n")
    link(i) = sha256(link(i-1) "\n" name(i) "\n" sha256(part(i)) "\n")

so the last one, the **head**, changes when any part is edited, added, removed, renamed or moved.
The head is what a bundle's signature covers.  Digests are written as 64 hex digits.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pynomaly.domain.errors import IntegrityError

__all__ = [
    "CHAIN",
    "FORMAT",
    "PART_NAME",
    "SIGNATURE",
    "SUBJECT",
    "Chain",
    "Link",
    "Signature",
    "Subject",
    "canonical_json",
    "chain_of",
    "key_fingerprint",
    "read_chain",
    "read_signature",
    "read_subject",
]

FORMAT = 1
"""Grows when a bundle would be read or verified in another way."""

CHAIN, SIGNATURE, SUBJECT = "chain.json", "signature.json", "bundle.json"

PART_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*", re.ASCII)
"""How parts are called: relative, and no folder or file is hidden or climbs out."""

_HINT = "do not rely on this bundle; ask for the original, and find out who changed it"
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Link:
    """One part in the chain.

    Args:
        name: Of the part.
        size: Of the part, in bytes.
        sha256: Of the part's bytes.
        link: Over the link before, the name and the digest.
    """

    name: str
    size: int
    sha256: str
    link: str


@dataclass(frozen=True, slots=True)
class Chain:
    """All parts of a bundle in order, chain and signature themselves excepted."""

    links: tuple[Link, ...]

    @property
    def head(self) -> str:
        """The last link."""
        return self.links[-1].link if self.links else _origin()

    @property
    def message(self) -> bytes:
        """What is signed: format and head, so that the signature fits nothing else."""
        return f"pynomaly evidence {FORMAT}\n{self.head}\n".encode()

    @property
    def document(self) -> bytes:
        """``chain.json``; there is one way to write a chain."""
        return canonical_json(
            {
                "format": FORMAT,
                "head": self.head,
                "parts": [asdict(link) for link in self.links],
            }
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """Who vouches for a head.

    Args:
        public_key: Ed25519 key, 32 bytes as hex.
        signature: Over :attr:`Chain.message`, 64 bytes as hex.
    """

    public_key: str
    signature: str

    @property
    def document(self) -> bytes:
        """``signature.json``; there is one way to write a signature."""
        return canonical_json({"algorithm": "Ed25519", **asdict(self)})


@dataclass(frozen=True, slots=True)
class Subject:
    """What a bundle is about, its first part.

    Args:
        pipeline: Registered model name.
        version: Of the model.
        manifest_digest: sha256 of the model folder's manifest.
        training_fingerprint: Content digest of the training snapshot.
        not_recorded: Facts that a bundle should hold and nobody kept, in words.
    """

    pipeline: str
    version: int
    manifest_digest: str
    training_fingerprint: str
    not_recorded: tuple[str, ...] = ()

    @property
    def document(self) -> bytes:
        """``bundle.json``."""
        return canonical_json({"format": FORMAT, **asdict(self)})


def chain_of(parts: Iterable[tuple[str, bytes]]) -> Chain:
    """Chain the parts of a bundle.

    >>> one = chain_of([("a.json", b"1"), ("b.json", b"2")])
    >>> other = chain_of([("b.json", b"2"), ("a.json", b"1")])
    >>> one.head == other.head
    False
    """
    links, link = [], _origin()
    for name, content in parts:
        digest = hashlib.sha256(content).hexdigest()
        link = _next(link, name, digest)
        links.append(Link(name, len(content), digest, link))
    return Chain(tuple(links))


def read_chain(content: bytes) -> Chain:
    """Return the chain in ``chain.json``.

    Raises:
        IntegrityError: It is no chain, or not byte for byte the one way to write it.
    """
    found = _read(CHAIN, content, {"format", "head", "parts"})
    links, link = [], _origin()
    for entry in found["parts"] if isinstance(found["parts"], list) else [None]:
        match entry:
            case {
                "name": str(name),
                "size": int(size),
                "sha256": str(digest),
                "link": str(told),
            } if type(size) is int:  # true, which equals 1, would be written as true again
                link = _next(link, name, digest)
            case _:
                raise _damaged(CHAIN, "lists something that is no part")
        if told != link or not PART_NAME.fullmatch(name):
            raise _damaged(CHAIN, f"the link of {name!r} does not follow from what precedes it")
        links.append(Link(name, size, digest, link))
    chain = Chain(tuple(links))
    _require_canonical(CHAIN, chain.document, content)
    return chain


def read_signature(content: bytes) -> Signature:
    """Return the signature in ``signature.json``; whether it holds is another question.

    Raises:
        IntegrityError: It is no signature, or not byte for byte the one way to write it.
    """
    found = _read(SIGNATURE, content, {"algorithm", "public_key", "signature"})
    for key, octets in (("public_key", 32), ("signature", 64)):
        value = found[key]
        if not (isinstance(value, str) and len(value) == 2 * octets and _HEX.fullmatch(value)):
            raise _damaged(SIGNATURE, f"{key} is not {octets} bytes in hex")
    signature = Signature(found["public_key"], found["signature"])
    _require_canonical(SIGNATURE, signature.document, content)
    return signature


def read_subject(content: bytes) -> Subject:
    """Return the subject in ``bundle.json``.

    Raises:
        IntegrityError: It is no subject.
    """
    match _read(SUBJECT, content, {"format", *Subject.__dataclass_fields__}):
        case {
            "pipeline": str(pipeline),
            "version": int(version),
            "manifest_digest": str(manifest),
            "training_fingerprint": str(fingerprint),
            "not_recorded": list(missing),
        } if all(isinstance(what, str) for what in missing):
            subject = Subject(pipeline, version, manifest, fingerprint, tuple(missing))
        case _:
            raise _damaged(SUBJECT, "does not say what the bundle is about")
    _require_canonical(SUBJECT, subject.document, content)
    return subject


def key_fingerprint(public_key: bytes) -> str:
    """Return what people compare keys by.

    >>> key_fingerprint(bytes(32))[:20]
    'sha256:66687aadf862b'
    """
    return f"sha256:{hashlib.sha256(public_key).hexdigest()}"


def canonical_json(document: Mapping[str, Any]) -> bytes:
    """Return JSON that is the same for equal documents: sorted keys, exact floats, ASCII.

    Raises:
        ValueError: A number is not finite.
    """
    return (json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def _origin() -> str:
    return hashlib.sha256(f"pynomaly evidence {FORMAT}\n".encode()).hexdigest()


def _next(link: str, name: str, digest: str) -> str:
    return hashlib.sha256(f"{link}\n{name}\n{digest}\n".encode()).hexdigest()


def _read(name: str, content: bytes, keys: set[str]) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(name, f"is not JSON: {error}") from error
    if not isinstance(found, dict) or found.keys() != keys:
        raise _damaged(name, f"must have exactly the keys {', '.join(sorted(keys))}")
    if found.get("format", FORMAT) != FORMAT:
        raise IntegrityError(
            f"{name}: the bundle has format {found['format']!r}, this pynomaly reads {FORMAT}",
            hint="verify it with the pynomaly version that made it",
        )
    return found


def _require_canonical(name: str, expected: bytes, found: bytes) -> None:
    if expected != found:
        raise _damaged(name, "is not written as Pynomaly writes it")


def _damaged(name: str, problem: str) -> IntegrityError:
    return IntegrityError(f"{name}: {problem}", hint=_HINT)
