"""Every implementation of ``Records`` keeps the same promises."""

import math
import shutil
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pynomaly.domain.approvals import approve, reject
from pynomaly.domain.canaries import Comparison, Pairs
from pynomaly.domain.datasets import Fingerprint, Snapshot
from pynomaly.domain.errors import ConflictError, PynomalyError, ReleaseBlockedError, UsageError
from pynomaly.domain.gates import GateResult, Override
from pynomaly.domain.pipelines import DecisionPolicy
from pynomaly.domain.quality import ExpectationResult, ValidationReport
from pynomaly.domain.releases import ModelVersion, Release, ReleaseEvent
from pynomaly.domain.rollbacks import roll_back
from pynomaly.domain.rollouts import RolloutPolicy, plan_rollout
from pynomaly.domain.runs import Actor, Run, ScoredBatch, StepRecord
from pynomaly.domain.transitions import abort, advance, begin, fail, pause, resume
from pynomaly.domain.witnesses import evidence
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords
from pynomaly.infrastructure.sqlalchemy.tables import metadata
from pynomaly.testing import InMemoryRecords

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOON + timedelta(seconds=1)


@pytest.fixture(scope="module")
def sqlite_template(tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "template.db"
    SqlRecords(f"sqlite:///{path}").pipelines()  # migrates
    return path


@pytest.fixture(scope="module")
def postgres_records(empty_postgres_databases):
    url = empty_postgres_databases()
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    return SqlRecords(url), engine


def make_records(kind, request):
    """Empty records of a kind."""
    if kind == "memory":
        return InMemoryRecords()
    if kind == "sqlite":
        path = request.getfixturevalue("tmp_path_factory").mktemp("sqlite") / "pynomaly.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return SqlRecords(f"sqlite:///{path}")
    records, engine = request.getfixturevalue("postgres_records")
    records.pipelines()  # migrates
    tables = ", ".join(table.name for table in metadata.sorted_tables)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {tables}")
    return records


kinds = [
    "memory",
    pytest.param("sqlite", marks=pytest.mark.integration),
    pytest.param("postgres", marks=[pytest.mark.integration, pytest.mark.postgres]),
]


@pytest.fixture(params=kinds)
def records(request):
    return make_records(request.param, request)


def run(key="run-1", pipeline="payments", started_at=NOON, **changes):
    return replace(
        Run(key, pipeline, "run", "direct", Actor("ada"), "running", started_at), **changes
    )


def step(name="validate", started_at=NOON, run_id="run-1", **changes):
    finished_at = started_at + timedelta(seconds=1)
    return replace(StepRecord(run_id, name, "completed", started_at, finished_at, {}), **changes)


def snapshot(content="c" * 64):
    return Snapshot(
        "file:///payments.csv",
        Fingerprint(content, "5" * 64),
        (("amount", "double"), ("country", "string")),
        rows=100,
        size_bytes=2**40,
    )


def report(key="report-1", pipeline="payments", created_at=NOON, content="c" * 64, **changes):
    result = ExpectationResult(
        "expect_column_values_to_not_be_null",
        "amount",
        "row",
        passed=False,
        observed="3 nulls",
        allowed="none",
        failing_rows=3,
        sample_ids=("a#1", "a#2", "naïve\0\N{SNOWMAN}"),
    )
    table = ExpectationResult("row_count", None, "critical", True, "100", "≥ 1")
    return replace(
        ValidationReport(
            key, pipeline, snapshot(content), (result, table), 97, 3, 0.05, created_at
        ),
        **changes,
    )


def version(number=1, pipeline="payments", **changes):
    return replace(
        ModelVersion(
            pipeline,
            number,
            f"models:/{pipeline}/{number}",
            "d" * 64,
            "run-1",
            "mlflow-1",
            "c" * 64,
            "file:///holdout.parquet",
            NOON,
        ),
        **changes,
    )


GATES = (
    GateResult("injected_recall", "pass", 0.1, -0.05, -0.1, 1_000, "found 10 % more"),
    GateResult("golden_rows", "pass", None, None, None, 32, "all 32 exact"),
    GateResult(
        "replay", "review", 0.2, 0.24, 0.25, 400, "5 appear",
        {"appear": [{"ids": {"id": "7"}, "reasons": ["amount 9 — usually 1"]}]},
    ),
    GateResult(
        "latency", "block", 300.0, None, 250.0, 20, "slow", {},
        Override("latency", Actor("ada"), "approver", "A batch pipeline, nobody waits."),
    ),
)  # fmt: skip


def release(key="release-1", number=1, champion=None, pipeline="payments", **changes):
    return replace(
        Release(key, "run-1", pipeline, number, champion, "candidate", "pass", GATES, NOON),
        **changes,
    )


def batch(key="batch-1", scored_at=NOON, output="file:///out.parquet", digest="0" * 64, **changes):
    return replace(
        ScoredBatch(
            key,
            "run-1",
            "payments",
            "file:///new.csv",
            "c" * 64,
            1,
            "policy-1",
            100,
            97,
            3,
            2,
            output,
            digest,
            None,
            scored_at,
        ),
        **changes,
    )


def with_versions(records, *numbers, pipeline="payments"):
    for number in numbers:
        records.add_version(version(number, pipeline))
    return records


class TestRuns:
    def test_a_run_comes_back_as_it_was_stored(self, records):
        records.start_run(run())
        assert records.run("run-1") == run()

    def test_a_finished_run_replaces_the_running_one(self, records):
        records.start_run(run())
        failed = run(status="failed", finished_at=LATER, error="line 3: '\0' \ud800 is no number")
        records.finish_run(failed)
        assert records.run("run-1") == failed
        assert records.runs("payments") == (failed,)

    def test_a_run_that_never_started_cannot_finish(self, records):
        with pytest.raises(PynomalyError, match=r"run-1 .*never started"):
            records.finish_run(run())

    def test_an_unknown_run_is_none(self, records):
        assert records.run("run-1") is None

    def test_runs_are_those_of_the_pipeline_newest_first_up_to_the_limit(self, records):
        stored = [run(f"run-{n}", started_at=NOON + timedelta(seconds=n)) for n in (3, 1, 2)]
        for one in [*stored, run("other", "logins")]:
            records.start_run(one)
        assert [one.id for one in records.runs("payments")] == ["run-3", "run-2", "run-1"]
        assert [one.id for one in records.runs("payments", 2)] == ["run-3", "run-2"]
        assert records.runs("unknown") == ()

    def test_of_runs_started_at_the_same_moment_the_last_stored_is_newest(self, records):
        for key in ("run-b", "run-a", "run-c"):
            records.start_run(run(key))
        assert [one.id for one in records.runs("payments")] == ["run-c", "run-a", "run-b"]

    def test_pipelines_are_those_with_a_run_in_alphabetical_order(self, records):
        for key, name in (("1", "payments"), ("2", "Zebra"), ("3", "logins"), ("4", "payments")):
            records.start_run(run(key, name))
        assert records.pipelines() == ("Zebra", "logins", "payments")

    def test_moments_come_back_in_utc_whatever_their_zone_was(self, records):
        tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
        records.start_run(run(started_at=tokyo))
        started_at = records.run("run-1").started_at
        assert started_at == NOON
        assert started_at.tzinfo is not None

    def test_a_moment_without_zone_is_refused(self, records):
        with pytest.raises(ValueError, match="started_at has no time zone"):
            records.start_run(run(started_at=NOON.replace(tzinfo=None)))
        assert records.runs("payments") == ()

    def test_two_runs_cannot_share_an_id(self, records):
        records.start_run(run())
        records.start_run(run())  # a repeated step may store the same again
        with pytest.raises(ConflictError, match="run-1 is stored already"):
            records.start_run(run(command="score"))
        assert records.runs("payments") == (run(),)


class TestSteps:
    def test_steps_are_in_order_of_start_whatever_the_order_of_storing(self, records):
        records.start_run(run())
        later = step("train", LATER, summary={"trials": 20, "best": {"iforest": [0.5, None]}})
        records.add_step(later)
        records.add_step(step("validate"))
        records.add_step(step("profile"))  # at the same moment, stored later
        assert records.steps("run-1") == (step("validate"), step("profile"), later)
        assert records.steps("run-2") == ()

    def test_a_repeated_step_replaces_the_earlier_one(self, records):
        records.start_run(run())
        records.add_step(step(status="failed", summary={"rows": 1}))
        again = step(started_at=LATER, summary={"rows": 2})
        records.add_step(again)
        assert records.steps("run-1") == (again,)

    def test_a_step_needs_its_run(self, records):
        with pytest.raises(PynomalyError, match="'validate' belongs to unknown run run-1"):
            records.add_step(step())

    def test_a_summary_that_is_not_json_is_refused(self, records):
        records.start_run(run())
        with pytest.raises((TypeError, sa.exc.StatementError), match="not JSON serializable"):
            records.add_step(step(summary={"rows": object()}))
        assert records.steps("run-1") == ()

    def test_numbers_that_json_lacks_survive(self, records):
        records.start_run(run())
        records.add_step(step(summary={"auc": math.nan, "bounds": (-math.inf, math.inf)}))
        (stored,) = records.steps("run-1")
        assert math.isnan(stored.summary["auc"])
        assert stored.summary["bounds"] == [-math.inf, math.inf]


class TestReports:
    def test_a_report_comes_back_as_it_was_stored(self, records):
        records.add_report(report())
        assert records.report("report-1") == report()
        assert records.report("report-2") is None

    def test_the_latest_report_of_a_snapshot_is_found_by_its_content(self, records):
        latest = report("report-3", created_at=LATER)
        for one in (
            report("report-1"),
            latest,
            report("report-2"),
            report("other-content", content="e" * 64, created_at=LATER + timedelta(1)),
            report("other-pipeline", "logins", created_at=LATER + timedelta(1)),
        ):
            records.add_report(one)
        assert records.report_of("payments", "c" * 64) == latest
        assert records.report_of("payments", "a" * 64) is None

    def test_a_report_is_written_once(self, records):
        records.add_report(report())
        records.add_report(report())
        with pytest.raises(ConflictError, match="report-1 is stored already"):
            records.add_report(report(accepted=1))


class TestVersions:
    def test_versions_are_those_of_the_pipeline_newest_first(self, records):
        with_versions(records, 2, 10, 1)
        with_versions(records, 3, pipeline="logins")
        assert records.versions("payments") == (version(10), version(2), version(1))
        assert records.version("payments", 2) == version(2)
        assert records.version("payments", 3) is None

    def test_an_equal_version_may_exist_already_but_no_other(self, records):
        with_versions(records, 1, 1)
        with pytest.raises(ConflictError, match="stored already"):
            records.add_version(version(1, manifest_digest="e" * 64))
        assert records.versions("payments") == (version(1),)


class TestReleases:
    def test_a_release_comes_back_as_it_was_stored(self, records):
        with_versions(records, 1)
        blocked = release(state="blocked", verdict="block")
        records.add_release(blocked)
        assert records.release("release-1") == blocked
        assert records.release("release-2") is None
        assert records.production("payments") is None

    def test_a_gate_may_have_seen_nan(self, records):
        with_versions(records, 1)
        gate = GateResult("recall", "inconclusive", math.nan, -math.inf, 0.3, 0, "no rows")
        records.add_release(release(gates=(gate,)))
        records.add_release(release(gates=(gate,)))  # equal, though NaN != NaN
        (stored,) = records.release("release-1").gates
        assert math.isnan(stored.observed)
        assert stored.bound == -math.inf

    def test_releases_are_newest_first_up_to_the_limit(self, records):
        with_versions(records, 1)
        for n in (2, 3, 1):
            records.add_release(release(f"release-{n}", created_at=NOON + timedelta(seconds=n)))
        ids = [one.id for one in records.releases("payments", 2)]
        assert ids == ["release-3", "release-2"]

    def test_releases_of_a_run_are_found_however_many_came_later(self, records):
        with_versions(records, 1)
        records.start_run(run("run-2"))
        records.add_release(release("mine", run_id="run-2"))
        records.add_release(release("later", created_at=LATER))
        assert [one.id for one in records.releases_of("run-2")] == ["mine"]
        assert records.releases_of("nobody") == ()

    def test_only_candidates_and_blocked_releases_are_added(self, records):
        with_versions(records, 1)
        with pytest.raises(ValueError, match="not production"):
            records.add_release(release(state="production"))

    def test_a_release_needs_its_version(self, records):
        with pytest.raises(PynomalyError, match="unknown model version"):
            records.add_release(release())


ADA, BOB = Actor("ada"), Actor("bob")
CANARY = plan_rollout(RolloutPolicy(), "5a17", to="production", first=False)


def promote(records, key, at=NOON, pipeline="payments"):
    """Take the first step of a release; without a rollout that is production."""
    rule = partial(begin, release_id=key, actor=ADA, at=at, manifest_digest="d" * 64)
    return records.move(pipeline, rule)


def moved(records, rule, key, pipeline="payments", **arguments):
    """Carry out a rule about one release and return that release."""
    given = {"release_id": key, "actor": ADA, "at": LATER, **arguments}
    return records.move(pipeline, partial(rule, **given))


def served(records, *releases):
    """Records in which these releases served one after the other."""
    with_versions(records, *{one.version for one in releases})
    for one in releases:
        records.add_release(one)
        promote(records, one.id)
    return records


class TestPromotion:
    def test_the_first_promotion_serves(self, records):
        served(records, release())
        serving = release(state="production", promoted_at=NOON, fence=1)
        assert records.production("payments") == serving == records.release("release-1")

    def test_the_next_promotion_supersedes_the_first(self, records):
        served(records, release(), release("release-2", 2, champion=1))
        serving = records.production("payments")
        assert (serving.id, serving.replaced, serving.fence) == ("release-2", "release-1", 3)
        assert records.release("release-1").state == "superseded"

    def test_fences_grow_with_every_transition_of_a_pipeline(self, records):
        for pipeline in ("payments", "logins"):
            with_versions(records, 1, 2, pipeline=pipeline)
            for number in (1, 2):
                records.add_release(
                    release(f"{pipeline}-{number}", number, number - 1 or None, pipeline)
                )
                promote(records, f"{pipeline}-{number}", pipeline=pipeline)
        assert [event.fence for event in records.events("payments")] == [1, 2, 3]
        assert records.production("logins").fence == 3

    @pytest.mark.parametrize("champion", [None, 2])
    def test_a_release_compared_with_another_champion_conflicts(self, records, champion):
        with_versions(records, 2)
        served(records, release())
        stale = release("release-2", 2, champion)
        records.add_release(stale)
        with pytest.raises(ConflictError, match="version 1 serves"):
            promote(records, "release-2")
        assert records.production("payments").version == 1
        assert records.release("release-2") == stale

    def test_promoting_again_changes_nothing(self, records):
        served(records, release())
        before = records.production("payments")
        assert promote(records, "release-1", LATER) == ()
        assert records.production("payments") == before

    def test_a_superseded_release_cannot_come_back_by_itself(self, records):
        served(records, release(), release("release-2", 2, champion=1))
        with pytest.raises(ConflictError, match="superseded"):
            promote(records, "release-1")
        assert records.production("payments").version == 2

    def test_a_blocked_release_cannot_be_promoted(self, records):
        with_versions(records, 1)
        records.add_release(release(state="blocked", verdict="block"))
        with pytest.raises(ReleaseBlockedError) as caught:
            promote(records, "release-1")
        assert caught.value.release_id == "release-1"
        assert records.production("payments") is None

    def test_a_release_that_was_never_stored_cannot_be_promoted(self, records):
        with pytest.raises(UsageError, match="no release release-1"):
            promote(records, "release-1")


class TestRollouts:
    @pytest.fixture
    def rolling_out(self, records):
        """Records in which version 2 answers the first 5 % of the rows."""
        with_versions(records, 2, 3)
        served(records, release())
        records.add_release(release("release-2", 2, champion=1, rollout=CANARY, proposer=ADA))
        promote(records, "release-2")
        return records

    def test_everything_a_release_carries_comes_back(self, records):
        with_versions(records, 1)
        full = release(
            decision=DecisionPolicy("fdr", q=0.05),
            rollout=CANARY,
            to="staging",
            needs_approval=True,
            proposer=BOB,
        )
        records.add_release(full)
        assert records.release("release-1") == full

    def test_the_release_on_its_way_is_found_and_the_other_still_serves(self, rolling_out):
        active = rolling_out.on_its_way("payments")
        assert (active.id, active.state, active.step, active.share) == (
            "release-2",
            "canary",
            0,
            0.05,
        )
        assert rolling_out.production("payments").version == 1

    def test_a_second_release_has_to_wait_for_it(self, rolling_out):
        rolling_out.add_release(release("release-3", 3, champion=1, rollout=CANARY))
        with pytest.raises(ConflictError, match="version 2 of 'payments' is on its way"):
            promote(rolling_out, "release-3")

    def test_it_advances_step_by_step_into_production(self, rolling_out):
        for step in range(4):
            moved(rolling_out, advance, "release-2", step=step, reason="within")
        assert rolling_out.production("payments").id == "release-2"
        assert rolling_out.on_its_way("payments") is None
        told = [(event.action, event.step) for event in rolling_out.events("payments", "release-2")]
        assert told == [
            ("begin", 0), ("advance", 1), ("advance", 2), ("advance", 3), ("promote", None),
        ]  # fmt: skip

    def test_a_step_that_was_left_already_moves_nothing(self, rolling_out):
        moved(rolling_out, advance, "release-2", step=0, reason="within")
        assert moved(rolling_out, advance, "release-2", step=0, reason="within") == ()
        assert moved(rolling_out, fail, "release-2", step=0, reason="late") == ()
        assert rolling_out.on_its_way("payments").step == 1

    def test_what_was_paused_stays_where_it_is(self, rolling_out):
        moved(rolling_out, pause, "release-2")
        assert moved(rolling_out, advance, "release-2", step=0, reason="within") == ()
        assert moved(rolling_out, fail, "release-2", step=0, reason="worse") == ()
        moved(rolling_out, resume, "release-2")
        (failed,) = moved(rolling_out, fail, "release-2", step=0, reason="worse")
        assert (failed.state, failed.share) == ("rolled_back", 0.0)

    def test_events_tell_who_did_what_and_why(self, rolling_out):
        moved(rolling_out, abort, "release-2", actor=BOB, reason="naïve\0\N{SNOWMAN}")
        *_, last = rolling_out.events("payments")
        assert last == ReleaseEvent(
            "release-2", "payments", 2, 3, "abort", "canary", "aborted", None, BOB, LATER,
            "naïve\0\N{SNOWMAN}",
        )  # fmt: skip

    def test_what_was_seen_counts_once_per_partition_and_step(self, rolling_out):
        proven = evidence(np.array([[0.5, 0.5, 0.0], [0.0, 0.3, 0.7]]), 2.0)
        one = Comparison(100, 5, 0, Pairs(1, 2, 3, proven), Pairs(9, 8, 7))
        two = Comparison(50, 2, 1, Pairs(evidence=proven))
        rolling_out.observe("release-2", 0, {"a": one})
        rolling_out.observe("release-2", 0, {"a": one, "b": two})
        rolling_out.observe("release-2", 1, {"a": two})
        assert rolling_out.observed("release-2", 0) == one + two
        assert rolling_out.observed("release-2", 1) == two
        assert rolling_out.observed("release-2", 2) == Comparison()
        assert rolling_out.observed("release-2", 0).alerts.evidence.groups == 4


class TestApprovals:
    @pytest.fixture
    def waiting(self, records):
        """Records in which version 1, trained and proposed by Ada, waits for approval."""
        with_versions(records, 1)
        records.add_release(release(needs_approval=True, proposer=ADA))
        promote(records, "release-1")
        return records

    @staticmethod
    def approve(records, actor=BOB, *, four_eyes=True, hours=24.0, digest="d" * 64):
        return moved(
            records, approve, "release-1", actor=actor, trainer=ADA, manifest_digest=digest,
            four_eyes=four_eyes, hours=hours, reason="seen",
        )  # fmt: skip

    def test_nothing_serves_before_somebody_approved(self, waiting):
        assert waiting.on_its_way("payments").state == "pending_approval"
        assert promote(waiting, "release-1") == ()
        self.approve(waiting)
        promote(waiting, "release-1", LATER)
        serving = waiting.production("payments")
        assert (serving.approval.actor, serving.approval.own) == (BOB, False)
        assert [event.action for event in waiting.events("payments")] == [
            "submit", "approve", "promote",
        ]  # fmt: skip

    def test_four_eyes_refuse_who_proposed_it_and_otherwise_it_is_on_record(self, waiting):
        with pytest.raises(UsageError, match="ada trained version 1"):
            self.approve(waiting, ADA)
        with pytest.raises(UsageError, match="ada trained version 1"):
            self.approve(waiting, Actor("ada", "user"))  # through Prefect's pages
        self.approve(waiting, ADA, four_eyes=False)
        assert waiting.release("release-1").approval.own

    @pytest.mark.parametrize(
        ("hours", "digest", "why"),
        [(1.0, "d" * 64, "expired"), (24.0, "e" * 64, "not the one that was approved")],
    )
    def test_an_approval_of_something_else_or_long_ago_is_void(self, waiting, hours, digest, why):
        self.approve(waiting, hours=hours, digest=digest)
        (still,) = promote(waiting, "release-1", LATER + timedelta(hours=2))
        assert (still.state, still.approval) == ("pending_approval", None)
        assert why in waiting.events("payments")[-1].reason

    def test_a_newer_release_takes_the_place_of_one_that_waits(self, waiting):
        with_versions(waiting, 2)
        waiting.add_release(release("release-2", 2, needs_approval=True, created_at=LATER))
        promote(waiting, "release-2", LATER)
        assert waiting.on_its_way("payments").id == "release-2"
        assert waiting.release("release-1").state == "aborted"
        reasons = [event.reason for event in waiting.events("payments")]
        assert "a newer release of version 2 took its place before anybody approved it" in reasons

    def test_a_rejected_release_is_not_on_its_way_any_more(self, waiting):
        moved(waiting, reject, "release-1", actor=BOB, reason="too few rows")
        assert waiting.release("release-1").state == "rejected"
        with pytest.raises(ConflictError, match="rejected"):
            promote(waiting, "release-1")


class TestRollbacks:
    @staticmethod
    def back(records, to=None, from_=None):
        serving = from_ or records.production("payments").id
        rule = partial(
            roll_back, pipeline="payments", actor=BOB, at=LATER, to=to, from_=serving, reason="bad"
        )
        return records.move("payments", rule)

    @pytest.fixture
    def third(self, records):
        """Records in which versions 1, 2 and 3 served one after the other."""
        return served(
            records,
            release(decision=DecisionPolicy(budget=0.02)),
            release("release-2", 2, champion=1),
            release("release-3", 3, champion=2),
        )

    def test_what_served_before_serves_again_with_its_decision_policy(self, third):
        self.back(third)
        assert third.production("payments").version == 2
        self.back(third)
        serving = third.production("payments")
        assert (serving.version, serving.decision.budget) == (1, 0.02)
        assert third.release("release-3").state == "rolled_back"
        with pytest.raises(UsageError, match="no release before"):
            self.back(third)

    def test_any_version_that_served_can_be_restored(self, third):
        self.back(third, to=1)
        assert third.production("payments").version == 1
        with pytest.raises(UsageError, match="version 3 of 'payments' was rolled back"):
            self.back(third, to=3)  # it was rolled back: it has to pass the gates again

    def test_a_running_rollout_is_stopped_with_it(self, third):
        with_versions(third, 4)
        third.add_release(release("release-4", 4, champion=3, rollout=CANARY))
        promote(third, "release-4")
        self.back(third)
        assert third.release("release-4").state == "aborted"
        assert third.on_its_way("payments") is None

    def test_of_two_rollbacks_at_once_the_second_conflicts(self, third):
        self.back(third, from_="release-3")
        with pytest.raises(ConflictError, match="version 2 serves"):
            self.back(third, from_="release-3")


class TestBatches:
    def test_batches_are_those_of_the_pipeline_newest_first(self, records):
        with_versions(records, 1)
        with_versions(records, 1, pipeline="logins")
        second = batch("batch-2", LATER, quarantine_uri="file:///q.parquet", rows_in=2**40)
        for one in (second, batch(), batch("other", pipeline="logins")):
            records.add_batch(one)
        assert records.batches("payments") == (second, batch())
        assert records.batches("payments", 1) == (second,)

    def test_batches_of_a_run_are_newest_first(self, records):
        with_versions(records, 1)
        records.start_run(run("run-2"))
        second = batch("batch-2", LATER)
        for one in (batch(), second, batch("other", run_id="run-2")):
            records.add_batch(one)
        assert records.batches_of("run-1") == (second, batch())
        assert [one.id for one in records.batches_of("run-2")] == ["other"]

    def test_what_was_written_to_an_output_is_known_by_its_digest(self, records):
        for digest in ("old", "new", "new"):
            records.add_output("file:///out.parquet", digest)
        assert records.wrote("file:///out.parquet", "new")
        assert records.wrote("file:///out.parquet", "old")  # the new one may not have come about
        assert not records.wrote("file:///out.parquet", "another")
        assert not records.wrote("file:///elsewhere.parquet", "new")

    def test_a_batch_needs_its_version(self, records):
        with pytest.raises(PynomalyError, match="unknown model version"):
            records.add_batch(batch())

    def test_a_batch_is_written_once(self, records):
        with_versions(records, 1)
        records.add_batch(batch())
        records.add_batch(batch())
        with pytest.raises(ConflictError, match="batch-1 is stored already"):
            records.add_batch(batch(rows_flagged=1))


# Text columns hold any text a database can; JSON columns NUL characters as well.
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
moments = st.datetimes(
    datetime(1900, 1, 1),
    datetime(2900, 1, 1),
    timezones=st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)
counts = st.integers(0, 2**62)
floats = st.floats(allow_nan=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | floats | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=5,
)
gates = st.builds(
    GateResult,
    gate=anything,
    observed=st.none() | floats,
    bound=st.none() | floats,
    threshold=st.none() | floats,
    n=counts,
    sentence=anything,
    details=st.dictionaries(anything, json_values, max_size=3),
)
results = st.builds(
    ExpectationResult,
    expectation=anything,
    column=st.none() | anything,
    observed=anything,
    allowed=anything,
    failing_rows=counts,
    sample_ids=st.lists(anything, max_size=2).map(tuple),
)
snapshots = st.builds(
    Snapshot,
    uri=anything,
    fingerprint=st.builds(Fingerprint, content=words, schema=words),
    columns=st.lists(st.tuples(anything, anything), max_size=2).map(tuple),
    rows=counts,
    size_bytes=counts,
)
# Examples share a database, so every one gets an id that none had before.
fresh = st.builds(lambda: uuid.uuid4().hex)


@pytest.fixture(scope="module", params=kinds)
def shared_records(request):
    records = make_records(request.param, request)
    records.start_run(run())
    return with_versions(records, 1)


few = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@few
@given(
    st.builds(
        Run,
        id=fresh,
        pipeline=words,
        command=words,
        engine=words,
        actor=st.builds(Actor, name=words),
        started_at=moments,
        finished_at=st.none() | moments,
        error=st.none() | anything,
    )
)
def test_any_run_comes_back_equal(shared_records, any_run):
    shared_records.start_run(any_run)
    assert shared_records.run(any_run.id) == any_run


@few
@given(
    st.builds(
        StepRecord,
        run_id=st.just("run-1"),
        step=fresh,
        started_at=moments,
        finished_at=moments,
        summary=st.dictionaries(anything, json_values, max_size=3),
    )
)
def test_any_step_comes_back_equal(shared_records, any_step):
    shared_records.add_step(any_step)
    assert any_step in shared_records.steps("run-1")


@few
@given(
    st.builds(
        ValidationReport,
        id=fresh,
        pipeline=words,
        snapshot=snapshots,
        results=st.lists(results, max_size=2).map(tuple),
        accepted=counts,
        quarantined=counts,
        max_quarantine_share=floats,
        created_at=moments,
    )
)
def test_any_report_comes_back_equal(shared_records, any_report):
    shared_records.add_report(any_report)
    assert shared_records.report(any_report.id) == any_report


@few
@given(
    st.builds(
        release,
        key=fresh,
        gates=st.lists(gates, max_size=2).map(tuple),
        created_at=moments,
        run_id=words,
    )
)
def test_any_release_comes_back_equal(shared_records, any_release):
    shared_records.add_release(any_release)
    assert shared_records.release(any_release.id) == any_release
