"""What is usual in a column, and how far from it a cell lies."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.preprocessing import clock, epoch_seconds, level_codes, numbers
from pynomaly.domain.encodings import (
    QUANTILE_SHARES,
    CategoricalEncoding,
    Encoding,
    NumericEncoding,
    TimeEncoding,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["cell_text", "cells_told", "shares_as_unusual"]

Floats = NDArray[np.float64]

_TEXT_LIMIT = 80
_ROUNDED = 1e-5  # of a number is more than its six digits leave out
_AS_FREQUENT = 0.95  # of what falls in the most frequent hour, and differs by chance
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# A value beyond the quantile at share s leaves at most s, or 1 - s, of the rows outside.
_AS_LOW = (*QUANTILE_SHARES, 1.0)
"""Share of rows at least as low, by the number of quantiles that are not above."""
_AS_HIGH = (1.0, *(round(1.0 - share, 4) for share in QUANTILE_SHARES))
"""Share of rows at least as high, by the number of quantiles below."""


def shares_as_unusual(encoding: Encoding, cells: pa.ChunkedArray) -> Floats:
    """Return (n,) shares of training rows at least as unusual in this column.

    Of numbers, those as far out on the same side (an upper bound, from quantiles); of categories,
    those with levels at most as frequent (an upper bound for levels beyond those kept); of times,
    the smaller share for hour and weekday; of missing cells, those missing.  0 where training has
    seen nothing like it.

    Args:
        encoding: Of the column.
        cells: Conformed.
    """
    match encoding:
        case NumericEncoding():
            values, quantiles = numbers(cells), np.array(encoding.quantiles)
            values = np.clip(values, encoding.lower, encoding.upper)  # as quantiles have them
            as_low = np.array(_AS_LOW)[np.searchsorted(quantiles, values, side="right")]
            as_high = np.array(_AS_HIGH)[np.searchsorted(quantiles, values, side="left")]
            return np.where(np.isnan(values), encoding.missing, np.minimum(as_low, as_high))
        case CategoricalEncoding():
            tails = _tails(np.array(encoding.shares)) + encoding.left_out
            others = tails[-1] if encoding.left_out else 0.0
            return np.append(tails, others)[level_codes(encoding, cells)]
        case TimeEncoding():
            seconds = epoch_seconds(cells)
            missing = np.isnan(seconds)
            hours, weekdays = clock(np.where(missing, 0.0, seconds))
            rarer = np.ones(len(seconds))
            for shares, at in ((encoding.hours, hours), (encoding.weekdays, weekdays)):
                if shares:
                    rarer = np.minimum(rarer, _tails(np.array(shares))[at])
            return np.where(missing, encoding.missing, rarer)


def cells_told(
    encoding: Encoding, cells: pa.ChunkedArray, directions: NDArray[np.int8], similar: Floats
) -> tuple[list[str], list[str]]:
    """Return some cells of a column as text, and what is usual there, to show where each lies.

    Every number in it but ``similar`` is about training rows.
    A number so close to what it is compared with that both would be rounded to the same is written
    out, and so is the other.

    Args:
        encoding: Of the column.
        cells: (n,) conformed.
        directions: (n,) 1 where a number is high beside the row's other values, -1 where it is low.
            It is said where the number by itself does not show it.
        similar: (n,) what similar rows have, where the column is of numbers.
    """
    if not isinstance(encoding, NumericEncoding):
        found = cells.to_pylist()
        if isinstance(encoding, CategoricalEncoding):
            told = [_categorical(encoding, cell) for cell in found]
        else:
            told = [_time(encoding, cell) for cell in found]
        return [cell_text(cell) for cell in found], told
    values, quantiles = numbers(cells), np.array(encoding.quantiles)
    kept = np.clip(values, encoding.lower, encoding.upper)  # as quantiles have them
    below, not_above = (np.searchsorted(quantiles, kept, side=s) for s in ("left", "right"))
    alike = (below * (len(quantiles) + 1) + not_above) * 3 + directions
    alike[np.isnan(values)] = -9
    texts: dict[int, _Text] = {}  # numbers between the same quantiles are told the same
    written: list[str] = []
    told = []
    for key, cell, direction, other in zip(
        alike.tolist(), values.tolist(), directions.tolist(), similar.tolist(), strict=True
    ):
        if (text := texts.get(key)) is None:
            text = texts[key] = _told(encoding, cell, direction, 0)
        if not text.holds_for(cell):
            text = _numeric(encoding, cell, direction)
        close = abs(cell - (other if text.beside else text.bound)) < _ROUNDED * abs(cell)
        tell = _exactly if close else cell_text
        written.append(tell(cell))
        told.append(text.told(other, tell))
    return written, told


def cell_text(cell: Any) -> str:
    """Return a cell as text for people.

    >>> cell_text(9450.0), cell_text(0.1234567), cell_text(True), cell_text(None)
    ('9,450', '0.123457', 'true', 'missing')
    """
    if isinstance(cell, float) and -1e6 < cell < 1e6 and not cell.is_integer():
        return f"{cell:,.6g}"  # as most are
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "missing"
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, int | float):
        whole = float(cell).is_integer() or abs(cell) >= 1e6
        return f"{round(cell):,}" if whole and abs(cell) < 1e15 else f"{cell:,.6g}"
    if isinstance(cell, datetime):
        return f"{cell.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    text = str(cell)
    return text if len(text) <= _TEXT_LIMIT else f"{text[: _TEXT_LIMIT - 1]}…"


def _exactly(number: float) -> str:
    if not number.is_integer():
        return f"{number:,}"
    return f"{int(number):,}" if abs(number) < 1e15 else f"{number:,.17g}"


def _tails(shares: Floats) -> Floats:
    """Return for each class the share of rows whose class is at most as frequent."""
    ordered = np.sort(shares)
    return np.cumsum(ordered)[np.searchsorted(ordered, shares, side="right") - 1]


class _Text(NamedTuple):
    """What is told of a number, and the bound it names, which the number must lie beyond.

    ``beside`` says how it stands to the row's other values, where that is what matters.
    """

    words: str
    bound: float = -math.inf
    side: int = 1
    beside: str = ""

    def holds_for(self, cell: float) -> bool:
        return not self.side * cell <= self.side * self.bound

    def told(self, similar: float, tell: Callable[[float], str]) -> str:
        if not self.beside:
            return self.words
        return f"{self.beside}, similar rows have about {tell(similar)}"


def _numeric(encoding: NumericEncoding, cell: float | None, direction: int) -> _Text:
    text = _told(encoding, cell, direction, 0)
    # Rounding away from the rows may reach the cell; a float has 17 digits.
    for finer in range(1, 18):
        if cell is None or text.holds_for(cell):
            break
        text = _told(encoding, cell, direction, finer)
    return text


def _told(encoding: NumericEncoding, cell: float | None, direction: int, finer: int) -> _Text:
    quantiles = encoding.quantiles
    if cell is None or math.isnan(cell):
        return _Text(f"{_missing(encoding.missing)}, {_middle(quantiles)}")
    kept = min(max(cell, encoding.lower), encoding.upper)
    below, not_above = bisect_left(quantiles, kept), bisect_right(quantiles, kept)
    return _beside(quantiles, below, not_above, direction, finer)


@lru_cache(maxsize=4_096)  # flagged rows share a few texts, and these cost more than the scores
def _beside(
    quantiles: tuple[float, ...], below: int, not_above: int, direction: int, finer: int
) -> _Text:
    """Tell what is usual to a number, by how many quantiles are below it and how many not above."""
    as_low, as_high = _AS_LOW[not_above], _AS_HIGH[below]
    side = 1 if as_high <= as_low else -1
    if min(as_low, as_high) > 0.25 or direction == -side:
        beside = f"{'high' if direction > 0 else 'low'} beside the row's other values"
        return _Text(_middle(quantiles), beside=beside if direction else "")
    if side == 1:
        outside, passed, common, extreme = as_high, quantiles[below - 1], 0.99, quantiles[-1]
        most, beyond = "at most", "above"
    else:
        outside, passed, common, extreme = as_low, quantiles[not_above], 0.01, quantiles[0]
        most, beyond = "at least", "below"
    decimals = _decimals(quantiles)
    if outside > 0:
        bound, told = _number(passed, side, decimals, finer)
        return _Text(f"{_share(1 - outside)} of rows are {most} {told}", bound, side)
    bound, told = _number(extreme, side, decimals, finer)
    text = f"no row in training is {beyond} {told}"
    usual = quantiles[QUANTILE_SHARES.index(common)]
    if usual != extreme:
        text += f", 99 % are {most} {_number(usual, side, decimals, finer)[1]}"
    return _Text(text, bound, side)


def _middle(quantiles: tuple[float, ...]) -> str:
    decimals = _decimals(quantiles)
    low, high = (
        _number(quantiles[QUANTILE_SHARES.index(share)], side, decimals)[1]
        for share, side in ((0.25, -1), (0.75, 1))
    )
    return f"at least half of rows lie between {low} and {high}"


def _decimals(quantiles: tuple[float, ...]) -> int:
    """Return after how many decimals numbers differ by less than a tenth of what they spread."""
    inner = [quantiles[QUANTILE_SHARES.index(share)] for share in (0.25, 0.75)]
    spread = inner[1] - inner[0] or quantiles[-1] - quantiles[0]
    return 1 - math.floor(math.log10(spread)) if 0 < spread < math.inf else 0


def _categorical(encoding: CategoricalEncoding, cell: Any) -> str:
    level = None if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell)
    usual, share = encoding.levels[0], encoding.shares[0]
    usually = f"{'missing' if usual is None else cell_text(usual)} ({_share(share)})"
    if level in encoding.levels:
        own = encoding.shares[encoding.levels.index(level)]
        if own == share:
            return f"as frequent as any: {_share(share)} of rows"
        seen = "missing in" if level is None else "seen in"
        return f"{seen} {_share(own)} of rows, usually {usually}"
    if encoding.left_out:  # this one may have been among the levels beyond
        return (
            f"not among the {len(encoding.levels):,} most frequent levels, seen in at most "
            f"{_share(encoding.shares[-1])} of rows, usually {usually}"
        )
    if level is None:
        return f"never missing in training, usually {usually}"
    return f"never seen in training, usually {usually}"


def _time(encoding: TimeEncoding, cell: datetime | None) -> str:
    read: list[tuple[NDArray[np.float64], int, Callable[[int], str]]] = []
    at = None if cell is None else cell.astimezone(UTC)
    if encoding.hours:
        read.append((np.array(encoding.hours), at.hour if at else 0, _hour))
    if encoding.weekdays:
        read.append((np.array(encoding.weekdays), at.weekday() if at else 0, _weekday))
    most = [f"{name(int(np.argmax(s)))} ({_share(s.max())})" for s, _, name in read]
    if at is None or not read:
        return ", most ".join(filter(None, (_missing(encoding.missing), " and ".join(most))))
    # The stranger of the two; of equals the hour.
    rarity = [_tails(shares)[own] for shares, own, _ in read]
    first = int(np.argmin(rarity))
    shares, own, name = read[first]
    if shares[own] >= _AS_FREQUENT * shares.max():
        return f"about as frequent as any: {_share(shares[own])} of rows fall {name(own)}"
    return f"{_falling(shares[own])} {name(own)}, most {most[first]}"


def _hour(hour: int) -> str:
    return f"between {hour:02}:00 and {hour:02}:59 UTC"


def _weekday(day: int) -> str:
    return f"on a {_DAYS[day]}"


def _falling(share: float) -> str:
    return f"{_share(share)} of rows fall" if share else "no row falls"


def _missing(share: float) -> str:
    return f"missing in {_share(share)} of rows" if share else "never missing in training"


def _share(share: float) -> str:
    """Return a share as percent; what is not nothing, or not all, never reads as it.

    >>> _share(0.613), _share(0.0002), _share(0.999), _share(1e-6), _share(0.0)
    ('61.3 %', '0.02 %', '99.9 %', '<0.01 %', '0 %')
    >>> _share(0.9995), _share(0.99996), _share(1.0)
    ('99.95 %', '>99.99 %', '100 %')
    """
    if 0 < share < 0.0001:
        return "<0.01 %"
    if 0.9999 < share < 1:
        return ">99.99 %"
    return f"{100 * share:.{4 if share > 0.999 else 3}g} %"


def _number(value: float, side: int, decimals: int, finer: int = 0) -> tuple[float, str]:
    """Return a bound rounded away from the rows it bounds, as a number and as text.

    It has four significant digits, or more where the column's values differ by less.

    Args:
        value: Of training.
        side: 1 for an upper bound, -1 for a lower one.
        decimals: That tell the column's values apart.
        finer: Significant digits to add.

    >>> _number(312.0, 1, 0)[1], _number(0.123412, 1, 0)[1], _number(-1234.56, -1, 0)[1]
    ('312', '0.1235', '-1,235')
    >>> _number(1013.2471, 1, 2)
    (1013.25, '1,013.25')
    """
    if value.is_integer() and abs(value) < 1e15:
        return value, f"{int(value):,}"
    if abs(value) < 1e-300:  # four digits of it are no float any more
        return value, repr(value)
    magnitude = math.floor(math.log10(abs(value)))
    places = max(0 if 3 <= magnitude < 15 else 3 - magnitude, decimals) + finer
    unit = Decimal(1).scaleb(-min(places, 16 - magnitude))
    # As it is written: the binary 0.621 lies a little below, and would be rounded to 0.6209.
    bound = (
        Decimal(repr(float(value)))
        .quantize(unit, ROUND_CEILING if side > 0 else ROUND_FLOOR)
        .normalize()
    )
    return float(bound), f"{bound:,f}" if -5 <= magnitude < 15 else f"{bound:e}"
