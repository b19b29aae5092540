"""Two models on the same rows: who answers, what is counted, and what a failure costs."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pynomaly.application.contest import Challenger, Contest
from pynomaly.application.row_scorer import RowScorer
from pynomaly.domain.decision import draw_line
from pynomaly.domain.ledger import ScoreVersion
from pynomaly.domain.partitions import Partition
from pynomaly.domain.pipelines import DecisionPolicy
from pynomaly.domain.rollouts import RolloutPolicy, plan_rollout
from pynomaly.domain.witnesses import evidence, grouped
from small_model import KERNELS, Champion, rows

PARTITION = Partition("rows.csv", "rows.csv", "", 0, None, 1, "d", ())
KEYS = ("row_id",)


DECISION = DecisionPolicy(budget=0.05)


def contender(**policy) -> Challenger:
    model = Champion().model
    rollout = plan_rollout(RolloutPolicy(**policy), "5a17", to="production", first=False)
    version = ScoreVersion(2, "m" * 64, "policy-2")
    line = draw_line(DECISION, model.calibration, ())
    return Challenger("release-2", 0, rollout, model, version, DECISION, line)


@pytest.fixture
def table() -> pa.Table:
    return rows(400, seed=2, strange=12)


@pytest.fixture
def champion() -> RowScorer:
    model = Champion().model
    return RowScorer(model, draw_line(DecisionPolicy(budget=0.01), model.calibration, ()), KERNELS)


def test_the_challenger_answers_its_share_and_the_champion_the_rest(table, champion) -> None:
    challenger = replace(contender(), step=3)
    contest = Contest(challenger, KERNELS, PARTITION, KEYS)
    theirs = champion(table)
    own = RowScorer(challenger.model, challenger.line, KERNELS)(table)

    answered, by_challenger = contest(table, theirs, 0)

    assert 0.4 < by_challenger.mean() < 0.6
    np.testing.assert_array_equal(answered.flags, np.where(by_challenger, own.flags, theirs.flags))
    for name, column in answered.columns.items():
        expected = [
            (own if mine else theirs).columns[name][i].as_py()
            for i, mine in enumerate(by_challenger)
        ]
        assert column.to_pylist() == expected
    assert contest.seen.rows == 400
    assert contest.seen.answered == by_challenger.sum()
    assert contest.seen.alerts.both == theirs.flagged  # a larger budget flags these as well
    assert contest.seen.alerts.challenger == own.flagged - theirs.flagged
    assert (contest.observation.release_id, contest.observation.step) == ("release-2", 3)


def test_who_answers_a_row_does_not_depend_on_its_batch(table, champion) -> None:
    whole = Contest(replace(contender(), step=3), KERNELS, PARTITION, KEYS)
    _, together = whole(table, champion(table), 0)
    parts = Contest(replace(contender(), step=3), KERNELS, PARTITION, KEYS)
    apart = [
        parts(table.slice(start, 37), champion(table.slice(start, 37)), start)[1]
        for start in range(0, 400, 37)
    ]
    assert np.concatenate(apart).tolist() == together.tolist()
    assert parts.seen == whole.seen


def test_in_shadow_the_champion_answers_everything_and_both_are_compared(table, champion) -> None:
    contest = Contest(contender(shadow=True), KERNELS, PARTITION, KEYS)
    theirs = champion(table)
    answered, by_challenger = contest(table, theirs, 0)
    assert answered is theirs
    assert not by_challenger.any()
    assert (contest.seen.rows, contest.seen.answered) == (400, 0)
    assert contest.seen.alerts.challenger > 0


def test_rolling_moves_whole_partitions(table, champion) -> None:
    answers = set()
    for number in range(40):
        partition = replace(PARTITION, source=f"part-{number}.csv")
        contest = Contest(contender(strategy="rolling"), KERNELS, partition, KEYS)
        _, by_challenger = contest(table.slice(0, 5), champion(table.slice(0, 5)), 0)
        answers.add((bool(by_challenger.all()), bool(by_challenger.any())))
    assert answers == {(True, True), (False, False)}


def test_rows_of_one_entity_are_answered_by_one_model(table, champion) -> None:
    table = table.append_column("customer", pa.array([n % 20 for n in range(400)]))
    contest = Contest(replace(contender(split_by="customer"), step=3), KERNELS, PARTITION, KEYS)
    _, by_challenger = contest(table, champion(table), 0)
    by_customer = by_challenger.reshape(20, 20)
    assert (by_customer == by_customer[0]).all()
    assert by_challenger.any()
    # A customer is one witness, wherever between others its rows are.
    own = RowScorer(contender().model, contender().line, KERNELS)(table)
    either = own.flags | champion(table).flags
    customers = {n % 20 for n in np.flatnonzero(either)}
    assert contest.seen.alerts.evidence.groups == len(customers)


def test_a_hundred_rows_in_a_row_are_one_witness(table, champion) -> None:
    contest = Contest(contender(), KERNELS, PARTITION, KEYS)
    theirs = champion(table)
    contest(table, theirs, 0)
    own = RowScorer(contender().model, contender().line, KERNELS)(table)
    found = np.flatnonzero(own.flags | theirs.flags)
    expected = evidence(grouped(found // 100, own.flags[found], theirs.flags[found]), 2.0)
    assert contest.seen.alerts.evidence == expected
    assert 1 < expected.groups < len(found)


def test_a_column_to_split_by_that_is_gone_costs_nobody_a_score(table, champion) -> None:
    contest = Contest(contender(split_by="customer"), KERNELS, PARTITION, KEYS)
    theirs = champion(table)
    answered, by_challenger = contest(table, theirs, 0)
    assert answered is theirs
    assert not by_challenger.any()
    assert (contest.seen.rows, contest.seen.errors) == (400, 400)
    assert contest.seen.failure.startswith("KeyError: ")
    assert "customer" in contest.seen.failure


def test_a_challenger_that_fails_costs_nobody_a_score(table, champion) -> None:
    broken = replace(contender(), model=replace(contender().model, members=()))
    contest = Contest(broken, KERNELS, PARTITION, KEYS)
    theirs = champion(table)
    answered, by_challenger = contest(table, theirs, 0)
    assert answered is theirs
    assert not by_challenger.any()
    assert (contest.seen.rows, contest.seen.errors) == (400, 400)
    assert contest.seen.failure
