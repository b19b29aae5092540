"""Isolation forest to complete trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import Frozen

__all__ = ["breadth_first", "fit_iforest", "float32_below"]

Floats = NDArray[np.float64]


def fit_iforest(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit scikit-learn's isolation forest on centred rows in raw units.

    PyOD's IForest wraps it, and scores the training rows twice more for a threshold nobody needs.

    Trees see float32.  Centring in float64 first keeps small differences between large values
    (timestamps, ids) that float32 would round away; splits are otherwise unaffected.
    """
    from sklearn.ensemble import IsolationForest

    center = np.median(X, axis=0)
    centred = X - center
    forest = IsolationForest(
        n_estimators=int(params["n_estimators"]),
        max_samples=min(int(params["max_samples"]), len(X)),
        random_state=seed,
        n_jobs=1,
    ).fit(centred)
    depth = max(3, *(int(tree.tree_.max_depth) for tree in forest.estimators_))
    trees = [_complete(tree.tree_, depth) for tree in forest.estimators_]
    arrays: dict[str, NDArray[Any]] = {
        "center": center,
        "feature": np.stack([feature for feature, _, _ in trees]),
        "threshold": np.stack([threshold for _, threshold, _ in trees]),
        "length": np.stack([length for _, _, length in trees]),
        "denominator": np.array([len(trees) * _average_path_length(forest.max_samples_)]),
    }
    return Frozen(arrays, lambda rows: -forest.score_samples(centred[rows]))


def _complete(tree: Any, depth: int) -> tuple[NDArray[np.uint32], NDArray[np.float32], Floats]:
    """Return split features, thresholds and path lengths of a tree, filled up to all leaves.

    Node k has children 2k + 1 and 2k + 2; below a leaf all rows go left.
    """
    inner = 2**depth - 1
    feature = np.zeros(inner, dtype=np.uint32)
    threshold = np.full(inner, np.inf, dtype=np.float32)
    length = np.zeros(inner + 1)
    limits = float32_below(tree.threshold)
    paths = tree.compute_node_depths() - 1.0 + _average_path_length(tree.n_node_samples)
    waiting = [(0, 0)]
    while waiting:
        node, place = waiting.pop()
        if tree.children_left[node] < 0:
            while place < inner:
                place = 2 * place + 1
            length[place - inner] = paths[node]
        else:
            feature[place], threshold[place] = tree.feature[node], limits[node]
            waiting += [
                (int(tree.children_left[node]), 2 * place + 1),
                (int(tree.children_right[node]), 2 * place + 2),
            ]
    return feature, threshold, length


def breadth_first(
    left: NDArray[Any], right: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lay a tree out level by level, so that siblings are next to each other.

    Args:
        left: (nodes,) left children by node, the root being node 0; of leaves 0 or less.
        right: (nodes,) right children.

    Returns:
        The nodes in the new order, and for each of them the place of its left child there, 0 for
        leaves.

    >>> order, child = breadth_first(np.array([1, 2, -1, -1, -1]), np.array([4, 3, -1, -1, -1]))
    >>> order.tolist(), child.tolist()
    ([0, 1, 4, 2, 3], [1, 3, 0, 0, 0])
    """
    levels = [np.zeros(1, dtype=np.int64)]
    while len(inner := levels[-1][left[levels[-1]] > 0]):
        levels.append(np.column_stack([left[inner], right[inner]]).ravel().astype(np.int64))
    order = np.concatenate(levels)
    child = np.zeros(len(order), dtype=np.int64)
    parents = np.flatnonzero(left[order] > 0)
    child[parents] = 1 + 2 * np.arange(len(parents))
    return order, child


def float32_below(values: Floats) -> NDArray[np.float32]:
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
