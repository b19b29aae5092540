"""Whatever anybody does in whatever order: one release serves, one is on its way, all is on record."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pynomaly.domain.approvals import approve, reject
from pynomaly.domain.errors import ConflictError, ReleaseBlockedError, UsageError
from pynomaly.domain.releases import ACTIVE, ModelVersion, Release
from pynomaly.domain.rollbacks import roll_back
from pynomaly.domain.rollouts import RolloutPolicy, plan_rollout
from pynomaly.domain.runs import Actor
from pynomaly.domain.transitions import abort, advance, begin, fail, pause, resume
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords
from pynomaly.testing import InMemoryRecords

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PEOPLE = [Actor("ada"), Actor("bob")]
strategies = st.sampled_from(["canary", "blue_green", "rolling", "direct"])
places = st.integers(0, 30)


class Releases(RuleBasedStateMachine):
    """Drives releases of one pipeline through its port."""

    records: InMemoryRecords | SqlRecords

    @initialize()
    def start(self) -> None:
        self.records = self.make()
        for number in (1, 2, 3):
            self.records.add_version(ModelVersion("p", number, "u", "d", "r", "t", "f", "h", NOW))
        self.made = 0
        self.clock = NOW
        self.served = False

    def make(self) -> InMemoryRecords | SqlRecords:
        return InMemoryRecords()

    def move(self, act, **arguments) -> None:
        self.clock += timedelta(hours=1)
        arguments = {"actor": PEOPLE[0], "at": self.clock, **arguments}
        # Refused or not: the invariants say whether anything was changed.
        with suppress(ConflictError, UsageError, ReleaseBlockedError):
            self.records.move("p", partial(act, **arguments))

    def pick(self, place: int) -> str:
        return f"release-{place % self.made}" if self.made else "nothing"

    @rule(
        version=st.integers(1, 3),
        strategy=strategies,
        shadow=st.booleans(),
        to=st.sampled_from(["staging", "production"]),
        needs_approval=st.booleans(),
        blocked=st.integers(0, 9),
        stale=st.integers(0, 9),
    )
    def gate(self, version, strategy, shadow, to, needs_approval, blocked, stale) -> None:
        serving = self.records.production("p")
        champion = serving.version if serving else None
        if stale == 0:
            champion = 3 if champion != 3 else None
        policy = RolloutPolicy(strategy=strategy, shadow=shadow)
        release = Release(
            f"release-{self.made}", "r", "p", version, champion,
            "blocked" if blocked == 0 else "candidate", "pass", (), self.clock,
            rollout=plan_rollout(policy, "5a17", to=to, first=champion is None), to=to,
            needs_approval=needs_approval, proposer=PEOPLE[0],
        )  # fmt: skip
        self.records.add_release(release)
        self.made += 1

    @rule(place=places, further=st.booleans())
    def begin(self, place, further) -> None:
        steps = plan_rollout(RolloutPolicy(), "5a17", to="production", first=False)
        self.move(
            begin,
            release_id=self.pick(place),
            manifest_digest="d",
            further=steps if further else None,
        )

    @rule(place=places, step=st.integers(0, 4))
    def advance(self, place, step) -> None:
        self.move(advance, release_id=self.pick(place), step=step, reason="within")

    @rule()
    def advance_what_is_on_its_way(self) -> None:
        active = self.records.on_its_way("p")
        if active and active.step is not None:
            self.move(advance, release_id=active.id, step=active.step, reason="within")

    @rule(place=places, step=st.integers(0, 4))
    def fail(self, place, step) -> None:
        self.move(fail, release_id=self.pick(place), step=step, reason="worse")

    @rule(place=places, who=st.sampled_from(PEOPLE), four_eyes=st.booleans())
    def approve(self, place, who, four_eyes) -> None:
        self.move(
            approve, release_id=self.pick(place), actor=who, trainer=None, manifest_digest="d",
            four_eyes=four_eyes, hours=3.0,
        )  # fmt: skip

    @rule(place=places, act=st.sampled_from([reject, pause, resume, abort]))
    def steer(self, place, act) -> None:
        self.move(act, release_id=self.pick(place), reason="because")

    @rule(to=st.none() | st.integers(1, 3))
    def roll_back(self, to) -> None:
        serving = self.records.production("p")
        if serving:
            self.move(roll_back, pipeline="p", to=to, from_=serving.id, reason="bad")

    @invariant()
    def one_release_serves_once_any_did(self) -> None:
        states = [release.state for release in self.records.releases("p", 1000)]
        assert states.count("production") <= 1
        self.served = self.served or "production" in states
        assert not self.served or "production" in states

    @invariant()
    def at_most_one_is_on_its_way(self) -> None:
        states = [release.state for release in self.records.releases("p", 1000)]
        assert sum(state in ACTIVE for state in states) <= 1

    @invariant()
    def every_change_is_on_record(self) -> None:
        events = self.records.events("p")
        assert [event.fence for event in events] == list(range(1, len(events) + 1))
        stand: dict[str, str] = {}
        for event in events:
            assert event.before == stand.get(event.release_id, "candidate")
            stand[event.release_id] = event.after
        for release in self.records.releases("p", 1000):
            assert release.state == stand.get(
                release.id, "blocked" if release.state == "blocked" else "candidate"
            )

    @invariant()
    def nothing_serves_unapproved_that_needed_it(self) -> None:
        for release in self.records.releases("p", 1000):
            if release.needs_approval and release.to == "production":
                answered = release.state in ("canary", "production", "superseded")
                assert not answered or release.approval is not None


TestInMemory = Releases.TestCase
TestInMemory.settings = settings(max_examples=60, stateful_step_count=40)


@pytest.fixture(scope="module")
def sqlite_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("machines")


@pytest.mark.integration
def test_in_sqlite(sqlite_folder) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    paths = iter(range(10_000))

    class InSqlite(Releases):
        def make(self) -> SqlRecords:
            return SqlRecords(f"sqlite:///{sqlite_folder}/{next(paths)}.db")

    run_state_machine_as_test(
        InSqlite,
        settings=settings(
            max_examples=6,
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
        ),
    )
