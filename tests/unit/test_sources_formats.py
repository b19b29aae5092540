"""JSON lines, Excel and Parquet, and how formats are told apart."""

import datetime as dt
import gzip
import json
import os
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook

from pynomaly.domain.errors import (
    ConfigurationError,
    MalformedSourceError,
    SourceChangedError,
    SourceNotFoundError,
    UnsupportedFormatError,
)
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow import jsonl
from pynomaly.infrastructure.arrow.sources import TableSources
from pynomaly.infrastructure.filesystem.files import find_local_files


def refuse(argument):
    raise AssertionError(f"not local: {argument}")


SOURCES = TableSources(local=find_local_files, s3=refuse, sql=refuse)


def read(path, batch_rows=50_000, **options):
    source = SOURCES.open(SourceSpec(str(path), **options))
    batches = list(source.batches(batch_rows))
    rows = [row for batch in batches for row in batch.table.to_pylist()]
    return rows, [bad for batch in batches for bad in batch.malformed], source


@pytest.fixture
def lines(tmp_path):
    def write(*lines, name="data.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def test_json_values_become_strings_that_lose_nothing(lines):
    rows, _, source = read(
        lines(
            '{"id": 9007199254740993, "x": 0.1, "ok": true, "s": "NA", "n": null, "deep": {"a": [1, 0.5]}}',
            '{"id": 2, "x": NaN, "ok": false, "s": "", "deep": "flat", "late": 1e3}',
        )
    )
    assert [name for name, _ in source.columns] == ["id", "x", "ok", "s", "n", "deep", "late"]
    assert {kind for _, kind in source.columns} == {"string"}
    assert rows == [
        {"row_id": "data.jsonl#1", "id": "9007199254740993", "x": "0.1", "ok": "true", "s": "NA",
         "n": None, "deep": '{"a": [1, 0.5]}', "late": None},
        {"row_id": "data.jsonl#2", "id": "2", "x": None, "ok": "false", "s": "", "n": None,
         "deep": "flat", "late": "1000.0"},
    ]  # fmt: skip


def test_lines_that_are_no_object_are_kept_aside_with_their_number(lines):
    rows, malformed, source = read(
        lines('{"a": 1}', "", '{"a": 2', "[1]", '{"a": 3, "a": 4}', "9" * 5000, '{"a": 5}')
    )
    assert [row["row_id"] for row in rows] == ["data.jsonl#1", "data.jsonl#6"]
    assert [(bad.line, bad.reason.split(":")[0]) for bad in malformed] == [
        (3, "no JSON"),
        (4, "expected a JSON object"),
        (5, "no JSON we read"),
        (6, "no JSON we read"),
    ]
    assert malformed[1].text == "[1]"
    assert len(malformed[3].text) == 500
    assert source.snapshot().rows == 6


def test_a_key_unknown_to_the_first_lines_makes_its_line_malformed(lines):
    many = [json.dumps({"a": i}) for i in range(jsonl.HEAD_LINES)]
    rows, malformed, _ = read(lines(*many, '{"a": 1, "new": 2}'))
    assert len(rows) == jsonl.HEAD_LINES
    assert [(bad.line, bad.reason) for bad in malformed] == [
        (
            jsonl.HEAD_LINES + 1,
            "key 'new' is in none of the first 10,000 lines, which tell the columns: one of them has "
            "to have it, null for no value",
        )
    ]


def test_few_long_lines_are_enough_to_tell_the_columns(lines, monkeypatch):
    monkeypatch.setattr(jsonl, "HEAD_CHARACTERS", 100)
    long = json.dumps({"a": "x" * 60})
    rows, malformed, _ = read(lines(long, long, '{"a": 1, "new": 2}', '{"a": 2}'))
    assert len(rows) == 3
    assert [bad.line for bad in malformed] == [3]
    assert "none of the first 2 lines" in malformed[0].reason


def test_a_json_array_is_refused_with_a_hint(lines):
    with pytest.raises(MalformedSourceError, match="no JSON object") as caught:
        read(lines("[", '{"a": 1},', '{"a": 2}', "]"))
    assert "one object on each line" in caught.value.hint


def test_a_gzipped_json_file_reads_alike(tmp_path):
    path = tmp_path / "d.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n{"a": 2}\n'))
    rows, _, _ = read(path)
    assert [row["a"] for row in rows] == ["1", "2"]


def test_an_empty_json_file_is_refused(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text("\n\n")
    with pytest.raises(MalformedSourceError, match=r"d\.jsonl is empty"):
        read(path)


def sheet(path, *rows):
    book = Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def test_the_first_excel_sheet_is_read_with_dates(tmp_path):
    path = sheet(
        tmp_path / "d.xlsx",
        (None, None, None, None),
        ("id", "when", "x", None),
        (1, dt.datetime.fromisoformat("2026-01-02T03:04:05"), 2.5, True),
        (None, None, None, None),
        (2, dt.date(2026, 1, 3), "NA", None),
    )
    rows, malformed, source = read(path)
    assert [name for name, _ in source.columns] == ["id", "when", "x"]
    # The fourth column has no name, so a value in it belongs nowhere.
    assert [(bad.line, bad.reason) for bad in malformed] == [(3, "expected 3 cells, found 4")]
    assert rows == [{"row_id": "d.xlsx#2", "id": "2", "when": "2026-01-03T00:00:00", "x": None}]


def test_excel_rows_are_read(tmp_path):
    path = sheet(
        tmp_path / "d.xlsx",
        ("a", "b"),
        (1, 0.1),
        (True, dt.datetime.fromisoformat("2026-05-01T00:00:00")),
        (3,),
    )
    rows, malformed, _ = read(path)
    assert malformed == []
    assert [(row["row_id"], row["a"], row["b"]) for row in rows] == [
        ("d.xlsx#1", "1", "0.1"),
        ("d.xlsx#2", "true", "2026-05-01T00:00:00"),
        ("d.xlsx#3", "3", None),
    ]


def test_an_empty_workbook_or_one_without_rows_is_refused(tmp_path):
    with pytest.raises(MalformedSourceError, match="first sheet is empty"):
        read(sheet(tmp_path / "a.xlsx"))
    with pytest.raises(MalformedSourceError, match="header but no rows"):
        read(sheet(tmp_path / "b.xlsx", ("a", "b")))


def test_a_file_that_is_no_workbook_is_refused(tmp_path):
    path = tmp_path / "d.xlsx"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(MalformedSourceError, match=r"no readable \.xlsx"):
        read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(MalformedSourceError, match=r"no readable \.xlsx"):
        read(path)


def test_parquet_keeps_its_types_and_unfolds_dictionaries(tmp_path):
    path = tmp_path / "d.parquet"
    table = pa.table(
        {
            "big": pa.array([2**53 + 1, None], pa.int64()),
            "when": pa.array(
                [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * 2, pa.timestamp("us", tz="UTC")
            ),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
        }
    )
    pq.write_table(table, path)
    rows, _, source = read(path)
    assert source.columns == (
        ("big", "int64"), ("when", "timestamp[us, tz=UTC]"), ("kind", "string"),
    )  # fmt: skip
    assert rows[0]["big"] == 2**53 + 1
    assert [row["row_id"] for row in rows] == ["d.parquet#1", "d.parquet#2"]


def test_parquet_is_streamed_in_batches_of_the_size_asked_for(tmp_path):
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"a": range(100_000)}), path)
    source = SOURCES.open(SourceSpec(str(path)))
    sizes = [batch.table.num_rows for batch in source.batches(30_000)]
    assert sizes == [30_000, 30_000, 30_000, 10_000]


def test_damaged_or_empty_parquet_is_refused(tmp_path):
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), path)
    with pytest.raises(MalformedSourceError, match="no rows"):
        read(path)
    pq.write_table(pa.table({"a": range(1000)}), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(MalformedSourceError, match="no readable Parquet"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(MalformedSourceError, match="no readable Parquet"):
        read(path)


def test_parquet_with_duplicate_columns_is_refused(tmp_path):
    path = tmp_path / "d.parquet"
    pq.write_table(pa.Table.from_arrays([[1], [2]], names=["a", "a"]), path)
    with pytest.raises(MalformedSourceError, match="both called 'a'"):
        read(path)


def test_parquet_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"a": range(100_000)}), path)
    batches = SOURCES.open(SourceSpec(str(path))).batches(10_000)
    next(batches)
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(SourceChangedError, match="changed while it was read"):
        list(batches)


def test_a_format_that_cannot_be_told_must_be_declared(tmp_path, monkeypatch):
    path = tmp_path / "data.txt"
    path.write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    for spelling in (path, "data.txt", "./data.txt"):
        with pytest.raises(UnsupportedFormatError, match=r"data\.txt"):
            read(spelling)
    rows, _, _ = read(path, format="csv")
    assert rows[0]["a"] == "1"


@pytest.mark.parametrize("uri", ["https://host/x.csv", "gs://b/x.csv", "file:///x.csv"])
def test_other_kinds_of_url_are_refused(uri):
    with pytest.raises(UnsupportedFormatError, match="are not read"):
        SOURCES.open(SourceSpec(uri))


def test_a_query_on_a_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match="is no database"):
        SOURCES.open(SourceSpec("x.csv", query="SELECT 1"))


def test_a_missing_file_suggests_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "payments.csv").write_text("a\n1\n")
    with pytest.raises(SourceNotFoundError, match=r"payment\.csv does not exist") as caught:
        SOURCES.open(SourceSpec("payment.csv"))
    assert caught.value.hint == "did you mean payments.csv?"


def test_a_file_that_vanishes_between_opening_and_reading_is_reported(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    source = SOURCES.open(SourceSpec(str(path)))
    path.unlink()
    with pytest.raises(SourceNotFoundError, match=r"cannot read .*a\.csv"):
        list(source.batches())


def test_a_file_that_may_not_be_read_is_access_denied(tmp_path, monkeypatch):
    # By hand, since root may read everything.
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")

    def deny(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", deny)
    with pytest.raises(SourceNotFoundError, match=r"access denied: .*a\.csv"):
        SOURCES.open(SourceSpec(str(path)))


def test_a_folder_without_files_is_not_found_and_one_without_data_is_no_format(tmp_path):
    (tmp_path / "_SUCCESS").write_text("")
    with pytest.raises(SourceNotFoundError, match="holds no files"):
        SOURCES.open(SourceSpec(str(tmp_path)))
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(SourceNotFoundError, match="holds no data files"):
        SOURCES.open(SourceSpec(str(tmp_path)))


def test_something_that_is_neither_file_nor_folder_is_not_found(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(SourceNotFoundError, match="neither a file nor a folder"):
        SOURCES.open(SourceSpec(str(tmp_path / "pipe.csv")))
