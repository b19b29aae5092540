"""Our records in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from pynomaly.domain.canaries import Comparison
from pynomaly.domain.errors import ConflictError, PynomalyError
from pynomaly.domain.quality import ValidationReport
from pynomaly.domain.releases import ModelVersion, Release, ReleaseEvent
from pynomaly.domain.runs import Run, ScoredBatch, StepRecord
from pynomaly.domain.transitions import Rule
from pynomaly.infrastructure.sqlalchemy import rows
from pynomaly.infrastructure.sqlalchemy.database import Database, insert_into
from pynomaly.infrastructure.sqlalchemy.releases import (
    events_of,
    move,
    observe,
    observed,
    on_its_way,
    production_of,
)
from pynomaly.infrastructure.sqlalchemy.tables import (
    batches,
    model_versions,
    releases,
    reports,
    runs,
    steps,
    written_outputs,
)

__all__ = ["SqlRecords"]

R = TypeVar("R", Run, ValidationReport, ModelVersion, Release, ScoredBatch)


class SqlRecords:
    """Implements ``Records`` (application/ports/records.py).

    Args:
        url: ``sqlite:///path`` or ``postgresql://user:password@host/database``.  Nothing is
            connected before the first use, which also creates or upgrades the tables.

    Raises:
        ConfigurationError: Not such a URL; on first use also an unreachable or foreign database.
        MissingExtraError: PostgreSQL without psycopg.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def start_run(self, run: Run) -> None:
        """Store a new run; an equal one may exist already."""
        self._insert(runs, run, rows.run)

    def finish_run(self, run: Run) -> None:
        """Replace the stored run by its finished state."""
        with self._database.write() as connection:
            found = connection.execute(
                sa.update(runs).where(runs.c.id == run.id).values(rows.row(run))
            )
            if found.rowcount == 0:
                raise PynomalyError(
                    f"run {run.id} cannot be finished: it was never started",
                    hint="call start_run first, on the same records database",
                )

    def run(self, run_id: str) -> Run | None:
        """Return a run by id."""
        found = self._one(sa.select(runs).where(runs.c.id == run_id))
        return rows.run(found) if found else None

    def runs(self, pipeline: str, limit: int = 20) -> tuple[Run, ...]:
        """Return the latest runs, newest first."""
        return tuple(map(rows.run, self._latest(runs, runs.c.started_at, pipeline, limit)))

    def add_step(self, step: StepRecord) -> None:
        """Store a finished step; a repeated (run, step) replaces the earlier one."""
        values = rows.row(step)
        with self._database.write() as connection:
            insert = insert_into(connection, steps).values(values)
            upsert = insert.on_conflict_do_update(index_elements=["run_id", "step"], set_=values)
            _execute(connection, upsert, f"step {step.step!r} belongs to unknown run {step.run_id}")

    def steps(self, run_id: str) -> tuple[StepRecord, ...]:
        """Return a run's steps in order of start."""
        query = sa.select(steps).where(steps.c.run_id == run_id)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(steps.c.started_at, steps.c.seq))
            return tuple(map(rows.step, found))

    def add_report(self, report: ValidationReport) -> None:
        """Store a validation report; an equal one may exist already."""
        self._insert(reports, report, rows.report)

    def report(self, report_id: str) -> ValidationReport | None:
        """Return a validation report by id."""
        found = self._one(sa.select(reports).where(reports.c.id == report_id))
        return rows.report(found) if found else None

    def report_of(self, pipeline: str, fingerprint: str) -> ValidationReport | None:
        """Return the latest validation report of a snapshot, by its content digest."""
        columns = reports.c
        query = sa.select(reports).where(
            columns.pipeline == pipeline, columns.fingerprint == fingerprint
        )
        newest_first = query.order_by(columns.created_at.desc(), columns.seq.desc())
        found = self._one(newest_first.limit(1))
        return rows.report(found) if found else None

    def add_version(self, version: ModelVersion) -> None:
        """Store a registered model version; an equal one may exist already."""
        self._insert(model_versions, version, rows.model_version)

    def version(self, pipeline: str, version: int) -> ModelVersion | None:
        """Return one version."""
        columns = model_versions.c
        query = sa.select(model_versions)
        found = self._one(query.where(columns.pipeline == pipeline, columns.version == version))
        return rows.model_version(found) if found else None

    def versions(self, pipeline: str) -> tuple[ModelVersion, ...]:
        """Return all versions, newest first."""
        columns = model_versions.c
        query = sa.select(model_versions).where(columns.pipeline == pipeline)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(columns.version.desc()))
            return tuple(map(rows.model_version, found))

    def add_release(self, release: Release) -> None:
        """Store a gated release (``candidate`` or ``blocked``); an equal one may exist already."""
        if release.state not in ("candidate", "blocked"):
            raise ValueError(f"a release begins as candidate or blocked, not {release.state}")
        self._insert(releases, release, rows.release)

    def move(self, pipeline: str, rule: Rule) -> tuple[Release, ...]:
        """Carry out a rule on the releases of a pipeline, as if nothing else happened meanwhile.

        Raises:
            PynomalyError: As the rule raised it; nothing was changed.
            ConflictError: Others kept deciding about the same pipeline.
        """
        return self._database.decide(lambda connection: move(connection, pipeline, rule))

    def events(self, pipeline: str, release_id: str | None = None) -> tuple[ReleaseEvent, ...]:
        """Return what happened to a pipeline's releases, or to one of them, oldest first."""
        with self._database.read() as connection:
            return events_of(connection, pipeline, release_id)

    def observe(self, release_id: str, step: int, seen: Mapping[str, Comparison]) -> None:
        """Keep what was seen of a release in a step; a partition counts once per step."""
        observe(self._database, release_id, step, seen)

    def observed(self, release_id: str, step: int) -> Comparison:
        """Return everything seen of a release in a step, added up."""
        with self._database.read() as connection:
            return observed(connection, release_id, step)

    def production(self, pipeline: str) -> Release | None:
        """Return the release that serves."""
        found = self._one(production_of(pipeline))
        return rows.release(found) if found else None

    def on_its_way(self, pipeline: str) -> Release | None:
        """Return the release that waits for approval, or is staged or rolled out."""
        found = self._one(on_its_way(pipeline))
        return rows.release(found) if found else None

    def release(self, release_id: str) -> Release | None:
        """Return a release by id."""
        found = self._one(sa.select(releases).where(releases.c.id == release_id))
        return rows.release(found) if found else None

    def releases(self, pipeline: str, limit: int = 20) -> tuple[Release, ...]:
        """Return the latest releases, newest first."""
        found = self._latest(releases, releases.c.created_at, pipeline, limit)
        return tuple(map(rows.release, found))

    def releases_of(self, run_id: str) -> tuple[Release, ...]:
        """Return the releases a run asked for, newest first."""
        query = sa.select(releases).where(releases.c.run_id == run_id)
        return tuple(map(rows.release, self._all(query, releases.c.created_at, releases.c.seq)))

    def add_batch(self, batch: ScoredBatch) -> None:
        """Store a scored batch; an equal one may exist already."""
        self._insert(batches, batch, rows.batch)

    def batches(self, pipeline: str, limit: int = 20) -> tuple[ScoredBatch, ...]:
        """Return the latest scored batches, newest first."""
        return tuple(map(rows.batch, self._latest(batches, batches.c.scored_at, pipeline, limit)))

    def batches_of(self, run_id: str) -> tuple[ScoredBatch, ...]:
        """Return the batches a run scored, newest first."""
        query = sa.select(batches).where(batches.c.run_id == run_id)
        return tuple(map(rows.batch, self._all(query, batches.c.scored_at, batches.c.seq)))

    def add_output(self, output_uri: str, digest: str) -> None:
        """Note that a file is about to be written; it may be noted already."""
        with self._database.write() as connection:
            values = {"output_uri": output_uri, "digest": digest}
            insert = insert_into(connection, written_outputs).values(values)
            connection.execute(insert.on_conflict_do_nothing())

    def wrote(self, output_uri: str, digest: str) -> bool:
        """Whether we have written, or were about to write, a file of this digest there."""
        query = sa.select(written_outputs).where(
            written_outputs.c.output_uri == output_uri, written_outputs.c.digest == digest
        )
        return self._one(query) is not None

    def pipelines(self) -> tuple[str, ...]:
        """Return names of all pipelines with a run, in alphabetical order."""
        with self._database.read() as connection:
            names = connection.scalars(sa.select(runs.c.pipeline).distinct())
            return tuple(sorted(names))  # here: the databases' collations differ

    def _one(self, query: sa.Select[Any]) -> sa.Row[Any] | None:
        with self._database.read() as connection:
            return connection.execute(query).one_or_none()

    def _all(self, query: sa.Select[Any], *newest: sa.Column[Any]) -> Sequence[sa.Row[Any]]:
        with self._database.read() as connection:
            return connection.execute(query.order_by(*(c.desc() for c in newest))).all()

    def _latest(
        self, table: sa.Table, moment: sa.Column[Any], pipeline: str, limit: int
    ) -> list[sa.Row[Any]]:
        query = sa.select(table).where(table.c.pipeline == pipeline)
        newest_first = query.order_by(moment.desc(), table.c.seq.desc()).limit(limit)
        with self._database.read() as connection:
            return list(connection.execute(newest_first))

    def _insert(self, table: sa.Table, record: R, read: Callable[[sa.Row[Any]], R]) -> None:
        """Insert once: a retried step may store the same record again, never a different one."""
        values = rows.row(record)
        key = [table.c.id] if "id" in table.c else list(table.primary_key.columns)
        what = f"{type(record).__name__} {'/'.join(str(values[column.name]) for column in key)}"
        with self._database.write() as connection:
            insert = insert_into(connection, table).values(values).on_conflict_do_nothing()
            # Inline: fetching the new key would hide the number of rows that were inserted.
            inserted = _execute(
                connection, insert.inline(), f"{what} names an unknown model version"
            )
            if inserted.rowcount == 1:
                return
            same_key = (column == values[column.name] for column in key)
            stored = read(connection.execute(sa.select(table).where(*same_key)).one())
            if rows.content(stored) != rows.content(record):
                raise ConflictError(
                    f"{what} is stored already, with other content",
                    hint="records are written once; give a new one a new id",
                )


def _execute(connection: sa.Connection, statement: sa.Insert, orphan: str) -> sa.CursorResult[Any]:
    """Execute an insert; ``orphan`` says what is wrong when it points at nothing."""
    try:
        return connection.execute(statement)
    except IntegrityError as error:
        if _is_orphan(error):
            raise PynomalyError(
                orphan, hint="store that first, in the same records database"
            ) from error
        raise


def _is_orphan(error: IntegrityError) -> bool:
    return (
        getattr(error.orig, "sqlite_errorname", None) == "SQLITE_CONSTRAINT_FOREIGNKEY"
        or getattr(error.orig, "sqlstate", None) == "23503"
    )
