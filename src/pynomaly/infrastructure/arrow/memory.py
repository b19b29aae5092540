"""A table in memory as a source like any other."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pynomaly.application.ports.data import SourceBatch
from pynomaly.domain.datasets import ROW_ID, Fingerprint, Snapshot
from pynomaly.domain.errors import MalformedSourceError

__all__ = ["TableSource"]


class TableSource:
    """Implements ``Source`` for a pyarrow table.

    Args:
        table: Its rows; types stay as they are.
        name: How rows are called: ``"<name>#<row>"``, row from 1.

    Raises:
        MalformedSourceError: No column, no row, or two columns of one name.
    """

    def __init__(self, table: pa.Table, name: str) -> None:
        twice = [name for name, count in Counter(table.column_names).items() if count > 1]
        if twice:
            raise MalformedSourceError(
                f"{name} has more than one column '{twice[0]}'", hint="give every column its name"
            )
        if not table.num_columns or not table.num_rows:
            raise MalformedSourceError(
                f"{name} has {table.num_rows} rows and {table.num_columns} columns",
                hint="expected at least one row and one column",
            )
        self._table = table
        self._name = name

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """``(name, physical type)`` in order, without ``row_id``."""
        return tuple((field.name, str(field.type)) for field in self._table.schema)

    def batches(self, batch_rows: int = 50_000) -> Iterator[SourceBatch]:
        """Give the table in slices; nothing is copied but the row ids."""
        for start in range(0, self._table.num_rows, batch_rows):
            rows = self._table.slice(start, batch_rows)
            numbers = pa.array(np.arange(start + 1, start + 1 + len(rows))).cast(pa.string())
            ids = pc.binary_join_element_wise(pa.scalar(self._name), numbers, "#")
            yield SourceBatch(rows.add_column(0, pa.field(ROW_ID, pa.string()), ids))

    def snapshot(self) -> Snapshot:
        """Return what the table is; its digest says only which columns and how many rows."""
        schema = hashlib.sha256(json.dumps(self.columns).encode()).hexdigest()
        content = hashlib.sha256(f"{schema}:{self._table.num_rows}".encode()).hexdigest()
        return Snapshot(
            self._name,
            Fingerprint(content, schema),
            self.columns,
            self._table.num_rows,
            self._table.nbytes,
        )
