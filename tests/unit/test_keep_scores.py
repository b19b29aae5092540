"""Verifying and pruning stored scores never touches what somebody reads or will read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from pynomaly import adapters
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore, StoredPart
from pynomaly.application.ports.records import Records
from pynomaly.application.prune_scores import ForgetPlace, PruneScores
from pynomaly.application.read_scores import ReadScores
from pynomaly.application.score_again import score_again
from pynomaly.application.score_output import ScoreOutput
from pynomaly.application.verify_scores import VerifyScores
from pynomaly.domain.errors import (
    ConflictError,
    OutputNotWritableError,
    SourceNotFoundError,
    UsageError,
)
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.ledger import (
    Entry,
    Outcome,
    Output,
    Part,
    ScoreJob,
    ScoreVersion,
    partition_key,
)
from pynomaly.domain.partitions import Partition
from pynomaly.domain.releases import ModelVersion
from pynomaly.domain.runs import ScoredBatch
from pynomaly.infrastructure.sqlalchemy.ledger import SqlLedger
from pynomaly.testing import InMemoryLedger, InMemoryRecords

FIRST, SECOND = ScoreVersion(1, "a" * 64, "policy"), ScoreVersion(2, "b" * 64, "policy")
ROWS = 3
_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass
class Scores:
    """A ledger, a folder of parts, and jobs over made-up partitions."""

    target: str
    ledger: Ledger = field(default_factory=InMemoryLedger)
    store: PartStore = field(default_factory=adapters.part_store)
    records: Records = field(default_factory=InMemoryRecords)

    def open(
        self,
        pipeline: str,
        *digests: str,
        version: ScoreVersion = FIRST,
        age: timedelta = timedelta(0),
    ) -> str:
        now = datetime.now(UTC) - age
        job = ScoreJob(
            new_id(now), "run", pipeline, "data", "f", version, self.target, now,
            keep=("region", "a note"), partition_by="day",
        )  # fmt: skip
        entries = []
        for place, digest in enumerate(digests):
            partition = Partition(
                "data", "data", f"group {place}", ROWS * place, ROWS, 10, digest, ()
            )
            key = partition_key(partition, version, {})
            entries.append(Entry(key, partition, pipeline, version, self.target, "pending"))
        self.ledger.open_job(job, entries)
        return job.id

    def work(self, job: str, partitions: int = 99) -> None:
        for _ in range(partitions):
            lease = self.ledger.lease(job, "host:1:x", 60.0)
            if lease is None:
                return
            with self.store.writer(self.target, f"{lease.key[:32]}-{lease.fence}") as output:
                output.write(
                    pa.table({"id": [f"{lease.partition.digest}-{i}" for i in range(ROWS)]})
                )
            self.ledger.commit(lease, Outcome(ROWS, ROWS, 0, 0, output.parts))

    def finish(self, job_id: str) -> None:
        """Work off a job and record its batch, as a run does that comes to its end."""
        self.work(job_id)
        job = self.ledger.job(job_id)
        assert job is not None
        of, now = job.version, datetime.now(UTC)
        self.records.add_version(
            ModelVersion("payments", of.model_version, "u", of.manifest_digest, *"rtfh", _NOON)
        )
        self.records.add_batch(
            ScoredBatch(job_id, "run", "payments", "data", "f", of.model_version,
                        of.policy_version, ROWS, ROWS, 0, 0, self.target, "d", None, now)
        )  # fmt: skip

    def current(self, pipeline: str) -> tuple[Entry, ...]:
        scores = ReadScores(self.ledger, self.store, adapters.output_sinks(), self.records)
        return scores.current(pipeline)

    def read(self, pipeline: str) -> list[str]:
        parts = [e.outcome.parts for e in self.current(pipeline) if e.outcome]
        return sorted(
            row
            for several in parts
            for part in several
            for row in pq.read_table(part.uri).column("id").to_pylist()
        )


def rows(*digests: str) -> list[str]:
    return [f"{digest}-{i}" for digest in digests for i in range(ROWS)]


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    return Scores(str(tmp_path / "scores"))


def test_repairing_a_pipeline_leaves_another_one_in_the_same_place_alone(scores: Scores) -> None:
    scores.work(scores.open("payments", "d1"))
    scores.work(scores.open("logins", "d2"))

    found = VerifyScores(scores.ledger, scores.store, Path(scores.target).parent)(
        "payments", repair=True
    )

    assert (found.partitions, found.orphans) == (1, ())
    assert scores.read("logins") == rows("d2")


def test_a_damaged_part_is_told_with_the_command_that_writes_it_anew(scores: Scores) -> None:
    job = scores.open("payments", "d1", "d2")
    scores.work(job)
    (_, second) = scores.ledger.entries_of(job)
    assert second.outcome is not None
    Path(second.outcome.parts[0].uri).unlink()

    (damage,) = VerifyScores(scores.ledger, scores.store, Path("/home/scores"))("payments").damaged

    assert damage.key == second.key
    assert damage.again == (
        f"pynomaly score payments --data data --out {scores.target} --keep region --keep 'a note' "
        "--partition-by day"
    )


def test_pruning_leaves_what_a_job_has_committed_so_far(scores: Scores) -> None:
    scores.work(scores.open("payments", "d1", "d2"))
    changed = scores.open("payments", "e1", "e2")
    scores.work(changed, partitions=1)

    pruned = PruneScores(scores.ledger, scores.store, scores.records)("payments", versions=1)
    scores.work(changed)

    assert pruned.partitions == 0
    assert scores.read("payments") == rows("e1", "e2")
    assert (
        PruneScores(scores.ledger, scores.store, scores.records)("payments", versions=1).partitions
        == 2
    )
    assert scores.read("payments") == rows("e1", "e2")


def test_parts_kept_for_their_age_alone_are_no_orphans_to_others(scores: Scores) -> None:
    """Their job is gone with its other parts, and yet they are known."""
    old = scores.open("payments", "d1", "d2")
    scores.work(old)
    (first, second) = scores.ledger.entries_of(old)
    assert second.outcome is not None
    scores.ledger.forget([first.key])
    assert scores.ledger.jobs("payments") == ()
    scores.work(scores.open("logins", "d3"))

    found = VerifyScores(scores.ledger, scores.store, Path(scores.target).parent)(
        "logins", repair=True
    )

    assert second.outcome.parts[0].uri not in found.orphans
    assert Path(second.outcome.parts[0].uri).exists()


def test_what_a_new_model_has_scored_so_far_hides_nothing_and_pushes_nothing_out(
    scores: Scores,
) -> None:
    prune = PruneScores(scores.ledger, scores.store, scores.records)
    scores.finish(scores.open("payments", "d1", "d2"))
    newer = scores.open("payments", "d1", "d2", version=SECOND)
    scores.work(newer, partitions=1)
    assert scores.current("payments")[0].version == FIRST
    assert prune("payments", versions=1).partitions == 0
    assert scores.read("payments") == rows("d1", "d2")

    scores.finish(newer)
    assert [entry.version for entry in scores.current("payments")] == [SECOND] * 2
    assert prune("payments", versions=1).partitions == 2
    scores.finish(scores.open("payments", "d1"))  # the former model serves again
    assert [entry.version for entry in scores.current("payments")] == [FIRST]


def test_a_version_without_committed_scores_pushes_nothing_out(scores: Scores) -> None:
    scores.work(scores.open("payments", "d1"))
    scores.open("payments", "d1", version=SECOND)

    PruneScores(scores.ledger, scores.store, scores.records)("payments", versions=1)

    assert scores.read("payments") == rows("d1")


def test_what_a_job_comes_to_ask_for_while_old_scores_are_pruned_stays(scores: Scores) -> None:
    """The job counts on what is committed; were it removed, its rows would be missing."""
    scores.work(scores.open("payments", "d1", "d2"))
    scores.work(scores.open("payments", "e1", "e2"))
    back: list[str] = []

    class Overtaken(InMemoryLedger):
        def forget(
            self, keys: Collection[str], known: Collection[str] | None = None
        ) -> frozenset[str]:
            back.append(scores.open("payments", "d1", "d2"))
            return super().forget(keys, known)

    assert isinstance(scores.ledger, InMemoryLedger)
    scores.ledger.__class__ = Overtaken
    pruned = PruneScores(scores.ledger, scores.store, scores.records)("payments", versions=1)

    assert pruned.partitions == 0
    assert scores.ledger.progress(back[0]).committed == 2
    assert scores.read("payments") == rows("d1", "d2")


def test_what_a_job_given_up_has_committed_is_removed_once_it_is_a_week_old(scores: Scores) -> None:
    prune = PruneScores(scores.ledger, scores.store, scores.records)
    week = timedelta(days=7, minutes=1)
    given_up = scores.open("payments", "e1", "e2", age=week)
    scores.work(given_up, partitions=1)
    scores.work(scores.open("payments", "d1", "d2"))
    held = scores.ledger.lease(given_up, "host:1:x", 60.0)
    assert held is not None
    assert prune("payments", versions=1).partitions == 0  # somebody is at work again

    scores.ledger.give_back(held, "corrupt")
    assert prune("payments", versions=1).partitions == 1
    assert scores.read("payments") == rows("d1", "d2")
    assert (
        VerifyScores(scores.ledger, scores.store, Path(scores.target).parent)("payments").orphans
        == ()
    )
    assert prune("payments", versions=1, days=30).partitions == 0


def test_orphans_go_with_the_last_scores_of_a_place(scores: Scores) -> None:
    old_place = scores.target
    scores.finish(scores.open("payments", "d1"))
    with scores.store.writer(old_place, f"{'f' * 32}-7") as orphan:
        orphan.write(pa.table({"id": ["killed before it could commit"]}))
    Path(old_place, "notes.txt").write_text("not ours")
    scores.target = f"{old_place}-new"
    scores.finish(scores.open("payments", "d1", version=SECOND))

    prune = PruneScores(scores.ledger, scores.store, scores.records)
    assert prune("payments", versions=2).partitions == 0
    assert scores.store.check(orphan.parts[0]) is None
    assert prune("payments", versions=1).partitions == 1

    assert [path.name for path in Path(old_place).iterdir()] == ["notes.txt"]
    assert scores.read("payments") == rows("d1")


@pytest.mark.parametrize("below", ["refunds", "date=2026", "date=2026/refunds"])
def test_scores_below_a_place_are_another_places(scores: Scores, below: str) -> None:
    outer = scores.target
    scores.finish(scores.open("payments", "d1"))
    scores.target = f"{outer}/{below}"
    scores.work(scores.open("refunds", "r1"))
    VerifyScores(scores.ledger, scores.store, Path(outer).parent)("payments", repair=True)
    assert scores.read("refunds") == rows("r1")

    scores.target = f"{outer}/version=2"
    scores.finish(scores.open("payments", "d1", version=SECOND))
    assert (
        PruneScores(scores.ledger, scores.store, scores.records)("payments", versions=1).partitions
        == 1
    )

    assert scores.read("payments") == rows("d1")
    assert scores.read("refunds") == rows("r1")


def divided(scores: Scores, pipeline: str, version: ScoreVersion) -> None:
    """Score into folders of a place, as with ``--partition-by date``."""
    job = scores.open(pipeline, "d1", version=version)
    lease = scores.ledger.lease(job, "host:1:x", 60.0)
    assert lease is not None
    name = f"{lease.key[:32]}-{lease.fence}"
    with scores.store.writer(scores.target, name, partition_by="date") as output:
        output.write(pa.table({"id": rows("d1"), "date": ["2026"] * ROWS}))
    scores.ledger.commit(lease, Outcome(ROWS, ROWS, 0, 0, output.parts))
    scores.finish(job)


def test_parts_divided_among_folders_are_no_orphans_of_a_place_that_is_one_of_them(
    scores: Scores,
) -> None:
    outer, inner = scores.target, f"{scores.target}/date=2026"
    scores.target = inner
    scores.finish(scores.open("logins", "l1"))
    scores.finish(scores.open("payments", "d1"))
    scores.target = outer
    divided(scores, "payments", SECOND)

    verify = VerifyScores(scores.ledger, scores.store, Path(outer).parent)
    assert verify("logins", repair=True).orphans == ()
    prune = PruneScores(scores.ledger, scores.store, scores.records)
    assert prune("payments", versions=1).partitions == 1
    assert prune("logins", versions=1).partitions == 0

    assert scores.read("payments") == rows("d1")
    assert scores.read("logins") == rows("l1")


def test_one_part_that_cannot_be_opened_hides_nothing_of_the_others(
    scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores.work(scores.open("payments", "d1", "d2", "d3"))
    missing, locked, sound = (e.outcome.parts[0] for e in scores.current("payments") if e.outcome)
    Path(missing.uri).unlink()
    check = type(scores.store).check

    def refused(store: PartStore, part: Part) -> str | None:
        if part == locked:
            raise SourceNotFoundError(f"cannot read {part.uri}: permission denied")
        return check(store, part)

    monkeypatch.setattr(type(scores.store), "check", refused)
    found = VerifyScores(scores.ledger, scores.store, Path(sound.uri).parent)("payments")
    assert found.partitions == 2
    assert [damage.problem for damage in found.damaged] == [f"{missing.uri} is missing"]
    (unread,) = found.unreadable
    assert unread.partitions == 1


def test_a_dry_run_only_counts(scores: Scores) -> None:
    prune = PruneScores(scores.ledger, scores.store, scores.records)
    scores.work(scores.open("payments", "d1", "d2"))
    scores.work(scores.open("payments", "d1", "d3"))

    would = prune("payments", versions=1, dry_run=True)
    assert would == prune("payments", versions=1, dry_run=True)
    assert would.partitions == 1
    assert would == prune("payments", versions=1)
    assert scores.read("payments") == rows("d1", "d3")


def test_a_place_that_cannot_be_read_hides_no_damage_elsewhere(
    scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, gone = scores.target, f"{scores.target}-gone"
    scores.work(scores.open("payments", "d1"))
    with scores.store.writer(place, f"{'f' * 32}-7") as orphan:
        orphan.write(pa.table({"id": ["killed before it could commit"]}))
    scores.target = gone
    scores.work(scores.open("payments", "e1", "e2"))
    verify = VerifyScores(scores.ledger, scores.store, Path(place).parent)
    stored = type(scores.store).stored

    def unreachable(store: PartStore, target: str) -> Iterator[StoredPart]:
        if target == gone:
            raise SourceNotFoundError(f"cannot read {target}: no such host")
        return stored(store, target)

    monkeypatch.setattr(type(scores.store), "stored", unreachable)
    found = verify("payments", repair=True)
    assert (found.partitions, found.rows, found.damaged) == (1, ROWS, ())
    assert found.orphans == (orphan.parts[0].uri,)
    (unread,) = found.unreadable
    assert (unread.target, unread.partitions) == (gone, 2)
    assert "no such host" in unread.problem
    assert not Path(orphan.parts[0].uri).exists()

    forget = ForgetPlace(scores.ledger, scores.store)
    assert forget("payments", gone).rows == 2 * ROWS
    assert verify("payments").unreadable == ()
    assert scores.read("payments") == rows("d1")
    assert len(list(Path(gone).iterdir())) == 2
    with pytest.raises(UsageError, match="has written no scores to") as error:
        forget("payments", gone)
    assert place in str(error.value)


def test_repairing_removes_what_was_damaged_so_that_no_row_is_there_twice(scores: Scores) -> None:
    scores.work(scores.open("payments", "d1", "d2"))
    verify = VerifyScores(scores.ledger, scores.store, Path(scores.target).parent)
    damaged, whole = sorted(Path(scores.target).iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-1])

    found = verify("payments", repair=True)

    assert len(found.damaged) == 1
    assert found.orphans == (str(damaged),)
    assert list(Path(scores.target).iterdir()) == [whole]
    again = verify("payments")
    assert (again.partitions, again.damaged, again.orphans) == (1, (), ())


def test_what_was_scored_anew_since_it_was_found_damaged_is_kept(scores: Scores) -> None:
    scores.work(scores.open("payments", "d1"))
    (part,) = Path(scores.target).iterdir()
    part.write_bytes(b"")

    class Overtaken(VerifyScores):
        def _commands(self, pipeline: str, keys: set[str]) -> dict[str, str]:
            VerifyScores(self.ledger, self.store, self.scores_folder)("payments", repair=True)
            scores.work(scores.open("payments", "d1"))  # both by somebody else, meanwhile
            return {}

    Overtaken(scores.ledger, scores.store, Path(scores.target).parent)("payments", repair=True)
    assert scores.read("payments") == rows("d1")


def test_a_folder_is_asked_whether_it_can_be_written_to_before_the_first_scores_only(
    scores: Scores,
) -> None:
    asked = []
    read = ReadScores(scores.ledger, scores.store, adapters.output_sinks(), scores.records)
    elsewhere = Path(scores.target).parent
    output = ScoreOutput(scores.ledger, scores.store, read, elsewhere, asked.append)
    file = str(elsewhere / "scored.parquet")
    for _ in range(2):
        for place in (scores.target, file):
            output.admit("payments", Output(place), "data")
        scores.work(scores.open("payments", "d1"))
    assert asked == [scores.target, file, file]


def test_damage_is_told_also_where_removing_it_fails(
    scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores.work(scores.open("payments", "d1"))
    verify = VerifyScores(scores.ledger, scores.store, Path(scores.target).parent)
    (part,) = Path(scores.target).iterdir()
    part.write_bytes(b"")

    def refused(store: PartStore, uri: str) -> None:
        raise OutputNotWritableError(f"cannot remove {uri}: permission denied")

    with monkeypatch.context() as denied:
        denied.setattr(type(scores.store), "remove", refused)
        found = verify("payments", repair=True)
    assert [damage.problem.startswith(str(part)) for damage in found.damaged] == [True]
    assert (found.orphans, found.unreadable) == ((), ())
    assert found.refused == (f"cannot remove {part}: permission denied",)
    assert verify("payments", repair=True).orphans == (str(part),)


def test_a_place_somebody_writes_to_is_not_forgotten(scores: Scores) -> None:
    job = scores.open("payments", "d1", "d2")
    lease = scores.ledger.lease(job, "host:1:x", 60.0)
    assert lease is not None
    with pytest.raises(ConflictError, match="being written and stay: 1; forgotten: 1"):
        ForgetPlace(scores.ledger, scores.store)("payments", scores.target)
    with scores.store.writer(scores.target, f"{lease.key[:32]}-{lease.fence}") as output:
        output.write(pa.table({"id": rows("d1")}))
    scores.ledger.commit(lease, Outcome(ROWS, ROWS, 0, 0, output.parts))
    assert scores.read("payments") == rows("d1")


def test_an_old_policy_can_be_read_beside_the_new_one(scores: Scores) -> None:
    scores.finish(scores.open("payments", "d1", version=replace(FIRST, policy_version="strict")))
    scores.finish(scores.open("payments", "d1", version=FIRST))
    reader = ReadScores(scores.ledger, scores.store, adapters.output_sinks(), scores.records)

    def policies(*asked: object) -> set[str]:
        return {entry.version.policy_version for entry in reader.current("payments", *asked)}

    assert policies() == policies(1) == policies(None, "policy") == {"policy"}
    assert policies(None, "strict") == policies(1, "strict") == {"strict"}
    with pytest.raises(UsageError) as error:
        policies(2, "strict")
    assert "no scores by model version 2 and policy strict" in str(error.value)
    assert "version 1 under policy policy, version 1 under policy strict" in str(error.value)


def test_a_job_that_comes_to_a_freed_place_keeps_its_parts(scores: Scores) -> None:
    old_place, new_place = scores.target, f"{scores.target}-new"
    scores.finish(scores.open("payments", "d1"))
    scores.target = new_place
    scores.finish(scores.open("payments", "d1", version=SECOND))

    class Ledger(InMemoryLedger):
        def wrote(self, target: str) -> bool:
            answer = super().wrote(target)
            scores.target = old_place
            scores.finish(scores.open("payments", "d2", version=SECOND))
            return answer

    scores.ledger.__class__ = Ledger
    PruneScores(scores.ledger, scores.store, scores.records)("payments", versions=1)

    assert scores.read("payments") == rows("d2")


def test_a_job_given_up_keeps_what_is_in_force_of_it(scores: Scores) -> None:
    scores.work(scores.open("payments", "e1", "e2", age=timedelta(days=400)), partitions=1)

    assert (
        PruneScores(scores.ledger, scores.store, scores.records)("payments", versions=1).partitions
        == 0
    )
    assert scores.read("payments") == rows("e1")


@pytest.mark.integration
def test_looking_after_scores_asks_as_often_whatever_there_is(tmp_path: Path) -> None:
    scores = Scores(str(tmp_path / "scores"), SqlLedger(f"sqlite:///{tmp_path}/ledger.db"))

    def asked(action: Callable[[], object]) -> int:
        statements: list[str] = []

        def note(*facts: object) -> None:
            if str(facts[2]).startswith("SELECT"):
                statements.append(str(facts[2]))

        sa.event.listen(sa.Engine, "before_cursor_execute", note)
        try:
            action()
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", note)
        return len(statements)

    def prune() -> object:
        return PruneScores(scores.ledger, scores.store, scores.records)(
            "payments", versions=1, days=1
        )

    def verify() -> object:
        return VerifyScores(scores.ledger, scores.store, Path(scores.target).parent)("payments")

    scores.work(scores.open("payments", "d"))
    few = asked(prune), asked(verify)
    for number in range(20):
        scores.work(scores.open("payments", f"d{number}"))
        scores.open("payments", f"e{number}", f"f{number}")
    assert (asked(prune), asked(verify)) == few


def test_verifying_reads_nothing_of_pipelines_in_other_places(scores: Scores) -> None:
    scores.work(scores.open("payments", "d1"))
    place, scores.target = scores.target, f"{scores.target}-of-logins"
    scores.work(scores.open("logins", "d2"))
    scores.target = place
    read: list[str] = []

    class Watched(InMemoryLedger):
        def entries(self, pipeline: str) -> tuple[Entry, ...]:
            read.append(pipeline)
            return super().entries(pipeline)

    scores.ledger.__class__ = Watched
    assert (
        VerifyScores(scores.ledger, scores.store, Path(scores.target).parent)("payments").partitions
        == 1
    )
    assert set(read) == {"payments"}


def test_of_a_job_that_noted_no_columns_the_command_says_that_they_are_missing() -> None:
    at = datetime.now(UTC)
    job = ScoreJob("j", "r", "payments", "/in.csv", "f", FIRST, "/home/payments", at, keep=None)
    assert score_again(job, job.target, Path("/home")) == (
        "pynomaly score payments --data /in.csv  # with the --keep and --partition-by it had"
    )
