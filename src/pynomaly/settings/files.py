"""Writing a configuration file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from pynomaly.domain.errors import OutputExistsError, OutputNotWritableError

__all__ = ["write_text"]


def write_text(path: Path, text: str, *, overwrite: bool) -> None:
    """Write ``text`` so that a reader sees the old file or the new one, never a part.

    Args:
        path: Its folder is created.
        text: Written as UTF-8.
        overwrite: Whether an existing file may be replaced.

    Raises:
        OutputExistsError: The file exists and ``overwrite`` is false; its bytes are untouched.
        OutputNotWritableError: The folder refuses us.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _publish(partial, path, overwrite=overwrite)
    except OSError as error:
        raise OutputNotWritableError(
            f"{path} cannot be written: {error.strerror}",
            hint="choose a folder that you may write to",
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            partial.unlink()


def _publish(partial: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        partial.replace(path)
        return
    try:
        os.link(partial, path)  # unlike rename, fails if the file exists
    except FileExistsError as error:
        raise OutputExistsError(
            f"{path} exists and was left as it is", hint="replace it with --overwrite"
        ) from error
