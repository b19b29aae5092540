"""What a newcomer does with a file of their own, command by command."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from command_line import Cli, frame


def test_a_run_leaves_a_champion_scores_reasons_and_a_report(champion: Path, cli: Cli) -> None:
    history = cli("history", "payments", "--limit", "500", "--json").json
    run = next(r for r in history["runs"] if r["command"] == "run")
    steps = {step["step"]: step["summary"] for step in run["steps"]}

    assert run["status"] == "completed"
    assert list(steps) == [
        "plan", "validate", "profile", "tune", "train", "register", "gate", "promote", "score",
    ]  # fmt: skip
    assert steps["gate"]["verdict"] == "pass"
    score = steps["score"]
    assert score["rows_in"] == score["rows_scored"] + score["rows_quarantined"] == 800
    scored = pq.read_table(score["output_uri"]).to_pandas()
    assert list(scored.columns) == [
        "txn_id", "score", "p_value", "is_anomaly", "severity", "reasons", "model_version",
        "policy_version", "scored_at",
    ]  # fmt: skip
    assert scored["reasons"].notna().equals(scored["is_anomaly"])
    assert 0 < scored["is_anomaly"].sum() == score["rows_flagged"]


def test_status_history_models_and_pipelines_tell_the_same_story(champion: Path, cli: Cli) -> None:
    status = cli("status", "payments", "--json").json
    models = cli("models", "list", "payments", "--json").json

    assert status["champion"]["version"] == 1
    assert status["champion"]["state"] == "production"
    assert [m["state"] for m in models["models"]] == ["production"]
    assert "payments" in cli("pipelines", "list").out
    for command in (("status",), ("history",), ("models", "list")):
        outcome = cli(*command, "payments")
        assert outcome.code == 0
        assert "payments" in outcome.out or "production" in outcome.out


def test_rows_that_are_only_scored_are_not_kept_a_second_time(champion: Path, cli: Cli) -> None:
    datasets = champion / ".pynomaly/artifacts/datasets"
    before = sorted(datasets.glob("*-accepted*"))
    frame(40, 77).to_csv("only-scored.csv", index=False)

    assert cli("score", "payments", "--data", "only-scored.csv", "--engine", "direct").code == 0

    assert sorted(datasets.glob("*-accepted*")) == before


@pytest.mark.parametrize("extension", ["parquet", "csv", "jsonl"])
def test_new_rows_are_scored_into_the_format_of_the_extension(
    extension: str, champion: Path, cli: Cli
) -> None:
    frame(50, 7).to_parquet("new.parquet")
    out = champion / f"scored.{extension}"

    outcome = cli(
        "score", "payments", "--data", "new.parquet", "--out", out, "--engine", "direct", "--json"
    )

    assert outcome.code == 0
    read = {"parquet": pd.read_parquet, "csv": pd.read_csv}.get(
        extension, lambda path: pd.read_json(path, lines=True)
    )
    scored = read(out)
    assert len(scored) == 50 == outcome.json["steps"]["score"]["rows_scored"]


def test_the_top_reason_of_a_row_pushed_far_out_is_the_pushed_column(
    champion: Path, cli: Cli
) -> None:
    rows = frame(40, 11)
    for i, column in enumerate(["amount", "rate", "load", "delay"]):
        rows.loc[i, column] = 50 + 100 * (1 if i % 2 else -1)
    rows.to_csv("pushed.csv", index=False)

    cli(
        "score", "payments", "--data", "pushed.csv", "--out", "pushed.parquet", "--engine", "direct"
    )

    scored = pq.read_table("pushed.parquet").to_pylist()
    for i, column in enumerate(["amount", "rate", "load", "delay"]):
        assert scored[i]["is_anomaly"]
        assert scored[i]["reasons"][0]["column"] == column
        assert scored[i]["reasons"][0]["direction"] == ("high" if i % 2 else "low")


def test_validate_profile_and_report_work_alone(champion: Path, cli: Cli) -> None:
    validated = cli("validate", "payments", "--engine", "direct", "--json")
    profiled = cli("profile", "payments", "--engine", "direct", "--json")
    report = cli("report", "payments", "--out", "report.html")

    assert validated.json["steps"]["validate"]["verdict"] == "passed"
    assert profiled.code == 0
    assert report.code == 0
    page = Path("report.html").read_text()
    assert "<html" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_what_serves_already_is_not_released_again(champion: Path, cli: Cli) -> None:
    outcome = cli("release", "payments", "--engine", "direct", "--json")

    assert outcome.code == 2
    assert "serves already" in outcome.error


def test_scores_do_not_depend_on_column_order_extra_columns_or_company(
    champion: Path, cli: Cli
) -> None:
    rows = frame(60, 21)
    rows.to_csv("straight.csv", index=False)
    rows.iloc[::-1, ::-1].assign(extra="x").to_parquet("mixed.parquet")
    rows.iloc[[5]].to_json("alone.jsonl", orient="records", lines=True)

    for name in ("straight.csv", "mixed.parquet", "alone.jsonl"):
        outcome = cli(
            "score", "payments", "--data", name, "--out", f"{name}.parquet", "--overwrite",
            "--engine", "direct", "--json",
        )  # fmt: skip
        assert outcome.code == 0, outcome.out

    straight = pd.read_parquet("straight.csv.parquet").set_index("txn_id")["score"]
    mixed = pd.read_parquet("mixed.parquet.parquet").set_index("txn_id")["score"]
    alone = pd.read_parquet("alone.jsonl.parquet").set_index("txn_id")["score"]
    pd.testing.assert_series_equal(straight, mixed.loc[straight.index], rtol=0, atol=1e-9)
    assert alone.iloc[0] == pytest.approx(straight[alone.index[0]], abs=1e-9)


def _model(project: Path, pipeline: str) -> str:
    (folder,) = (project / ".pynomaly/artifacts/models" / pipeline).iterdir()
    return (folder / "model.json").read_text()


def test_labels_shape_the_score_and_are_measured_but_are_no_feature(
    project: Path, cli: Cli, with_registry: Callable[[Path], None]
) -> None:
    with_registry(project)
    rows = frame(700, 61)
    strange = rows.index % 20 == 0
    rows.loc[strange, ["amount", "load"]] += 25
    rows["fraud"] = strange.astype(int)
    rows.loc[rows.index % 3 == 0, "fraud"] = None  # a third is unknown
    rows.to_csv("labelled.csv", index=False)
    cli("init", "fraud", "--data", "labelled.csv", "--id", "txn_id", "--label", "fraud")
    path = project / "conf/pipelines/fraud.yaml"
    path.write_text(path.read_text() + "\ntraining: {trials: 3}\n")

    outcome = cli("run", "fraud", "--engine", "direct", "--json")

    assert outcome.code == 0, outcome.out
    steps = outcome.json["steps"]
    assert steps["tune"]["objective"] == "consensus_stability"
    assert '"head": {' in _model(project, "fraud")
    assert steps["train"]["metrics"]["holdout_average_precision"] > 0.8
    assert "average_precision" in [gate["gate"] for gate in steps["gate"]["gates"]]
    run_id = outcome.json["run_id"]
    plots = project / ".pynomaly/artifacts/plots" / run_id
    assert (plots / "precision_recall.png").exists()
    assert '"fraud:' not in _model(project, "fraud")
    assert '"column": "fraud"' not in _model(project, "fraud")
