"""Which partitions of a source are to be scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pynomaly.application.champion import ModelLoader
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartitionReader
from pynomaly.application.ports.records import Records
from pynomaly.application.score_output import ScoreOutput
from pynomaly.application.score_partition import refuse_kept
from pynomaly.domain.decision import policy_version
from pynomaly.domain.errors import SourceChangedError
from pynomaly.domain.increments import INCREMENT, reach
from pynomaly.domain.ledger import Output, ScoreVersion
from pynomaly.domain.partitions import Partition, Plan
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.releases import ModelVersion
from pynomaly.domain.sources import SourceSpec

__all__ = ["PlanScoring", "gone", "refuse_overtaken", "score_version"]


def score_version(pipeline: Pipeline, model: ModelVersion) -> ScoreVersion:
    """Return what turns rows into scores and alerts: a registered model and the policy."""
    return ScoreVersion(model.version, model.manifest_digest, policy_version(pipeline.decision))


def gone(
    ledger: Ledger, plan: Plan, pipeline: Pipeline, version: ScoreVersion
) -> tuple[Partition, ...]:
    """Return files that earlier jobs over the same input found and that are no more.

    Scored as files without rows, they end the scores that such files still have in force,
    wherever those are.

    Args:
        ledger: Knows what was scored.
        plan: Of all of the input; an increment looks at nothing but what is new, and ends nothing.
        pipeline: Whose.
        version: To score with.
    """
    if plan.incremental:
        return ()
    known = ledger.asked(pipeline.name, version, source_uri=plan.uri)
    missing = {
        source
        for source in known.difference(partition.source for partition in plan.partitions)
        if not source.startswith(plan.uri + INCREMENT)
    }
    if not missing:
        return ()
    names = {
        entry.partition.source: entry.partition.name
        for entry in ledger.current(pipeline.name, version)
        if entry.partition.source in missing and entry.outcome and entry.outcome.rows_in
    }
    return tuple(Partition(source, name, "", 0, 0, 0, "") for source, name in names.items())


def refuse_overtaken(
    ledger: Ledger,
    plan: Plan,
    pipeline: Pipeline,
    version: ScoreVersion,
    target: str,
    besides: str | None,
) -> None:
    """Refuse an increment in whose place another job, or another champion, has come since.

    Args:
        ledger: Knows what was scored.
        plan: An increment or not.
        pipeline: Whose.
        version: To score with.
        target: Where the parts go.
        besides: A run whose own jobs do not count.

    Raises:
        SourceChangedError: The increment no longer begins where the scored rows end.
    """
    increment = f"{plan.uri}{INCREMENT}"
    first = next(iter(plan.partitions), None)  # an increment is one source
    if plan.watermark is None or first is None or not first.source.startswith(increment):
        return
    above = first.source.removeprefix(increment)
    stretches = ledger.stretches(pipeline.name, version, target, plan.uri)
    ends = reach([s for s in stretches if s.run_id != besides], plan.watermark.column)
    if ends != above:
        raise SourceChangedError(
            f"rows of {plan.uri} above {above} were to be scored, but since they were planned "
            f"the rows scored by version {version.model_version} "
            + (f"reach to {ends}" if ends is not None else "are none"),
            hint="run again; what is committed stays",
        )


@dataclass(frozen=True, slots=True)
class PlanScoring:
    """Divide a source into partitions, all of them or only what is new.

    Args:
        reader: Divides it.
        ledger: Knows what was scored.
        loader: Knows the champion.
        outputs: Settles where the scores go.
        records: Know which runs have ended.
        partition_rows: Aim for the rows of a partition.
        require_ready: Raises where nobody could score what is planned.
    """

    reader: PartitionReader
    ledger: Ledger
    loader: ModelLoader
    outputs: ScoreOutput
    records: Records
    partition_rows: int
    require_ready: Callable[[], None]

    def __call__(
        self,
        pipeline: Pipeline,
        spec: SourceSpec,
        *,
        incremental: bool = False,
        output: Output | None = None,
        run_id: str | None = None,
    ) -> Plan:
        """Plan a source.

        Args:
            pipeline: Its id column, if there is just one, divides a database table.
            spec: The source.
            incremental: Only what is new to the champion and to the place where its scores go:
                rows above the watermark that was reached where the source has one, else files
                that are not in force as they are.
            output: Where the scores go; None where nothing is to be scored.
            run_id: Of a run that may have been interrupted: what it has committed without coming
                to its end counts as new, so that it ends by itself (and is not scored again).

        Raises:
            UnsupportedFormatError: The output is named like a file of a kind we do not write.
            OutputExistsError: The output holds something we did not write.
            OutputNotWritableError: Nothing can be written there.
            ConfigurationError: The output would be read as input, a column cannot be kept, the
                Dask scheduler does not answer, or the memory cannot be enough.
            NoChampionError: ``incremental``, and nothing has been promoted.
            SourceNotFoundError: Missing, or access denied.
            MalformedSourceError: No usable table.
        """
        if output is not None:
            self.outputs.admit(pipeline.name, output, self.reader.place(spec))
            self.require_ready()
        plan = self._plan(pipeline, spec, incremental, output or Output(), run_id)
        if output is not None:
            columns = tuple(name for name, _ in plan.columns)
            refuse_kept(pipeline, columns, output.kept_beside(pipeline.keys))
        return plan

    def _plan(
        self,
        pipeline: Pipeline,
        spec: SourceSpec,
        incremental: bool,
        output: Output,
        run_id: str | None,
    ) -> Plan:
        key = pipeline.id_columns[0] if len(pipeline.id_columns) == 1 else None
        if not incremental:
            return self.reader.plan(
                spec, partition_rows=self.partition_rows, key=key, watermark=spec.watermark
            )
        version = score_version(*self.loader.champion(pipeline))
        target = self.outputs.target(pipeline.name, output)
        besides = run_id if run_id and not self.records.batches_of(run_id) else None
        above = None
        if spec.watermark is not None:
            stretches = self.ledger.stretches(
                pipeline.name, version, target, self.reader.place(spec)
            )
            above = reach([s for s in stretches if s.run_id != besides], spec.watermark)
        plan = self.reader.plan(
            spec,
            partition_rows=self.partition_rows,
            key=key,
            watermark=spec.watermark,
            above=above,
        )
        plan = replace(plan, incremental=True)
        if spec.watermark is not None:
            return plan
        # There, and nothing newer elsewhere: a file that has come back as it was is in force again
        # once a job asks for it.
        there = self._in_force(pipeline, version, target) & self._in_force(pipeline, version)
        fresh = {p.source for p in plan.partitions if _content(p) not in there}
        if besides is not None:
            fresh |= self.ledger.asked(pipeline.name, version, target, run_id=besides)
        partitions = tuple(p for p in plan.partitions if p.source in fresh)
        # Files without a row alone are no batch; they end their scores with the next that has one.
        has_rows = any(partition.rows != 0 for partition in partitions)
        return replace(plan, partitions=partitions if has_rows else ())

    def _in_force(
        self, pipeline: Pipeline, version: ScoreVersion, target: str | None = None
    ) -> set[tuple[str, str, str]]:
        entries = self.ledger.current(pipeline.name, version, target)
        return {_content(entry.partition) for entry in entries}


def _content(partition: Partition) -> tuple[str, str, str]:
    return partition.source, partition.extent, partition.digest
