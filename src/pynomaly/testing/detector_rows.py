"""Rows that detectors are checked on: ordinary ones, and the kinds that break them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOUND", "awkward_rows", "ordinary_rows", "without_variation"]

Floats = NDArray[np.float64]

BOUND = 1e30
"""Largest magnitude that preprocessing lets through."""


def ordinary_rows(rows: int = 200, seed: int = 0) -> Floats:
    """Return (rows, 6): correlated, integer, constant and large columns, a few rows far out."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 6))
    X[:, 1] = X[:, 0] + 0.1 * X[:, 1]
    X[:, 2] *= 1e6
    X[:, 3] = rng.integers(0, 3, rows)
    X[:, 4] = 7.0
    X[: rows // 50, [0, 5]] += 6.0
    return X


def awkward_rows() -> Mapping[str, Floats]:
    """Return training rows by what is difficult about them; every one of them can be learned."""
    rng = np.random.default_rng(1)
    plain = rng.normal(size=(40, 3))
    constant = np.full((40, 1), 3.0)
    return {
        "2 rows": plain[:2],
        "3 rows": plain[:3],
        "constant columns": np.hstack([constant, plain, constant]),
        "duplicated rows": np.repeat(plain[:5], 12, axis=0),
        "few different rows on a line": np.repeat(np.arange(4.0), 25)[:, None] * np.ones((1, 3)),
        "rare flags": np.where(rng.random((200, 5)) < 0.03, 1.0, 0.0),
        "large offsets": 1.7e9 + rng.normal(size=(100, 2)),
        "one column": rng.normal(size=(60, 1)),
        "500 columns": rng.normal(size=(60, 500)),
        "huge magnitudes": plain * 1e29,
        "tiny magnitudes": plain * 1e-30,
        "huge beside tiny magnitudes": plain * np.array([1e29, 1e-30, 1.0]),
        "one value far from all others": np.vstack([plain, np.full((1, 3), BOUND)]),
    }


def without_variation() -> Mapping[str, Floats]:
    """Return training rows that teach nothing."""
    return {"1 row": np.ones((1, 3)), "equal rows": np.ones((30, 3))}
