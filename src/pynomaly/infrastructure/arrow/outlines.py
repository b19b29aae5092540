"""What planning finds out about a file: the pieces it is divided into, and what pins their content."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from blake3 import blake3

from pynomaly.domain.errors import MalformedSourceError
from pynomaly.domain.sources import SourceFormat, SourceSpec
from pynomaly.infrastructure.arrow.files import BLOCK, DataFile, stamp, unchanged, unpacked
from pynomaly.infrastructure.arrow.parquet import ParquetTable, open_parquet
from pynomaly.infrastructure.arrow.sources import PARSERS
from pynomaly.infrastructure.arrow.text import HEAD_BYTES

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Outline", "Piece", "content_digest", "outline"]


class Piece(NamedTuple):
    """Of a file: its row groups, or all of it where None."""

    groups: range | None
    before: int
    rows: int | None
    size: int
    digest: str
    extent: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    """What planning finds out about a file.

    Args:
        size: In bytes.
        pieces: What it is divided into.
        schema: None where it is damaged.
        rows: Whether it was seen to hold any.
        problem: What is wrong with it.
        stamp: Shows that it has not been touched since.
    """

    size: int
    pieces: tuple[Piece, ...]
    schema: pa.Schema | None = None
    rows: bool = False
    problem: MalformedSourceError | None = None
    stamp: str = ""


def outline(
    file: DataFile, form: SourceFormat, spec: SourceSpec, partition_rows: int, *, look: bool
) -> Outline:
    """Divide a file; whether a large one that is no Parquet has rows is found out if asked to."""
    with file.open([(0, HEAD_BYTES)]) as handle, unchanged(handle, file.uri):
        size = handle.seek(0, io.SEEK_END)
        handle.seek(0)
        seen = stamp(handle)  # before its bytes are digested
        problem, schema, rows = None, None, False
        look = look or size <= HEAD_BYTES
        try:
            if form == "parquet":
                table = open_parquet(handle, file)
                pieces = tuple(_row_groups(table, partition_rows, size))
                if pieces:
                    return Outline(size, pieces, table.schema, rows=True, stamp=seen)
                # That it has no rows any more is to be scored too: it ends the scores it has.
                empty = Piece(None, 0, 0, size, content_digest(handle, file, size))
                return Outline(size, (empty,), table.schema, stamp=seen)
            with unpacked(handle, file) as stream:
                parsed = PARSERS[form](stream, file, spec)
                with closing(parsed.pieces):
                    if look:
                        rows = any(len(p.numbers) or p.malformed for p in parsed.pieces)
                schema = parsed.schema
        except MalformedSourceError as error:
            problem = error
        known = look and schema is not None and not rows
        whole = Piece(None, 0, 0 if known else None, size, content_digest(handle, file, size))
        return Outline(size, (whole,), schema, rows, problem, seen)


def _row_groups(table: ParquetTable, partition_rows: int, size: int) -> Iterator[Piece]:
    total = table.reader.num_row_groups
    for groups, before, rows in table.divide(partition_rows):
        span = str(groups.start) if len(groups) == 1 else f"{groups.start}-{groups.stop - 1}"
        # Row numbers belong to the extent: rows that moved are to be scored under their new ids.
        extent = (
            f"row group{'s' * (len(groups) > 1)} {span}, rows {before + 1}-{before + rows}"
            if len(groups) < total
            else ""
        )
        digest = (
            table.digest(groups)
            if not table.file.version
            else _digest(table.file.version, size, groups.start, groups.stop)
        )
        yield Piece(groups, before, rows, table.size(groups), digest, extent)


def content_digest(handle: BinaryIO, file: DataFile, size: int) -> str:
    """Return the digest of a whole file."""
    if file.version:
        return _digest(file.version, size)
    digest = blake3()
    handle.seek(0)
    while block := handle.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _digest(*facts: int | str) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
