"""Finds the physical lines on which the records of a CSV file start."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

__all__ = ["Record", "records", "split_lines"]

Record = tuple[int, int, bool]
"""First line, last line (from 1), and whether a quote stands open where the text ends."""


def records(lines: Iterable[str], delimiter: str) -> Iterator[Record]:
    r"""Yield the records in order, by the rules pyarrow splits them by.

    A quote opens only at the start of a field; inside quotes a line end is data, and a doubled
    quote is a quote.  Empty lines are no records.

    >>> list(records(["a,b\n", "\n", '"x\n', 'y",1\n', '2,"open'], ","))
    [(1, 1, False), (3, 4, False), (5, 5, True)]
    """
    start, number, quoted = 1, 0, False
    for number, line in enumerate(lines, 1):
        if not quoted:
            if not line.strip("\r\n"):
                continue
            start = number
        quoted = _open_at_end(line, quoted, delimiter)
        if not quoted:
            yield start, number, False
    if quoted:
        yield start, number, True


def split_lines(text: str) -> list[str]:
    r"""Split at ``\n``, ``\r\n`` and ``\r`` only, keeping the ends.

    >>> split_lines("a\r\nb\x0bc\rd")
    ['a\r\n', 'b\x0bc\r', 'd']
    """
    return list(io.StringIO(text, newline=""))


def _open_at_end(line: str, quoted: bool, delimiter: str) -> bool:
    if '"' not in line:
        return quoted
    at_start, after_quote = not quoted, False
    for character in line:
        if quoted:
            quoted = character != '"'
            after_quote = not quoted
        elif character == '"' and (at_start or after_quote):
            quoted, at_start, after_quote = True, False, False
        else:
            at_start, after_quote = character == delimiter, False
    return quoted
