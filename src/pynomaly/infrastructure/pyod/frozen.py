"""What fitting hands to the self-test, and the robust scaling most detectors share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.extensions import Frozen
from pynomaly.domain.spread import robust_spread

__all__ = ["Frozen", "RobustScaling", "varying_columns"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RobustScaling:
    """asinh((x − median) / s), s the column's robust spread.

    Linear in the bulk and logarithmic far out, so that one column in large units or one extreme
    value cannot dominate a distance.

    Args:
        columns: Those that count; the others are left out.
        center: Their medians.
        scale: Their spreads.
    """

    columns: NDArray[np.int64]
    center: Floats
    scale: Floats

    @classmethod
    def fit(cls, X: Floats, floors: Floats, *, constant: bool = False) -> RobustScaling:
        """Learn from training rows, some column of which varies.

        Args:
            X: (n, d) training rows.
            floors: (d,) smallest spread to scale a column by.
            constant: Whether constant columns count if they have a floor.  Distances can tell what
                has another value than all training rows; covariances and trees cannot.
        """
        spread = robust_spread(X)
        scale = np.maximum(spread, floors)
        columns = np.flatnonzero((scale if constant else spread) > 0).astype(np.int64)
        return cls(columns, np.median(X[:, columns], axis=0), scale[columns])

    def __call__(self, X: Floats) -> Floats:
        """Return the scaled (n, len(columns)) matrix."""
        with np.errstate(over="ignore"):
            ratio = (X[:, self.columns] - self.center) / self.scale
        return np.arcsinh(np.clip(ratio, -1e300, 1e300))

    def smooth(self, Z: Floats, floors: Floats, seed: int) -> Floats:
        """Return scaled rows with unit noise on columns that have a floor.

        Means and covariances measure in standard deviations and would undo the floors: a flag
        that one row in a hundred carries would count ten deviations.
        """
        noise = np.random.default_rng(seed).normal(size=Z.shape)
        return Z + noise * (floors[self.columns] > 0)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """For the kernel."""
        return {"columns": self.columns, "center": self.center, "scale": self.scale}


def varying_columns(X: Floats) -> NDArray[np.int64]:
    """Return indices of columns with at least two different values."""
    return np.flatnonzero(X.max(axis=0) > X.min(axis=0)).astype(np.int64)
