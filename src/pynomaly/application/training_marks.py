"""Two columns beside their own say what rows of a table to learn from are good for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.domain.datasets import FITTED, VERDICT

__all__ = ["fitted_rows", "marked", "taught_rows", "verdicts_of"]


def marked(
    table: pa.Table, fitted: NDArray[np.bool_], verdicts: NDArray[np.float64] | None
) -> pa.Table:
    """Return a table that says what its rows are good for.

    Args:
        table: Conformed.
        fitted: (n,) whether what is ordinary is learnt from the row.
        verdicts: (n,) 1 = anomaly, 0 = normal, NaN = none that may be learnt; None where no
            verdict may be learnt at all.
    """
    told = table.append_column(FITTED, pa.array(fitted))
    if verdicts is None:
        return told
    return told.append_column(VERDICT, pa.array(verdicts, pa.float64(), from_pandas=False))


def verdicts_of(table: pa.Table) -> NDArray[np.float64] | None:
    """Return (n,) verdicts with NaN for none; None where the table does not know of any."""
    if VERDICT not in table.column_names:
        return None
    return np.asarray(table.column(VERDICT).to_numpy(), dtype=np.float64)


def fitted_rows(table: pa.Table) -> pa.Table:
    """Return the rows that what is ordinary is learnt from: all, unless the table says otherwise."""
    return table.filter(table.column(FITTED)) if FITTED in table.column_names else table


def taught_rows(table: pa.Table) -> pa.Table:
    """Return the rows that a head may learn from: those fitted on, and those with a verdict.

    Of the others nobody knows what they are, and they are too likely to be anomalies to stand in
    for normal rows.
    """
    verdicts = verdicts_of(table)
    if verdicts is None:
        return fitted_rows(table)
    fitted = table.column(FITTED).to_numpy()
    return table.filter(pa.array(fitted | ~np.isnan(verdicts)))
