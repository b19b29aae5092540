"""The model registry and experiment tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pynomaly.domain.releases import ModelVersion, Release

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ModelRegistry", "Registration"]


@dataclass(frozen=True, slots=True)
class Registration:
    """Everything that is logged with a new version.

    Args:
        pipeline: Registered model name.
        run_id: Our run.
        folder: Model folder.
        manifest_digest: Of that folder.
        training_fingerprint: Content digest of the training snapshot.
        holdout_uri: Staged rows it was not fitted on.
        example: A few input rows (feature columns), for signature and serving example.
        params: Flat parameters.
        metrics: Flat metrics.
        trials: Tuning table: one mapping per trial.
        artifacts: Artifact path → local file (reports, plots, profile).
        tags: Of the version.
        description: Of the version, Markdown, for whoever finds it in the registry.
    """

    pipeline: str
    run_id: str
    folder: Path
    manifest_digest: str
    training_fingerprint: str
    holdout_uri: str
    example: pa.Table
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    trials: Sequence[Mapping[str, object]] = ()
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


class ModelRegistry(Protocol):
    """Holds versions, aliases and evidence.  Our release table decides; this one follows."""

    def register(self, registration: Registration) -> ModelVersion:
        """Log one run and create one version."""

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Fetch the version's model folder into ``folder``; returns the folder's path.

        Raises:
            IntegrityError: The registry has lost it.
            PynomalyError: The registry does not answer.
        """

    def artifact(self, version: ModelVersion, name: str) -> bytes:
        """Return an artifact that was logged with a version, as the registry has it now.

        Raises:
            IntegrityError: The registry has lost it.
        """

    def set_alias(self, pipeline: str, alias: str, version: int) -> None:
        """Point an alias at a version; moving it is fine."""

    def remove_alias(self, pipeline: str, alias: str) -> None:
        """Let an alias point nowhere; fine if it does already."""

    def aliases(self, pipeline: str) -> dict[str, int]:
        """Return where the aliases point; none for a pipeline without versions."""

    def holds(self, pipeline: str, version: int) -> bool:
        """Whether the registry has a version; somebody may have deleted it."""

    def tag(self, pipeline: str, version: int, tags: Mapping[str, str]) -> None:
        """Add tags to a version."""

    def describe(self, pipeline: str, releases: Sequence[Release], runs: Mapping[int, str]) -> None:
        """Say where people look at a pipeline's model how its versions stand.

        Args:
            pipeline: Has versions.
            releases: The latest ones, newest first.
            runs: The registry's own run of every version.
        """
