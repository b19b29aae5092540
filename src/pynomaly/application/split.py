"""Divide staged rows into those a model is fitted on and those it is judged on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.ports.data import DatasetStore
from pynomaly.domain.datasets import Dataset
from pynomaly.domain.errors import NotTrainableError
from pynomaly.domain.pipelines import Pipeline

__all__ = ["TrainingRows", "fold_of_rows", "known_labels", "sample_table", "training_rows"]

MIN_ROWS = 20


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows of a snapshot, divided the same way in every step of a run.

    Args:
        fit: To fit on.
        holdout: Not to fit on.
    """

    fit: pa.Table
    holdout: pa.Table


def training_rows(pipeline: Pipeline, dataset: Dataset, datasets: DatasetStore) -> TrainingRows:
    """Sample and divide a staged dataset as the training policy says.

    Raises:
        NotTrainableError: Too few rows.
    """
    policy = pipeline.training
    table = sample_table(
        datasets.read(dataset.uri),
        dataset.rows,
        round(policy.max_rows / (1 - policy.calibration_share)),
        policy.seed,
    )
    if len(table) < MIN_ROWS:
        raise NotTrainableError(
            f"{dataset.snapshot.uri} has {len(table)} usable rows; at least {MIN_ROWS} are needed",
            hint="point the pipeline at a larger snapshot",
        )
    order = np.random.default_rng(policy.seed).permutation(len(table))
    held_out = round(len(table) * policy.calibration_share)
    fit, holdout = np.sort(order[held_out:]), np.sort(order[:held_out])
    return TrainingRows(table.take(pa.array(fit)), table.take(pa.array(holdout)))


def known_labels(table: pa.Table, pipeline: Pipeline) -> NDArray[np.float64] | None:
    """Return (n,) labels with NaN for unknown; None where the pipeline has no label column."""
    if pipeline.label_column is None:
        return None
    labels = table.column(pipeline.label_column).to_numpy()
    return np.asarray(labels, dtype=np.float64)


def sample_table(batches: Iterator[pa.Table], rows: int, size: int, seed: int) -> pa.Table:
    """Return ``size`` rows drawn uniformly without replacement, in order, streaming.

    Args:
        batches: The dataset.
        rows: In the whole dataset.
        size: Rows to keep; all of them where the dataset is smaller.
        seed: Of the draw.
    """
    if rows <= size:
        return pa.concat_tables(batches).combine_chunks()
    chosen = np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))
    parts, offset = [], 0
    for batch in batches:
        here = chosen[(chosen >= offset) & (chosen < offset + len(batch))] - offset
        if len(here):
            parts.append(batch.take(pa.array(here)))
        offset += len(batch)
    return pa.concat_tables(parts).combine_chunks()


def fold_of_rows(rows: int, folds: int, seed: int) -> NDArray[np.int64]:
    """Return a fold number per row; folds differ by at most one row in size."""
    return np.random.default_rng(seed).permutation(np.arange(rows) % folds)
