"""What is said about a ranking without labels, and what is not."""

import numpy as np
import pyarrow as pa
import pytest

import pynomaly as pn
from pynomaly.application.strangest import Strangest
from pynomaly.application.trust import Halves, rank_by_halves, rows_to_label, stability
from pynomaly.domain.datasets import Schema
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.sources import SourceSpec
from pynomaly.domain.trust import Cloud, Stability, Trust

PIPELINE = Pipeline("p", SourceSpec(""), Schema(()))
ROWS = pa.table({"row_id": [f"r#{i}" for i in range(1, 401)], "x": np.arange(400.0)})


def by(column: np.ndarray):
    return lambda rows: column[: len(rows)]


def test_equal_rankings_agree_and_opposite_ones_do_not() -> None:
    up, down = np.arange(400.0), -np.arange(400.0)

    same = stability(rank_by_halves(ROWS, (by(up), by(up)), seed=0))
    opposite = stability(rank_by_halves(ROWS, (by(up), by(down)), seed=0))

    assert (same.overlap, same.correlation) == (1.0, pytest.approx(1.0))
    assert (opposite.overlap, opposite.correlation) == (0.0, pytest.approx(-1.0))
    assert (same.top, same.chance) == (10, 10 / 400)


def test_two_models_that_say_nothing_do_not_agree() -> None:
    nothing = np.zeros(400)

    found = stability(rank_by_halves(ROWS, (by(nothing), by(nothing)), seed=0))

    assert abs(found.correlation) < 0.2
    assert not found.is_stable


@pytest.mark.parametrize("n", [10, 15, 20, 25, 30, 40, 60])
def test_random_rankings_of_small_tables_are_not_called_stable(n: int) -> None:
    rng = np.random.default_rng(n)
    rows = ROWS.slice(0, n)

    stable = sum(
        stability(rank_by_halves(rows, (by(rng.random(n)), by(rng.random(n))), seed=0)).is_stable
        for _ in range(500)
    )

    assert stable <= 5


def test_a_sound_ranking_of_many_rows_is_called_stable() -> None:
    rng = np.random.default_rng(0)
    rows = pa.table({"row_id": [str(i) for i in range(2_000)]})
    truth = rng.standard_t(3, 2_000)
    first, second = (truth + rng.normal(0, 0.3, 2_000) for _ in range(2))

    found = stability(rank_by_halves(rows, (by(first), by(second)), seed=0))

    assert (found.top, found.chance) == (20, 0.01)
    assert found.is_stable


def test_of_a_handful_of_rows_it_is_said_that_nothing_can_be_told() -> None:
    equal = np.arange(20.0)
    found = stability(rank_by_halves(ROWS.slice(0, 20), (by(equal), by(equal)), seed=0))

    findings = Trust(found, SHAPED, rows=20, calibration_rows=20, alert_budget=0.05).findings

    assert found.top == 4
    assert not any("repeats itself:" in finding for finding in findings)
    assert any("cannot be told from 20 rows" in finding for finding in findings)


def test_rows_to_label_are_those_on_top_and_those_in_dispute() -> None:
    first = np.arange(1, 401)
    second = first.copy()
    second[[0, 1, 4, 300]] = [2, 1, 301, 5]  # on top in the eyes of both is in dispute for nobody
    strangest = Strangest(10)
    strangest.offer(ROWS, -np.arange(400.0))

    rows = rows_to_label(strangest, Halves(ROWS, first, second), PIPELINE, 6)

    top = [row.ids["row_id"] for row in rows if row.because == "top"]
    disputed = {row.ids["row_id"]: row.ranks for row in rows if row.because == "disputed"}
    assert top == ["r#1", "r#2", "r#3", "r#4"]
    assert disputed == {"r#5": (5, 301), "r#301": (301, 5)}


def test_the_strangest_of_a_stream_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 30, 400).astype(float)
    kept = Strangest(25)
    for start in range(0, 400, 30):
        kept.offer(ROWS.slice(start, 30), scores[start : start + 30])

    best = np.argsort(-scores, kind="stable")[:25]
    assert kept.rows.column("x").to_pylist() == best.astype(float).tolist()
    np.testing.assert_array_equal(kept.scores, scores[best])


STABLE = Stability(1_000, 10, 0.7, 0.01, 0.9)
SHAPED = Cloud(far=3, beyond=40, share=0.0, bulk=0.5)
PLAIN = Cloud(far=0, beyond=1, share=0.01, bulk=0.5)


@pytest.mark.parametrize(
    ("stability", "cloud", "inconclusive"),
    [
        (STABLE, SHAPED, False),
        (STABLE, PLAIN, True),
        (STABLE, Cloud(far=1, beyond=1, share=0.01, bulk=0.5), False),
        (STABLE, Cloud(far=0, beyond=0, share=0.6, bulk=0.95), False),  # no plain cloud at all
        (Stability(1_000, 10, 0.1, 0.01, 0.9), SHAPED, True),
        (Stability(1_000, 10, 0.7, 0.01, 0.2), SHAPED, True),
        (Stability(1_000, 10, 0.9, 0.01, 0.2), SHAPED, False),  # only ordinary rows swap places
        (Stability(1_000, 10, 0.1, 0.01, 0.2), None, False),  # labels have proved their worth
    ],
)
def test_inconclusive_is_what_noise_or_another_sample_would_have_given_too(
    stability: Stability, cloud: Cloud | None, inconclusive: bool
) -> None:
    trust = Trust(stability, cloud, rows=1_000, calibration_rows=1_000, alert_budget=0.01)

    assert trust.inconclusive is inconclusive
    assert trust.findings[0].startswith("Inconclusive") is inconclusive


def test_stability_is_never_called_quality() -> None:
    trust = Trust(STABLE, None, rows=1_000, calibration_rows=1_000, alert_budget=0.01)

    assert "Stability is not quality" in trust.findings[0]


def test_an_alert_budget_that_cannot_be_met_is_said() -> None:
    trust = Trust(STABLE, None, rows=60, calibration_rows=60, alert_budget=0.01)

    assert any("60 rows are few" in finding for finding in trust.findings)
    assert any("No row can be flagged" in finding for finding in trust.findings)


def test_one_gross_anomaly_in_noise_is_something_to_hold_on_to() -> None:
    X = np.random.default_rng(2).normal(size=(500, 4))
    X[77, 2] = 15.0

    found = pn.detect(X, budget="quick")

    assert found.top(1)["row_id"].tolist() == ["data#78"]
    assert not found.trust.inconclusive
