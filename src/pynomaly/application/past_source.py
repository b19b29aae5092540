"""Where the data of a past job is to be read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pynomaly.application.ports.partitions import PartitionReader
from pynomaly.domain.errors import ConfigurationError, SourceNotFoundError
from pynomaly.domain.ledger import Entry, ScoreJob
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.sources import SourceSpec

__all__ = ["moved", "past_source"]


def past_source(
    reader: PartitionReader, job: ScoreJob, pipeline: Pipeline, data: str | None
) -> SourceSpec:
    """Return the source that a job scored.

    Args:
        reader: Knows how plans call sources.
        job: Keeps addresses without passwords.
        pipeline: Whose source it may have been.
        data: Where the same data is now; where it was then if None.

    Raises:
        ConfigurationError: A database that is not the pipeline's own; its password is not kept.
    """
    if data is not None:
        return pipeline.source.at(data)
    if reader.place(pipeline.source) == job.source_uri:
        return pipeline.source
    if _is_database(job.source_uri):
        raise ConfigurationError(
            f"{job.source_uri} was scored, which is not the source of '{job.pipeline}', and "
            "addresses are kept without passwords",
            hint="give the address again: --data URI",
        )
    return pipeline.source.at(job.source_uri)


def moved(reader: PartitionReader, entries: Sequence[Entry], spec: SourceSpec) -> tuple[Entry, ...]:
    """Return partitions at the place where the same files are now.

    Args:
        reader: Finds them.
        entries: As they were scored.
        spec: The new place.

    Raises:
        SourceNotFoundError: A file of that name is not there.
    """
    if _is_database(spec.uri):
        return tuple(entries)  # tables are found through the address alone
    plan = reader.plan(spec, partition_rows=1_000_000)
    places = {partition.name: partition.source for partition in plan.partitions}
    gone = [entry.partition.name for entry in entries if entry.partition.name not in places]
    if gone:
        raise SourceNotFoundError(
            f"{spec.uri} has no file called {gone[0]}, of which rows were scored",
            hint="name the same files at another place: a file as a file, a folder as a folder",
        )
    return tuple(
        replace(e, partition=replace(e.partition, source=places[e.partition.name])) for e in entries
    )


def _is_database(uri: str) -> bool:
    return "://" in uri and not uri.startswith("s3://")
