"""Somebody moves aliases and deletes versions in MLflow itself: seen, repaired or reported."""

import shutil
from pathlib import Path

import pytest

from command_line import Cli


@pytest.fixture
def project(as_trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a project whose version 1 serves, as working folder."""
    ignored = shutil.ignore_patterns("scores")
    folder = Path(shutil.copytree(as_trained, tmp_path / "project", ignore=ignored))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYNOMALY_HOME", raising=False)
    return folder


def test_what_somebody_did_in_mlflow_is_repaired_or_reported(project: Path, cli: Cli) -> None:
    from mlflow import MlflowClient

    assert cli("releases", "reconcile", "payments", "--json").json["registry"]["moved"] == {}
    client = MlflowClient(f"sqlite:///{project}/.pynomaly/mlflow.db")
    client.delete_registered_model_alias("payments", "production")
    client.set_registered_model_alias("payments", "canary", "1")

    # The next run mends it and says so.
    score = cli("score", "payments", "--engine", "direct", "--json").json
    assert score["steps"]["reconcile"]["moved"] == {"canary": None, "production": 1}
    aliases = client.get_registered_model("payments").aliases
    assert {name: int(version) for name, version in aliases.items()} == {"production": 1}

    # A version cannot be brought back: what is verified here still serves, and it is reported.
    client.delete_model_version("payments", "1")
    lost = cli("releases", "reconcile", "payments", "--json")
    assert lost.code == 7
    assert "has lost version 1 of 'payments'" in lost.error
    again = cli("score", "payments", "--engine", "direct", "--json")
    assert again.code == 0
    assert again.json["steps"]["reconcile"]["missing"] == [1]
    shutil.rmtree(project / ".pynomaly/artifacts/verified")
    gone = cli("score", "payments", "--data", "payments.csv", "--engine", "direct", "--json")
    assert gone.code == 7
