"""Encoding of tables into the matrix detectors see."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.errors import DataRejectedError, NotTrainableError

ROWS = 40


def _schema(**kinds: str) -> Schema:
    return Schema(tuple(Column(name, kind) for name, kind in kinds.items()))


def _numbers(values) -> pa.Array:
    return pa.array(values, pa.float64())


def _feature(preprocessing, X, name):
    return X[:, preprocessing.features.index(name)]


def test_missing_numbers_become_the_median_and_are_marked():
    table = pa.table({"a": _numbers([None, float("nan"), *range(38)])})
    fitted = fit_preprocessing(table, _schema(a="numeric"))
    X = encode(fitted, table)
    assert fitted.features == ("a", "a=missing")
    assert _feature(fitted, X, "a")[:3].tolist() == [18.5, 18.5, 0.0]
    assert _feature(fitted, X, "a=missing")[:3].tolist() == [1.0, 1.0, 0.0]


def test_a_number_that_was_missing_once_has_an_indicator_and_one_that_never_was_has_none():
    table = pa.table({"a": _numbers([None, *range(199)]), "b": _numbers(list(range(200)))})
    found = fit_preprocessing(table, _schema(a="numeric", b="numeric"))
    assert found.features == ("a", "a=missing", "b")


@pytest.mark.parametrize("extreme", [1e308, -1e308, float("inf"), 2.0**60])
def test_extreme_numbers_stay_finite_even_when_squared(extreme):
    table = pa.table({"a": _numbers([extreme, *range(39)])})
    X = encode(fit_preprocessing(table, _schema(a="numeric")), table)
    assert np.isfinite(X**2).all()
    assert np.isfinite(X.astype(np.float32)).all()


def test_integers_beyond_float_precision_are_accepted():
    table = pa.table({"a": pa.array([2**53 + 1 + i * 10**6 for i in range(ROWS)], pa.int64())})
    assert np.isfinite(encode(fit_preprocessing(table, _schema(a="numeric")), table)).all()


def test_a_rare_level_weighs_what_an_equally_rare_number_of_deviations_would():
    table = pa.table({"c": ["x"] * 30 + ["y"] * 9 + ["z"]})
    fitted = fit_preprocessing(table, _schema(c="categorical"))
    X = encode(fitted, table)
    assert fitted.features == ("c:rarity",)
    rarity = _feature(fitted, X, "c:rarity")
    # 1 of 40 rows is at most as rare as z, 10 of 40 as y, all of them as x.
    assert [rarity[39], rarity[30], rarity[0]] == pytest.approx([2.2414, 1.1503, 0.0], abs=1e-4)


def test_an_unseen_level_is_rarer_than_every_seen_one():
    fitted = fit_preprocessing(
        pa.table({"c": ["x"] * 30 + ["y"] * 9 + ["z"]}), _schema(c="categorical")
    )
    seen = encode(fitted, pa.table({"c": ["z"]}))[0, 0]
    unseen = encode(fitted, pa.table({"c": ["never seen"]}))[0, 0]
    null = encode(fitted, pa.table({"c": pa.array([None], pa.string())}))[0, 0]
    assert unseen == null > seen


def test_equally_frequent_levels_are_equally_rare_however_many_there_are():
    levels = [f"l{i:04}" for i in range(2_500)] * 2
    table = pa.table({"c": ["usual"] * 5_000 + levels})
    fitted = fit_preprocessing(table, _schema(c="categorical"))

    rarity = encode(fitted, table)[:, 0]

    assert len(fitted.encodings[0].levels) == 1_000
    assert np.unique(rarity[5_000:]).tolist() == [pytest.approx(0.6745, abs=1e-4)]  # half the rows
    assert np.unique(rarity[:5_000]).tolist() == [0.0]
    assert fitted.encodings[0].left_out == pytest.approx(1_501 * 2 / 10_000)


def test_a_missing_category_is_a_level_of_its_own():
    table = pa.table({"c": ["x"] * 30 + [None] * 10})
    fitted = fit_preprocessing(table, _schema(c="categorical"))
    assert encode(fitted, table)[-1, 0] > encode(fitted, table)[0, 0]


def test_the_order_of_rows_does_not_change_categories():
    table = pa.table({"c": ["b", "a", "a"] * 20})
    shuffled = table.take(list(reversed(range(table.num_rows))))
    schema = _schema(c="categorical")
    assert (
        fit_preprocessing(table, schema).encodings == fit_preprocessing(shuffled, schema).encodings
    )


def test_times_become_points_on_the_clock_and_the_week():
    monday_six = dt.datetime(2026, 11, 23, 6, tzinfo=dt.UTC)
    table = _moments(monday_six, dt.timedelta(days=24))
    fitted = fit_preprocessing(table, _schema(t="datetime"))
    np.testing.assert_allclose(encode(fitted, table)[0], [1.0, 0.0, 0.0, 1.0], atol=1e-12)


def _moments(first, span, *, missing=0):
    stamps = [first + span * i / (ROWS - 1) for i in range(ROWS)] + [None] * missing
    return pa.table({"t": pa.array(stamps, pa.timestamp("us", tz="UTC"))})


@pytest.mark.parametrize(
    ("days", "missing", "features"),
    [
        (24, 0, ["t:hour_sin", "t:hour_cos", "t:day_sin", "t:day_cos"]),
        (15, 0, ["t:hour_sin", "t:hour_cos"]),
        (15, 9, ["t:hour_sin", "t:hour_cos", "t=missing"]),
        (2, 9, ["t=missing"]),
    ],
)
def test_rhythms_are_read_where_the_rows_cover_them_three_times(days, missing, features):
    first = dt.datetime(2026, 11, 23, 6, tzinfo=dt.UTC)
    table = _moments(first, dt.timedelta(days=days), missing=missing)
    fitted = fit_preprocessing(table, _schema(t="datetime"))
    assert list(fitted.features) == features
    matrix = encode(fitted, table)
    assert matrix.shape == (ROWS + missing, len(features))
    if missing:
        assert matrix[:, -1].tolist() == [0.0] * ROWS + [1.0] * missing


def test_times_of_less_than_three_days_are_no_feature():
    first = dt.datetime(2026, 11, 23, 6, tzinfo=dt.UTC)
    table = _moments(first, dt.timedelta(days=2)).append_column("a", _numbers(range(ROWS)))
    fitted = fit_preprocessing(table, _schema(t="datetime", a="numeric"))
    assert fitted.features == ("a",)
    # One date of long ago makes no month of two days.
    ancient = pa.table({"t": pa.array([dt.datetime(1970, 1, 1, tzinfo=dt.UTC)], table["t"].type)})
    longer = pa.concat_tables([table, ancient.append_column("a", _numbers([0]))])
    assert fit_preprocessing(longer, _schema(t="datetime", a="numeric")).features == ("a",)


def test_a_part_reads_the_rhythms_that_all_rows_tell():
    schema = _schema(t="datetime", a="numeric")
    first = dt.datetime(2026, 11, 23, 6, tzinfo=dt.UTC)
    long = _moments(first, dt.timedelta(days=24)).append_column("a", _numbers(range(ROWS)))
    short = _moments(first, dt.timedelta(days=2)).append_column("a", _numbers(range(ROWS)))
    whole, brief = fit_preprocessing(long, schema), fit_preprocessing(short, schema)
    assert fit_preprocessing(long.slice(0, 12), schema, part_of=whole).features == whole.features
    assert fit_preprocessing(long, schema, part_of=brief).features == ("a",)


def test_columns_that_never_vary_are_dropped():
    table = pa.table(
        {
            "a": _numbers(range(ROWS)),
            "same": _numbers([5.0] * ROWS),
            "empty": _numbers([None] * ROWS),
            "each": [f"id{i}" for i in range(ROWS)],
            "no": pa.array([False] * ROWS),
        }
    )
    kinds = {"each": "categorical", "no": "boolean"}
    schema = _schema(**{name: kinds.get(name, "numeric") for name in table.column_names})
    assert fit_preprocessing(table, schema).features == ("a",)


def test_a_constant_that_is_sometimes_missing_is_kept():
    table = pa.table({"a": _numbers([5.0] * 30 + [None] * 10)})
    assert fit_preprocessing(table, _schema(a="numeric")).features == ("a", "a=missing")


def test_a_missing_boolean_is_a_level_of_its_own():
    table = pa.table({"b": pa.array([True] * 20 + [False] * 10 + [None] * 10)})
    fitted = fit_preprocessing(table, _schema(b="boolean"))
    rarity = encode(fitted, table)[:, 0]
    assert rarity[0] == 0.0
    assert rarity[20] == rarity[-1] > 0.5


def test_column_order_and_extra_columns_do_not_matter():
    table = pa.table({"a": _numbers(range(ROWS)), "b": _numbers(np.arange(ROWS) ** 2)})
    fitted = fit_preprocessing(table, _schema(a="numeric", b="numeric"))
    other = table.select(["b", "a"]).append_column("extra", pa.nulls(ROWS))
    np.testing.assert_array_equal(encode(fitted, other), encode(fitted, table))


def test_the_matrix_is_contiguous_also_for_no_rows_and_chunks():
    table = pa.table({"a": _numbers(range(ROWS)), "c": ["x", "y", "x", "x"] * 10})
    fitted = fit_preprocessing(table, _schema(a="numeric", c="categorical"))
    assert encode(fitted, table.slice(0, 0)).shape == (0, 2)
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7)])
    X = encode(fitted, chunked)
    assert X.T.flags.c_contiguous
    np.testing.assert_array_equal(X, encode(fitted, table))


def test_references_are_rows_spread_over_the_table():
    many = 10_000
    table = pa.table({"a": _numbers(range(many)), "b": _numbers(range(0, -many, -1))})
    references = fit_preprocessing(table, _schema(a="numeric", b="numeric")).references
    assert references.shape == (256, 2)
    assert references[[0, -1]].tolist() == [[0, 0], [many - 1, 1 - many]]
    np.testing.assert_array_equal(references[:, 0], -references[:, 1])
    assert np.diff(references[:, 0]).max() < 2 * many / 256


def test_a_missing_column_is_named():
    table = pa.table({"a": _numbers(range(ROWS)), "b": _numbers(range(ROWS))})
    fitted = fit_preprocessing(table, _schema(a="numeric", b="numeric"))
    with pytest.raises(DataRejectedError, match="column missing from the data: b"):
        encode(fitted, table.select(["a"]))


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_too_few_rows_cannot_be_learned_from(rows):
    table = pa.table({"a": _numbers(range(rows))})
    with pytest.raises(NotTrainableError, match=f"{rows} rows are too few") as error:
        fit_preprocessing(table, _schema(a="numeric"))
    assert error.value.hint


def test_nothing_that_varies_cannot_be_learned_from():
    table = pa.table({"a": _numbers([1.0] * ROWS)})
    with pytest.raises(NotTrainableError, match="no usable feature"):
        fit_preprocessing(table, _schema(a="numeric"))
    with pytest.raises(NotTrainableError, match="declares no"):
        fit_preprocessing(table, _schema())


def test_rare_flags_and_levels_may_not_be_scaled_up_while_numbers_may():
    table = pa.table(
        {
            "n": _numbers([None] * 4 + list(range(196))),
            "b": [True] * 4 + [False] * 196,
            "t": pa.array([i * 3_600_000_000 for i in range(0, 800, 4)], pa.timestamp("us", "UTC")),
        }
    )
    fitted = fit_preprocessing(table, _schema(n="numeric", b="boolean", t="datetime"))
    assert dict(zip(fitted.features, fitted.floors, strict=True)) == {
        "n": 0.0, "n=missing": 0.7, "b:rarity": 1.0,
        "t:hour_sin": 1.0, "t:hour_cos": 1.0, "t:day_sin": 1.0, "t:day_cos": 1.0,
    }  # fmt: skip


def test_a_common_level_of_a_tenth_of_the_rows_does_not_fill_the_alerts():
    from pynomaly.application.ensemble import fit_detector
    from pynomaly.application.scoring_rows import score_members
    from pynomaly.infrastructure.kernels import FrozenKernels
    from pynomaly.infrastructure.pyod.fitter import PyodFitter

    rng = np.random.default_rng(0)
    values = rng.normal(50, 5, (800, 4))
    values[:4, :2] += 60
    table = pa.table(
        {
            **{f"x{i}": values[:, i] for i in range(4)},
            "country": rng.choice(["DE", "FR", "US"], 800, p=[0.6, 0.3, 0.1]),
        }
    )
    kinds = {f"x{i}": "numeric" for i in range(4)}
    fitted = fit_preprocessing(table, _schema(**kinds, country="categorical"))
    kernels = FrozenKernels()
    members = fit_detector(
        "self_cleaning", {}, encode(fitted, table),
        fitter=PyodFitter(kernels), kernels=kernels, seed=0, floors=fitted.floors,
    )  # fmt: skip
    scores = score_members(members, encode(fitted, table), kernels)
    assert set(np.argsort(-scores)[:4]) == {0, 1, 2, 3}
