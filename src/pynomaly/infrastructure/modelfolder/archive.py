"""arrays.npz: equal arrays give equal bytes, and reading executes nothing."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.errors import IntegrityError

__all__ = ["read_arrays", "write_arrays"]

_NAME = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*\.npy")
_KINDS = "biuf"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold


def write_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return an .npz that ``numpy.load`` reads, with fixed order and timestamps."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            content = io.BytesIO()
            np.lib.format.write_array(
                content, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False
            )
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            entry.create_system = 3  # the same on every operating system
            archive.writestr(entry, content.getvalue())
    return buffer.getvalue()


def read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz made by :func:`write_arrays`.

    Raises:
        IntegrityError: Compressed, oddly named or repeated entries, or dtypes other than
            booleans, integers and floats.
    """
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                key = entry.filename.removesuffix(".npy")
                # Stored entries cannot be bombs: their size is bounded by the file's.
                if (
                    not _NAME.fullmatch(entry.filename)
                    or entry.compress_type != zipfile.ZIP_STORED
                    or key in arrays
                ):
                    raise IntegrityError(f"arrays.npz: entry {entry.filename!r} is not ours")
                data = io.BytesIO(archive.read(entry))
                array = np.lib.format.read_array(data, allow_pickle=False)
                if array.dtype.kind not in _KINDS or array.dtype.hasobject:
                    raise IntegrityError(f"arrays.npz: {key} has dtype {array.dtype}")
                arrays[key] = np.ascontiguousarray(array)
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise IntegrityError(f"arrays.npz cannot be read: {error}") from error
    return arrays
