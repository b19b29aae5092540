"""Each gate blocks the bad challenger it exists for, and lets an honest retrain through."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.gates.alerts import alert_rate, overrun
from pynomaly.application.gates.capacity import latency, model_size, throughput
from pynomaly.application.gates.comparison import injected_recall, rank_agreement
from pynomaly.application.gates.contender import Contender
from pynomaly.application.gates.integrity import (
    batch_invariant,
    data_validated,
    distinct_scores,
    golden_rows,
)
from pynomaly.application.gates.labels import known_anomalies, label_precision
from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.datasets import Column, Fingerprint, Schema, Snapshot
from pynomaly.domain.gates import GateResult
from pynomaly.domain.models import Member, Model, ModelCard
from pynomaly.domain.pipelines import DecisionPolicy, ReleasePolicy
from pynomaly.domain.quality import ExpectationResult, ValidationReport
from pynomaly.domain.scores import calibrate
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod.fitter import PyodFitter

SCHEMA = Schema(tuple(Column(f"x{i}", "numeric") for i in range(5)))
KERNELS = FrozenKernels()
POLICY, DECISION = ReleasePolicy(), DecisionPolicy(budget=0.05)


def rows(n: int, seed: int) -> pa.Table:
    values = np.random.default_rng(seed).normal(10, 2, (n, 5))
    return pa.table({f"x{i}": values[:, i] for i in range(5)})


def contender(table: pa.Table, seed: int = 0) -> Contender:
    preprocessing = fit_preprocessing(table, SCHEMA)
    X = encode(preprocessing, table)
    fitter = PyodFitter(KERNELS)
    members = fit_detector("knn", {}, X[::2], fitter=fitter, kernels=KERNELS, seed=seed)
    card = ModelCard("p", "r", "knn", {}, "f", len(X), seed, {})
    model = Model(
        card, SCHEMA, preprocessing, members, calibrate(score_members(members, X[1::2], KERNELS))
    )
    return Contender(model, KERNELS)


def with_members(good: Contender, members: tuple[Member, ...], X: pa.Table) -> Contender:
    model = replace(good.model, members=members)
    scores = score_members(members, encode(model.preprocessing, X), KERNELS)
    return replace(good, model=replace(model, calibration=calibrate(scores)))


def inverted(good: Contender, table: pa.Table) -> Contender:
    """The same model with every score's sign turned round."""
    members = tuple(
        replace(m, normalisation=replace(m.normalisation, std=-m.normalisation.std))
        for m in good.model.members
    )
    return with_members(good, members, table)


def constant(good: Contender, table: pa.Table) -> Contender:
    """A model that gives every row the same score."""
    members = tuple(
        replace(m, normalisation=replace(m.normalisation, std=float("inf")))
        for m in good.model.members
    )
    return with_members(good, members, table)


@pytest.fixture(scope="module")
def training() -> pa.Table:
    return rows(2_400, 1)


@pytest.fixture(scope="module")
def champion(training: pa.Table) -> Contender:
    return contender(training)


@pytest.fixture(scope="module")
def holdout() -> pa.Table:
    return rows(1_200, 2)


def test_an_honest_retrain_on_fresh_data_passes(champion: Contender, holdout: pa.Table) -> None:
    retrained = contender(rows(2_400, 3), seed=5)

    recall = injected_recall(retrained, champion, holdout, POLICY, 0)
    alerts = alert_rate(retrained, champion, holdout, POLICY, DECISION, DECISION)

    assert recall.verdict == "pass", recall.sentence
    assert alerts.verdict == "pass", alerts.sentence


def test_a_first_model_that_finds_injected_anomalies_passes(
    champion: Contender, holdout: pa.Table
) -> None:
    result = injected_recall(champion, None, holdout, POLICY, 0)

    assert result.verdict == "pass"
    assert result.bound is not None
    assert result.observed is not None
    assert POLICY.min_first_recall < result.bound < result.observed


@pytest.mark.parametrize("broken", [inverted, constant])
def test_inverted_and_constant_models_are_blocked_by_injected_recall(
    broken: object, champion: Contender, training: pa.Table, holdout: pa.Table
) -> None:
    assert callable(broken)
    challenger = broken(champion, training)

    with_champion = injected_recall(challenger, champion, holdout, POLICY, 0)
    first = injected_recall(challenger, None, holdout, POLICY, 0)

    assert with_champion.verdict == "block", with_champion.sentence
    assert first.verdict == "block", first.sentence


def test_a_constant_model_is_blocked_by_distinct_scores(
    champion: Contender, training: pa.Table, holdout: pa.Table
) -> None:
    bad = constant(champion, training)

    assert distinct_scores(champion, holdout, champion.score(holdout), 0.05).verdict == "pass"
    assert distinct_scores(bad, holdout, bad.score(holdout), 0.05).verdict == "block"


def test_neither_many_rows_nor_rows_that_repeat_make_scores_less_distinct(
    champion: Contender, holdout: pa.Table
) -> None:
    scores = champion.score(holdout)
    coarse = np.round(scores, 1)  # as a histogram over few columns scores
    repeated = pa.concat_tables([holdout.slice(0, 30)] * 40)
    nothing = holdout.slice(0, 1).take([0] * 50)

    histogram = distinct_scores(champion, holdout, coarse, 0.05)
    same = distinct_scores(champion, repeated, champion.score(repeated), 0.05)

    assert len(np.unique(coarse)) < 0.05 * len(holdout)
    assert histogram.verdict == "pass", histogram.sentence
    assert same.observed == 1.0
    assert distinct_scores(champion, nothing, scores[:50], 0.05).verdict == "inconclusive"


def test_too_few_rows_or_a_blind_champion_are_inconclusive(
    champion: Contender, holdout: pa.Table
) -> None:
    few = injected_recall(champion, champion, holdout.slice(0, 900), POLICY, 0)
    blind = replace(POLICY, min_champion_recall=1.0)
    weak = injected_recall(champion, champion, holdout, blind, 0)

    assert few.verdict == weak.verdict == "inconclusive"
    assert "Too little power" in few.sentence


def test_with_too_little_power_only_what_is_certainly_worse_blocks(
    champion: Contender, training: pa.Table, holdout: pa.Table
) -> None:
    retrained, few = contender(rows(2_400, 3), seed=5), holdout.slice(0, 40)
    strict = replace(POLICY, recall_block=-0.001, min_first_recall=0.99)

    honest = injected_recall(retrained, champion, few, strict, 0)
    bad = injected_recall(inverted(champion, training), champion, few, strict, 0)
    first = injected_recall(retrained, None, few, strict, 0)
    bad_first = injected_recall(inverted(champion, training), None, few, strict, 0)

    assert honest.bound is not None
    assert honest.bound < strict.recall_block
    assert first.bound is not None
    assert first.bound < strict.min_first_recall
    assert (honest.verdict, first.verdict) == ("inconclusive", "inconclusive")
    assert (bad.verdict, bad_first.verdict) == ("block", "block")
    assert "40 rows were held out" in first.sentence


def test_a_swap_of_two_columns_is_blocked_by_golden_rows(
    champion: Contender, holdout: pa.Table
) -> None:
    golden = holdout.slice(0, 32)
    golden = golden.append_column("expected_score", pa.array(champion.score(golden)))
    swapped = golden.rename_columns(["x1", "x0", "x2", "x3", "x4", "expected_score"])

    assert golden_rows(champion, golden).verdict == "pass"
    assert golden_rows(champion, swapped).verdict == "block"


def test_a_model_that_looks_at_its_batch_is_blocked(champion: Contender, holdout: pa.Table) -> None:
    class Ranking(FrozenKernels):
        """Scores a row by its rank within the batch, as PyOD's ECOD does."""

        def score_members(self, members: Sequence[Member], X: np.ndarray) -> np.ndarray:
            return super().score_members(members, X).argsort().argsort() / len(X)

    ranking = replace(champion, kernels=Ranking())

    assert batch_invariant(champion, holdout, champion.score(holdout), 0).verdict == "pass"
    assert batch_invariant(ranking, holdout, ranking.score(holdout), 0).verdict == "block"


@pytest.mark.parametrize(("budget", "verdict"), [(0.05, "pass"), (0.4, "block"), (0.0001, "block")])
def test_alert_volume_far_from_the_champions_is_blocked(
    budget: float, verdict: str, champion: Contender, holdout: pa.Table
) -> None:
    class Biased(FrozenKernels):
        """Shifts every score until the wanted share of rows is flagged."""

        def score_members(self, members: Sequence[Member], X: np.ndarray) -> np.ndarray:
            return super().score_members(members, X) + shift

    normal = champion.score(holdout)
    calibration = champion.model.calibration.scores
    member = champion.model.members[0].normalisation
    wanted = np.quantile(normal, 1 - budget)
    threshold = np.quantile(calibration, 1 - DECISION.budget)
    # On the member's raw scale, before asinh and standardisation.
    raw = np.sinh(threshold * member.std + member.mean) - np.sinh(wanted * member.std + member.mean)
    shift = float(raw * member.spread)

    result = alert_rate(
        replace(champion, kernels=Biased()), champion, holdout, POLICY, DECISION, DECISION
    )

    assert result.verdict == verdict, result.sentence


@pytest.mark.parametrize("budget", [0.01, 0.25])
def test_a_changed_policy_asks_for_review_and_blocks_no_model_for_it(
    budget: float, champion: Contender, holdout: pa.Table
) -> None:
    new = DecisionPolicy(budget=budget)
    same = alert_rate(champion, champion, holdout, POLICY, new, DECISION)
    assert same.verdict == "review", same.sentence
    assert same.observed == pytest.approx(budget / DECISION.budget, rel=0.5)
    assert "By the new decision policy the champion would flag" in same.sentence

    # A changed policy excuses no model.
    silent_model = constant(champion, holdout)
    bad = alert_rate(silent_model, champion, holdout, POLICY, DECISION, new)
    assert bad.verdict == "block", bad.sentence


@pytest.fixture
def labelled(holdout: pa.Table) -> Iterator[tuple[pa.Table, np.ndarray]]:
    values = np.random.default_rng(9).normal(10, 2, (60, 5)) + 9
    anomalies = pa.table({f"x{i}": values[:, i] for i in range(5)})
    labels = np.concatenate([np.zeros(len(holdout)), np.ones(60)])
    return pa.concat_tables([holdout, anomalies]), labels


def test_where_labels_exist_a_certain_drop_in_average_precision_blocks(
    champion: Contender, training: pa.Table, labelled: tuple[pa.Table, np.ndarray]
) -> None:
    table, labels = labelled

    same = label_precision(champion, champion, table, labels, POLICY, 0)
    worse = label_precision(inverted(champion, training), champion, table, labels, POLICY, 0)

    assert same.verdict == "pass"
    assert worse.verdict == "block", worse.sentence


def test_known_anomalies_that_are_no_longer_found_block(
    champion: Contender, training: pa.Table, labelled: tuple[pa.Table, np.ndarray]
) -> None:
    table, labels = labelled
    learnt = contender(pa.concat_tables([training, table.slice(len(table) - 60)]))

    same = known_anomalies(champion, champion, table, labels, POLICY, 0)
    upside_down = known_anomalies(inverted(champion, training), champion, table, labels, POLICY, 0)
    as_normal = known_anomalies(learnt, champion, table, labels, POLICY, 0)

    assert [result and result.verdict for result in (same, upside_down, as_normal)] == [
        "pass", "block", "block",
    ]  # fmt: skip


def test_labels_of_few_anomalies_are_advice(
    champion: Contender, training: pa.Table, labelled: tuple[pa.Table, np.ndarray]
) -> None:
    table, labels = (part[: len(labelled[1]) - 11] for part in labelled)
    bad = inverted(champion, training)

    for gate in (label_precision, known_anomalies):
        advice = gate(bad, champion, table, labels, POLICY, 0)
        assert advice is not None
        assert advice.verdict == "review"
        assert "49 anomalies are known, 50 are the least" in advice.sentence


def test_a_first_model_that_places_known_anomalies_by_chance_asks_for_review(
    champion: Contender, training: pa.Table, labelled: tuple[pa.Table, np.ndarray]
) -> None:
    table, labels = labelled

    good = known_anomalies(champion, None, table, labels, POLICY, 0)
    bad = known_anomalies(inverted(champion, training), None, table, labels, POLICY, 0)

    assert good is not None
    assert good.verdict == "pass"
    assert bad is not None
    assert bad.verdict == "review"
    assert "learnt them as normal" in bad.sentence


def test_a_ranking_unlike_the_champions_is_blocked_and_one_that_ranks_nothing_is_undecided(
    champion: Contender, training: pa.Table, holdout: pa.Table
) -> None:
    retrained = contender(rows(2_400, 3), seed=5)

    def agreement(challenger: Contender) -> GateResult:
        return rank_agreement(challenger, champion, holdout, POLICY, DECISION)

    assert agreement(retrained).verdict == "pass"
    opposite = agreement(inverted(champion, training))
    assert opposite.verdict == "block"
    assert opposite.observed == pytest.approx(-1.0)
    assert agreement(constant(champion, training)).verdict == "inconclusive"
    batchwise = DecisionPolicy("fdr", q=1e-4)  # which 1,200 rows cannot be judged by
    fdr = rank_agreement(inverted(champion, training), champion, holdout, POLICY, batchwise)
    assert fdr.verdict == "block"


def test_data_that_moved_away_from_the_champion_make_its_ranking_no_measure(
    champion: Contender,
) -> None:
    policy = ReleasePolicy(min_rank_agreement=1.0)
    moved = pa.table({name: rows(1_500, 5).column(name).to_numpy() + 5 for name in SCHEMA.names})

    result = rank_agreement(contender(moved), champion, moved, policy, DECISION)

    assert result.verdict == "review"
    assert "moved away" in result.sentence


@pytest.mark.parametrize(("allowed", "verdict"), [(1e-6, "block"), (1e6, "pass")])
def test_time_and_size_are_held_to_their_budgets(
    allowed: float, verdict: str, champion: Contender, holdout: pa.Table
) -> None:
    policy = ReleasePolicy(max_call_millis=allowed, max_row_micros=allowed, max_model_mib=allowed)

    results = [
        latency(champion, holdout, policy),
        throughput(champion, holdout, policy),
        model_size(12_345, policy),
    ]

    assert [result.verdict for result in results] == [verdict] * 3
    assert all(result.observed is not None and result.observed > 0 for result in results)


def test_few_held_out_rows_make_no_model_slow(champion: Contender, holdout: pa.Table) -> None:
    class Starting(FrozenKernels):
        """Takes ten milliseconds for every call, as a large ensemble may."""

        def score_members(self, members: Sequence[Member], X: np.ndarray) -> np.ndarray:
            end = perf_counter() + 0.01
            while perf_counter() < end:
                pass
            return super().score_members(members, X)

    few = holdout.slice(0, 5)
    result = throughput(replace(champion, kernels=Starting()), few, POLICY)

    assert result.verdict == "pass", result.sentence
    assert result.n == 4_096


def test_a_handful_of_labels_is_not_judged(champion: Contender, holdout: pa.Table) -> None:
    labels = np.full(len(holdout), np.nan)
    labels[:10] = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]

    assert label_precision(champion, champion, holdout, labels, POLICY, 0) is None


def test_data_that_moved_away_from_the_champion_ask_for_review_not_for_the_old_model(
    champion: Contender,
) -> None:
    moved = pa.table({name: rows(1_500, 5).column(name).to_numpy() + 5 for name in SCHEMA.names})
    retrained = contender(moved)

    result = alert_rate(retrained, champion, moved.slice(0, 1_000), POLICY, DECISION, DECISION)

    assert result.verdict == "review", result.sentence
    assert "data moved" in result.sentence


def test_a_challenger_that_floods_is_blocked_even_where_the_champion_overruns_its_budget(
    champion: Contender,
) -> None:
    moved = pa.table({name: rows(1_500, 5).column(name).to_numpy() + 1 for name in SCHEMA.names})
    calibration = replace(champion.model.calibration, scores=np.full(1_200, -1e9))
    flooding = replace(champion, model=replace(champion.model, calibration=calibration))

    result = alert_rate(flooding, champion, moved, POLICY, DECISION, DECISION)

    assert overrun(champion, champion.score(moved), POLICY, DECISION)
    assert result.verdict == "block", result.sentence


def report(accepted: int, quarantined: int, *results: ExpectationResult) -> ValidationReport:
    snapshot = Snapshot("data.csv", Fingerprint("ab" * 32, "cd"), (), accepted + quarantined, 1)
    return ValidationReport(
        "v1", "p", snapshot, results, accepted, quarantined, 0.05, datetime.now(UTC)
    )


def test_data_must_be_on_record_as_validated() -> None:
    failed = ExpectationResult("expect_x", "a", "critical", False, "1", "2")

    assert data_validated(None, "ab" * 32).verdict == "block"
    assert data_validated(report(90, 10, failed), "ab" * 32).verdict == "block"
    assert data_validated(report(99, 1), "ab" * 32).verdict == "pass"


def test_a_budget_that_the_calibration_rows_cannot_resolve_asks_for_review(
    champion: Contender, holdout: pa.Table
) -> None:
    result = alert_rate(champion, None, holdout, POLICY, DecisionPolicy(budget=1e-5), DECISION)

    assert result.verdict == "review"
    assert "flags nothing" in result.sentence


def test_a_few_rows_with_many_disturbed_copies_each_still_count_as_few(
    champion: Contender, holdout: pa.Table
) -> None:
    result = injected_recall(champion, None, holdout.slice(0, 6), POLICY, 0)

    assert result.n == 6
    assert result.bound is not None
    assert result.bound < 0.75


def test_a_first_model_that_floods_the_newest_rows_asks_for_review(champion: Contender) -> None:
    newest = rows(1_000, 5)
    moved = pa.table({name: pc.add(newest[name], 3.0) for name in newest.column_names})

    result = alert_rate(champion, None, moved, POLICY, DECISION, DECISION)

    assert result.verdict == "review"
    assert "calibration does not hold" in result.sentence


def test_top_k_flags_as_many_rows_whatever_the_model(
    champion: Contender, holdout: pa.Table
) -> None:
    policy = DecisionPolicy("top_k", k=20)

    result = alert_rate(constant(champion, holdout), champion, holdout, POLICY, policy, policy)

    assert result.verdict == "pass"
    assert result.observed == 20 / len(holdout)


def test_fdr_on_clean_rows_passes_and_a_calibration_too_small_for_it_asks_for_review(
    champion: Contender, holdout: pa.Table
) -> None:
    fdr = DecisionPolicy("fdr", q=0.3)
    enough = alert_rate(champion, champion, holdout, POLICY, fdr, fdr)
    small = alert_rate(champion, None, holdout, POLICY, DecisionPolicy("fdr", q=0.001), fdr)

    assert enough.verdict == "pass"
    assert small.verdict == "review"
    assert "Benjamini–Hochberg can flag" in small.sentence
