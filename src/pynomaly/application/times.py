"""Reading cells as points in time: always microseconds in UTC."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pynomaly.application.cells import MISSING_MARKERS, Reading, text_mask

__all__ = ["TIMESTAMP", "read_times"]

TIMESTAMP = pa.timestamp("us", "UTC")
"""Type of every conformed time."""

_FIRST = -62_135_596_800_000_000  # 0001-01-01T00:00:00Z, in microseconds
_LAST = 253_402_300_799_999_999  # the last microsecond of year 9999

_CLOCK = (
    r"(?:[T ](?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r" ?(?P<zone>Z|z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?P<month>(?i:{'|'.join(_MONTHS)}))[A-Za-z]*\.?"
_YEAR, _DAY = r"(?P<year>[0-9]{4})", r"(?P<day>[0-9]{1,2})"
# 03/04/2024 is March in one country and April in another, so slashes need the year in front.
_FORMATS = (
    rf"^{_YEAR}[-/](?P<month>[0-9]{{1,2}})[-/]{_DAY}{_CLOCK}",
    rf"^{_DAY}\.(?P<month>[0-9]{{1,2}})\.{_YEAR}{_CLOCK}",
    rf"^(?:[A-Za-z]{{3}}, )?{_DAY}[ -]{_MONTH}[ -]{_YEAR}{_CLOCK}",
    rf"^{_MONTH} {_DAY},? {_YEAR}{_CLOCK}",
)


def read_times(cells: pa.Array) -> Reading:
    """Read times of the years 1 to 9999; without an offset they are taken as UTC.

    Texts may be ISO 8601 (``2024-01-31``, ``2024-01-31T10:00:00.5+02:00``), ``2024/01/31``,
    ``31.01.2024``, ``31 Jan 2024`` or ``Jan 31, 2024``, each with an optional time of day.
    Plain numbers are refused: nothing says whether they count seconds or days.

    Args:
        cells: A plain column.
    """
    kind = cells.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _from_typed(cells)
    if pa.types.is_string(kind):
        return _from_texts(cells)
    present: NDArray[np.bool_] = cells.is_valid().to_numpy(zero_copy_only=False)
    return Reading(pa.nulls(len(cells), TIMESTAMP), present)


def _from_typed(cells: pa.Array) -> Reading:
    if pa.types.is_date32(cells.type):
        ticks, unit = cells.cast(pa.int32()).cast(pa.int64()), 86_400 * 10**9
    elif pa.types.is_date64(cells.type):
        ticks, unit = cells.cast(pa.int64()), 10**6
    else:
        ticks = cells.cast(pa.int64())
        unit = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[cells.type.unit]
    # Bounds in the column's own unit (nanoseconds each): converting first could overflow silently,
    # and floats would round the last instant up into the year 10000.
    low, high = (bound * 1_000 // unit for bound in (_FIRST, _LAST))
    inside = pc.and_(
        pc.greater_equal(ticks, max(low, -(2**63))), pc.less_equal(ticks, min(high, 2**63 - 1))
    )
    kept = pc.if_else(inside, cells, pa.scalar(None, cells.type))
    if pa.types.is_date(cells.type):
        kept = kept.cast(pa.timestamp("ms" if pa.types.is_date64(cells.type) else "s"))
    # A naive timestamp cast to UTC keeps its clock; one with a zone keeps its instant.
    return Reading(kept.cast(TIMESTAMP, safe=False), _true(pc.invert(inside)))


def _from_texts(cells: pa.Array) -> Reading:
    trimmed = pc.utf8_trim_whitespace(cells)
    missing = text_mask(trimmed, MISSING_MARKERS)
    texts = pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)
    instants = np.zeros(len(texts), dtype=np.int64)
    done = np.zeros(len(texts), dtype=np.bool_)
    todo = _true(texts.is_valid())
    for pattern in _FORMATS:
        positions = np.flatnonzero(todo & ~done)
        if not len(positions):
            break
        parts = pc.extract_regex(texts.take(pa.array(positions)), pattern)
        matched = _true(parts.is_valid())
        found, valid = _instants(parts.filter(pa.array(matched)))
        hits = positions[matched][valid]
        instants[hits] = found[valid]
        done[hits] = True
    values = pa.array(instants, pa.int64(), mask=~done).cast(TIMESTAMP)
    return Reading(values, todo & ~done)


def _instants(parts: pa.StructArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return microseconds since 1970 in UTC and which of them exist in the calendar."""
    year, day = _integers(parts, "year"), _integers(parts, "day")
    month = _months(parts.field("month"))
    hour, minute, second = (_integers(parts, name) for name in ("hour", "minute", "second"))
    fraction = pc.utf8_rpad(parts.field("fraction"), 9, "0").cast(pa.int64())
    micros: NDArray[np.int64] = fraction.to_numpy(zero_copy_only=False) // 1_000
    months = (year - 1970) * 12 + month - 1
    dates = months.astype("datetime64[M]").astype("datetime64[D]") + (day - 1)
    in_month = dates.astype("datetime64[M]").astype(np.int64) == months
    seconds = dates.astype(np.int64) * 86_400 + hour * 3_600 + minute * 60 + second
    instants = (seconds - _offsets(parts.field("zone"))) * 1_000_000 + micros
    valid = (
        (month >= 1) & (month <= 12) & (day >= 1) & in_month
        & (hour < 24) & (minute < 60) & (second < 60)
        & (instants >= _FIRST) & (instants <= _LAST)
    )  # fmt: skip
    return instants, valid


def _integers(parts: pa.StructArray, name: str) -> NDArray[np.int64]:
    texts = parts.field(name)
    filled = pc.if_else(pc.equal(texts, ""), "0", texts)
    result: NDArray[np.int64] = filled.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return result


def _months(texts: pa.Array) -> NDArray[np.int64]:
    names = texts.dictionary_encode()
    numbers = [
        _MONTHS.index(name.lower()) + 1 if name.isalpha() else int(name)
        for name in names.dictionary.to_pylist()
    ]
    return _looked_up(numbers, names)


def _offsets(zones: pa.Array) -> NDArray[np.int64]:
    """Return seconds east of UTC."""
    names = zones.dictionary_encode()
    seconds = []
    for name in names.dictionary.to_pylist():
        sign = {"+": 1, "-": -1}.get(name[:1], 0)
        digits = name[1:].replace(":", "")
        seconds.append(sign * (int(digits[:2]) * 3_600 + int(digits[2:] or 0) * 60) if sign else 0)
    return _looked_up(seconds, names)


def _looked_up(values: list[int], encoded: pa.DictionaryArray) -> NDArray[np.int64]:
    indices: NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False)
    return np.array(values, dtype=np.int64)[indices]


def _true(mask: pa.Array) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = mask.fill_null(False).to_numpy(zero_copy_only=False)
    return result
