"""A guard for what no ensemble may overlook: one value absurdly far outside its column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import Frozen, RobustScaling

__all__ = ["fit_deviation"]

Floats = NDArray[np.float64]

_MOST = 1e6  # deviations beyond are as good as that
_ORDINARY, _FEW = 0.99, 0.01
_LEAST_LIMIT = 3.0

_RESIDUE = 1e-6
"""Deviations, and share of a column's largest one, that count as none: sums of amounts that should
be zero are hardly ever."""

_HARDLY, _EXCEPTIONS = 0.001, 5.0
"""Share of rows that differ in a column where hardly any does, and how many times as many may in
all such columns together."""

_NOTABLE = 1.5
"""How many times the limit such a difference is: told, below whatever is absurd."""

_TAIL = 0.1
"""Share of rows on one side of a column that tell how its values thin out."""

_ATOM, _DIFFERENT, _TAIL_ROWS = 0.05, 20, 20
"""Largest share of one value, fewest values, and fewest rows in a tail, of a column that thins
out smoothly."""

_PAST_ZERO = 1.5
"""How many times as far as zero a tail of one sign ends."""

_LEAST_EXCESS = 0.1
"""Of a deviation, that half of the tail's rows lie beyond its beginning at least."""

_LEAST_HALVINGS = 7.0
"""Of the rows left in a tail, that ordinary values of some column reach in any table."""

_TAIL_LIMIT = 2.0
"""How many times the halvings that 99 % of rows stay below end a tail."""


def fit_deviation(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Learn how far out the largest deviation of a row ordinarily lies, and how columns end.

    Columns are measured from their medians in the larger of robust and ordinary standard
    deviations, so that a heavy tail widens its own measure.  Where the middle half is one value, as
    in counts of errors, three quarters of the rows that differ lie within a measure, so that a rare
    flag by itself is nothing absurd; where hardly a row differs that is all the measure, because
    the first absurd value would widen a standard deviation and hide the next.  The limit is
    ``beyond`` times what 99 % of rows stay below in the other columns, or half of what they stay
    below in all columns, whichever is more.

    A column in which at most one row in a thousand differs at all is told where it does, unless
    there are so many such columns that five in a thousand rows do in one of them.

    That overlooks an age of 150 among ages of 18 to 79, five deviations out.  So columns without
    frequent values, and counts, have an end on either side as well, where their tail should have no
    row left, or beyond zero where they have one sign (:func:`_ends`).

    A row's score is the logarithm of how many times the limit its largest deviation is, or of how
    many times as far from its tail's beginning as the end: nothing for nearly all rows.
    """
    scaling = RobustScaling.fit(X, floors)
    largest = np.arcsinh(_MOST)
    deviations = np.sinh(np.clip(scaling(X), -largest, largest))
    measures = np.maximum(1.0, deviations.std(axis=0))
    lower, upper = np.quantile(deviations, [0.25, 0.75], axis=0)
    distances = np.abs(deviations)
    mostly_one_value = upper <= lower
    rounding = np.maximum(1e-12 * np.abs(scaling.center) / scaling.scale, _RESIDUE)
    rounding = np.maximum(rounding, _RESIDUE * distances.max(axis=0))
    hardly_any = _HARDLY * len(X)
    exceptions = np.zeros(len(X), dtype=np.bool_)
    nearest = np.full(len(measures), np.inf)
    for j in np.flatnonzero(mostly_one_value):
        differs = distances[:, j] > rounding[j]
        differ = distances[differs, j]
        least = measures[j] if len(differ) > _FEW * len(X) else rounding[j]
        measures[j] = max(least, float(np.quantile(differ, 0.75)) if len(differ) else 0.0)
        if 0 < len(differ) <= hardly_any:
            exceptions |= differs
            nearest[j] = differ.min()
    distances /= measures
    farthest = distances.max(axis=1)
    ordinary = distances[:, ~mostly_one_value].max(axis=1, initial=0.0)
    limit = float(params["beyond"]) * max(
        _LEAST_LIMIT, np.quantile(ordinary, _ORDINARY), np.quantile(farthest, _ORDINARY) / 2
    )
    steps = np.array([_step(column) for column in deviations.T])
    steps[mostly_one_value | (len(X) * _TAIL < _TAIL_ROWS)] = np.nan
    (low, high), (falls, rises) = _ends(deviations, steps, -scaling.center / scaling.scale)
    shares = 1.0 / (measures * limit)
    if exceptions.sum() <= _EXCEPTIONS * hardly_any:
        shares = np.maximum(shares, _NOTABLE / nearest)

    def score(rows: NDArray[np.int64]) -> Floats:
        here = deviations[rows]
        times = np.maximum(np.abs(here) * shares, (here - high) * rises)
        times = np.maximum(times, (-low - here) * falls)
        return np.asarray(np.log(np.maximum(times.max(axis=1), 1.0)))

    arrays = {"shares": shares, "low": -low, "falls": falls, "high": high, "rises": rises}
    return Frozen({**scaling.arrays, **arrays}, score)


def _step(column: Floats) -> float:
    """Return the step of a column of counts, 0 of one that thins out smoothly, NaN of any other.

    Args:
        column: (n,) deviations.
    """
    values, counts = np.unique(column, return_counts=True)
    if len(values) >= _DIFFERENT and counts.max() <= _ATOM * len(column):
        return 0.0
    low, high = np.quantile(column, [_FEW, 1 - _FEW])
    gaps = np.diff(values[(values >= low) & (values <= high)])
    even = len(gaps) > 0 and gaps.max() <= (1 + _RESIDUE) * gaps.min()
    return float(gaps.max()) if even else np.nan


def _ends(deviations: Floats, steps: Floats, zeros: Floats) -> tuple[Floats, Floats]:
    """Return where the two tails of each column begin, and one over how long they are.

    A tail begins at the 90 % quantile.  Half of its rows lie within the first excess m, three
    quarters within r·m: twice as far where it falls exponentially, farther where it is heavier.
    With Pickands' estimate of its shape, ξ = log2(r - 1), it is halved t times at
    m (2^(ξ t) - 1) / (2^ξ - 1).  It ends at twice the halvings that 99 % of rows stay below in all
    columns.  Of counts m is a step at least, and a tail with more than a row in a thousand beyond has
    no end.

    Where at most a row in a thousand lies beyond zero, a tail ends half as far beyond as zero is from
    its beginning, if that is nearer: an amount below zero is not far from amounts whose spread is
    their size, and a temperature may be a little below.  Neither such ends nor those of counts hold
    where more than five rows in a thousand lie beyond one of them: of many columns every other ends
    somewhere by chance.

    Args:
        deviations: (n, d) scaled.
        steps: (d,) of counts; columns where it is NaN have no ends.
        zeros: (d,) where zero lies.

    Returns:
        (2, d) beginnings below and above, as distances from the middle, and (2, d) slopes.

    Source: Pickands, Statistical inference using extreme order statistics (1975).
    """
    few = _HARDLY * len(deviations)
    farthest = np.zeros(len(deviations))
    tails = []
    for j in np.flatnonzero(~np.isnan(steps)):  # one by one: tables may be wide
        for side, sign in enumerate((-1.0, 1.0)):
            column = sign * deviations[:, j]
            begin, half, quarter = np.quantile(column, [1 - _TAIL, 1 - _TAIL / 2, 1 - _TAIL / 4])
            first = max(half - begin, steps[j], _LEAST_EXCESS)
            ratio = np.clip((quarter - begin) / first - 1.0, 1.0 + 1e-6, 8.0)
            unit, shape = first / (ratio - 1.0), np.log(ratio)
            halvings = np.log1p(np.maximum(column - begin, 0.0) / unit) / shape
            np.maximum(farthest, halvings, out=farthest)
            tails.append((j, side, sign, begin, first, unit, shape))
    limit = _TAIL_LIMIT * max(_LEAST_HALVINGS, float(np.quantile(farthest, _ORDINARY)))
    begins, slopes, nearer = np.zeros((3, 2, deviations.shape[1]))
    beyond_nearer = np.zeros(len(deviations), dtype=np.bool_)
    for j, side, sign, begin, first, unit, shape in tails:
        excess = sign * deviations[:, j] - begin
        length = unit * np.expm1(min(limit * shape, 700.0))
        begins[side, j], slopes[side, j] = begin, 0.0 if steps[j] else 1.0 / length
        if steps[j] and np.sum(excess > length) <= max(1.0, few):
            nearer[side, j] = 1.0 / length
            beyond_nearer |= excess > length
        to_zero = sign * zeros[j] - begin + _RESIDUE
        past_zero = max(_PAST_ZERO * to_zero, first)
        if few >= 1 and past_zero < length and np.sum(excess > to_zero) <= few:
            nearer[side, j] = 1.0 / past_zero
            beyond_nearer |= excess > to_zero
    if beyond_nearer.sum() <= max(1.0, _EXCEPTIONS * few):
        slopes = np.maximum(slopes, nearer)
    return begins, slopes
