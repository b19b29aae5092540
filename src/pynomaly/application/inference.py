"""What a column of a sample holds: its kind, its values as read, and what is odd about them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pynomaly.application.cells import (
    Reader,
    Reading,
    is_span,
    read_booleans,
    read_numbers,
    read_texts,
    spelled,
)
from pynomaly.application.times import read_times
from pynomaly.application.written_otherwise import written_otherwise
from pynomaly.domain.datasets import ColumnKind

__all__ = ["Encoded", "Inferred", "encode", "infer", "read_as"]

READABLE_SHARE = 0.99
"""A text column is numbers (times, truth values) if at least this share of its cells reads so."""

_ID_NAME = re.compile(r"(?i:(^|[_\-. ])(id|uuid|guid)$)|[a-z0-9](Id|ID)$")
_KEY_NAME = re.compile(r"(?i:(^|[_\-. ])(key|pk|hash|index|serial|rownum)$)|Unnamed: 0$")
_INFINITE = r"^\s*[+-]?(?i:inf|infinity)\s*$"
_ENOUGH = 20  # fewer values than this are too few to call them unique
_FEW_LEVELS = 50
_TRIED = 500  # most frequent values that must look right before all are read

_READERS: dict[ColumnKind, Reader] = {
    "numeric": read_numbers,
    "boolean": read_booleans,
    "datetime": read_times,
}
_SPELLED: tuple[ColumnKind, ...] = ("boolean", "datetime")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A column as distinct values and where they stand.

    Args:
        name: Of the column.
        values: Distinct non-null cells.
        counts: How often each occurs.
        codes: (n,) index into ``values``; -1 where the cell is null or NaN.
    """

    name: str
    values: pa.Array
    counts: NDArray[np.int64]
    codes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a column is.

    Args:
        kind: Its kind.
        reading: Its distinct values as read.
        reason: Why it is of no use to a detector; empty if it is.
        notes: Warnings for people.
    """

    kind: ColumnKind
    reading: Reading
    reason: str = ""
    notes: tuple[str, ...] = ()


def encode(name: str, cells: pa.Array) -> Encoded:
    """Find the distinct values of a column.

    Args:
        name: Of the column.
        cells: A plain column of any type; values of nested types are taken as one missing value.
    """
    if pa.types.is_nested(cells.type):
        cells = pa.nulls(len(cells), pa.string())
    if pa.types.is_float16(cells.type):
        cells = cells.cast(pa.float32())
    if pa.types.is_floating(cells.type):
        cells = pc.if_else(pc.is_nan(cells), pa.scalar(None, cells.type), cells)
    encoded = cells.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(codes[codes >= 0], minlength=len(encoded.dictionary)).astype(np.int64)
    return Encoded(name, encoded.dictionary, counts, codes)


def infer(column: Encoded, physical: pa.DataType, rows: int) -> Inferred:
    """Tell what a column is from its values, its physical type and its name.

    Args:
        column: Distinct values of a sample.
        physical: Type in the source.
        rows: Of the whole snapshot.
    """
    if pa.types.is_nested(physical):
        return Inferred("text", read_texts(column.values), f"type {physical} is not supported")
    if pa.types.is_boolean(physical):
        found = read_as("boolean", column)
    elif pa.types.is_timestamp(physical) or pa.types.is_date(physical):
        found = read_as("datetime", column)
    elif (
        pa.types.is_integer(physical)
        or pa.types.is_floating(physical)
        or pa.types.is_decimal(physical)
    ):
        found = _number_or_identifier(column, rows)
    elif is_span(physical):
        found = read_as("numeric", column)
        found = replace(found, notes=(*found.notes, "is read in seconds"))
    elif pa.types.is_string(physical):
        found = _from_texts(column, rows)
    else:
        found = read_as("categorical", column)
        if found.reading.refused.any():
            reason = f"type {physical} is not supported"
            return replace(found, kind="text", reason=reason, notes=())
    extremes = pc.min_max(found.reading.values).as_py()
    if extremes["min"] is None:
        return replace(found, kind="constant", reason="has no values")
    if extremes["min"] == extremes["max"]:
        value = read_texts(column.values).values.drop_null()[0].as_py()
        beside = " besides missing" if (column.codes < 0).any() else ""
        return replace(found, kind="constant", reason=f"is always '{value}'{beside}")
    return found


def read_as(kind: ColumnKind, column: Encoded) -> Inferred:
    """Read a column as a given kind, noting what does not fit.

    Args:
        kind: Declared or inferred.
        column: Distinct values.
    """
    reading = _READERS.get(kind, read_texts)(column.values)
    return Inferred(kind, reading, notes=tuple(_notes(kind, column, reading)))


def _notes(kind: ColumnKind, column: Encoded, reading: Reading) -> list[str]:
    notes = []
    odd = reading.refused
    if kind == "numeric":
        infinite = _infinite(column.values, reading)
        if infinite.any():
            count = int(column.counts[infinite].sum())
            notes.append(f"holds {count} infinite values; their rows will be quarantined")
        if _beyond_exact(column.values, reading):
            notes.append(
                "holds integers beyond 2^53, which lose digits as numbers; "
                "name the column with --id if it identifies rows"
            )
        odd = odd & ~infinite
    if odd.any():
        wanted = {"numeric": "numbers", "boolean": "true or false", "datetime": "times"}
        example = column.values[int(np.flatnonzero(odd)[0])]
        notes.append(
            f"mixed types: {column.counts[odd].sum()} of {column.counts.sum()} cells are not "
            f"{wanted.get(kind, 'texts')}, e.g. {spelled(example)[:40]!r}; "
            "their rows will be quarantined"
        )
    return notes


def _infinite(values: pa.Array, reading: Reading) -> NDArray[np.bool_]:
    """Return which refused values are infinities."""
    infinite = np.zeros(len(values), dtype=np.bool_)
    refused = np.flatnonzero(reading.refused)
    texts = values.take(pa.array(refused)).cast(pa.string())
    infinite[refused] = pc.match_substring_regex(texts, _INFINITE).to_numpy(zero_copy_only=False)
    return infinite


def _beyond_exact(values: pa.Array, reading: Reading) -> bool:
    large = pc.greater(pc.abs(reading.values), float(2**53)).fill_null(False)
    if pa.types.is_integer(values.type):
        return bool(pc.any(large).as_py())
    if pa.types.is_string(values.type):
        integers = pc.match_substring_regex(values.filter(large), r"^\s*[+-]?[0-9]+\s*$")
        return bool(pc.any(integers).as_py())
    return False


def _number_or_identifier(column: Encoded, rows: int) -> Inferred:
    """Tell quantities from row numbers and keys; both are digits."""
    found = read_as("numeric", column)
    numbers = found.reading.values.drop_null().to_numpy(zero_copy_only=False)
    distinct, cells = len(np.unique(numbers)), int(column.counts.sum())
    if not cells or not np.array_equal(numbers, np.trunc(numbers)):
        return found
    unique = distinct >= 0.95 * cells
    counting = cells >= _ENOUGH and distinct == cells and np.ptp(numbers) < 1.05 * rows
    named = bool(_ID_NAME.search(column.name))
    if unique and (named or (counting and numbers.min() in (0, 1)) or _key(column, cells)):
        return _identifier(column)
    if named and distinct > _FEW_LEVELS:
        return _identifier(column)
    return read_as("categorical", column) if named else found


def _codes(column: Encoded) -> Inferred | None:
    """Tell codes from numbers: digits, some of them with a zero in front that a number has not."""
    digits = pc.match_substring_regex(column.values, r"^[0-9]+$").to_numpy(zero_copy_only=False)
    padded = pc.match_substring_regex(column.values, r"^0[0-9]+$").to_numpy(zero_copy_only=False)
    few = (1 - READABLE_SHARE) * column.counts.sum()
    if column.counts[padded].sum() <= few or column.counts[~digits].sum() > few:
        return None
    found = _levels_or_text(column)
    example = column.values[int(np.flatnonzero(padded)[0])].as_py()
    note = f"taken for codes because of zeros in front, e.g. {example!r}; write numbers without"
    if found.kind == "id" and (_ID_NAME.search(column.name) or _KEY_NAME.search(column.name)):
        return found
    if found.reason:
        return replace(found, kind="text", reason=note)
    return replace(found, notes=(*found.notes, note))


def _key(column: Encoded, cells: int) -> bool:
    return cells >= _ENOUGH and bool(_KEY_NAME.search(column.name))


def _identifier(column: Encoded) -> Inferred:
    found = read_as("id", column)
    return replace(found, reason="looks like an identifier; name it with --id if it is one")


def _from_texts(column: Encoded, rows: int) -> Inferred:
    if _readable_share("numeric", column) >= READABLE_SHARE:
        if codes := _codes(column):
            return codes
        return _number_or_identifier(column, rows)  # before truth values: 0 and 1 read as both
    for kind in _SPELLED:
        if _readable_share(kind, column) >= READABLE_SHARE:
            return read_as(kind, column)
    found = _levels_or_text(column)
    share = _readable_share("numeric", column)
    if note := written_otherwise(column.values, column.counts, READABLE_SHARE):
        if found.reason:  # what it looks like otherwise is no better reason
            return replace(found, kind="text", reason=note)
        return replace(found, notes=(*found.notes, note))
    if share > 0.5:
        note = (
            f"looks numeric, but {1 - share:.1%} of the cells are not numbers; "
            "declare it numeric to have their rows quarantined"
        )
        return replace(found, notes=(*found.notes, note))
    return found


def _readable_share(kind: ColumnKind, column: Encoded) -> float:
    """Return the share of cells that read as ``kind``; 0 if most of the frequent ones do not."""
    usual = column
    if len(column.values) > 2 * _TRIED:
        # Of values that are equally frequent any, not the first ones: a file may begin otherwise.
        mixed = np.random.default_rng(0).permutation(len(column.values))
        top = mixed[np.argpartition(-column.counts[mixed], _TRIED)[:_TRIED]]
        usual = Encoded(
            column.name, column.values.take(pa.array(top)), column.counts[top], column.codes
        )
    share = 0.0
    for tried in (usual, column):
        reading = _READERS[kind](tried.values)
        refused = reading.refused
        if kind == "numeric":
            refused = refused & ~_infinite(tried.values, reading)
        valid = reading.values.is_valid().to_numpy(zero_copy_only=False)
        present = tried.counts[valid | reading.refused].sum()
        share = 1 - float(tried.counts[refused].sum()) / float(present) if present else 0.0
        if share < 0.5 or tried is column:
            break
    return share


def _levels_or_text(column: Encoded) -> Inferred:
    found = read_as("categorical", column)
    texts = found.reading.values.drop_null()
    cells = int(column.counts.sum())
    if not len(texts):
        return found
    words = float(np.mean(pc.count_substring(texts, " ").to_numpy(zero_copy_only=False))) + 1
    length = float(np.mean(pc.utf8_length(texts).to_numpy(zero_copy_only=False)))
    share = len(texts) / cells
    if cells >= _ENOUGH and share >= 0.5 and (words > 2 or length > 40) and words > 1.5:
        reason = f"is free text ({len(texts)} distinct values in {cells} rows)"
        return replace(found, kind="text", reason=reason)
    if (_ID_NAME.search(column.name) and len(texts) > _FEW_LEVELS) or (
        cells >= _ENOUGH and share >= 0.95
    ):
        return _identifier(column)
    if len(texts) > _FEW_LEVELS and share > 0.5:
        reason = f"has too many levels ({len(texts)} distinct values in {cells} rows)"
        return replace(found, kind="text", reason=reason)
    return found
