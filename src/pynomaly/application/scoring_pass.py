"""One pass over a source that scores, decides and explains chunk by chunk, and keeps count."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pynomaly.application.ports.data import Source
from pynomaly.application.ports.learning import Kernels
from pynomaly.application.row_scorer import RowScorer
from pynomaly.application.strangest import Strangest
from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.decision import draw_line
from pynomaly.domain.detection import Refusal, StrangeRow
from pynomaly.domain.errors import ConflictError, IntegrityError
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.scores import p_values, severity

__all__ = ["ScoringPass"]

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
        self._scorer = RowScorer(model, self._line, kernels)
        self.strangest = Strangest(keep)
        self.refusals: list[Refusal] = []
        self.scored = 0
        self.flagged = 0
        self.quarantined = 0

    def score(self, rows: pa.Table) -> pa.Table:
        """Return keys, ``score p_value is_anomaly severity reasons`` of a conformed chunk."""
        found = self._scorer(rows)
        self.scored += len(rows)
        self.flagged += found.flagged
        self.strangest.offer(rows, found.scores)
        return found.beside(rows.select(self._keys))

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
                self._scorer.reasons(rows, scores),
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
