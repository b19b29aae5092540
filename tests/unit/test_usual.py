"""What is said to be usual is true of the training rows."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pynomaly.application.preprocessing import fit_preprocessing
from pynomaly.application.usual import cell_text, cells_told, shares_as_unusual
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.encodings import Encoding, NumericEncoding

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


def encoding(kind: str, cells: pa.Array) -> Encoding:
    table = pa.table({"c": cells})
    [found] = fit_preprocessing(table, Schema((Column("c", kind),))).encodings  # type: ignore[arg-type]
    return found


def told(found: Encoding, cell: object, direction: int = 0, similar: float = 0.0) -> list[str]:
    """Return a cell as text, and what is told of it."""
    kind = pa.float64() if isinstance(found, NumericEncoding) else None
    cells = pa.chunked_array([pa.array([cell], kind)])
    written, text = cells_told(found, cells, np.array([direction], np.int8), np.array([similar]))
    return [*written, *text]


def usual_text(found: Encoding, cell: object) -> str:
    return told(found, cell)[1]


def share(found: Encoding, cell: object, kind: pa.DataType) -> float:
    return float(shares_as_unusual(found, pa.chunked_array([pa.array([cell], kind)]))[0])


numbers = st.lists(
    st.sampled_from([0.0, 1.0, 2.0]) | st.floats(-1e6, 1e6, width=32), min_size=10, max_size=60
).filter(lambda values: len(set(values)) > 1)


@given(numbers, st.floats(-2e6, 2e6))
@example([0.0] * 19 + [5.0], 3.0)
@example([float(i) for i in range(20)], 19.0)
def test_at_most_the_stated_share_of_training_numbers_is_as_far_out(
    values: list[float], cell: float
) -> None:
    found = encoding("numeric", pa.array(values, pa.float64()))

    stated = share(found, cell, pa.float64())

    known = np.array(values)
    exact = min((known >= cell).mean(), (known <= cell).mean())
    assert exact <= stated + 1e-12
    assert stated > 0 or exact == 0


@given(numbers, st.floats(-2e6, 2e6))
def test_sentences_about_numbers_are_true(values: list[float], cell: float) -> None:
    """Bounds may be rounded away from the rows, never into them."""
    text = usual_text(encoding("numeric", pa.array(values, pa.float64())), cell)
    known = np.array(values)

    for percent, side, bound in re.findall(
        r"([\d.]+) % (?:of rows )?are at (most|least) (\S+)", text
    ):
        limit = float(bound.rstrip(",").replace(",", ""))
        inside = known <= limit if side == "most" else known >= limit
        assert inside.mean() >= float(percent) / 100 - 1e-12, text
    for side, bound in re.findall(r"no row in training is (above|below) (\S+)", text):
        limit = float(bound.rstrip(",").replace(",", ""))
        assert not (known > limit if side == "above" else known < limit).any(), text
    if between := re.search(r"half of rows lie between (\S+) and (\S+)", text):
        low, high = (float(bound.rstrip(",").replace(",", "")) for bound in between.groups())
        assert ((known >= low) & (known <= high)).mean() >= 0.5, text


AMOUNTS = pa.array([float(i) for i in range(1, 1_001)])


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (9_450.0, "no row in training is above 1,000, 99 % are at most 990"),
        (993.5, "99 % of rows are at most 990"),
        (960.0, "95 % of rows are at most 950"),
        (-5.0, "no row in training is below 1, 99 % are at least 10"),
        (8.0, "99 % of rows are at least 10"),
        (500.0, "at least half of rows lie between 250 and 750"),
        (None, "never missing in training, at least half of rows lie between 250 and 750"),
    ],
)
def test_a_number_is_set_against_the_numbers_of_training(cell: float | None, text: str) -> None:
    assert usual_text(encoding("numeric", AMOUNTS), cell) == text


def test_numbers_at_the_edge_of_what_floats_hold_are_spelled() -> None:
    tiny = encoding("numeric", pa.array([i * 5e-324 for i in range(20)] + [1.0] * 20))

    assert usual_text(tiny, 0.5) == "at least half of rows lie between 4.4e-323 and 1"
    assert usual_text(tiny, -1.0).startswith("no row in training is below 0")


COUNTRIES = pa.array(["DE"] * 610 + ["FR"] * 370 + [None] * 18 + ["XX"] * 2)


@pytest.mark.parametrize(
    ("cell", "text", "expected"),
    [
        ("XX", "seen in 0.2 % of rows, usually DE (61 %)", 0.002),
        ("QQ", "never seen in training, usually DE (61 %)", 0.0),
        (None, "missing in 1.8 % of rows, usually DE (61 %)", 0.02),
        ("DE", "as frequent as any: 61 % of rows", 1.0),
    ],
)
def test_a_level_is_set_against_the_usual_one(cell: str | None, text: str, expected: float) -> None:
    found = encoding("categorical", COUNTRIES)

    assert usual_text(found, cell) == text
    assert share(found, cell, pa.string()) == pytest.approx(expected)


def test_a_level_beyond_those_kept_is_not_called_unseen() -> None:
    levels = [f"l{i:04}" for i in range(1_100)]
    found = encoding("categorical", pa.array(["usual"] * 200 + levels))

    for level in ("l1099", None):
        assert usual_text(found, level) == (
            "not among the 1,000 most frequent levels, seen in at most 0.0769 % of rows, "
            "usually usual (15.4 %)"
        )
    for level in ("l0000", "l1099"):
        assert share(found, level, pa.string()) == pytest.approx(1_100 / 1_300)
    assert share(found, "usual", pa.string()) == pytest.approx(1.0)


def test_truth_values_are_named_as_in_the_data() -> None:
    found = encoding("boolean", pa.array([True] * 99 + [False]))

    assert usual_text(found, False) == "seen in 1 % of rows, usually true (99 %)"
    assert share(found, False, pa.bool_()) == pytest.approx(0.01)


def times(*offsets: timedelta) -> pa.Array:
    return pa.array([MONDAY + offset for offset in offsets], pa.timestamp("us", "UTC"))


def test_a_time_is_set_against_the_usual_hour_or_weekday_whichever_is_stranger() -> None:
    workdays = [
        timedelta(weeks=w, days=d, hours=h) for w in range(20) for d in range(5) for h in (9, 10)
    ]
    found = encoding("datetime", times(*workdays, timedelta(days=5, hours=9), timedelta(hours=3)))

    sunday, night = MONDAY + timedelta(days=6, hours=9), MONDAY + timedelta(hours=3, minutes=12)

    assert usual_text(found, sunday) == "no row falls on a Sunday, most on a Monday (20.3 %)"
    assert usual_text(found, night) == (
        "0.495 % of rows fall between 03:00 and 03:59 UTC, most between 09:00 and 09:59 UTC (50 %)"
    )
    assert share(found, sunday, pa.timestamp("us", "UTC")) == 0.0
    assert share(found, night, pa.timestamp("us", "UTC")) == pytest.approx(1 / 202)
    assert usual_text(found, None) == (
        "never missing in training, most between 09:00 and 09:59 UTC (50 %) and "
        "on a Monday (20.3 %)"
    )


def test_of_a_few_days_the_weekday_is_not_told() -> None:
    days = [timedelta(days=d, hours=h) for d in range(5) for h in (9, 10)]
    found = encoding("datetime", times(*days * 10, timedelta(hours=3)))
    sunday = MONDAY + timedelta(days=6, hours=9)

    assert usual_text(found, sunday) == (
        "about as frequent as any: 49.5 % of rows fall between 09:00 and 09:59 UTC"
    )
    assert share(found, sunday, pa.timestamp("us", "UTC")) == pytest.approx(1)
    assert usual_text(found, None).endswith(", most between 09:00 and 09:59 UTC (49.5 %)")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (9450.0, "9,450"),
        (1234567.25, "1,234,567"),
        (1e300, "1e+300"),
        (-0.00012345678, "-0.000123457"),
        (float("nan"), "missing"),
        (MONDAY, "2024-01-01 00:00 UTC"),
        ("x" * 100, "x" * 79 + "…"),
    ],
)
def test_cells_read_well(cell: object, text: str) -> None:
    assert cell_text(cell) == text


@given(
    st.lists(st.floats(-1e9, 1e9) | st.floats(1_000, 1_020), min_size=10, max_size=40).filter(
        lambda values: len(set(values)) > 1
    ),
    st.floats(-2e9, 2e9) | st.floats(1_000, 1_020),
    st.sampled_from([-1, 0, 1]),
)
@example([1013.2, 1013.4, 1012.9, *[1013.0 + i / 100 for i in range(20)]], 1013.42, 1)
@example([1_000_000.0 + i / 10_000 for i in range(2_000)], 1_000_000.19995, 1)
@example([12_345.635] * 3 + [12_345.0 + i / 100 for i in range(63)], 12_345.6351, 1)
@example([19_999_440.0] * 3 + [float(i) for i in range(500)], 19_999_441.0, 1)
@example([230.0] * 5 + [0.0] * 5, float(np.nextafter(230.0, 231)), 1)
def test_a_number_lies_beyond_the_bound_it_is_set_against(
    values: list[float], cell: float, direction: int
) -> None:
    found = encoding("numeric", pa.array(values, pa.float64()))
    written, text = told(found, cell, direction)

    bound = re.search(r"(?:rows are at (most|least)|is (above|below)) (\S+)", text)
    if bound:
        limit = float(bound[3].rstrip(",").replace(",", ""))
        number_told = float(written.replace(",", ""))
        assert not written.endswith(".0")
        for number in (cell, number_told):
            high = bound[1] == "most" or bound[2] == "above"
            assert number > limit if high else number < limit, f"{written} — {text}"


def test_many_numbers_are_told_as_each_is_alone() -> None:
    found = encoding("numeric", pa.array([1000 + i / 7 for i in range(200)]))
    cells = pa.chunked_array([[1028.43, 1028.5, 990.0, None, 1015.0, 1028.4286, 1e9]])
    directions = np.array([1, -1, -1, 0, 1, 1, 1], dtype=np.int8)

    similar = np.arange(7.0)
    values, texts = cells_told(found, cells, directions, similar)

    each = zip(cells.to_pylist(), directions.tolist(), similar.tolist(), strict=True)
    assert texts == [told(found, *one)[1] for one in each]
    assert values == [
        "1,028.43",
        "1,028.5",
        "990",
        "missing",
        "1,015",
        "1,028.4286",
        "1,000,000,000",
    ]
    assert texts[1] == "low beside the row's other values, similar rows have about 1"
    assert texts[4] == "high beside the row's other values, similar rows have about 4"


def test_numbers_that_rounding_would_make_equal_are_written_out() -> None:
    found = encoding("numeric", pa.array([1000 + i / 7 for i in range(200)]))
    assert told(found, 1013.0005, 1, 1012.9999) == [
        "1,013.0005",
        "high beside the row's other values, similar rows have about 1,012.9999",
    ]


def test_numbers_too_large_to_square_are_as_far_out_as_each_other() -> None:
    found = encoding("numeric", pa.array([*map(float, range(1_000)), 1e300, 1e308]))
    for cell in (1e30, 1e300, 1e308):
        assert usual_text(found, cell) == "99.5 % of rows are at most 996"
        assert share(found, cell, pa.float64()) == pytest.approx(0.005)


def test_a_bound_is_rounded_as_it_is_written_and_not_as_it_is_stored() -> None:
    """The binary 0.621 lies a little below, the binary 7.956 a little above."""
    found = encoding("numeric", pa.array([0.621, *np.linspace(1, 2, 998).tolist(), 7.956]))

    assert usual_text(found, 0.1).startswith("no row in training is below 0.621,")
    assert usual_text(found, 9.0).startswith("no row in training is above 7.956,")
