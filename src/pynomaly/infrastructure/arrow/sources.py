"""Opens sources of any kind and streams those made of files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pynomaly.application.ports.data import MalformedRow, Source, SourceBatch
from pynomaly.domain.datasets import ROW_ID, Fingerprint, Snapshot
from pynomaly.domain.errors import (
    ConfigurationError,
    MalformedSourceError,
    UnsupportedFormatError,
)
from pynomaly.domain.pipelines import SourceFormat, SourceSpec
from pynomaly.infrastructure.arrow.delimited import parse_csv
from pynomaly.infrastructure.arrow.excel import parse_excel
from pynomaly.infrastructure.arrow.files import (
    ContentDigest,
    DataFile,
    FindFiles,
    random_access,
    sequential,
)
from pynomaly.infrastructure.arrow.formats import Parse, Piece, choose
from pynomaly.infrastructure.arrow.jsonl import parse_jsonl
from pynomaly.infrastructure.arrow.parquet import parse_parquet

__all__ = ["FileSource", "TableSources"]

_TEXT: dict[SourceFormat, Parse] = {"csv": parse_csv, "jsonl": parse_jsonl}
_SEEKING: dict[SourceFormat, Parse] = {"parquet": parse_parquet, "excel": parse_excel}
_NOT_DATABASES = {"http", "https", "ftp", "file", "gs", "gcs", "abfs", "az", "hdfs"}


@dataclass(frozen=True, slots=True)
class TableSources:
    """Implements ``Sources``: dispatches on what the URI looks like.

    Args:
        local: Finds files behind a path, folder or glob.
        s3: Finds objects behind an ``s3://`` URL.
        sql: Opens a database URL.
    """

    local: FindFiles
    s3: FindFiles
    sql: Callable[[SourceSpec], Source]

    def open(self, spec: SourceSpec) -> Source:
        """Open ``spec`` and read up to its first rows."""
        match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", spec.uri)
        scheme = match[1].lower() if match else None
        if scheme in _NOT_DATABASES:
            raise UnsupportedFormatError(
                f"sources of the kind {scheme}:// are not read: {spec.uri}",
                hint="use a path, s3://bucket/prefix or a SQLAlchemy URL",
            )
        if scheme not in (None, "s3"):
            return self.sql(spec)
        if spec.query is not None or spec.format == "sql":
            raise ConfigurationError(
                f"the source {spec.uri} has a query but is no database",
                hint="give a SQLAlchemy URL such as sqlite:///file.db, or drop `query:`",
            )
        find = self.local if scheme is None else self.s3
        kind, files = choose(find(spec.uri), spec)
        return FileSource(spec, kind, files)


class FileSource:
    """One or several files of one format and one header, read in order of their names.

    Args:
        spec: As configured.
        kind: Format of the files.
        files: At least one.

    Raises:
        MalformedSourceError: The first file has no usable header, or no file has a row.
    """

    def __init__(self, spec: SourceSpec, kind: SourceFormat, files: tuple[DataFile, ...]) -> None:
        self._spec = spec
        self._kind = kind
        self._files = files
        self._schema: pa.Schema | None = None
        self._snapshot: Snapshot | None = None
        with closing(self._pieces(None)) as pieces:
            if next(pieces, None) is None:
                raise MalformedSourceError(
                    f"{spec.uri} has a header but no rows",
                    hint="expected at least one row below the header",
                )

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """``(name, physical type)`` in source order, without ``row_id``."""
        assert self._schema is not None  # set with the first piece
        return tuple((field.name, str(field.type)) for field in self._schema)

    def batches(self, batch_rows: int = 50_000) -> Iterator[SourceBatch]:
        """Stream the files from the start."""
        self._snapshot = None
        digest = ContentDigest()
        rows = 0
        for batch in _regroup(self._pieces(digest), batch_rows):
            rows += batch.table.num_rows + len(batch.malformed)
            yield batch
        columns = self.columns
        schema = hashlib.sha256(json.dumps(columns).encode()).hexdigest()
        fingerprint = Fingerprint(content=digest.hexdigest(), schema=schema)
        self._snapshot = Snapshot(self._spec.uri, fingerprint, columns, rows, digest.size)

    def snapshot(self) -> Snapshot:
        """Return what the last complete :meth:`batches` read."""
        if self._snapshot is None:
            raise RuntimeError("a snapshot is known only after all batches were read")
        return self._snapshot

    def _pieces(self, digest: ContentDigest | None) -> Generator[tuple[str, Piece], None, None]:
        seeking = _SEEKING.get(self._kind)
        for file in self._files:
            if seeking is not None:
                with random_access(file, digest) as handle:
                    parsed = seeking(handle, file, self._spec)
                    self._check(parsed.schema, file)
                    yield from _named(file.name, parsed.pieces)
            else:
                with sequential(file, digest) as handle:
                    parsed = _TEXT[self._kind](handle, file, self._spec)
                    self._check(parsed.schema, file)
                    yield from _named(file.name, parsed.pieces)

    def _check(self, schema: pa.Schema, file: DataFile) -> None:
        if self._schema is None:
            self._schema = schema
        if schema.equals(self._schema):
            return
        expected = {(field.name, str(field.type)) for field in self._schema}
        found = {(field.name, str(field.type)) for field in schema}
        lacking = sorted(f"{name} ({kind})" for name, kind in expected - found)
        surplus = sorted(f"{name} ({kind})" for name, kind in found - expected)
        difference = "; ".join(
            text
            for text in (
                f"lacks {', '.join(lacking[:5])}" if lacking else "",
                f"has {', '.join(surplus[:5])} instead or besides" if surplus else "",
                "has them in another order" if not lacking and not surplus else "",
            )
            if text
        )
        raise MalformedSourceError(
            f"{file.uri} does not have the columns of {self._files[0].uri}: it {difference}",
            hint="all files of a source need the same columns; narrow the source with a glob",
        )


def _named(
    name: str, pieces: Generator[Piece, None, None]
) -> Generator[tuple[str, Piece], None, None]:
    with closing(pieces):
        for piece in pieces:
            if piece.table.num_rows or piece.malformed:
                yield name, piece


def _regroup(pieces: Iterator[tuple[str, Piece]], rows: int) -> Iterator[SourceBatch]:
    held: list[pa.Table] = []
    count = 0
    malformed: list[MalformedRow] = []
    for name, piece in pieces:
        held.append(_with_row_ids(name, piece))
        count += piece.table.num_rows
        malformed += piece.malformed
        while count >= rows or len(malformed) >= rows:
            whole = pa.concat_tables(held)
            yield SourceBatch(whole.slice(0, rows).combine_chunks(), tuple(malformed))
            held, malformed = [whole.slice(rows)], []
            count = held[0].num_rows
    if count or malformed:
        yield SourceBatch(pa.concat_tables(held).combine_chunks(), tuple(malformed))


def _with_row_ids(name: str, piece: Piece) -> pa.Table:
    # pa.array(numpy) would import pandas, half a second for nothing.
    buffers = [None, pa.py_buffer(piece.numbers)]
    numbers = pa.Array.from_buffers(pa.int64(), len(piece.numbers), buffers)
    ids = pc.binary_join_element_wise(pa.scalar(name), numbers.cast(pa.string()), "#")
    return piece.table.add_column(0, pa.field(ROW_ID, pa.string()), ids)
