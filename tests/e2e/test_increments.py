"""Jobs over the same table or folder, one after the other and beside each other."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line import frame
from pynomaly.application.destinations import refuse_shared_places
from pynomaly.application.validate import Validated
from pynomaly.bootstrap import Platform, build
from pynomaly.domain.errors import (
    ConfigurationError,
    OutputExistsError,
    PartitionsFailedError,
    SourceChangedError,
    UnsupportedFormatError,
)
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.ledger import Output
from pynomaly.domain.partitions import Plan
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline
from pynomaly.domain.runs import ScoredBatch
from pynomaly.domain.sources import SourceSpec
from pynomaly.settings import load_settings

ROWS = frame(300, 9).assign(n=range(300), m=range(1_000, 1_300))


class Source:
    """Something to score with the champion of a project."""

    def __init__(self, spec: SourceSpec, partition_rows: int = 100_000) -> None:
        self.platform: Platform = build(
            load_settings(environ={"PYNOMALY_SCORING__PARTITION_ROWS": str(partition_rows)})
        )
        self.pipeline: Pipeline = self.platform.pipeline("payments")
        self.spec = spec
        self.output = Output()

    def plan(self, *, incremental: bool = True, run_id: str | None = None) -> Plan:
        return self.platform.plan_scoring(
            self.pipeline, self.spec, incremental=incremental, output=self.output, run_id=run_id
        )

    def validate(self, plan: Plan, run_id: str = "run") -> Validated:
        return self.platform.validate(self.pipeline, self.spec, run_id, plan, to_score=True)

    def score(self, plan: Plan, run_id: str | None = None) -> int:
        run_id = run_id or new_id(datetime.now(UTC))
        return self.scored(self.validate(plan, run_id), run_id).rows_scored

    def scored(self, validated: Validated, run_id: str = "run") -> ScoredBatch:
        return self.platform.score(self.pipeline, self.spec, validated, run_id, self.output).batch

    def read(self) -> Counter[str]:
        """How often each row is in force."""
        entries = self.platform.read_scores.current("payments")
        tables = self.platform.read_scores.rows(entries, ["txn_id"])
        return Counter(pa.concat_tables(tables).column("txn_id").to_pylist())


class Table(Source):
    """A table that rows are added to, with two columns that grow."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "rows.db"
        super().__init__(
            SourceSpec(f"sqlite:///{self.file}", query="rows", watermark="n"), partition_rows=10
        )

    def add(self, start: int, stop: int) -> None:
        with closing(sqlite3.connect(self.file)) as database:
            ROWS[start:stop].to_sql("rows", database, if_exists="append", index=False)


class Folder(Source):
    """A folder of Parquet files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "lake"
        self.folder.mkdir()
        super().__init__(SourceSpec(str(self.folder)))

    def write(self, name: str, rows: pd.DataFrame) -> None:
        (rows.to_csv if name.endswith(".csv") else rows.to_parquet)(self.folder / name, index=False)


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def once(start: int, stop: int) -> Counter[str]:
    return Counter(ROWS.txn_id[start:stop])


@pytest.fixture
def table(scoring_project: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.chdir(scoring_project)
    return Table(scoring_project)


@pytest.fixture
def folder(scoring_project: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(scoring_project)
    return Folder(scoring_project)


def test_an_increment_planned_before_another_one_is_refused(table: Table) -> None:
    table.add(0, 100)
    assert table.score(table.plan()) == 100
    table.add(100, 150)
    late = table.plan()
    table.add(150, 200)
    assert table.score(table.plan()) == 100
    with pytest.raises(SourceChangedError, match=r"above 99 were to be scored.* reach to 199"):
        table.score(late)
    assert table.plan().partitions == ()
    assert table.read() == once(0, 200)


def test_a_part_of_an_increment_that_was_freed_is_scored_by_the_next_one(table: Table) -> None:
    for start in (0, 100, 200):
        table.add(start, start + 50)
        table.score(table.plan())
    second = table.platform.ledger.entries_of(table.platform.ledger.jobs("payments")[1].id)
    assert second[0].outcome is not None
    Path(second[0].outcome.parts[0].uri).unlink()
    table.platform.verify_scores("payments", repair=True)

    table.add(250, 260)
    assert table.score(table.plan()) == 110
    assert table.read() == once(0, 50) + once(100, 150) + once(200, 260)
    assert table.platform.verify_scores("payments").damaged == ()


def test_a_full_job_that_ends_after_a_later_increment_hides_none_of_its_rows(table: Table) -> None:
    table.add(0, 100)
    table.score(table.plan())
    table.add(100, 150)
    full = table.plan(incremental=False)
    table.add(150, 200)
    assert table.score(table.plan()) == 100
    assert table.score(full) == 150

    assert table.read() == once(0, 200)
    table.add(200, 210)
    table.score(table.plan())
    assert table.read() == once(0, 210)


def test_a_new_watermark_column_is_never_compared_with_a_value_of_the_old_one(table: Table) -> None:
    table.add(0, 100)
    table.score(table.plan())
    table.add(100, 120)
    table.spec = replace(table.spec, watermark="m")

    assert table.score(table.plan()) == 120
    table.add(120, 130)
    assert table.score(table.plan()) == 10
    assert table.read() == once(0, 130)


def test_an_increment_fills_a_new_place_from_the_first_row(table: Table, tmp_path: Path) -> None:
    table.add(0, 100)
    table.score(table.plan())
    table.output = Output(str(tmp_path / "elsewhere"))
    table.add(100, 120)

    assert table.score(table.plan()) == 120
    assert table.read() == once(0, 120)


@pytest.mark.parametrize(
    ("kind", "plan_is_kept", "dies_in"),
    [
        ("table", True, "copy"),
        ("table", False, "add_batch"),
        ("folder", True, "add_batch"),
        ("folder", False, "copy"),
    ],
)
def test_an_increment_killed_after_its_last_commit_ends_when_it_is_taken_up_again(
    kind: str,
    plan_is_kept: bool,
    dies_in: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source: Table | Folder = request.getfixturevalue(kind)
    source.output = Output(str(tmp_path / "scored.csv"))
    if isinstance(source, Table):
        source.add(0, 100)
    else:
        source.write("a.parquet", ROWS[:100])

    platform = source.platform
    owner = platform.read_scores if dies_in == "copy" else platform.records
    monkeypatch.setattr(type(owner), dies_in, killed)
    plan = source.plan(run_id="the run")
    with pytest.raises(KeyboardInterrupt):
        source.score(plan, "the run")
    monkeypatch.undo()
    assert source.platform.records.batches_of("the run") == ()
    assert source.plan(run_id="another run").partitions == ()
    assert (tmp_path / "scored.csv").exists() == (dies_in == "add_batch")
    # Prefect keeps the plan for the run, without Prefect it is made anew.
    again = plan if plan_is_kept else source.plan(run_id="the run")

    assert source.score(again, "the run") == 100
    assert len(pd.read_csv(tmp_path / "scored.csv")) == 100
    assert [b.rows_scored for b in source.platform.records.batches_of("the run")] == [100]
    assert {e.attempts for e in source.platform.ledger.entries("payments") if e.outcome} == {1}
    assert source.plan(run_id="the run").partitions == ()


def test_a_file_that_was_copied_before_its_batch_was_recorded_is_ours(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scored.csv"
    folder.output = Output(str(out))
    folder.write("a.parquet", ROWS[:50])
    with monkeypatch.context() as dying:
        dying.setattr(type(folder.platform.records), "add_batch", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.score(folder.plan(incremental=False))
    assert len(pd.read_csv(out)) == 50

    folder.write("b.parquet", ROWS[50:100])  # another run finds other data
    assert folder.score(folder.plan(incremental=False)) == 100
    assert len(pd.read_csv(out)) == 100
    out.write_text(out.read_text() + "somebody else's line\n")
    with pytest.raises(OutputExistsError, match="it was left as it is"):
        folder.score(folder.plan(incremental=False))


def test_files_that_are_gone_or_without_rows_have_no_scores_after_a_full_job(
    folder: Folder,
) -> None:
    for number, name in enumerate("abc"):
        folder.write(f"{name}.parquet", ROWS[number * 50 : number * 50 + 50])
    folder.score(folder.plan(incremental=False))
    (folder.folder / "b.parquet").unlink()
    folder.write("c.parquet", ROWS[:0].astype(ROWS.dtypes))

    assert folder.score(folder.plan(incremental=False)) == 50
    assert folder.read() == once(0, 50)
    folder.write("b.parquet", ROWS[50:100])
    assert folder.score(folder.plan(incremental=False)) == 100
    assert folder.read() == once(0, 100)


def test_every_row_in_force_is_read_wherever_it_was_written(folder: Folder, tmp_path: Path) -> None:
    folder.write("a.parquet", ROWS[:50])
    folder.write("b.parquet", ROWS[50:100])
    folder.score(folder.plan())
    kept = (folder.folder / "b.parquet").read_bytes()
    (folder.folder / "b.parquet").unlink()
    folder.write("c.parquet", ROWS[100:150])

    # Elsewhere, with a column beside the scores that the first place does not have.
    folder.output = Output(f"sqlite:///{tmp_path}/scores.db#scores", keep=("amount",))
    assert folder.score(folder.plan(incremental=False)) == 100
    assert folder.read() == once(0, 50) + once(100, 150)

    # A file that is back as it was is in force again, by what was committed of it before.
    folder.output = Output()
    (folder.folder / "b.parquet").write_bytes(kept)
    assert {p.name for p in folder.plan().partitions} == {"b.parquet", "c.parquet"}
    folder.score(folder.plan())
    assert folder.read() == once(0, 150)
    assert {e.attempts for e in folder.platform.ledger.entries("payments") if e.outcome} == {1}
    scores = folder.platform.read_scores
    scores.write(scores.current("payments"), str(tmp_path / "all.csv"), overwrite=False)
    assert len(pd.read_csv(tmp_path / "all.csv")) == 150
    assert folder.platform.verify_scores("payments").damaged == ()


def test_a_name_like_that_of_a_file_becomes_a_folder_only_where_that_is_said(
    folder: Folder, tmp_path: Path
) -> None:
    folder.write("a.parquet", ROWS[:50])
    place = tmp_path / "scores.xlsx"
    folder.output = Output(str(place))
    with pytest.raises(
        UnsupportedFormatError, match=r"scores\.xlsx is named like a file"
    ) as refusal:
        folder.plan(incremental=False)
    assert f"{place}/" in str(refusal.value.hint)
    assert not place.exists()

    folder.output = Output(f"{place}/")
    folder.score(folder.plan())
    folder.output = Output(str(place))  # it is one now
    assert folder.plan().partitions == ()


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_an_increment_ends_the_scores_of_emptied_files_and_keeps_those_of_deleted_ones(
    folder: Folder, form: str
) -> None:
    for number, name in enumerate("abc"):
        folder.write(f"{name}.{form}", ROWS[number * 50 : number * 50 + 50])
    folder.score(folder.plan())
    (folder.folder / f"b.{form}").unlink()
    folder.write(f"c.{form}", ROWS[:0].astype(ROWS.dtypes))
    assert folder.plan().partitions == ()  # no row is new

    folder.write(f"d.{form}", ROWS[150:160])
    assert folder.score(folder.plan()) == 10
    assert folder.read() == once(0, 100) + once(150, 160)


@pytest.mark.parametrize("policy", [DecisionPolicy(), DecisionPolicy("top_k", k=3)])
def test_a_file_mended_after_its_validation_is_not_taken_for_damaged(
    folder: Folder, policy: DecisionPolicy
) -> None:
    folder.pipeline = replace(folder.pipeline, decision=policy)
    folder.write("a.parquet", ROWS[:50])
    folder.write("b.parquet", ROWS[50:100])
    sound = (folder.folder / "b.parquet").read_bytes()
    (folder.folder / "b.parquet").write_bytes(sound[:-30])
    # As a run that Prefect tries again keeps them.
    kept = folder.validate(folder.plan(incremental=False))
    with pytest.raises(PartitionsFailedError, match=r"b\.parquet is no readable Parquet"):
        folder.scored(kept)

    (folder.folder / "b.parquet").write_bytes(sound)
    with pytest.raises(SourceChangedError, match=r"b\.parquet changed"):
        folder.scored(kept)
    assert folder.score(folder.plan(incremental=False)) == 100
    assert pq.read_metadata(folder.folder / "b.parquet").num_rows == 50


def test_what_cannot_be_written_is_refused_before_anything_is_read(
    folder: Folder, table: Table, tmp_path: Path
) -> None:
    folder.write("a.parquet", ROWS[:50])
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("somebody's")
    (tmp_path / "theirs.csv").write_text("somebody's")
    for output, kind, message in [
        (Output(str(foreign)), OutputExistsError, "holds something that Pynomaly did not write"),
        (Output(str(tmp_path / "theirs.csv")), OutputExistsError, "exists already"),
        (Output(f"{folder.spec.uri}/scores"), ConfigurationError, "lies within what is read"),
        (Output(f"{folder.spec.uri}/s.csv"), ConfigurationError, "lies within what is read"),
        (Output(keep=("nope",)), ConfigurationError, "the source has no column 'nope'"),
        (Output(str(tmp_path / "s.csv"), partition_by="n"), ConfigurationError, "cannot be divi"),
    ]:
        folder.output = output
        with pytest.raises(kind, match=message):
            folder.plan(incremental=False)

    table.add(0, 10)
    table.output = Output(f"sqlite:///{table.file}#rows")
    with pytest.raises(ConfigurationError, match="would replace what is read"):
        table.plan(incremental=False)
    with sqlite3.connect(table.file) as connection:
        connection.execute("CREATE TABLE others AS SELECT * FROM rows")
    connection.close()
    table.output = Output(f"sqlite:///{table.file}#others")
    with pytest.raises(OutputExistsError) as refusal:
        table.plan(incremental=False)
    assert "another table" in str(refusal.value.hint)  # --overwrite would not help


def test_a_table_is_not_its_own_target() -> None:
    source = "postgresql+psycopg://me@host/db#public.payments"
    refuse_shared_places(source, {"--out": "postgresql://me@host/db#public.scores"})
    with pytest.raises(ConfigurationError, match="would replace what is read"):
        refuse_shared_places(source, {"--out": "postgresql://me@host/db#public.payments"})


def test_a_report_may_lie_in_the_folder_that_is_read(folder: Folder) -> None:
    refuse_shared_places(folder.spec.uri, {"--report": f"{folder.spec.uri}/report.html"})
    with pytest.raises(ConfigurationError, match="lies within what is read"):
        refuse_shared_places(folder.spec.uri, {"--report": f"{folder.spec.uri}/report.csv"})


def test_a_link_does_not_lead_an_output_into_what_is_read(tmp_path: Path) -> None:
    inputs, link = tmp_path / "in", tmp_path / "link"
    inputs.mkdir()
    link.symlink_to(inputs)
    for source in (f"{inputs}/*.csv", f"{link}/*.csv", str(inputs), str(link)):
        for place in (f"{inputs}/out.csv", f"{link}/out.csv"):
            with pytest.raises(ConfigurationError, match="what is read"):
                refuse_shared_places(source, {"--out": place})
    refuse_shared_places(f"{link}/*.csv", {"--out": f"{link}/out.parquet"})


def test_a_link_among_what_is_read_does_not_give_its_file_away(tmp_path: Path) -> None:
    inputs, disk = tmp_path / "in", tmp_path / "disk"
    inputs.mkdir()
    disk.mkdir()
    (disk / "d.csv").write_text("a\n1\n")
    (inputs / "2024").symlink_to(disk)
    (inputs / "latest.csv").symlink_to(disk / "d.csv")
    (inputs / "_old.csv").symlink_to(disk / "old.csv")
    for source, place in [
        (f"{inputs}/*/*.csv", f"{inputs}/2024/out.csv"),
        (f"{inputs}/*/*.csv", f"{disk}/d.csv"),
        (f"{inputs}/*/*.csv", f"{disk}/new.csv"),
        (f"{inputs}/*/new.csv", f"{disk}/new.csv"),
        (f"{inputs}/**/*.parquet", f"{disk}/scores"),
        (f"{inputs}/*.csv", f"{disk}/d.csv"),
        (str(inputs), f"{disk}/d.csv"),
        (str(inputs), f"{inputs}/latest.csv"),
    ]:
        with pytest.raises(ConfigurationError, match="what is read"):
            refuse_shared_places(source, {"--out": place})
    refuse_shared_places(str(inputs), {"--out": f"{disk}/old.csv"})
    refuse_shared_places(str(inputs), {"--out": f"{inputs}/2024/new.csv"})  # is not looked into
    refuse_shared_places(f"{inputs}/*/*.csv", {"--out": f"{disk}/new.parquet"})


def test_a_link_to_itself_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refuse_shared_places(f"{tmp_path}/in.csv", {"--out": f"{tmp_path}/loop/x.csv", "--report": "r"})


@pytest.mark.parametrize(
    ("source", "place", "within"),
    [
        ("s3://lake/in", "s3://lake/inside", False),
        ("s3://lake/in", "s3://lake/in/scores", True),
        ("s3://lake/in", "s3://lake/in/_scores", False),
        ("s3://lake/_raw/in/", "s3://lake/_raw/in", True),
        ("s3://lake/_raw/in/", "s3://lake/_raw/in/_scores", False),
        ("s3://lake/in/*.csv", "s3://lake/in/all.csv", True),
        ("/lake/in/*.parquet", "/lake/in/scores", False),
        ("/lake/in/*.parquet", "/lake/in/all.parquet", True),
        ("/lake/in/*.parquet", "/lake/in/sub/all.parquet", False),
        ("/lake/*/*.parquet", "/lake/scores", True),
        ("/lake/in/**/*.parquet", "/lake/in/scores", True),
        ("/lake/in/**/*.parquet", "/lake/in/all.parquet", True),
        ("/lake/in/**/*.csv", "/lake/in/scores", False),
        ("/lake/in/**/*.parquet", "/lake/out", False),
    ],
)
def test_a_place_that_would_be_read_is_refused(source: str, place: str, within: bool) -> None:
    if not within:
        refuse_shared_places(source, {"--out": place})
        return
    with pytest.raises(ConfigurationError, match="lies within what is read"):
        refuse_shared_places(source, {"--out": place})
