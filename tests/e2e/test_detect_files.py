"""``pynomaly detect`` reads what it is given, writes what was asked for, and nothing else."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from command_line import QUICK, Cli, payments


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


def test_the_report_opens_offline_and_says_the_same(file: str, folder: Path, cli: Cli) -> None:
    found = cli("detect", file, "--id", "txn_id", "--report", "r.html", *QUICK, "--json").json

    page = (folder / "r.html").read_text()
    assert found["top"][0]["ids"]["txn_id"] in page
    assert "amount 950 — " in page
    assert "Stability is not quality" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "<script" not in page


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


def test_a_table_is_named_behind_its_database(folder: Path, cli: Cli) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.execute("CREATE TABLE pay (id INTEGER PRIMARY KEY, amount REAL)")
        rows = [(i, i % 7 + i / 100) for i in range(60)]
        database.executemany("INSERT INTO pay VALUES (?, ?)", rows)
        database.commit()

    assert (
        cli("detect", "sqlite:///shop.db#pay", "--id", "id", *QUICK, "--json").json["scored"] == 60
    )
    unnamed = cli("detect", "sqlite:///shop.db", *QUICK)
    assert unnamed.code == 2
    assert "names no table" in unnamed.err


def test_a_folder_of_files_is_one_table(folder: Path, cli: Cli) -> None:
    (folder / "in").mkdir()
    payments(200, 1).to_csv("in/a.csv", index=False)
    payments(200, 2).to_csv("in/b.csv", index=False)

    found = cli("detect", "in", *QUICK, "--json").json

    assert found["scored"] == 400
    assert {row["ids"]["row_id"].split("#")[0] for row in found["top"]} == {"a.csv", "b.csv"}


def test_typed_files_keep_their_types(folder: Path, cli: Cli) -> None:
    data = payments().assign(vip=lambda d: d["vip"] == "yes").astype({"country": "category"})
    data["ts"] = pd.date_range("2026-01-05", periods=len(data), freq="1h")  # some weeks
    data.to_parquet("p.parquet", index=False)

    found = cli("detect", "p.parquet", "--out", "s.parquet", *QUICK, "--json").json

    uses = {column["name"]: column["use"] for column in found["columns"]}
    assert (uses["vip"], uses["country"], uses["ts"]) == ("boolean", "categorical", "datetime")
    assert pq.read_table("s.parquet").column_names[0] == "row_id"
