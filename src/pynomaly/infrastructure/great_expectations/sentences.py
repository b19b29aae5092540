"""What an expectation wants and what it found, in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

__all__ = ["allowed", "shown", "wanted"]

_SHOWN_LEVELS = 8


def shown(value: Any) -> str:
    """Return a value for people: texts quoted, whole floats without ``.0``."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return "none"
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating):
        return f"{value:.10g}"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else repr(value[:57] + "…")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {shown(item)}" for key, item in value.items())
    if isinstance(value, list | tuple | set | np.ndarray):
        items = [shown(item) for item in list(value)[:_SHOWN_LEVELS]]
        more = len(value) - len(items)
        return ", ".join(items) + (f" and {more} more" if more else "")
    return str(value)


def allowed(kind: str, kwargs: Mapping[str, Any]) -> str:
    """Return what would pass, with the share that must."""
    mostly = float(kwargs.get("mostly", 1.0))
    share = f" for at least {mostly:.4g} of the values" if mostly < 1 else ""
    condition = f" where {kwargs['row_condition']}" if kwargs.get("row_condition") else ""
    return f"{wanted(kind, kwargs)}{condition}{share}"


def wanted(kind: str, kwargs: Mapping[str, Any]) -> str:
    """Return what one value (or the aggregate) should be."""
    name = kind.removeprefix("expect_")
    if "min_value" in kwargs or "max_value" in kwargs:
        return _aggregate(name) + _bounds(kwargs)
    a, b = kwargs.get("column_A"), kwargs.get("column_B")
    fixed = {
        "column_values_to_not_be_null": "a value",
        "column_values_to_be_null": "no value",
        "column_values_to_be_unique": "a value not seen before",
        "compound_columns_to_be_unique": "a combination not seen before",
        "column_to_exist": "the column to exist",
        "column_pair_values_a_to_be_greater_than_b": f"{a} greater than {b}",
        "column_pair_values_to_be_equal": f"{a} equal to {b}",
        "multicolumn_sum_to_equal": f"a sum of {shown(kwargs.get('sum_total'))}",
        "select_column_values_to_be_unique_within_record": "different values",
    }
    if name in fixed:
        return fixed[name]
    if "value_set" in kwargs:
        none = "none of" if "_not_" in name else "one of"
        return f"{none} {shown(kwargs['value_set'])}"
    if "regex" in kwargs:
        return f"{'no' if '_not_' in name else 'a'} match of /{kwargs['regex']}/"
    return _generic(name, kwargs)


def _aggregate(name: str) -> str:
    """Return what the bounds are about, where it is not the single value."""
    if name == "column_values_to_be_between":
        return ""
    about = name.removeprefix("column_").removeprefix("table_").removesuffix("_to_be_between")
    return about.replace("_", " ") + " "


def _bounds(kwargs: Mapping[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    strict_low, strict_high = kwargs.get("strict_min"), kwargs.get("strict_max")
    if low is not None and high is not None and not strict_low and not strict_high:
        return f"between {shown(low)} and {shown(high)}"
    parts = []
    if low is not None:
        parts.append(f"{'more than' if strict_low else 'at least'} {shown(low)}")
    if high is not None:
        parts.append(f"{'less than' if strict_high else 'at most'} {shown(high)}")
    return " and ".join(parts)


def _generic(name: str, kwargs: Mapping[str, Any]) -> str:
    hidden = {"column", "column_A", "column_B", "column_list", "mostly", "row_condition"}
    arguments = [f"{key} {shown(value)}" for key, value in kwargs.items() if key not in hidden]
    words = name.removeprefix("column_").removeprefix("multicolumn_").replace("_", " ")
    return words + (f" ({', '.join(arguments)})" if arguments else "")
