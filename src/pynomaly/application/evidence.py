"""Whether labelled rows that a classifier has not seen speak for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.evaluation import average_precision, roc_auc

__all__ = ["Evidence", "label_free_weight", "share_believed", "weigh"]

Floats = NDArray[np.float64]

_LITTLE, _CERTAIN = 0.05, 0.01
"""Chances that useless labels would do as well: from the first on what labels teach counts a little,
from the second on in full."""

_TAUGHT_BY_EACH_OTHER = 2.0
"""Of any two known anomalies each is judged by what the other taught, so whatever they have in common
counts twice: the rank sum of useless labels varies twice as much as that of independent ones."""

_PLENTY = 11
"""From so many known anomalies on nothing counts a little: real labels are certain then all the same,
and what so many teach is so sure of itself that a part of it outweighs the score."""

_NORMAL = NormalDist()

_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Evidence:
    """What held-out labels say.

    Args:
        roc_auc: Of the classifiers alone.
        roc_auc_needed: Below this they count nothing: useless labels could do as well.
        share: What they may count at most, 0–1; see :func:`share_believed`.
        precision: Average precision together with the label-free score.
        label_free_precision: Of the label-free score alone.
        gain: (2,) 90 % bootstrap interval of the difference of the two.
    """

    roc_auc: float
    roc_auc_needed: float
    share: float
    precision: float
    label_free_precision: float
    gain: tuple[float, float]

    @property
    def convinces(self) -> bool:
        """Whether the classifiers are better than chance and do no certain harm."""
        return self.share > 0 and self.gain[1] >= 0

    @property
    def can_tell(self) -> bool:
        """Whether there are labelled rows enough that any ranking of them would convince."""
        return self.roc_auc_needed < 1

    @property
    def sentence(self) -> str:
        """For people."""
        lower, upper = self.gain
        if not self.can_tell:
            return (
                "too few labelled rows to tell: on those held out, chance could rank anomalies as "
                "well as anything can"
            )
        comparison = "above" if self.share > 0 else "not above"
        counts = f", and counts {self.share:.0%} of what it would if that were certain"
        return (
            f"on labelled rows held out, what labels teach ranks anomalies with ROC-AUC "
            f"{self.roc_auc:.2f}, {comparison} the {self.roc_auc_needed:.2f} that chance could "
            f"reach{counts if 0 < self.share < 1 else ''}; average precision {self.precision:.2f} with labels, "
            f"{self.label_free_precision:.2f} without "
            f"(difference {lower:+.2f} to {upper:+.2f})"
        )

    @property
    def metrics(self) -> dict[str, float]:
        """For the run."""
        return {
            "labels_roc_auc": self.roc_auc,
            "labels_roc_auc_needed": self.roc_auc_needed,
            "labels_share": self.share,
            "labels_average_precision": self.precision,
            "label_free_average_precision": self.label_free_precision,
            "labels_gain_lower": self.gain[0],
            "labels_gain_upper": self.gain[1],
        }


def share_believed(chance: float, known_anomalies: int) -> float:
    """Return how much of what labels teach should count, 0–1.

    The odds that evidence gives against chance are at most B(p) = 1 / (-e p ln p).  What labels
    teach counts B(p) / B(0.01), in full from there on, and nothing above p = 0.05.

    Args:
        chance: p, the chance that useless labels rank known anomalies as well.
        known_anomalies: From eleven on there is nothing between nothing and in full.

    Source: Sellke, Bayarri & Berger, Calibration of p values for testing precise null hypotheses
    (2001).

    >>> [round(share_believed(p, 5), 2) for p in (0.2, 0.05, 0.02, 0.015, 0.01)]
    [0.0, 0.31, 0.59, 0.73, 1.0]
    """
    if chance <= _CERTAIN:
        return 1.0
    if chance > _LITTLE or known_anomalies >= _PLENTY:
        return 0.0
    return _CERTAIN * math.log(_CERTAIN) / (chance * math.log(chance))


def label_free_weight(share: float, known_anomalies: int) -> float:
    """Return what the label-free score weighs beside log-odds of weight 1.

    In full, labels leave it 1 / √n; a share s of that and 1 - s of the label-free score alone make
    1 / √n + (1 - s) / s.

    Args:
        share: s, above 0.
        known_anomalies: n, at least 1.

    >>> label_free_weight(1.0, 4), label_free_weight(0.1, 4)
    (0.5, 9.5)
    """
    return 1.0 / math.sqrt(known_anomalies) + (1.0 - share) / share


def weigh(anomaly: NDArray[np.int64], *, taught: Floats, label_free: Floats, seed: int) -> Evidence:
    """Return the evidence of rows that nothing taught has seen.

    Args:
        anomaly: (n,) 1 = known anomaly, 0 = normal or unknown; both occur.
        taught: (n,) log-odds of the classifiers alone.
        label_free: (n,) label-free score alone.
        seed: Of the bootstrap.

    Source: rank-sum test, Mann & Whitney (1947).
    """
    positives = int(anomaly.sum())
    negatives = len(anomaly) - positives
    variance = (len(anomaly) + 1) / (12 * positives * negatives)
    error = math.sqrt(_TAUGHT_BY_EACH_OTHER * variance)
    reached = roc_auc(anomaly, taught)
    least = _CERTAIN if positives >= _PLENTY else _LITTLE
    share = share_believed(_NORMAL.cdf((0.5 - reached) / error), positives)
    mixed = taught + label_free_weight(share or 1.0, positives) * label_free
    rng = np.random.default_rng(seed)
    kinds = (np.flatnonzero(anomaly == 1), np.flatnonzero(anomaly == 0))
    gains = np.empty(_RESAMPLES)
    for i in range(_RESAMPLES):
        drawn = np.concatenate([rng.choice(kind, len(kind)) for kind in kinds])
        gains[i] = average_precision(anomaly[drawn], mixed[drawn]) - average_precision(
            anomaly[drawn], label_free[drawn]
        )
    lower, upper = (float(q) for q in np.quantile(gains, [0.05, 0.95]))
    return Evidence(
        reached,
        0.5 + _NORMAL.inv_cdf(1 - least) * error,
        share,
        average_precision(anomaly, mixed),
        average_precision(anomaly, label_free),
        (lower, upper),
    )
