"""Reads the first sheet of an Excel workbook, row by row."""

from __future__ import annotations

import datetime as dt
import warnings
import zipfile
from collections.abc import Generator, Iterator
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from pynomaly.application.ports.data import MalformedRow
from pynomaly.application.ports.partitions import PartitionBatch
from pynomaly.domain.errors import MalformedSourceError
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.files import DataFile
from pynomaly.infrastructure.arrow.formats import NULL_TOKENS, Parsed, check_names, excerpt

__all__ = ["parse_excel"]

_MAX_UNPACKED = 2 * 2**30
_ROWS = 4_096
_NULLS = frozenset(NULL_TOKENS)

_Row = tuple[int, list[str | None]]
"""Sheet row number and cells."""


def parse_excel(handle: BinaryIO, file: DataFile, spec: SourceSpec) -> Parsed:
    """Read the header, the first row that is not empty; rows follow as they are asked for.

    All columns are strings, as in CSV, since every cell of a sheet has a type of its own: numbers
    keep their digits, booleans are ``true`` and ``false``, dates and times ISO 8601.  Formulas
    give the value last calculated.  Empty rows are no rows.
    """
    rows = _rows(handle, file)
    _, header = next(rows, (0, []))
    while header and header[-1] is None:
        header.pop()
    if not header:
        raise MalformedSourceError(f"{file.uri}: the first sheet is empty")
    names = [name or f"column_{position}" for position, name in enumerate(header, 1)]
    check_names(names, file.uri)
    schema = pa.schema([(name, pa.string()) for name in names])
    return Parsed(schema, _pieces(rows, schema, file))


def _rows(handle: BinaryIO, file: DataFile) -> Iterator[_Row]:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(handle) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > _MAX_UNPACKED:
            raise MalformedSourceError(
                f"{file.uri} unpacks to {unpacked >> 20} MiB",
                hint="export the sheet as CSV or Parquet",
            )
        with warnings.catch_warnings():
            # It warns of decoration it does not keep (validation lists, styles): no data.
            warnings.filterwarnings("ignore", module="openpyxl")
            book = load_workbook(handle, read_only=True, data_only=True)
        try:
            if not book.worksheets:
                raise MalformedSourceError(f"{file.uri} has no worksheet")
            sheet = book.worksheets[0]
            # Some writers declare wrong dimensions; then cells beyond them would be cut off.
            sheet.reset_dimensions()
            for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
                cells = [_text(value) for value in row]
                if any(cell is not None for cell in cells):
                    yield number, cells
        finally:
            book.close()
    except (zipfile.BadZipFile, InvalidFileException, KeyError, SyntaxError) as error:
        # KeyError: no workbook in the zip; SyntaxError: broken XML.
        raise MalformedSourceError(
            f"{file.uri} is no readable .xlsx workbook: {error}",
            hint="save it again as .xlsx, or export CSV",
        ) from error


def _pieces(
    rows: Iterator[_Row], schema: pa.Schema, file: DataFile
) -> Generator[PartitionBatch, None, None]:
    width = len(schema)
    number = 0
    while chunk := list(islice(rows, _ROWS)):
        good, numbers, malformed = [], [], []
        for line, cells in chunk:
            number += 1
            beyond = [i for i, cell in enumerate(cells[width:], width + 1) if cell is not None]
            if beyond:
                text = excerpt("\t".join(cell or "" for cell in cells))
                reason = f"expected {width} cells, found {beyond[-1]}"
                malformed.append(MalformedRow(file.name, line, text, reason))
                continue
            good.append((cells + [None] * width)[:width])
            numbers.append(number)
        arrays = [pa.array([row[i] for row in good], pa.string()) for i in range(width)]
        table = pa.Table.from_arrays(arrays, schema=schema)
        yield PartitionBatch(table, np.array(numbers, dtype=np.int64), tuple(malformed))


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value in _NULLS):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    return str(value)
