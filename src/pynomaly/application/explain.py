"""Why a row is strange: what each of its columns adds to the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.application.preprocessing import fill_gaps
from pynomaly.application.reasons import Reasons
from pynomaly.application.scoring_rows import BLOCK_ROWS, score_matrix, score_members
from pynomaly.application.usual import cells_told, shares_as_unusual
from pynomaly.domain.encodings import NumericEncoding, TimeEncoding
from pynomaly.domain.errors import DataRejectedError
from pynomaly.domain.models import Member, Model, Preprocessing

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["contributions", "explain", "similar_values", "without_the_strangest"]

Floats = NDArray[np.float64]

_NEIGHBOURS = 5
"""Similar reference rows whose median stands in for a column; odd, so that some row has it."""

_ORDINARY = 0.97
"""Share of the reference rows that others are compared with."""

_FAR = 3.0
"""Deviations at which two cells differ as much as cells can: a strange cell must not choose which
rows its own row is similar to."""

_SMALLEST_SHARE = 1e-4

_RARE = 0.01
"""Share of rows as unusual at which a value is rare by itself."""

_NEGLIGIBLE, _NEGLIGIBLE_IF_RARE = 0.05, 0.005
"""Columns with less than this share of the largest contribution explain nothing; beside a value far
out even a level never seen adds little, so of values that are rare by themselves less is asked."""


def explain(
    model: Model, table: pa.Table, X: Floats, scores: Floats, kernels: Kernels, top: int = 3
) -> Reasons:
    """Return the columns that make each row strange, the most telling first.

    What a column contributes (:func:`contributions`) is measured on the whole model, so it is about
    the very number that raised the alert, whatever the model is made of, and it depends on that row
    alone.  Where similar rows are just like the row, it is compared with the middle of the training
    rows instead.  Only columns that raise the score by more than a trifle are reasons; a row
    may have none.  Among them a value that is rare by itself tells more than one that is not: they
    are ordered by contribution · (2 + ln(1 / share)).

    Args:
        model: What scored the rows.
        table: The rows as conformed, for the values shown.
        X: (n, d) the same rows encoded.
        scores: (n,) their scores.
        kernels: Find similar rows and score the altered ones.
        top: Reasons per row at most.
    """
    if not len(table) == len(X) == len(scores):
        raise DataRejectedError(
            f"{len(table)} rows, {len(X)} encoded rows and {len(scores)} scores do not belong "
            "together"
        )
    encodings = model.preprocessing.encodings
    instead = similar_values(model.preprocessing, X, kernels)
    cells = [table[encoding.column] for encoding in encodings]
    shares = np.column_stack(
        [shares_as_unusual(*column) for column in zip(encodings, cells, strict=True)]
    )
    rare = shares <= _RARE
    raised = contributions(model, X, instead, scores, rare, kernels)
    # Rows of few different values have their like among the references, which tell nothing.
    alike = np.flatnonzero(raised.max(axis=1, initial=0.0) <= 0)
    if len(alike):
        middle = np.median(model.preprocessing.references, axis=0, keepdims=True)
        instead[alike] = similar_values(model.preprocessing, middle, kernels)
        raised[alike] = contributions(
            model, X[alike], instead[alike], scores[alike], rare[alike], kernels
        )
    telling = raised * (2.0 - np.log(np.maximum(shares, _SMALLEST_SHARE)))
    least = np.where(rare, _NEGLIGIBLE_IF_RARE, _NEGLIGIBLE)
    trifle = least * np.maximum(raised.max(axis=1, initial=0.0, keepdims=True), 0.0)
    order = np.argsort(-telling, axis=1, kind="stable")[:, :top]
    rows, ranks = np.nonzero(np.take_along_axis(raised > trifle, order, axis=1))
    columns = order[rows, ranks]
    first = np.searchsorted(model.preprocessing.owners, np.arange(len(encodings)))[columns]
    directions = np.sign(X[rows, first] - instead[rows, first]).astype(np.int8)
    values, normal = np.empty((2, len(rows)), dtype=object)
    for column in np.unique(columns):
        here = np.flatnonzero(columns == column)
        told = cells[column].take(rows[here])
        if not isinstance(encodings[column], NumericEncoding):
            directions[here] = 0
        elif told.null_count:
            directions[here[told.is_null().to_numpy()]] = 0
        others = instead[rows[here], first[here]]
        values[here], normal[here] = cells_told(encodings[column], told, directions[here], others)
    return Reasons(
        tuple(encoding.column for encoding in encodings),
        np.searchsorted(rows, np.arange(len(X) + 1)).astype(np.int32),
        columns,
        raised[rows, columns],
        directions,
        values,
        shares[rows, columns],
        normal,
    )


def without_the_strangest(
    preprocessing: Preprocessing, members: Sequence[Member], kernels: Kernels
) -> Preprocessing:
    """Return a preprocessing whose reference rows are not the strangest of them.

    In a small table they hold the anomalies as well, and what a few have in common could be a
    reason for none of them: the rows most similar to each would be the others.
    """
    references = preprocessing.references
    scores = score_members(members, references, kernels)
    ordinary = scores <= np.quantile(scores, _ORDINARY)
    return replace(preprocessing, references=references[ordinary])


def similar_values(preprocessing: Preprocessing, X: Floats, kernels: Kernels) -> Floats:
    """Return (n, d) what each feature is in the reference rows most similar to each row.

    Args:
        preprocessing: Holds the reference rows.
        X: (n, d) encoded rows.
        kernels: Find them.
    """
    references = preprocessing.references
    quarter, three_quarters = np.quantile(references, [0.25, 0.75], axis=0)
    spread = np.maximum((three_quarters - quarter) / 1.349, preprocessing.floors)
    spread = np.where(spread > 0, spread, references.std(axis=0))
    spread[spread == 0] = 1.0
    nearest = kernels.nearest(X, references, spread, _FAR, min(_NEIGHBOURS, len(references)))
    similar = np.sort(references[nearest], axis=1)[:, nearest.shape[1] // 2]
    whole = [isinstance(e, TimeEncoding) for e in preprocessing.encodings]
    circular = np.array([whole[owner] for owner in preprocessing.owners])
    # The median of sines and cosines is no time of day.
    similar[:, circular] = references[nearest[:, 0]][:, circular]
    fill_gaps(preprocessing, similar)
    return similar


def contributions(
    model: Model,
    X: Floats,
    instead: Floats,
    scores: Floats,
    rare: NDArray[np.bool_],
    kernels: Kernels,
) -> Floats:
    """Return (n, source columns) what each column adds to the score; negative where it lowers it.

    That is the drop when the column becomes as in similar rows.  Of columns that are strange
    together, such as a total and its tax, each one alone holds the score up when another is
    replaced.  So of a rare value it is the mean of this drop and of the rise that the value brings
    to the similar row: the first and the last term of its Shapley value.

    Args:
        model: What scored the rows.
        X: (n, d) encoded rows.
        instead: (n, d) their features in similar rows.
        scores: (n,) their scores.
        rare: (n, source columns) whether the value is rare by itself.
        kernels: Score the altered rows.
    """
    columns = np.arange(len(model.preprocessing.encodings) + 1)
    features = np.searchsorted(model.preprocessing.owners, columns)  # where each column's begin
    differs = np.logical_or.reduceat(instead != X, features[:-1], axis=1)
    raised = np.zeros(differs.shape)
    changed, rows = np.nonzero(differs.T)  # column by column
    left = _scores_with(model, X, instead, features, rows, changed, kernels)
    raised[rows, changed] = scores[rows] - left
    changed, rows = np.nonzero((differs & rare).T)
    if not len(rows):
        return raised
    brought = _scores_with(model, instead, X, features, rows, changed, kernels)
    brought -= score_matrix(model, instead, kernels)[rows]
    raised[rows, changed] = (raised[rows, changed] + brought) / 2
    return raised


def _scores_with(
    model: Model,
    X: Floats,
    other: Floats,
    features: NDArray[np.intp],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    kernels: Kernels,
) -> Floats:
    """Return (k,) scores of k rows of X, each with one of its columns taken from ``other``.

    The columns ascend; ``features`` tells where those of each source column begin.
    """
    scores = np.empty(len(rows))
    for start in range(0, len(rows), BLOCK_ROWS):
        here, one = rows[start : start + BLOCK_ROWS], columns[start : start + BLOCK_ROWS]
        altered = X.T[:, here].T  # columns contiguous, as kernels like them
        for column in range(one[0], one[-1] + 1):
            mine = slice(*np.searchsorted(one, (column, column + 1)))
            of = slice(*features[column : column + 2])
            altered[mine, of] = other[here[mine], of]
        fill_gaps(model.preprocessing, altered)  # what was told from the column is told anew
        scores[start : start + BLOCK_ROWS] = score_matrix(model, altered, kernels)
    return scores
