import datetime as dt
import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pynomaly.application.cells import plain, plain_type, read_numbers
from pynomaly.application.conform import conform, conformed_schema
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.sources import SourceSpec


def pipeline(*columns, ids=(), label=None):
    return Pipeline("p", SourceSpec("x.csv"), Schema(columns), id_columns=ids, label_column=label)


def raw(**columns):
    rows = len(next(iter(columns.values())))
    return pa.table({"row_id": [f"x.csv#{i + 1}" for i in range(rows)], **columns})


def read(kind, cells, *, nullable=True):
    table, failures = conform(raw(c=cells), pipeline(Column("c", kind, nullable)))
    return table["c"].to_pylist(), [(f.position, f.reason) for f in failures]


def utc(*parts):
    return dt.datetime(*parts, tzinfo=dt.UTC)


def test_columns_come_out_in_schema_order_after_row_id_and_ids():
    job = pipeline(
        Column("x", "numeric"), Column("id", "id"), Column("y", "numeric"), ids=("id",), label="y"
    )
    table, failures = conform(raw(y=["1"], extra=["e"], id=["a"], x=["2"]), job)
    assert table.column_names == ["row_id", "id", "x", "y"]
    assert table.schema == conformed_schema(job)
    assert table.to_pylist() == [{"row_id": "x.csv#1", "id": "a", "x": 2.0, "y": 1.0}]
    assert failures == ()


def test_an_absent_column_is_missing_throughout_without_failing_every_row():
    table, failures = conform(raw(x=["1"]), pipeline(Column("gone", "numeric", nullable=False)))
    assert table["gone"].to_pylist() == [None]
    assert failures == ()


def test_texts_are_read_as_numbers():
    values, failures = read("numeric", ["1", " -2.5 ", "+3", "1e308", "NaN", "NA", None])
    assert values == [1.0, -2.5, 3.0, 1e308, None, None, None]
    assert failures == []


def test_cells_that_are_no_finite_number_fail_with_the_value_found():
    values, failures = read("numeric", ["abc", "1,000", "inf", "-Infinity", "1e999", "2"])
    assert values == [None, None, None, None, None, 2.0]
    assert failures == [
        (0, "c: 'abc' is not a number"),
        (1, "c: '1,000' is not a number"),
        (2, "c: 'inf' is not a finite number"),
        (3, "c: '-Infinity' is not a finite number"),
        (4, "c: '1e999' is not a finite number"),
    ]


def test_typed_infinities_fail_and_nan_is_missing():
    values, failures = read("numeric", pa.array([np.inf, -np.inf, np.nan, 1e308]))
    assert values == [None, None, None, 1e308]
    assert failures == [
        (0, "c: inf is not a finite number"),
        (1, "c: -inf is not a finite number"),
    ]


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([1, 2], pa.int8()),
        pa.array([1, 2], pa.uint64()),
        pa.array([1.0, 2.0], pa.float32()),
        pa.array(np.array([1, 2], dtype=np.float16)),
        pa.array([Decimal("1.0"), Decimal("2.0")]),
        pa.array(["1", "2"], pa.large_string()),
        pa.array(["1", "2"], pa.string_view()),
        pa.array(["1", "2"]).dictionary_encode(),
        pa.array([b"1", b"2"]),
        pa.chunked_array([["1"], [], ["2"]]),
    ],
    ids=lambda cells: str(cells.type),
)
def test_every_physical_type_of_a_number_is_read(cells):
    assert read("numeric", cells) == ([1.0, 2.0], [])


@pytest.mark.parametrize(
    "cells", [pa.array([True]), pa.array([[1]]), pa.array([dt.date(2024, 1, 1)])]
)
def test_a_retyped_column_fails_cell_by_cell(cells):
    values, ((position, reason),) = read("numeric", cells)
    assert (values, position) == ([None], 0)
    assert reason.endswith("is not a number")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (pa.array([2**53 + 1, -(2**63)]), ["9007199254740993", "-9223372036854775808"]),
        (pa.array([2**64 - 1, 7], pa.uint64()), ["18446744073709551615", "7"]),
        (pa.array([Decimal("12345678901234567890123"), Decimal(5)]), None),
        (pa.array([12.0, -0.0]), ["12", "0"]),
        (pa.array([0.5, 12.25]), ["0.5", "12.25"]),
        (pa.array(["00012", "9007199254740993"]), ["00012", "9007199254740993"]),
        (pa.array([True, False]), ["true", "false"]),
    ],
    ids=["int64", "uint64", "decimal", "whole floats", "floats", "texts", "bool"],
)
def test_ids_keep_every_digit(cells, expected):
    expected = expected or ["12345678901234567890123", "5"]
    assert read("id", cells) == (expected, [])


def test_missing_ids_fail_and_so_do_missing_values_that_must_be_there():
    job = pipeline(Column("id", "id"), Column("x", "numeric", nullable=False), ids=("id",))
    _, failures = conform(raw(id=["a", "", None], x=["1", None, "NaN"]), job)
    assert [(f.position, f.reason) for f in failures] == [
        (1, "id: expected a value, found none"),
        (1, "x: expected a value, found none"),
        (2, "id: expected a value, found none"),
        (2, "x: expected a value, found none"),
    ]


def test_an_unreadable_cell_is_reported_once_even_where_it_must_not_be_missing():
    assert read("numeric", ["abc"], nullable=False)[1] == [(0, "c: 'abc' is not a number")]


def test_truth_values_are_read_in_every_usual_spelling():
    values, failures = read("boolean", ["TRUE", "f", "Yes", "n", "1", "0.0", "", "maybe"])
    assert values == [True, False, True, False, True, False, None, None]
    assert failures == [(7, "c: 'maybe' is not true or false")]
    assert read("boolean", pa.array([1.0, 0.0, np.nan, None])) == ([True, False, None, None], [])
    assert read("boolean", pa.array([1, 2]))[1] == [(1, "c: 2 is not true or false")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-31", utc(2024, 1, 31)),
        ("2024-01-31 10:00", utc(2024, 1, 31, 10)),
        ("2024-01-31T10:00:00.25+02:00", utc(2024, 1, 31, 8, 0, 0, 250_000)),
        ("2024-01-31T10:00:00-0530", utc(2024, 1, 31, 15, 30)),
        ("2024-02-29T23:59:59Z", utc(2024, 2, 29, 23, 59, 59)),
        ("2024/1/5", utc(2024, 1, 5)),
        ("31.01.2024 10:00", utc(2024, 1, 31, 10)),
        ("Wed, 31 Jan 2024 10:00:00 GMT", utc(2024, 1, 31, 10)),
        ("January 31, 2024", utc(2024, 1, 31)),
        ("0001-01-01", utc(1, 1, 1)),
        ("NaT", None),
    ],
)
def test_times_are_read_and_naive_ones_are_utc(text, expected):
    assert read("datetime", [text]) == ([expected], [])


@pytest.mark.parametrize(
    "text",
    ["2024-02-30", "2023-02-29", "03/04/2024", "24:00", "2024-01-01T25:00", "0000-01-01", "x"],
)
def test_what_is_no_time_of_the_calendar_fails(text):
    expected = f"c: {text!r} is not a date or time, e.g. 2024-01-31T10:00:00Z"
    assert read("datetime", [text]) == ([None], [(0, expected)])


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([1_706_695_200], pa.timestamp("s")),
        pa.array([1_706_695_200_000_000_999], pa.timestamp("ns", "Europe/Berlin")),
        pa.array([1_706_695_200_000], pa.timestamp("ms", "UTC")),
    ],
    ids=lambda cells: str(cells.type),
)
def test_typed_times_become_utc_microseconds(cells):
    assert read("datetime", cells) == ([utc(2024, 1, 31, 10)], [])


def test_dates_are_midnight_and_plain_numbers_are_no_times():
    assert read("datetime", pa.array([dt.date(2024, 1, 31)]))[0] == [utc(2024, 1, 31)]
    assert read("datetime", pa.array([1_706_695_200]))[0] == [None]


def test_times_that_no_calendar_holds_fail_instead_of_overflowing():
    values, failures = read("datetime", pa.array([2**60, 0], pa.timestamp("s")))
    assert values == [None, utc(1970, 1, 1)]
    assert [position for position, _ in failures] == [0]


def test_labels_are_zero_one_or_unknown():
    job = pipeline(Column("y", "boolean"), label="y")
    table, failures = conform(raw(y=["1", "0", None, "true", "2"]), job)
    assert table["y"].to_pylist() == [1.0, 0.0, None, 1.0, None]
    assert [f.reason for f in failures] == ["y: '2' is not a label (0, 1 or empty)"]


def test_an_empty_table_conforms():
    job = pipeline(*(Column(k, k) for k in ("numeric", "boolean", "datetime", "categorical")))
    empty = raw(numeric=pa.array([], pa.string())).slice(0, 0)
    for name in ("boolean", "datetime", "categorical"):
        empty = empty.append_column(name, pa.array([], pa.string()))
    table, failures = conform(empty, job)
    assert (table.num_rows, failures) == (0, ())


CELLS = st.one_of(
    st.none(),
    st.sampled_from(["1", "x", "inf", "NaN", "yes", "2024-01-31", "2024-02-30", " 2 ", "nan(1)"]),
    st.text(alphabet="0123456789+-.eEinfatyNT:Z _,", max_size=10),
)


@given(st.lists(CELLS, min_size=1, max_size=12), st.data())
def test_chunks_conform_exactly_as_the_whole(cells, data):
    job = pipeline(*(Column(k, k, nullable=False) for k in ("numeric", "boolean", "datetime")))
    column = pa.array(cells, pa.string())
    whole = raw(numeric=column, boolean=column, datetime=column)
    cut = data.draw(st.integers(0, len(cells)))
    table, failures = conform(whole, job)
    head, head_failures = conform(whole.slice(0, cut), job)
    tail, tail_failures = conform(whole.slice(cut), job)
    assert pa.concat_tables([head, tail]).to_pylist() == table.to_pylist()
    shifted = [(f.position + cut, f.reason) for f in tail_failures]
    parts = [(f.position, f.reason) for f in head_failures] + shifted
    assert parts == [(f.position, f.reason) for f in failures]


@given(st.text(alphabet="0123456789+-.eEinfatyINFTAY()_x", max_size=12))
def test_a_text_reads_as_the_same_number_beside_a_bad_cell(text):
    alone = read_numbers(pa.array([text]))
    beside = read_numbers(pa.array([text, "bad"]))
    assert alone.values[0].as_py() == beside.values[0].as_py()
    assert alone.refused[0] == beside.refused[0]


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        (pa.timestamp("s", "UTC"), 253_402_300_799),
        (pa.timestamp("ms"), 253_402_300_799_999),
        (pa.timestamp("us", "UTC"), 253_402_300_799_999_999),
        (pa.date32(), 2_932_896),
        (pa.date64(), 253_402_214_400_000),
    ],
)
def test_typed_times_end_with_the_year_9999(kind: pa.DataType, last: int) -> None:
    step = 86_400_000 if kind == pa.date64() else 1
    cells = pa.array([last, last + step], pa.int32() if kind == pa.date32() else pa.int64())

    values, failures = read("datetime", cells.cast(kind))

    assert values[0].year == 9999
    assert values[1] is None
    [(position, reason)] = failures
    assert position == 1
    assert reason.startswith("c: 10000-01-01")
    assert reason.endswith("is outside the years 1 to 9999")


def test_uuids_are_read_as_they_are_written_however_they_are_stored():
    keys = [uuid.uuid4() for _ in range(5)]
    cells = pa.array([keys[0].bytes, None, *(key.bytes for key in keys[1:])], pa.uuid())
    written = [str(keys[0]), None, *(str(key) for key in keys[1:])]
    assert plain(cells).to_pylist() == written
    assert plain(cells.slice(1, 3)).to_pylist() == written[1:4]
    chosen = pa.DictionaryArray.from_arrays(pa.array([2, 0, None, 0], pa.int8()), cells)
    assert plain(chosen).to_pylist() == [written[2], written[0], None, written[0]]
    assert plain_type(chosen.type) == plain(chosen).type == pa.string()


def test_truth_values_of_a_byte_are_truth_values():
    cells = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8()))
    assert plain(cells).to_pylist() == [True, False, None]
    assert plain_type(cells.type) == plain(cells).type == pa.bool_()


def test_other_extension_types_are_read_as_they_are_stored():
    cells = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', None]))
    assert plain(cells).to_pylist() == ['{"a": 1}', None]
    assert plain_type(cells.type) == pa.string()
