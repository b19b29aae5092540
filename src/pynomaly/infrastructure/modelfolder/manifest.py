"""MANIFEST.sha256: one ``sha256  name`` line per file, sorted by name."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from pathlib import Path

from pynomaly.domain.errors import IntegrityError

__all__ = ["MANIFEST", "digest", "manifest_bytes", "verified_files"]

MANIFEST = "MANIFEST.sha256"

_HINT = "fetch the folder from the registry again; if it still differs, retrain and release anew"


def digest(content: bytes) -> str:
    """Return the sha256 in hex."""
    return hashlib.sha256(content).hexdigest()


def manifest_bytes(files: Mapping[str, bytes]) -> bytes:
    """Return the manifest of some files."""
    return "".join(f"{digest(files[name])}  {name}\n" for name in sorted(files)).encode()


def verified_files(
    folder: Path, manifest_digest: str, limits: Mapping[str, int]
) -> dict[str, bytes]:
    """Read a folder whole and return its files' bytes after checking every one of them.

    The checked bytes are the returned bytes; nothing is read twice.

    Args:
        folder: To read.
        manifest_digest: What the manifest must hash to.
        limits: Exactly the files that must be there, with the largest size of each.

    Raises:
        IntegrityError: Anything differs.
    """
    _require(folder.is_dir() and not folder.is_symlink(), f"{folder} is not a model folder")
    found = {entry.name for entry in folder.iterdir()}
    expected = {*limits, MANIFEST}
    missing, extra = sorted(expected - found), sorted(found - expected)
    _require(not missing, f"{folder}: missing {', '.join(missing)}")
    _require(not extra, f"{folder}: unexpected {', '.join(extra)}")
    manifest = _read(folder / MANIFEST, 1 << 16)
    _require(
        digest(manifest) == manifest_digest,
        f"{folder / MANIFEST}: sha256 is {digest(manifest)}, recorded is {manifest_digest}",
    )
    files = {name: _read(folder / name, limit) for name, limit in limits.items()}
    _require(
        manifest == manifest_bytes(files),
        f"{folder}: "
        + ", ".join(name for name in sorted(files) if digest(files[name]).encode() not in manifest)
        + " differs from the manifest",
    )
    return files


def _read(path: Path, limit: int) -> bytes:
    status = path.lstat()
    _require(stat.S_ISREG(status.st_mode), f"{path}: not a regular file")
    _require(status.st_size <= limit, f"{path}: {status.st_size} bytes, {limit} are the most")
    return path.read_bytes()


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise IntegrityError(message, hint=_HINT)
