"""Rows that validation refused, by their numbers, as scoring leaves them out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ports.data import DatasetStore
from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.partitions import Partition

__all__ = ["refused_rows", "refused_within"]

Numbers = NDArray[np.int64]
_NONE = np.array([], dtype=np.int64)


def refused_rows(datasets: DatasetStore, quarantine_uri: str | None) -> Mapping[str, Numbers]:
    """Return the numbers of refused rows by file name, ascending.

    Args:
        datasets: Keep them.
        quarantine_uri: Of the refused rows of a snapshot; None where there are none.
    """
    found: dict[str, list[int]] = {}
    if quarantine_uri is not None:
        for table in datasets.read(quarantine_uri, [ROW_ID]):
            for row_id in table.column(ROW_ID).to_pylist():
                name, _, number = row_id.rpartition("#")
                # Lines that are no rows (file:line) are met again when the file is read.
                if name and number.isdecimal():
                    found.setdefault(name, []).append(int(number))
    return {name: np.unique(numbers) for name, numbers in found.items()}


def refused_within(refused: Mapping[str, Numbers], partition: Partition) -> Numbers:
    """Return the refused rows of one partition, (k,) ascending."""
    numbers = refused.get(partition.name, _NONE)
    if partition.rows is None:
        return numbers
    first, last = np.searchsorted(
        numbers, [partition.first_row, partition.first_row + partition.rows], side="right"
    )
    return numbers[first:last]
