"""Score staged rows with the champion and write the result in one atomic step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.champion import ModelLoader
from pynomaly.application.explain import explain
from pynomaly.application.ports.data import DatasetStore, OutputSinks
from pynomaly.application.ports.learning import Kernels
from pynomaly.application.ports.records import Records
from pynomaly.application.preprocessing import encode
from pynomaly.application.scoring_rows import score_table
from pynomaly.domain.datasets import Dataset
from pynomaly.domain.decision import Line, draw_line, policy_version
from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline
from pynomaly.domain.runs import ScoredBatch
from pynomaly.domain.scores import p_values, severity

__all__ = ["REASONS", "ScoreDataset"]

Floats = NDArray[np.float64]

REASONS = pa.list_(
    pa.struct(
        [
            ("column", pa.string()),
            ("contribution", pa.float64()),
            ("direction", pa.string()),
            ("value", pa.string()),
            ("share", pa.float64()),
            ("normal", pa.string()),
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
            ConfigurationError: Too few calibration rows for the policy ``fdr``.
            IntegrityError: Rows were lost or repeated on the way.
        """
        version, model = self.loader.champion(pipeline.name)
        scored_at = datetime.now(UTC)
        uri = out or str(self.scores_folder / pipeline.name / f"{run_id}.parquet")
        flagged = 0
        replaceable = overwrite or out is None or self._is_ours(uri)
        with (
            self.sinks.writer(uri, overwrite=replaceable) as output,
            TemporaryFile() as kept,
        ):
            line, scored = self._decided(pipeline.decision, model, dataset, kept)
            for rows, scores in scored:
                alerts = line.flags(scores, output.rows)
                output.write(
                    self._output(pipeline, model, version.version, rows, scores, alerts, scored_at)
                )
                flagged += int(alerts.sum())
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

    def _decided(
        self, policy: DecisionPolicy, model: Model, dataset: Dataset, kept: IO[bytes]
    ) -> tuple[Line, Iterator[tuple[pa.Table, Floats]]]:
        """Return where the policy cuts this dataset, and its rows with their scores.

        A policy that looks at the whole batch has every row scored first.  The scores are kept in
        a file, so that memory stays bounded and those decided on are those written.
        """
        scored = self._scored(model, dataset)
        if not policy.looks_at_whole_batch:
            return draw_line(policy, model.calibration, ()), scored

        def keep(scores: Floats) -> Floats:
            kept.write(scores.tobytes())
            return scores

        line = draw_line(policy, model.calibration, (keep(scores) for _, scores in scored))
        kept.seek(0)
        return line, (
            (rows, np.frombuffer(kept.read(8 * len(rows)), dtype=np.float64))
            for rows in self.datasets.read(dataset.uri, batch_rows=self.batch_rows)
        )

    def _scored(self, model: Model, dataset: Dataset) -> Iterator[tuple[pa.Table, Floats]]:
        for rows in self.datasets.read(dataset.uri, batch_rows=self.batch_rows):
            yield rows, score_table(model, rows, self.kernels)

    def _output(
        self,
        pipeline: Pipeline,
        model: Model,
        version: int,
        rows: pa.Table,
        scores: Floats,
        alerts: NDArray[np.bool_],
        scored_at: datetime,
    ) -> pa.Table:
        """Return the output rows for some input rows."""
        p = p_values(model.calibration, scores)
        reasons = self._reasons(model, rows, scores, alerts)
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
        return table

    def _reasons(
        self, model: Model, rows: pa.Table, scores: Floats, alerts: NDArray[np.bool_]
    ) -> list[list[dict[str, object]] | None]:
        found: list[list[dict[str, object]] | None] = [None] * len(rows)
        positions = np.flatnonzero(alerts)
        if not len(positions):
            return found
        flagged = rows.take(pa.array(positions))
        X = encode(model.preprocessing, flagged)
        explained = explain(model, flagged, X, scores[positions], self.kernels)
        for position, reasons in zip(positions, explained, strict=True):
            found[position] = [asdict(reason) for reason in reasons]
        return found
