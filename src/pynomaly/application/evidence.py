"""Whether labelled rows that a classifier has not seen speak for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.evaluation import average_precision, roc_auc
from pynomaly.domain.scores import label_free_part

__all__ = ["Evidence", "label_free_weight", "weigh"]

Floats = NDArray[np.float64]

_LEVEL, _LEAST_TOLD = 0.01, 1e-12
"""Chance that useless labels would do as well, up to which labels are believed, and below which it
makes no difference."""

_TAUGHT_BY_EACH_OTHER = 2.0
"""Of any two known anomalies each is judged by what the other taught, so whatever they have in common
counts twice: the rank sum of useless labels varies twice as much as that of independent ones."""

_LABEL_FREE_SAYS = 0.5
"""What the label-free score's rank sum counts beside that of what labels teach.  It was taught by no
label, so known anomalies that it ranks high are hardly useless labels.  Where it sees nothing in them
they may be what only labels can tell: that says nothing against them."""

_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Evidence:
    """What held-out labels say.

    Args:
        roc_auc: Of the classifiers alone.
        label_free_roc_auc: Of the label-free score alone.
        chance: p, that both rank known anomalies so well if labels are useless.
        least_chance: p if both ranked them perfectly.
        precision: Average precision together with the label-free score.
        label_free_precision: Of the label-free score alone.
        gain: (2,) 90 % bootstrap interval of the difference of the two.
    """

    roc_auc: float
    label_free_roc_auc: float
    chance: float
    least_chance: float
    precision: float
    label_free_precision: float
    gain: tuple[float, float]

    @property
    def convinces(self) -> bool:
        """Whether labels are better than useless ones and do no certain harm."""
        return self.chance <= _LEVEL and self.gain[1] >= 0

    @property
    def can_tell(self) -> bool:
        """Whether there are labelled rows enough that any ranking of them would convince."""
        return self.least_chance <= _LEVEL

    @property
    def sentence(self) -> str:
        """For people."""
        lower, upper = self.gain
        if not self.can_tell:
            return (
                "too few labelled rows to tell: on those held out, chance could rank anomalies as "
                "well as anything can"
            )
        return (
            f"on labelled rows held out, what labels teach ranks anomalies with ROC-AUC "
            f"{self.roc_auc:.2f}, the label-free score with {self.label_free_roc_auc:.2f}; useless "
            f"labels would do as well with p {_p(self.chance)} (believed up to {_LEVEL}); average "
            f"precision {self.precision:.2f} with labels, {self.label_free_precision:.2f} without "
            f"(difference {lower:+.2f} to {upper:+.2f})"
        )

    @property
    def metrics(self) -> dict[str, float]:
        """For the run."""
        return {
            "labels_roc_auc": self.roc_auc,
            "label_free_roc_auc": self.label_free_roc_auc,
            "labels_chance": self.chance,
            "labels_average_precision": self.precision,
            "label_free_average_precision": self.label_free_precision,
            "labels_gain_lower": self.gain[0],
            "labels_gain_upper": self.gain[1],
        }


def _p(value: float) -> str:
    return f"= {value:.2g}" if value >= _LEAST_TOLD else f"< {_LEAST_TOLD:g}"


def label_free_weight(known_anomalies: int) -> float:
    """Return what the label-free score weighs beside log-odds of weight 1: 1 / √n.

    Args:
        known_anomalies: n, at least 1.

    >>> label_free_weight(4)
    0.5
    """
    return 1.0 / math.sqrt(known_anomalies)


def weigh(
    anomaly: NDArray[np.int64],
    *,
    taught: Floats,
    label_free: Floats,
    ordinary: float,
    seed: int,
) -> Evidence:
    """Return the evidence of rows that nothing taught has seen.

    Args:
        anomaly: (n,) 1 = known anomaly, 0 = normal or unknown; both occur.
        taught: (n,) log-odds of the classifiers alone.
        label_free: (n,) label-free score alone.
        ordinary: What of it exceeds that counts in full.
        seed: Of the bootstrap.

    Source: rank-sum test, Mann & Whitney (1947); weighted sum of two normal deviates, Stouffer et
    al. (1949).
    """
    positives = int(anomaly.sum())
    negatives = len(anomaly) - positives
    error = math.sqrt((len(anomaly) + 1) / (12 * positives * negatives))
    reached, seen = roc_auc(anomaly, taught), roc_auc(anomaly, label_free)
    mixed = taught + label_free_part(label_free, label_free_weight(positives), ordinary)
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
        seen,
        _chance(reached, seen, error),
        _chance(1.0, 1.0, error),
        average_precision(anomaly, mixed),
        average_precision(anomaly, label_free),
        (lower, upper),
    )


def _chance(taught: float, label_free: float, error: float) -> float:
    """Return p of two ROC-AUC if labels are useless; independent judgements have the error."""
    by_labels = (taught - 0.5) / (error * math.sqrt(_TAUGHT_BY_EACH_OTHER))
    beside = _LABEL_FREE_SAYS * max(0.0, (label_free - 0.5) / error)
    return NormalDist().cdf(-(by_labels + beside) / math.hypot(1.0, _LABEL_FREE_SAYS))
