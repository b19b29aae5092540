"""Reasons of many rows: told field by field, as Arrow holds them, and row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.domain.scores import Direction, Reason

__all__ = ["REASONS", "Reasons"]

REASONS = pa.list_(
    pa.struct(
        [
            ("column", pa.string()),
            ("contribution", pa.float64()),
            ("direction", pa.string()),
            ("value", pa.string()),
            ("share", pa.float64()),
            ("normal", pa.string()),
        ]
    )
)
"""Arrow type of the ``reasons`` column; null for rows that are not flagged."""

_DIRECTIONS: tuple[Direction, ...] = ("unusual", "high", "low")  # 0, 1 and -1 as positions


@dataclass(frozen=True, slots=True)
class Reasons:
    """The k reasons of n rows.

    An object for each would take longer to make than it takes to find the reason.

    Args:
        names: Of the source columns.
        offsets: (n + 1,) int32, where the reasons of each row begin and the last ones end.
        columns: (k,) positions in ``names``.
        contributions: (k,) what each adds to the score.
        directions: (k,) int8: 1 high, -1 low, 0 unusual.
        values: (k,) cells as text.
        shares: (k,) of training rows, at least as unusual.
        normal: (k,) what is usual, as text.
    """

    names: Sequence[str]
    offsets: NDArray[np.int32]
    columns: NDArray[np.intp]
    contributions: NDArray[np.float64]
    directions: NDArray[np.int8]
    values: NDArray[Any]
    shares: NDArray[np.float64]
    normal: NDArray[Any]

    def to_arrow(self) -> pa.Array:
        """Return n cells of the type :data:`REASONS`."""
        fields = [
            _texts(self.names).take(pa.array(self.columns)),
            pa.array(self.contributions),
            _texts(_DIRECTIONS).take(pa.array(self.directions % 3)),
            _texts(self.values),
            pa.array(self.shares),
            _texts(self.normal),
        ]
        told = pa.StructArray.from_arrays(fields, fields=list(REASONS.value_type))
        return pa.ListArray.from_arrays(pa.array(self.offsets), told, type=REASONS)

    def to_lists(self) -> list[list[Reason]]:
        """Return the reasons of each row."""
        flat = [
            Reason(self.names[column], contribution, _DIRECTIONS[direction], value, share, normal)
            for column, contribution, direction, value, share, normal in zip(
                self.columns.tolist(),
                self.contributions.tolist(),
                self.directions.tolist(),
                self.values,
                self.shares.tolist(),
                self.normal,
                strict=True,
            )
        ]
        return [flat[start:stop] for start, stop in pairwise(self.offsets.tolist())]


def _texts(cells: Sequence[str] | NDArray[Any]) -> pa.Array:
    return pa.array(cells, pa.string())
