"""What every source of files keeps, wherever the files are; and databases where it applies."""

import gzip
import os
import sqlite3
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pynomaly.domain.errors import MalformedSourceError, SourceNotFoundError
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.sources import TableSources
from pynomaly.infrastructure.filesystem.files import find_local_files
from pynomaly.infrastructure.s3.client import connect
from pynomaly.infrastructure.s3.files import find_s3_objects
from pynomaly.infrastructure.sqlalchemy.source import open_sql_source

SOURCES = TableSources(local=find_local_files, s3=find_s3_objects, sql=open_sql_source)


class Place:
    """Somewhere files can be put, and its URI."""

    def __init__(self, root, put):
        self.root, self.put = root, put

    def open(self, path="", **options):
        return SOURCES.open(SourceSpec(f"{self.root}/{path}" if path else self.root, **options))


@pytest.fixture(params=["folder", "rclone", "moto"])
def place(request, tmp_path):
    if request.param == "folder":

        def put(name, data):
            target = tmp_path / "lake" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

        return Place(str(tmp_path / "lake"), put)
    bucket = request.getfixturevalue({"rclone": "s3_bucket", "moto": "moto_bucket"}[request.param])
    client = connect()
    return Place(
        f"s3://{bucket}/lake",
        lambda name, data: client.put_object(Bucket=bucket, Key=f"lake/{name}", Body=data),
    )


def rows(source, batch_rows=50_000):
    return [row for batch in source.batches(batch_rows) for row in batch.table.to_pylist()]


def parquet(**columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def test_files_of_a_folder_are_read_in_order_of_their_names(place):
    place.put("b.csv", b"k,v\n3,z\n")
    place.put("a/2.csv", b"k,v\n1,x\nbad\n2,y\n")
    place.put("_SUCCESS", b"")
    place.put(".hidden.csv", b"other\n1\n")
    place.put("README.md", b"# not data")
    source = place.open()
    assert [(row["row_id"], row["k"]) for row in rows(source)] == [
        ("a/2.csv#1", "1"),
        ("a/2.csv#3", "2"),
        ("b.csv#1", "3"),
    ]
    assert source.snapshot().rows == 4


def test_a_single_file_and_a_glob(place):
    place.put("in/a.csv", b"k\n1\n")
    place.put("in/b.csv", b"k\n2\n")
    place.put("in/deep/c.csv", b"k\n3\n")
    assert [row["row_id"] for row in rows(place.open("in/b.csv"))] == ["b.csv#1"]
    assert [row["row_id"] for row in rows(place.open("in/*.csv"))] == ["a.csv#1", "b.csv#1"]
    assert [row["row_id"] for row in rows(place.open("**/*.csv"))] == [
        "in/a.csv#1",
        "in/b.csv#1",
        "in/deep/c.csv#1",
    ]


def test_batches_can_be_read_again_and_have_the_size_asked_for(place):
    place.put("a.csv", b"k\n" + b"".join(b"%d\n" % i for i in range(2500)))
    place.put("b.csv", b"k\n" + b"".join(b"%d\n" % i for i in range(700)))
    source = place.open()
    sizes = [batch.table.num_rows for batch in source.batches(1000)]
    assert sizes == [1000, 1000, 1000, 200]
    first = source.snapshot()
    assert len(rows(source)) == 3200
    assert source.snapshot() == first


def test_the_snapshot_is_known_only_at_the_end(place):
    place.put("a.csv", b"k\n1\n2\n")
    source = place.open()
    with pytest.raises(RuntimeError):
        source.snapshot()
    batches = source.batches(1)
    next(batches)
    with pytest.raises(RuntimeError):
        source.snapshot()
    list(batches)
    snapshot = source.snapshot()
    assert (snapshot.rows, snapshot.size_bytes) == (2, 6)
    assert snapshot.columns == (("k", "string"),)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"k,v\n" + b"1,2\n" * 100),
        ("a.csv.gz", gzip.compress(b"k,v\n" + b"1,2\n" * 100, mtime=0)),
        ("a.jsonl", b'{"k": 1}\n' * 100),
        ("a.parquet", parquet(k=[1, 2, 3])),
    ],
)
def test_the_digest_follows_names_and_bytes_alone(place, tmp_path, name, data):
    place.put(f"one/{name}", data)
    place.put(f"two/{name}", data)
    place.put(f"three/other-{name}", data)

    def content(uri_or_path):
        source = uri_or_path if not isinstance(uri_or_path, str) else place.open(uri_or_path)
        rows(source)
        assert source.snapshot().size_bytes == len(data)
        return source.snapshot().fingerprint.content

    (tmp_path / "local").mkdir()
    (tmp_path / "local" / name).write_bytes(data)
    local = content(SOURCES.open(SourceSpec(str(tmp_path / "local"))))
    assert content("one") == content("two") == content(f"one/{name}") == local
    assert content("three") != local


def test_a_changed_byte_or_a_moved_boundary_changes_the_digest(place):
    place.put("one/a.csv", b"k\n1\n2\n")
    place.put("one/b.csv", b"k\n3\n")
    place.put("two/a.csv", b"k\n1\n")
    place.put("two/b.csv", b"k\n2\n3\n")
    place.put("three/a.csv", b"k\n1\n2\n")
    place.put("three/b.csv", b"k\n4\n")
    digests = set()
    for folder in ("one", "two", "three"):
        source = place.open(folder)
        rows(source)
        digests.add(source.snapshot().fingerprint.content)
    assert len(digests) == 3


def test_the_schema_digest_follows_names_types_and_order(place):
    place.put("1.parquet", parquet(a=[1], b=["x"]))
    place.put("2.parquet", parquet(b=["x"], a=[1]))
    place.put("3.parquet", parquet(a=[1.0], b=["x"]))
    place.put("4.parquet", parquet(a=[7], b=["y"]))
    schemas = []
    for name in ("1", "2", "3", "4"):
        source = place.open(f"{name}.parquet")
        rows(source)
        schemas.append(source.snapshot().fingerprint.schema)
    assert len(set(schemas)) == 3
    assert schemas[0] == schemas[3]


def test_uuids_of_parquet_are_texts(place):
    keys = [uuid.uuid4() for _ in range(3)]
    place.put("k.parquet", parquet(k=pa.array([key.bytes for key in keys], pa.uuid())))
    source = place.open("k.parquet")
    assert source.columns == (("k", "string"),)
    assert [row["k"] for row in rows(source)] == [str(key) for key in keys]


def test_mixed_formats_are_refused(place):
    place.put("a.csv", b"k\n1\n")
    place.put("b.parquet", parquet(k=[1]))
    with pytest.raises(MalformedSourceError, match=r"mixes formats: a\.csv is csv, b\.parquet"):
        place.open()


def test_files_with_other_columns_are_refused(place):
    place.put("a.csv", b"k,v\n1,2\n")
    place.put("b.csv", b"k,w\n1,2\n")
    source = place.open()
    with pytest.raises(
        MalformedSourceError, match=r"b\.csv does not have the columns of .*a\.csv: it lacks v"
    ):
        rows(source)


def test_files_may_have_their_columns_in_another_order(place):
    place.put("a.csv", b"k,v\n1,2\n")
    place.put("b.csv", b"v,k\n4,3\n")
    assert [(row["k"], row["v"]) for row in rows(place.open())] == [("1", "2"), ("3", "4")]


def test_an_empty_file_among_others_is_named_and_a_header_alone_is_no_row(place):
    place.put("a.csv", b"k\n")
    place.put("b.csv", b"k\n1\n")
    assert [row["row_id"] for row in rows(place.open())] == ["b.csv#1"]
    place.put("c.csv", b"")
    with pytest.raises(MalformedSourceError, match=r"c\.csv is empty"):
        rows(place.open())


def test_nothing_there_is_not_found(place):
    place.put("notes/README", b"x")
    for path in ("absent.csv", "absent/*.csv", "absent"):
        with pytest.raises(SourceNotFoundError, match="absent"):
            place.open(path)


def test_batches_are_read_lazily(place):
    place.put("a.csv", b"k\n1\n")
    place.put("b.csv", b'k\n"never closed\n' + b"1\n" * 10)
    batches = place.open().batches(1)
    assert next(batches).table.to_pylist() == [{"row_id": "a.csv#1", "k": "1"}]
    with pytest.raises(MalformedSourceError, match="never closed"):
        list(batches)


def test_a_database_keeps_the_same_contract(tmp_path):
    path = tmp_path / "d.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?)", [(i, f"v{i}") for i in range(1, 2501)])
    database.close()
    source = SOURCES.open(SourceSpec(f"sqlite:///{path}", query="t"))
    assert source.columns == (("k", "int64"), ("v", "string"))
    with pytest.raises(RuntimeError):
        source.snapshot()
    assert [batch.table.num_rows for batch in source.batches(1000)] == [1000, 1000, 500]
    first = source.snapshot()
    assert rows(source)[0] == {"row_id": "t#1", "k": 1, "v": "v1"}
    assert source.snapshot() == first


def test_a_file_name_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / os.fsdecode(b"n\xff.txt")).write_text("no data")
    assert SOURCES.open(SourceSpec(str(tmp_path))).columns == (("a", "string"),)
    (tmp_path / os.fsdecode(b"caf\xe9.csv")).write_text("a\n1\n")
    with pytest.raises(SourceNotFoundError, match=r"caf\\xe9\.csv is no UTF-8") as refusal:
        SOURCES.open(SourceSpec(str(tmp_path)))
    assert "rename it" in refusal.value.hint


def test_data_that_is_a_link_to_nowhere_is_told(tmp_path):
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "README").symlink_to("nowhere")
    assert SOURCES.open(SourceSpec(str(tmp_path))).columns == (("a", "string"),)
    lost = tmp_path / "b.csv"
    lost.symlink_to(tmp_path / "elsewhere" / "b.csv")
    for uri in (tmp_path, lost, tmp_path / "*.csv"):
        with pytest.raises(
            SourceNotFoundError, match=r"b\.csv is a link to .*, which is not there"
        ):
            list(SOURCES.open(SourceSpec(str(uri))).batches())
