"""Why a row is strange: the score it would lose, column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.application.reasons import Reasons
from pynomaly.application.scoring_rows import BLOCK_ROWS, score_matrix
from pynomaly.application.usual import cell_text, shares_as_unusual, usual_texts
from pynomaly.domain.errors import DataRejectedError
from pynomaly.domain.models import Model, NumericEncoding, Preprocessing, TimeEncoding

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["contributions", "explain", "similar_values"]

Floats = NDArray[np.float64]

_NEIGHBOURS = 5
"""Similar reference rows whose median stands in for a column; odd, so that some row has it."""

_FAR = 3.0
"""Deviations at which two cells differ as much as cells can: a strange cell must not choose which
rows its own row is similar to."""

_SMALLEST_SHARE = 1e-4

_RARE = 0.01
_NEGLIGIBLE, _NEGLIGIBLE_IF_RARE = 0.05, 0.005
"""Columns with less than this share of the largest contribution explain nothing; beside a value far
out even a level never seen adds little, so of values that are rare by themselves less is asked."""


def explain(
    model: Model, table: pa.Table, X: Floats, scores: Floats, kernels: Kernels, top: int = 3
) -> Reasons:
    """Return the columns that make each row strange, the most telling first.

    A column's contribution is the drop in score when it takes the value that similar rows have.
    It is measured on the whole model, so it is faithful to the very number that raised the alert,
    whatever the model is made of, and it depends on that row alone.  Only columns that raise the
    score by more than a trifle are reasons; a row may have none.  Among them a value that is rare
    by itself tells more than one that is not: they are ordered by
    contribution · (2 + ln(1 / share)).

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
    drops = contributions(model, X, instead, scores, kernels)
    cells = [table[encoding.column] for encoding in encodings]
    shares = np.column_stack(
        [shares_as_unusual(*column) for column in zip(encodings, cells, strict=True)]
    )
    telling = drops * (2.0 - np.log(np.maximum(shares, _SMALLEST_SHARE)))
    least = np.where(shares <= _RARE, _NEGLIGIBLE_IF_RARE, _NEGLIGIBLE)
    trifle = least * np.maximum(drops.max(axis=1, initial=0.0, keepdims=True), 0.0)
    order = np.argsort(-telling, axis=1, kind="stable")[:, :top]
    rows, ranks = np.nonzero(np.take_along_axis(drops > trifle, order, axis=1))
    columns = order[rows, ranks]
    first = np.searchsorted(model.preprocessing.owners, np.arange(len(encodings)))[columns]
    directions = np.sign(X[rows, first] - instead[rows, first]).astype(np.int8)
    values, normal = np.empty((2, len(rows)), dtype=object)
    for column in np.unique(columns):
        here = np.flatnonzero(columns == column)
        told = cells[column].take(rows[here])
        values[here] = [cell_text(cell) for cell in told.to_pylist()]
        normal[here] = usual_texts(encodings[column], told)
        if not isinstance(encodings[column], NumericEncoding):
            directions[here] = 0
        elif told.null_count:
            directions[here[told.is_null().to_numpy()]] = 0
    return Reasons(
        tuple(encoding.column for encoding in encodings),
        np.searchsorted(rows, np.arange(len(X) + 1)).astype(np.int32),
        columns,
        drops[rows, columns],
        directions,
        values,
        shares[rows, columns],
        normal,
    )


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
    return similar


def contributions(
    model: Model, X: Floats, instead: Floats, scores: Floats, kernels: Kernels
) -> Floats:
    """Return (n, source columns) drops in score; negative where the column speaks for the row.

    Args:
        model: What scored the rows.
        X: (n, d) encoded rows.
        instead: (n, d) what their features are replaced by, one source column at a time.
        scores: (n,) their scores.
        kernels: Score the altered rows.
    """
    columns = np.arange(len(model.preprocessing.encodings) + 1)
    features = np.searchsorted(model.preprocessing.owners, columns)  # where each column's begin
    differs = np.logical_or.reduceat(instead != X, features[:-1], axis=1)
    drops = np.zeros(differs.shape)
    changed, rows = np.nonzero(differs.T)  # column by column
    for start in range(0, len(rows), BLOCK_ROWS):
        here, one = rows[start : start + BLOCK_ROWS], changed[start : start + BLOCK_ROWS]
        altered = X.T[:, here].T  # columns contiguous, as kernels like them
        for column in range(one[0], one[-1] + 1):
            mine = slice(*np.searchsorted(one, (column, column + 1)))
            of = slice(*features[column : column + 2])
            altered[mine, of] = instead[here[mine], of]
        drops[here, one] = scores[here] - score_matrix(model, altered, kernels)
    return drops
