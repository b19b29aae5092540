"""One partition: read, conform, score, decide, explain, write; memory holds a few batches."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pynomaly.application.conform import conform
from pynomaly.application.contest import Challenger, Contest
from pynomaly.application.overlap import behind, read_ahead
from pynomaly.application.ports.learning import Kernels
from pynomaly.application.ports.partitions import PartitionBatch, PartitionReader, PartWriters
from pynomaly.application.row_scorer import RowScorer
from pynomaly.domain.datasets import ROW_ID, SCORED_COLUMNS, Schema
from pynomaly.domain.decision import Line
from pynomaly.domain.errors import ConfigurationError, SourceChangedError
from pynomaly.domain.ledger import Lease, Outcome, ScoreVersion
from pynomaly.domain.models import Model
from pynomaly.domain.partitions import Partition
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.sources import SourceSpec

__all__ = ["PartitionWork", "ScorePartition", "conformed_rows", "refuse_kept"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PartitionWork:
    """What all partitions of a job have in common.

    Args:
        pipeline: Its keys identify rows.
        spec: The source that was planned.
        model: What to score with.
        version: Model and policy, written beside every row.
        line: Where the decision policy cuts.
        target: Receives the parts.
        keep: Source columns passed through.
        partition_by: Divides parts among folders by a column's values.
        batch_rows: Rows of a batch at most.
        challenger: What is rolled out beside the champion, if anything.
    """

    pipeline: Pipeline
    spec: SourceSpec
    model: Model
    version: ScoreVersion
    line: Line
    target: str
    keep: tuple[str, ...]
    partition_by: str | None
    batch_rows: int
    challenger: Challenger | None = None


def refuse_kept(pipeline: Pipeline, columns: tuple[str, ...], keep: tuple[str, ...]) -> None:
    """Refuse columns that cannot be passed through.

    Args:
        pipeline: Whose keys are written anyway.
        columns: Of the source.
        keep: Asked for.

    Raises:
        ConfigurationError: Unknown, twice, or named like one of our outputs.
    """
    for position, name in enumerate(keep):
        if name not in columns:
            raise ConfigurationError(
                f"the source has no column '{name}'", hint=f"it has {', '.join(columns[:20])}"
            )
        if name in (*SCORED_COLUMNS, *pipeline.keys) or name in keep[:position]:
            raise ConfigurationError(
                f"column '{name}' cannot be kept: the output has a column of that name already",
                hint="leave it out, or rename it",
            )


Store = TypeVar("Store", bound=PartWriters)


@dataclass(frozen=True, slots=True)
class ScorePartition(Generic[Store]):
    """Scores leased partitions.

    Args:
        reader: Reads them.
        store: Takes their rows.
        kernels: Score.
    """

    reader: PartitionReader
    store: Store
    kernels: Kernels

    def __call__(
        self,
        work: PartitionWork,
        lease: Lease,
        refused: Numbers,
        first: int = 0,
        on_rows: Callable[[int], None] = lambda _: None,
    ) -> Outcome:
        """Score a partition and write its parts; what comes back is still to be committed.

        Args:
            work: What the job is about.
            lease: On the partition; its key and fence name the parts.
            refused: (k,) ascending numbers of rows in the file that validation refused.
            first: Position of its first accepted row in the batch.
            on_rows: Told how many rows were read with every batch; whatever it raises ends the work.

        Raises:
            SourceChangedError: The input is not what was planned or validated.
            MalformedSourceError: The partition cannot be decoded.
            OutputNotWritableError: The target refuses us or is full.
        """
        scorer = RowScorer(work.model, work.line, self.kernels)
        challenger = work.challenger
        contest = challenger and Contest(
            challenger, self.kernels, lease.partition, work.pipeline.keys
        )
        scored_at = datetime.now(UTC)
        rows_in = rows_scored = flagged = 0
        name = f"{lease.key[:32]}-{lease.fence}"
        with (
            self.store.writer(work.target, name, partition_by=work.partition_by) as output,
            behind(output.write) as write,
            closing(conformed_rows(self.reader, work, lease.partition, refused)) as batches,
        ):
            for batch, rows, kept in batches:
                rows_in += len(batch.numbers) + len(batch.malformed)
                if len(rows):
                    position = first + rows_scored
                    found, by_challenger = scorer(rows, position), None
                    if contest:
                        found, by_challenger = contest(rows, found, position)
                    scored = found.beside(rows.select(work.pipeline.keys))
                    write(_output(work, scored, kept, scored_at, by_challenger))
                    rows_scored += len(rows)
                    flagged += found.flagged
                on_rows(len(batch.numbers) + len(batch.malformed))
        return Outcome(
            rows_in,
            rows_scored,
            rows_in - rows_scored,
            flagged,
            output.parts,
            contest.observation if contest else None,
        )


def conformed_rows(
    reader: PartitionReader, work: PartitionWork, partition: Partition, refused: Numbers
) -> Generator[tuple[PartitionBatch, pa.Table, pa.Table], None, None]:
    """Yield every batch as read, its accepted rows as declared, and their kept columns.

    Only columns that shape the output are read.

    Raises:
        SourceChangedError: A row that validation accepted cannot be read as declared.
    """
    pipeline = _narrowed(work)
    names = dict.fromkeys((*pipeline.id_columns, *pipeline.schema.names, *work.keep))
    batches = reader.read(work.spec, partition, columns=tuple(names), batch_rows=work.batch_rows)
    for batch in read_ahead(batches):
        table, numbers = batch.table, batch.numbers
        if len(refused):
            accepted = ~np.isin(numbers, refused, assume_unique=True)
            if not accepted.all():
                table, numbers = table.filter(pa.array(accepted)), numbers[accepted]
        ids = _row_ids(partition, numbers) if ROW_ID in pipeline.keys else pa.nulls(len(table))
        rows, failures = conform(table.add_column(0, ROW_ID, ids), pipeline)
        if failures:
            bad = failures[0]
            raise SourceChangedError(
                f"{partition}: row {numbers[bad.position]} cannot be read: {bad.reason}; when it "
                "was validated it could",
                hint="run again when nobody writes to the source",
            )
        yield batch, rows, table.select(work.keep)


def _narrowed(work: PartitionWork) -> Pipeline:
    """Return the pipeline with only those columns in its schema that somebody looks at."""
    used = {encoding.column for encoding in work.model.preprocessing.encodings}
    if work.challenger:
        used |= {e.column for e in work.challenger.model.preprocessing.encodings}
        used.add(work.challenger.rollout.split_by or "")
    columns = tuple(c for c in work.pipeline.schema.columns if c.name in used)
    return replace(work.pipeline, schema=Schema(columns), label_column=None, time_column=None)


def _row_ids(partition: Partition, numbers: Numbers) -> pa.Array:
    import pyarrow.compute as pc

    texts = pa.array(numbers).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(partition.name), texts, "#")


def _output(
    work: PartitionWork,
    scored: pa.Table,
    kept: pa.Table,
    at: datetime,
    by_challenger: NDArray[np.bool_] | None,
) -> pa.Table:
    """Return output rows: keys, kept columns, what was scored, and by what and when."""
    n = len(scored)
    models = pa.repeat(pa.scalar(work.version.model_version, pa.int64()), n)
    policies = pa.repeat(work.version.policy_version, n)
    if work.challenger and by_challenger is not None and by_challenger.any():
        version, mask = work.challenger.version, pa.array(by_challenger)
        models = pc.if_else(mask, pa.scalar(version.model_version, pa.int64()), models)
        policies = pc.if_else(mask, version.policy_version, policies)
    keys = len(work.pipeline.keys)
    for position, name in enumerate(kept.column_names):
        scored = scored.add_column(keys + position, name, kept.column(name))
    return (
        scored.append_column("model_version", models)
        .append_column("policy_version", policies)
        .append_column("scored_at", pa.repeat(pa.scalar(at, pa.timestamp("us", tz="UTC")), n))
    )
