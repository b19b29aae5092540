"""No output takes the place of another one, or of what is read."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from fnmatch import fnmatch
from itertools import combinations
from pathlib import Path, PurePath

from pynomaly.domain.errors import ConfigurationError

__all__ = ["refuse_shared_places"]

_SQLITE = "sqlite:///"


def refuse_shared_places(source: str, outputs: Mapping[str, str | None]) -> None:
    """Refuse outputs that would replace each other or their source, before anything is computed.

    Of a bucket only names are compared: nobody asks it which objects a prefix stands for.

    Args:
        source: Absolute path, folder or glob, or a URL.
        outputs: What users call an output → its absolute path or URL; None where nobody asked.

    Raises:
        ConfigurationError: Two of them are one file; both are named.
    """
    wanted = {name: place for name, place in outputs.items() if place is not None}
    for (one, first), (other, second) in combinations(wanted.items(), 2):
        if _same(first, second):
            raise ConfigurationError(
                f"{one} and {other} are the same file: {first}", hint="give each a name of its own"
            )
    for name, place in wanted.items():
        read = _read_there(source, place)
        if read is not None and not _same(read, place):
            raise ConfigurationError(
                f"{name} {place} lies within what is read: {read}",
                hint="write elsewhere: what is written there would be read the next time",
            )
        if read is not None:
            raise ConfigurationError(
                f"{name} {place} would replace what is read: {read}",
                hint="write elsewhere; what is read is never replaced",
            )


def _read_there(source: str, place: str) -> str | None:
    """Return the file or folder of a source that an output would replace or change."""
    if place == source.replace("postgresql+psycopg:", "postgresql:"):  # a table's one spelling
        return place
    path = source.removeprefix(_SQLITE)
    if _is_url(path) or _is_url(place):
        within = path.startswith("s3://") and _below(place, f"{path.rstrip('/')}/")
        return path if within or any(_found_by(path, w) for w in _written(place)) else None
    if Path(place).exists():
        same = next((file for file in _files(path) if _same(file, place)), None)
        if same is not None:
            return same
    really = (_without_links_above(place), os.path.realpath(place))
    if Path(path).is_dir():  # links to folders within are not followed
        folder = os.path.realpath(path)
        return path if any(_below(one, f"{folder}/") for one in really) else None
    for pattern in _reaching(path):
        for one in dict.fromkeys((place, *really)):
            if pattern == one or any(_found_by(pattern, written) for written in _written(one)):
                return path
    return None


def _reaching(pattern: str) -> list[str]:
    """Return a glob as written, and from the real folders that it reaches, by links perhaps."""
    above, name = os.path.split(pattern)
    if above.endswith("**"):  # also below folders that are not there yet
        name = f"**/{name}"
    folders = glob.glob(f"{above}/", recursive=True)  # noqa: PTH207  Path takes no absolute ones
    real = {os.path.realpath(folder) for folder in folders}
    return [pattern, *(f"{glob.escape(folder)}/{name}" for folder in sorted(real))]


def _without_links_above(place: str) -> str:
    """Return a place where it really is, even if it is a link to another one."""
    return str(Path(os.path.realpath(Path(place).parent), Path(place).name))


def _files(path: str) -> list[str]:
    """Return the files of a source on disk that are there already, some of them links."""
    if Path(path).is_dir():
        found = [str(Path(parent, name)) for parent, _, names in os.walk(path) for name in names]
        return [file for file in found if _below(file, f"{path}/")]
    # Path.glob takes no absolute patterns.
    return [path] if Path(path).exists() else glob.glob(path, recursive=True)  # noqa: PTH207


def _written(place: str) -> tuple[str, str]:
    """Return what a place is written to: itself, or files in it."""
    return place, f"{place}/0.parquet"


def _below(place: str, folder: str) -> bool:
    """Whether a place is a folder or lies in it, where sources look: not below hidden names.

    Pages are no data; a folder's report may lie in it.
    """
    names = f"{place}/".removeprefix(folder).split("/")
    unread = place.endswith(".html") or any(name.startswith((".", "_")) for name in names)
    return f"{place}/".startswith(folder) and not unread


def _found_by(pattern: str, place: str) -> bool:
    """Whether a glob finds a file that is not there yet."""
    if not glob.has_magic(pattern):
        return False
    # The stars of fnmatch cross folders, as only ** does, which also stands for no folder at all.
    everywhere = pattern.replace("**/", "")
    return fnmatch(place, everywhere) if everywhere != pattern else PurePath(place).match(pattern)


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    if _is_url(one) or _is_url(other):
        return False
    first, second = Path(one), Path(other)
    if first.exists() and second.exists():
        return first.samefile(second)  # also by links, and by names that differ in case alone
    return os.path.realpath(first) == os.path.realpath(second)


def _is_url(place: str) -> bool:
    return "://" in place
