"""Which partitions of a source are to be scored."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pynomaly.application.champion import ModelLoader
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartitionReader
from pynomaly.domain.decision import policy_version
from pynomaly.domain.errors import SourceChangedError
from pynomaly.domain.ledger import INCREMENT, Plan, ScoreVersion
from pynomaly.domain.pipelines import Pipeline, SourceSpec
from pynomaly.domain.releases import ModelVersion

__all__ = ["PlanScoring", "refuse_overtaken", "score_version"]


def score_version(pipeline: Pipeline, model: ModelVersion) -> ScoreVersion:
    """Return what turns rows into scores and alerts: a registered model and the policy."""
    return ScoreVersion(model.version, model.manifest_digest, policy_version(pipeline.decision))


def refuse_overtaken(ledger: Ledger, plan: Plan, pipeline: Pipeline, version: ScoreVersion) -> None:
    """Refuse an increment in whose place another job, or another champion, has come since.

    Args:
        ledger: Knows what was scored.
        plan: An increment or not.
        pipeline: Whose.
        version: To score with.

    Raises:
        SourceChangedError: The increment no longer begins where the scored rows end.
    """
    for partition in plan.partitions[:1]:  # an increment is one source
        _, increment, above = partition.source.partition(INCREMENT)
        ends = ledger.watermark(pipeline.name, plan.uri, version) if increment else None
        if increment and ends != above:
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
        partition_rows: Aim for the rows of a partition.
    """

    reader: PartitionReader
    ledger: Ledger
    loader: ModelLoader
    partition_rows: int

    def __call__(self, pipeline: Pipeline, spec: SourceSpec, *, incremental: bool = False) -> Plan:
        """Plan a source.

        Args:
            pipeline: Its id column, if there is just one, divides a database table.
            spec: The source.
            incremental: Only what is new since the last job of the champion: rows with a greater
                watermark where the source has one, else files that are not committed as they are.

        Raises:
            NoChampionError: ``incremental``, and nothing has been promoted.
            SourceNotFoundError: Missing, or access denied.
            MalformedSourceError: No usable table.
        """
        key = pipeline.id_columns[0] if len(pipeline.id_columns) == 1 else None
        if not incremental:
            return self.reader.plan(
                spec, partition_rows=self.partition_rows, key=key, watermark=spec.watermark
            )
        version = score_version(pipeline, self.loader.champion_version(pipeline.name))
        above = None
        if spec.watermark is not None:
            above = self.ledger.watermark(pipeline.name, self.reader.place(spec), version)
        plan = self.reader.plan(
            spec,
            partition_rows=self.partition_rows,
            key=key,
            watermark=spec.watermark,
            above=above,
        )
        if spec.watermark is not None:
            return plan
        committed = {
            (entry.partition.source, entry.partition.extent, entry.partition.digest)
            for entry in self.ledger.current(pipeline.name, version)
        }
        fresh = {
            partition.source
            for partition in plan.partitions
            if (partition.source, partition.extent, partition.digest) not in committed
        }
        return replace(plan, partitions=tuple(p for p in plan.partitions if p.source in fresh))
