"""The release flow: an answer that comes late is about the release that was asked about."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from pynomaly.application.begin_release import BeginRelease
from pynomaly.application.champion import ModelLoader
from pynomaly.application.hold_run import HoldRun
from pynomaly.application.lost_runs import BuryLostRuns
from pynomaly.application.reconcile import Reconciled
from pynomaly.application.steer import SteerReleases
from pynomaly.domain.datasets import Schema
from pynomaly.domain.errors import ReleaseBlockedError, UsageError
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.rollouts import RolloutPolicy, plan_rollout
from pynomaly.domain.runs import Actor
from pynomaly.domain.sources import SourceSpec
from pynomaly.domain.transitions import abort, begin
from pynomaly.infrastructure.sqlalchemy.run_leases import SqlRunLeases
from pynomaly.testing import InMemoryRecords
from pynomaly_flows import release as flow
from pynomaly_flows.approval import settle
from pynomaly_flows.context import Job, acting_on

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ME = Actor("me")
PIPELINE = Pipeline("payments", SourceSpec("p.csv"), Schema(()))


def gated(number: int, champion: int | None, **changes: object) -> Release:
    return Release(
        f"r{number}", "run", "payments", number, champion, "candidate", "pass", (), NOW,
        proposer=ME, **changes,
    )  # fmt: skip


@pytest.fixture
def records() -> InMemoryRecords:
    """Version 1 serves, version 2 waits for approval."""
    records = InMemoryRecords()
    for number in (1, 2, 3):
        records.add_version(ModelVersion("payments", number, "u", "d", "run", "t", "f", "h", NOW))
    for release in (gated(1, None), gated(2, 1, needs_approval=True)):
        records.add_release(release)
        start(records, release.id)
    return records


def start(records: InMemoryRecords, release_id: str) -> None:
    rule = partial(begin, release_id=release_id, actor=ME, at=NOW, manifest_digest="d")
    records.move("payments", rule)


def test_an_answer_to_a_release_given_up_meanwhile_moves_no_other_one(
    records, tmp_path, monkeypatch
) -> None:
    def given_up_meanwhile(job: object, release_id: str) -> None:
        records.move("payments", partial(abort, release_id=release_id, actor=ME, at=NOW, reason=""))
        staged = plan_rollout(RolloutPolicy(), "5a17", to="staging", first=False)
        records.add_release(gated(3, 1, rollout=staged, to="staging"))
        start(records, "r3")

    monkeypatch.setattr(flow, "can_suspend", lambda: True)
    monkeypatch.setattr(flow, "settle", given_up_meanwhile)
    leases = SqlRunLeases(f"sqlite:///{tmp_path}/leases.db")
    platform = SimpleNamespace(
        records=records,
        actor=ME,
        hold_run=HoldRun(leases, BuryLostRuns(records, leases), 60),
        pipeline=lambda name: PIPELINE,
        begin_release=BeginRelease(records, None),  # type: ignore[arg-type]  # nobody approves
        reconcile=lambda pipeline: Reconciled(),
        top_alerts=lambda run_id, limit: [],
        write_report=lambda run_id, profile: tmp_path,
    )

    with acting_on(platform, None), pytest.raises(ReleaseBlockedError, match="aborted by me"):  # type: ignore[arg-type]
        flow.release("payments", resume=True)

    staged = records.release("r3")
    assert staged is not None
    assert (staged.state, staged.to) == ("staging", "staging")
    serving = records.production("payments")
    assert serving is not None
    assert serving.version == 1


def test_nobody_approves_without_a_name_where_four_eyes_are_asked_for(records, monkeypatch) -> None:
    strict = replace(PIPELINE, rollout=RolloutPolicy(approval="required", four_eyes=True))
    platform = SimpleNamespace(
        records=records,
        pipeline=lambda name: strict,
        steer=SteerReleases(records, ModelLoader(None, records, None, Path())),  # type: ignore[arg-type]
    )

    def answered(*, wait_for_input, timeout, key):
        return wait_for_input(approve=True, name=" ", reason="")

    monkeypatch.setattr("prefect.flow_runs.suspend_flow_run", answered)
    with acting_on(platform, None), pytest.raises(UsageError, match="without a name"):  # type: ignore[arg-type]
        settle(Job("payments", "run"), "r2")

    waiting = records.release("r2")
    assert waiting is not None
    assert (waiting.state, waiting.approval) == ("pending_approval", None)
