"""Scored rows as a database keeps them, and their digest."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from pynomaly.domain.errors import ConfigurationError

__all__ = [
    "RowDigest",
    "column_type",
    "dump_layout",
    "from_cells",
    "kept",
    "load_layout",
    "restored",
    "to_cells",
]

_MOMENT = pa.timestamp("us", tz="UTC")
_CLOCK = pa.timestamp("us")
_TYPES: dict[pa.DataType, sa.types.TypeEngine[Any]] = {
    pa.string(): sa.Text(),
    pa.float64(): sa.Double(),
    pa.bool_(): sa.Boolean(create_constraint=False),
    pa.int64(): sa.BigInteger(),
    # SQLite has no times: they are text as ISO 8601 has it.
    _MOMENT: sa.TIMESTAMP(timezone=True).with_variant(sa.Text(), "sqlite"),
    _CLOCK: sa.TIMESTAMP(timezone=False).with_variant(sa.Text(), "sqlite"),
    pa.date32(): sa.Date().with_variant(sa.Text(), "sqlite"),
}


def column_type(kind: pa.DataType) -> sa.types.TypeEngine[Any]:
    """Return the type of a database column for what Arrow calls ``kind``."""
    return _TYPES[_kept_type(kind)]


def kept(table: pa.Table, *, nan: bool) -> pa.Table:
    """Return rows with the types a database has; lists and structs as JSON text.

    Args:
        table: No dictionaries.
        nan: Whether the database tells NaN from null.

    Raises:
        ConfigurationError: A column holds what has no text.
    """
    columns = {}
    for field in table.schema:
        column, kind = table.column(field.name), _kept_type(field.type)
        try:
            if pa.types.is_nested(field.type):
                texts = [None if v is None else _json(v) for v in column.to_pylist()]
                column = pa.chunked_array([pa.array(texts, pa.string())])
            # Databases keep microseconds.
            column = column.cast(kind, safe=not pa.types.is_timestamp(kind))
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid, TypeError) as error:
            raise ConfigurationError(
                f"the column {field.name!r} of type {field.type} cannot be kept in a table",
                hint="leave it out, or write to a folder",
            ) from error
        if kind == pa.float64() and not nan:
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        columns[field.name] = column
    return pa.table(columns)


def restored(table: pa.Table, layout: pa.Schema) -> pa.Table:
    """Return rows with the types they had before :func:`kept`."""
    columns = {}
    for name in table.column_names:
        column, kind = table.column(name), layout.field(name).type
        if pa.types.is_nested(kind):
            values = [None if v is None else json.loads(v) for v in column.to_pylist()]
            column = pa.chunked_array([pa.array(values, kind)])
        columns[name] = pa.nulls(len(column)) if kind == pa.null() else column.cast(kind)
    return pa.table(columns)


def dump_layout(schema: pa.Schema) -> str:
    """Return a schema as text."""
    return base64.b64encode(schema.remove_metadata().serialize()).decode()


def load_layout(text: str) -> pa.Schema:
    """Return the schema of :func:`dump_layout`."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def to_cells(column: pa.ChunkedArray) -> list[Any]:
    """Return values as the driver of SQLite takes them."""
    timed = pa.types.is_temporal(column.type)
    cells: list[Any] = (column.cast(pa.string()) if timed else column).to_pylist()
    return cells


def from_cells(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return what a driver gave for a column that was kept as ``kind`` was.

    Raises:
        ValueError: Somebody else's values are there.
    """
    kind = _kept_type(kind)
    given = next((value for value in values if value is not None), None)
    # SQLite has no times and no truth values of its own.
    if isinstance(given, str):
        return pa.array(values, pa.string()).cast(kind)
    if kind == pa.bool_() and not isinstance(given, bool):
        return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)


class RowDigest:
    """sha256 of rows in order, whatever the batches they come in.

    It is taken column by column of what :func:`kept` gives (which cells are null; the values; of
    texts lengths and UTF-8), so that no format's spelling of numbers enters it.
    """

    def __init__(self, layout: pa.Schema) -> None:
        self._columns = [
            (hashlib.sha256(f"{f.name}\0{_kept_type(f.type)}\0".encode()), hashlib.sha256())
            for f in layout
        ]
        self.rows = 0
        self.size_bytes = 0

    def update(self, table: pa.Table) -> None:
        """Add rows, in the order of the layout's columns."""
        self.rows += len(table)
        for (cells, texts), column in zip(self._columns, table.columns, strict=True):
            for chunk in column.chunks:
                self._add(cells, texts, chunk)

    def hexdigest(self) -> str:
        """Return the digest of all rows so far."""
        whole = hashlib.sha256(str(self.rows).encode())
        for cells, texts in self._columns:
            whole.update(cells.digest() + texts.digest())
        return whole.hexdigest()

    def _add(self, cells: Any, texts: Any, chunk: pa.Array) -> None:
        if pa.types.is_string(chunk.type):
            filled = chunk.fill_null("")
            values = pc.binary_length(filled).to_numpy(zero_copy_only=False).astype("<i8")
            text = "".join(filled.to_pylist()).encode()
            texts.update(text)
            self.size_bytes += len(text)
        elif pa.types.is_floating(chunk.type):
            values = chunk.fill_null(0.0).to_numpy(zero_copy_only=False).astype("<f8")
            values[np.isnan(values)] = np.nan  # of many bit patterns, one
        else:
            whole = chunk.cast(pa.int32()) if pa.types.is_date(chunk.type) else chunk
            values = whole.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
            values = values.astype("<i8")
        present = chunk.is_valid().to_numpy(zero_copy_only=False).astype(np.int8)
        # One record a row: chunks may end anywhere.
        record = np.empty(len(chunk), dtype=[("present", "i1"), ("value", values.dtype)])
        record["present"], record["value"] = present, values
        cells.update(record.tobytes())
        self.size_bytes += record.nbytes


def _kept_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_boolean(kind):
        return pa.bool_()
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return pa.int64()
    if pa.types.is_timestamp(kind):
        return _CLOCK if kind.tz is None else _MOMENT
    return pa.date32() if pa.types.is_date(kind) else pa.string()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
