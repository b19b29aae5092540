"""Compares scored rows with those a partition was committed with, instead of writing them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pynomaly.application.ports.partitions import PartStore
from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.ledger import Entry, Part

__all__ = ["COMPARED", "ComparedParts", "Difference", "divided_by"]

COMPARED = (
    "score", "p_value", "is_anomaly", "severity", "reasons", "model_version", "policy_version",
)  # fmt: skip
"""Columns of scored output that must come out again, to the last bit; ``scored_at`` cannot."""

_LAST = "scored_at"
_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """A cell that came out otherwise.

    Args:
        partition: File and extent.
        row: Its ids.
        column: Of the output; empty where the row itself is missing or new.
        committed: What was written then.
        replayed: What comes out now.
    """

    partition: str
    row: str
    column: str
    committed: str
    replayed: str


def divided_by(store: PartStore, entries: Iterable[Entry]) -> str | None:
    """Return the column by whose values the parts of a job were divided among folders, if any."""
    for entry in entries:
        for part in entry.outcome.parts if entry.outcome else ():
            last = _head(store, part).column_names[-1]
            return None if last == _LAST else last
    return None


class ComparedParts:
    """Implements ``PartWriters`` for one committed partition; writes nothing.

    Args:
        store: Holds its parts.
        entry: Committed.
        keys: Columns that identify a row.
        divided: Column by whose values its parts were divided, if any.

    Attributes:
        differing: Rows that came out otherwise, are missing or are new.
        examples: Of the first of them.
        largest: Largest difference between two scores of a row.
        rows: That came out.
        flagged: Alerts among them.

    Raises:
        IntegrityError: A part is not what was committed.
    """

    def __init__(
        self, store: PartStore, entry: Entry, keys: Sequence[str], divided: str | None
    ) -> None:
        assert entry.outcome is not None  # committed
        self.parts: tuple[Part, ...] = ()
        self.differing = 0
        self.examples: list[Difference] = []
        self.largest = 0.0
        self._partition = str(entry.partition)
        self._keys = list(keys)
        self._columns = list(dict.fromkeys((*keys, *COMPARED)))
        self._divided = divided
        self.rows = self.flagged = 0
        by_value: dict[str | None, list[Part]] = {}
        for part in entry.outcome.parts:
            if problem := store.check(part):
                raise IntegrityError(
                    f"{part.uri} {problem}",
                    hint="the scores themselves were changed since; restore them from a backup",
                )
            value = _head(store, part).column(divided)[0].as_py() if divided else None
            by_value.setdefault(value, []).append(part)
        self._committed = {
            value: _Cursor(store.read(parts, self._columns)) for value, parts in by_value.items()
        }

    @contextmanager
    def writer(
        self, target: str, name: str, *, partition_by: str | None = None
    ) -> Iterator[ComparedParts]:
        """Take rows to compare; at the end, what was committed beyond them differs as well."""
        yield self
        for cursor in self._committed.values():
            while len(rest := cursor.take(50_000)):
                self._note_missing(rest, replayed=False)
        # One part of as many rows: what a scored partition must account for.
        self.parts = (Part("", "", self.rows, 0),) if self.rows else ()

    def write(self, table: pa.Table) -> None:
        """Compare the next rows."""
        self.rows += len(table)
        self.flagged += pc.sum(table.column("is_anomaly")).as_py() or 0
        for value, rows in self._by_value(table):
            cursor = self._committed.get(value)
            committed = cursor.take(len(rows)) if cursor else rows.slice(0, 0)
            both = rows.slice(0, len(committed))
            self._compare(both, committed)
            self._note_missing(rows.slice(len(committed)), replayed=True)

    def _by_value(self, table: pa.Table) -> Iterator[tuple[str | None, pa.Table]]:
        if self._divided is None:
            yield None, table.select(self._columns)
            return
        values = table.column(self._divided).cast(pa.string())
        for value in values.unique().to_pylist():
            mask = pc.is_null(values) if value is None else pc.equal(values, value)
            yield value, table.filter(mask).select(self._columns)

    def _compare(self, replayed: pa.Table, committed: pa.Table) -> None:
        differs = np.zeros(len(replayed), dtype=np.bool_)
        where: dict[str, NDArray[np.bool_]] = {}
        for name in self._columns:
            new, old = _array(replayed, name), _array(committed, name)
            if new.type != old.type:
                new = new.cast(old.type)  # what folders are named by is kept as text
            if new.equals(old):
                continue
            where[name] = _different(new, old)
            differs |= where[name]
        if "score" in where:
            gaps = np.abs(
                _array(replayed, "score").to_numpy(zero_copy_only=False)
                - _array(committed, "score").to_numpy(zero_copy_only=False)
            )
            self.largest = max(self.largest, float(np.nanmax(gaps, initial=0.0)))
        self.differing += int(differs.sum())
        for row in np.flatnonzero(differs)[: _EXAMPLES - len(self.examples)]:
            for name, mask in where.items():
                if mask[row]:
                    self._example(
                        replayed.slice(row, 1), name,
                        committed.column(name)[row].as_py(), replayed.column(name)[row].as_py(),
                    )  # fmt: skip
                    break

    def _note_missing(self, rows: pa.Table, *, replayed: bool) -> None:
        self.differing += len(rows)
        for row in range(min(len(rows), _EXAMPLES - len(self.examples))):
            told = ("no such row", "a row") if replayed else ("a row", "no such row")
            self._example(rows.slice(row, 1), "", *told)

    def _example(self, row: pa.Table, column: str, committed: object, replayed: object) -> None:
        ids = ", ".join(str(row.column(key)[0].as_py()) for key in self._keys)
        self.examples.append(
            Difference(self._partition, ids, column, str(committed), str(replayed))
        )


class _Cursor:
    """Rows of a stream, as many at a time as are asked for."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._held: pa.Table | None = None

    def take(self, rows: int) -> pa.Table:
        """Return the next rows; fewer where the stream ends."""
        held = [] if self._held is None else [self._held]
        have = sum(map(len, held))
        while have < rows or not held:
            table = next(self._tables, None)
            if table is None:
                break
            held.append(table)
            have += len(table)
        whole = pa.concat_tables(held)
        self._held = whole.slice(rows)
        return whole.slice(0, rows)


def _head(store: PartStore, part: Part) -> pa.Table:
    return next(store.read([part], batch_rows=1))


def _array(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name).combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _different(new: pa.Array, old: pa.Array) -> NDArray[np.bool_]:
    """Return (n,) which cells differ."""
    if pa.types.is_nested(new.type):
        # Reasons, which only flagged rows have; repr tells floats apart to the last bit.
        pairs = zip(new.to_pylist(), old.to_pylist(), strict=True)
        return np.array([repr(a) != repr(b) for a, b in pairs])
    same = pc.or_(pc.equal(new, old).fill_null(False), pc.and_(pc.is_null(new), pc.is_null(old)))
    different: NDArray[np.bool_] = ~same.to_numpy(zero_copy_only=False)
    return different
