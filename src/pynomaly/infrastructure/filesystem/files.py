"""Finds the files behind a path, folder or glob."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pynomaly.domain.errors import SourceNotFoundError

__all__ = ["LocalFile", "find_local_files", "local_file", "one_spelling"]


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on disk.

    Args:
        name: Relative to the folder of the source, with forward slashes.
        path: Where it is.
    """

    name: str
    path: Path

    @property
    def uri(self) -> str:
        """The path, for messages."""
        return str(self.path)

    @property
    def version(self) -> str:
        """Empty: nothing but its bytes tells one version from another."""
        return ""

    def open(self, wanted: Sequence[tuple[int, int]] = ()) -> BinaryIO:
        """Open for reading.

        Args:
            wanted: Makes no difference on disk.

        Raises:
            SourceNotFoundError: It vanished or may not be read.
        """
        try:
            return self.path.open("rb")
        except OSError as error:
            raise _unreadable(self.path, error) from error


def find_local_files(uri: str) -> tuple[LocalFile, ...]:
    """Return every file behind ``uri``, sorted by name.

    A folder is searched recursively; names that start with ``.`` or ``_`` (half-written files,
    ``_SUCCESS`` markers) are skipped.  What is found twice, by its own name and through a link
    (``latest.csv``), is one file.

    Args:
        uri: A file, folder or glob, relative to the working directory.

    Raises:
        SourceNotFoundError: Nothing is there, or it may not be read.
    """
    path = Path(uri).expanduser()
    try:
        if path.is_dir():
            found = [(_relative(p, path), p) for p in _walk(path)]
            if not found:
                raise SourceNotFoundError(
                    f"folder {uri} holds no files", hint="check the path, or add data files"
                )
        elif _is_file(path):
            found = [(_relative(path, path.parent), path)]
        elif path.exists():
            raise SourceNotFoundError(f"{uri} is neither a file nor a folder")
        elif glob.has_magic(uri):
            found = _glob(str(path))
            if not found:
                raise SourceNotFoundError(
                    f"no file matches {uri}",
                    hint="`*` stays within a folder; `**` descends into folders",
                )
        else:
            raise SourceNotFoundError(f"{uri} does not exist", hint=_suggest(path))
        files = _once(found)
    except OSError as error:
        raise _unreadable(path, error) from error
    return tuple(LocalFile(name, p) for name, p in sorted(files))


def local_file(name: str, path: str, size: int, version: str) -> LocalFile:
    """Return a file that was found before.

    Args:
        name: As it was called.
        path: Where it was.
        size: Makes no difference.
        version: Makes no difference.
    """
    return LocalFile(name, Path(path))


def one_spelling(uri: str) -> str:
    """Return the one spelling of all that lead to a file, folder or glob: absolute, without links.

    What has been scored is known by it, so another way to the same file must not be another file.
    """
    return os.path.realpath(Path(uri).expanduser())  # a link to itself is found missing later


def _once(found: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Leave out links to files that are found by another name, and all but the first link to one."""
    kept: dict[Path, tuple[str, Path]] = {}
    for name, path in sorted(found, key=lambda one: (one[1].is_symlink(), one[0])):
        kept.setdefault(Path(os.path.realpath(path)), (name, path))
    return list(kept.values())


def _walk(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise error

    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not _hidden(name)]
        found += [Path(parent, name) for name in names if not _hidden(name)]
    return [path for path in found if _is_file(path)]


def _glob(pattern: str) -> list[tuple[str, Path]]:
    literal = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        literal.append(part)
    root = Path(*literal)
    # Path.glob takes no absolute patterns.
    paths = [Path(p) for p in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    return [(_relative(p, root), p) for p in paths if not _hidden(p.name) and _is_file(p)]


def _is_file(path: Path) -> bool:
    """Whether it is a file, or a link that leads nowhere: opening it tells so, if it is data."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def _hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _suggest(path: Path) -> str:
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist either"
    names = [entry.name for entry in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=1)
    if near:
        return f"did you mean {path.parent / near[0]}?"
    return f"paths are relative to the working directory, {Path.cwd()}"


def _unreadable(path: Path, error: OSError) -> SourceNotFoundError:
    if isinstance(error, PermissionError):
        return SourceNotFoundError(
            f"access denied: {path}", hint="give the user who runs this read permission"
        )
    if path.is_symlink() and not path.exists():
        return SourceNotFoundError(
            f"{path} is a link to {path.readlink()}, which is not there",
            hint="bring back what it leads to, or remove the link",
        )
    return SourceNotFoundError(f"cannot read {path}: {error.strerror or error}")
