import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from pynomaly.application.profiling import profile_table, sample_rows
from pynomaly.domain.errors import ConfigurationError

RNG = np.random.default_rng(0)


def profiled(cells, name="c", rows=None, **named):
    table = pa.table({name: cells})
    return profile_table(table, rows or table.num_rows, **named)[name]


def texts(values):
    return [str(value) for value in values]


@pytest.mark.parametrize(
    ("cells", "kind", "role"),
    [
        (texts(RNG.normal(size=200)), "numeric", "feature"),
        (["0", "1"] * 50, "numeric", "feature"),
        (["true", "False"] * 50, "boolean", "feature"),
        (["yes", "no", None] * 50, "boolean", "feature"),
        (["2024-01-31", "2024-02-01T10:00:00Z"] * 50, "datetime", "feature"),
        (["red", "green", "blue"] * 50, "categorical", "feature"),
        (["x"] * 100, "constant", "dropped"),
        (["7"] * 100, "constant", "dropped"),
        ([7, None] * 50, "constant", "dropped"),
        (pa.nulls(100), "constant", "dropped"),
        (pa.nulls(100, pa.string()), "constant", "dropped"),
        ([np.nan] * 100, "constant", "dropped"),
        ([f"{i:032x}" for i in range(100)], "id", "dropped"),
        ([f"the customer called about {i}" for i in range(100)], "text", "dropped"),
        ([[i] for i in range(100)], "text", "dropped"),
        (RNG.normal(size=100), "numeric", "feature"),
        (RNG.integers(0, 10**6, 100), "numeric", "feature"),
        ([True, False] * 50, "boolean", "feature"),
        ([dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2)] * 50, "datetime", "feature"),
        (pa.array(["a", "b"] * 50).dictionary_encode(), "categorical", "feature"),
        (["only one row"], "constant", "dropped"),
    ],
)
def test_the_kind_of_a_column_is_told_from_its_cells(cells, kind, role):
    found = profiled(cells)
    assert (found.kind, found.role) == (kind, role)
    assert bool(found.reason) == (role == "dropped")


def test_columns_that_look_like_ids_are_dropped_until_they_are_named():
    codes = [f"T{i}" for i in range(100)]
    assert profiled(codes).reason == "looks like an identifier; name it with --id if it is one"
    named = profiled(codes, id_columns=("c",))
    assert (named.kind, named.role) == ("id", "id")


def test_row_numbers_and_id_numbers_are_no_quantities():
    assert profiled(texts(range(1, 101))).kind == "id"
    assert profiled(RNG.permutation(10**6)[:100], name="customer_id").kind == "id"
    assert profiled(RNG.permutation(10**6)[:100], name="amount").kind == "numeric"
    assert profiled(RNG.integers(0, 5, 100), name="merchant_id").kind == "categorical"


def test_a_few_odd_cells_leave_a_column_numeric_and_are_noted_with_an_example():
    found = profiled([*texts(RNG.normal(size=199)), "abc"])
    assert found.kind == "numeric"
    assert any("mixed types" in note and "'abc'" in note for note in found.notes)
    many = profiled([*texts(RNG.normal(size=190)), *["abc"] * 10])
    assert many.kind != "numeric"
    assert any("looks numeric" in note for note in many.notes)


@pytest.mark.parametrize("written", ["{:,}", "{},5", "€{}.50", "{} %", "{:_}.00"])
def test_numbers_in_a_writing_that_is_not_read_are_named_with_an_example(written):
    cells = [written.format(number).replace("_", "'") for number in range(1_001, 1_301)]
    found = profiled(cells)
    assert found.kind != "numeric"
    assert found.reason.startswith(f"looks numeric, but {cells[0]!r} is not read as a number")
    few = profiled([*cells[:3]] * 20)
    assert (few.kind, few.reason) == ("categorical", "")
    assert any(repr(cells[0]) in note for note in few.notes)


@pytest.mark.parametrize("written", ["%m/%d/%Y", "%d/%m/%y", "%m-%d-%Y %H:%M"])
def test_dates_that_do_not_tell_day_from_month_are_named_with_an_example(written):
    days = [dt.date(2026, 1, 1) + dt.timedelta(days=i) for i in range(300)]
    cells = [day.strftime(written) for day in days]
    assert profiled(cells).reason == (
        f"looks like dates, but {cells[0]!r} is not read as one: write dates like 2026-01-31"
    )


def test_digits_with_a_zero_in_front_are_codes():
    cells = [f"{code:05}" for code in RNG.choice([742, 1067, 80331, 10115], 200)]
    found = profiled(cells)
    assert (found.kind, found.distinct) == ("categorical", 4)
    assert found.notes[0].startswith("taken for codes because of zeros in front, e.g. '0")
    amounts = profiled([f"{amount:08}" for amount in RNG.permutation(10**6)[:200]], name="amount")
    assert (amounts.kind, amounts.reason[:15]) == ("text", "taken for codes")
    assert profiled([f"{number:05}" for number in range(300)], name="customer_id").kind == "id"
    assert profiled([*texts(RNG.integers(0, 9_000, 199)), "007"]).kind == "numeric"
    assert profiled([*texts(RNG.normal(size=150)), *["007"] * 50]).kind == "numeric"


def test_durations_and_times_of_day_are_seconds():
    spans = pa.array([None, *range(1, 200)], pa.int64())
    for kind in (pa.duration("ms"), pa.time64("us")):
        found = profile_table(pa.table({"t": spans.cast(kind)}), 200)["t"]
        assert found.kind == "numeric"
        assert found.quantiles[-1][1] == 199 / {"ms": 1e3, "us": 1e6}[kind.unit]
        assert "is read in seconds" in found.notes


def test_a_column_called_like_a_value_may_be_a_row():
    for name in ("12.5", "-.5e3", "2026-01-31T10:00"):
        assert "called like a value" in profiled(texts(RNG.normal(size=50)), name=name).notes[0]
    for name in ("2026", "v1.2", "a"):
        assert not profiled(texts(RNG.normal(size=50)), name=name).notes


def test_odd_cells_at_the_beginning_of_a_file_are_as_odd_as_elsewhere():
    odd, numbers = [f"{number} kg" for number in range(300)], texts(range(7, 7 * 70_000, 7))
    assert profiled([*odd, *numbers]).kind == "numeric"
    assert profiled([*odd, *odd, *numbers]).kind != "numeric"  # the most frequent values decide


def test_infinities_and_inexact_integers_are_noted():
    infinite = profiled([*texts(RNG.normal(size=199)), "-inf"])
    assert infinite.kind == "numeric"
    assert any("1 infinite" in note for note in infinite.notes)
    for cells in ([2**53 + 2, 1, 1, 5], ["9007199254740994", "1", "1", "5"]):
        assert any("2^53" in note for note in profiled(cells).notes)
    assert not any("2^53" in note for note in profiled([1e300, 1.0, 1.0]).notes)


def test_missing_values_are_counted_and_many_of_them_noted():
    found = profiled(["1.5", "NA", "", None, "2.5", "nan", None, None])
    assert found.nulls == pytest.approx(6 / 8)
    assert found.column.nullable
    assert any("6 of 8 values are missing" in note for note in found.notes)
    assert not profiled(["1.5", "2.5"]).column.nullable


def test_statistics_of_numbers():
    found = profiled([1, 2, 2, 3, 100], name="amount")
    quantiles = dict(found.quantiles)
    assert (quantiles[0.0], quantiles[0.5], quantiles[1.0]) == (1, 2, 100)
    assert found.top_values[0] == ("2", 2)
    assert found.distinct == 4
    assert found.skew == pytest.approx(1.4996, abs=1e-3)
    assert profiled(["1", "1.0", "2"]).distinct == 2


def test_quantiles_of_times_are_epoch_seconds():
    found = profiled(["1970-01-02", "1970-01-03"])
    assert dict(found.quantiles)[0.0] == 86_400


def test_the_largest_floats_break_nothing():
    found = profiled([1e308, -1e308, 1.0, 2.0, 3.0])
    assert dict(found.quantiles)[1.0] == 1e308
    assert np.isfinite(found.skew)


def test_duplicates_do_not_count_ids():
    table = pa.table({"id": ["a", "b", "c"], "x": [1, 1, 2], "y": ["u", "u", None]})
    assert profile_table(table, 3, id_columns=("id",)).duplicate_rows == 1
    assert profile_table(table.drop_columns(["id"]), 3).duplicate_rows == 1


def test_contamination_follows_robust_z_scores_and_stays_within_its_caps():
    values = RNG.normal(size=1_000)
    values[:20] = 50
    low, high = profile_table(pa.table({"x": values}), 1_000).contamination
    assert low == pytest.approx(0.02)
    assert low <= high <= 0.03
    assert profile_table(pa.table({"c": ["a", "b"]}), 2).contamination == (0.001, 0.001)


def test_named_columns_get_their_roles():
    table = pa.table(
        {"ts": ["2024-01-01", "2024-01-02"], "y": ["0", "1"], "x": [1.0, 2.0], "z": [3.0, 1.0]}
    )
    profile = profile_table(table, 2, time_column="ts", label_column="y", excluded=("z",))
    roles = {column.name: (column.kind, column.role) for column in profile.columns}
    assert roles == {
        "ts": ("datetime", "time"),
        "y": ("numeric", "label"),
        "x": ("numeric", "feature"),
        "z": ("numeric", "dropped"),
    }


def test_a_named_column_that_is_absent_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'txn_id'"):
        profiled(["a"], name="txn_id", id_columns=("txnid",))


def test_a_time_column_without_times_is_refused():
    with pytest.raises(ConfigurationError, match=r"does not hold times, e\.g\. '17'"):
        profiled(["17", "18"], time_column="c")


def test_only_categories_are_fine_and_zero_columns_too():
    assert profiled(["a", "b"] * 10).role == "feature"
    assert profile_table(pa.table({}), 0).columns == ()


def test_a_sample_does_not_depend_on_batching_and_keeps_the_order():
    whole = pa.table({"x": np.arange(1_000)})
    once, seen = sample_rows([whole], 100, seed=3)
    pieces = (whole.slice(start, 7) for start in range(0, 1_000, 7))
    again, seen_again = sample_rows(pieces, 100, seed=3)
    assert once["x"].to_pylist() == again["x"].to_pylist() == sorted(once["x"].to_pylist())
    assert (once.num_rows, seen, seen_again) == (100, 1_000, 1_000)
    other, _ = sample_rows([whole], 100, seed=4)
    assert other["x"].to_pylist() != once["x"].to_pylist()


def test_a_small_stream_is_sampled_whole():
    table = pa.table({"x": [1, 2]})
    assert sample_rows([table, table.slice(0, 0)], 10, seed=0) == (table, 2)
    assert sample_rows([], 10, seed=0)[1] == 0


def test_every_row_is_drawn_equally_often():
    hits = np.zeros(50)
    for seed in range(400):
        drawn, _ = sample_rows([pa.table({"x": np.arange(50)})], 5, seed=seed)
        hits[drawn["x"].to_numpy()] += 1
    # 400 draws of 5 out of 50: 40 each, standard deviation 6
    assert abs(hits - 40).max() < 27
