"""From raw rows of a source that no pipeline describes to typed rows, and those to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pynomaly.application.conform import conform
from pynomaly.application.ports.data import Source, SourceBatch
from pynomaly.application.profiling import sample_rows
from pynomaly.application.quarantine import quarantined_rows, reasons_by_row, without_rows
from pynomaly.application.split import MOST_ANOMALIES
from pynomaly.domain.datasets import Schema
from pynomaly.domain.drafting import draft_pipeline
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline, TrainingPolicy
from pynomaly.domain.profiles import Profile
from pynomaly.domain.sources import SourceSpec

__all__ = [
    "divide",
    "learning_rows",
    "most_anomalies",
    "pipeline_of_the_moment",
    "split_rows",
]


def pipeline_of_the_moment(
    profile: Profile,
    *,
    id_columns: tuple[str, ...],
    time_column: str | None,
    label_column: str | None,
    training: TrainingPolicy,
    decision: DecisionPolicy,
) -> Pipeline:
    """Return a pipeline for one table, read as its profile says; nobody stores it.

    A value may be missing anywhere: there is no contract that it would break, and a missing value
    is imputed and, where that is unusual, counts as strange.
    """
    drafted = draft_pipeline(
        "detect",
        SourceSpec(""),
        profile,
        id_columns=id_columns,
        time_column=time_column,
        label_column=label_column,
    )
    columns = tuple(replace(column, nullable=True) for column in drafted.schema.columns)
    return replace(drafted, schema=Schema(columns), training=training, decision=decision)


def divide(batch: SourceBatch, pipeline: Pipeline) -> tuple[pa.Table, pa.Table]:
    """Return the typed rows of a batch, and those that could not be read with their reasons."""
    table, unreadable = conform(batch.table, pipeline)
    reasons = reasons_by_row(unreadable)
    return without_rows(table, reasons), quarantined_rows(batch, reasons)


def learning_rows(
    sample: pa.Table, source: Source, pipeline: Pipeline, size: int
) -> tuple[pa.Table, pa.Table]:
    """Return typed rows to fit on, and the rest of the sample.

    Where there are labels, labelled rows of the whole source are among those to fit on; the sample
    alone would hold few of them.

    Args:
        sample: Raw rows drawn uniformly.
        source: Where they came from, read before.
        pipeline: Declares kinds, label and seed.
        size: Rows to fit on at most.
    """
    rows, _ = divide(SourceBatch(sample), pipeline)
    seed, label = pipeline.training.seed, pipeline.label_column
    if label is None:
        return split_rows(rows, size, seed)
    most = most_anomalies(rows.column(label), size)
    if source.snapshot().rows > len(sample):
        found = [
            sample_rows(_labelled(source, pipeline, label, said), wanted, seed)[0]
            for said, wanted in ((1.0, most), (0.0, size))
        ]
        unlabelled = rows.filter(pc.is_null(rows.column(label)))
        rows = pa.concat_tables([*filter(len, found), unlabelled]).combine_chunks()
    return split_rows(rows, size, seed, label, most)


def split_rows(
    rows: pa.Table, size: int, seed: int, label: str | None = None, most: int | None = None
) -> tuple[pa.Table, pa.Table]:
    """Return ``size`` rows drawn at random, in order, and the others in random order.

    Args:
        rows: Conformed.
        size: Rows to fit on at most.
        seed: Of the draw.
        label: Column of labels; known anomalies are drawn first, then rows known to be normal, and
            none of either is among the others.
        most: Known anomalies to draw; :func:`most_anomalies` of these rows where None.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    unknown = np.ones(len(rows), dtype=np.bool_)
    if label is not None:
        labels = np.asarray(rows.column(label).to_numpy(), dtype=np.float64)
        unknown = np.isnan(labels)
        if most is None:
            most = most_anomalies(rows.column(label), size)
        order = order[np.argsort(np.where(unknown, 2, 1 - labels)[order], kind="stable")]
        order = np.delete(order, np.s_[most : np.count_nonzero(labels == 1)])
    others = order[size:]
    return (
        rows.take(pa.array(np.sort(order[:size]))),
        rows.take(pa.array(others[unknown[others]])),
    )


def most_anomalies(labels: pa.ChunkedArray, size: int) -> int:
    """Return how many known anomalies to fit on among ``size`` rows.

    All of them, where they are few: they are worth more than other rows.  A tenth of the rows
    leaves what is ordinary recognisable; where a uniform draw would hold more, so many.

    Args:
        labels: Of rows drawn uniformly.
        size: Rows to fit on.
    """
    known = pc.sum(pc.equal(labels, 1.0)).as_py() or 0
    return max(round(size * MOST_ANOMALIES), round(size * known / max(len(labels), 1)))


def _labelled(source: Source, pipeline: Pipeline, label: str, said: float) -> Iterator[pa.Table]:
    for batch in source.batches():
        known = batch.table.filter(pc.is_valid(batch.table.column(label)))
        if len(known):
            rows, _ = divide(SourceBatch(known), pipeline)
            yield rows.filter(pc.equal(rows.column(label), said))
