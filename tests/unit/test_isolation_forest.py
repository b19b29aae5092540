"""Isolation trees grown one by one are those of scikit-learn's forest."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod import PyodFitter


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 2])
@pytest.mark.parametrize(
    ("rows", "columns", "sample"),
    [(2000, 20, 256), (1500, 7, 1000), (500, 3, 10), (300, 1, 256), (3, 4, 256), (2, 1, 256)],
)
def test_it_is_the_forest_of_the_library(seed, rows, columns, sample):
    X = np.random.default_rng(rows).normal(size=(rows, columns)) ** 3 * 1e3
    if columns == 1:
        X = np.round(X, -2)  # many rows alike: leaves of several
    params = {"n_estimators": 30, "max_samples": sample}
    kernels = FrozenKernels()
    member = PyodFitter(kernels, tolerance=1e-12).fit("iforest", params, X, seed)
    centred = X - np.median(X, axis=0)
    forest = IsolationForest(n_estimators=30, max_samples=min(sample, rows), random_state=seed).fit(
        centred
    )
    found = kernels.score(member, X)
    np.testing.assert_allclose(found, -forest.score_samples(centred), rtol=1e-12)
