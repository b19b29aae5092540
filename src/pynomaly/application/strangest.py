"""Keeps the strangest rows of a stream."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["Strangest"]


class Strangest:
    """The ``size`` rows with the highest scores so far; of equal ones the earlier stay.

    Args:
        size: How many to keep.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: pa.Table | None = None
        self.scores: NDArray[np.float64] = np.empty(0)

    @property
    def rows(self) -> pa.Table:
        """The rows, strangest first."""
        assert self._rows is not None  # nobody asks before anything was offered
        return self._rows

    def offer(self, rows: pa.Table, scores: NDArray[np.float64]) -> None:
        """Consider further rows of the stream.

        Args:
            rows: All batches have the same columns.
            scores: (n,) theirs.
        """
        best = np.argsort(-scores, kind="stable")[: self._size]
        merged = np.concatenate([self.scores, scores[best]])
        order = np.argsort(-merged, kind="stable")[: self._size]
        candidates = rows.take(pa.array(best))
        if self._rows is not None:
            candidates = pa.concat_tables([self._rows, candidates])
        self._rows = candidates.take(pa.array(order)).combine_chunks()
        self.scores = merged[order]
