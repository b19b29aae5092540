"""Watching a pipeline whose rows stay as they were, and then do not."""

from pathlib import Path

import pytest

from command_line import Cli, frame


@pytest.fixture
def watched(scoring_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a champion that refuses only what it cannot read."""
    monkeypatch.chdir(scoring_project)
    monkeypatch.delenv("PYNOMALY_HOME", raising=False)
    path = scoring_project / "conf/pipelines/payments.yaml"
    path.write_text(path.read_text().replace("severity: critical", "severity: warning"))
    return scoring_project


def test_batches_are_watched_from_the_first_to_the_one_that_drifts(watched: Path, cli: Cli) -> None:
    monitor = ("monitor", "payments", "--engine", "direct", "--json")
    for name, seed in (("monday", 5), ("tuesday", 6)):
        frame(600, seed).to_csv(f"{name}.csv", index=False)
        assert cli("score", "payments", "--data", f"{name}.csv", "--engine", "direct").code == 0

    usual = cli(*monitor)
    assert usual.code == 0, usual.out
    facts = usual.json["steps"]["monitor"]
    levels = {f["check"]: f["level"] for f in facts["findings"]}
    assert levels == dict.fromkeys(
        ["alerts_budget", "alerts_earlier", "scores_calibration", "scores_earlier", "quarantine",
         "validation"], "ok",
    )  # fmt: skip
    assert (facts["level"], facts["rows"], facts["earlier_batches"]) == ("ok", 600, 1)
    assert facts["source"].endswith("tuesday.csv")

    moved = frame(600, 7)
    moved[["amount", "load"]] += 12
    moved.to_csv("wednesday.csv", index=False)
    assert cli("score", "payments", "--data", "wednesday.csv", "--engine", "direct").code == 0
    drift = cli(*monitor)
    assert drift.code == 0
    facts = drift.json["steps"]["monitor"]
    found = {f["check"]: f for f in facts["findings"]}
    assert facts["level"] == "drift"
    assert found["scores_earlier"]["level"] == found["alerts_budget"]["level"] == "drift"
    assert found["validation"]["level"] == "watch"
    assert found["alerts_budget"]["observed"] == facts["flagged"] / facts["rows"]
    assert found["scores_earlier"]["p"] < 1e-6

    shown = cli("monitor", "payments", "--engine", "direct")
    assert "rows look stranger" in " ".join(shown.out.split())
    assert "pynomaly run payments" in shown.out
    page = Path(drift.json["report"]).read_text()
    assert "The last scored batch has drifted" in page
    latest = cli("history", "payments", "--json").json["runs"][0]
    assert latest["command"] == "monitor"
    assert latest["steps"][0]["summary"]["level"] == "drift"


def test_the_data_a_model_was_trained_on_is_judged_as_such(champion: Path, cli: Cli) -> None:
    assert cli("score", "payments", "--engine", "direct").code == 0

    facts = cli("monitor", "payments", "--engine", "direct", "--json").json["steps"]["monitor"]

    assert any("trained on" in note for note in facts["notes"])
    assert "scores_calibration" not in {f["check"] for f in facts["findings"]}


def test_a_pipeline_without_scores_says_what_to_do(project: Path, cli: Cli) -> None:
    frame(50, 1).to_csv("payments.csv", index=False)
    assert cli("init", "payments", "--data", "payments.csv", "--id", "txn_id").code == 0

    outcome = cli("monitor", "payments", "--engine", "direct", "--json")

    assert outcome.code == 2
    assert "pynomaly score payments --data FILE" in outcome.error
