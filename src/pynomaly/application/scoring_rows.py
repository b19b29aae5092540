"""Scores rows with a frozen model, block by block so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.application.preprocessing import encode
from pynomaly.domain.models import Head, Member, Model
from pynomaly.domain.scores import combine, label_free_part, normalise

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BLOCK_ROWS", "head_rows", "score_matrix", "score_members", "score_table"]

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
    return score_members(model.members, X, kernels, model.head)


def score_members(
    members: Sequence[Member], X: Floats, kernels: Kernels, head: Head | None = None
) -> Floats:
    """Return (n,) combined scores of encoded rows by some members, and by what labels taught."""
    scores = np.empty(len(X))
    for start in range(0, len(X), BLOCK_ROWS):
        block = X[start : start + BLOCK_ROWS]
        if head is None:
            found = combine(tuple(kernels.score_members(members, block)), members)
        else:
            rows = head_rows(members, block, kernels)
            found = label_free_part(rows[:, -1], head.weight, head.ordinary)
            for log_odds in kernels.score_members(head.parts, rows):
                found += log_odds
        scores[start : start + BLOCK_ROWS] = found
    return scores


def head_rows(members: Sequence[Member], X: Floats, kernels: Kernels) -> Floats:
    """Return what a head reads: the features, the normalised score by every member, their mean.

    Args:
        members: Label-free, k of them.
        X: (n, d) encoded rows.
        kernels: Score the members.

    Returns:
        (n, d + k + 1), columns contiguous, the last being the label-free score itself.
    """
    raw = kernels.score_members(members, X)
    rows = np.empty((X.shape[1] + len(members) + 1, len(X))).T
    rows[:, : X.shape[1]] = X
    for column, (scores, member) in enumerate(zip(raw, members, strict=True), start=X.shape[1]):
        rows[:, column] = normalise(scores, member.normalisation)
    rows[:, -1] = combine(tuple(raw), members)
    return rows
