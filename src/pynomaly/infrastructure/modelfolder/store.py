"""Writes and reads model folders."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pynomaly.domain.datasets import EXPECTED_SCORE
from pynomaly.domain.errors import IntegrityError, OutputExistsError, OutputNotWritableError
from pynomaly.domain.models import Model
from pynomaly.infrastructure.modelfolder.archive import read_arrays, write_arrays
from pynomaly.infrastructure.modelfolder.document import from_document, to_document
from pynomaly.infrastructure.modelfolder.manifest import (
    MANIFEST,
    digest,
    manifest_bytes,
    verified_files,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FolderModelStore"]

_DOCUMENT, _ARRAYS, _GOLDEN = "model.json", "arrays.npz", "golden.parquet"
_MIB = 1 << 20
_LIMITS = {_DOCUMENT: 64 * _MIB, _ARRAYS: 1_024 * _MIB, _GOLDEN: 64 * _MIB}


class FolderModelStore:
    """Implements the ``ModelStore`` port on local folders."""

    def save(self, model: Model, golden: pa.Table, folder: Path) -> str:
        """Write a folder that appears complete or not at all; see the port.

        Equal models with equal golden rows give equal bytes and so equal digests.

        Raises:
            OutputExistsError: The folder is there already.
            OutputNotWritableError: Its parent refuses us.
        """
        document, arrays = to_document(model)
        files = {
            _DOCUMENT: document,
            _ARRAYS: write_arrays(arrays),
            _GOLDEN: _parquet(golden),
        }
        manifest = manifest_bytes(files)
        if folder.exists() or folder.is_symlink():
            raise OutputExistsError(
                f"{folder} exists already", hint="a model folder is written once; choose another"
            )
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        except OSError as error:
            raise OutputNotWritableError(
                f"{folder.parent} cannot be written: {error.strerror}",
                hint="check the folder's owner and permissions, or set PYNOMALY_HOME elsewhere",
            ) from error
        try:
            for name, content in {**files, MANIFEST: manifest}.items():
                _write(draft / name, content)
            draft.chmod(0o755)  # mkdtemp makes it private; other services read models
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return digest(manifest)

    def load(self, folder: Path, manifest_digest: str) -> Model:
        """Read a model after checking every byte; see the port."""
        files = verified_files(folder, manifest_digest, _LIMITS)
        return from_document(files[_DOCUMENT], read_arrays(files[_ARRAYS]))

    def golden(self, folder: Path, manifest_digest: str) -> pa.Table:
        """Read the golden rows after the same checks; see the port."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = verified_files(folder, manifest_digest, _LIMITS)
        try:
            table = pq.read_table(io.BytesIO(files[_GOLDEN]))
        except pa.ArrowException as error:
            raise IntegrityError(f"{folder / _GOLDEN} cannot be read: {error}") from error
        if EXPECTED_SCORE not in table.column_names:
            raise IntegrityError(f"{folder / _GOLDEN} has no column expected_score")
        return table


def _parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
