"""Questions about what was done, answered from our own records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pynomaly.application.lost_runs import as_found
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.records import Records
from pynomaly.application.ports.run_leases import RunLeases
from pynomaly.domain.canaries import judge
from pynomaly.domain.errors import UsageError
from pynomaly.domain.releases import Release
from pynomaly.domain.runs import Run, ScoredBatch

__all__ = ["Queries", "known_release"]

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Queries:
    """Reads for people and programs; every answer is JSON-able but for datetimes."""

    records: Records
    run_leases: RunLeases
    ledger: Ledger

    def runs(self, pipeline: str, limit: int = 20) -> tuple[Run, ...]:
        """Return the latest runs, newest first; one whose process died is failed."""
        leases, now = self.run_leases.leases(), datetime.now(UTC)
        return tuple(as_found(run, leases, now) for run in self.records.runs(pipeline, limit))

    def status(self, pipeline: str) -> Document:
        """Return what serves, what ran last and what was scored last."""
        production = self.records.production(pipeline)
        active = self.records.on_its_way(pipeline)
        runs = self.runs(pipeline, 1)
        batches = self.records.batches(pipeline, 1)
        releases = self.records.releases(pipeline, 1)
        return {
            "pipeline": pipeline,
            "champion": asdict(production) if production else None,
            "last_run": asdict(runs[0]) if runs else None,
            "on_its_way": asdict(active) if active else None,
            "last_release": asdict(releases[0]) if releases else None,
            "last_batch": self._batch(batches[0]) if batches else None,
            "versions": len(self.records.versions(pipeline)),
        }

    def _batch(self, batch: ScoredBatch) -> Document:
        """Return a batch, and what became of its scores: whether any are kept, and how many not."""
        left = self.ledger.progress(batch.id)
        return {
            **asdict(batch),
            "kept": self.ledger.job(batch.id) is not None,
            "partitions_gone": left.pending + left.leased + left.failed,
        }

    def history(self, pipeline: str, limit: int = 20) -> Document:
        """Return the latest runs with their steps, newest first."""
        return {
            "pipeline": pipeline,
            "runs": [
                {
                    **asdict(run),
                    "steps": [_step(asdict(step)) for step in self.records.steps(run.id)],
                }
                for run in self.runs(pipeline, limit)
            ],
        }

    def models(self, pipeline: str) -> Document:
        """Return all versions, newest first, with what became of each."""
        releases = {r.version: r for r in reversed(self.records.releases(pipeline, 1_000))}
        if production := self.records.production(pipeline):
            releases[production.version] = production
        return {
            "pipeline": pipeline,
            "models": [
                {
                    **asdict(version),
                    "state": releases[version.version].state
                    if version.version in releases
                    else "registered",
                    "verdict": releases[version.version].verdict
                    if version.version in releases
                    else None,
                }
                for version in self.records.versions(pipeline)
            ],
        }

    def releases(self, pipeline: str, limit: int = 20) -> Document:
        """Return the latest releases, newest first."""
        found = self.records.releases(pipeline, limit)
        return {
            "pipeline": pipeline,
            "releases": [{**asdict(release), "share": release.share} for release in found],
        }

    def release(self, release_id: str) -> Document:
        """Return a release with its gates, its history, and what its present step saw.

        Raises:
            UsageError: There is no such release.
        """
        release = known_release(self.records, release_id)
        seen = finding = None
        if release.step is not None and release.rollout is not None:
            seen = self.records.observed(release.id, release.step)
            finding = judge(seen, release.rollout)
        return {
            **asdict(release),
            "share": release.share,
            "events": [asdict(e) for e in self.records.events(release.pipeline, release.id)],
            "seen": asdict(seen) if seen else None,
            "finding": asdict(finding) if finding else None,
        }


def known_release(records: Records, release_id: str) -> Release:
    """Return a release by id.

    Raises:
        UsageError: There is no such release.
    """
    release = records.release(release_id)
    if release is None:
        raise UsageError(
            f"there is no release {release_id}", hint="list them: pynomaly releases list PIPELINE"
        )
    return release


def _step(step: Mapping[str, Any]) -> Document:
    return {key: value for key, value in step.items() if key != "run_id"}
