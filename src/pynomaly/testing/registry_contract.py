"""What every ``ModelRegistry`` must do, as tests to inherit from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from pynomaly.domain.errors import IntegrityError, OutputExistsError, PynomalyError

if TYPE_CHECKING:
    from pynomaly.application.ports.registry import ModelRegistry, Registration

__all__ = ["RegistryContract"]


class RegistryContract:
    """Inherit in a class called ``Test…`` beside two pytest fixtures.

    ``registry`` gives a registry without versions of the pipelines it is asked to hold;
    ``registration`` gives one with a model folder that the registry accepts.
    """

    def test_versions_of_a_pipeline_count_up(
        self, registry: ModelRegistry, registration: Registration
    ) -> None:
        """Numbers are what people and aliases speak of."""
        first = registry.register(registration)
        second = registry.register(registration)
        assert second.version > first.version >= 1
        assert (first.pipeline, second.pipeline) == (registration.pipeline,) * 2

    def test_a_version_says_where_it_comes_from(
        self, registry: ModelRegistry, registration: Registration
    ) -> None:
        """Gates and auditors follow these."""
        version = registry.register(registration)
        assert version.manifest_digest == registration.manifest_digest
        assert version.run_id == registration.run_id
        assert version.training_fingerprint == registration.training_fingerprint
        assert version.holdout_uri == registration.holdout_uri
        assert version.created_at.utcoffset() == UTC.utcoffset(None)
        assert version.uri
        assert version.tracking_run_id

    def test_a_download_holds_the_registered_bytes_and_nothing_else(
        self, registry: ModelRegistry, registration: Registration, tmp_path: Path
    ) -> None:
        """Even after the folder it was registered from has changed."""
        version = registry.register(registration)
        registered = _files(registration.folder)
        for path in registration.folder.iterdir():
            path.write_bytes(b"changed after registration")
        folder = registry.download(version, tmp_path / "download")
        assert folder == tmp_path / "download"
        assert _files(folder) == registered

    def test_a_download_replaces_nothing(
        self, registry: ModelRegistry, registration: Registration, tmp_path: Path
    ) -> None:
        """Files of two models in one folder would be neither."""
        version = registry.register(registration)
        (tmp_path / "mine.txt").write_text("mine")
        before = {path.name for path in tmp_path.iterdir()}
        _refuses(OutputExistsError, lambda: registry.download(version, tmp_path))
        assert {path.name for path in tmp_path.iterdir()} == before
        assert (tmp_path / "mine.txt").read_text() == "mine"

    def test_a_version_the_registry_lost_is_reported(
        self, registry: ModelRegistry, registration: Registration, tmp_path: Path
    ) -> None:
        """Our records knew it, the registry does not."""
        lost = replace(registry.register(registration), version=4711)
        _refuses(IntegrityError, lambda: registry.download(lost, tmp_path / "download"))

    def test_artifacts_come_back_as_they_were_logged(
        self, registry: ModelRegistry, registration: Registration, tmp_path: Path
    ) -> None:
        """Evidence is made of them; one that was never logged is reported."""
        page = tmp_path / "page.json"
        page.write_bytes(b'{"rows": 1}')
        logged = replace(registration, artifacts={"data/profile.json": page})
        version = registry.register(logged)
        page.write_bytes(b"changed after registration")
        assert registry.artifact(version, "data/profile.json") == b'{"rows": 1}'
        _refuses(IntegrityError, lambda: registry.artifact(version, "data/other.json"))

    def test_an_alias_that_was_never_set_points_nowhere(
        self, registry: ModelRegistry, registration: Registration
    ) -> None:
        """Neither for a pipeline without versions nor for one with some."""
        assert "production" not in registry.aliases(registration.pipeline)
        registry.register(registration)
        assert "production" not in registry.aliases(registration.pipeline)

    def test_an_alias_follows_its_last_setting(
        self, registry: ModelRegistry, registration: Registration
    ) -> None:
        """Moving it forth, back and to where it is are all fine."""
        first = registry.register(registration).version
        second = registry.register(registration).version
        for version in (first, second, first, first):
            registry.set_alias(registration.pipeline, "production", version)
            assert registry.aliases(registration.pipeline)["production"] == version
        assert "previous" not in registry.aliases(registration.pipeline)

    def test_a_removed_alias_points_nowhere(
        self, registry: ModelRegistry, registration: Registration
    ) -> None:
        """A canary that was rolled back; removing it twice is fine."""
        version = registry.register(registration).version
        registry.set_alias(registration.pipeline, "canary", version)
        registry.remove_alias(registration.pipeline, "canary")
        registry.remove_alias(registration.pipeline, "canary")
        assert registry.aliases(registration.pipeline) == {}

    def test_a_registry_knows_which_versions_it_holds(
        self, registry: ModelRegistry, registration: Registration
    ) -> None:
        """Somebody may delete one behind our back."""
        assert not registry.holds(registration.pipeline, 1)
        version = registry.register(registration).version
        assert registry.holds(registration.pipeline, version)
        assert not registry.holds(registration.pipeline, version + 1)

    def test_unknown_versions_get_neither_alias_nor_tag(
        self, registry: ModelRegistry, registration: Registration
    ) -> None:
        """An alias must never point at nothing."""
        registry.register(registration)
        name = registration.pipeline
        _refuses(PynomalyError, lambda: registry.set_alias(name, "production", 4711))
        _refuses(PynomalyError, lambda: registry.tag(name, 4711, {"release": "r"}))
        assert registry.aliases(name) == {}

    def test_tagging_again_is_fine(
        self, registry: ModelRegistry, registration: Registration
    ) -> None:
        """A step that is repeated after a crash does so."""
        version = registry.register(registration).version
        for tags in ({"release": "r1"}, {"release": "r1", "gate.golden_rows": "pass"}):
            registry.tag(registration.pipeline, version, tags)

    def test_describing_again_is_fine(
        self, registry: ModelRegistry, registration: Registration
    ) -> None:
        """Every flow begins with it."""
        version = registry.register(registration)
        runs = {version.version: version.tracking_run_id}
        for _ in range(2):
            registry.describe(registration.pipeline, (), runs)


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _refuses(error: type[PynomalyError], call: Callable[[], object]) -> None:
    try:
        call()
    except error:
        return
    raise AssertionError(f"expected {error.__name__}")
