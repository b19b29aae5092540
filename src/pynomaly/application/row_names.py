"""What conformed rows are called, and their values as they are kept with a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

import pyarrow as pa

from pynomaly.application.conform import conform
from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.verdicts import Cell, Verdict, digest_of_ids, digest_of_values

__all__ = ["called_now", "cells", "digests", "rows_of"]


def cells(table: pa.Table, pipeline: Pipeline) -> list[dict[str, Cell]]:
    """Return the features of every row, as JSON has them.

    Args:
        table: Conformed.
        pipeline: Names the features.
    """
    names = pipeline.features.names
    columns = [map(_cell, table.column(name).to_pylist()) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def digests(table: pa.Table, pipeline: Pipeline) -> list[str]:
    """Return the digest that calls each row.

    Args:
        table: Conformed; at least the id columns, and where there are none the features.
        pipeline: Names both.
    """
    if not pipeline.id_columns:
        return [digest_of_values(row) for row in cells(table, pipeline)]
    columns = [table.column(name).to_pylist() for name in pipeline.id_columns]
    return [digest_of_ids(ids) for ids in zip(*columns, strict=True)]


def called_now(verdicts: Iterable[Verdict], pipeline: Pipeline) -> tuple[Verdict, ...]:
    """Return verdicts in order, each under what its row is called by the columns of now.

    A row without ids is called by its values, so it would be another one as soon as the pipeline
    reads a column less: learnt from as if nobody had judged it.  What is not known of a row, as of
    a new column, cannot be told; then it stays called as it was.

    Args:
        verdicts: Of the pipeline.
        pipeline: As it declares its columns now.
    """
    features = pipeline.features.names
    return tuple(
        replace(verdict, row=digest_of_values({name: verdict.values[name] for name in features}))
        if not pipeline.id_columns and verdict.values.keys() > {*features}
        else verdict
        for verdict in verdicts
    )


def rows_of(verdicts: Sequence[Verdict], pipeline: Pipeline) -> tuple[pa.Table, list[Verdict]]:
    """Return judged rows from the values that were kept with their verdicts.

    A row without ids of which a value is missing is none of them: nobody could tell whether a model
    has seen it.

    Args:
        verdicts: Of the pipeline.
        pipeline: As it declares its columns now, which may no longer be how it did then.

    Returns:
        (n,) conformed rows of verdicts whose values can still be read, and those verdicts.
    """
    features = pipeline.features.names
    if not pipeline.id_columns:
        verdicts = [verdict for verdict in verdicts if verdict.values.keys() >= {*features}]
    columns: dict[str, list[str | None]] = {
        ROW_ID: [verdict.ids.get(ROW_ID, verdict.row) for verdict in verdicts],
        **{name: [v.ids.get(name) for v in verdicts] for name in pipeline.id_columns},
        **{name: [_text(v.values.get(name)) for v in verdicts] for name in features},
    }
    raw = pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})
    table, failures = conform(raw, pipeline)
    unreadable = {
        failure.position
        for failure in failures
        if any(failure.reason.startswith(f"{name}: ") for name in features)
    }
    kept = [position for position in range(len(verdicts)) if position not in unreadable]
    return table.take(pa.array(kept, pa.int64())), [verdicts[position] for position in kept]


def _text(cell: Cell) -> str | None:
    """Return a cell as a text file would hold it; floats to the last bit."""
    match cell:
        case None | str():
            return cell
        case bool():
            return "true" if cell else "false"
        case _:
            return repr(float(cell))


def _cell(value: object) -> Cell:
    match value:
        case None | bool() | str():
            return value
        case datetime():
            return value.isoformat()
        case float() if math.isfinite(value):
            return value
        case _:
            return None
