"""A forest that learns another detector's scores, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.forest import breadth_first, float32_below
from pynomaly.infrastructure.pyod.frozen import Frozen, RobustScaling

__all__ = ["fit_surrogate"]

Floats = NDArray[np.float64]

_MOST_TRIED = 32
"""Columns tried for a split: half of them, but wide tables would take minutes."""


def fit_surrogate(
    params: Mapping[str, Any],
    X: Floats,
    scores: Floats,
    seed: int,
    floors: Floats,
    threads: int,
) -> tuple[Frozen, Floats]:
    """Fit extremely randomised regression trees to scores, on robustly scaled rows.

    Returns:
        The frozen forest, and what the trees that did not see a row say of it (n,): the
        surrogate's own opinion, where its prediction for a row it was fitted on mostly repeats
        the row's score.

    Source: extremely randomised trees, Geurts et al. (2006); learning an ensemble's scores,
    UADB, Ye et al. (2023).
    """
    from sklearn.ensemble import ExtraTreesRegressor

    scaling = RobustScaling.fit(X, floors)
    Z = scaling(X)
    forest = ExtraTreesRegressor(
        n_estimators=int(params["trees"]),
        min_samples_leaf=int(params["min_leaf"]),
        max_features=max(1, min(Z.shape[1] // 2, _MOST_TRIED)),
        bootstrap=True,
        oob_score=True,
        random_state=seed,
        n_jobs=threads,  # trees have seeds of their own: the same with any number of threads
    )
    forest.fit(Z, scores)
    trees = [_flat(estimator.tree_) for estimator in forest.estimators_]
    roots = np.cumsum([0, *(len(value) for *_, value in trees)])[:-1]
    arrays: dict[str, NDArray[Any]] = {
        **scaling.arrays,
        "feature": np.concatenate([feature for feature, _, _, _ in trees]),
        "threshold": np.concatenate([threshold for _, threshold, _, _ in trees]),
        "child": np.concatenate(
            [child + root for (_, _, child, _), root in zip(trees, roots, strict=True)]
        ).astype(np.int32),
        "value": np.concatenate([value for _, _, _, value in trees]),
        "roots": roots.astype(np.int64),
        "depths": np.array([e.tree_.max_depth for e in forest.estimators_], dtype=np.int64),
    }
    unseen = np.asarray(forest.oob_prediction_, dtype=np.float64)
    return Frozen(arrays, lambda rows: forest.predict(Z[rows]), absolute_tolerance=1e-9), unseen


def _flat(
    tree: Any,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64], Floats]:
    """Return features, thresholds, left children and values, breadth first: siblings in a row."""
    order, child = breadth_first(tree.children_left, tree.children_right)
    leaf = child == 0
    return (
        np.where(leaf, 0, tree.feature[order]).astype(np.int32),
        np.where(leaf, np.float32(np.inf), float32_below(tree.threshold[order])),
        np.where(leaf, np.arange(len(order)), child),  # a leaf is its own child
        np.where(leaf, tree.value[order, 0, 0], 0.0),
    )
