"""Folders called ``column=value``, as Hive, Spark and pandas write them, tell a column of their files."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

import pyarrow as pa

from pynomaly.application.ports.partitions import PartitionBatch
from pynomaly.infrastructure.arrow.formats import Parse, Parsed, check_names

if TYPE_CHECKING:
    from pynomaly.domain.sources import SourceSpec
    from pynomaly.infrastructure.arrow.files import DataFile

__all__ = ["Told", "beside_told", "in_folders", "told_by_folders"]

Told = Mapping[str, str | None]
"""Column → its one value in a file."""

_NULL = "__HIVE_DEFAULT_PARTITION__"


def told_by_folders(file: DataFile, schema: pa.Schema) -> Told:
    """Return the columns that the folders of a file tell, below the source, and the file does not.

    Args:
        file: Its name is relative to the source: what lies above tells nothing.
        schema: What the file has itself.

    Raises:
        MalformedSourceError: A name that no column may have.
    """
    told: dict[str, str | None] = {}
    for folder in PurePosixPath(file.name).parts[:-1]:
        column, equals, value = folder.partition("=")
        if column and equals and unquote(column) not in schema.names:
            told[unquote(column)] = None if value == _NULL else unquote(value)
    if told:
        check_names((*schema.names, *told), file.uri)
    return told


def beside_told(table: pa.Table, told: Told) -> pa.Table:
    """Return a table with the columns that folders tell after its own."""
    for name, value in told.items():
        table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(table)))
    return table


def in_folders(parse: Parse) -> Parse:
    """Return a parser that also gives the columns that the folders of a file tell."""

    def widened(handle: BinaryIO, file: DataFile, spec: SourceSpec) -> Parsed:
        parsed = parse(handle, file, spec)
        told = told_by_folders(file, parsed.schema)
        if not told:
            return parsed
        fields = (*parsed.schema, *(pa.field(name, pa.string()) for name in told))
        return Parsed(pa.schema(fields), _pieces(parsed.pieces, told))

    return widened


def _pieces(
    pieces: Generator[PartitionBatch, None, None], told: Told
) -> Generator[PartitionBatch, None, None]:
    with closing(pieces):
        for piece in pieces:
            yield replace(piece, table=beside_told(piece.table, told))
