"""A released version is exported, verified elsewhere, and refused where anything was changed."""

import json
import shutil
import socket
import sqlite3
import zipfile
from pathlib import Path

import pytest

from command_line import Cli
from pynomaly.infrastructure.evidence import ZipBundles

EXPORT = ("evidence", "export", "payments", "1", "--out")


@pytest.fixture
def bundle(champion: Path, cli: Cli) -> Path:
    path = champion / "payments-1.zip"
    outcome = cli(*EXPORT, path, "--overwrite", "--json")
    assert outcome.code == 0, outcome.err
    return path


def part(bundle: Path, name: str) -> dict[str, object]:
    with zipfile.ZipFile(bundle) as archive:
        found = json.loads(archive.read(name))
    assert isinstance(found, dict)
    return found


def test_a_bundle_tells_how_a_version_came_about(bundle: Path, cli: Cli) -> None:
    records = cli("status", "payments", "--json").json
    run = part(bundle, "training/run.json")
    assert run["run"]["id"] == part(bundle, "version.json")["run_id"]
    assert {"validate", "profile", "tune", "train", "register"} <= {s["step"] for s in run["steps"]}
    snapshot = part(bundle, "data/snapshot.json")
    assert snapshot["fingerprint"]["content"] == part(bundle, "bundle.json")["training_fingerprint"]
    assert part(bundle, "data/validation.json")["accepted"] == snapshot["rows"] == 800
    assert {c["name"] for c in part(bundle, "data/profile.json")["columns"]} >= {
        "amount",
        "country",
    }
    configuration = part(bundle, "training/configuration.json")
    assert (configuration["training"]["seed"], configuration["training"]["trials"]) == (3, 2)
    assert configuration["decision"]["budget"] == 0.01  # a default, and in force
    environment = part(bundle, "training/environment.json")
    assert environment["seed"] == 3
    assert {"python", "numpy", "pyod"} <= environment["libraries"].keys()
    assert environment["revision"]["pynomaly"]
    trials = part(bundle, "training/trials.json")["trials"]
    assert [trial["number"] for trial in trials] == [0, 1]
    assert trials[0]["detector"] == "self_cleaning"
    release = part(bundle, f"releases/{records['champion']['id']}.json")
    assert release["state"] == "production"
    assert {"golden_rows", "injected_recall"} <= {gate["gate"] for gate in release["gates"]}
    with zipfile.ZipFile(bundle) as archive:
        card = archive.read("model-card.md").decode()
        page = archive.read("model-card.html").decode()
    for sentence in (
        "Intended use",
        "injected recall",
        "not recorded",
        "No label shaped its score",
    ):
        assert sentence in card
        assert sentence in page
    assert "http" not in page.replace("http-equiv", "")


def test_exporting_again_gives_the_same_bytes(bundle: Path, cli: Cli) -> None:
    before = bundle.read_bytes()
    assert cli(*EXPORT, bundle).code == 0
    assert bundle.read_bytes() == before
    bundle.write_bytes(b"something else")
    assert cli(*EXPORT, bundle, "--json").code == 2
    assert bundle.read_bytes() == b"something else"


def test_a_bundle_is_verified_where_there_is_no_project(
    bundle: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = cli("evidence", "key")
    (tmp_path / "public.pem").write_text(key.out)
    copy = shutil.copy(bundle, tmp_path / "received.zip")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYNOMALY_RECORDS__URL", "postgresql://nobody@127.0.0.1:1/none")

    def refuse(*_: object) -> None:
        raise AssertionError("verifying must not ask anybody")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(sqlite3, "connect", refuse)

    found = cli("evidence", "verify", copy, "--json").json
    assert (found["pipeline"], found["version"], found["pinned"]) == ("payments", 1, False)
    assert found["golden_rows"] == 32
    assert found["golden_deviation"] <= 1e-9
    assert "the commit of the project's configuration" in found["not_recorded"]
    assert "anybody could have put there" in " ".join(cli("evidence", "verify", copy).out.split())

    assert cli("evidence", "verify", copy, "--key", "public.pem", "--json").json["pinned"]
    pinned = cli("evidence", "verify", copy, "--key", found["key_fingerprint"])
    assert "The key is the one you gave." in pinned.out
    foreign = cli("evidence", "verify", copy, "--key", "0" * 64, "--json")
    assert foreign.code == 7
    assert "signature.json" in foreign.error
    assert {path.name for path in tmp_path.iterdir()} == {"public.pem", "received.zip"}


def test_an_edited_part_ends_with_exit_code_7_and_its_name(
    bundle: Path, cli: Cli, tmp_path: Path
) -> None:
    bundles = ZipBundles()
    parts = bundles.read(bundle)
    edited = tmp_path / "edited.zip"
    for position, (name, content) in enumerate(parts):
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        bundles.write(
            [*parts[:position], (name, changed), *parts[position + 1 :]], edited, overwrite=True
        )
        outcome = cli("evidence", "verify", edited, "--json")
        assert outcome.code == 7, name
        assert name in outcome.error
    raw = bytearray(bundle.read_bytes())
    raw[raw.index(b"releases/") + 60] ^= 1
    edited.write_bytes(raw)
    outcome = cli("evidence", "verify", edited, "--json")
    assert outcome.code == 7
    assert "releases/" in outcome.error


def test_versions_and_pipelines_that_do_not_exist_have_no_evidence(
    champion: Path, cli: Cli, tmp_path: Path
) -> None:
    unknown = cli("evidence", "export", "payments", "7", "--out", tmp_path / "x.zip", "--json")
    assert unknown.code == 2
    assert "no model version 7" in unknown.error
    mistyped = cli("evidence", "export", "paymets", "1", "--out", tmp_path / "x.zip", "--json")
    assert mistyped.code == 2
    assert not list(tmp_path.iterdir())


def test_a_key_of_the_operator_signs_where_one_is_configured(
    champion: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = cli("evidence", "key", "--json").json["key_fingerprint"]
    key = tmp_path / "operator.pem"
    shutil.copy(champion / ".pynomaly/keys/evidence-ed25519.pem", key)
    monkeypatch.setenv("PYNOMALY_EVIDENCE__SIGNING_KEY", str(key))
    assert cli("evidence", "key", "--json").json["key_fingerprint"] == own
    key.chmod(0o604)
    refused = cli(*EXPORT, tmp_path / "x.zip", "--json")
    assert refused.code == 2
    assert "can be read or changed by anybody" in refused.error
    assert not (tmp_path / "x.zip").exists()
