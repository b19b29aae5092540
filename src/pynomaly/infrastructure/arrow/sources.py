"""Opens sources of any kind and streams those made of files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pynomaly.application.planned_source import regroup
from pynomaly.application.ports.data import Source, SourceBatch
from pynomaly.application.ports.partitions import PartitionBatch
from pynomaly.domain.datasets import Fingerprint, Snapshot
from pynomaly.domain.errors import (
    ConfigurationError,
    MalformedSourceError,
    UnsupportedFormatError,
)
from pynomaly.domain.sources import SourceFormat, SourceSpec
from pynomaly.infrastructure.arrow.delimited import parse_csv
from pynomaly.infrastructure.arrow.excel import parse_excel
from pynomaly.infrastructure.arrow.files import (
    ContentDigest,
    DataFile,
    FindFiles,
    random_access,
    sequential,
)
from pynomaly.infrastructure.arrow.folders import in_folders
from pynomaly.infrastructure.arrow.formats import Parse, check_columns, choose
from pynomaly.infrastructure.arrow.jsonl import parse_jsonl
from pynomaly.infrastructure.arrow.parquet import parse_parquet

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PARSERS", "SEEKING", "FileSource", "TableSources", "kind_of_place"]

PARSERS: dict[SourceFormat, Parse] = {
    "csv": in_folders(parse_csv),
    "excel": in_folders(parse_excel),
    "jsonl": in_folders(parse_jsonl),
    "parquet": parse_parquet,
}
"""What reads a file of each format."""

SEEKING = frozenset({"excel", "parquet"})
"""Formats that are not read from start to end."""

_NOT_DATABASES = {"http", "https", "ftp", "file", "gs", "gcs", "abfs", "az", "hdfs"}


def kind_of_place(spec: SourceSpec) -> Literal["files", "s3", "database"]:
    """Tell from the URI what holds a source.

    Raises:
        UnsupportedFormatError: A scheme that is not read.
        ConfigurationError: A query of files.
    """
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", spec.uri)
    scheme = match[1].lower() if match else None
    if scheme in _NOT_DATABASES:
        raise UnsupportedFormatError(
            f"sources of the kind {scheme}:// are not read: {spec.uri}",
            hint="use a path, s3://bucket/prefix or a SQLAlchemy URL",
        )
    if scheme not in (None, "s3"):
        return "database"
    if spec.query is not None or spec.format == "sql":
        raise ConfigurationError(
            f"the source {spec.uri} has a query but is no database",
            hint="give a SQLAlchemy URL such as sqlite:///file.db, or drop `query:`",
        )
    return "files" if scheme is None else "s3"


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
        kind = kind_of_place(spec)
        if kind == "database":
            return self.sql(spec)
        find = self.local if kind == "files" else self.s3
        form, files = choose(find(spec.uri), spec)
        return FileSource(spec, form, files)


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
        for batch in regroup(self._pieces(digest), batch_rows):
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

    def _pieces(
        self, digest: ContentDigest | None
    ) -> Generator[tuple[str, PartitionBatch], None, None]:
        parse = PARSERS[self._kind]
        access = random_access if self._kind in SEEKING else sequential
        for file in self._files:
            with access(file, digest) as handle:
                parsed = parse(handle, file, self._spec)
                if self._schema is None:
                    self._schema = parsed.schema
                check_columns(parsed.schema, file.uri, self._schema, self._files[0].uri)
                with closing(parsed.pieces) as pieces:
                    for piece in pieces:
                        if piece.table.num_rows or piece.malformed:
                            table = piece.table.select(self._schema.names)
                            yield file.name, replace(piece, table=table)
