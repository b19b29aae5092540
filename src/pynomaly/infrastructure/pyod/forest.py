"""Isolation forest to flat arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import Frozen

__all__ = ["fit_iforest"]

Floats = NDArray[np.float64]


def fit_iforest(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit PyOD's IForest on centred rows in raw units.

    Trees see float32.  Centring in float64 first keeps small differences between large values
    (timestamps, ids) that float32 would round away; splits are otherwise unaffected.
    """
    from pyod.models.iforest import IForest

    center = np.median(X, axis=0)
    centred = X - center
    detector = IForest(
        n_estimators=int(params["n_estimators"]),
        max_samples=min(int(params["max_samples"]), len(X)),
        random_state=seed,
        n_jobs=1,
    )
    detector.fit(centred)
    forest = detector.detector_
    trees = [_Flat(tree) for tree in forest.estimators_]
    sizes = np.array([len(tree.length) for tree in trees])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    arrays: dict[str, NDArray[Any]] = {
        "center": center,
        "feature": np.concatenate([tree.feature for tree in trees]).astype(np.int32),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "child": np.concatenate(
            [tree.child + root for tree, root in zip(trees, roots, strict=True)]
        ).astype(np.int32),
        "length": np.concatenate([tree.length for tree in trees]),
        "roots": roots,
        "depths": np.array([tree.depth for tree in trees], dtype=np.int64),
        "denominator": np.array([len(trees) * _average_path_length(forest.max_samples_)]),
    }
    return Frozen(arrays, lambda rows: -forest.score_samples(centred[rows]))


class _Flat:
    """One tree, breadth first, so that siblings are neighbours."""

    def __init__(self, estimator: Any) -> None:
        tree = estimator.tree_
        left, right = tree.children_left, tree.children_right
        order, position = [0], 0
        child = np.zeros(tree.node_count, dtype=np.int64)
        while position < len(order):
            node = order[position]
            if left[node] < 0:
                child[position] = position  # with an infinite threshold: stays here for good
            else:
                child[position] = len(order)
                order += [int(left[node]), int(right[node])]
            position += 1
        leaf = left[order] < 0
        self.child = child
        self.feature = np.where(leaf, 0, tree.feature[order])
        self.threshold = np.where(leaf, np.float32(np.inf), _float32_below(tree.threshold[order]))
        depths = tree.compute_node_depths()[order]  # the root counts 1
        average = _average_path_length(tree.n_node_samples[order])
        self.length = np.where(leaf, depths - 1.0 + average, 0.0)
        self.depth = int(depths.max()) - 1


def _float32_below(values: Floats) -> NDArray[np.float32]:
    """Round down: for a float32 x, x ≤ value exactly when x ≤ the rounded value."""
    rounded = values.astype(np.float32)
    above = rounded.astype(np.float64) > values
    return np.where(above, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _average_path_length(rows: Any) -> Any:
    """Average depth of an unsuccessful search in a random tree of so many rows.

    Source: Liu, Ting & Zhou, Isolation forest (2008), equation 1.
    """
    count = np.asarray(rows, dtype=np.float64)
    safe = np.maximum(count, 3.0)
    long = 2.0 * (np.log(safe - 1.0) + np.euler_gamma) - 2.0 * (safe - 1.0) / safe
    return np.where(count <= 1, 0.0, np.where(count == 2, 1.0, long))
