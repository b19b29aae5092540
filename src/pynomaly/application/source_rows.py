"""Scored rows read once more from where they came."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pynomaly.application.conform import conform
from pynomaly.application.planned_source import row_ids
from pynomaly.application.ports.partitions import PartitionReader, PartStore
from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.increments import INCREMENT
from pynomaly.domain.ledger import Entry
from pynomaly.domain.partitions import Partition
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.sources import SourceSpec

__all__ = ["Ids", "ReadSourceRows", "called_so", "ids_of", "with_ids"]

Ids = tuple[str, ...]
"""Values of a pipeline's keys, in their order."""


@dataclass(frozen=True, slots=True)
class ReadSourceRows:
    """Find rows of a scored partition by their keys.

    Args:
        reader: Reads partitions.
    """

    reader: PartitionReader

    def __call__(
        self, pipeline: Pipeline, partition: Partition, wanted: Collection[Ids]
    ) -> Iterator[pa.Table]:
        """Yield the conformed rows of a partition that have one of the ids.

        Args:
            pipeline: Names keys and columns.
            partition: As it was scored.
            wanted: Their ids.

        Raises:
            SourceNotFoundError: The source is gone.
            SourceChangedError: It is no longer what was scored.
            ConfigurationError: A database that is not the pipeline's own.
        """
        # What nobody asks for is not read; where a row has no label, none is missing.
        asked = replace(pipeline, label_column=None, schema=pipeline.features)
        names = dict.fromkeys((*asked.id_columns, *asked.schema.names))
        spec = self._spec(pipeline, partition)
        for batch in self.reader.read(spec, partition, columns=tuple(names)):
            ids = row_ids(partition.name, batch.numbers)
            table = batch.table.add_column(0, pa.field(ROW_ID, pa.string()), ids)
            if not pipeline.id_columns:  # ours, and no cell of other rows has to be parsed
                table = with_ids(table, pipeline, wanted)
            rows, _ = conform(table, asked)
            found = with_ids(rows, pipeline, wanted)
            if len(found):
                yield found

    def _spec(self, pipeline: Pipeline, partition: Partition) -> SourceSpec:
        """Return the source of a partition; records keep no password, the configuration may."""
        place = partition.source.partition(INCREMENT)[0]
        if "://" not in place or place.startswith("s3://"):
            return pipeline.source.at(place)
        if self.reader.place(pipeline.source) == place:
            return pipeline.source
        raise ConfigurationError(
            f"{place} was scored, which is not the database that '{pipeline.name}' names now, "
            "and addresses are kept without passwords",
            hint=f"name it again in conf/pipelines/{pipeline.name}.yaml, under `source:`",
        )


def called_so(store: PartStore, entry: Entry, pipeline: Pipeline) -> bool:
    """Whether the rows of a committed partition were scored under the keys that count now.

    Args:
        store: Holds its parts.
        entry: Committed.
        pipeline: Names the keys.

    Raises:
        IntegrityError: A part is missing or damaged.
    """
    parts = entry.outcome.parts if entry.outcome is not None else ()
    for table in store.read(parts[:1], batch_rows=1):
        return set(pipeline.keys) <= set(table.column_names)
    return False


def ids_of(table: pa.Table, pipeline: Pipeline) -> list[Ids]:
    """Return the ids of every row.

    Args:
        table: At least the keys, in any types.
        pipeline: Names them.
    """
    columns = [table.column(name).cast(pa.string()).to_pylist() for name in pipeline.keys]
    return list(zip(*columns, strict=True))


def with_ids(table: pa.Table, pipeline: Pipeline, wanted: Collection[Ids]) -> pa.Table:
    """Return the rows that have one of the ids.

    Args:
        table: At least the keys.
        pipeline: Names them.
        wanted: Their ids.
    """
    first = pa.array({ids[0] for ids in wanted}, pa.string())
    keys = table.column(pipeline.keys[0]).cast(pa.string())
    near = table.filter(pc.is_in(keys, value_set=first))
    if len(pipeline.keys) == 1 or not len(near):
        return near
    same = [ids in wanted for ids in ids_of(near, pipeline)]
    return near.filter(pa.array(np.array(same, dtype=np.bool_)))
