"""The shipped fake keeps the contract that MLflow keeps."""

import pyarrow as pa
import pytest

from pynomaly.application.ports.registry import ModelRegistry, Registration
from pynomaly.testing import InMemoryRegistry, RegistryContract


@pytest.fixture
def registry(tmp_path):
    return InMemoryRegistry(tmp_path / "registry")


@pytest.fixture
def registration(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    (folder / "arrays.npz").write_bytes(bytes(range(256)))
    return Registration(
        pipeline="payments",
        run_id="run-1",
        folder=folder,
        manifest_digest="d" * 64,
        training_fingerprint="f" * 64,
        holdout_uri="file:///holdout.parquet",
        example=pa.table({"amount": [1.0, 2.0]}),
        params={"detector": "iforest"},
        metrics={"auc": 0.9},
        tags={"kind": "test"},
    )


class TestInMemoryRegistry(RegistryContract):
    """All of the contract."""


def test_the_fake_is_a_registry(registry):
    adapter: ModelRegistry = registry  # mypy checks the signatures
    assert adapter.aliases("payments") == {}


def test_tests_can_look_at_what_was_logged(registry, registration):
    version = registry.register(registration).version
    registry.tag("payments", version, {"release": "r1"})
    assert registry.registrations["payments", version] is registration
    assert registry.tags["payments", version] == {"kind": "test", "release": "r1"}
