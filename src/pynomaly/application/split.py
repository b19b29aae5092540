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
    "MOST_ANOMALIES",
    "TrainingRows",
    "fold_of_rows",
    "known_anomalies_apart",
    "known_labels",
    "oldest_first",
    "training_rows",
]

MIN_ROWS = 20
MOST_ANOMALIES = 0.1
"""Share of the rows fitted on that are known anomalies, where they are brought together."""


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows of a snapshot, divided the same way in every step of a run.

    Where the pipeline has a time column both parts are in time order, and every row of ``holdout``
    is at least as recent as those of ``fit``; else both are random draws in the snapshot's order,
    known anomalies that were brought in last.

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

    Known anomalies of the label column that the draw has missed are fitted on as well, as far as
    they are older than what is held out: in a large table the draw would miss most of a few.  They
    make up a tenth of the rows fitted on at most, and take the places of others.  What is held out
    has the share of anomalies that the table has.

    Raises:
        NotTrainableError: Too few rows.
    """
    policy = pipeline.training
    size = round(policy.max_rows / (1 - policy.calibration_share))
    drawn = _drawn(dataset.rows, size, policy.seed)
    table = _rows_at(datasets.read(dataset.uri), drawn)
    if len(table) < MIN_ROWS:
        raise NotTrainableError(
            f"{dataset.snapshot.uri} has {len(table)} usable rows; at least {MIN_ROWS} are needed",
            hint="point the pipeline at a larger snapshot",
        )
    held_out = round(len(table) * policy.calibration_share)
    if pipeline.time_column is not None:
        order = oldest_first(table.column(pipeline.time_column))
        older, recent = np.split(order, [len(table) - held_out])
        rows = TrainingRows(table.take(pa.array(older)), table.take(pa.array(recent)))
    else:
        order = np.random.default_rng(policy.seed).permutation(len(table))
        fit, holdout = np.sort(order[held_out:]), np.sort(order[:held_out])
        rows = TrainingRows(table.take(pa.array(fit)), table.take(pa.array(holdout)))
    if pipeline.label_column is None or len(drawn) == dataset.rows:
        return rows
    return _with_missed_anomalies(rows, drawn, pipeline, dataset, datasets)


def _with_missed_anomalies(
    rows: TrainingRows,
    drawn: NDArray[np.int64],
    pipeline: Pipeline,
    dataset: Dataset,
    datasets: DatasetStore,
) -> TrainingRows:
    known = _known_anomalies(rows.fit, pipeline)
    room = round(MOST_ANOMALIES * len(rows.fit)) - int(known.sum())
    missed = np.setdiff1d(_anomalies_before(rows.holdout, pipeline, dataset, datasets), drawn)
    if room <= 0 or not len(missed):
        return rows
    rng = np.random.default_rng(pipeline.training.seed)
    missed = np.sort(rng.permutation(missed)[:room])
    added = _rows_at(datasets.read(dataset.uri), missed)
    others = rng.permutation(np.flatnonzero(~known))[len(added) :]
    kept = np.sort(np.concatenate([np.flatnonzero(known), others]))
    fit = pa.concat_tables([rows.fit.take(pa.array(kept)), added]).combine_chunks()
    if pipeline.time_column is not None:
        fit = fit.take(pa.array(oldest_first(fit.column(pipeline.time_column))))
    return TrainingRows(fit, rows.holdout)


def _anomalies_before(
    holdout: pa.Table, pipeline: Pipeline, dataset: Dataset, datasets: DatasetStore
) -> NDArray[np.int64]:
    """Return the numbers of all known anomalies that are no more recent than any held-out row."""
    time = pipeline.time_column
    names = [name for name in (pipeline.label_column, time) if name is not None]
    found, offset = [np.array([], dtype=np.int64)], 0
    for batch in datasets.read(dataset.uri, names):
        anomalies = _known_anomalies(batch, pipeline)
        if time is not None and len(holdout):
            # Without a time a row counts as the oldest, held out or not.
            older = pc.less_equal(batch.column(time), holdout.column(time)[0]).fill_null(False)
            anomalies &= pc.or_(older, batch.column(time).is_null()).to_numpy()
        found.append(np.flatnonzero(anomalies) + offset)
        offset += len(batch)
    return np.concatenate(found)


def _known_anomalies(table: pa.Table, pipeline: Pipeline) -> NDArray[np.bool_]:
    said = pc.equal(table.column(pipeline.label_column), 1.0)
    return np.asarray(said.fill_null(False).to_numpy(), dtype=np.bool_)


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


def _drawn(rows: int, size: int, seed: int) -> NDArray[np.int64]:
    """Return ``size`` row numbers drawn uniformly without replacement, ascending; all if fewer."""
    if rows <= size:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))


def _rows_at(batches: Iterator[pa.Table], numbers: NDArray[np.int64]) -> pa.Table:
    """Return the rows of a dataset with these ascending numbers, streaming."""
    parts, offset = [], 0
    for batch in batches:
        first, last = np.searchsorted(numbers, [offset, offset + len(batch)])
        here = numbers[first:last] - offset
        if len(here):
            parts.append(batch if len(here) == len(batch) else batch.take(pa.array(here)))
        offset += len(batch)
    return pa.concat_tables(parts).combine_chunks() if parts else pa.table({})


def fold_of_rows(rows: int, folds: int, seed: int) -> NDArray[np.int64]:
    """Return a random fold number per row; folds differ by at most one row in size.

    Args:
        rows: How many.
        folds: How many.
        seed: Of the draw.
    """
    return np.random.default_rng(seed).permutation(np.arange(rows) % folds)
