"""Reads JSON lines in bounded memory."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Generator, Iterator
from itertools import chain, islice
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from pynomaly.application.ports.data import MalformedRow
from pynomaly.application.ports.partitions import PartitionBatch
from pynomaly.domain.errors import MalformedSourceError
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.files import DataFile
from pynomaly.infrastructure.arrow.formats import Parsed, check_names, excerpt
from pynomaly.infrastructure.arrow.text import HEAD_BYTES, Utf8Stream, tell_encoding

__all__ = ["HEAD_LINES", "parse_jsonl"]

HEAD_LINES = 10_000
"""The columns are the keys met in this many lines, in order of appearance; fewer of long ones."""

HEAD_CHARACTERS = 16 * 2**20
"""Lines are read ahead until they hold this many."""

_LINE_BYTES = 16 * 2**20
_ROWS = 4_096

_Line = tuple[int, str, dict[str, Any] | str]
"""Physical line number, its text, and the object on it or what is wrong with it."""


def parse_jsonl(handle: BinaryIO, file: DataFile, spec: SourceSpec) -> Parsed:
    """Read the head; rows follow as they are asked for.

    All columns are strings, as in CSV: JSON does not say whether ``1`` is an integer that will be
    ``1.5`` further down, so values are read as the pipeline's schema declares them, row by row.
    Numbers keep their digits, booleans are ``true`` and ``false``, nested values JSON text.  A
    line with a key that the first lines do not have is malformed: nothing gets lost.
    """
    head = handle.read(HEAD_BYTES)
    encoding = tell_encoding(head, spec.encoding, file.uri)
    text = io.BufferedReader(Utf8Stream(head, handle, encoding, file.uri), HEAD_BYTES)
    lines = _lines(text, file)
    first = _first(lines)
    if not first:
        raise MalformedSourceError(f"{file.uri} is empty", hint="expected one JSON object a line")
    names = tuple(dict.fromkeys(key for _, _, row in first if isinstance(row, dict) for key in row))
    number, opening, problem = first[0]
    if not names or opening.lstrip().startswith("["):
        raise MalformedSourceError(
            f"{file.uri}: no JSON object in its first lines; line {number}: {problem}",
            hint="JSON lines hold one object on each line, no array around them",
        )
    check_names(names, file.uri)
    schema = pa.schema([(name, pa.string()) for name in names])
    return Parsed(schema, _pieces(chain(first, lines), schema, file, len(first)))


def _first(lines: Iterator[_Line]) -> list[_Line]:
    """Return the lines that tell the columns, in bounded memory however long they are."""
    first: list[_Line] = []
    size = 0
    for line in islice(lines, HEAD_LINES):
        first.append(line)
        size += len(line[1])
        if size >= HEAD_CHARACTERS:
            break
    return first


def _lines(text: io.BufferedReader[Any], file: DataFile) -> Iterator[_Line]:
    number = 0
    while line := text.readline(_LINE_BYTES):
        number += 1
        if len(line) == _LINE_BYTES and not line.endswith(b"\n"):
            raise MalformedSourceError(
                f"{file.uri}: line {number} is longer than {_LINE_BYTES >> 20} MiB",
                hint="JSON lines hold one object on each line",
            )
        if line.strip():
            decoded = line.decode()
            yield number, decoded, _object(decoded)


def _object(line: str) -> dict[str, Any] | str:
    try:
        value = json.loads(line, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        return f"no JSON: {error.msg} at character {error.pos + 1}"
    except (ValueError, RecursionError) as error:
        return f"no JSON we read: {error}"
    return value if isinstance(value, dict) else "expected a JSON object"


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _pieces(
    lines: Iterator[_Line], schema: pa.Schema, file: DataFile, head: int
) -> Generator[PartitionBatch, None, None]:
    known = set(schema.names)
    number = 0
    while chunk := list(islice(lines, _ROWS)):
        rows, numbers, malformed = [], [], []
        for line, text, row in chunk:
            number += 1
            if isinstance(row, dict) and not (unknown := row.keys() - known):
                rows.append(row)
                numbers.append(number)
                continue
            reason = (
                row
                if isinstance(row, str)
                else f"key {sorted(unknown)[0]!r} is in none of the first {head:,} lines, which "
                "tell the columns: one of them has to have it, null for no value"
            )
            malformed.append(MalformedRow(file.name, line, excerpt(text), reason))
        arrays = [
            pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in schema.names
        ]
        table = pa.Table.from_arrays(arrays, schema=schema)
        yield PartitionBatch(table, np.array(numbers, dtype=np.int64), tuple(malformed))


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return None if math.isnan(value) else repr(value)
    if isinstance(value, int):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
