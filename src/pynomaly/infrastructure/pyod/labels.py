"""Classifiers on labelled rows, frozen: a forest, a logistic regression, and boosting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.domain.errors import IntegrityError, NotTrainableError
from pynomaly.domain.finite import require_finite
from pynomaly.domain.models import Member, Normalisation
from pynomaly.infrastructure.pyod.forest import breadth_first, float32_below
from pynomaly.infrastructure.pyod.frozen import RobustScaling
from pynomaly.infrastructure.pyod.reproducible import reproducible

__all__ = ["SklearnLabelFitter"]

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_FEWEST_NEGATIVES = 10
_STAND_INS_PER_ANOMALY = 10
_MOST_POSITIVES, _MOST_NEGATIVES = 500, 1_000
"""Rows a tree sees of each kind; every tree draws its own."""

_DOUBT = 0.02
"""Keeps the log-odds of a unanimous forest finite: ±3.9."""

_EVIDENCE, _EVIDENCE_PER_ANOMALY, _LEAST_EVIDENCE = 50.0, 2.0, 5.0
"""Total weight of the rows behind the logistic regression, against a unit normal prior on its
coefficients: two per known anomaly and five on top, at most fifty."""

_BOOSTED_FROM = 10
"""More known anomalies than this, and known normal rows, are needed for boosting to help."""

_BOOSTED_SHARE = 0.5
"""What boosted log-odds count: boosting is far surer of itself than forest and regression."""

_RAW = Normalisation(0.0, 1.0, 0.0, 1.0)
_TOLERANCE = 1e-9
_CHECKED_ROWS = 512


class SklearnLabelFitter:
    """Implements the ``LabelFitter`` port.

    Rows nobody has labelled are not normal rows, but few of them are anomalies.  They stand in
    for normal ones only where fewer rows are known to be normal than anomalies, or than ten: in the
    forest every tree draws its own, ten for each anomaly, so that a hidden anomaly misleads few
    trees; in the regression they share the weight that is missing.  Both classes weigh the same.

    Boosting joins where there is enough to boost on, and reads labelled rows only.  From eleven
    known anomalies on it won 30 and lost 2 of 42 comparisons with every row labelled, and won 15
    of 18 without a loss with 5 % of them; with fewer it changed nothing.

    Args:
        kernels: Score the frozen copies in the self-test.

    Source: bagging with unlabelled rows, Mordelet & Vert (2014); extremely randomised trees,
    Geurts et al. (2006).
    """

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels

    def fit(
        self,
        X: Floats,
        scores: Floats,
        labels: Floats,
        seed: int,
        *,
        floors: Floats | None = None,
        trees: int = 100,
    ) -> tuple[Member, ...]:
        """Fit, freeze and self-test; see the port."""
        known = np.flatnonzero(labels == 1)
        if not len(known) or len(known) == len(labels):
            raise NotTrainableError(
                f"{len(known)} of {len(labels)} rows are known anomalies: there is nothing to tell "
                "apart",
                hint="label an anomaly, and give rows that are not known to be one",
            )
        rows = np.ascontiguousarray(np.column_stack([X, scores]), dtype=np.float64)
        require_finite(rows, "labels")
        checked = np.unique(np.linspace(0, len(rows) - 1, _CHECKED_ROWS).astype(np.int64))
        checked = np.union1d(checked, known[:_CHECKED_ROWS])
        with reproducible():
            scaling = RobustScaling.fit(X, np.zeros(X.shape[1]) if floors is None else floors)
            fitted = [
                _forest(rows, labels, seed, trees, checked),
                _logistic(rows, scaling, X.shape[1], labels, checked),
            ]
            if min(len(known), int(np.sum(labels == 0))) > _BOOSTED_FROM:
                fitted.append(_boosted(rows, labels, seed, checked))
        for member, expected in fitted:
            found = self._kernels.score(member, rows[checked])
            wrong = ~(np.abs(found - expected) <= _TOLERANCE * (1.0 + np.abs(expected)))
            if wrong.any():
                row = int(np.argmax(wrong))
                raise IntegrityError(
                    f"{member.detector}: the frozen classifier disagrees with the fitted one on "
                    f"{int(wrong.sum())} of {len(wrong)} rows "
                    f"(first: {found[row]!r} instead of {expected[row]!r})",
                    hint="this is a bug or an untested library version; please report it with the "
                    "versions `pynomaly config show` prints",
                )
        return tuple(member for member, _ in fitted)


def _forest(
    rows: Floats, labels: Floats, seed: int, trees: int, checked: Rows
) -> tuple[Member, Floats]:
    """Return trees of two kinds in turn, grown to the last row, and their log-odds.

    Random splits over half the columns are smooth, best splits over a few columns of a bootstrap
    sample find sharp borders; mixed they beat either alone.
    """
    from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

    center = np.median(rows, axis=0)
    limit = float(np.finfo(np.float32).max)
    seen = np.clip(rows - center, -limit, limit).astype(np.float32)
    rng = np.random.default_rng(seed)
    grown: list[Any] = []
    for number in range(trees):
        chosen, positives = _draw(labels, rng, bootstrap=number % 2 == 1)
        y = (np.arange(len(chosen)) < positives).astype(np.int64)
        weight = np.where(y == 1, (len(y) - positives) / positives, 1.0)
        state = int(rng.integers(2**31 - 1))
        tree = (
            DecisionTreeClassifier(max_features="sqrt", random_state=state)
            if number % 2
            else ExtraTreeClassifier(max_features=0.5, random_state=state)
        )
        grown.append(tree.fit(seen[chosen], y, sample_weight=weight))
    starts = np.cumsum([0, *(tree.tree_.node_count for tree in grown)])
    orders, children = _flattened([(t.tree_.children_left, t.tree_.children_right) for t in grown])
    trees_and_orders = [(t.tree_, order) for t, order in zip(grown, orders, strict=True)]
    limits = np.concatenate([tree.threshold[order] for tree, order in trees_and_orders])
    features = np.concatenate([tree.feature[order] for tree, order in trees_and_orders])
    counts = np.concatenate([tree.value[order, 0] for tree, order in trees_and_orders])
    leaf = children == 0
    arrays: dict[str, NDArray[Any]] = {
        "center": center,
        "feature": np.where(leaf, 0, features).astype(np.int32),
        "threshold": np.where(leaf, np.float32(0), float32_below(limits)),
        "child": children,
        "share": np.where(leaf, counts[:, 1] / counts.sum(axis=1), 0.0),
        "roots": starts[:-1].astype(np.int64),
        "doubt": np.array([_DOUBT]),
    }
    p = np.mean([tree.predict_proba(seen[checked])[:, 1] for tree in grown], axis=0)
    expected = np.log((p + _DOUBT) / (1.0 - p + _DOUBT))
    return Member("grown_forest", {"trees": trees}, arrays, _RAW), expected


def _draw(labels: Floats, rng: np.random.Generator, *, bootstrap: bool) -> tuple[Rows, int]:
    """Return rows of one tree, the anomalies first, and how many those are."""
    anomalies = rng.permutation(np.flatnonzero(labels == 1))[:_MOST_POSITIVES]
    normal = rng.permutation(np.flatnonzero(labels == 0))[:_MOST_NEGATIVES]
    unknown = np.flatnonzero(np.isnan(labels))
    missing = 0
    if len(normal) < max(_FEWEST_NEGATIVES, len(anomalies)):
        missing = min(_STAND_INS_PER_ANOMALY * len(anomalies), _MOST_NEGATIVES) - len(normal)
    stand_ins = rng.choice(unknown, min(missing, len(unknown)), replace=False)
    others = np.concatenate([normal, stand_ins])
    if bootstrap:
        anomalies = rng.choice(anomalies, len(anomalies))
        others = rng.choice(others, len(others))
    return np.concatenate([anomalies, others]), len(anomalies)


def _flattened(
    trees: Sequence[tuple[NDArray[Any], NDArray[Any]]],
) -> tuple[list[Rows], NDArray[np.int32]]:
    """Lay trees out one after the other, siblings next to each other.

    Args:
        trees: Left and right children by node.

    Returns:
        For every tree its nodes in the new order, and for every node of all trees the place of
        its left child, 0 for leaves.
    """
    orders, children, start = [], [], 0
    for left, right in trees:
        order, child = breadth_first(left, right)
        orders.append(order)
        children.append(np.where(child == 0, 0, start + child))
        start += len(order)
    return orders, np.concatenate(children).astype(np.int32)


def _boosted(rows: Floats, labels: Floats, seed: int, checked: Rows) -> tuple[Member, Floats]:
    """Return gradient-boosted trees on the rows whose label is known."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    known = ~np.isnan(labels)
    model = HistGradientBoostingClassifier(
        max_iter=100,
        max_leaf_nodes=8,
        min_samples_leaf=5,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
    model.fit(rows[known], labels[known].astype(np.int64))
    grown = [predictor.nodes for (predictor,) in model._predictors]
    children = [
        tuple(np.where(nodes["is_leaf"], 0, nodes[side]) for side in ("left", "right"))
        for nodes in grown
    ]
    orders, child = _flattened([(left, right) for left, right in children])
    nodes = np.concatenate([nodes[order] for nodes, order in zip(grown, orders, strict=True)])
    leaf = child == 0
    starts = np.cumsum([0, *(len(order) for order in orders)])[:-1]
    arrays: dict[str, NDArray[Any]] = {
        "feature": np.where(leaf, 0, nodes["feature_idx"]).astype(np.int32),
        "threshold": np.where(leaf, 0.0, nodes["num_threshold"]),
        "child": child,
        "value": np.where(leaf, _BOOSTED_SHARE * nodes["value"], 0.0),
        "roots": starts.astype(np.int64),
        "start": np.array([_BOOSTED_SHARE * float(model._baseline_prediction.ravel()[0])]),
    }
    expected = _BOOSTED_SHARE * model.decision_function(rows[checked])
    return Member("boosted_trees", {}, arrays, _RAW), expected


def _logistic(
    rows: Floats, scaling: RobustScaling, features: int, labels: Floats, checked: Rows
) -> tuple[Member, Floats]:
    """Return a regression on robustly scaled features and on members' scores."""
    from sklearn.linear_model import LogisticRegression

    kept = np.concatenate([scaling.columns, np.arange(features, rows.shape[1] - 1)])
    seen = np.column_stack([scaling(rows[:, :features]), rows[:, features:-1]])
    weight = _weights(labels)
    used = weight > 0
    model = LogisticRegression(C=1.0, max_iter=500)
    model.fit(seen[used], (labels[used] == 1).astype(np.int64), sample_weight=weight[used])
    coefficients = np.zeros(rows.shape[1])
    coefficients[kept] = model.coef_[0]
    middle, spread = np.zeros(features), np.ones(features)
    middle[scaling.columns], spread[scaling.columns] = scaling.center, scaling.scale
    arrays: dict[str, NDArray[Any]] = {
        "middle": middle,
        "spread": spread,
        "weights": np.ascontiguousarray(coefficients[:features]),
        "slope": np.ascontiguousarray(coefficients[features:]),
        "intercept": np.array([float(model.intercept_[0])]),
    }
    return Member("logistic", {}, arrays, _RAW), model.decision_function(seen[checked])


def _weights(labels: Floats) -> Floats:
    anomaly, normal, unknown = labels == 1, labels == 0, np.isnan(labels)
    weight = normal.astype(np.float64)
    missing = max(0, int(anomaly.sum()) - int(normal.sum()))
    if unknown.any():
        weight[unknown] = missing / unknown.sum()
    weight[anomaly] = weight.sum() / anomaly.sum()
    evidence = min(_EVIDENCE, _EVIDENCE_PER_ANOMALY * anomaly.sum() + _LEAST_EVIDENCE)
    return np.asarray(weight * evidence / weight.sum())
