"""One pass over a source that scores, decides and explains chunk by chunk, and keeps count."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pynomaly.application.explain import explain
from pynomaly.application.ports.data import Source
from pynomaly.application.ports.learning import Kernels
from pynomaly.application.preprocessing import encode
from pynomaly.application.score import REASONS
from pynomaly.application.scoring_rows import score_table
from pynomaly.application.strangest import Strangest
from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.decision import draw_line
from pynomaly.domain.detection import Refusal, StrangeRow
from pynomaly.domain.errors import ConflictError, IntegrityError
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.scores import Reason, p_values, severity

__all__ = ["ScoringPass"]

Floats = NDArray[np.float64]

KEPT_REFUSALS = 20


class ScoringPass:
    """Memory holds one chunk and the strangest rows.

    Args:
        model: What to score with.
        pipeline: Its keys identify rows, its decision policy flags them.
        kernels: Score.
        keep: How many of the strangest rows to keep.
    """

    def __init__(self, model: Model, pipeline: Pipeline, kernels: Kernels, *, keep: int) -> None:
        self._model = model
        self._keys = list(pipeline.keys)
        self._time = pipeline.time_column
        self._line = draw_line(pipeline.decision, model.calibration, ())
        self._kernels = kernels
        self.strangest = Strangest(keep)
        self.refusals: list[Refusal] = []
        self.scored = 0
        self.flagged = 0
        self.quarantined = 0

    def score(self, rows: pa.Table) -> pa.Table:
        """Return keys, ``score p_value is_anomaly severity reasons`` of a conformed chunk."""
        scores = score_table(self._model, rows, self._kernels)
        p = p_values(self._model.calibration, scores)
        flags = self._line.flags(scores)
        flagged = np.flatnonzero(flags)
        found: list[list[dict[str, object]] | None] = [None] * len(rows)
        reasons = self._reasons(rows.take(pa.array(flagged)), scores[flagged])
        for row, why in zip(flagged, reasons, strict=True):
            found[row] = [asdict(reason) for reason in why]
        self.scored += len(rows)
        self.flagged += len(flagged)
        self.strangest.offer(rows, scores)
        table = rows.select(self._keys)
        for name, column in {
            "score": pa.array(scores),
            "p_value": pa.array(p),
            "is_anomaly": pa.array(flags),
            "severity": pa.array(severity(p)),
            "reasons": pa.array(found, REASONS),
        }.items():
            table = table.append_column(name, column)
        return table

    def refuse(self, rows: pa.Table) -> None:
        """Take note of rows that could not be read.

        Args:
            rows: With ``row_id`` and ``reason``.
        """
        self.quarantined += len(rows)
        for row in rows.slice(0, KEPT_REFUSALS - len(self.refusals)).to_pylist():
            self.refusals.append(Refusal(row[ROW_ID], row["reason"]))

    def check(self, source: Source, content: str) -> None:
        """Refuse a pass that did not see what was learnt from, or did not account for all of it.

        Args:
            source: As read.
            content: Its digest when it was learnt from.

        Raises:
            ConflictError: The source changed in between.
            IntegrityError: Rows were lost or repeated.
        """
        snapshot = source.snapshot()
        if snapshot.fingerprint.content != content:
            raise ConflictError(
                f"{snapshot.uri} changed while it was read; nothing was written",
                hint="run again when nobody writes to it",
            )
        if snapshot.rows != self.scored + self.quarantined:
            raise IntegrityError(
                f"{snapshot.uri}: {snapshot.rows:,} rows in, {self.scored:,} scored and "
                f"{self.quarantined:,} quarantined do not add up; nothing was written"
            )

    def top(self, count: int) -> tuple[StrangeRow, ...]:
        """Return the strangest rows so far with reasons, flagged or not."""
        rows, scores = self.strangest.rows.slice(0, count), self.strangest.scores[:count]
        p = p_values(self._model.calibration, scores)
        return tuple(
            StrangeRow(ids, float(score), float(p), float(severe), bool(flag), tuple(why), when)
            for ids, score, p, severe, flag, why, when in zip(
                rows.select(self._keys).to_pylist(),
                scores,
                p,
                severity(p),
                self._line.flags(scores),
                self._reasons(rows, scores),
                self._times(rows),
                strict=True,
            )
        )

    def _times(self, rows: pa.Table) -> list[str | None]:
        if self._time is None:
            return [None] * len(rows)
        seconds = rows.column(self._time).cast(pa.timestamp("s", tz="UTC"), safe=False)
        spelled: list[str | None] = pc.strftime(seconds, format="%Y-%m-%dT%H:%M:%SZ").to_pylist()
        return spelled

    def _reasons(self, rows: pa.Table, scores: Floats) -> list[list[Reason]]:
        if not len(rows):
            return []
        encoded = encode(self._model.preprocessing, rows)
        return explain(self._model, rows, encoded, scores, self._kernels)
