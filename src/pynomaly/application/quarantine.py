"""Send rows that cannot be read aside, as they stood in the source, with the reason for each."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from pynomaly.application.ports.data import SourceBatch
from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.quality import RowFailure

__all__ = ["quarantined_rows", "reasons_by_row", "without_rows"]


def reasons_by_row(failures: Iterable[RowFailure]) -> dict[int, list[str]]:
    """Return every refused row of a batch, by position, with its distinct reasons in order."""
    reasons: dict[int, list[str]] = {}
    for failure in failures:
        found = reasons.setdefault(failure.position, [])
        if failure.reason not in found:
            found.append(failure.reason)
    return reasons


def without_rows(table: pa.Table, reasons: dict[int, list[str]]) -> pa.Table:
    """Return the rows of a batch that were not refused."""
    if not reasons:
        return table
    return table.filter(pa.array([i not in reasons for i in range(len(table))]))


def quarantined_rows(batch: SourceBatch, reasons: dict[int, list[str]]) -> pa.Table:
    """Return refused rows as they stood in the source, all text, with the reason for each.

    Args:
        batch: Its malformed lines, which are no rows, come last.
        reasons: By position in the batch's table.
    """
    positions = sorted(reasons)
    rows = batch.table.take(pa.array(positions, pa.int64()))
    columns = {
        ROW_ID: [
            *rows.column(ROW_ID).to_pylist(),
            *(f"{m.file}:{m.line}" for m in batch.malformed),
        ],
        "reason": [
            *("; ".join(reasons[p]) for p in positions),
            *(f"line {m.line}: {m.reason}" for m in batch.malformed),
        ],
        "line": [*(None for _ in positions), *(m.text for m in batch.malformed)],
    }
    for name in batch.table.column_names:
        if name != ROW_ID:
            column = rows.column(name)
            if pa.types.is_temporal(column.type):
                column = column.cast(pa.string())  # Python's dates end with the year 9999
            values = (None if v is None else str(v) for v in column.to_pylist())
            columns[f"source.{name}"] = [*values, *(None for _ in batch.malformed)]
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
