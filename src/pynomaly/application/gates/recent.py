"""What production scored last, read again from its sources where they are still the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile

import pyarrow as pa
import pyarrow.compute as pc

from pynomaly.application.conform import conform, conformed_schema
from pynomaly.application.planned_source import row_ids
from pynomaly.application.ports.data import DatasetStore
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartitionReader
from pynomaly.application.ports.records import Records
from pynomaly.application.quarantine import reasons_by_row, without_rows
from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.errors import PynomalyError
from pynomaly.domain.partitions import Partition
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.runs import ScoredBatch
from pynomaly.domain.sources import SourceSpec

__all__ = ["ReadRecent", "Recent", "RecentBatch"]

KEPT_ROWS = 200_000
"""Of all batches together, so that gates take seconds to minutes whatever production scores."""

LARGEST_PARTITION = 512 * 2**20
"""Bytes; a partition counts only once all of it was read and found unchanged."""

KNOWN_BATCHES = 50
"""Of the newest, or as many as reach back a day: batches may come every minute."""

_MOST_BATCHES = 5_000


@dataclass(frozen=True, slots=True)
class RecentBatch:
    """A scored batch and its rows.

    Args:
        batch: As it is on record.
        columns: What its source sends.
        rows: Conformed, those that validation had refused left out; the first of the batch.
        unreadable: Further rows that cannot be read as the pipeline declares its columns now.
    """

    batch: ScoredBatch
    columns: tuple[str, ...]
    rows: pa.Table
    unreadable: int

    @property
    def which(self) -> str:
        """What sentences call its rows."""
        return f"rows of the batch scored {self.batch.scored_at:%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True)
class Recent:
    """What production scored last.

    Args:
        scored: Batches on record, each content once, newest first.
        read: The newest of them whose source could be read again, newest first.
        unread: Why others could not, one sentence each.
    """

    scored: tuple[ScoredBatch, ...] = ()
    read: tuple[RecentBatch, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadRecent:
    """Read the last scored batches again.

    A batch counts as far as its partitions are on the ledger and their bytes are, by digest, those
    that were scored.

    Args:
        records: Know the batches.
        ledger: Knows their partitions.
        reader: Reads them.
        datasets: Hold the rows that validation refused.
    """

    records: Records
    ledger: Ledger
    reader: PartitionReader
    datasets: DatasetStore

    def __call__(self, pipeline: Pipeline) -> Recent:
        """Return at most ``replay_batches`` of the pipeline's batches with at most 200,000 rows."""
        pipeline = pipeline.unlabelled  # as they were scored
        wanted = pipeline.release.replay_batches
        scored = _latest(_each_content_once(self.records.batches(pipeline.name, _MOST_BATCHES)))
        read, unread = [], []
        for batch in scored[:wanted]:
            try:
                read.append(self._read(pipeline, batch, KEPT_ROWS // wanted))
            except PynomalyError as error:
                unread.append(
                    f"the batch of {batch.scored_at:%Y-%m-%d %H:%M} cannot be read again: "
                    f"{error.message}"
                )
        return Recent(scored, tuple(read), tuple(unread))

    def _read(self, pipeline: Pipeline, batch: ScoredBatch, rows: int) -> RecentBatch:
        entries = self.ledger.entries_of(batch.id)
        if not entries:
            raise PynomalyError("its partitions are no longer on the ledger")
        spec = self._spec(pipeline, batch)
        refused = self._refused(batch)
        kept: list[pa.Table] = []
        columns: tuple[str, ...] = ()
        count = unreadable = 0
        for entry in entries:
            pieces: list[pa.Table] = []
            for table in self._tables(spec, entry.partition):
                columns = tuple(name for name in table.column_names if name != ROW_ID)
                accepted = table.filter(pc.invert(pc.is_in(table.column(ROW_ID), refused)))
                conformed, failures = conform(accepted, pipeline)
                reasons = reasons_by_row(failures)
                unreadable += len(reasons)
                # Read to its end all the same: only then is it known to be unchanged.
                if count < rows:
                    pieces.append(without_rows(conformed, reasons).slice(0, rows - count))
                    count += len(pieces[-1])
            kept += pieces
            if count >= rows:
                break
        table = pa.concat_tables([conformed_schema(pipeline).empty_table(), *kept])
        return RecentBatch(batch, columns, table.combine_chunks(), unreadable)

    def _spec(self, pipeline: Pipeline, batch: ScoredBatch) -> SourceSpec:
        """Return the source behind a batch; records keep no password, the configuration may."""
        if self.reader.place(pipeline.source) == batch.snapshot_uri:
            return pipeline.source
        if "://" in batch.snapshot_uri and not batch.snapshot_uri.startswith("s3://"):
            raise PynomalyError(f"{batch.snapshot_uri} is not the database the pipeline names now")
        return pipeline.source.at(batch.snapshot_uri)

    def _refused(self, batch: ScoredBatch) -> pa.Array:
        if batch.quarantine_uri is None:
            return pa.array([], pa.string())
        return self.datasets.table(batch.quarantine_uri, [ROW_ID]).column(ROW_ID).combine_chunks()

    def _tables(self, spec: SourceSpec, partition: Partition) -> Iterator[pa.Table]:
        if partition.size_bytes > LARGEST_PARTITION:
            raise PynomalyError(
                f"{partition} has {partition.size_bytes >> 20:,} MiB, more than the "
                f"{LARGEST_PARTITION >> 20} MiB that gates read in one piece"
            )
        for piece in self.reader.read(spec, partition):
            ids = row_ids(partition.name, piece.numbers)
            yield piece.table.add_column(0, pa.field(ROW_ID, pa.string()), ids)


def _latest(batches: Sequence[ScoredBatch]) -> tuple[ScoredBatch, ...]:
    """Return the newest batches, a day of them at least."""

    def younger_than_a_day(batch: ScoredBatch) -> bool:
        return batches[0].scored_at - batch.scored_at < timedelta(days=1)

    day = sum(1 for _ in takewhile(younger_than_a_day, batches))
    return tuple(batches[: max(KNOWN_BATCHES, day + 1)])


def _each_content_once(batches: Iterable[ScoredBatch]) -> tuple[ScoredBatch, ...]:
    """Return batches without those that scored once more what a newer one scored."""
    newest: dict[tuple[str, str], ScoredBatch] = {}
    for batch in batches:
        newest.setdefault((batch.snapshot_uri, batch.fingerprint), batch)
    return tuple(newest.values())
