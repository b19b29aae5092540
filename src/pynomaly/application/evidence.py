"""Whether labelled rows that a classifier has not seen speak for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.evaluation import average_precision, roc_auc

__all__ = ["Evidence", "weigh"]

Floats = NDArray[np.float64]

_PLENTY = 11
_CRITICAL, _CRITICAL_WITH_PLENTY = 1.645, 3.090
"""Standard normal quantiles: a chance of 5 % that useless labels are believed, and of 0.1 % from 11
known anomalies on, where it costs nothing."""

_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Evidence:
    """What held-out labels say.

    Args:
        roc_auc: Of the classifiers alone.
        roc_auc_needed: Useless labels would stay below this.
        precision: Average precision together with the label-free score.
        label_free_precision: Of the label-free score alone.
        gain: (2,) 90 % bootstrap interval of the difference of the two.
    """

    roc_auc: float
    roc_auc_needed: float
    precision: float
    label_free_precision: float
    gain: tuple[float, float]

    @property
    def convinces(self) -> bool:
        """Whether the classifiers are better than chance and do no certain harm."""
        return self.roc_auc > self.roc_auc_needed and self.gain[1] >= 0

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
        comparison = "above" if self.roc_auc > self.roc_auc_needed else "not above"
        return (
            f"on labelled rows held out, what labels teach ranks anomalies with ROC-AUC "
            f"{self.roc_auc:.2f}, {comparison} the {self.roc_auc_needed:.2f} that chance could "
            f"reach; average precision {self.precision:.2f} with labels, "
            f"{self.label_free_precision:.2f} without "
            f"(difference {lower:+.2f} to {upper:+.2f})"
        )

    @property
    def metrics(self) -> dict[str, float]:
        """For the run."""
        return {
            "labels_roc_auc": self.roc_auc,
            "labels_roc_auc_needed": self.roc_auc_needed,
            "labels_average_precision": self.precision,
            "label_free_average_precision": self.label_free_precision,
            "labels_gain_lower": self.gain[0],
            "labels_gain_upper": self.gain[1],
        }


def weigh(
    anomaly: NDArray[np.int64], *, taught: Floats, mixed: Floats, label_free: Floats, seed: int
) -> Evidence:
    """Return the evidence of rows that nothing taught has seen.

    Args:
        anomaly: (n,) 1 = known anomaly, 0 = normal or unknown; both occur.
        taught: (n,) log-odds of the classifiers alone.
        mixed: (n,) the same with the label-free score.
        label_free: (n,) label-free score alone.
        seed: Of the bootstrap.

    Source: rank-sum test, Mann & Whitney (1947).
    """
    positives = int(anomaly.sum())
    negatives = len(anomaly) - positives
    critical = _CRITICAL_WITH_PLENTY if positives >= _PLENTY else _CRITICAL
    error = float(np.sqrt((len(anomaly) + 1) / (12 * positives * negatives)))
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
        roc_auc(anomaly, taught),
        0.5 + critical * error,
        average_precision(anomaly, mixed),
        average_precision(anomaly, label_free),
        (lower, upper),
    )
