"""Divide staged rows into those a model is fitted on and those it is judged on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pynomaly.application.ports.data import DatasetStore
from pynomaly.application.training_marks import verdicts_of
from pynomaly.domain.datasets import Dataset
from pynomaly.domain.errors import NotTrainableError
from pynomaly.domain.pipelines import Pipeline

__all__ = [
    "TrainingRows",
    "fold_of_rows",
    "known_anomalies_apart",
    "known_labels",
    "oldest_first",
    "sample_table",
    "training_rows",
]

MIN_ROWS = 20


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows of a snapshot, divided the same way in every step of a run.

    Where the pipeline has a time column both parts are in time order, and every row of ``holdout``
    is at least as recent as those of ``fit``; else both are random draws in the snapshot's order.

    Args:
        fit: To fit on.
        holdout: Not to fit on.
    """

    fit: pa.Table
    holdout: pa.Table


def training_rows(pipeline: Pipeline, dataset: Dataset, datasets: DatasetStore) -> TrainingRows:
    """Sample and divide a staged dataset as the training policy says.

    Where the pipeline has a time column, the most recent rows are held out: a model is used on
    rows that come after those it was fitted on, and has to be judged on such.  Rows without a time
    count as the oldest: nothing says that they are recent, so they are learnt from.  Rows of one
    time stay in the snapshot's order.

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
    held_out = round(len(table) * policy.calibration_share)
    if pipeline.time_column is not None:
        order = oldest_first(table.column(pipeline.time_column))
        older, recent = np.split(order, [len(table) - held_out])
        return TrainingRows(table.take(pa.array(older)), table.take(pa.array(recent)))
    order = np.random.default_rng(policy.seed).permutation(len(table))
    fit, holdout = np.sort(order[held_out:]), np.sort(order[:held_out])
    return TrainingRows(table.take(pa.array(fit)), table.take(pa.array(holdout)))


def oldest_first(times: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return row numbers by time, missing times first, equal ones in order."""
    present = pc.is_valid(times).to_numpy()
    ticks = times.cast(pa.int64()) if pa.types.is_timestamp(times.type) else times
    return np.lexsort((pc.fill_null(ticks, 0).to_numpy(), present))


def known_labels(table: pa.Table, pipeline: Pipeline) -> NDArray[np.float64] | None:
    """Return (n,) labels with NaN for unknown; None where there is neither label nor verdict.

    What somebody said of a row counts for more than what its label column says.
    """
    labels = None
    if pipeline.label_column is not None:
        labels = np.asarray(table.column(pipeline.label_column).to_numpy(), dtype=np.float64)
    said = verdicts_of(table)
    if said is None:
        return labels
    return said if labels is None else np.where(np.isnan(said), labels, said)


def known_anomalies_apart(table: pa.Table, pipeline: Pipeline) -> tuple[pa.Table, pa.Table]:
    """Return the rows that calibrate, and the anomalies of the label column, which do not.

    Rows that were judged calibrate like all others: they were judged because they scored high, and
    without them every retraining would take rows for strange that were not before.
    """
    labels, said = known_labels(table, pipeline), verdicts_of(table)
    known = np.zeros(len(table), dtype=np.bool_) if labels is None else labels == 1
    if said is not None:
        known &= np.isnan(said)
    return table.filter(pa.array(~known)), table.filter(pa.array(known))


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
    """Return a random fold number per row; folds differ by at most one row in size.

    Args:
        rows: How many.
        folds: How many.
        seed: Of the draw.
    """
    return np.random.default_rng(seed).permutation(np.arange(rows) % folds)
