"""A source read by the partitions of its plan, so that what is checked is what will be scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pynomaly.application.ports.data import MalformedRow, SourceBatch
from pynomaly.application.ports.partitions import PartitionBatch, PartitionReader
from pynomaly.domain.datasets import ROW_ID, Snapshot
from pynomaly.domain.errors import MalformedSourceError, SourceChangedError
from pynomaly.domain.partitions import Partition, Plan
from pynomaly.domain.sources import SourceSpec

__all__ = ["PlannedSource", "read_again", "regroup", "row_ids"]

_PIECE = 16_384
"""Rows decoded at once: a batch of them is put together, and needs its room only once."""


class PlannedSource:
    """Implements ``Source`` over the partitions of a plan, read in their order.

    Args:
        reader: Reads them.
        spec: What was planned.
        plan: The partitions.
        on_unreadable: Told of a partition that cannot be decoded; the rest of it is left out, and
            what was read of it before remains.  None raises the error.
    """

    def __init__(
        self,
        reader: PartitionReader,
        spec: SourceSpec,
        plan: Plan,
        on_unreadable: Callable[[Partition, MalformedSourceError], None] | None = None,
    ) -> None:
        self._reader = reader
        self._spec = spec
        self._plan = plan
        self._on_unreadable = on_unreadable
        self._snapshot: Snapshot | None = None

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """``(name, physical type)`` in the plan's order, without ``row_id``."""
        return self._plan.columns

    def batches(self, batch_rows: int = 50_000) -> Iterator[SourceBatch]:
        """Stream the partitions from the start.

        Raises:
            SourceChangedError: The content is no longer what was planned.
            MalformedSourceError: A partition cannot be decoded, and nobody is told.
        """
        self._snapshot = None
        rows = 0
        for batch in regroup(self._pieces(batch_rows), batch_rows):
            rows += batch.table.num_rows + len(batch.malformed)
            yield batch
            del batch  # or it would stay while the next one is read
        plan = self._plan
        self._snapshot = Snapshot(plan.uri, plan.fingerprint, plan.columns, rows, plan.size_bytes)

    def snapshot(self) -> Snapshot:
        """Return the plan's digests, and the rows of the last complete :meth:`batches`."""
        if self._snapshot is None:
            raise RuntimeError("a snapshot is known only after all batches were read")
        return self._snapshot

    def _pieces(self, batch_rows: int) -> Iterator[tuple[str, PartitionBatch]]:
        for partition in self._plan.partitions:
            # By name, so that every file has them in the plan's order.
            names = [name for name, _ in self._plan.columns]
            try:
                for batch in self._reader.read(
                    self._spec, partition, columns=names, batch_rows=min(batch_rows, _PIECE)
                ):
                    yield partition.name, batch
            except MalformedSourceError as error:
                if self._on_unreadable is None:
                    raise
                self._on_unreadable(partition, error)


def regroup(pieces: Iterable[tuple[str, PartitionBatch]], rows: int) -> Iterator[SourceBatch]:
    """Yield batches of equal size with row ids.

    Args:
        pieces: Rows in order, with the name of the file each piece is of.
        rows: In every batch but the last.
    """
    held: list[pa.Table] = []
    count = 0
    malformed: list[MalformedRow] = []
    for name, piece in pieces:
        ids = row_ids(name, piece.numbers)
        held.append(piece.table.add_column(0, pa.field(ROW_ID, pa.string()), ids))
        count += piece.table.num_rows
        malformed += piece.malformed
        del piece, ids
        while count >= rows or len(malformed) >= rows:
            whole = pa.concat_tables(held)
            held, found = [whole.slice(rows)], malformed
            count, malformed = held[0].num_rows, []
            ready = [whole.slice(0, rows).combine_chunks()]
            del whole
            # Handed over: nothing here keeps what the caller lets go.
            yield SourceBatch(ready.pop(), tuple(found))
    if count or malformed:
        yield SourceBatch(pa.concat_tables(held).combine_chunks(), tuple(malformed))


def read_again(reader: PartitionReader, spec: SourceSpec, partition: Partition, why: str) -> None:
    """Raise what keeps a partition from being read that validation could not read.

    Args:
        reader: Reads it.
        spec: What was planned.
        partition: Of the plan.
        why: It could not be read then.

    Raises:
        MalformedSourceError: It is as it was.
        SourceChangedError: It has been mended since, and is to be planned and validated anew.
    """
    for _ in reader.read(spec, partition):
        pass
    raise SourceChangedError(
        f"{partition} can be read; when it was validated it could not: {why}", hint="run again"
    )


def row_ids(name: str, numbers: NDArray[np.int64]) -> pa.Array:
    """Return ``"<name>#<number>"`` of every row.

    >>> import numpy as np
    >>> row_ids("a.csv", np.array([1, 3])).to_pylist()
    ['a.csv#1', 'a.csv#3']
    """
    # pa.array(numpy) would import pandas, half a second for nothing.
    buffers = [None, pa.py_buffer(numbers)]
    texts = pa.Array.from_buffers(pa.int64(), len(numbers), buffers).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(name), texts, "#")
