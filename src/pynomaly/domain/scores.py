"""From raw detector scores to one score, a p-value, a severity and reasons.

Every function here treats each row by itself, so a row's result never depends on its batch, bit
for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.models import Calibration, Member, Normalisation

__all__ = [
    "FULL_SEVERITY_P_VALUE",
    "NO_REASON",
    "Direction",
    "Reason",
    "calibrate",
    "combine",
    "fit_normalisation",
    "label_free_part",
    "normalise",
    "p_values",
    "severity",
]

Floats = NDArray[np.float64]
Direction = Literal["high", "low", "unusual"]

FULL_SEVERITY_P_VALUE = 1e-4
"""p-value at which severity reaches 100."""


NO_REASON = "no single column stands out"
"""Said of a row without reasons."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row is strange: one source column and how much of the score it explains.

    Args:
        column: Source column.
        contribution: What the column adds to the score: by how much it drops when the column takes
            the value that similar rows have; of a rare value the mean of that and of what it adds
            to the similar row.
        direction: Against that value; ``unusual`` where there is no order, or the value is missing.
        value: The cell as text.
        share: Of training rows, at least as unusual in this column; 0 where there is none.
        normal: What is usual in this column, as text.
    """

    column: str
    contribution: float
    direction: Direction
    value: str
    share: float
    normal: str

    @property
    def sentence(self) -> str:
        """Return the reason for people.

        >>> Reason("amount", 2.5, "high", "9,450", 0.01, "99 % of rows are at most 312").sentence
        'amount 9,450 — 99 % of rows are at most 312'
        """
        return f"{self.column} {self.value} — {self.normal}"


def label_free_part(label_free: Floats, weight: float, ordinary: float) -> Floats:
    """Return (n,) what label-free scores add to what labels teach; see :class:`Head`.

    >>> label_free_part(np.array([1.0, 2.0, 5.0]), 0.5, 2.0)
    array([0.5, 1. , 4. ])
    """
    excess = np.maximum(label_free - ordinary, 0.0)
    return np.asarray(weight * label_free + (1.0 - weight) * excess)


def fit_normalisation(scores: Floats) -> Normalisation:
    """Learn the common scale from training scores.

    Args:
        scores: (n,) raw scores of the training rows, n ≥ 1.

    >>> fit_normalisation(np.array([1.0, 1.0, 1.0]))
    Normalisation(median=1.0, spread=1.0, mean=0.0, std=1.0)
    """
    median, upper = (float(q) for q in np.quantile(scores, [0.5, 0.75]))
    negligible = 1e-12 * max(abs(median), abs(upper))
    spread = upper - median
    if spread <= negligible:
        spread = float(np.std(scores))
    if spread <= negligible or spread == 0.0:
        spread = 1.0
    squashed = np.arcsinh((scores - median) / spread)
    mean, std = float(np.mean(squashed)), float(np.std(squashed))
    return Normalisation(median, spread, mean, std if std > 1e-12 else 1.0)


def normalise(scores: Floats, normalisation: Normalisation) -> Floats:
    """Return raw scores on the common scale.

    The asinh keeps one detector with enormous scores from drowning the others in the mean.
    """
    found: Floats = scores - normalisation.median
    found /= normalisation.spread
    np.arcsinh(found, out=found)
    found -= normalisation.mean
    found /= normalisation.std
    return found


def combine(member_scores: Sequence[Floats], members: Sequence[Member]) -> Floats:
    """Return the weighted mean of the members' normalised scores, higher = stranger.

    Args:
        member_scores: One (n,) array of raw scores per member.
        members: In the same order, at least one.
    """
    # One addition after the other: numpy's own mean may change its order with the batch size.
    total = np.zeros_like(member_scores[0])
    for scores, member in zip(member_scores, members, strict=True):
        total += member.weight * normalise(scores, member.normalisation)
    return total / sum(member.weight for member in members)


def calibrate(held_out_scores: Floats) -> Calibration:
    """Return the calibration made from scores of rows the members were not fitted on."""
    return Calibration(np.sort(held_out_scores))


def p_values(calibration: Calibration, scores: Floats) -> Floats:
    """Return conformal p-values: how often an ordinary row scores at least as high.

    p(s) = (1 + #{calibration ≥ s}) / (n + 1), never below 1 / (n + 1).

    Source: Bates et al., Testing for outliers with conformal p-values (2023).

    >>> p_values(calibrate(np.array([1.0, 3.0, 2.0])), np.array([0.0, 2.0, 9.0])).tolist()
    [1.0, 0.75, 0.25]
    """
    n = len(calibration.scores)
    # In ascending order each search begins where the one before ended: a third of the time.
    order = np.argsort(scores)
    p = np.empty(len(scores))
    p[order] = (1.0 + n - np.searchsorted(calibration.scores, scores[order])) / (n + 1.0)
    return p


def severity(p: Floats) -> Floats:
    """Return severity 0–100, falling with the logarithm of the p-value.

    p = 1 → 0, 0.1 → 25, 0.01 → 50, 0.001 → 75, 0.0001 and below → 100.  A model calibrated on n
    rows cannot give p below 1/(n + 1), so full severity needs about 10,000 calibration rows.

    >>> severity(np.array([1.0, 0.01, 1e-9])).tolist()
    [0.0, 50.0, 100.0]
    """
    share = np.log10(p) / np.log10(FULL_SEVERITY_P_VALUE)
    return np.asarray(np.clip(100.0 * share, 0.0, 100.0) + 0.0)
