"""Writes staged datasets and outputs: encoded, digested, visible only when complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pynomaly.application.ports.data import OutputWriter
from pynomaly.domain.errors import (
    IntegrityError,
    SourceNotFoundError,
    UnsupportedFormatError,
)
from pynomaly.infrastructure.arrow.digesting import Digesting
from pynomaly.infrastructure.arrow.encoders import Encoder, choose_encoder, encode_parquet

__all__ = ["ParquetDatasetStore", "TableSinks", "Target"]

_BUFFER = 65_536


class Target(Protocol):
    """A kind of place for outputs.

    Called, it gives a handle whose bytes appear at ``uri`` when the context exits cleanly.

    Nothing written means that nothing appears.
    """

    def __call__(self, uri: str, *, overwrite: bool) -> AbstractContextManager[BinaryIO]:
        """Open ``uri``; refuse what exists unless ``overwrite``."""

    def digest(self, uri: str) -> str | None:
        """Return sha256 (hex) of what is at ``uri``, or None if nothing is."""


@dataclass(frozen=True, slots=True)
class TableSinks:
    """Implements ``OutputSinks``.

    Args:
        local: For paths.
        s3: For ``s3://`` URLs.
    """

    local: Target
    s3: Target

    def writer(
        self, uri: str, *, overwrite: bool, announce: Callable[[str], None] | None = None
    ) -> AbstractContextManager[OutputWriter]:
        """Open ``uri`` for writing, format by extension.

        A writer that is given no table (or, as JSON lines, no row) leaves nothing: ``rows`` is 0
        and ``digest`` empty.
        """
        encode = choose_encoder(uri)
        return _writing(uri, self._target(uri), encode, overwrite=overwrite, announce=announce)

    def digest(self, uri: str) -> str | None:
        """Return sha256 (hex) of what is at ``uri`` now, or None if nothing is."""
        return self._target(uri).digest(uri)

    def _target(self, uri: str) -> Target:
        scheme, separator, _ = uri.partition("://")
        if not separator:
            return self.local
        if scheme.lower() == "s3":
            return self.s3
        raise UnsupportedFormatError(
            f"outputs of the kind {scheme}:// are not written: {uri}",
            hint="use a path or s3://bucket/key",
        )


@dataclass(frozen=True, slots=True)
class ParquetDatasetStore:
    """Implements ``DatasetStore``: one Parquet file per dataset in a local folder.

    Args:
        root: The folder, created when first written to.
        target: For paths.
    """

    root: Path
    target: Target

    def writer(self, name: str) -> AbstractContextManager[OutputWriter]:
        """Open dataset ``name``; one of the same name (of an earlier attempt) is replaced.

        A writer that is given no table leaves no file: ``rows`` is 0 and ``digest`` empty.

        Args:
            name: May contain ``/``, e.g. ``<run>/accepted``.
        """
        if Path(name).is_absolute() or ".." in Path(name).parts or not name:
            raise ValueError(f"a dataset name stays within the store: {name!r}")
        uri = str(self.root / f"{name}.parquet")
        return _writing(uri, self.target, encode_parquet, overwrite=True)

    def read(
        self, uri: str, columns: list[str] | None = None, batch_rows: int = 50_000
    ) -> Iterator[pa.Table]:
        """Stream a staged dataset in order."""
        with _opened(uri) as parquet:
            for group in range(parquet.num_row_groups):  # one after the other: half the memory
                for batch in parquet.iter_batches(batch_rows, [group], columns, use_threads=False):
                    table = pa.Table.from_batches([batch])
                    yield table if columns is None else table.select(columns)

    def table(self, uri: str, columns: list[str] | None = None) -> pa.Table:
        """Read a staged dataset, or some of its columns in the order asked for, whole."""
        with _opened(uri) as parquet:
            table = parquet.read(columns=columns)
            return table if columns is None else table.select(columns)

    def discard(self, uri: str) -> None:
        """Remove a staged dataset; one that is gone already is fine.

        Args:
            uri: As a writer of this store gave it.
        """
        path = Path(uri).resolve()
        if not path.is_relative_to(self.root.resolve()) or path.suffix != ".parquet":
            raise ValueError(f"not a dataset of this store: {uri}")
        path.unlink(missing_ok=True)


@contextmanager
def _opened(uri: str) -> Iterator[pq.ParquetFile]:
    try:
        # Otherwise whole row groups, or whole columns of them, would be held in memory.
        with pq.ParquetFile(uri, pre_buffer=False, buffer_size=_BUFFER) as parquet:
            yield parquet
    except FileNotFoundError as error:
        raise SourceNotFoundError(
            f"the staged dataset {uri} is gone", hint="run `pynomaly validate` again"
        ) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError(
            f"the staged dataset {uri} cannot be read: {str(error).splitlines()[0]}",
            hint="run `pynomaly validate` again",
        ) from error


@contextmanager
def _writing(
    uri: str,
    target: Target,
    encode: Callable[[BinaryIO, pa.Schema], Encoder],
    *,
    overwrite: bool,
    announce: Callable[[str], None] | None = None,
) -> Iterator[OutputWriter]:
    with target(uri, overwrite=overwrite) as handle:
        digesting = Digesting(handle, uri)
        writer = _Writer(uri, cast("BinaryIO", digesting), encode)
        try:
            yield writer
        finally:
            # Also on failure: a Parquet writer left open would write when it is collected.
            writer.finish()
        writer.digest = digesting.hexdigest()
        if announce is not None and writer.digest:
            announce(writer.digest)


class _Writer:
    def __init__(
        self, uri: str, handle: BinaryIO, encode: Callable[[BinaryIO, pa.Schema], Encoder]
    ) -> None:
        self.uri = uri
        self.rows = 0
        self.digest = ""
        self._handle = handle
        self._encode = encode
        self._encoder: Encoder | None = None
        self._schema: pa.Schema | None = None

    def write(self, table: pa.Table) -> None:
        if self._encoder is None:
            self._schema = table.schema
            self._encoder = self._encode(self._handle, table.schema)
        elif not table.schema.equals(self._schema):
            raise ValueError(f"a table for {self.uri} has another schema than the first one")
        self._encoder.write_table(table)
        self.rows += table.num_rows

    def finish(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
