"""Reasons: the disturbed column must come first."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.explain import (
    contributions,
    explain,
    similar_values,
    without_the_strangest,
)
from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.scoring_rows import score_matrix
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.detectors import FAMILIES
from pynomaly.domain.models import Model, ModelCard
from pynomaly.domain.scores import calibrate
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod import PyodFitter

KERNELS = FrozenKernels()
NUMERIC = ("a", "b", "c", "d")
SCHEMA = Schema((*(Column(name, "numeric") for name in NUMERIC), Column("k", "categorical")))


def _table(rows: int = 500, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    columns = {
        "a": a,
        "b": 0.8 * a + 0.6 * rng.normal(size=rows),
        "c": 1e5 * rng.lognormal(size=rows),
        "d": rng.integers(0, 20, rows).astype(float),
        "k": rng.choice([*"xxxxyyz"], size=rows),
    }
    return pa.table(columns)


def _model(detector: str, table: pa.Table | None = None, schema: Schema = SCHEMA) -> Model:
    table = _table() if table is None else table
    preprocessing = fit_preprocessing(table, schema)
    members = fit_detector(
        detector, {}, encode(preprocessing, table), fitter=PyodFitter(KERNELS), kernels=KERNELS,
        seed=0,
    )  # fmt: skip
    preprocessing = without_the_strangest(preprocessing, members, KERNELS)
    card = ModelCard("p", "r", detector, {}, "f", 500, 0, {})
    return Model(card, schema, preprocessing, members, calibrate(np.zeros(1)))


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return _model(request.param)


@pytest.fixture(scope="module")
def ensemble():
    return _model("self_cleaning")


def _reasons(model, table, top=3):
    X = encode(model.preprocessing, table)
    return explain(model, table, X, score_matrix(model, X, KERNELS), KERNELS, top).to_lists()


def _replace(table: pa.Table, column: str, value) -> pa.Table:
    index = table.column_names.index(column)
    return table.set_column(index, column, pa.array([value] * table.num_rows, table[column].type))


def _ordinary(model) -> pa.Table:
    """Rows of the lower half by score: none of them strange in itself."""
    table = _table(200, seed=5)
    scores = score_matrix(model, encode(model.preprocessing, table), KERNELS)
    return table.take(np.argsort(scores)[:100])


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    row=st.integers(0, 99),
    column=st.sampled_from(NUMERIC),
    deviations=st.floats(15, 1e6),
    sign=st.sampled_from([-1, 1]),
)
def test_a_column_pushed_far_out_is_the_top_reason(ensemble, row, column, deviations, sign):
    table = _table()
    values = table[column].to_numpy()
    pushed = float(np.median(values) + sign * deviations * values.std())
    normal = _ordinary(ensemble).slice(row, 1)
    [reasons] = _reasons(ensemble, _replace(normal, column, pushed))
    assert (reasons[0].column, reasons[0].direction) == (column, "high" if sign > 0 else "low")


def test_every_family_names_the_pushed_column_for_nearly_all_rows(model):
    # Histograms and tail counts are bounded: another column in a sparse bin may weigh as much.
    table, named = _table(), []
    for column in NUMERIC:
        values = table[column].to_numpy()
        pushed = _replace(_ordinary(model), column, float(np.median(values) + 30 * values.std()))
        named += [bool(r) and r[0].column == column for r in _reasons(model, pushed, top=1)]
    assert np.mean(named) > 0.8


def test_a_never_seen_category_is_the_top_reason(ensemble):
    [reasons] = _reasons(ensemble, _replace(_ordinary(ensemble).slice(0, 1), "k", "new"))
    assert (reasons[0].column, reasons[0].direction, reasons[0].value) == ("k", "unusual", "new")


def test_next_to_a_column_far_out_ordinary_values_are_no_reasons(ensemble):
    for reasons in _reasons(ensemble, _replace(_ordinary(ensemble), "c", 1e9)):
        largest = reasons[0].contribution
        assert all(r.contribution > 0.05 * largest or r.share <= 0.01 for r in reasons)
        assert len(reasons) < 3


def test_reasons_raise_the_score_and_the_rarer_of_equal_ones_comes_first(ensemble):
    for reasons in _reasons(ensemble, _table(60, seed=8), top=2):
        telling = [r.contribution * (2 - np.log(max(r.share, 1e-4))) for r in reasons]
        assert len(reasons) <= 2
        assert telling == sorted(telling, reverse=True)
        assert all(reason.contribution > 0 for reason in reasons)


def test_a_contribution_is_what_the_column_takes_away_and_if_rare_also_what_it_brings(ensemble):
    table = _replace(_ordinary(ensemble).slice(0, 1), "c", 1e9)
    X = encode(ensemble.preprocessing, table)
    similar = similar_values(ensemble.preprocessing, X, KERNELS)
    without, alone = X.copy(), similar.copy()
    without[0, 2], alone[0, 2] = similar[0, 2], X[0, 2]
    scores = score_matrix(ensemble, np.vstack([X, without, alone, similar]), KERNELS)
    leaves, brings = scores[0] - scores[1], scores[2] - scores[3]

    for rare, expected in ((False, leaves), (True, (leaves + brings) / 2)):
        cells = np.full((1, 5), rare)
        raised = contributions(ensemble, X, similar, scores[:1], cells, KERNELS)
        assert raised[0, 2] == expected
    [reasons] = _reasons(ensemble, table)
    assert (reasons[0].column, reasons[0].contribution) == ("c", (leaves + brings) / 2)


def test_columns_that_are_strange_together_do_not_hide_each_other():
    """A tax that follows its total holds the score up when only the total is replaced."""
    rng = np.random.default_rng(1)
    price, quantity = rng.lognormal(3, 0.7, 4_000), rng.integers(1, 12, 4_000)
    table = pa.table({
        "quantity": quantity.astype(float), "price": price, "total": quantity * price,
        "tax": 0.19 * quantity * price, "weight": rng.gamma(2, 2, 4_000),
    })  # fmt: skip
    schema = Schema(tuple(Column(name, "numeric") for name in table.column_names))
    model = _model("self_cleaning", table, schema)
    far = table.filter(pa.array(table["total"].to_numpy() > np.quantile(table["total"], 0.995)))

    named = [[reason.column for reason in reasons] for reasons in _reasons(model, far)]

    assert len(named) == 20
    assert all({"total", "tax"} & set(columns) for columns in named)


def test_rows_whose_like_is_among_the_reference_rows_have_reasons():
    """Tables of flags have few different rows; a rare one is found among the references as well."""
    rng = np.random.default_rng(0)
    shares = (0.5, 0.1, 0.01, 0.002, 0.9)
    table = pa.table({f"f{i}": rng.random(4_000) < share for i, share in enumerate(shares)})
    schema = Schema(tuple(Column(name, "boolean") for name in table.column_names))
    model = _model("self_cleaning", table, schema)
    X = encode(model.preprocessing, table)
    scores = score_matrix(model, X, KERNELS)
    flagged = np.flatnonzero(scores > np.quantile(scores, 0.98))

    reasons = _reasons(model, table.take(pa.array(flagged)))

    assert len(reasons) > 30
    assert all(reasons)
    rare = table["f2"].to_numpy()[flagged]
    assert rare.any()
    named = [any(r.column == "f2" for r in row) for row in reasons]
    assert all(found for found, is_rare in zip(named, rare, strict=True) if is_rare)


def test_what_a_few_anomalies_of_a_small_table_have_in_common_is_their_reason():
    rng = np.random.default_rng(0)
    x0, x1, temperature = rng.normal(10, 1, 300), rng.normal(10, 1, 300), rng.normal(20, 2, 300)
    temperature[:5] = rng.normal(90, 1, 5)
    table = pa.table({"x0": x0, "x1": x1, "temperature": temperature})
    schema = Schema(tuple(Column(name, "numeric") for name in table.column_names))

    found = _reasons(_model("self_cleaning", table, schema), table.slice(0, 5))

    assert [reasons[0].column for reasons in found] == ["temperature"] * 5


def test_similar_rows_are_similar_in_the_columns_that_are_not_strange(ensemble):
    """b follows a; where b is strange, a tells what b is in similar rows."""
    table = _table(2_000, seed=4)
    far = np.abs(table["a"].to_numpy()) > 1.2
    table = _replace(table.filter(pa.array(far)), "b", 50.0)
    X = encode(ensemble.preprocessing, table)

    b = similar_values(ensemble.preprocessing, X, KERNELS)[:, 1]

    assert np.abs(b).max() < 4
    assert np.corrcoef(b, X[:, 0])[0, 1] > 0.7


def test_a_row_is_explained_the_same_alone_and_in_a_batch(ensemble):
    table = _table(50, seed=3)
    together = _reasons(ensemble, table)
    assert [_reasons(ensemble, table.slice(i, 1))[0] for i in range(50)] == together


def test_values_are_shown_as_text():
    model = _model("ecod")
    table = _replace(_replace(_table(1), "c", 123456789.123), "k", "w" * 200)
    reasons = {reason.column: reason for reason in _reasons(model, table, top=5)[0]}
    assert reasons["c"].value == "123,456,789"
    assert len(reasons["k"].value) == 80


def test_no_rows_have_no_reasons(ensemble):
    X = encode(ensemble.preprocessing, _table(0))
    rare = np.empty((0, 5), dtype=bool)
    assert contributions(ensemble, X, X, np.empty(0), rare, KERNELS).shape == (0, 5)
    assert _reasons(ensemble, _table(0)) == []


def test_what_was_told_from_a_column_is_told_anew_when_the_column_is_replaced():
    """The guess made of a strange value would go on to hold the score up."""
    rng = np.random.default_rng(0)
    warmth = rng.normal(20, 5, 500)
    cells = {
        "a": warmth + rng.normal(0, 0.2, 500),
        "b": warmth + rng.normal(0, 1, 500),
        "c": np.where(rng.random(500) < 0.1, np.nan, 100 - 2 * warmth),
    }
    table = pa.table({name: pa.array(cells[name], from_pandas=True) for name in cells})
    model = _model("knn", table, Schema(tuple(Column(name, "numeric") for name in "abc")))
    X = encode(model.preprocessing, table)
    instead = similar_values(model.preprocessing, X, KERNELS)
    scores = score_matrix(model, X, KERNELS)
    rare = np.zeros((500, 3), dtype=bool)
    raised = contributions(model, X, instead, scores, rare, KERNELS)
    replaced = table.set_column(0, "a", pa.array(instead[:, 0]))
    left = score_matrix(model, encode(model.preprocessing, replaced), KERNELS)
    assert table["c"].null_count
    np.testing.assert_array_equal(raised[:, 0], scores - left)
