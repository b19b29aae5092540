"""``pynomaly.detect``: the same engine as the command line, on whatever holds a table."""

import datetime
import importlib.util
import subprocess
import sys
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import pynomaly as pn
from pynomaly.domain.errors import MalformedSourceError, NotTrainableError, OutputExistsError

ROWS, STRANGE = 300, 42
QUICK = {"budget": "quick", "detector": "pca"}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Mixed types with nulls, an index of its own, and one planted anomaly."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "amount": rng.normal(50, 5, ROWS),
            "items": rng.integers(1, 9, ROWS),
            "country": pd.Categorical(rng.choice(["DE", "FR", "US"], ROWS, p=[0.6, 0.3, 0.1])),
            "channel": rng.choice(["web", "shop"], ROWS),
            "vip": rng.random(ROWS) < 0.5,
            "day": [datetime.date(2026, 1, 1) + datetime.timedelta(int(d)) for d in range(ROWS)],
        },
        index=pd.Index([f"order-{i}" for i in range(ROWS)], name="order"),
    )
    data.loc["order-7", ["amount", "channel"]] = None
    data.loc[f"order-{STRANGE}", "amount"] = 500.0
    return data


def test_a_data_frame_keeps_its_index(frame: pd.DataFrame) -> None:
    result = pn.detect(frame, budget="quick")

    assert result.top(1).index.tolist() == [f"order-{STRANGE}"]
    reasons = result.top(1)["reasons"].iloc[0]
    assert reasons[0]["column"] == "amount"
    assert reasons[0]["value"] == "500"
    assert result.top(1)["because"].iloc[0].startswith("amount 500 — ")
    assert len(result.top(ROWS)) == ROWS
    scored = result.to_frame()
    assert scored.index.equals(frame.index)
    assert frame.join(scored).loc[f"order-{STRANGE}", "is_anomaly"]
    uses = {column.name: column.use for column in result.columns}
    assert uses == {
        "amount": "numeric", "items": "numeric", "country": "categorical",
        "channel": "categorical", "vip": "boolean", "day": "datetime",
    }  # fmt: skip


def test_columns_of_extension_types_are_read_as_what_they_say(frame: pd.DataFrame) -> None:
    """UUIDs of a database, periods and the intervals that ``pd.cut`` makes."""
    frame = frame.assign(
        key=[uuid.UUID(int=i) for i in range(ROWS)],
        month=pd.period_range("2000-01", periods=ROWS, freq="D"),
        band=pd.cut(frame["items"], 3),
    )
    uses = {column.name: column.use for column in pn.detect(frame, **QUICK).columns}
    assert (uses["key"], uses["month"], uses["band"]) == ("dropped", "datetime", "categorical")
    keyed = pn.detect(pa.table({**frame[["amount"]], "key": frame["key"]}), id="key", **QUICK)
    assert keyed.top(1)["key"].iloc[0] == str(uuid.UUID(int=STRANGE))


def test_an_id_that_repeats_is_told(frame: pd.DataFrame) -> None:
    keys = [f"k{max(i, 3)}" for i in range(ROWS)]  # the first four rows are called the same
    uses = {c.name: c.why for c in pn.detect(frame.assign(key=keys), id="key", **QUICK).columns}
    assert uses["key"] == (
        f"should identify rows, but {ROWS} rows have {ROWS - 3} different ones; never learnt from"
    )


def test_rows_that_cannot_be_read_are_missing_from_the_frame_and_kept_aside(
    frame: pd.DataFrame,
) -> None:
    broken = frame.astype({"amount": object})
    broken.iloc[5, 0] = "many"
    broken.iloc[6, 0] = np.inf

    result = pn.detect(broken, **QUICK)

    assert len(result.to_frame()) == ROWS - 2
    assert not {"order-5", "order-6"} & set(result.to_frame().index)
    assert result.refused["row_id"].to_pylist() == ["data#6", "data#7"]
    assert "'many' is not a number" in result.refused["reason"][0].as_py()


def scores(data: object) -> list[float]:
    return pn.detect(data, **QUICK).to_frame()["score"].tolist()


def test_every_kind_of_table_gives_the_same_scores(frame: pd.DataFrame) -> None:
    arrow = pa.Table.from_pandas(frame, preserve_index=False)

    class Stream:
        """What polars and others hand over."""

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return arrow.__arrow_c_stream__(requested_schema)

    views = arrow.set_column(3, "channel", arrow["channel"].cast(pa.string_view()))

    assert scores(arrow) == scores(frame)
    assert scores(views) == scores(frame)
    assert scores(Stream()) == scores(frame)


@pytest.mark.skipif(not importlib.util.find_spec("polars"), reason="polars is not installed")
def test_polars_frames_are_taken(frame: pd.DataFrame) -> None:
    import polars

    arrow = pa.Table.from_pandas(frame, preserve_index=False)

    assert scores(polars.DataFrame(arrow)) == scores(frame)


def test_an_array_gives_the_same_scores_as_its_frame() -> None:
    X = np.random.default_rng(1).normal(size=(200, 3))

    assert scores(X) == scores(pd.DataFrame(X, columns=["x0", "x1", "x2"]))


def test_an_array_of_objects_gives_the_same_scores_as_its_frame(frame: pd.DataFrame) -> None:
    frame.loc[::9, "channel"] = None
    mixed = frame.to_numpy()
    assert mixed.dtype == object
    columns = {name: f"x{place}" for place, name in enumerate(frame.columns)}
    assert scores(mixed) == scores(frame.rename(columns=columns))


def test_a_file_gives_the_same_scores_as_its_frame(tmp_path, frame: pd.DataFrame) -> None:
    frame.to_parquet(tmp_path / "orders.parquet", index=False)

    assert scores(tmp_path / "orders.parquet") == scores(frame)


def test_the_same_question_gives_the_same_answer(frame: pd.DataFrame) -> None:
    assert scores(frame) == scores(frame)


def test_the_report_is_one_page_and_never_replaces_a_file_unasked(
    tmp_path, frame: pd.DataFrame
) -> None:
    result = pn.detect(frame, **QUICK)
    page = result.report(tmp_path / "r.html")

    assert "amount 500 — " in page.read_text()
    with pytest.raises(OutputExistsError):
        result.report(page)
    assert result.report(page, overwrite=True) == page
    assert "Stability is not quality" in repr(result)


@pytest.mark.parametrize(
    ("data", "error", "named"),
    [
        ([1, 2, 3], TypeError, "a list is no table"),
        (pd.Series([1, 2, 3]), TypeError, "a Series is no table"),
        (np.zeros(5), ValueError, r"shape \(n, d\)"),
        (np.zeros((5, 2), dtype=complex), ValueError, "complex"),
        (pd.DataFrame(), MalformedSourceError, "0 rows"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), MalformedSourceError, "more than one column"),
        (pd.DataFrame({"a": [1.0] * 30}), NotTrainableError, "no column to learn from"),
    ],
)
def test_what_is_no_table_is_refused_by_name(data: object, error: type, named: str) -> None:
    with pytest.raises(error, match=named):
        pn.detect(data)


def test_importing_pynomaly_imports_nothing_else() -> None:
    program = (
        "import sys, pynomaly; pynomaly.__version__; dir(pynomaly)\n"
        "print([n for n in ('numpy', 'pyarrow', 'pandas', 'sklearn', 'click') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_misspelt_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="detct"):
        pn.detct  # noqa: B018


def test_of_pure_noise_no_more_than_the_budget_is_flagged_in_the_very_rows_it_was_fitted_on():
    noise = np.random.default_rng(3).normal(size=(1_500, 20))
    found = pn.detect(noise, budget="quick", alert_budget=0.02).found
    assert 0 < found.flagged <= 30


@pytest.mark.parametrize("beyond", [253_402_300_800_000_000, 2**62])
def test_a_time_beyond_the_year_9999_is_refused_not_explained(beyond: int) -> None:
    rng = np.random.default_rng(0)
    ticks = [*rng.integers(0, 10**15, ROWS - 1).tolist(), beyond]
    data = pa.table({"at": pa.array(ticks, pa.timestamp("us")), "x": rng.normal(size=ROWS)})

    result = pn.detect(data, time="at", **QUICK)

    assert result.refused["row_id"].to_pylist() == [f"data#{ROWS}"]
    assert "outside the years 1 to 9999" in result.refused["reason"][0].as_py()


@pytest.mark.parametrize("ordinary", [0, 1, 9])
def test_labels_that_leave_nothing_ordinary_are_refused_with_the_way_out(ordinary: int) -> None:
    data = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list("abc"))
    data["bad"] = [0] * ordinary + [1] * (60 - ordinary)

    with pytest.raises(NotTrainableError, match=f"'bad': {ordinary} are left") as refused:
        pn.detect(data, label="bad", **QUICK)

    assert "the other way round" in refused.value.hint


def test_ten_ordinary_rows_are_enough_beside_known_anomalies() -> None:
    data = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list("abc"))
    data["bad"] = [0] * 10 + [1] * 50

    assert len(pn.detect(data, label="bad", **QUICK).to_frame()) == 60
