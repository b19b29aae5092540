"""Measures how far a ranking made without labels can be trusted, and what to label first."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from statistics import NormalDist

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.application.preprocessing import encode
from pynomaly.application.resampling import Scorer
from pynomaly.application.scoring_rows import score_members
from pynomaly.application.split import known_labels
from pynomaly.application.strangest import Strangest
from pynomaly.domain.detection import ToLabel
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.trust import Cloud, Stability

__all__ = ["Halves", "compare_with_cloud", "rank_by_halves", "rows_to_label", "stability"]

Floats = NDArray[np.float64]
Ranks = NDArray[np.int64]

JUDGED_ROWS = 5_000
TOP_SHARE, MIN_TOP = 0.01, 10
MAX_TOP_FRACTION = 5
"""Among more than a fifth of the rows even unrelated rankings have many in common."""
CLOUD_ROWS = 20_000
UNSUSPICIOUS = 0.9
DISPUTED_RATIO = 2
"""A row is disputed that one half counts among the strangest and the other does not, and ranks at
least twice as low."""


@dataclass(frozen=True, slots=True)
class Halves:
    """Rows as ranked by models of two disjoint halves of the data.

    Args:
        rows: The rows.
        first: (n,) rank of each in the eyes of one, 1 = strangest.
        second: (n,) of the other.
    """

    rows: pa.Table
    first: Ranks
    second: Ranks

    @property
    def top(self) -> int:
        """How many of the strangest rows are compared."""
        n = len(self.rows)
        return max(1, min(n // MAX_TOP_FRACTION, max(MIN_TOP, round(TOP_SHARE * n))))


def rank_by_halves(rows: pa.Table, halves: tuple[Scorer, Scorer], seed: int) -> Halves:
    """Rank rows, or 5,000 of them drawn uniformly, by the models of two halves.

    Args:
        rows: The rows both halves were drawn from.
        halves: Each fitted on one half.
        seed: Of the draw.
    """
    if len(rows) > JUDGED_ROWS:
        chosen = np.random.default_rng(seed).choice(len(rows), JUDGED_ROWS, replace=False)
        rows = rows.take(pa.array(np.sort(chosen)))
    rng = np.random.default_rng(seed)
    first, second = (_ranks(scorer(rows), rng) for scorer in halves)
    return Halves(rows, first, second)


def stability(halves: Halves) -> Stability:
    """Return how much the two rankings agree.

    Source: Spearman (1904); the top rows by their plain overlap.
    """
    n, k = len(halves.rows), halves.top
    a, b = halves.first - (n + 1) / 2, halves.second - (n + 1) / 2
    both = (halves.first <= k) & (halves.second <= k)
    return Stability(
        rows=n,
        top=k,
        overlap=float(both.sum()) / k,
        chance=k / n,
        correlation=float(a @ b / np.sqrt((a @ a) * (b @ b))),
    )


def compare_with_cloud(
    model: Model, rows: pa.Table, strangest: pa.Table, total: int, kernels: Kernels, seed: int
) -> Cloud:
    """Score a featureless cloud with the same model, and see whether the table stands out.

    Neither the points of the cloud nor the table's rows are known to what scores them here: the
    rows' scores are those of calibration.

    Args:
        model: What scored the rows.
        rows: Conformed rows it was fitted on.
        strangest: The strangest rows of all.
        total: How many there are in all.
        kernels: Score.
        seed: Of the cloud.
    """
    X = encode(model.preprocessing, rows)
    scores = score_members(model.members, X, kernels)
    cloud = _NormalCloud.around(X, X[scores <= np.quantile(scores, UNSUSPICIOUS)])
    unseen = model.calibration.scores
    points = cloud.draw(max(CLOUD_ROWS, 4 * len(unseen)), seed)
    drawn = score_members(model.members, points, kernels)
    return Cloud(
        far=int(cloud.cannot_reach(encode(model.preprocessing, strangest), total).sum()),
        beyond=int((unseen > np.quantile(drawn, 1 - 1 / len(unseen))).sum()),
        share=float((drawn > np.quantile(unseen, 0.99)).mean()),
        bulk=float((drawn > np.median(unseen)).mean()),
    )


@dataclass(frozen=True, slots=True)
class _NormalCloud:
    """A normal distribution, by the principal axes of its covariance.

    Args:
        center: (d,).
        unit: (d,) of each feature, so that no scale drowns the digits of others.
        axes: (d, d) columns are the axes, in those units.
        variances: (d,) along them.
    """

    center: Floats
    unit: Floats
    axes: Floats
    variances: Floats

    @classmethod
    def around(cls, X: Floats, inner: Floats) -> _NormalCloud:
        """Fit centre and shape to the inner rows, and the size so that the median radius is right.

        Args:
            X: (n, d) all rows.
            inner: (m, d) the unsuspicious ones; alone they would make the cloud too small.
        """
        center, unit = np.median(inner, axis=0), X.std(axis=0)
        unit[unit == 0] = 1.0
        variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(((inner - center) / unit).T)))
        variances = np.maximum(variances, 1e-9 * max(float(variances[-1]), 1e-9))
        cloud = cls(center, unit, axes, variances)
        size = np.median(cloud._radii(X)) / _chi_squared(0.5, X.shape[1])
        return cls(center, unit, axes, variances * float(size))

    def draw(self, count: int, seed: int) -> Floats:
        """Return (count, d) rows."""
        drawn = np.random.default_rng(seed).normal(size=(count, len(self.center)))
        points = self.center + (drawn * np.sqrt(self.variances)) @ self.axes.T * self.unit
        return np.ascontiguousarray(points)

    def cannot_reach(self, X: Floats, rows: int) -> NDArray[np.bool_]:
        """Return which points lie further out than ``rows`` draws would in 999 of 1,000 tables.

        Args:
            X: (n, d) points.
            rows: How many draws they compete with.
        """
        d = len(self.center)
        rare = 0.0005 / rows  # half for the radius, half for the single features
        spread = np.sqrt((self.axes**2) @ self.variances) * self.unit
        single = np.abs(X - self.center) / spread
        limit = NormalDist().inv_cdf(1 - rare / (2 * d))
        far: NDArray[np.bool_] = self._radii(X) > _chi_squared(1 - rare, d)
        far |= single.max(axis=1) > limit
        return far

    def _radii(self, X: Floats) -> Floats:
        along = ((X - self.center) / self.unit) @ self.axes
        return np.asarray((along**2 / self.variances).sum(axis=1))


def _chi_squared(probability: float, d: int) -> float:
    """Return a quantile of chi-squared, approximately; Wilson & Hilferty (1931)."""
    z = NormalDist().inv_cdf(probability)
    return d * (1 - 2 / (9 * d) + z * float(np.sqrt(2 / (9 * d)))) ** 3


def rows_to_label(
    strangest: Strangest, halves: Halves, pipeline: Pipeline, count: int
) -> tuple[ToLabel, ...]:
    """Return rows whose label would teach most: those on top, and those the halves dispute.

    Known anomalies and near misses on top teach what to look for; a row that one half counts
    among the strangest and the other does not is where the ranking is least sure of itself.

    Args:
        strangest: Of the whole source.
        halves: Two opinions about rows learnt from.
        pipeline: Says what identifies a row, and which labels are known.
        count: How many, up to half of them disputed.
    """
    keys = list(pipeline.keys)
    best = np.minimum(halves.first, halves.second)
    worst = np.maximum(halves.first, halves.second)
    contested = np.flatnonzero(
        (best <= halves.top)
        & (worst > halves.top)
        & (worst >= DISPUTED_RATIO * best)
        & _unlabelled(halves.rows, pipeline)
    )
    contested = contested[np.argsort(best[contested] / worst[contested], kind="stable")]
    contested = contested[: count // 2]
    names = halves.rows.select(keys).take(pa.array(contested)).to_pylist()
    disputed = [
        ToLabel(ids, "disputed", (int(halves.first[row]), int(halves.second[row])))
        for ids, row in zip(names, contested, strict=True)
    ]
    open_rows = strangest.rows.filter(pa.array(_unlabelled(strangest.rows, pipeline)))
    top = (ids for ids in open_rows.select(keys).to_pylist() if ids not in names)
    return (*(ToLabel(ids, "top") for ids in islice(top, count - len(disputed))), *disputed)


def _unlabelled(rows: pa.Table, pipeline: Pipeline) -> NDArray[np.bool_]:
    labels = known_labels(rows, pipeline)
    return np.ones(len(rows), dtype=np.bool_) if labels is None else np.isnan(labels)


def _ranks(scores: Floats, rng: np.random.Generator) -> Ranks:
    """Return 1 for the strangest.

    Equal scores are told apart by lot: in the order of rows two halves would agree about rows of
    which neither says anything.
    """
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[np.lexsort((rng.random(len(scores)), -scores))] = np.arange(1, len(scores) + 1)
    return ranks
