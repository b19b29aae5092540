"""A second version: inconclusive on few rows, blocked when bad, promoted when good."""

from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import Cli, frame


@pytest.fixture
def released(project: Path, cli: Cli, with_registry: Callable[[Path], None]) -> Path:
    """A project whose version 1 serves."""
    with_registry(project)
    frame(1_200, 71).to_csv("payments.csv", index=False)
    assert cli("init", "payments", "--data", "payments.csv", "--id", "txn_id").code == 0
    path = project / "conf/pipelines/payments.yaml"
    path.write_text(
        path.read_text()
        + "\ntraining: {trials: 1, detectors: [pca]}\nrollout: {strategy: direct}\n"
    )
    assert cli("run", "payments", "--engine", "direct").code == 0
    return path


def test_a_good_successor_serves_and_a_bad_one_never_does(released: Path, cli: Cli) -> None:
    frame(1_200, 72).to_csv("fresh.csv", index=False)
    train = ("train", "payments", "--engine", "direct", "--json", "--data")

    # 300 held-out rows are too few to compare two models: inconclusive never passes by itself.
    # The champion keeps serving, so the rows are scored all the same.
    run = ("run", "payments", "--data", "fresh.csv", "--engine", "direct", "--json")
    inconclusive = cli(*run)
    assert inconclusive.code == 4
    assert "injected_recall" in inconclusive.error
    assert "300 rows were held out" in inconclusive.error
    assert "conf/pipelines/payments.yaml" in inconclusive.error
    assert inconclusive.json["steps"]["score"]["rows_scored"] == 1_200
    assert inconclusive.json["steps"]["score"]["model_version"] == 1
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

    # Data moved.  As long as production never sent such rows, a model of them would flood what it
    # does send; no gate can know which of the two is wrong.
    rows = frame(1_200, 73)
    rows[["amount", "rate", "load", "delay"]] += 40
    rows.to_csv("moved.csv", index=False)
    text = released.read_text().replace("severity: critical", "severity: warning")
    released.write_text(text)
    assert cli(*train, "moved.csv").code == 0
    flood = cli("release", "payments", "--engine", "direct", "--json")
    assert flood.code == 4
    assert "recent_alert_rate says block" in flood.error
    assert "rows of the batch scored 20" in flood.error

    # Once it did send them, the champion overruns its budget on them: a person has to look.
    assert cli("score", "payments", "--data", "moved.csv", "--engine", "direct").code == 0
    waiting = cli("release", "payments", "--engine", "direct", "--json")
    assert waiting.code == 5
    assert "data moved" in waiting.error
    assert cli("status", "payments", "--json").json["champion"]["version"] == 2

    # What a gate blocks nobody can wave through.
    released.write_text(
        text.replace("min_gate_rows", "recall_block: 0.9, recall_review: 0.95, min_gate_rows")
    )
    accept = ("release", "payments", "--accept-review", "--engine", "direct", "--json")
    blocked = cli(*accept)
    assert blocked.code == 4
    assert "injected_recall says block" in blocked.error
    assert cli("status", "payments", "--json").json["champion"]["version"] == 2

    released.write_text(text)
    assert cli(*accept).code == 0
    assert cli("status", "payments", "--json").json["champion"]["version"] == 3
