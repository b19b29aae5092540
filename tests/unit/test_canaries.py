"""The tests of a rollout stay valid however often they are looked at, and see what they should."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pynomaly.domain.canaries import Comparison, Pairs, judge, together
from pynomaly.domain.splits import chosen
from pynomaly.domain.witnesses import GROUP_ROWS, certainty, evidence, grouped
from simulated_rollouts import EQUAL, LIMIT, ROLLOUT, followed


def verdicts(
    own: float, theirs: float, both: float, repetitions: int, seed: int, burst: int = 1
) -> list[str]:
    found = followed(own, theirs, both, repetitions, seed, burst=burst)
    return [verdict for verdict, _ in found]


def test_equal_models_advance_though_they_flag_other_rows() -> None:
    assert set(verdicts(*EQUAL, 40, seed=1)) == {"advance"}


@pytest.mark.parametrize("burst", [10, 50, 200])
def test_equal_models_do_not_go_back_because_alerts_come_in_bursts(burst: int) -> None:
    found = verdicts(*EQUAL, 60, seed=2, burst=burst)
    assert found.count("roll_back") <= 0.05 * len(found)


@pytest.mark.parametrize("burst", [1, GROUP_ROWS // 2])
def test_a_model_on_the_limit_goes_back_and_advances_no_more_often_than_alpha(burst: int) -> None:
    found = verdicts(*LIMIT, 100, seed=3, burst=burst)
    assert found.count("roll_back") <= 0.05 * len(found)
    assert found.count("advance") <= 0.05 * len(found)


@pytest.mark.parametrize(("own", "both"), [(0.03, 0.01), (0.0, 0.0), (0.003, 0.002)])
def test_three_times_as_many_alerts_or_hardly_any_are_rolled_back(own: float, both: float) -> None:
    assert set(verdicts(own, 0.01, both, 20, seed=4)) == {"roll_back"}


def test_a_challenger_that_flags_everything_is_as_many_witnesses_as_there_are_groups() -> None:
    everything = np.ones(2_000, dtype=bool)
    groups = grouped(np.arange(2_000) // GROUP_ROWS, everything, ~everything)
    pairs = Pairs(challenger=2_000, evidence=evidence(groups, ROLLOUT.max_ratio))
    assert judge(Comparison(2_000, alerts=pairs), ROLLOUT).verdict == "roll_back"


def test_one_row_that_cannot_be_scored_is_one_too_many() -> None:
    finding = judge(Comparison(rows=10_000, errors=1), ROLLOUT)
    assert (finding.verdict, "1 of 10,000" in finding.sentence) == ("roll_back", True)


def test_nothing_is_concluded_from_nothing() -> None:
    assert judge(Comparison(), ROLLOUT).verdict == "hold"


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.lists(st.integers(0, 20), min_size=3, max_size=3)),
        min_size=1,
        max_size=5,
    )
)
def test_evidence_against_a_true_hypothesis_does_not_grow_on_average(
    drawn: list[tuple[int, list[int]]],
) -> None:
    # Groups are drawn with these chances, and their rows are as dependent as they like.
    found = [(chance, np.array(counts)) for chance, counts in drawn if sum(counts)]
    chances = np.array([chance for chance, _ in found], dtype=float)
    shares = np.array([counts / counts.sum() for _, counts in found]).reshape(-1, 3)
    own, theirs = chances @ (shares[:, :2].sum(axis=1)), chances @ shares[:, [0, 2]].sum(axis=1)
    if min(own, theirs) == 0:
        return
    # At the edge of two hypotheses: one model singles out exactly this many times what the other does.
    ratio = max(own, theirs) / min(own, theirs)
    for name in ("more", "not_more") if own >= theirs else ("fewer", "not_fewer"):
        wealth = [math.exp(certainty(getattr(evidence(row[None], ratio), name))) for row in shares]
        assert chances @ wealth / chances.sum() <= 1 + 1e-9


@given(st.lists(st.integers(0, 1000), min_size=5, max_size=5))
def test_comparisons_of_batches_add_up(counts: list[int]) -> None:
    shares = np.tile([0.25, 0.5, 0.25], (5, 1))
    found = evidence(shares[:1], 2.0)
    parts = [Comparison(n, n // 2, 0, Pairs(n, 1, 2, found), Pairs(3, n, 4)) for n in counts]
    assert together(parts).rows == sum(counts)
    assert together(parts).alerts.both == sum(counts)
    assert together(parts).alerts.evidence.groups == 5
    assert together(parts).alerts.evidence.more == pytest.approx(evidence(shares, 2.0).more)


class TestSplit:
    @given(st.sets(st.text(), max_size=30), st.floats(0, 1), st.floats(0, 1))
    def test_who_is_chosen_stays_chosen_as_the_share_grows(
        self, names: set[str], one: float, other: float
    ) -> None:
        less, more = sorted([one, other])
        few, many = chosen("5a17", names, less), chosen("5a17", names, more)
        assert not (few & ~many).any()

    def test_the_share_is_kept_and_another_salt_chooses_others(self) -> None:
        names = [f"row {n}" for n in range(20_000)]
        first, second = chosen("00", names, 0.05), chosen("01", names, 0.05)
        assert first.mean() == pytest.approx(0.05, abs=0.005)
        assert (first & second).mean() == pytest.approx(0.0025, abs=0.002)
        assert not chosen("00", names, 0.0).any()
        assert chosen("00", names, 1.0).all()

    def test_a_row_is_chosen_whatever_it_is_scored_with(self) -> None:
        names = [f"row {n}" for n in range(100)]
        whole = chosen("00", names, 0.3)
        assert [bool(chosen("00", [name], 0.3)[0]) for name in names] == whole.tolist()
