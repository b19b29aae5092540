"""Releases move in our table first; the registry follows, also after a crash or a meddler."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from pynomaly.application.begin_release import BeginRelease
from pynomaly.application.champion import ModelLoader
from pynomaly.application.reconcile import ReconcileRegistry
from pynomaly.application.steer import SteerReleases
from pynomaly.domain.canaries import Comparison
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.errors import (
    ApprovalPendingError,
    ConflictError,
    PynomalyError,
    ReleaseBlockedError,
    UsageError,
)
from pynomaly.domain.gates import GateResult
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.rollouts import RolloutPolicy, plan_rollout
from pynomaly.domain.runs import Actor, Run
from pynomaly.domain.sources import SourceSpec
from pynomaly.domain.transitions import abort, begin
from pynomaly.testing import InMemoryRecords, InMemoryRegistry

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ME, YOU = Actor("me"), Actor("you")
PIPELINE = Pipeline("p", SourceSpec("p.csv"), Schema((Column("a", "numeric", True),)))
STRICT = replace(PIPELINE, rollout=RolloutPolicy(approval="required", four_eyes=True))


class AliasRegistry(InMemoryRegistry):
    """A registry whose versions exist without folders; dies before moving an alias if told to."""

    dies: type[BaseException] | None = None

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.versions = {1, 2, 3}

    def holds(self, pipeline: str, version: int) -> bool:
        return version in self.versions

    def set_alias(self, pipeline: str, alias: str, version: int) -> None:
        if self.dies:
            raise self.dies("the registry does not answer")
        self._aliases[pipeline, alias] = version

    def tag(self, pipeline: str, version: int, tags: Mapping[str, str]) -> None:
        self.tags.setdefault((pipeline, version), {}).update(tags)


@pytest.fixture
def records() -> InMemoryRecords:
    records = InMemoryRecords()
    records.start_run(Run("run", "p", "run", "direct", ME, "running", NOW))
    for number in (1, 2, 3):
        records.add_version(ModelVersion("p", number, "u", "d", "run", "t", "f", "h", NOW))
    return records


@pytest.fixture
def registry(tmp_path: Path) -> AliasRegistry:
    return AliasRegistry(tmp_path)


@pytest.fixture
def steer(records: InMemoryRecords, registry: AliasRegistry, tmp_path: Path) -> SteerReleases:
    # No model is loaded here.
    return SteerReleases(records, ModelLoader(registry, records, None, tmp_path))  # type: ignore[arg-type]


@pytest.fixture
def promote(records: InMemoryRecords, steer: SteerReleases) -> BeginRelease:
    return BeginRelease(records, steer)


@pytest.fixture
def reconcile(records: InMemoryRecords, registry: AliasRegistry) -> ReconcileRegistry:
    return ReconcileRegistry(records, registry)


def release(version: int, champion: int | None, *, blocked: bool = False, **changes) -> Release:
    gate = GateResult("golden_rows", "block" if blocked else "pass", 0.0, None, 1e-9, 3, "Rows.")
    return replace(
        Release(
            f"r{version}", "run", "p", version, champion, "blocked" if blocked else "candidate",
            gate.verdict, (gate,), NOW, proposer=ME,
        ),
        **changes,
    )  # fmt: skip


CANARY = plan_rollout(RolloutPolicy(), "5a17", to="production", first=False)


class TestBeginning:
    def test_a_blocked_release_is_never_promoted(self, records, promote) -> None:
        records.add_release(release(1, None, blocked=True))
        with pytest.raises(ReleaseBlockedError, match="golden_rows"):
            promote(PIPELINE, "r1", ME)
        assert records.production("p") is None

    def test_a_release_gated_against_a_former_champion_is_refused(self, records, promote) -> None:
        records.add_release(release(1, None))
        records.add_release(release(2, None))
        promote(PIPELINE, "r1", ME)
        with pytest.raises(ConflictError):
            promote(PIPELINE, "r2", ME)

    def test_so_is_one_gated_against_the_champion_s_former_policy(self, records, promote) -> None:
        hour = timedelta(hours=1)
        records.add_release(release(1, None))
        promote(PIPELINE, "r1", ME)
        records.add_release(release(2, 1))  # and dies
        changed = {"id": "r1 again", "decision": DecisionPolicy(budget=0.2)}
        records.add_release(release(1, 1, created_at=NOW + hour, **changed))
        promote(PIPELINE, "r1 again", ME)
        with pytest.raises(ConflictError, match="version 1 serves with another decision policy"):
            promote(PIPELINE, "r2", ME)

    def test_an_unknown_release_is_named(self, promote) -> None:
        with pytest.raises(UsageError, match="nothing-like-it"):
            promote(PIPELINE, "nothing-like-it", ME)

    def test_beginning_again_after_a_crash_changes_nothing(self, records, promote) -> None:
        records.add_release(release(1, None))
        records.add_release(release(2, 1, rollout=CANARY))
        first = promote(PIPELINE, "r1", ME)
        canary = promote(PIPELINE, "r2", ME)
        assert promote(PIPELINE, "r1", ME) == first
        assert promote(PIPELINE, "r2", ME) == canary

    def test_a_staged_release_goes_on_to_production_when_asked(self, records, promote) -> None:
        records.add_release(release(1, None))
        promote(PIPELINE, "r1", ME)
        staged = plan_rollout(RolloutPolicy(), "5a17", to="staging", first=False)
        records.add_release(release(2, 1, rollout=staged, to="staging", needs_approval=True))
        assert promote(STRICT, "r2", ME).state == "staging"  # nobody is answered by it yet

        with pytest.raises(ApprovalPendingError, match="version 1 keeps serving"):
            promote.further(STRICT, ME)
        promote.steer.approve(STRICT, "r2", YOU, "")
        going = promote.further(STRICT, ME)
        assert (going.state, going.share, going.to) == ("canary", 0.05, "production")

    def test_what_was_staged_without_consent_needs_it_where_production_asks_for_it(
        self, records, promote
    ) -> None:
        records.add_release(release(1, None))
        promote(PIPELINE, "r1", ME)
        staged = plan_rollout(RolloutPolicy(), "5a17", to="staging", first=False)
        records.add_release(release(2, 1, rollout=staged, to="staging"))
        assert promote(PIPELINE, "r2", ME).state == "staging"

        with pytest.raises(ApprovalPendingError, match="version 1 keeps serving"):
            promote.further(STRICT, ME)
        promote.steer.approve(STRICT, "r2", YOU, "seen in dev")
        assert promote.further(STRICT, ME).state == "canary"

    def test_what_was_seen_while_it_was_staged_moves_no_canary(self, records, promote) -> None:
        records.add_release(release(1, None))
        promote(PIPELINE, "r1", ME)
        staged = plan_rollout(RolloutPolicy(), "5a17", to="staging", first=False)
        records.add_release(release(2, 1, rollout=staged, to="staging"))
        promote(PIPELINE, "r2", ME)
        records.observe("r2", 0, {"a": Comparison(rows=100_000)})

        going = promote.further(PIPELINE, ME)
        assert going.step is not None
        assert going.share == 0.05
        assert records.observed("r2", going.step) == Comparison()

    @pytest.mark.parametrize(
        ("strategy", "state"), [("blue_green", "staging"), ("direct", "production")]
    )
    def test_a_staged_release_has_scored_silently_already(
        self, records, promote, strategy, state
    ) -> None:
        records.add_release(release(1, None))
        promote(PIPELINE, "r1", ME)
        staged = plan_rollout(RolloutPolicy(), "5a17", to="staging", first=False)
        records.add_release(release(2, 1, rollout=staged, to="staging"))
        promote(PIPELINE, "r2", ME)
        going = promote.further(replace(PIPELINE, rollout=RolloutPolicy(strategy=strategy)), ME)
        assert (going.state, going.step) == (state, 0 if state == "staging" else None)


class TestApproval:
    def test_a_release_waits_until_somebody_else_approved_it(self, records, promote) -> None:
        records.add_release(release(1, None, needs_approval=True))
        for _ in range(2):
            with pytest.raises(ApprovalPendingError, match="waits for approval") as caught:
                promote(STRICT, "r1", ME)
        assert "pynomaly releases approve r1" in str(caught.value)
        with pytest.raises(UsageError, match="me trained version 1"):
            promote.steer.approve(STRICT, "r1", ME, "")
        promote.steer.approve(STRICT, "r1", YOU, "seen")
        assert promote.further(STRICT, ME).state == "production"

    def test_one_person_may_do_everything_where_the_policy_lets_them_and_it_is_on_record(
        self, records, promote
    ) -> None:
        records.add_release(release(1, None, needs_approval=True))
        serving = promote(PIPELINE, "r1", ME, accept_review=True)
        assert serving.state == "production"
        assert serving.approval is not None
        assert serving.approval.own

    def test_four_eyes_are_not_walked_around_by_switching_them_off_for_a_moment(
        self, records, promote
    ) -> None:
        records.add_release(release(1, None, needs_approval=True))
        with pytest.raises(ApprovalPendingError):
            promote(STRICT, "r1", ME)
        promote.steer.approve(PIPELINE, "r1", ME, "it will do")
        with pytest.raises(ApprovalPendingError, match="me, who approved it, trained or proposed"):
            promote.further(STRICT, ME)
        promote.steer.approve(STRICT, "r1", YOU, "seen")
        assert promote.further(STRICT, ME).state == "production"


class TestRollback:
    def test_what_served_before_is_restored_with_its_policy_though_its_model_served_again_since(
        self, records, promote, monkeypatch
    ) -> None:
        monkeypatch.setattr(ModelLoader, "load", lambda self, version: None)  # none is damaged
        small, large = DecisionPolicy(budget=0.01), DecisionPolicy(budget=0.05)
        history = [(1, None, small), (2, 1, small), (1, 2, large), (3, 1, large)]
        for number, (version, champion, decision) in enumerate(history):
            changes = {"id": f"r{number}", "decision": decision}
            records.add_release(release(version, champion, **changes))
            promote(PIPELINE, f"r{number}", ME)
        promote.steer.roll_back("p", 2, ME, "the last good one")

        restored = promote.steer.roll_back("p", None, ME, "and before it")

        assert (restored.id, restored.decision) == ("r0", small)

    def test_a_first_canary_is_stopped_and_the_champion_stays(
        self, records, promote, monkeypatch
    ) -> None:
        monkeypatch.setattr(ModelLoader, "load", lambda self, version: None)  # none is damaged
        records.add_release(release(1, None))
        promote(PIPELINE, "r1", ME)
        records.add_release(release(2, 1, rollout=CANARY))
        assert promote(PIPELINE, "r2", ME).state == "canary"

        back = partial(promote.steer.roll_back, "p", actor=ME, reason="odd")
        with pytest.raises(UsageError, match="version 2 of 'p' never served"):
            back(to=2)
        assert back(to=None).id == "r1"

        assert records.production("p").id == "r1"
        assert records.release("r2").state == "aborted"
        assert records.events("p", "r2")[-1].reason == "odd"
        with pytest.raises(UsageError, match="no release before"):
            back(to=None)

    def test_what_was_rolled_back_itself_is_nothing_to_go_back_to(
        self, records, registry, promote, reconcile, monkeypatch
    ) -> None:
        monkeypatch.setattr(ModelLoader, "load", lambda self, version: None)  # none is damaged
        for number, champion in ((1, None), (2, 1), (3, 2)):
            records.add_release(release(number, champion))
            promote(PIPELINE, f"r{number}", ME)
        back = partial(promote.steer.roll_back, "p", actor=ME, reason="odd")
        assert [back(to=to).version for to in (1, 2)] == [1, 2]
        with pytest.raises(UsageError, match="version 3 of 'p' was rolled back") as caught:
            back(to=3)
        assert "pynomaly release p --version 3" in str(caught.value)
        with pytest.raises(UsageError, match="no release before"):
            back(to=None)
        reconcile("p")
        assert registry.aliases("p") == {"production": 2}


class TestRegistry:
    def test_aliases_and_tags_follow_the_table(self, records, registry, promote, reconcile) -> None:
        records.add_release(release(1, None))
        records.add_release(release(2, 1))
        promote(PIPELINE, "r1", ME)
        promote(PIPELINE, "r2", ME)

        assert reconcile("p").moved == {"production": 2, "previous": 1}
        told, runs = registry.described["p"]
        assert [(r.version, r.state) for r in told] == [(2, "production"), (1, "superseded")]
        assert runs == {1: "t", 2: "t", 3: "t"}
        assert reconcile("p").in_line
        assert registry.aliases("p") == {"production": 2, "previous": 1}
        assert registry.tags["p", 2]["gate.golden_rows"] == "pass"

    def test_a_rollout_has_its_alias_as_long_as_it_lasts(
        self, records, registry, promote, reconcile
    ) -> None:
        records.add_release(release(1, None))
        records.add_release(release(2, 1, rollout=CANARY))
        promote(PIPELINE, "r1", ME)
        promote(PIPELINE, "r2", ME)
        reconcile("p")
        assert registry.aliases("p") == {"production": 1, "canary": 2}

        records.move("p", partial(abort, release_id="r2", actor=ME, at=NOW, reason=""))
        assert reconcile("p").moved == {"canary": None}
        assert registry.aliases("p") == {"production": 1}
        assert registry.tags["p", 2]["release_state"] == "aborted"

    def test_a_version_that_serves_says_so_while_a_policy_for_it_is_on_its_way(
        self, records, registry, promote, reconcile
    ) -> None:
        new = {"id": "r1 again", "decision": DecisionPolicy(budget=0.2)}
        records.add_release(release(1, None))
        promote(PIPELINE, "r1", ME)
        records.add_release(release(1, 1, rollout=CANARY, **new))
        promote(PIPELINE, "r1 again", ME)
        reconcile("p")
        assert registry.aliases("p") == {"production": 1, "canary": 1}
        assert registry.tags["p", 1]["release_state"] == "production"

        records.move("p", partial(abort, release_id="r1 again", actor=ME, at=NOW, reason=""))
        reconcile("p")
        assert registry.aliases("p") == {"production": 1}
        assert registry.tags["p", 1]["release"] == "r1"

    def test_a_first_release_that_nobody_approved_leaves_no_alias(
        self, records, registry, promote, reconcile
    ) -> None:
        records.add_release(release(1, None, needs_approval=True))
        with pytest.raises(ApprovalPendingError):
            promote(STRICT, "r1", ME)
        assert reconcile("p").moved == {"candidate": 1}
        promote.steer.reject("r1", YOU, "too few rows")
        assert reconcile("p").moved == {"candidate": None}
        assert registry.tags["p", 1]["release_state"] == "rejected"

    def test_a_death_between_table_and_alias_is_mended(
        self, records, registry, promote, reconcile
    ) -> None:
        records.add_release(release(1, None))
        promote(PIPELINE, "r1", ME)
        registry.dies = KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt):
            reconcile("p")
        assert registry.aliases("p") == {}

        registry.dies = None
        assert reconcile("p").moved == {"production": 1}

    def test_a_registry_that_does_not_answer_undecides_nothing(
        self, records, registry, promote, reconcile
    ) -> None:
        records.add_release(release(1, None))
        promote(PIPELINE, "r1", ME)
        registry.dies = PynomalyError
        assert reconcile("p").problem == "the registry does not answer"
        assert records.production("p").version == 1

    def test_what_somebody_did_behind_our_back_is_mended_or_reported(
        self, records, registry, promote, reconcile
    ) -> None:
        records.add_release(release(1, None))
        records.add_release(release(2, 1))
        promote(PIPELINE, "r1", ME)
        promote(PIPELINE, "r2", ME)
        reconcile("p")
        registry.set_alias("p", "production", 3)
        registry.set_alias("p", "canary", 3)
        registry.set_alias("p", "theirs", 3)
        registry.versions.remove(1)

        found = reconcile("p")

        assert found.moved == {"production": 2, "canary": None}
        assert found.missing == (1,)
        assert registry.aliases("p")["theirs"] == 3  # none of ours


def test_a_rule_is_pure(records: InMemoryRecords) -> None:
    records.add_release(release(1, None))
    book = records.releases("p")
    rule = partial(begin, release_id="r1", actor=ME, at=NOW, manifest_digest="d")
    assert rule(book) == rule(book)
    assert records.releases("p") == book
