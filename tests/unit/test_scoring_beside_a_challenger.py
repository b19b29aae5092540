"""Jobs while a challenger is rolled out: it costs nobody a score, and rows count once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pynomaly import adapters
from pynomaly.application.find_challenger import Absent, FindChallenger
from pynomaly.application.judge_rollout import JudgeRollout
from pynomaly.application.read_scores import ReadScores
from pynomaly.application.score import Scored, ScoreSnapshot
from pynomaly.application.score_output import ScoreOutput
from pynomaly.application.score_partition import ScorePartition
from pynomaly.application.score_work import Workers
from pynomaly.application.validate import Validated
from pynomaly.domain.datasets import Dataset, Snapshot
from pynomaly.domain.errors import IntegrityError, PynomalyError
from pynomaly.domain.ledger import Output
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline
from pynomaly.domain.quality import ValidationReport
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.rollouts import RolloutPolicy, plan_rollout
from pynomaly.domain.runs import Actor
from pynomaly.domain.sources import SourceSpec
from pynomaly.domain.transitions import advance, begin
from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore, TableSinks
from pynomaly.infrastructure.filesystem.targets import open_local_target, require_writable
from pynomaly.testing import InMemoryLedger, InMemoryRecords
from small_model import KERNELS, SCHEMA, Champion, rows

ME = Actor("me")
SERVING = DecisionPolicy(budget=0.05)


@dataclass(frozen=True, slots=True)
class Beside:
    """Version 1 serves, and version 2 answers half of the rows with a policy of its own."""

    folder: Path
    records: InMemoryRecords
    champion: Champion
    judge: JudgeRollout
    scored: Callable[..., pa.Table]
    told: list[Scored]

    @property
    def reason(self) -> str:
        """Why the release moved last, as `releases show` tells it."""
        return self.records.events("p", "r2")[-1].reason

    @property
    def state(self) -> str:
        release = self.records.release("r2")
        assert release is not None
        return release.state


@pytest.fixture
def beside(tmp_path: Path) -> Callable[..., Beside]:
    def build(policy: DecisionPolicy, fetched: Exception | None = None, **model: object) -> Beside:
        champion, records, ledger = Champion(), InMemoryRecords(), InMemoryLedger()
        second = replace(champion.version, version=2, manifest_digest="2")
        rollout = plan_rollout(
            RolloutPolicy(canary_shares=(0.5, 0.9)), "5a17", to="production", first=False
        )
        now = datetime.now(UTC)
        for version, serving in ((champion.version, None), (second, 1)):
            records.add_version(version)
            number = version.version
            release = Release(
                f"r{number}", "run", "p", number, serving, "candidate", "pass", (), now
            )
            if serving:
                release = replace(release, rollout=rollout, decision=policy)
            records.add_release(release)
            rule = partial(begin, release_id=release.id, actor=ME, at=now, manifest_digest="")
            records.move("p", rule)

        class Loader:
            """Version 2 is what serves, with some of it changed."""

            def version(self, pipeline: str, version: int) -> ModelVersion:
                return second

            def load(self, version: ModelVersion) -> Model:
                if fetched:
                    raise fetched
                return replace(champion.model, **model)

        told: list[Scored] = []
        reader, store = adapters.partition_reader(), adapters.part_store()
        sinks = TableSinks(local=open_local_target, s3=open_local_target)
        read = ReadScores(ledger, store, sinks, records)
        score = ScoreSnapshot(
            ledger, records, champion, reader,  # type: ignore[arg-type]
            ScoreOutput(ledger, store, read, tmp_path / "scores", require_writable),
            ParquetDatasetStore(tmp_path / "staged", open_local_target), KERNELS,
            Workers(ledger, ScorePartition(reader, store, KERNELS), 1, 60.0),
            FindChallenger(records, Loader()),  # type: ignore[arg-type]
            1_000, 1, None,
        )  # fmt: skip

        def scored(*files: str, out: str = "out.parquet") -> pa.Table:
            spec = SourceSpec(str(tmp_path / "in"))
            plan = reader.plan(spec, partition_rows=10_000)
            wanted = [p for p in plan.partitions if Path(p.name).name in files]
            assert len(wanted) == len(files)
            plan = replace(plan, partitions=tuple(wanted))
            count = sum(pq.read_metadata(tmp_path / "in" / name).num_rows for name in files)
            snapshot = Snapshot(plan.uri, plan.fingerprint, plan.columns, count, 1)
            report = ValidationReport("r", "p", snapshot, (), count, 0, 0.05, datetime.now(UTC))
            validated = Validated(report, Dataset("unused", snapshot, count, None, 0), "", plan)
            found = score(
                Pipeline("p", spec, SCHEMA, decision=SERVING), spec, validated, "run",
                Output(str(tmp_path / out), overwrite=True),
            )  # fmt: skip
            told.append(found)
            return pq.read_table(tmp_path / out)

        return Beside(tmp_path, records, champion, JudgeRollout(ledger, records), scored, told)

    return build


def put(folder: Path, name: str, table: pa.Table) -> None:
    (folder / "in").mkdir(exist_ok=True)
    pq.write_table(table.drop_columns("row_id"), folder / "in" / name)


def test_a_challenger_that_fails_before_its_line_is_drawn_costs_nobody_a_score(beside) -> None:
    rollout = beside(DecisionPolicy("top_k", k=7), members=())
    put(rollout.folder, "a.parquet", rows(300, seed=2, strange=12))

    table = rollout.scored("a.parquet")

    assert table["model_version"].to_pylist() == [1] * 300
    judged = rollout.judge("p")
    assert (judged.seen.rows, judged.seen.errors) == (300, 300)
    assert rollout.state == "rolled_back"
    assert "could not score 300 of 300 rows: " in judged.finding.sentence
    assert rollout.reason == judged.finding.sentence


def test_a_challenger_whose_policy_cannot_decide_the_batch_costs_nobody_a_score(beside) -> None:
    rollout = beside(DecisionPolicy("fdr", q=0.0001))
    put(rollout.folder, "a.parquet", rows(300, seed=2, strange=12))
    assert rollout.scored("a.parquet")["model_version"].to_pylist() == [1] * 300
    rollout.judge("p")
    assert rollout.state == "rolled_back"
    assert "too few calibration rows" in rollout.reason or "calibrated on" in rollout.reason


def test_a_registry_that_does_not_answer_leaves_the_rollout_where_it_is(beside) -> None:
    rollout = beside(SERVING, fetched=PynomalyError("MLflow at http://mlflow does not answer"))
    put(rollout.folder, "a.parquet", rows(60, seed=2, strange=1))

    assert rollout.scored("a.parquet")["model_version"].to_pylist() == [1] * 60

    (told,) = rollout.told
    assert told.absent == Absent(
        2, "MLflow at http://mlflow does not answer; its rollout stays where it is"
    )
    assert rollout.judge("p") is None
    assert rollout.state == "canary"


def test_a_challenger_that_is_not_what_was_registered_goes_back_and_that_is_told(beside) -> None:
    rollout = beside(SERVING, fetched=IntegrityError("version 2 of 'p' is damaged"))
    put(rollout.folder, "a.parquet", rows(60, seed=2, strange=1))

    assert rollout.scored("a.parquet")["model_version"].to_pylist() == [1] * 60

    (told,) = rollout.told
    assert told.absent == Absent(2, "version 2 of 'p' is damaged")
    assert (rollout.state, rollout.reason) == ("rolled_back", "version 2 of 'p' is damaged")


def test_a_job_says_how_many_rows_the_challenger_answered(beside) -> None:
    rollout = beside(SERVING)
    put(rollout.folder, "a.parquet", rows(60, seed=2, strange=1))
    policies = rollout.scored("a.parquet")["model_version"].to_pylist()
    (told,) = rollout.told
    assert told.challenger is not None
    assert (told.challenger.model_version, told.answered) == (2, policies.count(2))
    assert 0 < told.answered < 60


def test_rows_count_once_wherever_they_are_scored_to(beside) -> None:
    rollout = beside(SERVING)
    put(rollout.folder, "a.parquet", rows(60, seed=2, strange=1))
    for target in ("one", "two", "three"):
        rollout.scored("a.parquet", out=target)
    judged = rollout.judge("p")
    assert (judged.seen.rows, judged.finding.verdict, rollout.state) == (60, "hold", "canary")


def test_what_a_job_saw_that_died_before_anybody_judged_is_counted_with_the_next(beside) -> None:
    rollout = beside(SERVING)
    put(rollout.folder, "a.parquet", rows(60, seed=2, strange=1))
    put(rollout.folder, "b.parquet", rows(50, seed=3, strange=1))
    rollout.scored("a.parquet")  # and dies
    rollout.scored("b.parquet")  # an increment: the first file is not looked at again
    assert rollout.judge("p").seen.rows == 110


def test_rows_it_failed_on_in_a_job_that_ended_late_take_it_back_all_the_same(beside) -> None:
    rollout = beside(SERVING, members=())
    put(rollout.folder, "a.parquet", rows(60, seed=2, strange=1))
    rollout.scored("a.parquet")
    on = partial(advance, release_id="r2", actor=ME, at=datetime.now(UTC), step=0, reason="")
    rollout.records.move("p", on)  # another job, in which nothing failed, was judged first
    assert rollout.judge("p").finding.verdict == "roll_back"
    assert rollout.state == "rolled_back"


def test_nothing_is_judged_where_nothing_was_seen(beside) -> None:
    assert beside(SERVING).judge("p") is None


def test_where_a_challenger_cuts_equal_rows_belongs_to_what_is_scored(beside) -> None:
    rollout = beside(DecisionPolicy("top_k", k=2))
    same = rows(40, seed=2).set_column(1, "a", pa.array([9.0] * 40))
    same = same.set_column(2, "b", pa.array([0.0] * 40))
    put(rollout.folder, "a.parquet", same)
    put(rollout.folder, "b.parquet", same.set_column(1, "a", pa.array([0.0] * 40)))
    put(rollout.folder, "c.parquet", rows(1, seed=3, strange=1))

    def flagged(table: pa.Table) -> list[str]:
        own = [row for row in table.to_pylist() if row["model_version"] == 2]
        return [row["row_id"] for row in own if row["is_anomaly"]]

    assert flagged(rollout.scored("a.parquet", "b.parquet")) == ["a.parquet#1", "a.parquet#2"]
    # With one stranger row elsewhere, the second of the equal ones is beyond the line.
    together = flagged(rollout.scored("a.parquet", "c.parquet"))
    assert "a.parquet#2" not in together
    assert "a.parquet#1" in together
