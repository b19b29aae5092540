"""Columns of numbers and dates that are not written as we read them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pynomaly.application.cells import read_numbers, spelled
from pynomaly.application.times import read_times

__all__ = ["written_otherwise"]

_NUMBER = r"^[$€£]? ?[+-]?[$€£]? ?(?:[0-9]{1,3}(?:[,.' ][0-9]{3})+|[0-9]+)(?:[.,][0-9]+)? ?[$€£%]?$"
"""A number with thousands separators, a decimal comma, a currency or a percent sign."""

_DATE = r"^\s*[0-9]{1,2}[/.\-][0-9]{1,2}[/.\-](?:[0-9]{4}|[0-9]{2})(?:[ T].*)?$"
"""A date with day and month first, whose order differs from country to country."""

_SPELLINGS = (
    (
        _NUMBER,
        read_numbers,
        "looks numeric, but {!r} is not read as a number: write numbers like 1234.5, without "
        "separators, commas and signs",
    ),
    (
        _DATE,
        read_times,
        "looks like dates, but {!r} is not read as one: write dates like 2026-01-31",
    ),
)


def written_otherwise(values: pa.Array, counts: NDArray[np.int64], share: float) -> str:
    """Return what is to be said of such a column; nothing of any other.

    Args:
        values: Distinct texts.
        counts: How often each occurs.
        share: Of the cells that must look so.

    >>> written_otherwise(pa.array(["1,234"]), np.array([3]), 0.99)[:48]
    "looks numeric, but '1,234' is not read as a numb"
    """
    for pattern, read, said in _SPELLINGS:
        looks = pc.match_substring_regex(values, pattern).to_numpy(zero_copy_only=False)
        unread = np.flatnonzero(looks & read(values).refused)
        if len(unread) and counts[looks].sum() >= share * counts.sum():
            return said.format(spelled(values[int(unread[0])]))
    return ""
