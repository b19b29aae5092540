"""Score staged rows with the champion and write the result in one atomic step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.champion import ModelLoader
from pynomaly.application.explain import explain
from pynomaly.application.ports.data import DatasetStore, OutputSinks
from pynomaly.application.ports.learning import Kernels
from pynomaly.application.ports.records import Records
from pynomaly.application.preprocessing import encode
from pynomaly.application.scoring_rows import score_matrix
from pynomaly.domain.datasets import Dataset
from pynomaly.domain.decision import decide, policy_version
from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.runs import ScoredBatch
from pynomaly.domain.scores import Reason, p_values, severity

__all__ = ["REASONS", "ScoreDataset"]

REASONS = pa.list_(
    pa.struct(
        [
            ("column", pa.string()),
            ("contribution", pa.float64()),
            ("direction", pa.string()),
            ("value", pa.string()),
        ]
    )
)
"""Arrow type of the ``reasons`` column; null for rows that are not flagged."""


@dataclass(frozen=True, slots=True)
class ScoreDataset:
    """Stream a staged dataset through the champion.

    Args:
        datasets: Read staged rows.
        sinks: Write outputs.
        records: Keep what was done.
        loader: Fetches the champion.
        kernels: Score it.
        scores_folder: For outputs nobody gave a place.
        batch_rows: Rows in memory at a time.
    """

    datasets: DatasetStore
    sinks: OutputSinks
    records: Records
    loader: ModelLoader
    kernels: Kernels
    scores_folder: Path
    batch_rows: int

    def __call__(
        self,
        pipeline: Pipeline,
        dataset: Dataset,
        run_id: str,
        *,
        out: str | None = None,
        overwrite: bool = False,
        on_rows: Callable[[int], None] = lambda _: None,
    ) -> ScoredBatch:
        """Score every accepted row of a snapshot.

        Args:
            pipeline: Its decision policy flags rows.
            dataset: Staged rows.
            run_id: Recorded with the batch; names the default output.
            out: Where to write; under the platform's own folder where None.
            overwrite: Replace an output that we did not write.
            on_rows: Told how many rows are done.

        Raises:
            NoChampionError: Nothing has been promoted.
            OutputExistsError: ``out`` holds something we did not write.
            IntegrityError: Rows were lost or repeated on the way.
        """
        version, model = self.loader.champion(pipeline.name)
        scored_at = datetime.now(UTC)
        uri = out or str(self.scores_folder / pipeline.name / f"{run_id}.parquet")
        flagged = 0
        replaceable = overwrite or out is None or self._is_ours(uri)
        with self.sinks.writer(uri, overwrite=replaceable) as output:
            for rows in self.datasets.read(dataset.uri, batch_rows=self.batch_rows):
                table, alerts = self._scored(pipeline, model, version.version, rows, scored_at)
                output.write(table)
                flagged += alerts
                on_rows(output.rows)
            if output.rows != dataset.rows:
                raise IntegrityError(
                    f"{dataset.rows:,} rows were accepted but {output.rows:,} would be written "
                    f"to {uri}",
                    hint="nothing was written; the staged dataset may have been edited",
                )
            snapshot = dataset.snapshot
            if snapshot.rows != output.rows + dataset.quarantined:
                raise IntegrityError(
                    f"{snapshot.uri}: {snapshot.rows:,} rows in, {output.rows:,} scored and "
                    f"{dataset.quarantined:,} quarantined do not add up",
                    hint="nothing was written; the staged dataset may have been edited",
                )
        batch = ScoredBatch(
            id=new_id(datetime.now(UTC)),
            run_id=run_id,
            pipeline=pipeline.name,
            snapshot_uri=dataset.snapshot.uri,
            fingerprint=dataset.snapshot.fingerprint.content,
            model_version=version.version,
            policy_version=policy_version(pipeline.decision),
            rows_in=dataset.snapshot.rows,
            rows_scored=output.rows,
            rows_quarantined=dataset.quarantined,
            rows_flagged=flagged,
            output_uri=output.uri,
            output_digest=output.digest,
            quarantine_uri=dataset.quarantine_uri,
            scored_at=scored_at,
        )
        self.records.add_batch(batch)
        return batch

    def _is_ours(self, uri: str) -> bool:
        """Whether what is at ``uri`` now is, byte for byte, what we wrote there last."""
        written = self.records.wrote(uri)
        return written is not None and written == self.sinks.digest(uri)

    def _scored(
        self, pipeline: Pipeline, model: Model, version: int, rows: pa.Table, scored_at: datetime
    ) -> tuple[pa.Table, int]:
        """Return the output rows for one batch, and how many are alerts."""
        X = encode(model.preprocessing, rows)
        scores = score_matrix(model, X, self.kernels)
        p = p_values(model.calibration, scores)
        alerts = decide(pipeline.decision, scores, p)
        reasons = self._reasons(model, rows, X, scores, alerts)
        n = len(rows)
        table = rows.select(list(pipeline.keys))
        columns = {
            "score": pa.array(scores),
            "p_value": pa.array(p),
            "is_anomaly": pa.array(alerts),
            "severity": pa.array(severity(p)),
            "reasons": pa.array(reasons, REASONS),
            "model_version": pa.array(np.full(n, version, dtype=np.int64)),
            "policy_version": pa.array([policy_version(pipeline.decision)] * n),
            "scored_at": pa.array([scored_at] * n, pa.timestamp("us", tz="UTC")),
        }
        for name, column in columns.items():
            table = table.append_column(name, column)
        return table, int(alerts.sum())

    def _reasons(
        self,
        model: Model,
        rows: pa.Table,
        X: NDArray[np.float64],
        scores: NDArray[np.float64],
        alerts: NDArray[np.bool_],
    ) -> list[list[dict[str, object]] | None]:
        found: list[list[dict[str, object]] | None] = [None] * len(rows)
        positions = np.flatnonzero(alerts)
        if not len(positions):
            return found
        flagged: list[list[Reason]] = explain(
            model, rows.take(pa.array(positions)), X[positions], scores[positions], self.kernels
        )
        for position, reasons in zip(positions, flagged, strict=True):
            found[position] = [
                {
                    "column": r.column,
                    "contribution": r.contribution,
                    "direction": r.direction,
                    "value": r.value,
                }
                for r in reasons
            ]
        return found
