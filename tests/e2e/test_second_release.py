"""A second version: inconclusive on few rows, blocked when bad, promoted when good."""

from pathlib import Path

import pytest

from command_line import Cli, frame


@pytest.fixture
def released(project: Path, cli: Cli) -> Path:
    """A project whose version 1 serves."""
    frame(1_200, 71).to_csv("payments.csv", index=False)
    assert cli("init", "payments", "--data", "payments.csv", "--id", "txn_id").code == 0
    path = project / "conf/pipelines/payments.yaml"
    path.write_text(path.read_text() + "\ntraining: {trials: 1}\n")
    assert cli("run", "payments", "--engine", "direct").code == 0
    return path


def test_a_good_successor_serves_and_a_bad_one_never_does(released: Path, cli: Cli) -> None:
    frame(1_200, 72).to_csv("fresh.csv", index=False)
    train = ("train", "payments", "--engine", "direct", "--json", "--data")
    assert cli(*train, "fresh.csv").code == 0

    # 300 held-out rows are too few to compare two models: inconclusive never passes by itself.
    inconclusive = cli("release", "payments", "--engine", "direct", "--json")
    assert inconclusive.code == 4
    assert "injected_recall" in inconclusive.error
    assert "allow_inconclusive" in inconclusive.error
    assert cli("status", "payments", "--json").json["champion"]["version"] == 1

    released.write_text(released.read_text() + "release: {min_gate_rows: 200}\n")
    assert cli("release", "payments", "--engine", "direct", "--json").code == 0
    status = cli("status", "payments", "--json").json
    assert (status["champion"]["version"], status["champion"]["champion"]) == (2, 1)
    fresh = cli("score", "payments", "--data", "fresh.csv", "--engine", "direct", "--json")
    assert fresh.json["steps"]["score"]["model_version"] == 2
    states = {m["version"]: m["state"] for m in cli("models", "list", "payments", "--json").json[
        "models"
    ]}  # fmt: skip
    assert states == {1: "superseded", 2: "production"}

    # One column in other units in half of the rows: what used to stand out hides in the noise.
    rows = frame(1_200, 73)
    rows.loc[::2, ["amount", "rate", "load", "delay"]] *= 40
    rows.to_csv("units.csv", index=False)
    text = released.read_text()
    released.write_text(text.replace("severity: critical", "severity: warning"))
    assert cli(*train, "units.csv").code == 0
    blocked = cli("release", "payments", "--engine", "direct", "--json")
    assert blocked.code == 4
    assert "says block" in blocked.error
    assert cli("status", "payments", "--json").json["champion"]["version"] == 2
