"""Who carries out a run: one living process, and at most one training and one release at a time."""

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pynomaly.application.hold_run import HoldRun
from pynomaly.application.lost_runs import BuryLostRuns
from pynomaly.application.queries import Queries
from pynomaly.domain.errors import ConflictError, FencedError
from pynomaly.domain.runs import Actor, Run, RunLease
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords
from pynomaly.infrastructure.sqlalchemy.run_leases import SqlRunLeases
from pynomaly.testing import InMemoryLedger

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/pynomaly.db"
    return request.getfixturevalue("empty_postgres_database")


@pytest.fixture
def leases(url):
    return SqlRunLeases(url)


@pytest.fixture
def hold(url, leases):
    return HoldRun(leases, BuryLostRuns(SqlRecords(url), leases), 60)


def lease(run_id="r1", command="train", owner="elsewhere:1:a", pipeline="payments"):
    return RunLease(run_id, pipeline, command, owner, NOW + MINUTE)


def run(run_id="r1", command="train"):
    return Run(run_id, "payments", command, "direct", Actor("me"), "running", NOW)


def test_a_run_that_is_carried_out_is_nobody_elses(leases):
    leases.take(lease(), NOW)
    with pytest.raises(ConflictError, match="r1 is being carried out by elsewhere:1:a"):
        leases.take(lease(owner="here:2:b"), NOW)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("train", "train", "train"),
        ("run", "train", "train"),
        ("release", "run", "release"),
        ("run", "run", "release and train"),
    ],
)
def test_only_one_run_of_a_pipeline_trains_or_releases_at_a_time(leases, first, second, both):
    leases.take(lease(command=first), NOW)
    with pytest.raises(ConflictError, match=rf"r1 \({first}\) is at work.* may {both}"):
        leases.take(lease("r2", second, "here:2:b"), NOW)
    leases.take(lease("r3", second, "here:2:c", pipeline="refunds"), NOW)


@pytest.mark.parametrize(
    ("first", "second"), [("train", "release"), ("score", "score"), ("run", "score")]
)
def test_other_runs_go_on_side_by_side(leases, first, second):
    leases.take(lease(command=first), NOW)
    leases.take(lease("r2", second, "here:2:b"), NOW)
    assert {held.run_id for held in leases.leases()} == {"r1", "r2"}


def test_a_lease_that_was_not_renewed_is_anybodys(leases):
    first, second = lease(), replace(lease(owner="here:2:b"), expires_at=NOW + 3 * MINUTE)
    leases.take(first, NOW)
    leases.renew(first, NOW + 2 * MINUTE)
    with pytest.raises(ConflictError):
        leases.take(second, NOW + MINUTE)
    leases.take(second, NOW + 2 * MINUTE)
    assert leases.leases() == (second,)
    for late in (lambda: leases.renew(first, NOW), lambda: leases.conclude(first, run())):
        with pytest.raises(FencedError, match="r1 was taken over"):
            late()


def test_the_end_of_a_run_is_stored_with_the_return_of_its_lease(url, leases):
    records = SqlRecords(url)
    leases.take(lease(), NOW)
    records.start_run(run())
    ended = replace(run(), status="completed", finished_at=NOW + MINUTE)
    leases.conclude(lease(), ended)
    assert leases.leases() == ()
    assert records.run("r1") == ended


def test_of_many_that_want_to_train_at_once_one_does(url):
    SqlRunLeases(url).leases()  # the schema is there

    def attempt(number):
        mine = lease(f"r{number}", "train", f"here:{number}:x")
        try:
            SqlRunLeases(url).take(mine, NOW)
        except ConflictError:
            return None
        return mine

    with ThreadPoolExecutor(8) as pool:
        winners = [won for won in pool.map(attempt, range(8)) if won]
    assert len(winners) == 1
    assert SqlRunLeases(url).leases() == (winners[0],)


def test_a_held_run_is_renewed_while_it_is_at_work(url, leases):
    quick = HoldRun(leases, BuryLostRuns(SqlRecords(url), leases), 0.15)
    with quick("r1", "payments", "train") as conclude:
        (first,) = leases.leases()
        deadline = datetime.now(UTC) + timedelta(seconds=5)
        while leases.leases()[0].expires_at < first.expires_at + timedelta(seconds=0.3):
            assert datetime.now(UTC) < deadline
        conclude(run())


def test_the_run_of_a_process_that_died_is_failed_and_free(url, leases, hold):
    records = SqlRecords(url)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owner = f"{socket.gethostname()}:{dead.pid}:x"
    leases.take(replace(lease(owner=owner), expires_at=datetime.now(UTC) + MINUTE), NOW)
    records.start_run(run())

    with hold("r2", "payments", "train"):
        found = records.run("r1")
        assert found.status == "failed"
        assert found.error == f"its process ({dead.pid} on {socket.gethostname()}) died"


def test_a_process_of_another_machine_is_dead_once_it_is_silent(url, leases):
    records = SqlRecords(url)
    bury = BuryLostRuns(records, leases)
    living = replace(lease("r1"), expires_at=datetime.now(UTC) + MINUTE)
    silent = replace(lease("r2", "score"), expires_at=datetime.now(UTC) - MINUTE)
    for one in (living, silent):
        leases.take(one, NOW)
        records.start_run(run(one.run_id, one.command))

    assert [buried.id for buried in bury()] == ["r2"]

    assert "no sign of life" in str(records.run("r2").error)
    assert records.run("r1").status == "running"
    assert leases.leases() == (living,)
    assert bury() == ()


def test_what_was_concluded_before_its_process_died_stays_as_it_was(url, leases):
    records = SqlRecords(url)
    leases.take(replace(lease(), expires_at=datetime.now(UTC) - MINUTE), NOW)
    ended = replace(run(), status="completed", finished_at=NOW)
    records.start_run(ended)
    BuryLostRuns(records, leases)()
    assert records.run("r1") == ended
    assert leases.leases() == ()


HOLD_AND_WAIT = """
import sys
from datetime import UTC, datetime
from pynomaly.application.hold_run import HoldRun
from pynomaly.application.lost_runs import BuryLostRuns
from pynomaly.domain.runs import Actor, Run
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords
from pynomaly.infrastructure.sqlalchemy.run_leases import SqlRunLeases

leases, records = SqlRunLeases(sys.argv[1]), SqlRecords(sys.argv[1])
with HoldRun(leases, BuryLostRuns(records, leases), 60)("r1", "payments", "train"):
    records.start_run(
        Run("r1", "payments", "train", "direct", Actor("me"), "running", datetime.now(UTC))
    )
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_killed_with_9_is_told_as_dead_and_can_be_taken_up_at_once(url, leases, hold):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_AND_WAIT, url],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(ConflictError, match="is being carried out"),
            hold("r1", "payments", "train"),
        ):
            pass
        process.kill()
    records = SqlRecords(url)
    (told,) = Queries(records, leases, InMemoryLedger()).history("payments")["runs"]
    assert (told["status"], told["finished_at"]) == ("failed", None)
    assert told["error"] == f"its process ({process.pid} on {socket.gethostname()}) died"
    assert records.run("r1").status == "running"  # who asks changes nothing
    with hold("r1", "payments", "train") as conclude:
        conclude(replace(run(), status="completed", finished_at=NOW))
    assert SqlRecords(url).run("r1").status == "completed"
