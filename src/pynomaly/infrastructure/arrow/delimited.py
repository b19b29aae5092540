"""Reads CSV and TSV: dialect from the head, then pyarrow's streaming parser."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections import deque
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from pynomaly.application.ports.data import MalformedRow
from pynomaly.application.ports.partitions import PartitionBatch
from pynomaly.domain.errors import ConfigurationError, MalformedSourceError
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.files import DataFile, sequential
from pynomaly.infrastructure.arrow.formats import NULL_TOKENS, Parsed, check_names, excerpt
from pynomaly.infrastructure.arrow.lines import Record, records, split_lines
from pynomaly.infrastructure.arrow.text import (
    HEAD_BYTES,
    Utf8Stream,
    decode_head,
    tell_encoding,
)

__all__ = ["parse_csv"]

_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?\Z")
_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_RECORDS = 200
_TELLING, _MOST = 5, 0.8  # fewer lines, or less of them alike, tell nothing about the first one
_BLOCK = 2**20
_MAX_PENDING = 100_000


def parse_csv(handle: BinaryIO, file: DataFile, spec: SourceSpec) -> Parsed:
    """Read the header; rows follow as they are asked for.

    All columns are strings; empty cells and :data:`NULL_TOKENS` are null.  A column without a
    name is called ``column_<position>``.  Records with more or fewer fields than the header are
    malformed rows; empty lines are none.

    Raises:
        MalformedSourceError: Empty, no header, numbers instead of one, duplicate names,
            undecodable, the declared delimiter does not occur, a quote is never closed.
    """
    head = handle.read(HEAD_BYTES)
    encoding = tell_encoding(head, spec.encoding, file.uri)
    text = decode_head(head, encoding, file.uri)
    if not text.strip():
        raise MalformedSourceError(
            f"{file.uri} is empty", hint="expected a header line and at least one row"
        )
    delimiter = _delimiter(text, spec, file)
    lines = split_lines(text)
    _, last, unclosed = next(records(lines, delimiter))
    if unclosed or (last == len(lines) and len(head) == HEAD_BYTES):
        raise MalformedSourceError(
            f"{file.uri}: the header does not end within {HEAD_BYTES >> 10} KiB",
            hint="check the quotes in the first line",
        )
    header = "".join(lines[:last])
    names = [
        name or f"column_{position}"
        for position, name in enumerate(_split(header, delimiter)[0], 1)
    ]
    _refuse_numbers(names, file.uri)
    # A comment has no delimiter, so that another one may divide the lines below.
    comment = len(names) == 1 and names[0].startswith("# ") and spec.delimiter is None
    for tried in _DELIMITERS if comment else (delimiter,):
        rows = _split(text, tried)[1:]
        _refuse_preamble(len(names), rows[:-1] if len(head) == HEAD_BYTES else rows, file.uri)
    check_names(names, file.uri)
    stream = io.BufferedReader(Utf8Stream(head, handle, encoding, file.uri), HEAD_BYTES)
    stream.read(len(header.encode()))
    schema = pa.schema([(name, pa.string()) for name in names])
    return Parsed(schema, _pieces(stream, file, schema, encoding, delimiter))


def _refuse_numbers(names: list[str], uri: str) -> None:
    """Refuse a first line of numbers; whole ones may be names all the same, years or positions."""
    if all(map(_NUMBER.match, names)) and not all(name.isdecimal() for name in names):
        raise MalformedSourceError(
            f"{uri}: the first line should name the columns, but holds numbers alone, e.g. "
            f"{names[0]!r}",
            hint="add a header line",
        )


def _refuse_preamble(fields: int, rows: list[list[str]], uri: str) -> None:
    """Refuse a first line that is shorter than the others: hardly the names of their columns."""
    widths = [len(row) for row in rows]
    usual = max(widths, key=widths.count, default=fields)
    if len(widths) < _TELLING or widths.count(usual) < _MOST * len(widths) or fields >= usual:
        return
    raise MalformedSourceError(
        f"{uri}: the first line has {fields} field{'s' * (fields != 1)}, the lines below mostly "
        f"{usual}",
        hint="the first line has to name every column: remove what stands above the names, or "
        "name the column that has none",
    )


def _delimiter(text: str, spec: SourceSpec, file: DataFile) -> str:
    widths = {
        candidate: [len(fields) for fields in _split(text, candidate)] for candidate in _DELIMITERS
    }

    def evidence(candidate: str) -> tuple[float, int]:
        width, *others = widths[candidate]
        agreeing = sum(other == width for other in others)
        share = agreeing / len(others) if others else 1.0
        return (round(share, 1) if width > 1 else -1.0, width)

    best = max(_DELIMITERS, key=evidence)
    if spec.delimiter is None:
        return best
    declared = "\t" if spec.delimiter == "\\t" else spec.delimiter
    if len(declared) != 1 or not declared.isascii() or declared in '"\r\n':
        raise ConfigurationError(
            f"the delimiter {spec.delimiter!r} of {file.uri} is not one plain character",
            hint="e.g. `delimiter: ';'`",
        )
    if len(_split(text, declared)[0]) == 1 and widths[best][0] > 1:
        raise MalformedSourceError(
            f"{file.uri}: with the delimiter {declared!r} its header is a single column",
            hint=f"it looks delimited by {best!r}; set `delimiter:` to that or leave it out",
        )
    return declared


def _split(text: str, delimiter: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[list[str]] = []
    # A field may be too long for this reader; what came before it is sample enough.
    with contextlib.suppress(csv.Error):
        rows += islice((row for row in reader if row), _SAMPLE_RECORDS)
    return rows or [[text]]


def _pieces(
    stream: io.BufferedReader[Any], file: DataFile, schema: pa.Schema, encoding: str, delimiter: str
) -> Generator[PartitionBatch, None, None]:
    if not stream.peek(1):
        return
    pending: deque[Any] = deque()
    starts = _Starts(file, encoding, delimiter)
    number = 0
    value: str | None = None

    def refuse(row: Any) -> str:
        pending.append(row)
        return "skip" if len(pending) < _MAX_PENDING else "error"

    def malformed(row: Any) -> MalformedRow:
        reason = f"expected {row.expected_columns} fields, found {row.actual_columns}"
        return MalformedRow(file.name, starts.of(row.number), excerpt(row.text), reason)

    with closing(starts):
        try:
            with _open(stream, schema, delimiter, refuse) as reader:
                for batch in reader:
                    bad = []
                    last = number + batch.num_rows
                    # The parser runs ahead: later rows may be waiting here already.
                    while pending and pending[0].number <= last:
                        bad.append(pending.popleft())
                        last += 1
                    numbers = np.arange(number + 1, last + 1)
                    if bad:
                        numbers = np.setdiff1d(numbers, [row.number for row in bad])
                    number = last
                    if batch.num_rows:
                        value = batch.column(len(schema) - 1)[-1].as_py()
                    table = pa.Table.from_batches([batch], schema=schema)
                    yield PartitionBatch(table, numbers, tuple(map(malformed, bad)))
        except pa.ArrowInvalid as error:
            raise _unparsable(error, len(pending), file, starts, schema) from error
        # A quote that is never closed turns all lines after it into one value.
        final = pending[-1].text if pending else value
        if final and ("\n" in final or "\r" in final) and (line := starts.unclosed()):
            raise _never_closed(file, line)
        if pending:
            numbers = np.array([], dtype=np.int64)
            yield PartitionBatch(schema.empty_table(), numbers, tuple(map(malformed, pending)))


def _open(
    stream: io.BufferedReader[Any], schema: pa.Schema, delimiter: str, refuse: Any
) -> pc.CSVStreamingReader:
    return pc.open_csv(
        stream,
        # With threads pyarrow does not number the rows it refuses.
        read_options=pc.ReadOptions(
            use_threads=False, block_size=_BLOCK, column_names=schema.names
        ),
        parse_options=pc.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse
        ),
        convert_options=pc.ConvertOptions(
            column_types=schema,
            strings_can_be_null=True,
            null_values=list(NULL_TOKENS),
            check_utf8=False,  # the stream has just been encoded
        ),
    )


def _unparsable(
    error: pa.ArrowInvalid, pending: int, file: DataFile, starts: _Starts, schema: pa.Schema
) -> MalformedSourceError:
    if pending >= _MAX_PENDING:
        return MalformedSourceError(
            f"{file.uri}: {pending} lines in a row do not have the {len(schema)} fields of its "
            "header",
            hint="check the header line and `delimiter:` of the source",
        )
    if line := starts.unclosed():
        return _never_closed(file, line)
    return MalformedSourceError(
        f"{file.uri} cannot be parsed as CSV: {str(error).splitlines()[0]}",
        hint=f"no row may be longer than {_BLOCK >> 20} MiB; check quotes and `delimiter:`",
    )


def _never_closed(file: DataFile, line: int) -> MalformedSourceError:
    return MalformedSourceError(
        f"{file.uri}: a quote opened in the row at line {line} is never closed",
        hint="close the quote, or double it if it belongs to the value",
    )


class _Starts:
    """Line numbers of records, by reading the file a second time; only if somebody asks.

    pyarrow counts records, not lines, and leaves out empty ones.
    """

    def __init__(self, file: DataFile, encoding: str, delimiter: str) -> None:
        self._records = _read_records(file, encoding, delimiter)
        self._number = -1  # so that the header is record 0, as the parser is not shown it
        self._record: Record = (0, 0, False)

    def of(self, number: int) -> int:
        """Return the line on which a record starts; numbers must ascend."""
        while self._number < number:
            self._record = next(self._records)
            self._number += 1
        return self._record[0]

    def unclosed(self) -> int | None:
        """Return the line of the row whose quote never closes; ends the reading."""
        for record in self._records:
            self._record = record
        start, _, unclosed = self._record
        return start if unclosed else None

    def close(self) -> None:
        """Close the file."""
        self._records.close()


def _read_records(file: DataFile, encoding: str, delimiter: str) -> Generator[Record, None, None]:
    with sequential(file, None) as handle:
        lines = io.TextIOWrapper(handle, encoding, newline="")
        yield from records(lines, delimiter)
        lines.detach()
