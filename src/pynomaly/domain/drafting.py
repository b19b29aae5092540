"""A first draft of a pipeline from what its data look like."""

from __future__ import annotations

from pynomaly.domain.datasets import Schema
from pynomaly.domain.expectations import derive_expectations
from pynomaly.domain.pipelines import Pipeline, ValidationPolicy
from pynomaly.domain.profiles import Profile
from pynomaly.domain.sources import SourceSpec

__all__ = ["draft_pipeline"]


def draft_pipeline(
    name: str,
    source: SourceSpec,
    profile: Profile,
    *,
    id_columns: tuple[str, ...] = (),
    time_column: str | None = None,
    label_column: str | None = None,
    excluded: tuple[str, ...] = (),
) -> Pipeline:
    """Return a pipeline whose schema and expectations come from a profile.

    Args:
        name: Of the pipeline.
        source: Where its rows come from.
        profile: Of a snapshot of them.
        id_columns: Identify a row.
        time_column: Event time.
        label_column: 1 = anomaly, 0 = normal.
        excluded: To leave out, on top of what the profile drops.
    """
    kept = [c for c in profile.columns if c.role != "dropped" and c.name not in excluded]
    dropped = [c.name for c in profile.columns if c.role == "dropped" and c.name not in excluded]
    return Pipeline(
        name=name,
        source=source,
        schema=Schema(tuple(c.column for c in kept)),
        id_columns=id_columns,
        time_column=time_column,
        label_column=label_column,
        excluded=(*excluded, *dropped),
        validation=ValidationPolicy(expectations=derive_expectations(profile)),
    )
