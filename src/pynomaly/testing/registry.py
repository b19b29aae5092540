"""A model registry that keeps folders in a directory and everything else in memory."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pynomaly.domain.errors import IntegrityError, OutputExistsError, PynomalyError
from pynomaly.domain.releases import ModelVersion, Release

if TYPE_CHECKING:
    from pynomaly.application.ports.registry import Registration

__all__ = ["InMemoryRegistry"]


class InMemoryRegistry:
    """Implements ``ModelRegistry`` (application/ports/registry.py).

    Args:
        root: Directory for the folders of registered models, e.g. pytest's ``tmp_path``.

    Attributes:
        registrations: ``(pipeline, version)`` → what was logged with it.
        tags: ``(pipeline, version)`` → tags of the version.
        described: Pipeline → the releases its page tells of, and the run of every version.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.registrations: dict[tuple[str, int], Registration] = {}
        self._aliases: dict[tuple[str, str], int] = {}
        self.tags: dict[tuple[str, int], dict[str, str]] = {}
        self.described: dict[str, tuple[tuple[Release, ...], dict[int, str]]] = {}

    def register(self, registration: Registration) -> ModelVersion:
        """Copy the model folder and create one version, counted from 1 per pipeline."""
        pipeline = registration.pipeline
        number = 1 + sum(name == pipeline for name, _ in self.registrations)
        shutil.copytree(registration.folder, self._folder(pipeline, number))
        for name, local in registration.artifacts.items():
            kept = self._artifacts_folder(pipeline, number) / name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(local, kept)
        self.registrations[pipeline, number] = registration
        self.tags[pipeline, number] = dict(registration.tags)
        return ModelVersion(
            pipeline=pipeline,
            version=number,
            uri=self._folder(pipeline, number).as_uri(),
            manifest_digest=registration.manifest_digest,
            run_id=registration.run_id,
            tracking_run_id=f"{pipeline}-{number}",
            training_fingerprint=registration.training_fingerprint,
            holdout_uri=registration.holdout_uri,
            created_at=datetime.now(UTC),
        )

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Fetch the version's model folder as ``folder``, which must be new or empty.

        Raises:
            OutputExistsError: ``folder`` has content.
            IntegrityError: There is no such version, or its files are gone.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputExistsError(f"{folder} exists and is not empty")
        stored = self._folder(version.pipeline, version.version)
        if not stored.is_dir():
            raise IntegrityError(f"the registry has no {version.pipeline} {version.version}")
        shutil.copytree(stored, folder, dirs_exist_ok=True)
        return folder

    def artifact(self, version: ModelVersion, name: str) -> bytes:
        """Return an artifact that was logged with a version.

        Raises:
            IntegrityError: There is none of that name.
        """
        kept = self._artifacts_folder(version.pipeline, version.version) / name
        if not kept.is_file():
            raise IntegrityError(f"the registry has no {name} of version {version.version}")
        return kept.read_bytes()

    def set_alias(self, pipeline: str, alias: str, version: int) -> None:
        """Point an alias at a version; moving it is fine."""
        self._require(pipeline, version)
        self._aliases[pipeline, alias] = version

    def remove_alias(self, pipeline: str, alias: str) -> None:
        """Let an alias point nowhere; fine if it does already."""
        self._aliases.pop((pipeline, alias), None)

    def aliases(self, pipeline: str) -> dict[str, int]:
        """Return where the aliases point; none for a pipeline without versions."""
        return {
            alias: number for (name, alias), number in self._aliases.items() if name == pipeline
        }

    def holds(self, pipeline: str, version: int) -> bool:
        """Whether the registry has a version."""
        return (pipeline, version) in self.registrations

    def tag(self, pipeline: str, version: int, tags: Mapping[str, str]) -> None:
        """Add tags to a version."""
        self._require(pipeline, version)
        self.tags[pipeline, version] |= tags

    def describe(self, pipeline: str, releases: Sequence[Release], runs: Mapping[int, str]) -> None:
        """Keep what is to be said of a pipeline's model."""
        self.described[pipeline] = (tuple(releases), dict(runs))

    def _folder(self, pipeline: str, version: int) -> Path:
        return self._root.absolute() / pipeline / str(version)

    def _artifacts_folder(self, pipeline: str, version: int) -> Path:
        return self._root.absolute() / pipeline / f"{version}-artifacts"

    def _require(self, pipeline: str, version: int) -> None:
        if (pipeline, version) not in self.registrations:
            raise PynomalyError(f"the registry has no version {version} of {pipeline!r}")
