"""Python values of database drivers as Arrow columns."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

__all__ = ["KINDS", "Kind", "as_text", "convert", "tell_kind"]

_INT64 = 2**63
_EXACT_FLOAT = 2**53


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column holds.

    Args:
        name: Of the kind.
        type: Of the Arrow column.
    """

    name: str
    type: pa.DataType


KINDS = {
    kind.name: kind
    for kind in (
        Kind("boolean", pa.bool_()),
        Kind("integer", pa.int64()),
        Kind("float", pa.float64()),
        Kind("instant", pa.timestamp("us", tz="UTC")),
        Kind("datetime", pa.timestamp("us")),
        Kind("date", pa.date32()),
        Kind("bytes", pa.binary()),
        Kind("text", pa.string()),
    )
}
"""By name."""


def tell_kind(values: Iterable[Any], *, numeric: bool) -> Kind:
    """Return the kind that holds all values; text if they differ, or are all null.

    Args:
        values: Of one column.
        numeric: The database declares it numeric, so that integers may be followed by fractions.
    """
    names = {_name(value) for value in values if value is not None}
    if names <= {"integer", "float"} and (numeric or names == {"integer", "float"}):
        return KINDS["float"]
    return KINDS[names.pop()] if len(names) == 1 else KINDS["text"]


def convert(kind: Kind, value: Any) -> Any:
    """Return ``value`` as the kind's Arrow column takes it.

    Raises:
        ValueError: It is of another kind, or would lose digits.
    """
    if value is None:
        return None
    if kind.name == "text":
        return as_text(value)
    name = _name(value)
    if kind.name == "float" and name == "integer" and abs(value) <= _EXACT_FLOAT:
        return float(value)
    if name != kind.name:
        raise ValueError(f"{name} is no {kind.name}")
    return bytes(value) if name == "bytes" else value


def as_text(value: Any) -> str:
    r"""Return a value as text: ISO 8601 for times, hex for bytes, JSON for nested values.

    >>> as_text(True), as_text(b"\x01"), as_text([1, None])
    ('true', '01', '[1, null]')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, default=as_text)
    return str(value)


def _name(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer" if -_INT64 <= value < _INT64 else "text"
        case float():
            return "float"
        case dt.datetime():
            return "instant" if value.tzinfo else "datetime"
        case dt.date():
            return "date"
        case bytes() | bytearray() | memoryview():
            return "bytes"
        case _:
            return "text"
