"""Tables of other libraries as pyarrow tables; pandas is imported for arrays of objects alone."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa

from pynomaly.application.cells import plain

__all__ = ["is_pandas", "is_table", "to_table"]


def is_pandas(data: object) -> bool:
    """Return whether this is a pandas DataFrame; nobody has one without pandas being imported."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


def is_table(data: object) -> bool:
    """Return whether this has named columns: pandas, pyarrow, polars or any Arrow stream."""
    return (
        isinstance(data, pa.Table | pa.RecordBatch)
        or is_pandas(data)
        or hasattr(data, "__arrow_c_stream__")
    )


def to_table(data: Any) -> pa.Table:
    """Return the same rows as a pyarrow table.

    Args:
        data: pandas, polars or pyarrow table, anything else that exports an Arrow stream
            (``__arrow_c_stream__``), or an array of shape (n, d).

    Raises:
        TypeError: It is none of these.
        ValueError: An array that does not have two dimensions, or holds complex numbers.

    >>> to_table(np.zeros((2, 3))).column_names
    ['x0', 'x1', 'x2']
    """
    if isinstance(data, pa.Table):
        return _takeable(data)
    if isinstance(data, pa.RecordBatch):
        return _takeable(pa.Table.from_batches([data]))
    if is_pandas(data):
        return _from_pandas(data)
    if hasattr(data, "__arrow_c_stream__"):
        # A single column, such as a Series, exports a stream as well.
        with suppress(pa.ArrowInvalid, TypeError):
            return _takeable(pa.table(data))
    if isinstance(data, np.ndarray):
        return _from_array(data)
    raise TypeError(
        f"a {type(data).__name__} is no table; give a path, a pandas, polars or pyarrow table, or "
        "a numpy array of shape (n, d)"
    )


def _takeable(table: pa.Table) -> pa.Table:
    """Return the table with plain cells for string views and extensions.

    pyarrow cannot take rows of the former, nor find the distinct values of the latter.
    """
    for i, field in enumerate(table.schema):
        kind, categories = field.type, pa.types.is_dictionary(field.type)
        if isinstance(kind.value_type if categories else kind, pa.BaseExtensionType):
            table = table.set_column(i, field.name, plain(table.column(i)))
            continue
        if pa.types.is_string_view(kind.value_type if categories else kind):
            column = table.column(i).cast(
                pa.dictionary(kind.index_type, pa.string()) if categories else pa.string()
            )
            table = table.set_column(i, field.name, column)
    return table


def _from_pandas(frame: Any) -> pa.Table:
    names = [str(name) for name in frame.columns]
    columns = [_cells(frame.iloc[:, i]) for i in range(len(names))]
    return _takeable(pa.Table.from_arrays(columns, names=names))


def _cells(column: Any) -> pa.Array:
    kind = getattr(column.dtype, "categories", column).dtype.name
    if kind.startswith("period"):
        column = column.dt.to_timestamp()
    elif kind.startswith("interval"):
        column = column.astype("string")
    try:
        return pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        # Cells of several types have no Arrow type; as texts they are read like those of a CSV.
        missing = column.isna()
        return pa.array([None if m else str(v) for v, m in zip(column, missing, strict=True)])


def _from_array(array: np.ndarray[Any, Any]) -> pa.Table:
    if array.ndim != 2:
        raise ValueError(
            f"expected an array of shape (n, d), got {array.shape}; reshape a single column with "
            ".reshape(-1, 1)"
        )
    if np.iscomplexobj(array):
        raise ValueError("complex numbers have no order; give real columns")
    if array.dtype == object:  # as a frame of mixed types becomes
        import pandas as pd

        columns = [_cells(pd.Series(column.tolist())) for column in array.T]
    else:
        columns = [pa.array(column) for column in array.T]
    return pa.Table.from_arrays(columns, names=[f"x{i}" for i in range(array.shape[1])])
