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
from pynomaly.domain.datasets import Schema
from pynomaly.domain.drafting import draft_pipeline
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline, SourceSpec, TrainingPolicy
from pynomaly.domain.profiles import Profile

__all__ = ["divide", "learning_rows", "pipeline_of_the_moment", "split_rows"]


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

    Where there are labels every labelled row of the source is among those to fit on, as far as
    ``size`` allows; the sample alone would hold few of them.

    Args:
        sample: Raw rows drawn uniformly.
        source: Where they came from.
        pipeline: Declares kinds, label and seed.
        size: Rows to fit on at most.
    """
    rows, _ = divide(SourceBatch(sample), pipeline)
    seed, label = pipeline.training.seed, pipeline.label_column
    if label is not None:
        labelled, _ = sample_rows(_labelled(source, pipeline, label), size, seed)
        if len(labelled):
            unlabelled = rows.filter(pc.is_null(rows.column(label)))
            rows = pa.concat_tables([labelled, unlabelled]).combine_chunks()
    return split_rows(rows, size, seed, label)


def split_rows(
    rows: pa.Table, size: int, seed: int, label: str | None = None
) -> tuple[pa.Table, pa.Table]:
    """Return ``size`` rows drawn uniformly, in order, and the others in random order.

    Args:
        rows: Conformed.
        size: Rows to fit on at most.
        seed: Of the draw.
        label: Column of labels; labelled rows are drawn first, and never among the others.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    unknown = np.ones(len(rows), dtype=np.bool_)
    if label is not None:
        unknown = pc.is_null(rows.column(label), nan_is_null=True).to_numpy()
        order = order[np.argsort(unknown[order], kind="stable")]
    others = order[size:]
    return (
        rows.take(pa.array(np.sort(order[:size]))),
        rows.take(pa.array(others[unknown[others]])),
    )


def _labelled(source: Source, pipeline: Pipeline, label: str) -> Iterator[pa.Table]:
    for batch in source.batches():
        known = batch.table.filter(pc.is_valid(batch.table.column(label)))
        if len(known):
            rows, _ = divide(SourceBatch(known), pipeline)
            yield rows.filter(pc.is_valid(rows.column(label)))
