"""A past scoring decision is made once more and comes out as it was, or the difference is told."""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from command_line import Cli, frame

ROWS = 2_000


@pytest.fixture
def project(scoring_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a champion and data in several partitions, one row of which is refused."""
    monkeypatch.chdir(scoring_project)
    monkeypatch.delenv("PYNOMALY_HOME", raising=False)
    monkeypatch.setenv("PYNOMALY_SCORING__PARTITION_ROWS", "500")
    data = frame(ROWS, 7)
    data["day"] = [f"2026-01-0{1 + i % 3}" for i in range(ROWS)]
    data.loc[700, "amount"] = float("inf")
    table = pa.Table.from_pandas(data, preserve_index=False)
    pq.write_table(table, scoring_project / "new.parquet", row_group_size=500)
    return scoring_project


def score(cli: Cli, *options: str, data: str = "new.parquet") -> str:
    """Score and return the run's id."""
    outcome = cli("score", "payments", "--data", data, "--engine", "direct", "--json", *options)
    assert outcome.code == 0, outcome.err
    return str(outcome.json["run_id"])


def replayed(cli: Cli, run: str, *options: str) -> dict[str, object]:
    outcome = cli("replay", run, "--json", *options)
    assert outcome.code == 0, outcome.out
    (batch,) = outcome.json["batches"]
    assert batch["differing"] == 0
    assert batch["largest_score_difference"] == 0.0
    return batch


def kept(home: Path) -> dict[str, str]:
    """Digests of everything in the home but the databases, and what stands in ours."""
    found = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and ".db" not in path.name
    }
    with closing(sqlite3.connect(home / "pynomaly.db")) as records:
        found["records"] = "\n".join(records.iterdump())
    return found


def decide(project: Path, policy: str) -> None:
    """Write another decision policy into the configuration."""
    path = project / "conf/pipelines/payments.yaml"
    ours = ("decision:", "release:")
    lines = [line for line in path.read_text().splitlines() if not line.startswith(ours)]
    release = "release: {min_gate_rows: 100, allow_inconclusive: true}"
    path.write_text("\n".join([*lines, release, f"decision: {policy}"]) + "\n")


def release(cli: Cli) -> str:
    """Let the champion serve with the configured policy; returns the release's id."""
    at_once = ("--strategy", "direct", "--accept-review")
    done = cli("release", "payments", "--engine", "direct", *at_once, "--json")
    assert done.code == 0, done.err
    return str(done.json["steps"]["promote"]["release_id"])


def test_a_run_comes_out_as_it_was_and_nothing_is_written(
    project: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = score(cli, "--keep", "day")
    before = kept(project / ".pynomaly")
    monkeypatch.setenv("PYNOMALY_SCORING__BATCH_ROWS", "77")
    monkeypatch.setenv("PYNOMALY_SCORING__THREADS", "1")
    batch = replayed(cli, run)
    assert (batch["partitions"], batch["rows"]) == (4, ROWS - 1)
    assert batch["rows_flagged"] > 0
    assert kept(project / ".pynomaly") == before
    shown = cli("replay", run)
    assert "replay …\n" in shown.err
    assert "2,000 of 2,000 rows" in shown.err
    told = " ".join(shown.out.split())
    assert "1,999 rows in 4 partitions scored again: every score, decision and reason" in told


@pytest.mark.parametrize(
    "options",
    [
        ("--partition-by", "day"),
        ("--partition-by", "country"),
        ("--out", "sqlite:///scores.db#scored"),
        ("--out", "scored.csv"),
    ],
)
def test_wherever_the_scores_went_they_are_compared(
    project: Path, cli: Cli, options: tuple[str, str]
) -> None:
    if options[0] == "--partition-by":
        options = (*options, "--out", "divided")
    assert replayed(cli, score(cli, *options))["rows"] == ROWS - 1


@pytest.mark.parametrize("policy", ["{policy: fdr, q: 0.2}", "{policy: top_k, k: 7}"])
def test_policies_that_look_at_the_whole_batch_draw_the_same_line(
    project: Path, cli: Cli, policy: str
) -> None:
    decide(project, policy)
    released = release(cli)
    batch = replayed(cli, score(cli))
    assert batch["policy_from"] == f"release {released}"


def test_the_policy_of_then_is_that_of_the_release_whatever_is_configured_now(
    project: Path, cli: Cli
) -> None:
    run = score(cli)
    decide(project, "{policy: top_k, k: 7}")
    release(cli)
    later = score(cli)
    decide(project, "{policy: top_k, k: 8}")
    assert replayed(cli, run)["policy_from"].startswith("release ")
    assert replayed(cli, later)["rows_flagged"] == 7

    # Releases of old did not keep theirs.
    with closing(sqlite3.connect(project / ".pynomaly/pynomaly.db")) as records, records:
        records.execute("UPDATE releases SET decision = NULL")
    assert replayed(cli, run)["policy_from"] == "the configuration when the model was trained"
    refused = cli("replay", later, "--json")
    assert refused.code == 2
    assert "the decision policy top_k-" in refused.error
    assert "conf/pipelines/payments.yaml" in refused.error
    decide(project, "{policy: top_k, k: 7}")
    assert replayed(cli, later)["policy_from"] == "the configuration"


def test_data_that_changed_is_named_and_an_untouched_copy_does(project: Path, cli: Cli) -> None:
    run = score(cli)
    copy = Path(shutil.copytree(project, project / "archive", ignore=lambda *_: {".pynomaly"}))
    data = pd.read_parquet("new.parquet")
    data.loc[1_300, "amount"] += 1
    pq.write_table(
        pa.Table.from_pandas(data, preserve_index=False), "new.parquet", row_group_size=500
    )
    changed = cli("replay", run, "--json")
    assert changed.code == 6
    assert "new.parquet, row group 2" in changed.error
    assert "no longer the rows that were scored" in changed.error
    replayed(cli, run, "--data", str(copy / "new.parquet"))
    shutil.copy(copy / "new.parquet", copy / "other.parquet")
    other = cli("replay", run, "--data", str(copy / "other.parquet"), "--json")
    assert other.code == 2
    assert "has no file called new.parquet" in other.error
    Path("new.parquet").unlink()
    assert cli("replay", run, "--json").code == 2


def test_scores_that_were_changed_since_are_told(project: Path, cli: Cli) -> None:
    run = score(cli)
    part = next((project / ".pynomaly/scores/payments").glob("*.parquet"))
    honest = part.read_bytes()
    part.write_bytes(honest[:200] + bytes([honest[200] ^ 1]) + honest[201:])
    damaged = cli("replay", run, "--json")
    assert damaged.code == 7
    assert f"{part} has other bytes" in damaged.error
    part.write_bytes(honest)
    with closing(sqlite3.connect(project / ".pynomaly/pynomaly.db")) as records, records:
        (told,) = records.execute(
            "SELECT rows_flagged FROM scored_batches WHERE run_id = ?", (run,)
        ).fetchone()
        records.execute("UPDATE scored_batches SET rows_flagged = 0 WHERE run_id = ?", (run,))
    hushed = cli("replay", run, "--json")
    assert hushed.code == 7
    assert f"1,999 scored rows with 0 alerts; the committed rows are 1,999 with {told}" in (
        hushed.error
    )
    with closing(sqlite3.connect(project / ".pynomaly/pynomaly.db")) as records, records:
        records.execute("UPDATE scored_batches SET rows_flagged = ? WHERE run_id = ?", (told, run))

    # Somebody who can also write to the ledger leaves no trace but the rows themselves.
    table = pq.read_table(part)
    flagged = pc.index(table.column("is_anomaly"), True).as_py()
    flags = table.column("is_anomaly").to_pylist()
    flags[flagged] = False
    scores = table.column("score").to_pylist()
    scores[flagged] = 0.5
    for name, values in (("is_anomaly", flags), ("score", scores)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    pq.write_table(table, part)
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    with closing(sqlite3.connect(project / ".pynomaly/pynomaly.db")) as ledger, ledger:
        old = hashlib.sha256(honest).hexdigest()
        tables = [n for (n,) in ledger.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        for name in tables:
            for _, column, *_ in ledger.execute(f"PRAGMA table_info({name})").fetchall():
                ledger.execute(f"UPDATE {name} SET \"{column}\" = replace(\"{column}\", '{old}', '{digest}')"
                               f" WHERE \"{column}\" LIKE '%{old}%'")  # fmt: skip
    assert cli("scores", "verify", "payments").code == 0
    forged = cli("replay", run, "--json")
    assert forged.code == 7
    assert "1 of 1,999 rows" in forged.error
    assert str(table.column("txn_id")[flagged]) in forged.error
    assert "score was 0.5, is " in forged.error


def test_runs_that_scored_nothing_or_were_pruned_cannot_be_replayed(
    project: Path, cli: Cli
) -> None:
    assert "there is no run nothing" in cli("replay", "nothing", "--json").error
    validated = cli("validate", "payments", "--engine", "direct", "--json").json["run_id"]
    refused = cli("replay", validated, "--json")
    assert refused.code == 2
    assert "(validate) scored nothing" in refused.error
    run = score(cli)
    frame(300, 8).to_parquet("new.parquet", index=False)
    score(cli)
    assert cli("scores", "prune", "payments").code == 0
    pruned = cli("replay", run, "--json")
    assert pruned.code == 2
    assert "were pruned" in pruned.error


def test_a_file_that_was_scored_twice_is_replayed_for_both_runs(project: Path, cli: Cli) -> None:
    first, second = score(cli), score(cli)
    assert first != second
    assert replayed(cli, first)["batch_id"] != replayed(cli, second)["batch_id"]


def test_runs_that_found_a_file_by_different_names_are_replayed(project: Path, cli: Cli) -> None:
    """Refused rows are called by the name."""
    Path("in/sub").mkdir(parents=True)
    shutil.copy("new.parquet", "in/sub/new.parquet")
    for run in (score(cli, data="in/sub/new.parquet"), score(cli, data="in")):
        assert replayed(cli, run)["rows"] == ROWS - 1
    assert cli("scores", "read", "payments", "--json").json["rows"] == ROWS - 1


def test_rows_of_a_table_are_replayed_increment_by_increment(
    project: Path, cli: Cli, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path}/lake.db"
    path = project / "conf/pipelines/payments.yaml"
    source = f"source: {{uri: '{database}', query: payments, watermark: n}}"
    lines = path.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("source:"))
    end = next(i for i in range(start + 1, len(lines)) if not lines[i].startswith(" "))
    path.write_text("\n".join([*lines[:start], source, *lines[end:]]) + "\n")
    rows = frame(900, 9).assign(n=range(900))

    def insert(some: pd.DataFrame) -> None:
        with closing(sqlite3.connect(tmp_path / "lake.db")) as lake:
            some.to_sql("payments", lake, if_exists="append", index=False)

    def increment() -> str:
        done = cli("score", "payments", "--incremental", "--engine", "direct", "--json")
        assert done.code == 0, done.err
        return str(done.json["run_id"])

    insert(rows[:600])
    first = increment()
    insert(rows[600:])
    second = increment()
    assert [replayed(cli, run)["rows"] for run in (first, second)] == [600, 300]

    with closing(sqlite3.connect(tmp_path / "lake.db")) as lake, lake:
        lake.execute("UPDATE payments SET amount = amount + 1 WHERE n = 700")
    assert replayed(cli, first)["rows"] == 600
    changed = cli("replay", second, "--json")
    assert changed.code == 6
    assert "payments" in changed.error
    elsewhere = f"sqlite:///{tmp_path}/backup.db"
    shutil.copy(tmp_path / "lake.db", tmp_path / "backup.db")
    assert replayed(cli, first, "--data", elsewhere)["rows"] == 600
