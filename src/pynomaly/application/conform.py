"""Raw tables become tables of the pipeline's declared columns and types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pynomaly.application.cells import (
    Reading,
    plain,
    read_booleans,
    read_numbers,
    read_texts,
    spelled,
)
from pynomaly.application.times import TIMESTAMP, read_times
from pynomaly.domain.datasets import ROW_ID, ColumnKind
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.quality import RowFailure

__all__ = ["conform", "conformed_schema"]


@dataclass(frozen=True, slots=True)
class _Form:
    """How one declared kind is read, stored and complained about."""

    type: pa.DataType
    read: Callable[[pa.Array], Reading]
    wanted: str


def _read_labels(cells: pa.Array) -> Reading:
    reading = read_booleans(cells)
    return Reading(reading.values.cast(pa.float64()), reading.refused)


_TEXT = _Form(pa.string(), read_texts, "a text")
_LABEL = _Form(pa.float64(), _read_labels, "a label (0, 1 or empty)")
_FORMS: dict[ColumnKind, _Form] = {
    "numeric": _Form(pa.float64(), read_numbers, "a number"),
    "boolean": _Form(pa.bool_(), read_booleans, "true or false"),
    "datetime": _Form(TIMESTAMP, read_times, "a date or time, e.g. 2024-01-31T10:00:00Z"),
    "categorical": _TEXT,
    "id": _TEXT,
    "text": _TEXT,
    "constant": _TEXT,
}


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str
    form: _Form
    nullable: bool


def _wanted(pipeline: Pipeline) -> Iterator[_Wanted]:
    yield from (_Wanted(name, _TEXT, nullable=False) for name in pipeline.id_columns)
    for column in pipeline.schema.columns:
        if column.name == pipeline.label_column:
            yield _Wanted(column.name, _LABEL, nullable=True)
        elif column.name not in pipeline.id_columns:
            yield _Wanted(column.name, _FORMS[column.kind], column.nullable)


def conformed_schema(pipeline: Pipeline) -> pa.Schema:
    """Return the columns and types of every conformed table of a pipeline.

    Args:
        pipeline: Whose schema.
    """
    fields = [pa.field(wanted.name, wanted.form.type) for wanted in _wanted(pipeline)]
    return pa.schema([pa.field(ROW_ID, pa.string()), *fields])


def conform(table: pa.Table, pipeline: Pipeline) -> tuple[pa.Table, tuple[RowFailure, ...]]:
    """Read a raw table as the pipeline declares it.

    Every cell is judged by itself, so chunks of a source conform exactly as the whole does.
    Other columns are left out; an absent column comes in as all missing without failures, since
    the column check has already refused the snapshot.

    Args:
        table: A raw batch; its first column is ``row_id``.
        pipeline: Declares ids, label and schema.

    Returns:
        ``row_id``, the id columns, then the other schema columns: numbers and labels as float64,
        truth values as bool, times as ``timestamp[us, UTC]``, everything else as text.  And one
        failure per cell that cannot be read or must not be missing, by position; such cells are
        null in the table.
    """
    arrays: list[pa.Array] = [table.column(ROW_ID).cast(pa.string())]
    failures: list[RowFailure] = []
    present = set(table.column_names)
    for wanted in _wanted(pipeline):
        if wanted.name not in present:
            arrays.append(pa.nulls(table.num_rows, wanted.form.type))
            continue
        cells = plain(table.column(wanted.name))
        reading = wanted.form.read(cells)
        arrays.append(reading.values)
        if reading.refused.any():
            failures.extend(_refusals(wanted, cells, reading))
        if not wanted.nullable:
            failures.extend(_absences(wanted, reading))
    failures.sort(key=lambda failure: failure.position)  # stable: columns stay in order
    return pa.table(arrays, schema=conformed_schema(pipeline)), tuple(failures)


def _refusals(wanted: _Wanted, cells: pa.Array, reading: Reading) -> Iterator[RowFailure]:
    positions = np.flatnonzero(reading.refused)
    for position, value in zip(positions, cells.take(pa.array(positions)), strict=True):
        found = _shown(value)
        reason = f"{wanted.name}: {found} is {_problem(found, cells, wanted)}"
        yield RowFailure(int(position), reason, wanted.name)


def _absences(wanted: _Wanted, reading: Reading) -> Iterator[RowFailure]:
    if not reading.values.null_count:
        return
    missing = pc.is_null(reading.values).to_numpy(zero_copy_only=False) & ~reading.refused
    for position in np.flatnonzero(missing):
        yield RowFailure(int(position), f"{wanted.name}: expected a value, found none")


def _problem(found: str, cells: pa.Array, wanted: _Wanted) -> str:
    dated = pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type)
    if dated and wanted.form.type == TIMESTAMP:
        return "outside the years 1 to 9999"
    return f"not {'a finite number' if _infinite(found, wanted.form) else wanted.form.wanted}"


def _infinite(found: str, form: _Form) -> bool:
    if not pa.types.is_floating(form.type):
        return False
    try:
        return bool(np.isinf(float(found.strip("'"))))
    except ValueError:
        return False


def _shown(value: pa.Scalar) -> str:
    """Return a cell for people: texts quoted, long ones cut."""
    kind = value.type
    quoted = pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    text = repr(value.as_py()) if quoted else spelled(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
