"""What tuning maximises, and when a challenger may replace the incumbent ensemble.

Never the precision on synthetic anomalies: choosing detectors by it gave ROC-AUC .657 and average
precision .258 over 86 configurations and 43 data sets, against .800/.470 for the untuned
ensemble.  It is consensus and stability, which correlate only 0.0–0.3 with quality: good enough to
notice a clearly broken configuration, never to be shown as quality.

Labels do not choose a detector.  What they teach on top of it (:mod:`.supervised`) is worth far more
and hardly depends on which one was chosen: with the member that labels liked best instead of the whole
ensemble, average precision after learning was .806 against .802 over 18 public sets and seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.ports.learning import DetectorFitter, Kernels, Trial, TuningResult
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.detectors import SINGLE_FAMILIES

__all__ = [
    "LABEL_FREE_MARGIN",
    "LabelFreeObjective",
    "choose",
]

Floats = NDArray[np.float64]

LABEL_FREE_MARGIN = 0.2
"""By how much a challenger must beat the incumbent without labels.

With 0.02 the search replaced the ensemble on three of 17 public sets (twice by an isolation forest
that led by 0.08 and 0.18) and lost 0.06 to 0.08 of average precision on each: a panel of simple
detectors agrees with a simple detector.  So only a broken incumbent gives way.
"""

_LABEL_FREE_ROWS = 2_000
_CONSENSUS_WEIGHT = 0.6


class LabelFreeObjective:
    """Consensus and stability of a configuration, −1 to 1.

    A random sample of at most 2,000 rows is cut into two halves to fit on and a third part to
    judge on.  The value is 0.6 × the Spearman correlation with a reference panel (average rank by
    the single families at their defaults, the candidate's own family left out so that nobody
    agrees with himself) plus 0.4 × the correlation between the fits on the two halves.

    Args:
        X: (n, d) encoded training rows.
        fitter: Fits and freezes.
        kernels: Score.
        seed: Of the sample and of every fit.
        floors: (d,) smallest spread a feature may be scaled by; none where None.
    """

    name = "consensus_stability"

    def __init__(
        self,
        X: Floats,
        *,
        fitter: DetectorFitter,
        kernels: Kernels,
        seed: int,
        floors: Floats | None = None,
    ) -> None:
        order = np.random.default_rng(seed).permutation(len(X))[:_LABEL_FREE_ROWS]
        third = len(order) // 3
        self._first, self._second = X[order[:third]], X[order[third : 2 * third]]
        self._judged = X[order[2 * third :]]
        self._fitter, self._kernels, self._seed, self._floors = fitter, kernels, seed, floors
        self._panel = {
            family: _ranks(self._scores(family, {}, self._first)) for family in SINGLE_FAMILIES
        }

    def __call__(self, detector: str, params: Mapping[str, Any]) -> float:
        """Return the value of a configuration; higher is better."""
        first = _ranks(self._scores(detector, params, self._first))
        second = _ranks(self._scores(detector, params, self._second))
        panel = np.mean(
            [ranks for family, ranks in self._panel.items() if family != detector], axis=0
        )
        agreement = _correlation(first, _ranks(panel))
        stability = _correlation(first, second)
        return _CONSENSUS_WEIGHT * agreement + (1 - _CONSENSUS_WEIGHT) * stability

    def margin(self, result: TuningResult) -> float:
        """Return how far the best trial must lie above the incumbent.

        On top of the fixed margin comes the standard error of a rank correlation of as many rows
        as were judged, 1/√(n − 1): on few rows the best of many trials is mostly luck.
        """
        return LABEL_FREE_MARGIN + 1 / float(np.sqrt(len(self._judged) - 1))

    def _scores(self, detector: str, params: Mapping[str, Any], rows: Floats) -> Floats:
        members = fit_detector(
            detector,
            params,
            rows,
            fitter=self._fitter,
            kernels=self._kernels,
            seed=self._seed,
            floors=self._floors,
        )
        return score_members(members, self._judged, self._kernels)


def choose(result: TuningResult, margin: float) -> Trial:
    """Return the best trial if it beats the incumbent by more than ``margin``, else the incumbent.

    Args:
        result: Trial 0 is the incumbent.
        margin: From the objective.
    """
    incumbent = result.trials[0]
    if incumbent.value is None or result.best.value is None:
        return result.best
    return result.best if result.best.value - incumbent.value > margin else incumbent


def _ranks(values: Floats) -> Floats:
    """Return ranks from 0, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts + 1) / 2)[inverse])


def _correlation(a: Floats, b: Floats) -> float:
    """Return Pearson's correlation; 0 where one side is constant and so says nothing."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
