"""``pynomaly detect``: one command, no project, nothing left behind but what was asked for."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from command_line import Cli
from pynomaly.domain.evaluation import roc_auc

QUICK = ("--budget", "quick", "--detector", "pca")
"""Milliseconds to fit; what a test is about is rarely the ensemble."""


def payments(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Columns of every kind, with two planted anomalies: rows 10 and 20."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "txn_id": [f"t{i:04d}" for i in range(rows)],
            "ts": pd.date_range("2026-01-05 08:00", periods=rows, freq="min"),
            "amount": rng.normal(50, 5, rows).round(2),
            "rate": rng.normal(0.3, 0.02, rows).round(4),
            "country": rng.choice(["DE", "FR", "US"], rows, p=[0.6, 0.3, 0.1]),
            "vip": rng.choice(["yes", "no"], rows),
            "note": [f"please handle order number {i} with great care" for i in range(rows)],
            "batch": "B7",
        }
    )
    data.loc[rng.choice(rows, 12, replace=False), "rate"] = np.nan
    data.loc[10, "amount"] = 950.0
    data.loc[20, ["country", "rate"]] = ["XX", 0.9]
    return data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(folder: Path) -> str:
    payments().to_csv(folder / "payments.csv", index=False)
    return "payments.csv"


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


def test_nothing_is_left_behind_but_what_was_asked_for(file: str, folder: Path, cli: Cli) -> None:
    before = set(folder.rglob("*"))

    assert cli("detect", file, *QUICK).code == 0
    assert set(folder.rglob("*")) == before

    files = ("--out", "s.parquet", "--report", "r.html", "--quarantine", "q.csv")
    assert cli("detect", file, *QUICK, *files).code == 0
    assert {path.name for path in set(folder.rglob("*")) - before} == {"s.parquet", "r.html"}


def test_a_broken_project_around_it_does_not_matter(file: str, folder: Path, cli: Cli) -> None:
    (folder / "conf/base").mkdir(parents=True)
    (folder / "conf/base/settings.yaml").write_text("records: [nonsense")

    assert cli("detect", file, *QUICK).code == 0


@pytest.mark.parametrize("out", ["scored.parquet", "scored.csv", "scored.jsonl"])
def test_every_row_is_written_with_its_score(file: str, out: str, cli: Cli) -> None:
    outcome = cli("detect", file, "--id", "txn_id", "--out", out, *QUICK, "--json")

    read = {
        ".parquet": pd.read_parquet, ".csv": pd.read_csv,
        ".jsonl": lambda path: pd.read_json(path, lines=True),
    }  # fmt: skip
    scored = read[Path(out).suffix](out)
    assert scored["txn_id"].tolist() == payments()["txn_id"].tolist()
    assert scored.columns.tolist() == [
        "txn_id", "score", "p_value", "is_anomaly", "severity", "reasons",
    ]  # fmt: skip
    assert int(scored["is_anomaly"].sum()) == outcome.json["flagged"]
    assert scored["reasons"].notna().tolist() == scored["is_anomaly"].tolist()
    top = outcome.json["top"][0]
    row = scored.set_index("txn_id").loc[top["ids"]["txn_id"]]
    assert row["score"] == pytest.approx(top["score"])


def test_rows_that_cannot_be_read_are_set_aside_with_the_reason(folder: Path, cli: Cli) -> None:
    data = payments().astype({"amount": object})
    data.loc[[3, 5], "amount"] = ["oops", "inf"]
    lines = data.to_csv(index=False).splitlines()
    lines.insert(8, "only,three,fields")
    (folder / "p.csv").write_text("\n".join(lines) + "\n")

    found = cli("detect", "p.csv", *QUICK, "--quarantine", "q.csv", "--json").json

    assert (found["rows"], found["scored"], found["quarantined"]) == (401, 398, 3)
    reasons = {refusal["row_id"]: refusal["reason"] for refusal in found["refusals"]}
    assert reasons["p.csv#4"] == "amount: 'oops' is not a number"
    assert "amount: 'inf' is not a finite number" in reasons.values()
    assert any("expected 8 fields, found 3" in reason for reason in reasons.values())
    assert len(pd.read_csv("q.csv")) == 3


def test_an_existing_output_costs_no_fit_and_keeps_its_bytes(
    file: str, folder: Path, cli: Cli
) -> None:
    for option, name in (("--out", "mine.csv"), ("--report", "mine.html")):
        (folder / name).write_text("mine")

        outcome = cli("detect", file, option, name, *QUICK)

        assert outcome.code == 2
        assert "fit" not in outcome.err.replace("file", "")
        assert (folder / name).read_text() == "mine"
        assert cli("detect", file, option, name, "--overwrite", *QUICK).code == 0
        assert (folder / name).read_text() != "mine"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--out", "x.csv", "--quarantine", "x.csv"), ("--out", "--quarantine", "x.csv")),
        (("--out", "x.csv", "--report", "sub/../x.csv"), ("--out", "--report", "x.csv")),
        (("--quarantine", "x.csv", "--report", "./x.csv"), ("--quarantine", "--report")),
        (("--out", "payments.csv"), ("--out", "payments.csv")),
        (("--report", "link.html"), ("--report", "link.html", "payments.csv")),
    ],
)
@pytest.mark.parametrize("read", ["payments.csv", "p*.csv"])
def test_no_output_takes_the_place_of_another_or_of_the_input(
    file: str, folder: Path, options: tuple[str, ...], named: tuple[str, ...], read: str, cli: Cli
) -> None:
    (folder / "link.html").symlink_to(folder / file)
    before = (folder / file).read_bytes()

    outcome = cli("detect", read, *options, "--overwrite", *QUICK)

    assert outcome.code == 2
    assert all(name in outcome.err for name in named)
    assert (folder / file).read_bytes() == before
    assert not (folder / "x.csv").exists()


def test_a_file_of_the_folder_that_is_read_is_not_replaced(folder: Path, cli: Cli) -> None:
    (folder / "in").mkdir()
    payments().to_csv("in/a.csv", index=False)

    outcome = cli("detect", "in", "--out", "in/a.csv", "--overwrite", *QUICK)

    assert outcome.code == 2
    assert "a.csv" in outcome.err


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


def test_the_report_opens_offline_and_says_the_same(file: str, folder: Path, cli: Cli) -> None:
    found = cli("detect", file, "--id", "txn_id", "--report", "r.html", *QUICK, "--json").json

    page = (folder / "r.html").read_text()
    assert found["top"][0]["ids"]["txn_id"] in page
    assert "amount 950 — " in page
    assert "Stability is not quality" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "<script" not in page


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


def write(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


WRONG = {
    "a missing file": (lambda: ("gone.csv",), 2, "gone.csv"),
    "an empty file": (lambda: (write("e.csv", ""),), 3, "e.csv"),
    "a header alone": (lambda: (write("h.csv", "a,b\n"),), 3, "no rows"),
    "one row": (lambda: (write("o.csv", "a,b\n1,2\n"),), 2, "o.csv has no column to learn from"),
    "a few rows": (lambda: (write("f.csv", "a,b\n1,2\n2,3\n4,5\n"),), 2, "too few"),
    "a constant table": (
        lambda: (write("c.csv", "a,b\n" + "1,x\n" * 50),), 2, "is always '1'",
    ),
    "rows nearly all alike": (
        lambda: (write("n.csv", "a\n" + "1\n" * 80 + "2\n"), "--budget", "quick"), 2, "too much alike",
    ),
    "texts alone": (
        lambda: (
            write("t.csv", "a\n" + "".join(f"the {i}th story of a long night\n" for i in range(60))),
        ),
        2, "free text",
    ),
    "an unknown column": (lambda: (write("u.csv", "a\n1\n2\n"), "--id", "z"), 2, "no column 'z'"),
    "an unknown detector": (
        lambda: (write("d.csv", "a\n" + "1\n2\n" * 20), "--detector", "magic"), 2, "magic",
    ),
    "an impossible budget": (
        lambda: (write("b.csv", "a\n1\n2\n"), "--alert-budget", "1.5"), 2, "1.5",
    ),
    "a label that is none": (
        lambda: (write("l.csv", "a,y\n" + "1,red\n2,blue\n" * 20), "--label", "y"), 2, "labels",
    ),
    "an output of an unknown kind": (
        lambda: (write("k.csv", "a\n1\n2\n"), "--out", "scored.doc"), 2, "scored.doc",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_documented_exit_code(
    case: str, folder: Path, cli: Cli
) -> None:
    arguments, code, named = WRONG[case]

    outcome = cli("detect", *arguments(), "--json")

    assert outcome.code == code, outcome.out
    assert named in outcome.error
    assert outcome.json["error"]["exit_code"] == code


def test_with_a_time_column_rows_say_when_they_happened(file: str, cli: Cli) -> None:
    arguments = ("detect", file, "--id", "txn_id", "--time", "ts", *QUICK)

    rows = {row["ids"]["txn_id"]: row["time"] for row in cli(*arguments, "--json").json["top"]}

    assert rows["t0010"] == "2026-01-05T08:10:00Z"
    assert "2026-01-05 08:10:00" in cli(*arguments).out


def test_a_folder_of_files_is_one_table(folder: Path, cli: Cli) -> None:
    (folder / "in").mkdir()
    payments(200, 1).to_csv("in/a.csv", index=False)
    payments(200, 2).to_csv("in/b.csv", index=False)

    found = cli("detect", "in", *QUICK, "--json").json

    assert found["scored"] == 400
    assert {row["ids"]["row_id"].split("#")[0] for row in found["top"]} == {"a.csv", "b.csv"}


def test_typed_files_keep_their_types(folder: Path, cli: Cli) -> None:
    data = payments().assign(vip=lambda d: d["vip"] == "yes").astype({"country": "category"})
    data.to_parquet("p.parquet", index=False)

    found = cli("detect", "p.parquet", "--out", "s.parquet", *QUICK, "--json").json

    uses = {column["name"]: column["use"] for column in found["columns"]}
    assert (uses["vip"], uses["country"], uses["ts"]) == ("boolean", "categorical", "datetime")
    assert pq.read_table("s.parquet").column_names[0] == "row_id"


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
