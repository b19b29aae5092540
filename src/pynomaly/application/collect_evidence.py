"""Everything that is on record about one model version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pynomaly.application.champion import ModelLoader
from pynomaly.application.ports.records import Records
from pynomaly.application.ports.registry import ModelRegistry
from pynomaly.application.register import PROFILE_ARTIFACT
from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.models import Model
from pynomaly.domain.quality import ValidationReport
from pynomaly.domain.releases import ModelVersion, Release, ReleaseEvent
from pynomaly.domain.runs import Run, StepRecord

__all__ = ["CollectEvidence", "VersionFacts"]

_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What a bundle is made of; a fact that nobody kept is None or empty.

    Args:
        version: As registered.
        model: As the registry holds it, verified.
        files: Of the model folder, by name.
        run: That trained it.
        steps: Of that run.
        report: Validation of the training snapshot.
        profile: JSON of its profile, as kept and verified.
        releases: Of this version, oldest first.
        events: Their transitions, oldest first.
    """

    version: ModelVersion
    model: Model
    files: Mapping[str, bytes]
    run: Run | None
    steps: tuple[StepRecord, ...]
    report: ValidationReport | None
    profile: bytes | None
    releases: tuple[Release, ...]
    events: tuple[ReleaseEvent, ...]

    @property
    def not_recorded(self) -> tuple[str, ...]:
        """What a bundle should hold and nobody kept, in words."""
        return tuple(self._not_recorded())

    def _not_recorded(self) -> Iterator[str]:
        card = self.model.card
        if not card.configuration:
            yield "the pipeline's configuration when it was trained"
        if not card.trials:
            yield "the tuning table"
        for key, what in (
            ("pynomaly_revision", "the commit of Pynomaly's own code (only its version)"),
            ("project_revision", "the commit of the project's configuration"),
        ):
            if key not in card.revision:
                yield what
        if self.run is None:
            yield "the run that trained it"
        if self.report is None:
            yield "the validation report of its training data"
        if self.profile is None:
            yield "the profile of its training data"
        if not self.releases:
            yield "any release: it was never put before the gates"

    def step(self, name: str) -> Mapping[str, Any]:
        """Return the summary of a step of the training run; empty where there was none."""
        return next((s.summary for s in self.steps if s.step == name), {})

    def events_of(self, release: Release) -> tuple[ReleaseEvent, ...]:
        """Return the transitions of one release, oldest first."""
        return tuple(event for event in self.events if event.release_id == release.id)


@dataclass(frozen=True, slots=True)
class CollectEvidence:
    """Read records and registry; what the registry gives counts only if our records know it.

    Args:
        records: What was done.
        loader: Fetches the model.
        registry: Keeps the profile.
    """

    records: Records
    loader: ModelLoader
    registry: ModelRegistry

    def __call__(self, pipeline: str, version: int | None) -> VersionFacts:
        """Collect.

        Args:
            pipeline: Which job.
            version: Of its model; the newest where None.

        Raises:
            UsageError: There is no such version.
            IntegrityError: The registry's model or profile is not what our records say.
        """
        found = self.loader.version(pipeline, version)
        with TemporaryDirectory() as work:
            folder = Path(work) / "model"
            self.loader.fetch(found, folder)  # never the cache: this is about the registry's copy
            model = self.loader.store.load(folder, found.manifest_digest)
            files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        steps = self.records.steps(found.run_id)
        releases = self.records.releases(pipeline, _ALL)
        return VersionFacts(
            version=found,
            model=model,
            files=files,
            run=self.records.run(found.run_id),
            steps=steps,
            report=self.records.report_of(pipeline, found.training_fingerprint),
            profile=self._profile(found, steps),
            releases=tuple(r for r in reversed(releases) if r.version == found.version),
            events=tuple(e for e in self.records.events(pipeline) if e.version == found.version),
        )

    def _profile(self, version: ModelVersion, steps: tuple[StepRecord, ...]) -> bytes | None:
        summary = next((step.summary for step in steps if step.step == "profile"), {})
        digest = summary.get("sha256")
        if digest is None:
            return None  # of old
        content = self.registry.artifact(version, PROFILE_ARTIFACT)
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise IntegrityError(
                f"{PROFILE_ARTIFACT} of version {version.version} of '{version.pipeline}' in the "
                f"registry has sha256 {found}; when it was registered it had {digest}",
                hint="restore the registry's files; evidence is not exported with it",
            )
        json.loads(content)
        return content
