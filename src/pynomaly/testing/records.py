"""Records in memory, as strict as a database about what it is given."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import TypeVar

from pynomaly.domain.canaries import Comparison, together
from pynomaly.domain.errors import ConflictError, PynomalyError
from pynomaly.domain.quality import ValidationReport
from pynomaly.domain.releases import ACTIVE, ModelVersion, Release, ReleaseEvent
from pynomaly.domain.runs import Run, ScoredBatch, StepRecord
from pynomaly.domain.transitions import Rule, event_of

__all__ = ["InMemoryRecords"]

K = TypeVar("K", bound=Hashable)
R = TypeVar("R", Run, StepRecord, ValidationReport, ModelVersion, Release, ScoredBatch)


class InMemoryRecords:
    """Implements ``Records`` (application/ports/records.py); forgets everything when it goes.

    >>> InMemoryRecords().production("payments") is None
    True
    """

    def __init__(self) -> None:
        # Dictionaries keep the order of arrival, which breaks ties between equal timestamps.
        self._runs: dict[str, Run] = {}
        self._steps: dict[tuple[str, str], StepRecord] = {}
        self._reports: dict[str, ValidationReport] = {}
        self._versions: dict[tuple[str, int], ModelVersion] = {}
        self._releases: dict[str, Release] = {}
        self._events: list[ReleaseEvent] = []
        self._seen: dict[tuple[str, int], dict[str, Comparison]] = {}
        self._batches: dict[str, ScoredBatch] = {}
        self._outputs: set[tuple[str, str]] = set()
        self._lock = threading.RLock()

    def start_run(self, run: Run) -> None:
        """Store a new run; an equal one may exist already."""
        self._insert(self._runs, run.id, run)

    def finish_run(self, run: Run) -> None:
        """Replace the stored run by its finished state."""
        _check_moments(run)
        if run.id not in self._runs:
            raise PynomalyError(f"run {run.id} cannot be finished: it was never started")
        self._runs[run.id] = run

    def run(self, run_id: str) -> Run | None:
        """Return a run by id."""
        return self._runs.get(run_id)

    def runs(self, pipeline: str, limit: int = 20) -> tuple[Run, ...]:
        """Return the latest runs, newest first."""
        found = (run for run in self._runs.values() if run.pipeline == pipeline)
        return _newest(found, lambda run: run.started_at)[:limit]

    def add_step(self, step: StepRecord) -> None:
        """Store a finished step; a repeated (run, step) replaces the earlier one."""
        _check_moments(step)
        if step.run_id not in self._runs:
            raise PynomalyError(f"step {step.step!r} belongs to unknown run {step.run_id}")
        # What is not JSON fails here as it would in a database, and lists come back for tuples.
        summary = json.loads(json.dumps(dict(step.summary)))
        self._steps[step.run_id, step.step] = replace(step, summary=summary)

    def steps(self, run_id: str) -> tuple[StepRecord, ...]:
        """Return a run's steps in order of start."""
        found = (step for step in self._steps.values() if step.run_id == run_id)
        return tuple(sorted(found, key=lambda step: step.started_at))

    def add_report(self, report: ValidationReport) -> None:
        """Store a validation report; an equal one may exist already."""
        self._insert(self._reports, report.id, report)

    def report(self, report_id: str) -> ValidationReport | None:
        """Return a validation report by id."""
        return self._reports.get(report_id)

    def report_of(self, pipeline: str, fingerprint: str) -> ValidationReport | None:
        """Return the latest validation report of a snapshot, by its content digest."""
        found = (
            report
            for report in self._reports.values()
            if (report.pipeline, report.snapshot.fingerprint.content) == (pipeline, fingerprint)
        )
        return next(iter(_newest(found, lambda report: report.created_at)), None)

    def add_version(self, version: ModelVersion) -> None:
        """Store a registered model version; an equal one may exist already."""
        self._insert(self._versions, (version.pipeline, version.version), version)

    def version(self, pipeline: str, version: int) -> ModelVersion | None:
        """Return one version."""
        return self._versions.get((pipeline, version))

    def versions(self, pipeline: str) -> tuple[ModelVersion, ...]:
        """Return all versions, newest first."""
        found = (version for version in self._versions.values() if version.pipeline == pipeline)
        return tuple(sorted(found, key=lambda version: version.version, reverse=True))

    def add_release(self, release: Release) -> None:
        """Store a gated release (``candidate`` or ``blocked``); an equal one may exist already."""
        if release.state not in ("candidate", "blocked"):
            raise ValueError(f"a release begins as candidate or blocked, not {release.state}")
        self._require_version(release, release.version)
        self._insert(self._releases, release.id, release)

    def move(self, pipeline: str, rule: Rule) -> tuple[Release, ...]:
        """Carry out a rule on the releases of a pipeline."""
        with self._lock:
            book = [r for r in self._releases.values() if r.pipeline == pipeline]
            moved = rule(book)
            fence = max((release.fence for release in book), default=0)
            stored = []
            for transition in reversed(moved):  # what stops serving makes room first
                fence += 1
                before = self._releases[transition.release.id]
                after = replace(transition.release, fence=fence)
                self._refuse_second(after)
                self._releases[after.id] = after
                self._events.append(event_of(transition, before.state, fence))
                stored.append(after)
            return tuple(reversed(stored))

    def _refuse_second(self, release: Release) -> None:
        """Be as strict as the unique indices of a database."""
        for exclusive in (frozenset({"production"}), ACTIVE):
            others = (
                r
                for r in self._releases.values()
                if (r.pipeline, r.state in exclusive) == (release.pipeline, True)
                and r.id != release.id
            )
            if release.state in exclusive and any(others):
                raise ConflictError(f"'{release.pipeline}' would have two releases {exclusive}")

    def events(self, pipeline: str, release_id: str | None = None) -> tuple[ReleaseEvent, ...]:
        """Return what happened to a pipeline's releases, or to one of them, oldest first."""
        return tuple(
            event
            for event in self._events
            if event.pipeline == pipeline and release_id in (None, event.release_id)
        )

    def observe(self, release_id: str, step: int, seen: Mapping[str, Comparison]) -> None:
        """Keep what was seen of a release in a step of its rollout."""
        with self._lock:
            kept = self._seen.setdefault((release_id, step), {})
            for key, comparison in seen.items():
                kept.setdefault(key, comparison)

    def observed(self, release_id: str, step: int) -> Comparison:
        """Return everything seen of a release in a step, added up."""
        return together(self._seen.get((release_id, step), {}).values())

    def production(self, pipeline: str) -> Release | None:
        """Return the release that serves."""
        for release in self._releases.values():
            if release.pipeline == pipeline and release.state == "production":
                return release
        return None

    def on_its_way(self, pipeline: str) -> Release | None:
        """Return the release that waits for approval, or is staged or rolled out."""
        for release in self._releases.values():
            if release.pipeline == pipeline and release.state in ACTIVE:
                return release
        return None

    def release(self, release_id: str) -> Release | None:
        """Return a release by id."""
        return self._releases.get(release_id)

    def releases(self, pipeline: str, limit: int = 20) -> tuple[Release, ...]:
        """Return the latest releases, newest first."""
        found = (release for release in self._releases.values() if release.pipeline == pipeline)
        return _newest(found, lambda release: release.created_at)[:limit]

    def releases_of(self, run_id: str) -> tuple[Release, ...]:
        """Return the releases a run asked for, newest first."""
        found = (release for release in self._releases.values() if release.run_id == run_id)
        return _newest(found, lambda release: release.created_at)

    def add_batch(self, batch: ScoredBatch) -> None:
        """Store a scored batch; an equal one may exist already."""
        self._require_version(batch, batch.model_version)
        self._insert(self._batches, batch.id, batch)

    def batches(self, pipeline: str, limit: int = 20) -> tuple[ScoredBatch, ...]:
        """Return the latest scored batches, newest first."""
        found = (batch for batch in self._batches.values() if batch.pipeline == pipeline)
        return _newest(found, lambda batch: batch.scored_at)[:limit]

    def batches_of(self, run_id: str) -> tuple[ScoredBatch, ...]:
        """Return the batches a run scored, newest first."""
        found = (batch for batch in self._batches.values() if batch.run_id == run_id)
        return _newest(found, lambda batch: batch.scored_at)

    def add_output(self, output_uri: str, digest: str) -> None:
        """Note that a file is about to be written; it may be noted already."""
        self._outputs.add((output_uri, digest))

    def wrote(self, output_uri: str, digest: str) -> bool:
        """Whether we have written, or were about to write, a file of this digest there."""
        return (output_uri, digest) in self._outputs

    def pipelines(self) -> tuple[str, ...]:
        """Return names of all pipelines with a run, in alphabetical order."""
        return tuple(sorted({run.pipeline for run in self._runs.values()}))

    def _insert(self, table: dict[K, R], key: K, record: R) -> None:
        _check_moments(record)
        with self._lock:
            if table.setdefault(key, record) != record:
                raise ConflictError(
                    f"{type(record).__name__} {key} is stored already, with other content"
                )

    def _require_version(self, record: Release | ScoredBatch, version: int) -> None:
        if (record.pipeline, version) not in self._versions:
            raise PynomalyError(
                f"{type(record).__name__} {record.id} names an unknown model version"
            )


def _newest(records: Iterable[R], moment: Callable[[R], datetime]) -> tuple[R, ...]:
    """Newest first; of equal moments, the last to arrive first."""
    return tuple(sorted(records, key=moment))[::-1]


def _check_moments(record: R) -> None:
    for name in (field.name for field in fields(record)):
        value = getattr(record, name)
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError(f"{type(record).__name__}.{name} has no time zone: {value}")
