"""What a bundle says is what was recorded; what was not recorded it says, too."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from evidence_bundles import BUNDLES, KERNELS, VERIFY
from pynomaly.adapters import detector_fitter, model_folders, page_reports
from pynomaly.application.champion import ModelLoader
from pynomaly.application.collect_evidence import CollectEvidence
from pynomaly.application.export_evidence import ExportEvidence
from pynomaly.application.ports.registry import Registration
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.gates import GateResult, Override
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.runs import Actor, Run, StepRecord
from pynomaly.infrastructure.evidence import Ed25519Signer
from pynomaly.testing import InMemoryRecords, InMemoryRegistry
from pynomaly.testing.model_folders import model_of, with_expected_scores

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PROFILE = b'{"columns": [], "duplicate_rows": 0}'


class Platform:
    """Records, registry and what exports from them, with one registered version."""

    def __init__(self, folder: Path, **card: object) -> None:
        self.folder = folder
        self.records = InMemoryRecords()
        self.registry = InMemoryRegistry(folder / "registry")
        self.version = self._registered(**card)
        loader = ModelLoader(self.registry, self.records, model_folders(), folder / "cache")
        self.export = ExportEvidence(
            CollectEvidence(self.records, loader, self.registry),
            page_reports(),
            Ed25519Signer(folder / "key.pem", create=True),
            BUNDLES,
        )

    def _registered(self, **card: object) -> ModelVersion:
        X = np.random.default_rng(0).normal(size=(40, 2))
        member = detector_fitter(KERNELS).fit("pca", {}, X, seed=0)
        made = model_of((member,), X, "pca", 0)
        model = replace(made, card=replace(made.card, **card))
        golden = with_expected_scores(X[:8], score_members((member,), X[:8], KERNELS))
        digest = model_folders().save(model, golden, self.folder / "model")
        (self.folder / "profile.json").write_bytes(PROFILE)
        version = self.registry.register(
            Registration(
                "check", "run-1", self.folder / "model", digest, "0" * 64, "holdout",
                pa.table({"x0": [0.0]}), {}, {},
                artifacts={"data/profile.json": self.folder / "profile.json"},
            )
        )  # fmt: skip
        self.records.add_version(version)
        return version

    def parts(self) -> dict[str, str]:
        out = self.folder / "bundle.zip"
        self.export("check", 1, out, overwrite=True)
        VERIFY(out)
        return {n: c.decode() for n, c in BUNDLES.read(out) if not n.startswith("model/")}


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path)


def test_a_version_of_which_little_was_kept_says_so(platform: Platform) -> None:
    exported = platform.export("check", 1, platform.folder / "bundle.zip")
    assert {what.split(":")[0] for what in exported.not_recorded} == {
        "the pipeline's configuration when it was trained",
        "the tuning table",
        "the commit of Pynomaly's own code (only its version)",
        "the commit of the project's configuration",
        "the run that trained it",
        "the validation report of its training data",
        "the profile of its training data",
        "any release",
    }
    card = platform.parts()["model-card.md"]
    for missing in exported.not_recorded:
        assert f"Not recorded: {missing}" in card.replace("\\", "")
    assert not [n for n in exported.parts if n.startswith(("releases/", "data/"))]


def test_a_profile_that_was_changed_in_the_registry_is_no_evidence(platform: Platform) -> None:
    platform.records.start_run(
        Run("run-1", "check", "train", "direct", Actor("ada"), "running", NOW)
    )
    summary = {"sha256": hashlib.sha256(PROFILE).hexdigest()}
    platform.records.add_step(StepRecord("run-1", "profile", "completed", NOW, NOW, summary))
    assert platform.parts()["data/profile.json"] == PROFILE.decode()
    for kept in platform.folder.rglob("data/profile.json"):
        kept.write_bytes(PROFILE.replace(b"0", b"1"))
    with pytest.raises(IntegrityError, match=r"data/profile\.json of version 1 of 'check'"):
        platform.export("check", 1, platform.folder / "other.zip")
    assert not (platform.folder / "other.zip").exists()


def test_a_model_that_was_changed_in_the_registry_is_no_evidence(platform: Platform) -> None:
    for kept in (platform.folder / "registry").rglob("model.json"):
        kept.write_bytes(kept.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match="is not what was registered"):
        platform.export("check", 1, platform.folder / "bundle.zip")


def test_every_release_is_in_the_bundle_and_its_gates_are_on_the_card(platform: Platform) -> None:
    override = Override("alert_rate", Actor("bob"), "approver", "The campaign began.")
    gates = (
        GateResult("golden_rows", "block", float("inf"), None, 1e-9, 32, "They | differ."),
        GateResult("alert_rate", "block", 4.0, 3.5, 3.0, 900, "Many more.", override=override),
    )
    for number in (1, 2):
        platform.records.add_release(
            Release(f"r{number}", "run-2", "check", 1, None, "blocked", "block", gates, NOW)
        )
    platform.records.add_version(replace(platform.version, version=2))
    platform.records.add_release(
        Release("other", "run-2", "check", 2, None, "candidate", "pass", (), NOW)
    )
    parts = platform.parts()
    assert {n for n in parts if n.startswith("releases/")} == {
        f"releases/{name}{kind}" for name in ("r1", "r2") for kind in (
            ".json", ".md", "-transitions.json",
        )
    }  # fmt: skip
    assert '"observed": "inf"' in parts["releases/r1.json"]
    card = parts["model-card.md"]
    assert r"Gate golden rows, block: They \| differ." in card
    assert "bob overrode it as approver: The campaign began." in card
    assert '"reason": "The campaign began."' in parts["releases/r1.json"]
    assert "## Release r2" in card


def test_what_training_kept_is_on_record(tmp_path: Path) -> None:
    trial = {"number": 0, "detector": "pca", "params": {"n": 2}, "value": None}
    platform = Platform(
        tmp_path,
        configuration={
            "purpose": "The fraud desk calls the customer.",
            "decision": {"kind": "top_k", "k": 5},
            "schema": {"columns": [{"name": "x0"}, {"name": "note"}]},
            "excluded": ["secret"],
        },
        revision={"pynomaly": "1", "pynomaly_revision": "git a", "project_revision": "git b"},
        trials=(trial,),
        labels="Labels taught nothing.",
    )
    quality = {
        "holdout_roc_auc": 0.9, "holdout_roc_auc_lower": 0.8, "holdout_roc_auc_upper": 0.95,
        "holdout_average_precision": 0.5,
    }  # fmt: skip
    platform.records.start_run(
        Run("run-1", "check", "train", "direct", Actor("ada"), "running", NOW)
    )
    platform.records.add_step(
        StepRecord("run-1", "train", "completed", NOW, NOW, {"metrics": quality})
    )
    parts = platform.parts()
    assert '"k": 5' in parts["training/configuration.json"]
    assert '"project_revision": "git b"' in parts["training/environment.json"]
    assert '"detector": "pca"' in parts["training/trials.json"]
    card = parts["model-card.md"]
    assert "It does not look at note, secret." in card
    assert "The fraud desk calls the customer." in card
    assert "Labels taught nothing." in card
    assert "0.9000, between 0.8000 and 0.9500 (95 % interval)" in card.replace("\\", "")
    assert "0.5000, no interval recorded" in card  # a model of old
    assert "tuning table" not in card
