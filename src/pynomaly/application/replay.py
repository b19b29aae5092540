"""Make a past scoring decision once more and compare it with what was committed then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pynomaly.application.batch_line import draw_lines
from pynomaly.application.champion import ModelLoader, deciding
from pynomaly.application.compare_parts import ComparedParts, Difference, divided_by
from pynomaly.application.contest import Challenger
from pynomaly.application.past_decision import past_decision
from pynomaly.application.past_source import moved, past_source
from pynomaly.application.plan_scoring import score_version
from pynomaly.application.ports.data import DatasetStore
from pynomaly.application.ports.learning import Kernels
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartitionReader, PartStore
from pynomaly.application.ports.records import Records
from pynomaly.application.refused_rows import refused_rows, refused_within
from pynomaly.application.score_partition import PartitionWork, ScorePartition
from pynomaly.domain.decision import Line
from pynomaly.domain.errors import (
    IntegrityError,
    SourceChangedError,
    UsageError,
)
from pynomaly.domain.ledger import Entry, Lease, ScoreJob
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.releases import ModelVersion
from pynomaly.domain.runs import Run, ScoredBatch

__all__ = ["ReplayRun", "Replayed"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a batch came out the second time.

    Args:
        run_id: That scored it.
        batch_id: Of the batch.
        pipeline: Which job.
        source: What was scored.
        fingerprint: Its content digest, then and now.
        model_version: Registry version.
        manifest_digest: Of the model, verified.
        policy_version: Of the decision policy.
        policy_from: Where that policy was found.
        partitions: Scored anew.
        rows: That came out.
        rows_flagged: Alerts among them.
        differing: Rows that came out otherwise, are missing or are new.
        largest_score_difference: Between two scores of a row.
        differences: The first of them.
    """

    run_id: str
    batch_id: str
    pipeline: str
    source: str
    fingerprint: str
    model_version: int
    manifest_digest: str
    policy_version: str
    policy_from: str
    partitions: int
    rows: int
    rows_flagged: int
    differing: int
    largest_score_difference: float
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class ReplayRun:
    """Score the rows of a past run as then, through the very code that scores, and write nothing.

    Args:
        records: What was done.
        ledger: What was scored, partition by partition.
        loader: Fetches the model.
        reader: Reads the source.
        store: Holds the committed parts.
        datasets: Hold the rows that were refused.
        kernels: Score.
        pipelines: Returns a configured pipeline.
        batch_rows: Rows in memory at once.
    """

    records: Records
    ledger: Ledger
    loader: ModelLoader
    reader: PartitionReader
    store: PartStore
    datasets: DatasetStore
    kernels: Kernels
    pipelines: Callable[[str], Pipeline]
    batch_rows: int

    def __call__(
        self, run_id: str, data: str | None = None, on_rows: Progress = lambda _done, _of: None
    ) -> tuple[Replayed, ...]:
        """Replay what a run scored.

        Args:
            run_id: Of the run.
            data: Where the same data is now; where it was then if None.
            on_rows: Told of a batch how many of its rows are done, and how many it has.

        Returns:
            One result per batch, differences included.

        Raises:
            UsageError: The run scored nothing, its scores were pruned, or the decision policy that
                was in force is nowhere to be found.
            SourceNotFoundError: The data is gone.
            SourceChangedError: The data is no longer what was scored.
            IntegrityError: Model, committed parts or numbers of rows are not what was recorded
                about them.
        """
        run = self.records.run(run_id)
        if run is None:
            raise UsageError(
                f"there is no run {run_id}", hint="list runs: pynomaly history PIPELINE"
            )
        batches = self.records.batches_of(run_id)
        if not batches:
            raise UsageError(
                f"run {run_id} ({run.command}) scored nothing that could be replayed",
                hint=f"list runs: pynomaly history {run.pipeline}",
            )
        pipeline = self.pipelines(run.pipeline)
        return tuple(self._batch(run, batch, pipeline, data, on_rows) for batch in batches)

    def _batch(
        self,
        run: Run,
        batch: ScoredBatch,
        pipeline: Pipeline,
        data: str | None,
        on_rows: Progress,
    ) -> Replayed:
        job, entries = self._committed(batch)
        registered = self.loader.version(job.pipeline, job.version.model_version)
        if registered.manifest_digest != job.version.manifest_digest:
            raise IntegrityError(
                f"version {registered.version} of '{job.pipeline}' has the manifest "
                f"{registered.manifest_digest}; the run was scored with "
                f"{job.version.manifest_digest}",
                hint="somebody changed the records of the version or of the job",
            )
        model = self._verified(registered)
        decision, policy_from = past_decision(self.records, job, pipeline, model)
        spec = past_source(self.reader, job, pipeline, data)
        if data is not None:
            entries = moved(self.reader, entries, spec)
        divided = divided_by(self.store, entries)
        pipeline = replace(pipeline, decision=decision)
        kept = (divided,) if divided is not None and divided not in pipeline.keys else ()
        work = PartitionWork(
            pipeline, spec, model, job.version, Line(np.inf, last=-1), job.target, kept, divided,
            self.batch_rows, self._challenger(entries, pipeline),
        )  # fmt: skip
        compared = list(self._compare(work, entries, batch, on_rows))
        differences = tuple(example for parts in compared for example in parts.examples)
        rows = sum(parts.rows for parts in compared)
        flagged = sum(parts.flagged for parts in compared)
        if not differences and (rows, flagged) != (batch.rows_scored, batch.rows_flagged):
            raise IntegrityError(
                f"on record are {batch.rows_scored:,} scored rows with {batch.rows_flagged:,} alerts; "
                f"the committed rows are {rows:,} with {flagged:,}, and come out again as they are",
                hint="somebody changed the record of the run; restore it from a backup",
            )
        return Replayed(
            run_id=run.id,
            batch_id=batch.id,
            pipeline=pipeline.name,
            source=job.source_uri,
            fingerprint=job.fingerprint,
            model_version=job.version.model_version,
            manifest_digest=job.version.manifest_digest,
            policy_version=job.version.policy_version,
            policy_from=policy_from,
            partitions=len(entries),
            rows=rows,
            rows_flagged=flagged,
            differing=sum(parts.differing for parts in compared),
            largest_score_difference=max((parts.largest for parts in compared), default=0.0),
            differences=differences[:10],
        )

    def _committed(self, batch: ScoredBatch) -> tuple[ScoreJob, tuple[Entry, ...]]:
        """Return the job and its partitions, all of them committed."""
        job = self.ledger.job(batch.id)
        entries = self.ledger.entries_of(batch.id)
        rows = sum(entry.outcome.rows_in for entry in entries if entry.outcome is not None)
        if job is None or rows != batch.rows_in:
            raise UsageError(
                f"of the {batch.rows_in:,} rows that run {batch.run_id} scored, the ledger has "
                f"{rows:,}: the others were pruned, or freed because their parts were damaged",
                hint="replay a newer run, or score the data again; `pynomaly scores prune` keeps "
                "as many versions and days as it is told",
            )
        return job, tuple(e for e in entries if e.partition.locator)  # else gone, without rows

    def _verified(self, version: ModelVersion) -> Model:
        """Return a model from the registry, verified; the cache is left alone."""
        with TemporaryDirectory() as work:
            folder = Path(work) / "model"
            self.loader.fetch(version, folder)
            return self.loader.store.load(folder, version.manifest_digest)

    def _challenger(self, entries: Sequence[Entry], pipeline: Pipeline) -> Challenger | None:
        """Return what was rolled out beside the champion while the job ran, if anything."""
        outcomes = [entry.outcome for entry in entries if entry.outcome is not None]
        seen = next((outcome.observed for outcome in outcomes if outcome.observed), None)
        if seen is None:
            return None
        release = self.records.release(seen.release_id)
        if release is None or release.rollout is None:
            raise IntegrityError(
                f"release {seen.release_id}, which took part in the run, is not on record",
                hint="restore the records from a backup",
            )
        version = self.loader.version(pipeline.name, release.version)
        decided = deciding(pipeline, release)
        return Challenger(
            release.id, seen.step, release.rollout, self._verified(version),
            score_version(decided, version), decided.decision, Line(np.inf, last=-1),
        )  # fmt: skip

    def _compare(
        self,
        work: PartitionWork,
        entries: Sequence[Entry],
        batch: ScoredBatch,
        on_rows: Progress,
    ) -> Iterator[ComparedParts]:
        """Score every partition anew into what compares it."""
        done = 0

        def count(rows: int) -> None:
            nonlocal done
            done += rows
            on_rows(done, batch.rows_in)

        refused = refused_rows(self.datasets, batch.quarantine_uri)
        partitions = [entry.partition for entry in entries]
        try:
            work, firsts = draw_lines(work, partitions, refused, self.reader, self.kernels)
            for position, entry in enumerate(entries):
                parts = ComparedParts(self.store, entry, work.pipeline.keys, work.partition_by)
                score = ScorePartition(self.reader, parts, self.kernels)
                lease = Lease(entry.key, entry.partition, "replay", entry.fence, entry.attempts)
                rows = refused_within(refused, entry.partition)
                # A partition that an earlier job had scored carries that one's registry number.
                outcome = score(
                    replace(work, version=entry.version), lease, rows, firsts.get(position, 0),
                    count,
                )  # fmt: skip
                assert entry.outcome is not None  # committed
                if outcome.rows_in != entry.outcome.rows_in:
                    raise SourceChangedError(
                        f"{entry.partition} has {outcome.rows_in:,} rows; "
                        f"{entry.outcome.rows_in:,} were scored"
                    )
                yield parts
        except SourceChangedError as error:
            raise SourceChangedError(
                f"{error.message}: these are no longer the rows that were scored",
                hint="restore them as they were, or name a place where they still are: --data URI",
            ) from error
