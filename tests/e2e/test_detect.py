"""``pynomaly detect``: one command, no project; what it finds, and what it says of it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from command_line import QUICK, Cli
from pynomaly.domain.evaluation import roc_auc


def test_planted_anomalies_lead_with_the_right_reasons(file: str, cli: Cli) -> None:
    found = cli("detect", file, "--id", "txn_id", "--budget", "quick", "--json").json

    first, second = found["top"][:2]
    assert {first["ids"]["txn_id"], second["ids"]["txn_id"]} == {"t0010", "t0020"}
    reasons = {row["ids"]["txn_id"]: row["reasons"] for row in (first, second)}
    assert reasons["t0010"][0]["column"] == "amount"
    assert reasons["t0010"][0]["value"] == "950"
    assert {r["column"] for r in reasons["t0020"]} >= {"rate", "country"}
    assert first["is_anomaly"]
    assert second["is_anomaly"]
    assert not found["trust"]["inconclusive"]


def test_every_column_is_accounted_for(file: str, cli: Cli) -> None:
    found = cli("detect", file, "--id", "txn_id", "--time", "ts", *QUICK, "--json").json

    uses = {column["name"]: column["use"] for column in found["columns"]}
    assert uses == {
        "txn_id": "id", "ts": "datetime", "amount": "numeric", "rate": "numeric",
        "country": "categorical", "vip": "boolean", "note": "dropped", "batch": "dropped",
    }  # fmt: skip
    why = {column["name"]: column["why"] for column in found["columns"]}
    assert "free text" in why["note"]
    assert "always 'B7'" in why["batch"]
    assert "3.0% missing" in why["rate"]


def test_people_read_columns_reasons_trust_and_the_next_command(file: str, cli: Cli) -> None:
    outcome = cli("detect", file, "--id", "txn_id", *QUICK)

    assert outcome.code == 0
    assert "free text" in outcome.out
    assert "amount 950 — " in outcome.out
    assert "How far to trust this" in outcome.out
    assert "Stability is not quality" in outcome.out
    assert "pynomaly detect payments.csv --id txn_id --label label" in outcome.out
    assert outcome.err.split() == ["read", "…", "fit", "…", "score", "…"]


def test_an_uncertified_detector_can_be_tried_and_is_called_so(
    file: str, folder: Path, cli: Cli
) -> None:
    arguments = ("detect", file, "--budget", "quick", "--detector", "pyod:KDE")

    outcome = cli(*arguments, "--report", "r.html")
    found = cli(*arguments, "--json").json

    assert outcome.code == 0
    assert "pyod:KDE (uncertified)" in outcome.out
    assert "pyod:KDE is uncertified" in outcome.out
    assert "(uncertified)" in (folder / "r.html").read_text()
    assert (found["detector"], found["certified"]) == ("pyod:KDE", False)
    assert cli("detect", file, *QUICK, "--json").json["certified"] is True


@pytest.mark.parametrize(("typed", "meant"), [("pyod:KDEE", "pyod:KDE"), ("iforst", "iforest")])
def test_a_mistyped_detector_suggests_the_nearest(
    file: str, typed: str, meant: str, cli: Cli
) -> None:
    outcome = cli("detect", file, "--budget", "quick", "--detector", typed)

    assert outcome.code == 2
    assert f"did you mean '{meant}'?" in outcome.err


@pytest.mark.parametrize("shape", ["normal", "uniform"])
def test_on_noise_it_says_that_there_is_nothing_to_hold_on_to(
    folder: Path, shape: str, cli: Cli
) -> None:
    rng = np.random.default_rng(4)
    data = rng.normal(size=(600, 5)) if shape == "normal" else rng.uniform(size=(600, 5))
    pd.DataFrame(data, columns=list("abcde")).to_csv("noise.csv", index=False)

    found = cli("detect", "noise.csv", "--budget", "quick", "--json").json

    assert found["trust"]["inconclusive"]
    assert "nothing here to hold on to" in found["trust"]["findings"][0]
    assert "edge of a plain cloud" in found["trust"]["findings"][1]
    assert len(found["to_label"]) == 10
    assert found["next"] == ["pynomaly detect noise.csv --label label"]


def test_labels_teach_what_no_strangeness_tells(folder: Path, cli: Cli) -> None:
    rng = np.random.default_rng(6)
    data = pd.DataFrame(rng.normal(size=(600, 4)), columns=list("abcd"))
    sought = rng.permutation(600)[:60]
    data.loc[sought, "b"] = rng.normal(1.0, 0.1, 60)  # nothing about them is rare
    data.loc[sought, "c"] = rng.normal(-1.0, 0.1, 60)
    data["y"] = np.nan
    data.loc[sought[:30], "y"] = 1
    data.loc[np.setdiff1d(np.arange(200), sought), "y"] = 0
    data.to_csv("labelled.csv", index=False)
    data.drop(columns="y").to_csv("plain.csv", index=False)

    def found(file: str, *options: str) -> tuple[dict, float]:
        options = (*options, "--out", f"{file}.parquet", *QUICK, "--json")
        document = cli("detect", file, *options).json
        scores = pd.read_parquet(f"{file}.parquet")["score"].to_numpy()
        unseen = np.setdiff1d(np.arange(200, 600), sought[:30])
        return document, roc_auc(np.isin(unseen, sought).astype(int), scores[unseen])

    _, without = found("plain.csv")
    document, taught = found("labelled.csv", "--label", "y")

    assert without < 0.6
    assert taught > 0.95
    normal = int((data["y"] == 0).sum())
    assert document["known_labels"] == [30, normal]
    assert document["trust"]["findings"][0].startswith("Labels shape the score (30 known")
    assert {c["name"]: c["use"] for c in document["columns"]}["y"] == "label"
    known = {f"labelled.csv#{i + 1}" for i in np.flatnonzero(data["y"].notna())}
    assert not known & {row["ids"]["row_id"] for row in document["to_label"]}
    assert document["next"] == ["pynomaly detect labelled.csv --label y"]


def test_minus_one_is_no_label_of_a_file_and_said_to_be_none(folder: Path, cli: Cli) -> None:
    data = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=list("ab"))
    data["y"] = [1] * 2 + [0] * 50 + [-1] * 8
    data.to_csv("minus.csv", index=False)

    found = cli("detect", "minus.csv", "--label", "y", *QUICK, "--json").json

    assert found["quarantined"] == 8
    assert "y: '-1' is not a label (0, 1 or empty)" in found["refusals"][0]["reason"]


def test_every_labelled_row_of_a_large_file_is_learnt_from(folder: Path, cli: Cli) -> None:
    rng = np.random.default_rng(7)
    data = pd.DataFrame(rng.normal(size=(9_000, 3)), columns=list("abc")).round(4)
    data["y"] = ""
    data.loc[8_900:8_919, "y"] = "1"
    data.to_csv("large.csv", index=False)

    found = cli("detect", "large.csv", "--label", "y", *QUICK, "--json").json

    assert found["fitted_rows"] == 4_000
    assert found["known_labels"] == [20, 0]
    assert found["calibration_rows"] == 9_000 - 4_000


def test_with_a_time_column_rows_say_when_they_happened(file: str, cli: Cli) -> None:
    arguments = ("detect", file, "--id", "txn_id", "--time", "ts", *QUICK)

    rows = {row["ids"]["txn_id"]: row["time"] for row in cli(*arguments, "--json").json["top"]}

    assert rows["t0010"] == "2026-01-05T08:10:00Z"
    assert "2026-01-05 08:10:00" in cli(*arguments).out


HEAVY = ("great_expectations", "mlflow", "prefect", "alembic", "sqlalchemy", "boto3", "matplotlib")


def test_nothing_of_the_platform_is_imported_for_it(file: str, folder: Path) -> None:
    program = (
        "import sys\n"
        "from pynomaly.presentation.cli.main import main\n"
        f"code = main(['detect', {file!r}, '--budget', 'quick', '--detector', 'pca', '--json'])\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(code or ', '.join(found) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scored"] == 400
