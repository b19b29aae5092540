"""What every store of scored parts keeps: whole parts or nothing, in order, and nothing doubled."""

import datetime as dt
import hashlib
import io
import os
import re
import sqlite3
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from pynomaly import adapters
from pynomaly.domain.errors import (
    ConfigurationError,
    FencedError,
    IntegrityError,
    OutputNotWritableError,
    UnsupportedFormatError,
)
from pynomaly.infrastructure.arrow import partfiles
from pynomaly.infrastructure.filesystem.parts import FolderParts
from pynomaly.infrastructure.s3.client import connect

STORE = adapters.part_store()
KEY, OTHER_KEY = "0123456789abcdef", "fedcba9876543210"
REASONS = pa.list_(pa.struct([("column", pa.string()), ("contribution", pa.float64())]))
TABLE = pa.table(
    {
        "row_id": ["a#1", 'a,"b"\n\\.\n#2', ""],
        "score": [0.1, -2.5e-300, None],
        "small": pa.array([1.5, 2.0, None], pa.float32()),
        "is_anomaly": [True, False, None],
        "reasons": pa.array([[{"column": "x", "contribution": 1.5}], [], None], REASONS),
        "model_version": pa.array([3, 3, None], pa.int64()),
        "big": pa.array([1, 2**64 - 1, None], pa.uint64()),
        "amount": pa.array([1, 2, None]).cast(pa.decimal128(25, 2)),
        "scored_at": pa.array(
            [dt.datetime(2026, 11, 25, 6, tzinfo=dt.UTC)] * 2 + [None], pa.timestamp("us", tz="UTC")
        ),
        "seen": pa.array([dt.datetime(2026, 11, 25, 6, 30)] * 2 + [None], pa.timestamp("ms")),
        "day": pa.array([dt.date(2026, 11, 25)] * 2 + [None], pa.date32()),
        "nothing": pa.nulls(3),
    }
)


class Folder:
    def __init__(self, path):
        self.path = path
        self.target = STORE.resolve(str(path / "out"))

    def everything(self):
        return sorted(str(p.relative_to(self.target)) for p in Path(self.target).rglob("*.*"))

    def bytes_of(self, part):
        return Path(part.uri).read_bytes()

    def put(self, uri, data):
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        Path(uri).write_bytes(data)


class Bucket:
    def __init__(self, name):
        self.name = name
        self.target = STORE.resolve(f"s3://{name}/scores/")
        self.client = connect()

    def everything(self):
        listed = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return sorted(entry["Key"].removeprefix("scores/") for entry in listed)

    def bytes_of(self, part):
        key = part.uri.removeprefix(f"s3://{self.name}/")
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def put(self, uri, data):
        key = uri.removeprefix(f"s3://{self.name}/")
        self.client.put_object(Bucket=self.name, Key=key, Body=data)


class Table:
    def __init__(self, url, name):
        shown = sa.make_url(url).set(drivername=sa.make_url(url).get_backend_name())
        self.target = STORE.resolve(f"{shown.render_as_string(hide_password=False)}#{name}")
        self.name = name
        self.engine = sa.create_engine(url, poolclass=sa.NullPool)

    def run(self, statement):
        with self.engine.begin() as connection:
            result = connection.exec_driver_sql(statement)
            return result.all() if result.returns_rows else None

    def everything(self):
        if not sa.inspect(self.engine).has_table(self.name):
            return []
        rows = self.run(f'SELECT _part, count(*) FROM "{self.name}" GROUP BY _part ORDER BY _part')
        return [f"{part}: {count}" for part, count in rows]


def place_of(kind, request, tmp_path):
    match kind:
        case "folder":
            return Folder(tmp_path)
        case "moto" | "rclone":
            return Bucket(
                request.getfixturevalue({"rclone": "s3_bucket", "moto": "moto_bucket"}[kind])
            )
        case "sqlite":
            return Table(f"sqlite:///{tmp_path}/scores.db", "scores")
        case "postgres":
            return Table(request.getfixturevalue("postgres_url"), f"scores_{uuid.uuid4().hex[:12]}")


@pytest.fixture(params=["folder", "moto", "rclone", "sqlite", "postgres"])
def place(request, tmp_path):
    return place_of(request.param, request, tmp_path)


@pytest.fixture(params=["folder", "moto", "rclone"])
def files(request, tmp_path):
    return place_of(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "postgres"])
def table(request, tmp_path):
    return place_of(request.param, request, tmp_path)


def write(place, name, *tables, partition_by=None):
    with STORE.writer(place.target, name, partition_by=partition_by) as writer:
        for rows in tables:
            writer.write(rows)
    return writer.parts


def read(parts, columns=None, batch_rows=50_000):
    return pa.concat_tables(STORE.read(parts, columns, batch_rows))


def numbers(first, last):
    return pa.table({"n": pa.array(range(first, last), pa.int64())})


def test_a_part_gives_back_what_was_written(place):
    (part,) = write(place, f"{KEY}-1", TABLE.slice(0, 1), TABLE.slice(1, 0), TABLE.slice(1))
    assert read([part]).to_pylist() == TABLE.to_pylist()
    assert read([part]).schema.equals(TABLE.schema)
    assert part.rows == 3
    assert part.size_bytes > 0
    assert re.fullmatch("[0-9a-f]{64}", part.digest)
    assert STORE.check(part) is None


def test_parts_are_read_in_the_order_asked_for_and_in_batches(place):
    parts = write(place, f"{KEY}-1", numbers(0, 5)) + write(place, f"{OTHER_KEY}-1", numbers(5, 9))
    batches = list(STORE.read(parts[::-1], ["n"], batch_rows=3))
    assert max(map(len, batches)) <= 3
    assert pa.concat_tables(batches)["n"].to_pylist() == [5, 6, 7, 8, 0, 1, 2, 3, 4]


def test_columns_come_as_they_are_asked_for(place):
    parts = write(place, f"{KEY}-1", TABLE)
    columns = ["scored_at", "score", "reasons"]
    assert read(parts, columns).to_pylist() == TABLE.select(columns).to_pylist()
    with pytest.raises(ConfigurationError, match="no column 'typo'") as caught:
        read(parts, ["typo"])
    assert "row_id, score" in caught.value.hint


def test_no_row_leaves_no_part(place):
    assert write(place, f"{KEY}-1") == ()
    assert write(place, f"{KEY}-2", TABLE.slice(0, 0)) == ()
    assert place.everything() == []
    assert not STORE.occupied(place.target)


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_when_writing_stops_half_way(place, stop):
    writers = []

    def half_way():
        with STORE.writer(place.target, f"{KEY}-1") as writer:
            writers.append(writer)
            writer.write(numbers(0, 200_000))  # more than waits in memory
            assert f"{KEY}-1.parquet" not in place.everything()
            raise stop

    with pytest.raises(stop):
        half_way()
    assert writers[0].parts == ()
    assert place.everything() == []
    assert list(STORE.stored(place.target)) == []


def test_a_table_with_another_schema_is_refused(place):
    with pytest.raises(ValueError, match="another schema"):
        write(place, f"{KEY}-1", TABLE, TABLE.drop_columns(["score"]))
    assert place.everything() == []


def test_a_part_that_is_gone_is_missing(place):
    (part,) = write(place, f"{KEY}-1", TABLE)
    STORE.remove(part.uri)
    assert STORE.check(part) == "is missing"
    with pytest.raises(IntegrityError, match=rf"{KEY}-1.* is missing"):
        read([part])


def test_a_part_with_fewer_rows_than_committed_is_told(place):
    part = replace(write(place, f"{KEY}-1", TABLE)[0], rows=12)
    assert STORE.check(part) == "holds 3 rows, committed were 12"
    with pytest.raises(IntegrityError, match="holds 3 rows, committed were 12"):
        read([part])


def test_what_is_stored_is_found_and_removed(place):
    assert list(STORE.stored(place.target)) == []
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=3)
    first, second = write(place, f"{KEY}-1", TABLE) + write(place, f"{OTHER_KEY}-7", TABLE)
    found = {item.uri: item for item in STORE.stored(place.target)}
    assert set(found) == {first.uri, second.uri}
    assert found[first.uri].size_bytes == first.size_bytes
    assert before < found[first.uri].modified_at < before + dt.timedelta(minutes=1)
    STORE.remove(first.uri)
    STORE.remove(first.uri)
    assert [item.uri for item in STORE.stored(place.target)] == [second.uri]
    assert STORE.check(second) is None


def test_a_target_is_occupied_once_it_holds_rows(place):
    assert not STORE.occupied(place.target)
    parts = write(place, f"{KEY}-1", TABLE)
    assert STORE.occupied(place.target)
    STORE.remove(parts[0].uri)
    assert not STORE.occupied(place.target)


def test_a_target_has_one_spelling(place):
    assert STORE.resolve(place.target) == place.target


def test_only_parts_are_removed(place):
    for name in ("theirs.parquet", "theirs", f"{KEY}.parquet"):
        with pytest.raises(ValueError, match="not the name of a part"):
            STORE.remove(f"{place.target}/{name}")


def test_a_name_that_is_no_key_and_fence_is_a_mistake(place):
    for name in ("part", f"../{KEY}-1", f"{KEY}-x"):
        with pytest.raises(ValueError, match="key prefix"):
            write(place, name, TABLE)


# Files


def test_the_digest_is_that_of_the_bytes(files):
    (part,) = write(files, f"{KEY}-1", TABLE)
    data = files.bytes_of(part)
    assert (part.digest, part.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert pq.read_table(io.BytesIO(data)).to_pylist() == TABLE.to_pylist()


def test_attempts_lie_beside_each_other(files):
    first = write(files, f"{KEY}-1", TABLE)
    second = write(files, f"{KEY}-2", TABLE.slice(1))
    assert files.everything() == [f"{KEY}-1.parquet", f"{KEY}-2.parquet"]
    assert STORE.check(*first) is STORE.check(*second) is None


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-9], lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:]]
)
def test_other_bytes_are_told(files, damage):
    (part,) = write(files, f"{KEY}-1", TABLE)
    files.put(part.uri, damage(files.bytes_of(part)))
    assert "has other bytes than were committed (sha256 " in STORE.check(part)


def test_a_truncated_part_cannot_be_read(files):
    (part,) = write(files, f"{KEY}-1", TABLE)
    files.put(part.uri, files.bytes_of(part)[:-9])
    with pytest.raises(IntegrityError, match=rf"{KEY}-1\.parquet cannot be read") as caught:
        read([part])
    assert "verify" in caught.value.hint


def test_files_of_others_are_no_parts_but_occupy_the_target(files):
    files.put(f"{files.target}/_SUCCESS", b"")
    assert not STORE.occupied(files.target)
    files.put(f"{files.target}/theirs.parquet", b"x")
    assert STORE.occupied(files.target)
    assert list(STORE.stored(files.target)) == []


DATES = pa.table(
    {
        "n": [1, 2, 3, 4, 5],
        "date": ["2026-11-25", "2026-11-26", None, "2026-11-25", "a/b: c%d="],
        "score": [0.1, 0.2, 0.3, 0.4, 0.5],
    }
)


def test_rows_are_divided_among_folders(files):
    parts = write(files, f"{KEY}-3", DATES.slice(0, 2), DATES.slice(2), partition_by="date")
    assert files.everything() == [
        f"date=2026-11-25/{KEY}-3.parquet",
        f"date=2026-11-26/{KEY}-3.parquet",
        f"date=__HIVE_DEFAULT_PARTITION__/{KEY}-3.parquet",
        f"date=a%2Fb%3A%20c%25d%3D/{KEY}-3.parquet",
    ]
    assert pq.ParquetFile(io.BytesIO(files.bytes_of(parts[0]))).schema_arrow.names == ["n", "score"]
    back = read(parts).sort_by("n")
    assert back.select(DATES.column_names).to_pylist() == DATES.to_pylist()
    assert back.column_names == ["n", "score", "date"]
    assert set(read(parts, ["date"])["date"].to_pylist()) == set(DATES["date"].to_pylist())
    assert [STORE.check(part) for part in parts] == [None] * 4
    assert {item.uri for item in STORE.stored(files.target)} == {part.uri for part in parts}


def test_pyarrow_reads_the_folders_as_hive_does(tmp_path):
    folder = Folder(tmp_path)
    values = pa.array([dt.date(2026, 11, 25), None, dt.date(2026, 11, 26)])
    write(folder, f"{KEY}-1", pa.table({"n": [1, 2, 3], "day": values}), partition_by="day")
    write(folder, f"{OTHER_KEY}-1", DATES.rename_columns(["n", "day", "s"]), partition_by="day")
    found = ds.dataset(folder.target, partitioning=ds.partitioning(flavor="hive")).to_table()
    expected = [(1, "2026-11-25"), (2, None), (3, "2026-11-26"), *zip(
        DATES["n"].to_pylist(), DATES["date"].to_pylist(), strict=True
    )]  # fmt: skip
    both = zip(found["n"].to_pylist(), found["day"].to_pylist(), strict=True)
    assert sorted(both, key=repr) == sorted(expected, key=repr)


def test_a_folder_is_named_like_pyarrow_names_it(tmp_path):
    values = ["x y", "é/ü", "a.b-c_d~e", "1'2\"3", "=", "+&?#"]
    rows = pa.table({"n": range(len(values)), "k %k": values})
    ours = Folder(tmp_path)
    write(ours, f"{KEY}-1", rows, partition_by="k %k")
    hive = ds.partitioning(pa.schema([("k %k", pa.string())]), flavor="hive")
    ds.write_dataset(rows, tmp_path / "theirs", format="parquet", partitioning=hive)
    names = [
        {p.name for p in place.iterdir()} for place in (Path(ours.target), tmp_path / "theirs")
    ]
    assert names[0] == names[1]


def test_stopping_half_way_removes_even_folders_that_were_complete(files, monkeypatch):
    monkeypatch.setattr(partfiles, "_WAITING_BYTES", 0)
    monkeypatch.setattr(FolderParts, "most_open", 1)
    monkeypatch.setattr("pynomaly.infrastructure.s3.parts.PrefixParts.most_open", 1)

    def half_way():
        with STORE.writer(files.target, f"{KEY}-1", partition_by="date") as writer:
            writer.write(DATES)
            assert len([n for n in files.everything() if "/." not in n]) == 3
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_way()
    assert files.everything() == []


def test_few_files_are_open_at_once_and_a_value_that_comes_again_is_continued(
    tmp_path, monkeypatch
):
    folder = Folder(tmp_path)
    monkeypatch.setattr(partfiles, "_WAITING_BYTES", 0)
    monkeypatch.setattr(FolderParts, "most_open", 2)
    rows = pa.table({"n": range(60), "k": [i % 3 for i in range(60)]})
    most = []
    with STORE.writer(folder.target, f"{KEY}-1", partition_by="k") as writer:
        for start in range(0, 60, 10):
            writer.write(rows.slice(start, 10))
            most.append(sum(name.endswith(".tmp") for name in folder.everything()))
    assert max(most) == 2
    assert f"k=0/{KEY}-1.2.parquet" in folder.everything()
    assert {item.uri for item in STORE.stored(folder.target)} == {p.uri for p in writer.parts}
    back = read(writer.parts)
    assert sorted(zip(back["n"].to_pylist(), back["k"].to_pylist(), strict=True)) == [
        (i, str(i % 3)) for i in range(60)
    ]


def test_memory_is_bounded_by_bytes_not_by_the_number_of_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(partfiles, "_WAITING_BYTES", 100_000)
    folder, most = Folder(tmp_path), 0
    rows = pa.table({"n": range(20_000), "k": [i % 50 for i in range(20_000)]})
    with STORE.writer(folder.target, f"{KEY}-1", partition_by="k") as writer:
        for start in range(0, 20_000, 1_000):
            before = pa.total_allocated_bytes()
            writer.write(rows.slice(start, 1_000))
            most = max(most, pa.total_allocated_bytes() - before)
    assert len(writer.parts) == 50
    assert sum(part.rows for part in writer.parts) == 20_000
    assert most < 200_000


def test_a_column_with_very_many_values_divides_nothing(files):
    rows = pa.table({"n": range(2_000), "id": range(2_000)})
    with pytest.raises(ConfigurationError, match=r"'id' has more than 1,024 values") as caught:
        write(files, f"{KEY}-1", rows, partition_by="id")
    assert "date" in caught.value.hint
    assert files.everything() == []


def test_only_a_column_that_is_there_and_is_flat_divides(files):
    with pytest.raises(ConfigurationError, match="no column 'typo'"):
        write(files, f"{KEY}-1", DATES, partition_by="typo")
    with pytest.raises(ConfigurationError, match=r"'reasons'"):
        write(files, f"{KEY}-1", TABLE, partition_by="reasons")
    for name in ("_hidden", ".hidden", "a/b", "a=b"):
        with pytest.raises(ConfigurationError, match="hidden or ambiguous"):
            write(files, f"{KEY}-1", pa.table({name: [1], "n": [1]}), partition_by=name)


@pytest.mark.parametrize("others", [["a", None], ["a"], []])
def test_a_text_that_folders_of_missing_values_are_called_divides_nothing(files, others):
    rows = pa.table({"n": range(len(others) + 1), "shop": [*others, "__HIVE_DEFAULT_PARTITION__"]})
    with pytest.raises(ConfigurationError, match=r"'shop': it holds the text '__HIVE_DEFAULT"):
        write(files, f"{KEY}-1", rows, partition_by="shop")
    assert files.everything() == []


# Folders


def test_a_folder_is_called_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    spellings = ("real", "./x/../real/", "~/real", "link", f"{tmp_path}/real")
    assert {STORE.resolve(spelling) for spelling in spellings} == {str(tmp_path / "real")}
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputNotWritableError, match="is no folder"):
        STORE.resolve("file")


def test_a_read_only_place_is_not_writable(tmp_path):
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "file" / "out", Path("/proc/nowhere")):
        with pytest.raises(OutputNotWritableError, match=str(target)):
            write(SimpleNamespace(target=str(target)), f"{KEY}-1", TABLE)


def test_a_full_disk_says_so_and_leaves_nothing(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not allowed: {mounted.stderr.strip()}")
    try:
        small = SimpleNamespace(target=str(mount / "out"))
        kept = write(small, f"{OTHER_KEY}-1", TABLE)
        noise = pa.table({"n": [os.urandom(500).hex() for _ in range(4_000)]})
        for by in (None, "k"):
            rows = noise.append_column("k", pa.array([i % 5 for i in range(4_000)]))
            with pytest.raises(OutputNotWritableError, match="No space left") as caught:
                write(small, f"{KEY}-1", rows, partition_by=by)
            assert "free some space" in caught.value.hint
            assert [item.uri for item in STORE.stored(small.target)] == [kept[0].uri]
        assert STORE.check(kept[0]) is None
        assert read(kept).num_rows == 3
        assert write(small, f"{KEY}-2", rows.slice(0, 100))[0].rows == 100
    finally:
        subprocess.run(["umount", mount], check=True)


WRITE_AND_WAIT = """
import sys
import pyarrow as pa
from pynomaly import adapters

target, name, by = sys.argv[1:]
rows = pa.table({"n": pa.array(range(200_000), pa.int64()), "k": pa.array([1] * 200_000)})
with adapters.part_store().writer(target, name, partition_by=by or None) as writer:
    writer.write(rows)
    print("half way", flush=True)
    sys.stdin.read()
"""


def kill_half_way(target, name, by=""):
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_WAIT, target, name, by],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "half way\n"
        process.kill()


@pytest.mark.parametrize("by", ["", "k"])
def test_what_a_killed_process_leaves_in_a_folder_is_found_and_removed(tmp_path, by):
    folder = Folder(tmp_path)
    kill_half_way(folder.target, f"{KEY}-1", by)
    (left,) = STORE.stored(folder.target)
    assert Path(left.uri).name.startswith(f".{KEY}-1.parquet.")
    assert not STORE.occupied(folder.target)
    STORE.remove(left.uri)
    assert folder.everything() == []


def test_a_killed_process_leaves_nothing_in_a_table(table):
    write(table, f"{OTHER_KEY}-1", TABLE.select(["score"]).rename_columns(["k"]).cast(
        pa.schema([("k", pa.int64())]), safe=False
    ).add_column(0, "n", pa.array([1, 2, 3])))  # fmt: skip
    kill_half_way(table.target, f"{KEY}-1")
    assert table.everything() == [f"{OTHER_KEY}-1: 3"]
    assert len(list(STORE.stored(table.target))) == 1
    (part,) = write(table, f"{KEY}-2", pa.table({"n": [1], "k": [1]}))
    assert STORE.check(part) is None


# Tables


def test_a_greater_fence_supersedes_the_rows_of_a_smaller_one(table):
    (first,) = write(table, f"{KEY}-1", TABLE)
    (other,) = write(table, f"{OTHER_KEY}-1", TABLE)
    (second,) = write(table, f"{KEY}-10", TABLE.slice(1))
    assert table.everything() == [f"{KEY}-10: 2", f"{OTHER_KEY}-1: 3"]
    assert [STORE.check(part) for part in (first, other, second)] == ["is missing", None, None]


@pytest.mark.parametrize("fence", ["9", "010"])
def test_a_stale_fence_cannot_add_rows(table, fence):
    (part,) = write(table, f"{KEY}-10", TABLE)
    with pytest.raises(FencedError, match=f"{KEY}-10 was written meanwhile"):
        write(table, f"{KEY}-{fence}", TABLE)
    assert table.everything() == [f"{KEY}-10: 3"]
    assert STORE.check(part) is None


def test_the_rows_are_there_for_any_tool(table):
    write(table, f"{KEY}-1", TABLE)
    rows = table.run(
        f'SELECT _row, row_id, score, reasons FROM "{table.name}" WHERE is_anomaly ORDER BY _row'
    )
    assert [tuple(row) for row in rows] == [
        (1, "a#1", 0.1, '[{"column": "x", "contribution": 1.5}]')
    ]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("UPDATE {t} SET score = score + 1 WHERE _row = 1", "has other rows than were committed"),
        ("UPDATE {t} SET row_id = '' WHERE _row = 1", "has other rows than were committed"),
        ("UPDATE {t} SET is_anomaly = NULL WHERE _row = 2", "has other rows than were committed"),
        ("DELETE FROM {t} WHERE _row = 2", "holds 2 rows, committed were 3"),
        ("DELETE FROM {t}_parts", "is missing"),
    ],
)
def test_changed_rows_are_told(table, damage, problem):
    (part,) = write(table, f"{KEY}-1", TABLE)
    table.run(damage.format(t=table.name))
    assert problem in STORE.check(part)
    if "other rows" not in problem:
        with pytest.raises(IntegrityError, match=problem):
            read([part])
    assert [item.uri for item in STORE.stored(table.target)] == [part.uri]
    STORE.remove(part.uri)
    assert table.everything() == []


def test_a_digest_does_not_depend_on_the_batches(table):
    rows = pa.concat_tables([TABLE] * 50)
    (first,) = write(table, f"{KEY}-1", rows)
    (second,) = write(table, f"{OTHER_KEY}-1", *(rows.slice(i, 7) for i in range(0, 150, 7)))
    assert first.digest == second.digest


def test_nan_is_kept_where_the_database_has_it(table):
    part = write(table, f"{KEY}-1", pa.table({"x": [float("nan"), float("inf"), float("-inf")]}))
    nan, *infinite = read(part)["x"].to_pylist()
    assert nan is None if "sqlite" in table.target else nan != nan
    assert infinite == [float("inf"), float("-inf")]
    assert STORE.check(part[0]) is None


def test_a_table_of_somebody_else_is_left_alone(table):
    table.run(f'CREATE TABLE "{table.name}" (row_id text)')
    assert not STORE.occupied(table.target)
    with pytest.raises(OutputNotWritableError, match=r"'_part' of .* is not there") as caught:
        write(table, f"{KEY}-1", TABLE)
    assert "another table" in caught.value.hint
    assert sa.inspect(table.engine).get_table_names().count(f"{table.name}_parts") == 0
    assert list(STORE.stored(table.target)) == []
    table.run(f"INSERT INTO \"{table.name}\" VALUES ('theirs')")
    assert STORE.occupied(table.target)
    assert [tuple(row) for row in table.run(f'SELECT * FROM "{table.name}"')] == [("theirs",)]


def test_other_columns_than_the_tables_are_refused(table):
    write(table, f"{KEY}-1", TABLE)
    with pytest.raises(OutputNotWritableError, match=r"'extra' of .* is not there, should be TEXT"):
        write(table, f"{OTHER_KEY}-1", TABLE.append_column("extra", pa.array(["x"] * 3)))
    changed = TABLE.set_column(1, "score", pa.array(["x"] * 3))
    with pytest.raises(OutputNotWritableError, match=r"'score' of .* is DOUBLE.*, should be TEXT"):
        write(table, f"{OTHER_KEY}-1", changed)
    fewer = TABLE.drop_columns(["day"])
    assert STORE.check(*write(table, f"{OTHER_KEY}-1", fewer)) is None


def test_columns_a_table_cannot_have_are_refused(table):
    for name in ("_part", "_row", "x" * 64):
        with pytest.raises(ConfigurationError, match=name):
            write(table, f"{KEY}-1", pa.table({name: [1]}))
    with pytest.raises(ConfigurationError, match=r"'x' of type binary"):
        write(table, f"{KEY}-1", pa.table({"x": [b"\xff"]}))
    with pytest.raises(ConfigurationError, match="not divided"):
        write(table, f"{KEY}-1", TABLE, partition_by="day")


def test_awkward_column_names_are_only_names(table):
    rows = pa.table({'a "b"': [1], "100 %": [2], "Select": [3], "a:b": [4], "ü(": [5]})
    part = write(table, f"{KEY}-1", rows)
    assert read(part).to_pylist() == rows.to_pylist()


def test_a_table_has_one_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert STORE.resolve("sqlite:///x.db#t") == f"sqlite:///{tmp_path}/x.db#t"
    assert STORE.resolve("sqlite+pysqlite:///./x.db#t") == f"sqlite:///{tmp_path}/x.db#t"
    expected = "postgresql://me@host/db#s.t"
    for spelling in ("postgres://me@HOST/db", "postgresql+psycopg://me@host:5432/db"):
        assert STORE.resolve(f"{spelling}#s.t") == expected


@pytest.mark.parametrize(
    "target", ["postgresql://me:secret@h/db#t", "postgresql://me@h/db?password=secret#t"]
)
def test_a_password_in_a_target_is_refused_and_not_repeated(target):
    with pytest.raises(ConfigurationError, match="holds a password") as caught:
        STORE.resolve(target)
    assert "secret" not in str(caught.value)
    assert "PGPASSWORD" in caught.value.hint


@pytest.mark.parametrize(
    "target",
    [
        "sqlite:///x.db",
        "sqlite:///x.db#",
        "sqlite:///x.db#a b",
        "sqlite:///x.db#1; drop",
        "sqlite:///x.db#s.t",
        "sqlite://#t",
        "sqlite:///:memory:#t",
        "postgresql://h/db#t/u",
        "postgresql://h:port/db#t",
    ],
)
def test_a_target_that_names_no_table_is_refused(target):
    with pytest.raises(ConfigurationError) as caught:
        STORE.resolve(target)
    assert "#table" in caught.value.hint


@pytest.mark.parametrize("target", ["gs://bucket/x", "mysql://me:secret@h/db#t"])
def test_other_kinds_of_targets_are_refused(target):
    with pytest.raises(UnsupportedFormatError) as caught:
        STORE.resolve(target)
    assert "secret" not in str(caught.value)


def test_looking_at_a_sqlite_file_that_is_not_there_makes_none(tmp_path):
    target = STORE.resolve(f"sqlite:///{tmp_path}/x.db#t")
    assert not STORE.occupied(target)
    assert list(STORE.stored(target)) == []
    STORE.remove(f"{target}/{KEY}-1")
    assert list(tmp_path.iterdir()) == []


def test_a_sqlite_file_is_locked_for_the_commit_only(tmp_path):
    place = Table(f"sqlite:///{tmp_path}/scores.db", "scores")
    write(place, f"{OTHER_KEY}-1", numbers(0, 3))
    with STORE.writer(place.target, f"{KEY}-1") as writer:
        writer.write(numbers(0, 10))
        with sqlite3.connect(tmp_path / "scores.db", timeout=0) as other:
            other.execute("CREATE TABLE theirs (x)")
        other.close()
        write(place, f"{OTHER_KEY}-2", numbers(0, 5))
    assert place.everything() == [f"{KEY}-1: 10", f"{OTHER_KEY}-2: 5"]
