"""Every implementation of ``Records`` keeps the same promises."""

import math
import shutil
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pynomaly.domain.datasets import Fingerprint, Snapshot
from pynomaly.domain.errors import ConflictError, PynomalyError, ReleaseBlockedError
from pynomaly.domain.gates import GateResult, Override
from pynomaly.domain.quality import ExpectationResult, ValidationReport
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.runs import Actor, Run, ScoredBatch, StepRecord
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


class TestPromotion:
    def test_the_first_promotion_serves(self, records):
        with_versions(records, 1)
        records.add_release(release())
        before = datetime.now(UTC)
        promoted = records.promote(release())
        assert before <= promoted.promoted_at <= datetime.now(UTC)
        assert promoted == release(state="production", promoted_at=promoted.promoted_at, fence=1)
        assert records.production("payments") == promoted == records.release("release-1")

    def test_the_next_promotion_supersedes_the_first(self, records):
        with_versions(records, 1, 2)
        records.add_release(release())
        first = records.promote(release())
        challenger = release("release-2", 2, champion=1)
        records.add_release(challenger)
        second = records.promote(challenger)
        assert (second.state, second.fence) == ("production", 2)
        assert records.production("payments") == second
        assert records.release("release-1") == replace(first, state="superseded")

    def test_the_moment_of_promotion_can_be_given(self, records):
        with_versions(records, 1)
        records.add_release(release())
        assert records.promote(release(promoted_at=LATER)).promoted_at == LATER

    def test_fences_grow_per_pipeline(self, records):
        for pipeline in ("payments", "logins"):
            with_versions(records, 1, 2, 3, pipeline=pipeline)
            for number in (1, 2, 3):
                champion = number - 1 or None
                one = release(f"{pipeline}-{number}", number, champion, pipeline)
                records.add_release(one)
                assert records.promote(one).fence == number
        assert records.production("payments").version == 3

    @pytest.mark.parametrize("champion", [None, 2])
    def test_a_release_compared_with_another_champion_conflicts(self, records, champion):
        with_versions(records, 1, 2, 3)
        records.add_release(release())
        serving = records.promote(release())
        stale = release("release-3", 3, champion)
        records.add_release(stale)
        with pytest.raises(ConflictError, match="version 1 serves"):
            records.promote(stale)
        assert records.production("payments") == serving
        assert records.release("release-3") == stale

    def test_a_release_compared_with_a_champion_that_never_served_conflicts(self, records):
        with_versions(records, 1, 2)
        stale = release("release-2", 2, champion=1)
        records.add_release(stale)
        with pytest.raises(ConflictError, match="compared with champion 1"):
            records.promote(stale)
        assert records.production("payments") is None

    def test_a_release_that_claims_another_champion_than_was_gated_conflicts(self, records):
        with_versions(records, 1, 2)
        records.add_release(release())
        records.promote(release())
        records.add_release(release("release-2", 2, champion=None))
        with pytest.raises(ConflictError):
            records.promote(release("release-2", 2, champion=1))
        assert records.production("payments").version == 1

    def test_promoting_again_changes_nothing(self, records):
        with_versions(records, 1)
        records.add_release(release())
        promoted = records.promote(release())
        assert records.promote(release()) == promoted
        assert records.promote(promoted) == promoted

    def test_a_superseded_release_cannot_come_back(self, records):
        with_versions(records, 1, 2)
        records.add_release(release())
        records.promote(release())
        second = release("release-2", 2, champion=1)
        records.add_release(second)
        records.promote(second)
        with pytest.raises(ConflictError):
            records.promote(release())
        assert records.production("payments").version == 2

    def test_a_blocked_release_cannot_be_promoted(self, records):
        with_versions(records, 1)
        records.add_release(release(state="blocked", verdict="block"))
        with pytest.raises(ReleaseBlockedError) as caught:
            records.promote(release())  # whatever the caller claims
        assert caught.value.release_id == "release-1"
        assert records.production("payments") is None

    def test_a_release_that_was_never_stored_cannot_be_promoted(self, records):
        with pytest.raises(PynomalyError, match="never stored"):
            records.promote(release())


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

    def test_the_digest_of_the_latest_write_to_an_output_is_known(self, records):
        with_versions(records, 1)
        records.add_batch(batch("batch-1", LATER, digest="new"))
        records.add_batch(batch("batch-2", NOON, digest="old"))
        records.add_batch(batch("batch-3", LATER, "file:///elsewhere.parquet", "elsewhere"))
        assert records.wrote("file:///out.parquet") == "new"
        records.add_batch(batch("batch-4", LATER, digest="newer"))
        assert records.wrote("file:///out.parquet") == "newer"
        assert records.wrote("file:///never.parquet") is None

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


few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


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
