"""Every implementation of ``Ledger`` keeps the same promises."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pynomaly.domain.canaries import Comparison, Observation, Pairs
from pynomaly.domain.errors import ConflictError, FencedError
from pynomaly.domain.increments import INCREMENT, Watermark, reach
from pynomaly.domain.ledger import Entry, JobProgress, Lease, Outcome, Part, ScoreJob, ScoreVersion
from pynomaly.domain.partitions import Partition
from pynomaly.domain.witnesses import evidence
from pynomaly.infrastructure.sqlalchemy.ledger import SqlLedger
from pynomaly.infrastructure.sqlalchemy.tables import metadata
from pynomaly.testing import InMemoryLedger

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
V1 = ScoreVersion(1, "1" * 64, "policy-1")
V2 = ScoreVersion(2, "2" * 64, "policy-1")
HOUR = 3_600.0


@pytest.fixture(scope="module")
def sqlite_template(tmp_path_factory):
    path = tmp_path_factory.mktemp("ledger") / "template.db"
    SqlLedger(f"sqlite:///{path}").wrote("nowhere")  # migrates
    return path


@pytest.fixture(scope="module")
def postgres_database(empty_postgres_databases):
    url = empty_postgres_databases()
    SqlLedger(url).wrote("nowhere")  # migrates
    return url, sa.create_engine(url, poolclass=sa.NullPool)


@pytest.fixture(
    params=[
        "memory",
        pytest.param("sqlite", marks=pytest.mark.integration),
        pytest.param("postgres", marks=[pytest.mark.integration, pytest.mark.postgres]),
    ]
)
def ledger(request):
    """An empty ledger."""
    if request.param == "memory":
        return InMemoryLedger()
    if request.param == "sqlite":
        path = request.getfixturevalue("tmp_path") / "pynomaly.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return SqlLedger(f"sqlite:///{path}")
    url, engine = request.getfixturevalue("postgres_database")
    with engine.begin() as connection:
        names = ", ".join(table.name for table in metadata.sorted_tables)
        connection.exec_driver_sql(f"TRUNCATE {names}")
    return SqlLedger(url)


def partition(source="a.parquet", first_row=0, digest="original", **changes):
    return replace(
        Partition(
            source=f"file:///data/{source}",
            name=source,
            extent=f"row groups {first_row}-{first_row}",
            first_row=first_row,
            rows=2**40,
            size_bytes=2**41,
            digest=digest,
            locator=("a", 2**60, None),
        ),
        **changes,
    )


def entry(of, version=V1, target="/scores"):
    key = f"{of.source}|{of.extent}|{of.digest}|{version.manifest_digest[0]}|{target}"
    key += f"|{version.policy_version}"
    return Entry(key, of, "payments", version, target, "pending")


def job(number, version=V1, target="/scores", **changes):
    return replace(
        ScoreJob(
            id=f"job-{number}",
            run_id=f"run-{number}",
            pipeline="payments",
            source_uri="file:///data",
            fingerprint="f" * 64,
            version=version,
            target=target,
            created_at=NOON + timedelta(minutes=number),
            keep=("region", "note"),
            partition_by="day",
        ),
        **changes,
    )


def outcome(key="k", rows=10, flagged=1):
    part = Part(f"file:///scores/{key}.parquet", "d" * 64, rows, 2**40)
    return Outcome(rows + 2, rows, 2, flagged, (part,))


def opened(ledger, number, *partitions, version=V1, target="/scores", **changes):
    """Open a job over partitions and return its id."""
    one = job(number, version, target, **changes)
    ledger.open_job(one, [entry(of, version, target) for of in partitions])
    return one.id


def committed(ledger, job_id, count=None):
    """Commit what is free of a job, all of it or some."""
    done = 0
    while done != count and (lease := ledger.lease(job_id, "worker", HOUR)):
        ledger.commit(lease, outcome(f"{lease.key}-{lease.fence}"))
        done += 1
    return job_id


def shown(ledger, version=V1, target=None):
    """What is in force, briefly."""
    return [
        (one.partition.name, one.partition.first_row, one.partition.digest)
        for one in ledger.current("payments", version, target)
    ]


def seen(ledger, number, step, *partitions, rows=10, release="release-2", **changes):
    """Commit partitions beside a challenger."""
    job_id = opened(ledger, number, *partitions, **changes)
    while lease := ledger.lease(job_id, "worker", HOUR):
        observation = Observation(release, step, Comparison(rows, 0, 0, PAIRS))
        ledger.commit(lease, replace(outcome(lease.key), observed=observation))
    return job_id


PAIRS = Pairs(1, 2, 3, evidence(np.array([[0.25, 0.25, 0.5]]), 2.0))
A0, A1, A2 = (partition("a.parquet", n) for n in range(3))
B0, B1 = (partition("b.parquet", n) for n in range(2))


class TestObservations:
    def test_what_partitions_saw_is_told_by_release_and_step_and_content_once(self, ledger):
        seen(ledger, 1, 0, A0, A1)
        seen(ledger, 2, 0, A0, target="/elsewhere")
        seen(ledger, 3, 1, B0)
        seen(ledger, 4, 0, B1, release="release-3")
        seen(ledger, 5, 0, partition("c.parquet"), pipeline="logins")
        committed(ledger, opened(ledger, 6, A2))  # nothing was rolled out
        opened(ledger, 7, partition("d.parquet"))  # nobody has begun
        one = Comparison(10, 0, 0, PAIRS)
        # Ranges of equal bytes at two places are the same rows.
        found = ledger.observed("payments", "release-2", 0)
        assert (sorted(found), set(found.values())) == (sorted([A0.content, A1.content]), {one})
        assert ledger.observed("payments", "release-2", 1) == {B0.content: one}
        assert ledger.observed("payments", "release-2", 2) == {}


class TestJobs:
    def test_a_job_and_its_partitions_come_back_equal_and_in_order(self, ledger):
        one = job(1, watermark=Watermark("ts", "2026-11-23 ☃", NOON))
        entries = (entry(B0), entry(A1), entry(replace(A0, rows=None, locator=())))
        ledger.open_job(one, entries)
        assert ledger.job("job-1") == one
        assert ledger.entries_of("job-1") == entries
        assert ledger.job("job-2") is None
        assert ledger.entries_of("job-2") == ()

    def test_jobs_are_those_of_the_pipeline_newest_first(self, ledger):
        for number in (2, 1, 3):
            opened(ledger, number, A0)
        opened(ledger, 4, pipeline="logins")
        assert [one.id for one in ledger.jobs("payments")] == ["job-3", "job-2", "job-1"]
        assert [one.id for one in ledger.jobs("payments", 2)] == ["job-3", "job-2"]

    def test_of_jobs_of_the_same_moment_the_last_to_arrive_is_the_newest(self, ledger):
        for number in (2, 1):
            opened(ledger, number, A0, created_at=NOON)
        assert [one.id for one in ledger.jobs("payments")] == ["job-1", "job-2"]

    def test_opening_an_equal_job_again_leaves_its_partitions_as_they_are(self, ledger):
        opened(ledger, 1, A0, A1)
        ledger.commit(ledger.lease("job-1", "w", HOUR), outcome())
        ledger.give_back(ledger.lease("job-1", "w", HOUR), "corrupt")
        before = ledger.entries_of("job-1")
        opened(ledger, 1, A0, A1)
        assert ledger.entries_of("job-1") == before
        assert [one.state for one in before] == ["committed", "failed"]

    def test_another_job_of_the_same_id_is_refused(self, ledger):
        opened(ledger, 1, A0)
        with pytest.raises(ConflictError, match="job-1"):
            opened(ledger, 1, A0, target="/elsewhere")
        assert [one.target for one in ledger.entries_of("job-1")] == ["/scores"]

    def test_a_job_that_lists_a_partition_twice_is_refused(self, ledger):
        with pytest.raises(ValueError, match="job-1 lists a partition twice"):
            opened(ledger, 1, A0, A0)
        assert ledger.job("job-1") is None

    def test_a_job_without_partitions_is_finished(self, ledger):
        opened(ledger, 1)
        assert ledger.progress("job-1").finished
        assert ledger.lease("job-1", "w", HOUR) is None

    def test_a_moment_without_time_zone_is_refused(self, ledger):
        with pytest.raises(ValueError, match="no time zone"):
            opened(ledger, 1, created_at=datetime(2026, 11, 23))

    def test_committed_partitions_are_shared_with_a_later_job(self, ledger):
        committed(ledger, opened(ledger, 1, A0, A1))
        opened(ledger, 2, A0, A1, A2)
        assert ledger.progress("job-2").committed == 2
        assert ledger.lease("job-2", "w", HOUR).partition == A2

    def test_leased_partitions_stay_with_their_holder_in_a_later_job(self, ledger):
        lease = ledger.lease(opened(ledger, 1, A0), "w", HOUR)
        opened(ledger, 2, A0)
        assert ledger.lease("job-2", "other", HOUR) is None
        ledger.commit(lease, outcome())
        assert ledger.progress("job-2").committed == 1

    def test_failed_partitions_get_another_chance_in_a_later_job(self, ledger):
        ledger.give_back(ledger.lease(opened(ledger, 1, A0), "w", HOUR), "corrupt\0")
        assert ledger.entries_of("job-1")[0].error == "corrupt\0"
        assert ledger.lease("job-1", "w", HOUR) is None
        opened(ledger, 2, A0)
        assert ledger.lease("job-2", "w", HOUR).attempt == 2
        assert ledger.entries_of("job-1")[0].error is None


class TestLeases:
    def test_partitions_are_leased_in_the_order_of_the_plan(self, ledger):
        opened(ledger, 1, B1, A0, B0)
        leases = [ledger.lease("job-1", "w", HOUR) for _ in range(4)]
        assert [lease and lease.partition for lease in leases] == [B1, A0, B0, None]

    def test_a_lease_says_who_holds_what_for_which_time(self, ledger):
        lease = ledger.lease(opened(ledger, 1, A0), "host:1:x", HOUR)
        assert lease == Lease(entry(A0).key, A0, "host:1:x", lease.fence, 1)
        assert lease.fence > 0
        assert ledger.leases("job-1") == (lease,)
        (stored,) = ledger.entries_of("job-1")
        assert stored == replace(
            entry(A0), state="leased", fence=lease.fence, owner="host:1:x", attempts=1
        )

    def test_a_lease_that_ran_out_is_anybodys(self, ledger):
        first = ledger.lease(opened(ledger, 1, A0), "first", 0)
        assert ledger.leases("job-1") == ()
        assert ledger.progress("job-1").pending == 1
        second = ledger.lease("job-1", "second", HOUR)
        assert second.fence > first.fence
        assert second.attempt == 2
        assert ledger.lease("job-1", "third", HOUR) is None

    def test_a_partition_given_back_is_free_at_once(self, ledger):
        opened(ledger, 1, A0, A1)
        first, second = (ledger.lease("job-1", "w", HOUR) for _ in range(2))
        ledger.give_back(first)
        again = ledger.lease("job-1", "w", HOUR)
        assert (again.key, again.attempt) == (first.key, 2)
        assert ledger.lease("job-1", "w", HOUR) is None
        assert again.fence > first.fence
        assert ledger.leases("job-1") == (again, second)

    def test_a_paused_worker_revives_its_lease_if_nobody_took_it(self, ledger):
        lease = ledger.lease(opened(ledger, 1, A0), "w", 0)
        ledger.renew(lease, HOUR)
        assert ledger.leases("job-1") == (lease,)
        assert ledger.lease("job-1", "other", HOUR) is None
        ledger.commit(lease, outcome())

    def test_an_overtaken_worker_can_neither_renew_nor_commit(self, ledger):
        stale = ledger.lease(opened(ledger, 1, A0), "slow", 0)
        newer = ledger.lease("job-1", "quick", HOUR)
        for attempt in (lambda: ledger.renew(stale, HOUR), lambda: ledger.commit(stale, outcome())):
            with pytest.raises(FencedError, match=r"a.parquet, row groups 0-0.*slow.*quick"):
                attempt()
        ledger.give_back(stale, "too late to fail")
        ledger.break_lease(stale)
        assert ledger.leases("job-1") == (newer,)
        ledger.commit(newer, outcome(rows=7))
        with pytest.raises(FencedError):
            ledger.commit(stale, outcome())
        assert ledger.entries_of("job-1")[0].outcome == outcome(rows=7)

    def test_a_broken_lease_is_free_but_its_holder_may_still_be_first(self, ledger):
        lease = ledger.lease(opened(ledger, 1, A0, A1), "w", HOUR)
        ledger.break_lease(lease)
        assert ledger.leases("job-1") == ()
        ledger.commit(lease, outcome())
        other = ledger.lease("job-1", "w", HOUR)
        ledger.break_lease(other)
        taken = ledger.lease("job-1", "next", HOUR)
        assert taken.key == other.key
        with pytest.raises(FencedError):
            ledger.commit(other, outcome())

    def test_what_was_given_back_cannot_be_committed(self, ledger):
        lease = ledger.lease(opened(ledger, 1, A0), "w", HOUR)
        ledger.give_back(lease)
        with pytest.raises(FencedError, match="pending"):
            ledger.commit(lease, outcome())
        ledger.give_back(lease, "again")
        assert ledger.progress("job-1").pending == 1

    def test_an_unknown_job_has_nothing_to_lease(self, ledger):
        assert ledger.lease("job-1", "w", HOUR) is None
        assert ledger.leases("job-1") == ()


class TestCommits:
    def test_an_outcome_comes_back_equal(self, ledger):
        lease = ledger.lease(opened(ledger, 1, A0), "w", HOUR)
        parts = tuple(Part(f"file:///ü{n}", "d", 2**50, 2**51) for n in range(2))
        result = Outcome(2**51 + 3, 2**51, 3, 2**49, parts)
        before = datetime.now(UTC)
        ledger.commit(lease, result)
        (stored,) = ledger.entries_of("job-1")
        assert (stored.state, stored.outcome) == ("committed", result)
        assert before <= stored.committed_at <= datetime.now(UTC)
        assert stored.committed_at.tzinfo is UTC

    def test_an_outcome_without_any_row_is_one(self, ledger):
        lease = ledger.lease(opened(ledger, 1, A0), "w", HOUR)
        ledger.commit(lease, Outcome(0, 0, 0, 0, ()))
        assert ledger.entries_of("job-1")[0].outcome == Outcome(0, 0, 0, 0, ())
        assert ledger.progress("job-1").finished

    def test_repeating_a_commit_changes_nothing(self, ledger):
        lease = ledger.lease(opened(ledger, 1, A0), "w", HOUR)
        ledger.commit(lease, outcome())
        before = ledger.entries_of("job-1")
        ledger.commit(lease, outcome())
        assert ledger.entries_of("job-1") == before

    def test_a_committed_lease_cannot_be_renewed_broken_or_given_back(self, ledger):
        lease = ledger.lease(opened(ledger, 1, A0), "w", HOUR)
        ledger.commit(lease, outcome())
        with pytest.raises(FencedError, match="committed"):
            ledger.renew(lease, HOUR)
        ledger.break_lease(lease)
        ledger.give_back(lease, "no")
        assert ledger.progress("job-1").committed == 1

    def test_progress_counts_partitions_and_rows(self, ledger):
        opened(ledger, 1, A0, A1, A2, B0, B1)
        leases = [ledger.lease("job-1", "w", HOUR) for _ in range(4)]
        ledger.commit(leases[0], outcome(rows=2**40, flagged=5))
        ledger.commit(leases[1], outcome(rows=10))
        ledger.give_back(leases[2], "corrupt")
        assert ledger.progress("job-1") == JobProgress(
            pending=1,
            leased=1,
            committed=2,
            failed=1,
            rows_in=2**40 + 14,
            rows_scored=2**40 + 10,
            rows_quarantined=4,
            rows_flagged=6,
        )
        assert not ledger.progress("job-1").finished


class TestInForce:
    def test_nothing_is_in_force_before_the_first_commit(self, ledger):
        ledger.lease(opened(ledger, 1, A0), "w", HOUR)
        assert shown(ledger) == []
        assert shown(ledger, target="/scores") == []

    def test_a_first_job_shows_what_it_has_committed_so_far(self, ledger):
        committed(ledger, opened(ledger, 1, A0, A1, B0), 2)
        assert shown(ledger) == [
            ("a.parquet", 0, "original"),
            ("a.parquet", 1, "original"),
        ]

    def test_entries_are_ordered_by_source_and_row_and_carry_their_outcome(self, ledger):
        committed(ledger, opened(ledger, 1, B1, A1, B0, A0))
        found = ledger.current("payments", V1)
        assert [one.partition for one in found] == [A0, A1, B0, B1]
        assert all(one.outcome.rows_scored == 10 for one in found)

    def test_a_changed_partition_replaces_the_old_one_when_its_file_is_complete(self, ledger):
        committed(ledger, opened(ledger, 1, A0, A1, B0))
        changed = replace(A1, digest="changed")
        opened(ledger, 2, A0, changed, B0)
        before = [("a.parquet", 0, "original"), ("a.parquet", 1, "original")]
        assert shown(ledger)[:2] == before
        committed(ledger, "job-2")
        assert shown(ledger) == [
            ("a.parquet", 0, "original"),
            ("a.parquet", 1, "changed"),
            ("b.parquet", 0, "original"),
        ]

    def test_a_file_with_other_row_groups_replaces_all_of_the_old_ones(self, ledger):
        committed(ledger, opened(ledger, 1, A0, A1, A2))
        whole = replace(A0, extent="row groups 0-2", digest="rewritten")
        committed(ledger, opened(ledger, 2, whole))
        assert shown(ledger) == [("a.parquet", 0, "rewritten")]

    def test_a_newer_job_takes_over_file_by_file_as_it_completes_them(self, ledger):
        committed(ledger, opened(ledger, 1, A0, A1, B0))
        newer = [replace(one, digest="changed") for one in (A0, A1, B0)]
        opened(ledger, 2, *newer)
        committed(ledger, "job-2", 1)
        assert [digest for *_, digest in shown(ledger)] == ["original"] * 3
        committed(ledger, "job-2", 1)
        assert [digest for *_, digest in shown(ledger)] == ["changed", "changed", "original"]
        committed(ledger, "job-2", 1)
        assert [digest for *_, digest in shown(ledger)] == ["changed"] * 3

    def test_a_job_that_never_completes_keeps_the_older_complete_one_visible(self, ledger):
        committed(ledger, opened(ledger, 1, A0, A1))
        opened(ledger, 2, replace(A0, digest="changed"), replace(A1, digest="changed"))
        committed(ledger, "job-2", 1)
        ledger.give_back(ledger.lease("job-2", "w", HOUR), "corrupt")
        assert [digest for *_, digest in shown(ledger)] == ["original"] * 2

    def test_a_file_put_back_as_it_was_is_in_force_again_without_work(self, ledger):
        committed(ledger, opened(ledger, 1, A0))
        committed(ledger, opened(ledger, 2, replace(A0, digest="changed")))
        opened(ledger, 3, A0)
        assert ledger.progress("job-3").finished
        assert shown(ledger) == [("a.parquet", 0, "original")]

    def test_jobs_that_each_cover_other_files_add_up(self, ledger):
        committed(ledger, opened(ledger, 1, A0))
        committed(ledger, opened(ledger, 2, B0))
        committed(ledger, opened(ledger, 3))
        assert shown(ledger) == [("a.parquet", 0, "original"), ("b.parquet", 0, "original")]

    def test_models_and_policies_stand_side_by_side(self, ledger):
        v3 = replace(V1, policy_version="policy-2")
        for number, version in enumerate((V1, V2, v3), start=1):
            committed(ledger, opened(ledger, number, A0, B0, version=version), number - 1)
        assert [len(shown(ledger, version=one)) for one in (V1, V2, v3)] == [0, 1, 2]
        committed(ledger, "job-1")
        assert [len(shown(ledger, version=one)) for one in (V1, V2, v3)] == [2, 1, 2]

    def test_a_model_registered_twice_is_one_model(self, ledger):
        committed(ledger, opened(ledger, 1, A0))
        again = replace(V1, model_version=9)
        assert len(shown(ledger, version=again)) == 1
        opened(ledger, 2, A0, version=again)
        assert ledger.progress("job-2").finished
        assert [one.version for one in ledger.current("payments", again)] == [V1]

    def test_files_add_up_over_all_places_and_each_place_can_be_asked_for(self, ledger):
        committed(ledger, opened(ledger, 1, A0))
        committed(ledger, opened(ledger, 2, B0, target="s3://lake/scores"))
        a, b = ("a.parquet", 0, "original"), ("b.parquet", 0, "original")
        assert shown(ledger) == [a, b]
        assert shown(ledger, target="/scores") == [a]
        assert shown(ledger, target="s3://lake/scores") == [b]
        assert shown(ledger, target="/nowhere") == []

    def test_a_newer_job_into_another_place_takes_over_once_it_is_complete(self, ledger):
        committed(ledger, opened(ledger, 1, A0, A1))
        newer = [replace(one, digest="changed") for one in (A0, A1)]
        committed(ledger, opened(ledger, 2, *newer, target="/elsewhere"), 1)
        assert {one.target for one in ledger.current("payments", V1)} == {"/scores"}
        committed(ledger, "job-2")
        assert {one.target for one in ledger.current("payments", V1)} == {"/elsewhere"}
        assert [digest for *_, digest in shown(ledger)] == ["changed"] * 2

    def test_a_job_that_has_committed_nothing_hides_none_that_has(self, ledger):
        committed(ledger, opened(ledger, 1, A0, A1), 1)
        opened(ledger, 2, A0, A1, target="/elsewhere")
        assert shown(ledger) == [("a.parquet", 0, "original")]

    def test_pipelines_are_apart(self, ledger):
        committed(ledger, opened(ledger, 1, A0, pipeline="logins"))
        assert shown(ledger) == []


def increment(above, first_row=0, digest="original"):
    """A partition of the table ``file:///data``, or of what is new in it."""
    name = "data" if above is None else f"data{INCREMENT}{above}"
    return replace(partition(name, first_row, digest), source=f"file:///{name}")


def scanned(ledger, number, above, up_to, *, asked=None, column="n", pieces=1, **changes):
    """Open a job over a table and return its id; asked in the order of the numbers if not said."""
    asked_at = NOON + timedelta(minutes=number if asked is None else asked)
    return opened(
        ledger,
        number,
        *(increment(above, place, f"{digest_of(column)} to {up_to}") for place in range(pieces)),
        watermark=Watermark(column, str(up_to), asked_at),
        **changes,
    )


def digest_of(column):
    return "" if column == "n" else column


def reached(ledger, column="n", **which):
    where = {"version": V1, "target": "/scores", "table": "file:///data", **which}
    return reach(ledger.stretches("payments", **where), column)


def ranges(ledger):
    """What is in force of the table, as ``(above, up to)``."""
    found = (one.partition for one in ledger.current("payments", V1))
    return [(one.source.partition(INCREMENT)[2], one.digest.rpartition(" to ")[2]) for one in found]


class TestIncrements:
    def test_increments_follow_each_other_without_a_gap(self, ledger):
        assert reached(ledger) is None
        committed(ledger, scanned(ledger, 1, None, 10))
        committed(ledger, scanned(ledger, 2, 10, 20))
        scanned(ledger, 3, 20, 30)
        assert reached(ledger) == "20"
        committed(ledger, "job-3")
        assert reached(ledger) == "30"
        assert ranges(ledger) == [("", "10"), ("10", "20"), ("20", "30")]

    def test_places_versions_tables_and_pipelines_are_apart(self, ledger):
        committed(ledger, scanned(ledger, 1, None, 10))
        assert reached(ledger, version=replace(V1, model_version=9)) == "10"
        assert reached(ledger, version=V2) is None
        assert reached(ledger, target="/elsewhere") is None
        assert reached(ledger, table="file:///other") is None
        assert ledger.stretches("logins", V1, "/scores") == ()

    def test_another_watermark_column_begins_anew(self, ledger):
        committed(ledger, scanned(ledger, 1, None, 10))
        committed(ledger, scanned(ledger, 2, 10, 20))
        assert reached(ledger, "ts") is None
        committed(ledger, scanned(ledger, 3, None, 10, column="ts"))
        assert reached(ledger, "ts") == "10"
        assert reached(ledger, "n") is None
        assert ranges(ledger) == [("", "10")]

    def test_rows_after_a_part_that_was_freed_are_scored_again_and_shown_until_then(self, ledger):
        committed(ledger, scanned(ledger, 1, None, 10))
        committed(ledger, scanned(ledger, 2, 10, 20, pieces=2))
        committed(ledger, scanned(ledger, 3, 20, 30))
        ledger.reset((freed := ledger.entries_of("job-2")[1]).key, freed.fence, "its part is gone")
        assert reached(ledger) == "10"
        assert ranges(ledger) == [("", "10"), ("10", "20"), ("20", "30")]
        committed(ledger, scanned(ledger, 4, 10, 35))
        assert reached(ledger) == "35"
        assert ranges(ledger) == [("", "10"), ("10", "35")]

    def test_a_full_job_ends_all_increments_asked_for_before_it(self, ledger):
        committed(ledger, scanned(ledger, 1, None, 10))
        committed(ledger, scanned(ledger, 2, 10, 20))
        committed(ledger, scanned(ledger, 3, None, 20))
        assert ranges(ledger) == [("", "20")]
        committed(ledger, scanned(ledger, 4, 20, 30))
        assert ranges(ledger) == [("", "20"), ("20", "30")]

    def test_a_full_job_that_an_increment_overtakes_hides_nothing(self, ledger):
        committed(ledger, scanned(ledger, 1, None, 10))
        # The full job asks the table first, is opened later and ends last.
        committed(ledger, scanned(ledger, 2, 10, 25, asked=9))
        committed(ledger, scanned(ledger, 3, None, 20, asked=8))
        assert ranges(ledger) == [("", "10"), ("10", "25")]
        # The next increment follows the full job, and the rows in between are scored again.
        assert reached(ledger) == "20"
        committed(ledger, scanned(ledger, 4, 20, 30, asked=10))
        assert ranges(ledger) == [("", "20"), ("20", "30")]

    def test_an_increment_shows_what_it_has_committed_so_far(self, ledger):
        committed(ledger, scanned(ledger, 1, None, 10))
        committed(ledger, scanned(ledger, 2, 10, 20, pieces=2), 1)
        assert ranges(ledger) == [("", "10"), ("10", "20")]

    def test_a_chain_stays_within_its_place(self, ledger):
        committed(ledger, scanned(ledger, 1, None, 10))
        committed(ledger, scanned(ledger, 2, None, 20, target="/elsewhere"))
        assert ranges(ledger) == [("", "20")]
        committed(ledger, scanned(ledger, 3, 20, 30, target="/elsewhere"))
        scanned(ledger, 4, 10, 40)
        assert ranges(ledger) == [("", "20"), ("20", "30")]
        committed(ledger, "job-4")
        assert ranges(ledger) == [("", "10"), ("10", "40")]
        assert {one.target for one in ledger.current("payments", V1)} == {"/scores"}

    def test_an_increment_alone_in_its_place_is_in_force(self, ledger):
        committed(ledger, scanned(ledger, 1, 10, 20))
        committed(ledger, scanned(ledger, 2, 20, 30))
        assert reached(ledger) is None
        assert ranges(ledger) == [("10", "20"), ("20", "30")]

    def test_a_name_that_looks_like_an_increment_is_none(self, ledger):
        table = "sqlite:///a.db#SELECT a, above FROM t"
        whole = replace(A0, source=table)
        mark = Watermark("a", "7", NOON)
        committed(ledger, opened(ledger, 1, whole, source_uri=table, watermark=mark))
        (found,) = ledger.stretches("payments", V1, "/scores")
        assert found.above is None
        assert reached(ledger, "a", table=table) == "7"


class TestKeeping:
    def test_everything_is_listed_oldest_first(self, ledger):
        opened(ledger, 2, A1, replace(A0, digest="changed"))
        opened(ledger, 1, B0, A0)
        assert [one.partition.digest for one in ledger.entries("payments")] == [
            "original", "original", "changed", "original",
        ]  # fmt: skip
        assert [one.partition.name[0] for one in ledger.entries("payments")] == list("abaa")
        assert ledger.entries("logins") == ()

    def test_a_damaged_partition_is_done_again_by_the_next_job(self, ledger):
        first = ledger.lease(opened(ledger, 1, A0), "w", HOUR)
        ledger.commit(first, outcome())
        ledger.reset(first.key, first.fence, "digest differs")
        (stored,) = ledger.entries_of("job-1")
        assert (stored.state, stored.error) == ("pending", "digest differs")
        assert stored.outcome is stored.committed_at is None
        assert shown(ledger) == []
        with pytest.raises(FencedError):  # the old commit cannot be repeated into life
            ledger.commit(first, outcome())
        lease = ledger.lease(opened(ledger, 2, A0), "w", HOUR)
        assert lease.fence > first.fence
        ledger.commit(lease, outcome())
        assert ledger.entries_of("job-1")[0].error is None

    def test_only_what_is_committed_can_be_reset(self, ledger):
        lease = ledger.lease(opened(ledger, 1, A0), "w", HOUR)
        ledger.reset(lease.key, lease.fence, "no")
        ledger.reset("unknown", 1, "no")
        assert ledger.leases("job-1") == (lease,)

    def test_what_was_done_again_since_it_was_found_damaged_is_left_alone(self, ledger):
        damaged = ledger.lease(opened(ledger, 1, A0), "w", HOUR)
        ledger.commit(damaged, outcome())
        ledger.reset(damaged.key, damaged.fence, "digest differs")
        ledger.commit(ledger.lease("job-1", "w", HOUR), outcome())
        ledger.reset(damaged.key, damaged.fence, "digest differs")
        assert shown(ledger) == [("a.parquet", 0, "original")]

    def test_forgotten_partitions_are_gone_and_so_are_jobs_without_any(self, ledger):
        committed(ledger, opened(ledger, 1, A0))
        committed(ledger, opened(ledger, 2, A0, B0))
        ledger.forget([entry(A0).key, "unknown"])
        assert [one.id for one in ledger.jobs("payments")] == ["job-2"]
        assert shown(ledger) == [("b.parquet", 0, "original")]
        assert [one.partition for one in ledger.entries_of("job-2")] == [B0]
        assert [one.partition for one in ledger.entries("payments")] == [B0]

    def test_a_job_that_lost_a_partition_of_a_file_no_longer_speaks_for_the_file(self, ledger):
        committed(ledger, opened(ledger, 1, A0, A1))
        changed = replace(A1, digest="changed")
        committed(ledger, opened(ledger, 2, A0, changed))
        ledger.forget([entry(A1).key])
        (newer,) = (one for one in ledger.entries("payments") if one.partition == changed)
        ledger.reset(newer.key, newer.fence, "its part is gone")
        # Job 1 would be complete without it, and the rest of the file would be missed by nobody.
        assert ledger.jobs("payments")[-1].id == "job-2"
        assert shown(ledger) == [("a.parquet", 0, "original")]

    def test_thousands_are_forgotten_at_once(self, ledger):
        many = [partition(first_row=n) for n in range(1_200)]
        opened(ledger, 1, *many)
        ledger.forget([entry(one).key for one in many])
        assert ledger.jobs("payments") == ledger.entries("payments") == ()

    def test_what_a_job_came_to_ask_for_meanwhile_is_not_forgotten(self, ledger):
        committed(ledger, opened(ledger, 1, A0, A1))
        known = [one.id for one in ledger.jobs("payments")]
        opened(ledger, 2, A0)
        assert ledger.forget([entry(A0).key, entry(A1).key], known) == {entry(A1).key}
        assert ledger.progress("job-2").committed == 1
        assert ledger.forget([entry(A0).key], [*known, "job-2"]) == {entry(A0).key}

    def test_a_job_is_unfinished_while_it_may_become_complete(self, ledger):
        committed(ledger, opened(ledger, 1, A0))
        committed(ledger, opened(ledger, 2, A1, A2), 1)
        before, after = NOON + timedelta(minutes=1), NOON + timedelta(minutes=2)
        assert ledger.unfinished("payments", before) == {entry(A1).key, entry(A2).key}
        assert ledger.unfinished("payments", after) == frozenset()
        ledger.lease("job-2", "w", HOUR)
        assert ledger.unfinished("payments", after) == {entry(A1).key, entry(A2).key}
        assert ledger.unfinished("logins", before) == frozenset()

    def test_what_was_asked_for_is_known_by_input_and_run(self, ledger):
        opened(ledger, 1, A0, B0)
        opened(ledger, 2, A1, source_uri="file:///other")
        a, b = A0.source, B0.source
        assert ledger.asked("payments", V1, "/scores", source_uri="file:///data") == {a, b}
        assert ledger.asked("payments", V1, "/scores", run_id="run-2") == {a}
        assert ledger.asked("payments", V1, "/elsewhere") == frozenset()
        assert ledger.asked("payments", V1) == {a, b}
        assert ledger.asked("payments", V2, "/scores") == frozenset()

    def test_the_pipelines_that_share_a_place_are_known(self, ledger):
        opened(ledger, 1, A0)
        ledger.open_job(job(2, pipeline="logins"), [replace(entry(B0), pipeline="logins")])
        opened(ledger, 3, B1, target="/elsewhere")
        below = replace(entry(A1), pipeline="below", target="/scores/date=1")
        beside = replace(entry(A2), pipeline="beside", target="/Scores/2")
        ledger.open_job(job(4, pipeline="below", target="/scores/date=1"), [below])
        ledger.open_job(job(5, pipeline="beside", target="/Scores/2"), [beside])
        assert ledger.pipelines("/scores") == ("below", "logins", "payments")
        assert ledger.pipelines("/scores/date=1") == ("below", "logins", "payments")
        assert ledger.pipelines("/scores/date=12") == ("logins", "payments")
        assert ledger.pipelines("/nowhere") == ()

    def test_what_somebody_works_on_is_not_forgotten(self, ledger):
        opened(ledger, 1, A0, A1, A2)
        held = ledger.lease("job-1", "w", HOUR)
        expired = ledger.lease("job-1", "w", 0)
        ledger.forget([entry(one).key for one in (A0, A1, A2)])
        assert ledger.leases("job-1") == (held,)
        assert len(ledger.entries_of("job-1")) == 1
        with pytest.raises(FencedError):
            ledger.commit(expired, outcome())

    def test_fences_grow_even_when_a_partition_was_forgotten_in_between(self, ledger):
        old = ledger.lease(opened(ledger, 1, A0), "w", HOUR)
        ledger.commit(old, outcome())
        ledger.forget([old.key])
        opened(ledger, 2, A0)
        new = ledger.lease("job-2", "w", HOUR)
        assert new.fence > old.fence
        with pytest.raises(FencedError):
            ledger.commit(old, outcome())

    def test_a_target_is_known_from_the_first_job_to_the_last_partition(self, ledger):
        assert not ledger.wrote("/scores")
        job = opened(ledger, 1, A0, A1)
        assert ledger.wrote("/scores")
        assert not ledger.wrote("/elsewhere")
        keys = []
        while lease := ledger.lease(job, "w", HOUR):
            ledger.commit(lease, outcome())
            keys.append(lease.key)
        ledger.forget(keys[:1])
        assert ledger.wrote("/scores")
        ledger.forget(keys)
        assert not ledger.wrote("/scores")


TABLES = [
    (above, up_to, asked)
    for above in (None, 1, 2)
    for up_to in (1, 2, 3)
    for asked in (-1, 0)
    if above is None or above < up_to
]
PIECES = [
    partition(source, n, digest)
    for source in ("a", "b")
    for n in range(2)
    for digest in ("old", "new")
]


class AgreeingLedgers(RuleBasedStateMachine):
    """Whatever is asked of both, SQLite and memory answer alike."""

    @initialize()
    def begin(self):
        path = self.template.with_name("compared.db")
        for beside in path.parent.glob("compared.db*"):
            beside.unlink()
        shutil.copy(self.template, path)
        self.sql, self.memory = SqlLedger(f"sqlite:///{path}"), InMemoryLedger()
        self.jobs, self.leases, self.made = [], [], 0

    def both(self, action):
        answers = []
        for index, ledger in enumerate((self.sql, self.memory)):
            try:
                answers.append(action(ledger, index))
            except FencedError:
                answers.append("fenced")
        return answers

    @rule(
        pieces=st.lists(st.sampled_from(PIECES), unique=True, max_size=5),
        version=st.sampled_from([V1, V2]),
        place=st.sampled_from(["/x", "/y"]),
    )
    def open_job(self, pieces, version, place):
        self.made += 1
        mark = Watermark("n", str(self.made), NOON) if self.made % 3 else None
        self.both(
            lambda ledger, _: opened(
                ledger, self.made, *pieces, version=version, target=place, watermark=mark
            )
        )
        self.jobs.append(f"job-{self.made}")

    @rule(
        which=st.sampled_from(TABLES),
        column=st.sampled_from("nm"),
        pieces=st.integers(1, 2),
        place=st.sampled_from(["/x", "/x", "/y"]),
    )
    def scan(self, which, column, pieces, place):
        self.made += 1
        above, up_to, asked = which
        self.both(
            lambda ledger, _: scanned(
                ledger,
                self.made,
                above,
                up_to,
                asked=self.made + 2 * asked,
                column=column,
                pieces=pieces,
                target=place,
            )
        )
        self.jobs.append(f"job-{self.made}")

    @rule(data=st.data(), seconds=st.sampled_from([0, HOUR]))
    def lease(self, data, seconds):
        if not self.jobs:
            return
        job_id, owner = data.draw(st.sampled_from(self.jobs)), f"owner-{len(self.leases)}"
        self.sql._next.clear()  # it would come back last to what was given back, memory first
        mine, theirs = self.both(lambda ledger, _: ledger.lease(job_id, owner, seconds))
        if mine is None:
            assert theirs is None
        else:
            assert replace(mine, fence=theirs.fence) == theirs
            self.leases.append((mine, theirs))

    @rule(data=st.data(), how=st.sampled_from(["commit", "fail", "free", "renew", "break"]))
    def end(self, data, how):
        if not self.leases:
            return
        pair = data.draw(st.sampled_from(self.leases))
        actions = {
            "commit": lambda ledger, i: ledger.commit(pair[i], outcome(pair[0].key)),
            "fail": lambda ledger, i: ledger.give_back(pair[i], "corrupt"),
            "free": lambda ledger, i: ledger.give_back(pair[i]),
            "renew": lambda ledger, i: ledger.renew(pair[i], HOUR),
            "break": lambda ledger, i: ledger.break_lease(pair[i]),
        }
        mine, theirs = self.both(actions[how])
        assert mine == theirs

    @rule(pieces=st.lists(st.sampled_from(PIECES), max_size=4), version=st.sampled_from([V1, V2]))
    def forget(self, pieces, version):
        keys = [entry(piece, version, "/x").key for piece in pieces]
        mine, theirs = self.both(lambda ledger, _: ledger.forget(keys, known=self.jobs[:-1]))
        assert mine == theirs

    @rule(data=st.data())
    def reset(self, data):
        if not self.leases:
            return
        pair = data.draw(st.sampled_from(self.leases))
        self.both(lambda ledger, index: ledger.reset(pair[index].key, pair[index].fence, "gone"))

    @invariant()
    def all_answers_agree(self):
        def answers(ledger, _index):
            return (
                [one.id for one in ledger.jobs("payments", 100)],
                brief(ledger.entries("payments")),
                [brief(ledger.entries_of(one)) for one in self.jobs],
                [ledger.progress(one) for one in self.jobs],
                [[(one.key, one.owner) for one in ledger.leases(job)] for job in self.jobs],
                [brief(ledger.current("payments", v, t)) for v in (V1, V2) for t in ("/x", None)],
                [ledger.asked("payments", v, "/x", run_id="run-1") for v in (V1, V2)],
                [ledger.asked("payments", v, source_uri="file:///data") for v in (V1, V2)],
                ledger.unfinished("payments", NOON + timedelta(minutes=5)),
                ledger.pipelines("/x"),
                [ledger.stretches("payments", v, t) for v in (V1, V2) for t in ("/x", None)],
                [ledger.wrote(target) for target in ("/x", "/y")],
            )

        if self.jobs:
            mine, theirs = self.both(answers)
            assert mine == theirs


def brief(entries):
    """All of entries but what the clock decides."""
    return [replace(one, fence=0, committed_at=None) for one in entries]


@pytest.mark.integration
def test_memory_and_sqlite_agree_whatever_is_asked(sqlite_template):
    AgreeingLedgers.template = sqlite_template
    run_state_machine_as_test(
        AgreeingLedgers,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
        ),
    )
