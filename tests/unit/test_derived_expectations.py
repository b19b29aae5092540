import numpy as np
import pyarrow as pa
import pytest

from pynomaly.application.profiling import profile_table
from pynomaly.domain.expectations import derive_expectations

DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.normal(100, 10, n),
    "lognormal": lambda rng, n: rng.lognormal(0, 2, n),
    "pareto": lambda rng, n: rng.pareto(1.1, n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.97, 0, rng.exponential(5, n)),
    "counts": lambda rng, n: rng.poisson(0.5, n).astype(float),
    "some missing": lambda rng, n: np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
    "rarely missing": lambda rng, n: np.where(rng.random(n) < 0.005, np.nan, rng.normal(size=n)),
    "mostly missing": lambda rng, n: np.where(rng.random(n) < 0.9, np.nan, rng.normal(size=n)),
    "levels": lambda rng, n: rng.choice(list("abcdef"), n, p=[0.5, 0.3, 0.15, 0.03, 0.015, 0.005]),
    "many levels": lambda rng, n: np.char.add("k", np.minimum(rng.zipf(1.6, n), 500).astype(str)),
}


def share_meeting(expectation, values):
    missing = np.array([v is None or v != v for v in values])
    if expectation.type == "expect_column_values_to_not_be_null":
        return 1 - missing.mean()
    present = [v for v, gone in zip(values, missing, strict=True) if not gone]
    if expectation.type == "expect_column_values_to_be_in_set":
        return np.mean([v in expectation.kwargs["value_set"] for v in present])
    low, high = expectation.kwargs["min_value"], expectation.kwargs["max_value"]
    return np.mean([low <= v <= high for v in present])


def failing(expectations, values):
    return {e.severity for e in expectations if share_meeting(e, values) < e.kwargs["mostly"]}


def derived(values):
    return derive_expectations(profile_table(pa.table({"c": pa.array(values)}), len(values)))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize(("first", "second"), [(200, 200), (200, 3_000), (5_000, 200)])
def test_a_second_sample_of_the_same_data_passes(name, first, second):
    rng = np.random.default_rng(first + second)
    for _ in range(8):
        suite = derived(DISTRIBUTIONS[name](rng, first).tolist())
        assert failing(suite, DISTRIBUTIONS[name](rng, second).tolist()) == set()


def test_nothing_derived_is_about_single_rows():
    rng = np.random.default_rng(0)
    for draw in DISTRIBUTIONS.values():
        assert {e.severity for e in derived(draw(rng, 500).tolist())} <= {"warning", "critical"}


def test_anomalies_pass():
    rng = np.random.default_rng(1)
    values = rng.normal(size=1_000)
    values[:50] = 1e9
    assert failing(derived(rng.normal(size=1_000).tolist()), values.tolist()) == set()


def test_a_moderate_shift_warns_and_a_changed_unit_is_refused():
    rng = np.random.default_rng(2)
    suite = derived(rng.normal(100, 10, 1_000).tolist())
    assert failing(suite, rng.normal(120, 10, 1_000).tolist()) == {"warning"}
    assert failing(suite, (100 * rng.normal(100, 10, 1_000)).tolist()) == {"warning", "critical"}


def test_a_column_that_empties_warns_first_and_is_refused_when_it_is_gone():
    rng = np.random.default_rng(3)
    suite = derived([None if r < 0.05 else 1.0 * r for r in rng.random(1_000)])
    some = [None if r < 0.3 else 0.5 for r in rng.random(1_000)]
    assert failing(suite, some) == {"warning"}
    assert failing(suite, [None] * 999 + [0.5]) == {"warning", "critical"}


def test_unseen_levels_warn_and_only_a_wholesale_change_is_refused():
    suite = derived(["a", "b", "c"] * 100)
    assert failing(suite, ["a"] * 80 + ["new"] * 20) == {"warning"}
    assert failing(suite, ["a"] * 20 + ["new"] * 80) == {"warning", "critical"}


def test_ids_labels_times_and_dropped_columns_are_left_to_the_schema():
    table = pa.table(
        {"id": ["a", "b"], "ts": ["2024-01-01", "2024-01-02"], "y": [0, 1], "k": ["x", "x"]}
    )
    profile = profile_table(table, 2, id_columns=("id",), time_column="ts", label_column="y")
    assert derive_expectations(profile) == ()


@pytest.mark.parametrize(
    "values",
    [
        [1e308, -1e308, 0.0],
        [5.0, 6.0],
        [1e-320, 2e-320],
        [2.0**60, 2.0**60 + 4096],
        [0.0] * 199 + [1.0],
    ],
)
def test_extreme_values_give_finite_bounds_that_hold_them(values):
    for expectation in derived(values):
        low, high = expectation.kwargs["min_value"], expectation.kwargs["max_value"]
        assert np.isfinite([low, high]).all()
        assert low <= min(values)
        assert high >= max(values)
