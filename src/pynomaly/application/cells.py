"""Reading cells as numbers, truth values, times and texts.

Every reader works on one column at a time without loops over rows, judges each cell by itself (so
a verdict never depends on the other cells of a chunk), and says which cells it had to refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = [
    "MISSING_MARKERS",
    "Reader",
    "Reading",
    "is_span",
    "plain",
    "plain_type",
    "read_booleans",
    "read_numbers",
    "read_texts",
    "spelled",
    "stored",
    "text_mask",
]

MISSING_MARKERS = (
    "", "NA", "N/A", "n/a", "na", "#N/A", "<NA>", "NaN", "nan", "NAN", "null", "NULL", "Null",
    "None", "none", "NONE", "NaT",
)  # fmt: skip
"""Texts that mean "missing" where a number, truth value or time is declared."""

_TICKS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""In a second, by Arrow's name of the unit."""

_TRUE = ("true", "t", "yes", "y", "1", "1.0")
_FALSE = ("false", "f", "no", "n", "0", "0.0")

# Exactly what Arrow's own text-to-number cast accepts: a column without a bad cell takes the cast
# alone, so both ways must agree (tested by property).
_NUMBER = (
    r"^[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
    r"|(?i:inf|infinity|nan(?:\([0-9a-z_]*\))?))$"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A column as read.

    Args:
        values: Typed; null where a cell is missing or refused.
        refused: (n,) cells that hold something which cannot be read as declared.
    """

    values: pa.Array
    refused: NDArray[np.bool_]


Reader = Callable[[pa.Array], Reading]


_MEANT = {"arrow.uuid": pa.string(), "arrow.bool8": pa.bool_()}
"""What some extension types hold, by name, where it is not what they are stored as."""


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column's cells, however they are stored.

    Dictionaries have that of their values and extension types that of their storage, but for UUIDs,
    which are texts, and truth values of a byte.

    >>> plain_type(pa.dictionary(pa.int8(), pa.uuid()))
    DataType(string)
    """
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _MEANT.get(kind.extension_name) or plain_type(kind.storage_type)
    return kind


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array with dictionaries, extensions, views and large strings resolved.

    Args:
        column: As a source delivers it.
    """
    if not isinstance(column, pa.ChunkedArray):
        cells = column
    elif column.num_chunks == 1:
        cells = column.chunk(0)  # concatenating would copy it
    else:
        cells = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    cells = stored(cells)
    kind = cells.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return cells.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            return cells.cast(pa.string())
        except pa.ArrowInvalid:
            return cells  # not UTF-8: stays bytes, which every reader refuses
    return cells


def stored(cells: pa.Array) -> pa.Array:
    """Return cells as an array of their :func:`plain_type`."""
    if pa.types.is_dictionary(cells.type):
        # Where the values are of an extension type, Arrow takes only those they are stored as.
        values = stored(cells.dictionary)
        if values is not cells.dictionary:
            return values.take(cells.indices)
        return cells.dictionary_decode()
    if not isinstance(cells.type, pa.BaseExtensionType):
        return cells
    match cells.type.extension_name:
        case "arrow.uuid":
            return _uuids(cells.storage)
        case "arrow.bool8":
            return cells.storage.cast(pa.bool_())
    return stored(cells.storage)


_DASHED = np.frombuffer(b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", dtype=np.uint8)
_DIGITS = np.flatnonzero(_DASHED - ord("-"))
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def _uuids(cells: pa.Array) -> pa.Array:
    """Return UUIDs, 16 bytes each, as they are written."""
    n, known = len(cells), cells.fill_null(bytes(16))
    stored_bytes = np.frombuffer(known.buffers()[1], dtype=np.uint8)
    each = stored_bytes[16 * known.offset : 16 * (known.offset + n)].reshape(n, 16)
    texts = np.tile(_DASHED, (n, 1))
    texts[:, _DIGITS[0::2]] = _HEX[each >> 4]
    texts[:, _DIGITS[1::2]] = _HEX[each & 15]
    offsets = np.arange(n + 1, dtype=np.int32) * np.int32(len(_DASHED))
    written = pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(texts))
    return pc.if_else(cells.is_valid(), written, None)


def text_mask(texts: pa.Array, values: tuple[str, ...]) -> pa.Array:
    """Return which texts are among ``values``; null is not."""
    return pc.is_in(texts, value_set=pa.array(values, pa.string()))


def spelled(cell: pa.Scalar) -> str:
    """Return a cell as text, whatever it holds."""
    if pa.types.is_temporal(cell.type):
        return str(cell.cast(pa.string()))  # Python's dates end with the year 9999
    return str(cell.as_py())


def read_numbers(cells: pa.Array) -> Reading:
    """Read finite float64; NaN is missing, infinities are refused.

    Durations and times of day are seconds.  Thousands separators and decimal commas are refused,
    never guessed.

    Args:
        cells: A plain column.
    """
    kind = cells.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers, unreadable = cells.cast(pa.float64(), safe=False), _none(cells)
    elif is_span(kind):
        numbers, unreadable = _seconds(cells), _none(cells)
    elif pa.types.is_string(kind):
        numbers, unreadable = _numbers_from_texts(cells)
    else:
        return _all_refused(cells, pa.float64())
    if not len(numbers):
        return Reading(pa.array([], pa.float64()), unreadable)
    array = numbers.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    if np.isfinite(array).all():
        return Reading(numbers, unreadable)  # as most are; a mask would copy them
    infinite = np.isinf(array)
    return Reading(
        pa.array(array, pa.float64(), mask=infinite | np.isnan(array)), unreadable | infinite
    )


def is_span(kind: pa.DataType) -> bool:
    """Whether cells are durations or times of day."""
    return bool(pa.types.is_duration(kind) or pa.types.is_time(kind))


def _seconds(spans: pa.Array) -> pa.Array:
    kind = spans.type
    ticks = spans.view(pa.int32() if pa.types.is_time32(kind) else pa.int64())
    return pc.divide(ticks.cast(pa.float64(), safe=False), _TICKS[kind.unit])


def _numbers_from_texts(texts: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    try:
        return texts.cast(pa.float64()), _none(texts)
    except pa.ArrowInvalid:
        present = _without_markers(texts)
        readable = pc.match_substring_regex(present, _NUMBER)
        numbers = pc.if_else(readable, present, pa.scalar(None, pa.string())).cast(pa.float64())
        return numbers, _false_where_null(pc.invert(readable))


def read_booleans(cells: pa.Array) -> Reading:
    """Read true/false, t/f, yes/no, y/n and 1/0 in any case.

    Args:
        cells: A plain column.
    """
    kind = cells.type
    if pa.types.is_boolean(kind):
        return Reading(cells, _none(cells))
    if pa.types.is_string(kind):
        present = pc.utf8_lower(_without_markers(cells))
        true, false = text_mask(present, _TRUE), text_mask(present, _FALSE)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = cells.cast(pa.float64(), safe=False)
        present = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
        true, false = pc.equal(present, 1.0), pc.equal(present, 0.0)
    else:
        return _all_refused(cells, pa.bool_())
    known = pc.or_(true, false)
    values = pc.if_else(known, true, pa.scalar(None, pa.bool_()))
    refused = pc.and_(pc.is_valid(present), pc.invert(known))
    return Reading(values, _false_where_null(refused))


def read_texts(cells: pa.Array) -> Reading:
    """Read texts, keeping every digit; the empty text is missing.

    Integers of any width become decimal text, whole floats lose their ``.0`` (spreadsheets and
    columns with missing values turn integers into floats).

    Args:
        cells: A plain column.
    """
    kind = cells.type
    if pa.types.is_string(kind):
        texts = cells
    elif pa.types.is_floating(kind):
        texts = _texts_from_floats(cells)
    elif (
        pa.types.is_integer(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or (pa.types.is_temporal(kind) and not pa.types.is_interval(kind))
        or pa.types.is_null(kind)
    ):
        texts = cells.cast(pa.string())
    else:
        return _all_refused(cells, pa.string())
    empty = pc.equal(texts, "")
    if pc.any(empty).as_py():
        texts = pc.if_else(empty, pa.scalar(None, pa.string()), texts)
    return Reading(texts, _none(cells))


def _texts_from_floats(cells: pa.Array) -> pa.Array:
    numbers = cells.cast(pa.float64())
    array = numbers.fill_null(np.nan).to_numpy(zero_copy_only=False)
    whole = (np.abs(array) < 2**53) & (array == np.trunc(array))
    # -0.0 + 0.0 is 0.0; the cast spells whole floats below 2^53 as integers or 1e+16 otherwise
    integers = pa.array(np.where(whole, array, 0.0).astype(np.int64)).cast(pa.string())
    # Narrow floats are spelled at their own width: 0.1 stays "0.1"
    texts = pc.if_else(pa.array(whole), integers, cells.cast(pa.string()))
    return pc.if_else(pa.array(np.isnan(array)), pa.scalar(None, pa.string()), texts)


def _without_markers(texts: pa.Array) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(texts)
    missing = text_mask(trimmed, MISSING_MARKERS)
    return pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)


def _none(cells: pa.Array) -> NDArray[np.bool_]:
    return np.zeros(len(cells), dtype=np.bool_)


def _all_refused(cells: pa.Array, kind: pa.DataType) -> Reading:
    present: NDArray[np.bool_] = cells.is_valid().to_numpy(zero_copy_only=False)
    return Reading(pa.nulls(len(cells), kind), present)


def _false_where_null(mask: pa.Array) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = mask.fill_null(False).to_numpy(zero_copy_only=False)
    return result
