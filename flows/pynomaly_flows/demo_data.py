"""Real data for the demo: the Wisconsin diagnostic breast cancer set that scikit-learn carries.

Thirty measurements of cell nuclei per biopsy.  Benign ones are normal; of the malignant ones only
about every twentieth row remains, so that they are the anomalies.  Which is which goes to a file
of its own, which only the summary reads.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["ID_COLUMN", "Batch", "DemoData", "prepare_demo"]

ID_COLUMN = "biopsy_id"
SEED = 20
TRAINING = (200, 10)
"""Benign and malignant rows of the training snapshot."""
BATCH = (52, 3)
"""The same of each later batch; there are 357 benign rows in all."""
RECALIBRATED = ("mean_texture", "worst_texture")
RECALIBRATION = 1.5

Floats = NDArray[np.float64]
Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that came later.

    Args:
        path: CSV file.
        story: What is special about it, for people.
        broken: Lines that validation must quarantine.
    """

    path: Path
    story: str
    broken: int = 0


@dataclass(frozen=True, slots=True)
class DemoData:
    """The files of the demo.

    Args:
        folder: Project folder.
        training: CSV file with the training snapshot.
        batches: In order of arrival.
        labels: CSV file with ``biopsy_id,malignant`` of every row; not for training.
    """

    folder: Path
    training: Path
    batches: tuple[Batch, ...]
    labels: Path


def prepare_demo(folder: Path) -> DemoData:
    """Write the demo's data under ``folder/data``; the same bytes every time.

    Args:
        folder: Created if missing; files of an earlier demo are replaced.
    """
    names, benign, malignant = _shuffled()
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    deal = _Deal(benign, malignant)
    header = [ID_COLUMN, *names]
    training = _write(data / "training.csv", header, deal.rows(*TRAINING))
    ordinary = deal.rows(*BATCH)
    damaged = _damage(deal.rows(*BATCH))
    drifted = _recalibrate(names, deal.rows(*BATCH))
    batches = (
        Batch(_write(data / "batch-1.csv", header, ordinary), "an ordinary batch"),
        Batch(_write(data / "batch-2.csv", header, damaged), "some rows are broken", broken=4),
        Batch(
            _write(data / "batch-3.csv", header, drifted),
            f"a sensor reads {' and '.join(RECALIBRATED)} {RECALIBRATION - 1:.0%} too high",
        ),
    )
    labels = _write(data / "labels.csv", [ID_COLUMN, "malignant"], deal.labels)
    return DemoData(folder, training, batches, labels)


class _Deal:
    """Deals rows out, each once, in mixed order and with running ids."""

    def __init__(self, benign: Floats, malignant: Floats) -> None:
        self._benign = iter(benign)
        self._malignant = iter(malignant)
        self._rng = np.random.default_rng(SEED)
        self.labels: list[Row] = []

    def rows(self, benign: int, malignant: int) -> list[Row]:
        kinds = self._rng.permutation([0] * benign + [1] * malignant)
        rows: list[Row] = []
        for kind in kinds:
            values = next(self._malignant if kind else self._benign)
            identifier = f"B{len(self.labels) + 1:04d}"
            self.labels.append((identifier, str(kind)))
            rows.append((identifier, *(repr(float(value)) for value in values)))
        return rows


def _shuffled() -> tuple[list[str], Floats, Floats]:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in bunch.feature_names]
    rng = np.random.default_rng(SEED)
    benign, malignant = bunch.data[bunch.target == 1], bunch.data[bunch.target == 0]
    return names, rng.permutation(benign), rng.permutation(malignant)


def _damage(rows: list[Row]) -> list[Row]:
    """Add an unreadable cell, a row without id, a repeated row and a line with extra cells."""
    unreadable = ("B9001", rows[5][1], "n/a (smudged)", *rows[5][3:])
    nameless = ("", *rows[11][1:])
    repeated = rows[17]
    ragged = ("B9002", *rows[23][1:], "12.5", "see note")
    damaged = list(rows)
    for position, row in ((8, unreadable), (20, nameless), (33, repeated), (47, ragged)):
        damaged.insert(position, row)
    return damaged


def _recalibrate(names: list[str], rows: list[Row]) -> list[Row]:
    positions = {names.index(name) + 1 for name in RECALIBRATED}
    return [
        tuple(
            repr(round(float(cell) * RECALIBRATION, 4)) if i in positions else cell
            for i, cell in enumerate(row)
        )
        for row in rows
    ]


def _write(path: Path, header: Row, rows: Iterable[Row]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path
