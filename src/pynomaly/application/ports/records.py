"""Our own records; history and status read from them whichever engine ran."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pynomaly.domain.canaries import Comparison
from pynomaly.domain.quality import ValidationReport
from pynomaly.domain.releases import ModelVersion, Release, ReleaseEvent
from pynomaly.domain.runs import Run, ScoredBatch, StepRecord
from pynomaly.domain.transitions import Rule

__all__ = ["Records"]


class Records(Protocol):
    """A repository of everything the platform did.  Every method is one transaction."""

    def start_run(self, run: Run) -> None:
        """Store a new run."""

    def finish_run(self, run: Run) -> None:
        """Replace the stored run by its finished state."""

    def run(self, run_id: str) -> Run | None:
        """Return a run by id."""

    def runs(self, pipeline: str, limit: int = 20) -> tuple[Run, ...]:
        """Return the latest runs, newest first."""

    def add_step(self, step: StepRecord) -> None:
        """Store a finished step; a repeated (run, step) replaces the earlier one."""

    def steps(self, run_id: str) -> tuple[StepRecord, ...]:
        """Return a run's steps in order of start."""

    def add_report(self, report: ValidationReport) -> None:
        """Store a validation report."""

    def report(self, report_id: str) -> ValidationReport | None:
        """Return a validation report by id."""

    def report_of(self, pipeline: str, fingerprint: str) -> ValidationReport | None:
        """Return the latest validation report of a snapshot, by its content digest."""

    def add_version(self, version: ModelVersion) -> None:
        """Store a registered model version; an equal one may exist already."""

    def version(self, pipeline: str, version: int) -> ModelVersion | None:
        """Return one version."""

    def versions(self, pipeline: str) -> tuple[ModelVersion, ...]:
        """Return all versions, newest first."""

    def add_release(self, release: Release) -> None:
        """Store a gated release (``candidate`` or ``blocked``)."""

    def move(self, pipeline: str, rule: Rule) -> tuple[Release, ...]:
        """Carry out a rule on the releases of a pipeline, as if nothing else happened meanwhile.

        Every release that changes gets the pipeline's next fence, and an event on record.  The
        rule may be applied more than once; only its last answer counts.

        Returns:
            The changed releases as stored, in the order the rule gave; none if nothing changed.

        Raises:
            PynomalyError: As the rule raised it; nothing was changed.
        """

    def events(self, pipeline: str, release_id: str | None = None) -> tuple[ReleaseEvent, ...]:
        """Return what happened to a pipeline's releases, or to one of them, oldest first."""

    def observe(self, release_id: str, step: int, seen: Mapping[str, Comparison]) -> None:
        """Keep what was seen of a release in a step of its rollout.

        Args:
            release_id: Of which release.
            step: Of its rollout.
            seen: By what was read; rows that were counted in this step are not counted again.
        """

    def observed(self, release_id: str, step: int) -> Comparison:
        """Return everything seen of a release in a step, added up."""

    def production(self, pipeline: str) -> Release | None:
        """Return the release that serves."""

    def on_its_way(self, pipeline: str) -> Release | None:
        """Return the release that waits for approval, or is staged or rolled out."""

    def release(self, release_id: str) -> Release | None:
        """Return a release by id."""

    def releases(self, pipeline: str, limit: int = 20) -> tuple[Release, ...]:
        """Return the latest releases, newest first."""

    def releases_of(self, run_id: str) -> tuple[Release, ...]:
        """Return the releases a run asked for, newest first."""

    def add_batch(self, batch: ScoredBatch) -> None:
        """Store a scored batch."""

    def batches(self, pipeline: str, limit: int = 20) -> tuple[ScoredBatch, ...]:
        """Return the latest scored batches, newest first."""

    def batches_of(self, run_id: str) -> tuple[ScoredBatch, ...]:
        """Return the batches a run scored, newest first."""

    def add_output(self, output_uri: str, digest: str) -> None:
        """Note that a file is about to be written; it may be noted already.

        Said before the file appears, so that whatever happens next it is known to be ours.

        Args:
            output_uri: Where.
            digest: sha256 of its bytes, hex.
        """

    def wrote(self, output_uri: str, digest: str) -> bool:
        """Whether we have written, or were about to write, a file of this digest there."""

    def pipelines(self) -> tuple[str, ...]:
        """Return names of all pipelines with a run."""
