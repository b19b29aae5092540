"""Describe a source or a staged dataset column by column, from a uniform sample."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pynomaly.application.ports.data import DatasetStore, Source, Sources
from pynomaly.application.profiling import profile_table, sample_rows
from pynomaly.domain.datasets import Dataset
from pynomaly.domain.errors import NotTrainableError
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.profiles import Profile
from pynomaly.domain.sources import SourceSpec

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ProfileDataset", "ProfileSource", "profile_document", "profile_source"]

MIN_DISTINCT_IDS = 0.95
"""Share of rows with an id of their own below which a column is taken for no id at all."""


def profile_document(profile: Profile) -> bytes:
    """Return a profile as the JSON that is kept of it."""
    return json.dumps(asdict(profile), default=str, indent=1).encode()


@dataclass(frozen=True, slots=True)
class ProfileSource:
    """Profile raw data that no pipeline describes yet.

    Args:
        sources: Open it.
        sample_rows: Drawn from larger sources.
    """

    sources: Sources
    sample_rows: int

    def __call__(
        self,
        spec: SourceSpec,
        *,
        id_columns: tuple[str, ...] = (),
        time_column: str | None = None,
        label_column: str | None = None,
        excluded: tuple[str, ...] = (),
    ) -> Profile:
        """Return the profile of ``spec``.

        Args:
            spec: What to read.
            id_columns: Columns that identify a row.
            time_column: Event time.
            label_column: 1 = anomaly, 0 = normal.
            excluded: Columns to leave out.

        Raises:
            NotTrainableError: A named column is missing, the id is none, or no column is left to
                learn from.
        """
        _, profile = profile_source(
            self.sources.open(spec),
            spec.uri,
            self.sample_rows,
            id_columns=id_columns,
            time_column=time_column,
            label_column=label_column,
            excluded=excluded,
        )
        return profile


def profile_source(
    source: Source,
    uri: str,
    size: int,
    *,
    id_columns: tuple[str, ...] = (),
    time_column: str | None = None,
    label_column: str | None = None,
    excluded: tuple[str, ...] = (),
) -> tuple[pa.Table, Profile]:
    """Read a source once and return a uniform sample of its raw rows with their profile.

    Args:
        source: Read to its end, so that its snapshot is known afterwards.
        uri: For messages.
        size: Rows to draw at most.
        id_columns: Columns that identify a row.
        time_column: Event time.
        label_column: 1 = anomaly, 0 = normal.
        excluded: Columns to leave out.

    Raises:
        NotTrainableError: A named column is missing, the id is none, or no column is left to
            learn from.
    """
    present = [name for name, _ in source.columns]
    for name in (*id_columns, time_column, label_column, *excluded):
        if name is not None and name not in present:
            raise NotTrainableError(
                f"{uri} has no column '{name}'",
                hint=f"its columns are: {', '.join(present)}",
            )
    sample, rows = sample_rows((batch.table for batch in source.batches()), size, seed=0)
    if id_columns:
        distinct = sample.group_by(list(id_columns)).aggregate([]).num_rows
        if distinct < MIN_DISTINCT_IDS * len(sample):
            raise NotTrainableError(
                f"{', '.join(id_columns)} does not identify rows: {distinct:,} distinct "
                f"values in {len(sample):,} rows of {uri}",
                hint="name the columns that together do, or none",
            )
    profile = profile_table(
        sample,
        rows,
        id_columns=id_columns,
        time_column=time_column,
        label_column=label_column,
        excluded=excluded,
    )
    if not any(c.role in ("feature", "time") and c.kind != "text" for c in profile.columns):
        dropped = "; ".join(f"{c.name}: {c.reason}" for c in profile.columns)
        raise NotTrainableError(
            f"{uri} has no column to learn from ({dropped})",
            hint="at least one numeric, categorical, boolean or datetime column must vary",
        )
    return sample, profile


@dataclass(frozen=True, slots=True)
class ProfileDataset:
    """Profile the accepted rows of a pipeline.

    Args:
        datasets: Read them.
        sample_rows: Drawn from larger datasets.
    """

    datasets: DatasetStore
    sample_rows: int

    def __call__(self, pipeline: Pipeline, dataset: Dataset) -> Profile:
        """Return the profile of a staged dataset, roles as the pipeline declares them."""
        names = list(pipeline.schema.names)
        sample, rows = sample_rows(self.datasets.read(dataset.uri, names), self.sample_rows, seed=0)
        return profile_table(
            sample,
            rows,
            id_columns=pipeline.id_columns,
            time_column=pipeline.time_column,
            label_column=pipeline.label_column,
            excluded=(),
        )
