"""CSV and TSV, bytes in, rows and malformed rows out."""

import gzip
import io
import random
import string
import subprocess
import sys

import pytest

from pynomaly.domain.errors import ConfigurationError, MalformedSourceError
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.sources import TableSources
from pynomaly.infrastructure.filesystem.files import find_local_files


def refuse(argument):
    raise AssertionError(f"not local: {argument}")


RUSSIAN = "имя,n\n" + "Ольга Петрова живёт в Москве,1\nИван пришёл домой,2\n" * 5  # noqa: RUF001

SOURCES = TableSources(local=find_local_files, s3=refuse, sql=refuse)


@pytest.fixture
def read(tmp_path):
    def read(data, name="data.csv", batch_rows=50_000, **options):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        source = SOURCES.open(SourceSpec(str(path), **options))
        batches = list(source.batches(batch_rows))
        rows = [row for batch in batches for row in batch.table.to_pylist()]
        return rows, [bad for batch in batches for bad in batch.malformed], source

    return read


def test_all_columns_are_strings_and_missing_tokens_are_null(read):
    rows, malformed, source = read(
        'id,amount,note\n1,2.50,""\n2,NA,x\n3,,NaN\n4,null,None\n5,N/A,0\n'
    )
    assert source.columns == (("id", "string"), ("amount", "string"), ("note", "string"))
    assert rows[0] == {"row_id": "data.csv#1", "id": "1", "amount": "2.50", "note": None}
    assert [row["amount"] for row in rows] == ["2.50", None, None, None, None]
    assert [row["note"] for row in rows] == [None, "x", None, None, "0"]
    assert malformed == []
    assert source.snapshot().rows == 5


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_detected(read, delimiter):
    text = "\n".join(
        delimiter.join(row) for row in [("id", "price", "n"), ("a", "3.5", "1"), ("b", "4.5", "2")]
    )
    rows, _, _ = read(text)
    assert rows[1] == {"row_id": "data.csv#2", "id": "b", "price": "4.5", "n": "2"}


def test_decimal_commas_do_not_win_over_semicolons(read):
    rows, _, _ = read("id;price;rate\n1;3,50;0,1\n2;4,75;0,2\n")
    assert rows[0]["price"] == "3,50"


def test_a_single_column_needs_no_delimiter(read):
    rows, _, source = read("value\n1\n2\n")
    assert source.columns == (("value", "string"),)
    assert [row["value"] for row in rows] == ["1", "2"]


def test_a_declared_delimiter_that_does_not_fit_is_refused_with_the_right_one(read):
    with pytest.raises(MalformedSourceError, match="single column") as caught:
        read("a;b\n1;2\n", delimiter=",")
    assert "';'" in caught.value.hint


def test_a_declared_delimiter_is_used_even_if_unusual(read):
    rows, _, _ = read("a~b\n1~2\n", delimiter="~")
    assert rows == [{"row_id": "data.csv#1", "a": "1", "b": "2"}]
    with pytest.raises(ConfigurationError, match="one plain character"):
        read("a~b\n1~2\n", delimiter="~~")


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]
)
def test_the_encoding_is_detected(read, encoding):
    rows, _, _ = read("name,city\nJosé,Köln\nAna,Genève\n".encode(encoding))
    assert [(row["name"], row["city"]) for row in rows] == [("José", "Köln"), ("Ana", "Genève")]


def test_one_accent_at_the_very_end_is_seen(read):
    rows, _, _ = read(b"a,b\n1,x\n2,\xe9\n")
    assert rows[1]["b"] == "é"


def test_a_character_cut_by_the_end_of_the_head_is_no_stray_byte(read):
    for shift in range(4):
        rows, _, _ = read("a,b\n" + "x" * shift + "1,漢\n" * 60_000)
        assert rows[-1]["b"] == "漢"


def test_a_declared_encoding_is_used(read):
    rows, _, _ = read("имя,n\nЮлия,1\n".encode("cp1251"), encoding="cp1251")
    assert rows[0]["имя"] == "Юлия"


def test_an_encoding_that_cannot_be_told_must_be_declared(read):
    with pytest.raises(MalformedSourceError, match=r"data\.csv: byte 1, line 1") as caught:
        read(RUSSIAN.encode("cp1251"))
    assert "encoding: cp1251" in caught.value.hint
    with pytest.raises(MalformedSourceError) as caught:
        read(b"a\n\x81\x8d\x8f\n")
    assert "set `encoding:`" in caught.value.hint


def test_an_unknown_encoding_is_a_configuration_error(read):
    with pytest.raises(ConfigurationError, match="unknown encoding 'utf-9'"):
        read("a,b\n1,2\n", encoding="utf-9")


def test_undecodable_bytes_far_down_are_named_by_byte_and_line(read):
    good = b"a,b\n" + b"1,2\n" * 200_000
    with pytest.raises(MalformedSourceError, match=f"byte {len(good) + 3}, line 200002") as caught:
        read(good + b"x,\xff\n" + b"1,2\n")
    assert "encoding:" in caught.value.hint


def test_one_bad_byte_does_not_turn_utf8_into_cp1252(read):
    with pytest.raises(MalformedSourceError, match="no utf-8 text"):
        read("a,b\né,ü\nß,ö\n".encode() + b"x,\xe9\n")


def test_zero_bytes_are_no_text(read):
    with pytest.raises(MalformedSourceError, match="zero bytes"):
        read(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\0\xff\0\0")


def test_ragged_rows_are_kept_aside_with_their_line(read):
    rows, malformed, source = read("a,b,c\n1,2,3\n4,5\n\n7,8,9,10\n11,12,13\n")
    assert [row["row_id"] for row in rows] == ["data.csv#1", "data.csv#4"]
    assert [(bad.file, bad.line, bad.text, bad.reason) for bad in malformed] == [
        ("data.csv", 3, "4,5", "expected 3 fields, found 2"),
        ("data.csv", 5, "7,8,9,10", "expected 3 fields, found 4"),
    ]
    assert source.snapshot().rows == 4


def test_line_numbers_count_lines_inside_quotes_and_empty_ones(read):
    text = '\na,b\n"x\ny",1\n\n\n"say ""hi""\n",2\n5" pipe,3\nbad\n'
    rows, malformed, _ = read(text)
    assert [row["a"] for row in rows] == ["x\ny", 'say "hi"\n', '5" pipe']
    assert [bad.line for bad in malformed] == [text.split("\n").index("bad") + 1]


def test_rows_and_malformed_rows_are_numbered_right_across_blocks_and_batches(read):
    random.seed(3)
    lines, good, bad = ["k,v,w"], [], []
    physical = 1
    for number in range(1, 60_001):
        physical += 1
        kind = random.random()
        if kind < 0.01:
            lines.append(f"short {number},x")
            bad.append((physical, f"short {number},x"))
        elif kind < 0.02:
            lines.append(f'{number},"two\nlines",z')
            good.append(number)
            physical += 1
        elif kind < 0.03:
            lines.append(f"\n{number},{'p' * 60},q")
            physical += 1
            good.append(number)
        else:
            lines.append(f"{number},{'p' * 60},q")
            good.append(number)
    rows, malformed, source = read("\n".join(lines) + "\n", batch_rows=7_000)
    assert [row["row_id"] for row in rows] == [f"data.csv#{number}" for number in good]
    assert [row["k"] for row in rows] == [str(number) for number in good]
    assert [(item.line, item.text) for item in malformed] == bad
    assert source.snapshot().rows == 60_000


def test_malformed_rows_only_are_still_all_reported(read):
    rows, malformed, source = read("a,b\n" + "1\n" * 10)
    assert rows == []
    assert [bad.line for bad in malformed] == list(range(2, 12))
    assert source.snapshot().rows == 10


def test_a_file_ragged_beyond_repair_is_refused(read):
    with pytest.raises(MalformedSourceError, match="100000 lines in a row"):
        read("a,b\n" + "1\n" * 100_001)


@pytest.mark.parametrize(
    "text",
    [
        'a,b\n1,2\n3,"open\n5,6\n7,8\n',
        'a,b,c\n1,2,3\n3,"open\n5,6,7\n7,8,9\n',
        'a,b\n1,2\n3,"open\n' + "4,5\n" * 600_000,
    ],
)
def test_a_quote_that_never_closes_is_refused_instead_of_swallowing_rows(read, text):
    with pytest.raises(MalformedSourceError, match="row at line 3 is never closed"):
        read(text)


def test_a_quoted_last_value_with_line_breaks_is_fine(read):
    rows, _, _ = read('a,b\n1,"two\nlines"')
    assert rows[0]["b"] == "two\nlines"


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_any_line_end_will_do(read, end):
    rows, malformed, _ = read(end.join(["a,b", "1,2", "3", "4,5"]) + end)
    assert [row["row_id"] for row in rows] == ["data.csv#1", "data.csv#3"]
    assert [(bad.line, bad.text) for bad in malformed] == [(3, "3")]


@pytest.mark.parametrize("data", ["", "\n\n", "\ufeff"])
def test_an_empty_file_is_refused(read, data):
    with pytest.raises(MalformedSourceError, match=r"data\.csv is empty"):
        read(data)


@pytest.mark.parametrize("data", ["a,b", "a,b\n", "a,b\n\n\n"])
def test_a_header_without_rows_is_refused(read, data):
    with pytest.raises(MalformedSourceError, match="header but no rows"):
        read(data)


def test_duplicate_columns_are_refused_by_position(read):
    with pytest.raises(MalformedSourceError, match="columns 1 and 3 are both called 'a'"):
        read("a,b,a\n1,2,3\n")


def test_a_first_line_of_numbers_is_no_header_unless_they_are_whole(read):
    with pytest.raises(MalformedSourceError, match=r"first line .* numbers alone, e.g. '-1.5'"):
        read("-1.5,2\n3,4\n")
    assert read("2019,2020\n3,4\n")[2].columns == (("2019", "string"), ("2020", "string"))


def test_a_column_called_row_id_is_refused_with_a_hint(read):
    with pytest.raises(MalformedSourceError, match="'row_id'") as caught:
        read("row_id,b\n1,2\n")
    assert "rename" in caught.value.hint


def test_columns_without_a_name_are_called_by_position(read):
    _, _, source = read(",b\n0,2\n")
    assert source.columns == (("column_1", "string"), ("b", "string"))


def test_too_many_columns_are_refused(read):
    with pytest.raises(MalformedSourceError, match="10001 columns"):
        read(",".join(f"c{i}" for i in range(10_001)) + "\n" + "," * 10_000 + "\n")


def test_a_gzipped_file_reads_like_the_plain_one(read):
    text = b"a,b\n1,2\n3\n4,5\n"
    rows, malformed, source = read(gzip.compress(text), name="data.csv.gz")
    assert [row["row_id"] for row in rows] == ["data.csv.gz#1", "data.csv.gz#3"]
    assert [bad.line for bad in malformed] == [3]
    assert source.snapshot().size_bytes == len(gzip.compress(text))


def test_a_damaged_gzip_is_refused(read):
    packed = gzip.compress(b"a,b\n" + b"".join(b"%d,x\n" % i for i in range(50_000)))
    with pytest.raises(MalformedSourceError, match="cannot be unpacked"):
        read(packed[:-200], name="data.csv.gz")


def test_any_small_table_survives_a_round_trip(read):
    import csv

    random.seed(11)
    alphabet = string.ascii_letters + ',;"\n \t' + "éß漢"
    for _ in range(30):
        width = random.randint(2, 5)
        table = [
            ["".join(random.choices(alphabet, k=random.randint(1, 8))) for _ in range(width)]
            for _ in range(random.randint(1, 20))
        ]
        buffer = io.StringIO()
        writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
        writer.writerow([f"c{i}" for i in range(width)])
        writer.writerows(table)
        rows, malformed, _ = read(buffer.getvalue(), delimiter=",", encoding="utf-8")
        assert malformed == []
        assert [[row[f"c{i}"] for i in range(width)] for row in rows] == table


def test_a_large_file_is_read_in_bounded_memory(tmp_path):
    path = tmp_path / "large.csv"
    row = ",".join(["123456.789"] * 20) + "\n"
    with path.open("w") as file:
        file.write(",".join(f"c{i}" for i in range(20)) + "\n")
        for _ in range(40):
            file.write(row * 10_000)
    assert path.stat().st_size > 80 * 2**20
    script = f"""
import resource
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.sources import TableSources
from pynomaly.infrastructure.filesystem.files import find_local_files
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
source = TableSources(find_local_files, None, None).open(SourceSpec({str(path)!r}))
before = peak()
rows = sum(batch.table.num_rows for batch in source.batches(10_000))
print(rows, peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    rows, grown = done.stdout.split()
    assert int(rows) == 400_000
    assert float(grown) < 150, f"{grown} MiB for a file of 84 MiB (168 MiB as Arrow strings)"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("above", ["# exported by X\n", "# exported\n# by X\n"])
def test_lines_above_the_names_are_told(read, delimiter, above):
    lines = (delimiter.join(line) for line in ["abc", *["123"] * 15])
    with pytest.raises(
        MalformedSourceError, match="first line has 1 field, the lines below mostly 3"
    ):
        read(above + "\n".join(lines) + "\n")


def test_a_column_without_a_name_is_told(read):
    rows = "".join(f"{i},{i},{i}\n" for i in range(15))
    with pytest.raises(MalformedSourceError, match=r"has 2 fields, .* mostly 3") as refusal:
        read(f"a,b\n{rows}")
    assert "name the column that has none" in refusal.value.hint


@pytest.mark.parametrize("options", [{}, {"delimiter": ","}])
def test_a_single_column_may_hold_other_delimiters(read, options):
    rows, malformed, source = read("#tags\n" + "x1;y\n" * 20, **options)
    assert source.columns == (("#tags", "string"),)
    assert (len(rows), malformed) == (20, [])
