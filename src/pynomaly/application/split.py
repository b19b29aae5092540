"""Divide staged rows into those a model is fitted on and those it is judged on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["fold_of_rows", "sample_table", "split_rows"]


def sample_table(batches: Iterator[pa.Table], rows: int, size: int, seed: int) -> pa.Table:
    """Return ``size`` rows drawn uniformly without replacement, in order, streaming.

    Args:
        batches: The dataset.
        rows: In the whole dataset.
        size: Rows to keep; all of them where the dataset is smaller.
        seed: Of the draw.
    """
    if rows <= size:
        return pa.concat_tables(batches).combine_chunks()
    chosen = np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))
    parts, offset = [], 0
    for batch in batches:
        here = chosen[(chosen >= offset) & (chosen < offset + len(batch))] - offset
        if len(here):
            parts.append(batch.take(pa.array(here)))
        offset += len(batch)
    return pa.concat_tables(parts).combine_chunks()


def split_rows(rows: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ascending positions of fitted and of held-out rows.

    Args:
        rows: To divide.
        share: Held out, 0–1.
        seed: Of the draw.
    """
    order = np.random.default_rng(seed).permutation(rows)
    held_out = round(rows * share)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def fold_of_rows(rows: int, folds: int, seed: int) -> NDArray[np.int64]:
    """Return a fold number per row; folds differ by at most one row in size."""
    return np.random.default_rng(seed).permutation(np.arange(rows) % folds)
