"""Tables, numbers and safe text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "clean",
    "console",
    "detector_name",
    "moment",
    "number",
    "share",
    "share_range",
    "table",
]


def console(stream: TextIO) -> Console:
    """Return a console that colours only on a terminal and takes all text literally."""
    out = Console(file=stream, markup=False, highlight=False, emoji=False)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = 120
    return out


def clean(text: object) -> str:
    """Return text without control characters: a column's name must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in str(text))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table; columns whose name begins with ``#`` are aligned right.

    Args:
        title: Above it.
        columns: Headings; where all are empty there is no heading line.
        rows: Cells, in any type.
    """
    result = Table(
        title=Text(clean(title)),
        box=box.SIMPLE_HEAD if any(columns) else None,
        show_header=any(columns),
        title_justify="left",
        title_style="bold",
    )
    for column in columns:
        result.add_column(
            column.removeprefix("#"),
            justify="right" if column.startswith("#") else "left",
            overflow="fold",
        )
    for row in rows:
        result.add_row(*(Text(clean("" if cell is None else cell)) for cell in row))
    return result


def number(value: Any) -> str:
    """Return a number for people: thousands apart, four significant digits.

    >>> number(12345), number(0.123456), number(None)
    ('12,345', '0.1235', '')
    """
    if value is None:
        return ""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.4g}"
    return f"{value:,.0f}"


def share(value: float) -> str:
    """Return a share as percent; what is not nothing, or not all, never reads as it.

    >>> share(0.05), share(0.0), share(0.00012), share(0.996), share(1.0)
    ('5 %', '0 %', '0.012 %', '99.6 %', '100 %')
    """
    if 0.9999 < value < 1:
        return ">99.99 %"
    if 0 < value < 0.1:
        return f"{value * 100:.2g} %"
    return f"{value * 100:.4g} %" if 0.99 < value < 1 else f"{value * 100:.0f} %"


def share_range(low: float, high: float) -> str:
    """Return two shares as a range, or as one where they read alike.

    >>> share_range(0.01, 0.05), share_range(0.2, 0.2)
    ('1 % to 5 %', '20 %')
    """
    return " to ".join(dict.fromkeys((share(low), share(high))))


def detector_name(facts: Mapping[str, Any]) -> str:
    """Return the name of a detector, marked where it is uncertified.

    >>> detector_name({"detector": "pyod:ABOD", "certified": False})
    'pyod:ABOD (uncertified)'
    """
    return f"{facts['detector']}{'' if facts.get('certified', True) else ' (uncertified)'}"


def moment(value: Any) -> str:
    """Return a moment in local time to the second.

    >>> moment(None)
    ''
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S") if value else ""
