"""The model registry on MLflow 3: one experiment and one registered model per pipeline."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pynomaly.domain.errors import IntegrityError, OutputExistsError, PynomalyError
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.infrastructure.mlflow import pyfunc, tracking
from pynomaly.infrastructure.mlflow.client import (
    connect,
    is_server,
    redacted,
    translated_errors,
    unanswered,
)
from pynomaly.infrastructure.mlflow.page import page

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion as RegisteredVersion

    from pynomaly.application.ports.registry import Registration

__all__ = ["MlflowRegistry"]


class MlflowRegistry:
    """Implements :class:`pynomaly.application.ports.registry.ModelRegistry`.

    Uses its own client throughout: MLflow's process-wide tracking URI, active experiment and
    active run are neither read nor changed, so several registries can live in one process.

    Args:
        tracking_uri: ``sqlite:////…/mlflow.db``, ``postgresql://…``, or a server's ``http(s)://…``.
        artifact_root: Folder for artifacts of new experiments; a server uses its own instead.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path) -> None:
        self._tracking_uri = tracking_uri
        self._artifact_root = artifact_root

    @cached_property
    def _client(self) -> MlflowClient:
        return connect(self._tracking_uri)

    def register(self, registration: Registration) -> ModelVersion:
        """Log one run and create one version, which is known to load and score.

        Raises:
            IntegrityError: The stored model does not load or predict; no version is created.
            PynomalyError: MLflow refused or could not be reached.
        """
        client = self._client
        name = registration.pipeline
        with translated_errors(self._tracking_uri, f"register a model of {name!r}"):
            experiment = tracking.experiment_of(client, name, self._location(name))
            run = client.create_run(
                experiment, run_name=registration.run_id, tags=_tags(registration)
            )
            run_id: str = run.info.run_id
            status = "FAILED"
            try:
                tracking.log_run(client, run_id, registration)
                model = self._log_model(registration, experiment, run_id)
                version = self._create_version(registration, model, run_id)
                status = "FINISHED"
            finally:
                client.set_terminated(run_id, status)
        return ModelVersion(
            pipeline=name,
            version=int(version.version),
            uri=f"models:/{name}/{version.version}",
            manifest_digest=registration.manifest_digest,
            run_id=registration.run_id,
            tracking_run_id=run_id,
            training_fingerprint=registration.training_fingerprint,
            holdout_uri=registration.holdout_uri,
            created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, tz=UTC),
        )

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Fetch the version's model folder as ``folder``, which must be new or empty.

        Only plain files arrive; whether they are the right ones is for the model store, which
        checks them against the manifest digest in our own records.

        Raises:
            OutputExistsError: ``folder`` has content.
            IntegrityError: The registry has lost the version or its files, or serves links.
            PynomalyError: The registry does not answer.
        """
        from mlflow.exceptions import MlflowException

        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputExistsError(
                f"{folder} exists and is not empty", hint="choose a new folder for the model"
            )
        client = self._client
        try:
            source = client.get_model_version_download_uri(version.pipeline, str(version.version))
            with tempfile.TemporaryDirectory(prefix="pynomaly-model-") as temporary:
                fetched = self._fetch(f"{source}/{pyfunc.MODEL_SUBFOLDER}", Path(temporary))
                folder.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(fetched, folder, dirs_exist_ok=True)
        except (MlflowException, OSError) as error:
            if unanswered(error):
                raise PynomalyError(
                    f"MLflow at {redacted(self._tracking_uri)} does not answer: version "
                    f"{version.version} of {version.pipeline!r} cannot be fetched now",
                    hint="check that its server, database and artifact store are up, and run again",
                ) from error
            if not isinstance(error, MlflowException | FileNotFoundError):
                raise
            raise IntegrityError(
                f"version {version.version} of {version.pipeline!r} cannot be fetched from "
                f"MLflow at {redacted(self._tracking_uri)}: {error}",
                hint="check that the tracking URI is the one it was registered under, and that "
                "nobody deleted its artifacts",
            ) from error
        return folder

    def artifact(self, version: ModelVersion, name: str) -> bytes:
        """Return an artifact that was logged with a version's run.

        Raises:
            IntegrityError: The registry has lost it, or serves a link.
        """
        from mlflow.exceptions import MlflowException

        client = self._client
        try:
            root = client.get_run(version.tracking_run_id).info.artifact_uri
            with tempfile.TemporaryDirectory(prefix="pynomaly-artifact-") as temporary:
                return self._fetch(f"{root}/{name}", Path(temporary)).read_bytes()
        except (MlflowException, OSError) as error:
            raise IntegrityError(
                f"{name} of version {version.version} of {version.pipeline!r} cannot be fetched "
                f"from MLflow at {redacted(self._tracking_uri)}: {error}",
                hint="check that nobody deleted the artifacts of its run, "
                f"{version.tracking_run_id}",
            ) from error

    def set_alias(self, pipeline: str, alias: str, version: int) -> None:
        """Point an alias at a version; moving it is fine."""
        client = self._client
        doing = f"point the alias {alias!r} at version {version} of {pipeline!r}"
        with translated_errors(self._tracking_uri, doing):
            client.set_registered_model_alias(pipeline, alias, str(version))

    def remove_alias(self, pipeline: str, alias: str) -> None:
        """Let an alias point nowhere; fine if it does already."""
        client = self._client
        with translated_errors(self._tracking_uri, f"remove the alias {alias!r} of {pipeline!r}"):
            client.delete_registered_model_alias(pipeline, alias)

    def aliases(self, pipeline: str) -> dict[str, int]:
        """Return where the aliases point; none for a pipeline without versions."""
        client = self._client
        from mlflow.exceptions import MlflowException

        with translated_errors(self._tracking_uri, f"read the aliases of {pipeline!r}"):
            try:
                found = client.get_registered_model(pipeline).aliases
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return {}
                raise
        return {alias: int(version) for alias, version in found.items()}

    def holds(self, pipeline: str, version: int) -> bool:
        """Whether the registry has a version."""
        client = self._client
        from mlflow.exceptions import MlflowException

        doing = f"look for version {version} of {pipeline!r}"
        with translated_errors(self._tracking_uri, doing):
            try:
                client.get_model_version(pipeline, str(version))
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return False
                raise
        return True

    def tag(self, pipeline: str, version: int, tags: Mapping[str, str]) -> None:
        """Add tags to a version."""
        client = self._client
        with translated_errors(self._tracking_uri, f"tag version {version} of {pipeline!r}"):
            for key, value in tags.items():
                client.set_model_version_tag(pipeline, str(version), key, value)

    def describe(self, pipeline: str, releases: Sequence[Release], runs: Mapping[int, str]) -> None:
        """Say on the model's page where its versions stand."""
        client = self._client
        with translated_errors(self._tracking_uri, f"describe {pipeline!r}"):
            experiment = client.get_experiment_by_name(pipeline)
            told = page(pipeline, releases, runs, experiment.experiment_id if experiment else None)
            if client.get_registered_model(pipeline).description != told:
                client.update_registered_model(pipeline, description=told)

    def _location(self, pipeline: str) -> str | None:
        if is_server(self._tracking_uri):
            return None
        return (self._artifact_root.absolute() / pipeline).as_uri()

    def _log_model(self, registration: Registration, experiment: str, run_id: str) -> LoggedModel:
        """Upload the pyfunc, fetch it back, and try it."""
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model as MlflowModel

        client = self._client
        logged = client.create_logged_model(
            experiment, name="model", source_run_id=run_id, tags=_tags(registration)
        )
        status: Literal["READY", "FAILED"] = "FAILED"
        try:
            client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
            description = MlflowModel(
                artifact_path=logged.artifact_location,
                run_id=run_id,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
            )
            with tempfile.TemporaryDirectory(prefix="pynomaly-pyfunc-") as temporary:
                local, fetched = Path(temporary, "pyfunc"), Path(temporary, "fetched")
                pyfunc.save(registration, description, local)
                client.log_model_artifacts(logged.model_id, str(local))
                fetched.mkdir()
                pyfunc.check(self._fetch(logged.artifact_location, fetched), registration)
            status = "READY"
        finally:
            client.finalize_logged_model(logged.model_id, status)
        return logged

    def _create_version(
        self, registration: Registration, model: LoggedModel, run_id: str
    ) -> RegisteredVersion:
        from mlflow.exceptions import MlflowException

        client = self._client
        try:
            client.create_registered_model(
                registration.pipeline, description=page(registration.pipeline, (), {}, None)
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # Without a server MLflow resolves `models:/…` through its process-wide tracking URI, which
        # is not ours; a server refuses other sources than that.
        by_id = is_server(self._tracking_uri)
        return client.create_model_version(
            registration.pipeline,
            source=f"models:/{model.model_id}" if by_id else model.artifact_location,
            run_id=run_id,
            tags=_tags(registration),
            description=registration.description,
            model_id=model.model_id,
        )

    def _fetch(self, uri: str, folder: Path) -> Path:
        """Copy the artifacts at ``uri`` into ``folder``; returns where they are."""
        from mlflow.artifacts import download_artifacts

        fetched = Path(
            download_artifacts(
                artifact_uri=uri, dst_path=str(folder), tracking_uri=self._tracking_uri
            )
        )
        inside = folder.resolve()
        for path in (fetched, *fetched.rglob("*")):
            if path.is_symlink() or not path.resolve().is_relative_to(inside):
                raise IntegrityError(
                    f"the model registry served {path.name!r}, a link or a path outside the model",
                    hint="somebody changed the artifact store; restore it from a backup",
                )
        return fetched


def _tags(registration: Registration) -> dict[str, str]:
    return {
        **registration.tags,
        "pynomaly.run_id": registration.run_id,
        "pynomaly.training_fingerprint": registration.training_fingerprint,
        "pynomaly.manifest_digest": registration.manifest_digest,
        "pynomaly.holdout_uri": registration.holdout_uri,
    }
