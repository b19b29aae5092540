"""Fetch registered models: digest from our records first, then our own reader."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pynomaly.application.ports.learning import ModelStore
from pynomaly.application.ports.records import Records
from pynomaly.application.ports.registry import ModelRegistry
from pynomaly.domain.errors import IntegrityError, NoChampionError, UsageError
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.releases import ModelVersion, Release

__all__ = ["ModelLoader", "deciding"]


def deciding(pipeline: Pipeline, release: Release) -> Pipeline:
    """Return the pipeline with the decision policy of a release.

    What the configuration says takes effect with the next release.
    """
    return replace(pipeline, decision=release.decision) if release.decision else pipeline


@dataclass(frozen=True, slots=True)
class ModelLoader:
    """Loads model versions from the registry through a local cache of verified folders."""

    registry: ModelRegistry
    records: Records
    store: ModelStore
    cache_folder: Path

    def version(self, pipeline: str, version: int | None) -> ModelVersion:
        """Return a registered version; the newest where ``version`` is None.

        Raises:
            UsageError: There is no such version.
        """
        if version is None:
            versions = self.records.versions(pipeline)
            if versions:
                return versions[0]
            raise UsageError(
                f"pipeline '{pipeline}' has no model version yet",
                hint=f"train one: pynomaly train {pipeline}",
            )
        found = self.records.version(pipeline, version)
        if found is None:
            raise UsageError(
                f"pipeline '{pipeline}' has no model version {version}",
                hint=f"list them: pynomaly models list {pipeline}",
            )
        return found

    def champion(self, pipeline: Pipeline) -> tuple[Pipeline, ModelVersion]:
        """Return the version that serves, and the pipeline with the decision policy it serves with.

        Raises:
            NoChampionError: Nothing has been promoted.
        """
        production = self.records.production(pipeline.name)
        if production is None:
            raise NoChampionError(
                f"pipeline '{pipeline.name}' has no champion: no model version serves yet",
                hint=f"train and release one: pynomaly run {pipeline.name}; take one that is staged "
                f"further: pynomaly release {pipeline.name} --resume",
            )
        return deciding(pipeline, production), self.version(pipeline.name, production.version)

    def load(self, version: ModelVersion) -> Model:
        """Return a version's model, every byte verified against our records.

        A local copy that was damaged is fetched anew; one from the registry never passes damaged.
        """
        folder = self.cache_folder / version.pipeline / version.manifest_digest
        if folder.exists():
            try:
                return self.store.load(folder, version.manifest_digest)
            except IntegrityError:
                shutil.rmtree(folder)
        self.fetch(version, folder)
        return self.store.load(folder, version.manifest_digest)

    def fetch(self, version: ModelVersion, folder: Path) -> None:
        """Put a fresh and verified copy from the registry at ``folder``.

        Where another process puts its own there at the same time, either will do.

        Raises:
            IntegrityError: The registry's copy is not what we registered.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".incoming-") as incoming:
            try:
                downloaded = self.registry.download(version, Path(incoming) / "model")
                self.store.load(downloaded, version.manifest_digest)
            except IntegrityError as error:
                raise IntegrityError(
                    f"version {version.version} of '{version.pipeline}' in the registry is not "
                    f"what was registered: {error.message}",
                    hint="train again, or restore the registry's files; it will not be loaded",
                ) from error
            if not folder.exists():
                downloaded.rename(folder)
