"""Lets known labels shape the score, as far as they prove that they should.

A head adds the log-odds of two classifiers, fitted on labelled rows, to the label-free score,
whose weight falls with the number of known anomalies.  It is used only where it stands up to
labelled rows it was not fitted on; else the model stays label-free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.evidence import Evidence, weigh
from pynomaly.application.ports.learning import Kernels, LabelFitter
from pynomaly.application.scoring_rows import head_rows, score_members
from pynomaly.domain.errors import DataRejectedError
from pynomaly.domain.models import Head, Member

__all__ = ["Supervised", "fit_head", "fit_supervised", "read_labels"]

Floats = NDArray[np.float64]

_FOLDS, _FOLD_TREES = 5, 40
_MOST_UNKNOWN_JUDGED = 2_000
_AGREEING_SHARE = 0.8
"""A single known anomaly cannot be checked by holding it out.  It is believed if the label-free
score places it among the strangest fifth."""


@dataclass(frozen=True, slots=True)
class Supervised:
    """What came of the labels.

    Args:
        head: To add to the model; None where it stays label-free.
        reason: Why, for people.
        metrics: ``known_anomalies``, ``known_normal``, ``labels_used`` (0 or 1) and, where labelled
            rows could be held out, ``labels_roc_auc`` with ``_lower`` and ``_upper`` and
            ``labels_precision_gain`` with ``_lower`` and ``_upper``.
    """

    head: Head | None
    reason: str
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def regime(self) -> str:
        """``labelled`` or ``label_free``."""
        return "label_free" if self.head is None else "labelled"


def read_labels(y: NDArray[np.generic]) -> Floats:
    """Return labels as 1 = anomaly, 0 = normal, NaN = unknown.

    Args:
        y: (n,) of 1, 0, and −1 or NaN for unknown; booleans are fine.

    Raises:
        DataRejectedError: Anything else; the row is named.

    >>> read_labels(np.array([1, 0, -1])).tolist()
    [1.0, 0.0, nan]
    """
    labels = np.asarray(y, dtype=np.float64).copy()
    labels[labels == -1] = np.nan
    wrong = ~(np.isnan(labels) | (labels == 0) | (labels == 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataRejectedError(
            f"the label of row {row} is {labels[row]:g}",
            hint="labels are 1 (anomaly), 0 (normal), and -1 or NaN (unknown)",
        )
    return labels


def fit_supervised(
    X: Floats,
    labels: Floats,
    members: Sequence[Member],
    *,
    fitter: LabelFitter,
    kernels: Kernels,
    seed: int,
    floors: Floats | None = None,
) -> Supervised:
    """Fit a head on labelled rows and decide whether the model should have it.

    Rows of unknown label count as unknown, never as normal.  The decision rests on labelled rows
    that the head judged without having seen them, in up to five folds:

    - it must rank known anomalies above the others with certainty (see :func:`weigh`), and
    - together with the label-free score its average precision must not certainly be below the
      label-free one's.

    Args:
        X: (n, d) encoded rows that the members were fitted on.
        labels: (n,) 1 = anomaly, 0 = normal, NaN = unknown.
        members: Label-free.
        fitter: Fits and freezes classifiers.
        kernels: Score.
        seed: Of everything random.
        floors: (d,) smallest spread a feature may be scaled by; none where None.

    Raises:
        IntegrityError: Frozen and fitted classifiers disagree.
    """
    anomalies, normal = int(np.sum(labels == 1)), int(np.sum(labels == 0))
    metrics = {"known_anomalies": float(anomalies), "known_normal": float(normal)}
    counted = f"{_plural(anomalies, 'known anomaly', 'known anomalies')}, {normal:,} known normal"
    if not anomalies or anomalies == len(labels):
        why = "no anomaly is known" if not anomalies else "every row is a known anomaly"
        return Supervised(None, f"Label-free: {why} ({counted}).", {**metrics, "labels_used": 0.0})
    # Every fold has to leave something to tell anomalies from, and something to judge them by.
    folds, others = min(_FOLDS, anomalies), max(normal, len(labels) - anomalies - normal)
    if anomalies > 1 and others < folds:
        why = f"too few other rows to hold any out in {folds} parts"
        return Supervised(None, f"Label-free: {why} ({counted}).", {**metrics, "labels_used": 0.0})
    common = {"fitter": fitter, "kernels": kernels, "seed": seed, "floors": floors}
    if anomalies == 1:
        used, finding = _agrees(X, labels, members, kernels)
    else:
        evidence = _judged(X, labels, members, **common)  # type: ignore[arg-type]
        used, finding = evidence.convinces, evidence.sentence
        metrics |= evidence.metrics
    metrics["labels_used"] = float(used)
    if not used:
        return Supervised(None, f"Label-free in spite of labels ({counted}): {finding}.", metrics)
    head = fit_head(X, labels, members, **common)  # type: ignore[arg-type]
    return Supervised(head, f"Labels shape the score ({counted}): {finding}.", metrics)


def fit_head(
    X: Floats,
    labels: Floats,
    members: Sequence[Member],
    *,
    fitter: LabelFitter,
    kernels: Kernels,
    seed: int,
    floors: Floats | None = None,
    trees: int = 100,
) -> Head:
    """Fit a head without asking whether it is any good: for the folds of a calibration.

    Args:
        X: (n, d) encoded rows that the members were fitted on.
        labels: (n,) 1 = anomaly, 0 = normal, NaN = unknown.
        members: Label-free.
        fitter: Fits and freezes classifiers.
        kernels: Score.
        seed: Of everything random.
        floors: (d,) smallest spread a feature may be scaled by; none where None.
        trees: In the forest.

    Raises:
        NotTrainableError: No known anomaly, or nothing to tell it from.
    """
    scores = head_rows(members, X, kernels)[:, X.shape[1] :]
    return _head(X, scores, labels, fitter, seed, floors, trees)


def _head(
    X: Floats,
    scores: Floats,
    labels: Floats,
    fitter: LabelFitter,
    seed: int,
    floors: Floats | None,
    trees: int,
) -> Head:
    parts = fitter.fit(X, scores, labels, seed, floors=floors, trees=trees)
    return Head(parts, 1.0 / float(np.sqrt(np.sum(labels == 1))))


def _agrees(
    X: Floats, labels: Floats, members: Sequence[Member], kernels: Kernels
) -> tuple[bool, str]:
    scores = score_members(members, X, kernels)
    below = float(np.mean(scores[labels != 1] < scores[labels == 1][0]))
    used = below >= _AGREEING_SHARE
    verdict = "so it is believed" if used else f"{_AGREEING_SHARE:.0%} would make it credible"
    return used, (
        "one anomaly cannot be checked by holding it out; the label-free score ranks it above "
        f"{below:.0%} of the other rows, {verdict}"
    )


def _judged(
    X: Floats,
    labels: Floats,
    members: Sequence[Member],
    *,
    fitter: LabelFitter,
    kernels: Kernels,
    seed: int,
    floors: Floats | None,
) -> Evidence:
    """Return how a head does on rows it was not fitted on."""
    rng = np.random.default_rng(seed)
    rows = head_rows(members, X, kernels)
    scores = rows[:, X.shape[1] :]
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
    taught, mixed = np.empty(len(labels)), np.empty(len(labels))
    for fold in range(folds):
        fitted, here = np.flatnonzero(fold_of != fold), judged[fold_of[judged] == fold]
        if not len(here):
            continue
        head = _head(X[fitted], scores[fitted], labels[fitted], fitter, seed, floors, _FOLD_TREES)
        taught[here] = kernels.score_members(head.parts, rows[here]).sum(axis=0)
        mixed[here] = taught[here] + head.weight * scores[here, -1]
    return weigh(
        (labels[judged] == 1).astype(np.int64),
        taught=taught[judged],
        mixed=mixed[judged],
        label_free=scores[judged, -1],
        seed=seed,
    )


def _plural(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
