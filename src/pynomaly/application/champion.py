"""Fetch registered models: digest from our records first, then our own reader."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from pynomaly.application.ports.learning import ModelStore
from pynomaly.application.ports.records import Records
from pynomaly.application.ports.registry import ModelRegistry
from pynomaly.domain.errors import IntegrityError, NoChampionError, UsageError
from pynomaly.domain.models import Model
from pynomaly.domain.releases import ModelVersion

__all__ = ["ModelLoader"]


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

    def champion(self, pipeline: str) -> tuple[ModelVersion, Model]:
        """Return the version that serves, and its model.

        Raises:
            NoChampionError: Nothing has been promoted.
        """
        production = self.records.production(pipeline)
        if production is None:
            raise NoChampionError(
                f"pipeline '{pipeline}' has no champion: no model version passed its gates yet",
                hint=f"train and release one: pynomaly run {pipeline}",
            )
        version = self.version(pipeline, production.version)
        return version, self.load(version)

    def load(self, version: ModelVersion) -> Model:
        """Return a version's model, every byte verified against our records."""
        return self.store.load(self.folder(version), version.manifest_digest)

    def folder(self, version: ModelVersion) -> Path:
        """Return a local folder with the version as the registry holds it."""
        cached = self.cache_folder / version.pipeline / version.manifest_digest
        if not cached.exists():
            self.fetch(version, cached)
        return cached

    def fetch(self, version: ModelVersion, folder: Path) -> None:
        """Replace ``folder`` by a fresh copy from the registry.

        Raises:
            IntegrityError: The registry's copy is not what we registered.
        """
        incoming = folder.with_name(f".{folder.name}.{version.version}.incoming")
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(parents=True)
        try:
            downloaded = self.registry.download(version, incoming)
            self.store.load(downloaded, version.manifest_digest)
            shutil.rmtree(folder, ignore_errors=True)
            downloaded.rename(folder)
        except IntegrityError as error:
            raise IntegrityError(
                f"version {version.version} of '{version.pipeline}' in the registry is not what "
                f"was registered: {error.message}",
                hint="train again, or restore the registry's files; it will not be loaded",
            ) from error
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
