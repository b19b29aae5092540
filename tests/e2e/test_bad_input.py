"""Bad input: a clear message, the documented exit code, nothing lost or half-written."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from command_line import Cli, Outcome, frame

INIT = ("init", "p", "--id", "txn_id", "--json", "--data")


def score(cli: Cli, data: str, out: str = "out.parquet", *more: str) -> Outcome:
    if out == "out.parquet":
        Path(out).unlink(missing_ok=True)  # of another test
    return cli(
        "score", "payments", "--data", data, "--out", out, "--engine", "direct", "--json", *more
    )


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 2, ("nothing.csv",)),
        (b"", 3, ("nothing.csv", "empty")),
        (b"txn_id,a,b\n", 3, ("nothing.csv", "row")),
        (b"txn_id,a,a\n1,2,3\n", 3, ("'a'", "nothing.csv")),
        (b"txn_id,a\n1,\xff\xfe\x81\x00\x00\n2,\x9d\x8f\n", 3, ("nothing.csv",)),
    ],
    ids=["missing", "empty", "header only", "duplicate columns", "undecodable"],
)
def test_a_file_that_is_no_table_is_refused_by_name(
    content: bytes | None, code: int, words: tuple[str, ...], project: Path, cli: Cli
) -> None:
    if content is not None:
        Path("nothing.csv").write_bytes(content)

    outcome = cli(*INIT, "nothing.csv")

    assert outcome.code == code, outcome.out
    for word in words:
        assert word.lower() in outcome.error.lower()
    assert not (project / "conf/pipelines/p.yaml").exists()


def test_a_folder_without_data_is_refused_by_name(project: Path, cli: Cli) -> None:
    Path("empty").mkdir()

    outcome = cli(*INIT, "empty")

    assert outcome.code in (2, 3)
    assert "empty" in outcome.error


def test_ragged_lines_are_quarantined_with_their_line_numbers(champion: Path, cli: Cli) -> None:
    lines = frame(40, 31).to_csv(index=False).splitlines()
    lines[5] += ",one,too,many"
    lines[9] = "t31-8,1"
    Path("ragged.csv").write_text("\n".join(lines) + "\n")

    outcome = score(cli, "ragged.csv")

    assert outcome.code == 0, outcome.out
    facts = outcome.json["steps"]["score"]
    assert (facts["rows_in"], facts["rows_scored"], facts["rows_quarantined"]) == (40, 38, 2)
    quarantined = pq.read_table(facts["quarantine_uri"]).to_pylist()
    assert [row["row_id"] for row in quarantined] == ["ragged.csv:6", "ragged.csv:10"]
    assert quarantined[0]["line"] == lines[5]


def test_too_little_memory_is_told_before_anything_is_read(champion: Path, cli: Cli) -> None:
    frame(40, 31).to_csv("few.csv", index=False)

    outcome = score(cli, "few.csv", "out.parquet", "--memory", "20")

    assert outcome.code == 2
    assert "20 MiB are too little" in outcome.error
    assert "validate" not in outcome.json["steps"]
    assert not Path("out.parquet").exists()


def test_a_wrong_delimiter_is_explained(champion: Path, cli: Cli) -> None:
    path = Path("conf/pipelines/wrong.yaml")
    text = Path("conf/pipelines/payments.yaml").read_text()
    path.write_text(
        text.replace("source: payments.csv", "source: {uri: payments.csv, delimiter: ';'}")
    )
    try:
        outcome = cli("validate", "wrong", "--engine", "direct", "--json")
    finally:
        path.unlink()

    assert outcome.code in (2, 3)
    assert "delimiter" in outcome.error


def test_bad_cells_and_ids_are_quarantined_one_by_one(champion: Path, cli: Cli) -> None:
    rows = frame(200, 32).astype(object)
    rows.loc[3, "amount"] = "abc"
    rows.loc[4, "rate"] = "inf"
    rows.loc[5, "txn_id"] = None
    rows.loc[7, "txn_id"] = rows.loc[6, "txn_id"]
    rows.to_csv("cells.csv", index=False)

    outcome = score(cli, "cells.csv")

    assert outcome.code == 0, outcome.out
    facts = outcome.json["steps"]["score"]
    assert facts["rows_quarantined"] == 4
    reasons = [r["reason"] for r in pq.read_table(facts["quarantine_uri"]).to_pylist()]
    assert "amount" in reasons[0]
    assert "abc" in reasons[0]
    assert "rate" in reasons[1]
    assert "txn_id" in reasons[2]
    assert "txn_id" in reasons[3]
    scored = pq.read_table("out.parquet").column("txn_id").to_pylist()
    assert len(scored) == len(set(scored)) == 196


def test_extreme_but_finite_numbers_and_unseen_categories_are_scored(
    champion: Path, cli: Cli
) -> None:
    rows = frame(60, 33)
    rows.loc[0, "amount"] = 1e308
    rows.loc[1, "amount"] = -1e308
    rows.loc[3, "country"] = "ZZ"
    rows["load"] = rows["load"].round().astype("int64")
    rows.loc[2, "load"] = 2**53 + 1  # no float64 equals it
    rows.to_parquet("extreme.parquet")

    outcome = score(cli, "extreme.parquet")

    assert outcome.code == 0, outcome.out
    scored = pq.read_table("out.parquet").to_pandas()
    assert len(scored) == 60
    assert np.isfinite(scored["score"]).all()
    assert scored["is_anomaly"][:3].all()


def test_too_many_bad_rows_reject_the_snapshot_and_keep_the_quarantine(
    champion: Path, cli: Cli
) -> None:
    rows = frame(100, 34).astype(object)
    rows.loc[:20, "amount"] = "abc"
    rows.to_csv("bad.csv", index=False)

    outcome = score(cli, "bad.csv")

    assert outcome.code == 3
    assert "21 of 100 rows" in outcome.error
    assert "allowed 5.0%" in outcome.error
    assert not Path("out.parquet").exists()


def test_a_missing_column_rejects_the_snapshot_naming_it(champion: Path, cli: Cli) -> None:
    frame(50, 35).drop(columns="load").to_csv("missing.csv", index=False)

    outcome = score(cli, "missing.csv")

    assert outcome.code == 3
    assert "load" in outcome.error
    assert not Path("out.parquet").exists()


def test_a_retyped_column_rejects_the_snapshot(champion: Path, cli: Cli) -> None:
    rows = frame(50, 36)
    rows["load"] = "high"
    rows.to_csv("retyped.csv", index=False)

    outcome = score(cli, "retyped.csv")

    assert outcome.code == 3
    assert "quarantine" in outcome.error


def test_a_single_row_is_scored_but_not_learned_from(champion: Path, cli: Cli) -> None:
    frame(1, 37).to_csv("one.csv", index=False)

    assert score(cli, "one.csv").code == 0
    assert pq.read_table("out.parquet").num_rows == 1
    trained = cli("train", "payments", "--data", "one.csv", "--engine", "direct", "--json")
    assert trained.code in (2, 3)
    assert "row" in trained.error


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"c": ["k"] * 60, "n": [None] * 60}, ("learn",)),
        ({"c": ["k"] * 60}, ("learn",)),
    ],
    ids=["constant and all-null", "constant"],
)
def test_nothing_to_learn_from_is_said_at_once(
    columns: dict[str, list[object]], words: tuple[str, ...], project: Path, cli: Cli
) -> None:
    pd.DataFrame({"txn_id": range(60), **columns}).to_csv("dull.csv", index=False)

    outcome = cli(*INIT, "dull.csv")

    assert outcome.code == 2
    for word in words:
        assert word in outcome.error


def test_a_table_without_numbers_or_with_dull_columns_can_still_be_learned_from(
    project: Path, cli: Cli, with_registry: Callable[[Path], None]
) -> None:
    with_registry(project)
    rng = np.random.default_rng(0)
    pd.DataFrame(
        {
            "txn_id": range(120),
            "colour": rng.choice(["red", "green", "blue"], 120),
            "shape": rng.choice(["round", "square"], 120),
            "constant": 1,
            "nothing": [None] * 120,
            "mixed": ["x" if i == 7 else str(i % 5) for i in range(120)],
        }
    ).to_csv("words.csv", index=False)

    started = cli(*INIT, "words.csv")
    assert started.code == 0, started.out
    assert {"constant", "nothing"} <= set(started.json["excluded"])
    trained = cli("train", "p", "--trials", "1", "--engine", "direct", "--json")
    assert trained.code == 0, trained.out


def test_an_unknown_pipeline_is_answered_with_the_nearest(champion: Path, cli: Cli) -> None:
    outcome = cli("run", "paymnts", "--json")

    assert outcome.code == 2
    assert "did you mean `payments`" in outcome.error


def test_a_parameter_that_no_flow_takes_is_told_before_a_schedule_fires(
    project: Path, cli: Cli
) -> None:
    (project / "conf/pipelines").mkdir()
    (project / "conf/pipelines/p.yaml").write_text(
        "source: data.csv\ncolumns: {a: numeric}\n"
        "schedules: {score: {cron: '0 6 * * *', parameters: {datta: new.csv}}}\n"
    )
    for command in (("config", "show", "p"), ("up",)):
        outcome = cli(*command, "--json")
        assert outcome.code == 2
        assert "schedules.score.parameters: `datta` is no parameter of score" in outcome.error


def test_invalid_yaml_names_file_and_line(project: Path, cli: Cli) -> None:
    folder = project / "conf/pipelines"
    folder.mkdir()
    (folder / "broken.yaml").write_text("source: data.csv\ncolumns: [unclosed\n")
    (folder / "typo.yaml").write_text("source: data.csv\ncolumns: {a: numeric}\nschedulez: {}\n")

    broken, typo = cli("run", "broken", "--json"), cli("run", "typo", "--json")

    assert broken.code == typo.code == 2
    assert "broken.yaml" in broken.error
    assert "typo.yaml:3" in typo.error
    assert "schedules" in typo.error


def test_scoring_without_a_champion_says_what_to_do(project: Path, cli: Cli) -> None:
    frame(60, 38).to_csv("data.csv", index=False)
    assert cli("init", "fresh", "--data", "data.csv", "--id", "txn_id").code == 0

    outcome = cli("score", "fresh", "--engine", "direct", "--json")

    assert outcome.code == 2
    assert "no champion" in outcome.error
    assert "pynomaly run fresh" in outcome.error


def test_an_unwritable_output_is_refused(champion: Path, cli: Cli) -> None:
    Path("file").write_text("x")

    outcome = score(cli, "payments.csv", "file/out.parquet")

    assert outcome.code == 2
    assert "file" in outcome.error


def test_only_what_we_wrote_is_replaced_without_being_told(champion: Path, cli: Cli) -> None:
    frame(30, 39).to_csv("few.csv", index=False)
    Path("mine.csv").write_text("my own notes\n")

    refused = score(cli, "few.csv", "mine.csv")
    assert refused.code == 2
    assert "--overwrite" in refused.error
    assert Path("mine.csv").read_text() == "my own notes\n"

    assert score(cli, "few.csv", "mine.csv", "--overwrite").code == 0
    assert score(cli, "few.csv", "mine.csv").code == 0  # ours by now

    Path("mine.csv").write_text("edited since\n")
    assert score(cli, "few.csv", "mine.csv").code == 2
    assert Path("mine.csv").read_text() == "edited since\n"


def test_a_missing_bucket_is_named(
    champion: Path, cli: Cli, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = score(cli, "s3://no-such-bucket/rows/")

    assert outcome.code == 2
    assert "no-such-bucket" in outcome.error


def flip_last_byte(path: Path) -> bytes:
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    return good


def test_a_damaged_local_copy_is_fetched_anew_from_the_registry(champion: Path, cli: Cli) -> None:
    assert score(cli, "payments.csv").code == 0
    (cached,) = (champion / ".pynomaly/artifacts/verified/payments").glob("*/arrays.npz")
    good = flip_last_byte(cached)

    assert score(cli, "payments.csv").code == 0
    assert cached.read_bytes() == good


def test_a_tampered_model_is_never_loaded(as_trained: Path, champion: Path, cli: Cli) -> None:
    (stored,) = (as_trained / ".pynomaly/artifacts/mlflow").rglob("arrays.npz")
    (cached,) = (champion / ".pynomaly/artifacts/verified/payments").glob("*/arrays.npz")
    good = flip_last_byte(stored)
    flip_last_byte(cached)
    try:
        outcome = score(cli, "payments.csv")
    finally:
        stored.write_bytes(good)

    assert outcome.code == 7
    assert "arrays.npz" in outcome.error
    assert not Path("out.parquet").exists()


def test_an_id_named_like_one_of_our_columns_is_refused(project: Path, cli: Cli) -> None:
    frame(60, 41).rename(columns={"txn_id": "score"}).to_csv("ids.csv", index=False)

    outcome = cli("init", "p", "--data", "ids.csv", "--id", "score", "--json")

    assert outcome.code == 2
    assert "'score'" in outcome.error


def test_an_id_that_does_not_identify_rows_is_refused(project: Path, cli: Cli) -> None:
    frame(60, 43).to_csv("rows.csv", index=False)

    outcome = cli("init", "p", "--data", "rows.csv", "--id", "country", "--json")

    assert outcome.code == 2
    assert "3 distinct values in 60 rows" in outcome.error


def test_more_equal_alerts_than_a_report_shows_are_no_problem(champion: Path, cli: Cli) -> None:
    rows = frame(60, 42)
    rows.loc[:, ["amount", "rate", "load", "delay"]] = 900.0
    rows["country"] = "DE"
    rows.to_csv("tied.csv", index=False)
    rules = Path("conf/pipelines/payments.yaml").read_text()
    Path("conf/pipelines/payments.yaml").write_text(
        rules.replace("severity: critical", "severity: warning")
    )
    try:
        outcome = score(cli, "tied.csv")
    finally:
        Path("conf/pipelines/payments.yaml").write_text(rules)

    assert outcome.code == 0, outcome.out
    assert outcome.json["steps"]["score"]["rows_flagged"] == 60


@pytest.mark.slow
def test_ctrl_c_half_way_leaves_no_partial_output_and_the_next_run_works(
    champion: Path, cli: Cli
) -> None:
    frame(600_000, 40).to_parquet("large.parquet")
    command = [sys.executable, "-m", "pynomaly.presentation.cli.main", "score", "payments"]
    arguments = ["--data", "large.parquet", "--out", "large-out.parquet", "--engine", "direct"]
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYNOMALY_SCORING__THREADS": "1"},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        deadline = time.monotonic() + 120
        for line in process.stderr:
            if "score" in line and "validate" not in line:
                break
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert process.returncode == 130
    assert not Path("large-out.parquet").exists()
    assert not list(champion.glob(".*large-out*"))
    assert score(cli, "payments.csv").code == 0
