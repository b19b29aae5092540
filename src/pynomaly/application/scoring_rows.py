"""Scores rows with a frozen model, block by block so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.application.preprocessing import encode
from pynomaly.domain.models import Member, Model
from pynomaly.domain.scores import combine

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BLOCK_ROWS", "score_matrix", "score_members", "score_table"]

Floats = NDArray[np.float64]

BLOCK_ROWS = 32_768
"""Rows scored at a time; scores do not depend on it."""


def score_table(model: Model, table: pa.Table, kernels: Kernels) -> Floats:
    """Return (n,) scores of a conformed table, higher = stranger.

    Raises:
        DataRejectedError: A column the model needs is missing.
    """
    if not table.num_rows:
        return score_matrix(model, encode(model.preprocessing, table), kernels)
    return np.concatenate(
        [
            score_matrix(
                model, encode(model.preprocessing, table.slice(start, BLOCK_ROWS)), kernels
            )
            for start in range(0, table.num_rows, BLOCK_ROWS)
        ]
    )


def score_matrix(model: Model, X: Floats, kernels: Kernels) -> Floats:
    """Return (n,) scores of encoded rows, higher = stranger.

    Args:
        model: A frozen model.
        X: (n, d) matrix made by the model's preprocessing.
        kernels: Score its members.
    """
    return score_members(model.members, X, kernels)


def score_members(members: Sequence[Member], X: Floats, kernels: Kernels) -> Floats:
    """Return (n,) combined scores of encoded rows by some members."""
    scores = np.empty(len(X))
    for start in range(0, len(X), BLOCK_ROWS):
        block = X[start : start + BLOCK_ROWS]
        scores[start : start + BLOCK_ROWS] = combine(
            tuple(kernels.score_members(members, block)), members
        )
    return scores
