"""The tests of a rollout stay valid however often they are looked at, and see what they should."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pynomaly.domain.canaries import Comparison, Pairs, excess_evidence, judge, together
from pynomaly.domain.rollouts import RolloutPolicy, plan_rollout
from pynomaly.domain.splits import chosen

ROLLOUT = plan_rollout(RolloutPolicy(), "5a17", to="production", first=False)
LOOKS = 40
ROWS = 500


def followed(own: float, theirs: float, both: float, repetitions: int, seed: int) -> list[str]:
    """Verdicts of rollouts looked at after every 500 rows, up to 20,000; tails are ten times as many.

    Args:
        own: Share of rows the challenger flags.
        theirs: Share the champion flags.
        both: Share both flag.
        repetitions: Rollouts to simulate.
        seed: Of the simulation.
    """
    rng = np.random.default_rng(seed)

    def pairs(scale: float) -> Pairs:
        shares = np.array([both, own - both, theirs - both]) * scale
        drawn = rng.multinomial(ROWS, [*shares, 1 - shares.sum()])
        return Pairs(*map(int, drawn[:3]))

    verdicts = []
    for _ in range(repetitions):
        seen, verdict = Comparison(), "hold"
        for _ in range(LOOKS):
            seen += Comparison(ROWS, 0, 0, pairs(1), pairs(10))
            verdict = judge(seen, ROLLOUT).verdict
            if verdict != "hold":
                break
        verdicts.append(verdict)
    return verdicts


def test_equal_models_advance_though_they_flag_other_rows() -> None:
    assert set(followed(0.01, 0.01, 0.004, 60, seed=1)) == {"advance"}


def test_a_model_on_the_limit_is_rolled_back_no_more_often_than_alpha() -> None:
    verdicts = followed(0.02, 0.01, 0.006, 400, seed=2)
    assert verdicts.count("roll_back") <= 0.05 * len(verdicts)
    assert verdicts.count("advance") <= 0.05 * len(verdicts)


@pytest.mark.parametrize(("own", "both"), [(0.03, 0.01), (0.0, 0.0), (0.003, 0.002)])
def test_three_times_as_many_alerts_or_hardly_any_are_rolled_back(own: float, both: float) -> None:
    assert set(followed(own, 0.01, both, 40, seed=3)) == {"roll_back"}


def test_one_row_that_cannot_be_scored_is_one_too_many() -> None:
    finding = judge(Comparison(rows=10_000, errors=1), ROLLOUT)
    assert (finding.verdict, "1 of 10,000" in finding.sentence) == ("roll_back", True)


def test_nothing_is_concluded_from_nothing() -> None:
    assert judge(Comparison(), ROLLOUT).verdict == "hold"


@given(
    st.floats(0.2, 5.0),
    st.floats(0.001, 0.3),
    st.floats(0.0, 1.0),
)
def test_evidence_against_a_true_hypothesis_does_not_grow_on_average(
    ratio: float, second: float, overlap: float
) -> None:
    # One row at the edge of the hypothesis: P(first) = ratio · P(second).
    first = ratio * second
    both = overlap * min(first, second)
    shares = {(0, 0, 1): both, (1, 0, 0): first - both, (0, 1, 0): second - both}
    rest = 1 - sum(shares.values())
    if rest < 0:
        return
    mean = rest + sum(
        share * math.exp(excess_evidence(more, less, agree, ratio))
        for (more, less, agree), share in shares.items()
    )
    assert mean <= 1 + 1e-9


@given(st.lists(st.integers(0, 1000), min_size=5, max_size=5))
def test_comparisons_of_batches_add_up(counts: list[int]) -> None:
    parts = [Comparison(n, n // 2, 0, Pairs(n, 1, 2), Pairs(3, n, 4)) for n in counts]
    assert together(parts).rows == sum(counts)
    assert together(parts).alerts.both == sum(counts)


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
