"""Conformed Arrow tables as pandas frames with the same dtypes in every chunk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_text", "to_frame", "twin"]

_TWIN = " as text"
_ISO = "%Y-%m-%dT%H:%M:%S"


def twin(column: str) -> str:
    """Return the frame column that holds a time column as texts.

    Great Expectations writes a set of times as texts into its suite and then finds no time equal
    to any of them; comparing texts with texts works.
    """
    return column + _TWIN


def as_text(instant: datetime) -> str:
    """Return a time in UTC as the twin column spells it."""
    return instant.strftime(f"{_ISO}.%f")


def to_frame(table: pa.Table, columns: Sequence[str]) -> pd.DataFrame:
    """Return columns of a conformed table with a row index from 0.

    Truth values become objects (True, False, None) even where none is missing, so that a dtype,
    and with it a verdict, never depends on the rest of a chunk.

    Args:
        table: Conformed rows.
        columns: To convert, text twins of time columns among them; repeated names count once.
    """
    names = list(dict.fromkeys(columns))
    for name in names:
        if name not in table.column_names:
            times = table.column(name.removesuffix(_TWIN))
            table = table.append_column(name, pc.strftime(times, format=_ISO))
    chosen = table.select(names)
    # Blocks of a column each: numbers without gaps are those of the table, not copies of them.
    frame: pd.DataFrame = chosen.to_pandas(split_blocks=True)
    for field in chosen.schema:
        if pa.types.is_boolean(field.type):
            frame[field.name] = frame[field.name].astype(object)
    return frame
