"""Conformed rows become scored rows: score, p-value, decision, severity and reasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.explain import explain
from pynomaly.application.ports.learning import Kernels
from pynomaly.application.preprocessing import encode
from pynomaly.application.reasons import REASONS, Reasons
from pynomaly.application.scoring_rows import score_table
from pynomaly.domain.decision import Line
from pynomaly.domain.models import Model
from pynomaly.domain.scores import Reason, p_values, severity

__all__ = ["RowScorer", "ScoredRows"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Scores of some rows, and the output columns made of them.

    Args:
        scores: (n,) higher = stranger.
        p_values: (n,) conformal.
        flags: (n,) which are alerts.
        columns: ``score p_value is_anomaly severity reasons``, by name.
    """

    scores: Floats
    p_values: Floats
    flags: NDArray[np.bool_]
    columns: dict[str, pa.Array]

    @property
    def flagged(self) -> int:
        """How many are alerts."""
        return int(self.flags.sum())

    def instead(self, other: ScoredRows, mine: NDArray[np.bool_]) -> ScoredRows:
        """Return another's answers about the same rows with some of them replaced by these.

        Args:
            other: Of as many rows.
            mine: (n,) which rows are answered by this one.
        """
        n = len(mine)
        taken = pa.array(np.arange(n) + np.where(mine, n, 0))
        return ScoredRows(
            np.where(mine, self.scores, other.scores),
            np.where(mine, self.p_values, other.p_values),
            np.where(mine, self.flags, other.flags),
            {
                name: pa.concat_arrays([column, self.columns[name]]).take(taken)
                for name, column in other.columns.items()
            },
        )

    def beside(self, table: pa.Table) -> pa.Table:
        """Return ``table``, of as many rows, with the output columns after its own."""
        for name, column in self.columns.items():
            table = table.append_column(name, column)
        return table


@dataclass(frozen=True, slots=True)
class RowScorer:
    """Scores rows, each by itself: what a row gets never depends on its batch.

    Args:
        model: What to score with.
        line: Where the decision policy cuts the batch.
        kernels: Score.
    """

    model: Model
    line: Line
    kernels: Kernels

    def __call__(self, rows: pa.Table, first: int = 0) -> ScoredRows:
        """Score, decide and explain conformed rows.

        Args:
            rows: At least the model's columns.
            first: Position of the first of them in the batch that the line was drawn for.

        Raises:
            DataRejectedError: A column the model needs is missing.
        """
        scores = score_table(self.model, rows, self.kernels)
        p = p_values(self.model.calibration, scores)
        flags = self.line.flags(scores, first)
        columns = {
            "score": pa.array(scores),
            "p_value": pa.array(p),
            "is_anomaly": pa.array(flags),
            "severity": pa.array(severity(p)),
            "reasons": self._reasons(rows, scores, np.flatnonzero(flags)),
        }
        return ScoredRows(scores, p, flags, columns)

    def reasons(self, rows: pa.Table, scores: Floats) -> list[list[Reason]]:
        """Return the reasons of every row, flagged or not."""
        return self._explained(rows, scores).to_lists()

    def _explained(self, rows: pa.Table, scores: Floats) -> Reasons:
        encoded = encode(self.model.preprocessing, rows)
        return explain(self.model, rows, encoded, scores, self.kernels)

    def _reasons(self, rows: pa.Table, scores: Floats, flagged: NDArray[np.int64]) -> pa.Array:
        if not len(flagged):
            return pa.nulls(len(rows), REASONS)
        told = self._explained(rows.take(pa.array(flagged)), scores[flagged]).to_arrow()
        # Rows that are not flagged take from nowhere: null.
        places = np.zeros(len(rows), dtype=np.int64)
        places[flagged] = np.arange(len(flagged))
        nowhere = np.ones(len(rows), dtype=np.bool_)
        nowhere[flagged] = False
        return told.take(pa.array(places, mask=nowhere))
