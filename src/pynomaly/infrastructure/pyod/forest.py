"""Isolation forest to complete trees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.infrastructure.pyod.frozen import Frozen

__all__ = ["breadth_first", "fit_iforest", "float32_below"]

Floats = NDArray[np.float64]


def fit_iforest(params: Mapping[str, Any], X: Floats, seed: int, floors: Floats) -> Frozen:
    """Fit scikit-learn's isolation trees on centred rows in raw units.

    Trees see float32.  Centring in float64 first keeps small differences between large values
    (timestamps, ids) that float32 would round away; splits are otherwise unaffected.
    """
    center = np.median(X, axis=0)
    centred = (X - center).astype(np.float32)
    sample = min(int(params["max_samples"]), len(X))
    trees = _isolation_trees(centred, int(params["n_estimators"]), sample, seed)
    lengths = [
        tree.compute_node_depths() - 1.0 + _average_path_length(tree.n_node_samples)
        for tree in trees
    ]
    denominator = len(trees) * float(_average_path_length(sample))
    arrays: dict[str, NDArray[Any]] = {
        "center": center,
        **_complete(trees, lengths),
        "denominator": np.array([denominator]),
    }

    def fitted_scores(rows: NDArray[np.int64]) -> Floats:
        paths = np.zeros(len(rows))
        for tree, length in zip(trees, lengths, strict=True):
            paths += length[tree.apply(centred[rows])]
        return np.power(2.0, -paths / denominator)

    return Frozen(arrays, fitted_scores)


def _isolation_trees(X: NDArray[np.float32], trees: int, sample: int, seed: int) -> list[Any]:
    """Return the trees that scikit-learn's ``IsolationForest(random_state=seed)`` grows.

    It takes five times as long: for every tree it copies an estimator, seeds three generators and
    weighs all rows, of which all but the sample get no weight.  PyOD's IForest wraps it, and scores
    the training rows twice more for a threshold nobody needs.
    """
    from sklearn import config_context
    from sklearn.tree import ExtraTreeRegressor
    from sklearn.utils.random import sample_without_replacement

    rows, features = X.shape
    most = np.iinfo(np.int32).max
    target = np.random.RandomState(seed).uniform(size=(rows,))
    draws, splits = np.random.RandomState(), np.random.RandomState()
    tree = ExtraTreeRegressor(
        max_features=1, max_depth=math.ceil(math.log2(max(sample, 2))), random_state=splits
    )
    grown = []
    with config_context(skip_parameter_validation=True):  # half of what growing a tree takes
        for one in np.random.RandomState(seed).randint(most, size=trees):
            draws.seed(one)
            splits.seed(draws.randint(most))
            draws.seed(one)
            sample_without_replacement(features, features, random_state=draws)
            taken = np.sort(sample_without_replacement(rows, sample, random_state=draws))
            grown.append(tree.fit(X[taken], target[taken], check_input=False).tree_)
    return grown


def _complete(trees: Sequence[Any], lengths: Sequence[Floats]) -> dict[str, NDArray[Any]]:
    """Return split features, thresholds and path lengths of trees, all filled up to one depth.

    Node k has children 2k + 1 and 2k + 2; below a leaf all rows go left.
    """
    counts = [tree.node_count for tree in trees]
    roots = np.cumsum([0, *counts])[:-1]
    left = np.concatenate([tree.children_left for tree in trees])
    right = np.concatenate([tree.children_right for tree in trees])
    leaf = left < 0
    below = np.column_stack([left, right]) + np.repeat(roots, counts)[:, np.newaxis]
    children = np.where(leaf[:, np.newaxis], np.arange(len(leaf))[:, np.newaxis], below)
    feature = np.where(leaf, 0, np.concatenate([tree.feature for tree in trees]))
    limits = float32_below(np.concatenate([tree.threshold for tree in trees]))
    threshold = np.where(leaf, np.float32(np.inf), limits)
    nodes, inner = roots[:, np.newaxis], []
    for _ in range(max(3, *(tree.max_depth for tree in trees))):
        inner.append(nodes)
        nodes = children[nodes].reshape(len(trees), -1)
    above = np.concatenate(inner, axis=1)
    return {
        "feature": feature[above].astype(np.uint32),
        "threshold": threshold[above],
        "length": np.concatenate(lengths)[nodes],
    }


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
