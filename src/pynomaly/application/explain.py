"""Why a row is strange: the score it would lose, column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.application.scoring_rows import BLOCK_ROWS, score_matrix
from pynomaly.domain.errors import DataRejectedError
from pynomaly.domain.models import Encoding, Model, NumericEncoding
from pynomaly.domain.scores import Direction, Reason

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["contributions", "explain"]

Floats = NDArray[np.float64]

_TEXT_LIMIT = 80


def explain(
    model: Model, table: pa.Table, X: Floats, scores: Floats, kernels: Kernels, top: int = 3
) -> list[list[Reason]]:
    """Return the columns that make each row strange, the largest contribution first.

    A column's contribution is the drop in score when all its features take their typical value.
    It is measured on the whole ensemble, so it is faithful to the very number that raised the
    alert, whichever detectors the model holds, and it depends on that row alone.  Only columns
    that raise the score are reasons; a row may have none.

    Args:
        model: What scored the rows.
        table: The rows as conformed, for the values shown.
        X: (n, d) the same rows encoded.
        scores: (n,) their scores.
        kernels: Score the altered rows.
        top: Reasons per row at most.
    """
    if not len(table) == len(X) == len(scores):
        raise DataRejectedError(
            f"{len(table)} rows, {len(X)} encoded rows and {len(scores)} scores do not belong "
            "together"
        )
    drops = contributions(model, X, scores, kernels)
    encodings = model.preprocessing.encodings
    first = [model.preprocessing.owners.index(c) for c in range(len(encodings))]
    columns = {encoding.column: table[encoding.column] for encoding in encodings}
    reasons: list[list[Reason]] = []
    for row, row_drops in enumerate(drops):
        order = np.argsort(-row_drops, kind="stable")[:top]
        reasons.append(
            [
                _reason(
                    encodings[c],
                    float(row_drops[c]),
                    float(X[row, first[c]] - model.preprocessing.typical[first[c]]),
                    columns[encodings[c].column][row].as_py(),
                )
                for c in order
                if row_drops[c] > 0
            ]
        )
    return reasons


def contributions(model: Model, X: Floats, scores: Floats, kernels: Kernels) -> Floats:
    """Return (n, source columns) drops in score; negative where the column speaks for the row.

    Args:
        model: What scored the rows.
        X: (n, d) encoded rows.
        scores: (n,) their scores.
        kernels: Score the altered rows.
    """
    owners = np.array(model.preprocessing.owners)
    columns = len(model.preprocessing.encodings)
    drops = np.empty((len(X), columns))
    rows_at_once = max(1, BLOCK_ROWS // columns)
    for start in range(0, len(X), rows_at_once):
        block = X[start : start + rows_at_once]
        altered = np.repeat(block[:, None, :], columns, axis=1)
        for column in range(columns):
            features = owners == column
            altered[:, column, features] = model.preprocessing.typical[features]
        lowered = score_matrix(model, altered.reshape(-1, X.shape[1]), kernels)
        before = scores[start : start + rows_at_once]
        drops[start : start + rows_at_once] = before[:, None] - lowered.reshape(-1, columns)
    return drops


def _reason(encoding: Encoding, drop: float, above: float, value: Any) -> Reason:
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    direction: Direction = "unusual"
    if isinstance(encoding, NumericEncoding) and not isinstance(value, bool) and not missing:
        direction = "high" if above > 0 else "low" if above < 0 else "unusual"
    return Reason(encoding.column, drop, direction, "missing" if missing else _text(value))


def _text(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _TEXT_LIMIT else f"{text[: _TEXT_LIMIT - 1]}…"
