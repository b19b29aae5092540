"""Lets known labels shape the score, as far as they prove that they should.

A head adds the log-odds of classifiers, fitted on labelled rows, to the label-free score, whose
weight falls with the number of known anomalies where the score is ordinary.  It is used only where it
stands up to labelled rows it was not fitted on; else the model stays label-free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.evidence import Evidence, label_free_weight, weigh
from pynomaly.application.ports.learning import Kernels, LabelFitter
from pynomaly.application.scoring_rows import head_rows
from pynomaly.domain.models import Head, Member

__all__ = ["LabelledRows", "Supervised", "fit_head", "fit_supervised"]

Floats = NDArray[np.float64]

_FOLDS, _FOLD_TREES = 5, 40
_MOST_UNKNOWN_JUDGED = 2_000
_ORDINARY_SHARE = 0.99
"""Of the rows, whose label-free scores are nothing that labels of another kind may hide."""
_AGREEING_SHARE = 0.99
"""A single known anomaly cannot be checked by holding it out.  It is believed if the label-free
score places it among the strangest hundredth."""


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """What a head learns from: rows, what label-free members say of them, and what is known.

    Args:
        X: (n, d) encoded rows.
        scores: (n, k + 1) normalised scores by each of k members, and their mean.
        labels: (n,) 1 = anomaly, 0 = normal, NaN = unknown.
        floors: (d,) smallest spread a feature may be scaled by; none where None.
    """

    X: Floats
    scores: Floats
    labels: Floats
    floors: Floats | None

    @classmethod
    def scored(
        cls,
        X: Floats,
        labels: Floats,
        members: Sequence[Member],
        kernels: Kernels,
        floors: Floats | None = None,
    ) -> LabelledRows:
        """Return rows as scored by the members that were fitted on them."""
        return cls(X, head_rows(members, X, kernels)[:, X.shape[1] :], labels, floors)

    @property
    def label_free(self) -> Floats:
        """(n,) label-free scores."""
        return self.scores[:, -1]

    @property
    def ordinary(self) -> float:
        """What nearly all label-free scores stay below, and nearly all of rows known to be normal.

        A single alert judged normal is not enough: it would let labels hide whatever is less strange.
        """
        limit = float(np.quantile(self.label_free, _ORDINARY_SHARE))
        known = np.sort(self.label_free[self.labels == 0])
        above = 1 + int(len(known) * (1 - _ORDINARY_SHARE))
        return limit if len(known) <= above else max(limit, float(known[-1 - above]))

    @property
    def read(self) -> Floats:
        """(n, d + k + 1) what a head reads."""
        return np.hstack([self.X, self.scores])

    def take(self, rows: NDArray[np.int64]) -> LabelledRows:
        """Return some of the rows, by number."""
        return LabelledRows(self.X[rows], self.scores[rows], self.labels[rows], self.floors)


@dataclass(frozen=True, slots=True)
class Supervised:
    """What came of the labels.

    Args:
        head: To add to the model; None where it stays label-free.
        reason: Why, for people.
        metrics: ``known_anomalies``, ``known_normal``, ``labels_used`` (0 or 1) and, where labelled
            rows could be held out, those of :class:`Evidence`.
    """

    head: Head | None
    reason: str
    metrics: Mapping[str, float] = field(default_factory=dict)


def fit_supervised(
    rows: LabelledRows, *, fitter: LabelFitter, kernels: Kernels, seed: int
) -> Supervised:
    """Fit a head on labelled rows and decide whether the model should have it.

    Rows of unknown label count as unknown, never as normal.  The decision rests on labelled rows
    that the head judged without having seen them, in up to five folds:

    - it must rank known anomalies above the others better than chance, where a label-free score
      that does so as well speaks for the labels (see :func:`weigh`), and
    - together with the label-free score its average precision must not certainly be below the
      label-free one's.

    Args:
        rows: To learn from.
        fitter: Fits and freezes classifiers.
        kernels: Score.
        seed: Of everything random.

    Raises:
        IntegrityError: Frozen and fitted classifiers disagree.
    """
    n, anomalies = len(rows.labels), int(np.sum(rows.labels == 1))
    normal = int(np.sum(rows.labels == 0))
    metrics = {"known_anomalies": float(anomalies), "known_normal": float(normal)}
    counted = f"{_plural(anomalies, 'known anomaly', 'known anomalies')}, {normal:,} known normal"
    if not anomalies or anomalies == n:
        why = "no anomaly is known" if not anomalies else "every row is a known anomaly"
        return Supervised(None, f"Label-free: {why} ({counted}).", {**metrics, "labels_used": 0.0})
    # Every fold has to leave something to tell anomalies from, and something to judge them by.
    folds, others = min(_FOLDS, anomalies), max(normal, n - anomalies - normal)
    if anomalies > 1 and others < folds:
        why = f"too few other rows to hold any out in {folds} parts"
        return Supervised(None, f"Label-free: {why} ({counted}).", {**metrics, "labels_used": 0.0})
    if anomalies == 1:
        used, finding = _agrees(rows)
    else:
        evidence = _judged(rows, fitter, kernels, seed)
        used, finding = evidence.convinces, evidence.sentence
        metrics |= evidence.metrics
    metrics["labels_used"] = float(used)
    if anomalies > n / 2:
        finding += (
            "; they are more than half of the rows: check that the labels are not the other way "
            "round (1 = anomaly)"
        )
    if not used:
        return Supervised(None, f"Label-free in spite of labels ({counted}): {finding}.", metrics)
    head = fit_head(rows, fitter, seed, label_free_weight(anomalies))
    return Supervised(head, f"Labels shape the score ({counted}): {finding}.", metrics)


def fit_head(rows: LabelledRows, fitter: LabelFitter, seed: int, weight: float) -> Head:
    """Fit a head without asking whether it is any good: for the folds of a calibration.

    Args:
        rows: To learn from.
        fitter: Fits and freezes classifiers.
        seed: Of everything random.
        weight: Of the label-free score.

    Raises:
        NotTrainableError: No known anomaly, or nothing to tell it from.
    """
    parts = fitter.fit(rows.X, rows.scores, rows.labels, seed, floors=rows.floors)
    return Head(parts, weight, rows.ordinary)


def _agrees(rows: LabelledRows) -> tuple[bool, str]:
    scores, known = rows.label_free, rows.labels == 1
    others, above = len(scores) - 1, int(np.sum(scores[~known] >= scores[known][0]))
    used = above <= (1 - _AGREEING_SHARE) * others
    verdict = "so it is believed" if used else f"{_AGREEING_SHARE:.0%} would make it credible"
    return used, (
        "one anomaly cannot be checked by holding it out; the label-free score ranks it above "
        f"{others - above:,} of {others:,} other rows, {verdict}"
    )


def _judged(rows: LabelledRows, fitter: LabelFitter, kernels: Kernels, seed: int) -> Evidence:
    """Return how a head does on rows it was not fitted on."""
    rng = np.random.default_rng(seed)
    labels = rows.labels
    anomalies, normal = (rng.permutation(np.flatnonzero(labels == kind)) for kind in (1, 0))
    unknown = rng.permutation(np.flatnonzero(np.isnan(labels)))
    folds = min(_FOLDS, len(anomalies))
    fold_of = np.empty(len(labels), dtype=np.int64)
    for kind in (anomalies, normal, unknown):
        fold_of[kind] = np.arange(len(kind)) % folds
    # Where hardly anything is known to be normal, unknown rows are what anomalies must exceed.
    enough = len(normal) >= max(10, len(anomalies))
    others = normal if enough else np.concatenate([normal, unknown[:_MOST_UNKNOWN_JUDGED]])
    judged = np.concatenate([anomalies, others])
    taught = np.empty(len(labels))
    for fold in range(folds):
        here = judged[fold_of[judged] == fold]
        if not len(here):
            continue
        rest = rows.take(np.flatnonzero(fold_of != fold))
        parts = fitter.fit(
            rest.X, rest.scores, rest.labels, seed, floors=rest.floors, trees=_FOLD_TREES
        )
        taught[here] = kernels.score_members(parts, rows.take(here).read).sum(axis=0)
    return weigh(
        (labels[judged] == 1).astype(np.int64),
        taught=taught[judged],
        label_free=rows.label_free[judged],
        ordinary=rows.ordinary,
        seed=seed,
    )


def _plural(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
