"""Missing numbers are told from the row's other values."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.datasets import Column, Schema
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod import PyodFitter

SCHEMA = Schema((*(Column(name, "numeric") for name in "abc"), Column("k", "categorical")))
KERNELS = FrozenKernels()


def _table(rows: int = 1_000, gaps: float = 0.05, seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    """Return three columns that go together, one with gaps, and what was in them."""
    rng = np.random.default_rng(seed)
    warmth = rng.normal(20, 5, rows)
    columns = {name: warmth + rng.normal(0, 0.2, rows) for name in "ab"}
    columns["c"] = 100 - 2 * warmth + rng.normal(0, 0.5, rows)
    known = columns["c"].copy()
    columns["c"][rng.random(rows) < gaps] = np.nan
    cells = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    cells["k"] = pa.array(rng.choice([*"xxy"], rows))
    return pa.table(cells), known


@pytest.fixture(scope="module")
def learned():
    return fit_preprocessing(_table()[0], SCHEMA)


def test_a_missing_number_is_what_the_others_tell(learned):
    table, known = _table(500, 0.2, seed=1)
    missing = table["c"].is_null().to_numpy()
    X = encode(learned, table)
    # At the ends it stays within what 98 % of training rows have.
    assert np.median(np.abs(X[missing, 2] - known[missing])) < 1
    assert np.abs(X[missing, 2] - known[missing]).max() < 15
    np.testing.assert_array_equal(X[~missing, 2], known[~missing])
    np.testing.assert_array_equal(X[:, 3], missing)


def test_reference_rows_hold_what_is_told(learned):
    gaps = learned.references[:, 3] == 1
    assert gaps.any()
    told = 100 - 2 * learned.references[gaps, 0]
    assert np.median(np.abs(learned.references[gaps, 2] - told)) < 1


@given(st.lists(st.integers(0, 199), min_size=1, max_size=30))
def test_a_row_is_told_the_same_in_any_batch(learned, rows):
    table = _table(200, 0.3, seed=2)[0]
    whole = encode(learned, table)
    np.testing.assert_array_equal(encode(learned, table.take(pa.array(rows))), whole[rows])


@pytest.mark.parametrize("value", [None, 1e300, -1e300, 0.0])
def test_whatever_the_others_are_the_guess_is_ordinary(learned, value):
    cells = {name: pa.array([value], pa.float64()) for name in "ab"}
    table = pa.table(
        {**cells, "c": pa.array([None], pa.float64()), "k": pa.array([None], pa.string())}
    )
    guess = encode(learned, table)[0, 2]
    known = _table()[0]["c"].drop_null().to_numpy()
    lower, upper = np.quantile(known, [0.01, 0.99], method="inverted_cdf")
    assert lower <= guess <= upper


def _gaps(table: pa.Table, names: str, gaps: np.ndarray) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """Return the table without some cells, and what was in all of them."""
    known = {name: table[name].to_numpy() for name in names}
    for name in names:
        cells = pa.array(np.where(gaps, np.nan, known[name]), from_pandas=True)
        table = table.set_column(table.column_names.index(name), name, cells)
    return table, known


@pytest.mark.parametrize("gaps", [0.05, 0.6])
@pytest.mark.parametrize("names", ["c", "bc"])
def test_columns_that_are_missing_together_are_told_from_those_that_are_there(names, gaps):
    """A weight given to another missing column would leave half of the guess to its median."""
    table = _table(gaps=0.0)[0]
    missing = np.random.default_rng(1).random(len(table)) < gaps
    table, known = _gaps(table, names, missing)
    X = encode(fit_preprocessing(table, SCHEMA), table)
    places = {"b": 1, "c": 3} if len(names) > 1 else {"c": 2}
    for name, place in places.items():
        errors = np.abs(X[missing, place] - known[name][missing])
        assert np.median(errors) < (1 if name == "c" else 0.5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-300, 1e-280, 1e-20, 1.0, 1e29])
def test_a_guess_is_finite_whatever_the_magnitudes(scale):
    table = _table()[0]
    for place, (name, sign) in enumerate([("a", 1), ("b", -1)]):
        table = table.set_column(place, name, pa.array(table[name].to_numpy() * scale * sign))
    new = {
        "a": [1e30, 1e300, -1e30, 0.0], "b": [1e30, 1e300, 1e30, 0.0], "k": ["x"] * 4,
        "c": pa.array([None] * 4, pa.float64()),
    }  # fmt: skip
    assert np.isfinite(encode(fit_preprocessing(table, SCHEMA), pa.table(new))).all()


def test_a_number_of_a_column_of_whole_numbers_is_whole():
    """Beside {1, 2, 3} a guess of 2.004 would be where no row is."""
    table, known = _table()
    stars = np.clip(np.rint(known / 15), 1, 7)
    table = table.set_column(2, "c", pa.array(stars))
    missing = np.random.default_rng(1).random(len(table)) < 0.1
    table, _ = _gaps(table, "c", missing)
    guesses = encode(fit_preprocessing(table, SCHEMA), table)[missing, 2]
    assert len(np.unique(guesses)) > 2
    assert (guesses == np.rint(guesses)).all()
    assert np.mean(np.abs(guesses - stars[missing]) <= 1) > 0.95


def test_a_column_of_which_hardly_a_value_is_known_is_filled_by_its_median():
    table, _ = _gaps(_table(gaps=0.0)[0], "c", np.arange(1_000) >= 4)
    preprocessing = fit_preprocessing(table, SCHEMA)
    assert preprocessing.imputation is None
    assert (encode(preprocessing, table)[4:, 2] == preprocessing.encodings[2].fill).all()


def test_ten_features_tell_a_number_however_wide_the_table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 1)) + 0.5 * rng.normal(size=(500, 30))
    X[::20, 0] = np.nan
    names = [f"x{i}" for i in range(30)]
    table = pa.table({n: pa.array(X[:, i], from_pandas=True) for i, n in enumerate(names)})
    found = fit_preprocessing(table, Schema(tuple(Column(n, "numeric") for n in names)))
    assert (found.imputation.telling >= 0).sum() == 10


def test_a_few_enormous_values_do_not_spoil_the_guesses():
    table, known = _table(gaps=0.0)
    a = table["a"].to_numpy().copy()
    a[::100] *= 1e6
    table = table.set_column(0, "a", pa.array(a)).select(["a", "c"])
    missing = np.arange(1_000) % 20 == 3
    table, _ = _gaps(table, "c", missing)
    schema = Schema((Column("a", "numeric"), Column("c", "numeric")))
    guesses = encode(fit_preprocessing(table, schema), table)[missing, 1]
    assert np.median(np.abs(guesses - known[missing])) < 2  # the median would be off by 7


def test_without_gaps_in_training_nothing_is_learnt():
    assert fit_preprocessing(_table(gaps=0.0)[0], SCHEMA).imputation is None


def test_an_only_column_is_filled_by_its_median():
    table = _table()[0].select(["c"])
    preprocessing = fit_preprocessing(table, Schema((Column("c", "numeric"),)))
    assert preprocessing.imputation is None
    missing = table["c"].is_null().to_numpy()
    assert (encode(preprocessing, table)[missing, 0] == np.nanmedian(table["c"])).all()


def test_rows_with_gaps_are_not_the_strangest_of_a_table(learned):
    """Filled by the median, all of the 1 % that lead were rows with a gap."""
    table = _table(3_000, seed=3)[0]
    preprocessing = fit_preprocessing(table, SCHEMA)
    X = encode(preprocessing, table)
    members = fit_detector(
        "self_cleaning", {"rounds": 1}, X, fitter=PyodFitter(KERNELS), kernels=KERNELS, seed=0,
        floors=preprocessing.floors,
    )  # fmt: skip
    top = np.argsort(-score_members(members, X, KERNELS))[:30]
    assert table["c"].is_null().to_numpy()[top].mean() < 0.3


def test_a_gap_in_a_column_of_mostly_one_value_is_this_value():
    rng = np.random.default_rng(0)
    flag = (rng.random(1_000) < 0.1).astype(float)
    gaps = rng.random(1_000) < 0.05
    cells = pa.array(np.where(gaps, np.nan, flag), from_pandas=True)
    table = pa.table(
        {"x": flag + rng.normal(size=1_000), "y": rng.normal(size=1_000), "flag": cells}
    )
    schema = Schema(tuple(Column(name, "numeric") for name in ("x", "y", "flag")))
    assert (encode(fit_preprocessing(table, schema), table)[gaps, 2] == 0).all()


@pytest.mark.parametrize("gaps", [0.0, 0.05])
def test_a_row_of_which_all_is_missing_is_no_ordinary_row(gaps):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_000, 10))
    X[rng.random(X.shape) < gaps] = np.nan
    X[7] = np.nan
    names = [f"x{i}" for i in range(10)]
    table = pa.table({n: pa.array(X[:, i], from_pandas=True) for i, n in enumerate(names)})
    preprocessing = fit_preprocessing(table, Schema(tuple(Column(n, "numeric") for n in names)))
    encoded = encode(preprocessing, table)
    members = fit_detector(
        "self_cleaning", {"rounds": 1}, encoded, fitter=PyodFitter(KERNELS), kernels=KERNELS,
        seed=0, floors=preprocessing.floors,
    )  # fmt: skip
    scores = score_members(members, encoded, KERNELS)
    assert (scores > scores[7]).sum() < 20  # 1 %
