"""Score a validated snapshot, every row exactly once, whatever dies on the way."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.account_for_rows import account
from pynomaly.application.batch_line import draw_lines
from pynomaly.application.batch_rows import rows_that_fit
from pynomaly.application.champion import ModelLoader
from pynomaly.application.contest import Challenger
from pynomaly.application.find_challenger import Absent, FindChallenger
from pynomaly.application.plan_scoring import (
    gone,
    refuse_overtaken,
    score_version,
)
from pynomaly.application.planned_source import read_again
from pynomaly.application.ports.data import DatasetStore
from pynomaly.application.ports.learning import Kernels
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartitionReader
from pynomaly.application.ports.records import Records
from pynomaly.application.refused_rows import refused_rows, refused_within
from pynomaly.application.score_output import ScoreOutput
from pynomaly.application.score_partition import PartitionWork, refuse_kept
from pynomaly.application.score_work import JobWork, Slice
from pynomaly.application.scoring_rows import score_matrix
from pynomaly.application.validate import Validated
from pynomaly.domain.canaries import together
from pynomaly.domain.decision import Line, policy_version
from pynomaly.domain.errors import (
    MalformedSourceError,
    PartitionsFailedError,
)
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.ledger import Entry, Output, ScoreJob, ScoreVersion, partition_key
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.runs import ScoredBatch
from pynomaly.domain.sources import SourceSpec

__all__ = ["Compute", "ScoreSnapshot", "Scored"]

Numbers = NDArray[np.int64]


class Compute(Protocol):
    """Works off a job: threads of this process, or a cluster."""

    def __call__(self, work: JobWork, on_rows: Callable[[int], None]) -> None:
        """Work until every partition of the job is committed or has failed."""

    def require_ready(self) -> None:
        """Look whether it answers, before much is done for it.

        Raises:
            ConfigurationError: It does not.
        """


@dataclass(frozen=True, slots=True)
class Scored:
    """What a job came to.

    Args:
        batch: As it is on record.
        challenger: What was rolled out beside the champion.
        answered: Rows that it answered; the champion answered the others.
        absent: What would have been, and why it took no part.
        done_before: Rows scored that the ledger had already when the job was opened.
        unreleased_policy: Whether the configuration has a decision policy that nobody released.
    """

    batch: ScoredBatch
    challenger: ScoreVersion | None = None
    answered: int = 0
    absent: Absent | None = None
    done_before: int = 0
    unreleased_policy: bool = False


@dataclass(frozen=True, slots=True)
class ScoreSnapshot:
    """Score the partitions of a snapshot with the champion, through the ledger.

    Args:
        ledger: What was scored.
        records: What was done.
        loader: Fetches the champion.
        reader: Reads partitions.
        outputs: Settles where parts go, and copies them into one file.
        datasets: Refused rows.
        kernels: Score.
        compute: Works off the job.
        challenger: Finds what is rolled out beside the champion.
        batch_rows: Rows of a batch at most.
        workers: Partitions in progress at once in a process.
        memory_mib: That batches must fit into; None for no bound but ``batch_rows``.
    """

    ledger: Ledger
    records: Records
    loader: ModelLoader
    reader: PartitionReader
    outputs: ScoreOutput
    datasets: DatasetStore
    kernels: Kernels
    compute: Compute
    challenger: FindChallenger
    batch_rows: int
    workers: int
    memory_mib: int | None

    def __call__(
        self,
        pipeline: Pipeline,
        spec: SourceSpec,
        validated: Validated,
        run_id: str,
        output: Output,
        on_rows: Callable[[int], None] = lambda _: None,
    ) -> Scored:
        """Score every accepted row; what the ledger has already is not scored again.

        Args:
            pipeline: Its decision policy flags rows.
            spec: The source that was validated.
            validated: Its plan, and the rows that were refused.
            run_id: Recorded with the job.
            output: Where the scored rows go.
            on_rows: Told how many rows of the snapshot are done.

        Raises:
            NoChampionError: Nothing has been promoted.
            OutputExistsError: The output holds something we did not write.
            ConfigurationError: A column cannot be kept, or the policy cannot be applied.
            PartitionsFailedError: Some partitions could not be scored; the others are committed.
            SourceChangedError: The input is no longer what was validated, or the increment no longer
                begins where scored rows end.
            FencedError: Another worker took a partition over while this one was not looking.
        """
        plan = validated.plan
        columns = tuple(name for name, _ in plan.columns)
        kept = output.kept_beside(pipeline.keys)
        refuse_kept(pipeline, columns, kept)
        configured = policy_version(pipeline.decision)
        pipeline, registered = self.loader.champion(pipeline)
        model = self.loader.load(registered)
        version = score_version(pipeline, registered)
        target = self.outputs.admit(pipeline.name, output, plan.uri)
        refuse_overtaken(self.ledger, plan, pipeline, version, target, besides=run_id)
        refused = refused_rows(self.datasets, validated.dataset.quarantine_uri)
        found = self.challenger(pipeline, registered)
        challenger = found if isinstance(found, Challenger) else None
        models = [model] if challenger is None else [model, challenger.model]
        if self.memory_mib is not None:
            # Kernels and their compiler are loaded with the first row; they count.
            for one in models:
                score_matrix(one, np.zeros((1, len(one.preprocessing.features))), self.kernels)
        batch_rows = rows_that_fit(
            self.batch_rows, self.memory_mib, self.workers, len(columns), models
        )
        work = PartitionWork(
            pipeline, spec, model, version, Line(np.inf, last=-1), target,
            kept, output.partition_by, batch_rows, challenger,
        )  # fmt: skip
        work, firsts = self._lines(work, validated, refused)
        job = ScoreJob(
            new_id(datetime.now(UTC)), run_id, pipeline.name, plan.uri,
            plan.fingerprint.content, version, target, datetime.now(UTC), plan.watermark,
            output.keep, output.partition_by,
        )  # fmt: skip
        unreadable = dict(validated.unreadable)
        entries, slices = [], {}
        ended = gone(self.ledger, plan, pipeline, version)
        for position, partition in enumerate((*plan.partitions, *ended)):
            rows = refused_within(refused, partition)
            first = firsts.get(position)
            settings: dict[str, object] = {
                "target": target,
                "text": (spec.format, spec.delimiter, spec.encoding),
                "ids": pipeline.keys,
                "kinds": [(column.name, column.kind) for column in pipeline.schema.columns],
                "keep": kept,
                "partition_by": output.partition_by,
                "refused": hashlib.sha256(rows.tobytes()).hexdigest(),
                "line": [work.line.score, work.line.last, first] if first is not None else None,
            }
            if work.challenger:
                contest = work.challenger
                cut = contest.line and [contest.line.score, contest.line.last]
                settings["contest"] = [contest.release_id, contest.step, cut]
            key = partition_key(partition, version, settings)
            entries.append(Entry(key, partition, pipeline.name, version, target, "pending"))
            slices[key] = Slice(rows, first or 0, unreadable.get(position))
        self.ledger.open_job(job, entries)
        before = self.ledger.progress(job.id)
        done = _Done(on_rows, before.rows_in)
        done.add(0)  # from here on speed is measured
        self.compute(JobWork(job.id, work, slices), done.add)
        batch = account(job, validated, output, ledger=self.ledger, scores=self.outputs.scores)
        self.records.add_batch(batch)
        absent = found if isinstance(found, Absent) else None
        beside = challenger.version if challenger else None
        in_use = {one.policy_version for one in (version, beside) if one}
        return Scored(
            batch,
            beside,
            0 if absent else self._answered(job),
            absent,
            before.rows_scored,
            # The policy of what took no part is on its way as well, or may be.
            configured not in in_use and absent is None,
        )

    def _answered(self, job: ScoreJob) -> int:
        """Return how many rows a challenger answered."""
        outcomes = [entry.outcome for entry in self.ledger.entries_of(job.id)]
        seen = [outcome.observed.seen for outcome in outcomes if outcome and outcome.observed]
        return together(seen).answered

    def _lines(
        self, work: PartitionWork, validated: Validated, refused: Mapping[str, Numbers]
    ) -> tuple[PartitionWork, dict[int, int]]:
        """Return the work with its lines, and where each partition begins if that matters."""
        partitions = validated.plan.partitions
        policies = [work.pipeline.decision]
        policies += [work.challenger.decision] if work.challenger else []
        whole = next((policy.kind for policy in policies if policy.looks_at_whole_batch), None)
        for position, why in validated.unreadable if whole else ():
            try:
                read_again(self.reader, work.spec, partitions[position], why)
            except MalformedSourceError as error:
                raise PartitionsFailedError(
                    f"the policy {whole} needs the whole batch, but {error.message}",
                    hint="mend the input, or use the policy alert_budget",
                ) from error
        return draw_lines(work, partitions, refused, self.reader, self.kernels)


@dataclass(slots=True)
class _Done:
    """Counts rows for a listener; workers call it from their threads."""

    on_rows: Callable[[int], None]
    rows: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, rows: int) -> None:
        with self.lock:
            self.rows += rows
            self.on_rows(self.rows)
