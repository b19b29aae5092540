"""What every output keeps: complete or absent, never over something we may not replace."""

import csv
import datetime as dt
import hashlib
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pynomaly.domain.errors import (
    OutputExistsError,
    OutputNotWritableError,
    UnsupportedFormatError,
)
from pynomaly.infrastructure.arrow.outputs import TableSinks
from pynomaly.infrastructure.filesystem.targets import open_local_target
from pynomaly.infrastructure.s3.client import connect
from pynomaly.infrastructure.s3.targets import S3Target

SINKS = TableSinks(local=open_local_target, s3=S3Target())

REASONS = pa.list_(pa.struct([("feature", pa.string()), ("contribution", pa.float64())]))
TABLE = pa.table(
    {
        "row_id": ["a#1", "a#2", "a#3"],
        "score": [0.1, float("nan"), None],
        "is_anomaly": [True, False, None],
        "reasons": pa.array([[{"feature": "x", "contribution": 1.5}], [], None], REASONS),
        "scored_at": pa.array(
            [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * 3, pa.timestamp("us", tz="UTC")
        ),
    }
)


class Folder:
    def __init__(self, path):
        self.path = path
        self.root = str(path)

    def read(self, name):
        path = self.path / name
        return path.read_bytes() if path.exists() else None

    def put(self, name, data):
        (self.path / name).write_bytes(data)

    def everything(self):
        return sorted(p.name for p in self.path.rglob("*"))


class Bucket:
    def __init__(self, name):
        self.name = name
        self.root = f"s3://{name}"
        self.client = connect()

    def read(self, name):
        try:
            return self.client.get_object(Bucket=self.name, Key=name)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None

    def put(self, name, data):
        self.client.put_object(Bucket=self.name, Key=name, Body=data)

    def everything(self):
        listed = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return sorted(entry["Key"] for entry in listed)


@pytest.fixture(params=["folder", "rclone", "moto"])
def place(request, tmp_path):
    if request.param == "folder":
        return Folder(tmp_path)
    return Bucket(
        request.getfixturevalue({"rclone": "s3_bucket", "moto": "moto_bucket"}[request.param])
    )


def write(place, name, *tables, overwrite=False):
    with SINKS.writer(f"{place.root}/{name}", overwrite=overwrite) as writer:
        for table in tables:
            writer.write(table)
    return writer


def test_parquet_gives_back_what_was_written(place):
    writer = write(place, "o.parquet", TABLE.slice(0, 1), TABLE.slice(1))
    assert pq.read_table(io.BytesIO(place.read("o.parquet"))).to_pylist()[0] == TABLE.to_pylist()[0]
    assert (writer.rows, writer.uri) == (3, f"{place.root}/o.parquet")


def test_a_digest_is_announced_before_its_bytes_are_there(place):
    place.put("o.csv", b"before")
    told = []

    def announce(digest):
        told.append((digest, place.read("o.csv")))

    with SINKS.writer(f"{place.root}/o.csv", overwrite=True, announce=announce) as writer:
        writer.write(TABLE)
    assert told == [(writer.digest, b"before")]
    assert hashlib.sha256(place.read("o.csv")).hexdigest() == writer.digest

    def fail(digest):
        raise OSError("the records do not answer")

    with (
        pytest.raises(OSError, match="do not answer"),
        SINKS.writer(f"{place.root}/o.csv", overwrite=True, announce=fail) as writer,
    ):
        writer.write(TABLE.slice(1))
    assert hashlib.sha256(place.read("o.csv")).hexdigest() == told[0][0]


def test_json_lines_hold_lists_and_name_what_json_cannot_say(place):
    write(place, "o.jsonl", TABLE)
    rows = [
        json.loads(line, parse_constant=pytest.fail) for line in place.read("o.jsonl").splitlines()
    ]
    assert rows[0]["reasons"] == [{"feature": "x", "contribution": 1.5}]
    assert rows[0]["scored_at"] == "2026-01-01T00:00:00+00:00"
    assert [row["score"] for row in rows] == [0.1, "NaN", None]


def test_csv_holds_lists_as_json_text(place):
    write(place, "o.csv", TABLE.slice(0, 2), TABLE.slice(2))
    rows = list(csv.DictReader(io.StringIO(place.read("o.csv").decode())))
    assert json.loads(rows[0]["reasons"]) == [{"feature": "x", "contribution": 1.5}]
    assert [row["reasons"] for row in rows[1:]] == ["[]", ""]
    assert [row["row_id"] for row in rows] == ["a#1", "a#2", "a#3"]


@pytest.mark.parametrize("name", ["o.parquet", "o.csv", "o.jsonl"])
def test_the_digest_is_that_of_the_finished_bytes(place, name):
    writer = write(place, name, TABLE)
    assert writer.digest == hashlib.sha256(place.read(name)).hexdigest()


def test_the_digest_of_what_is_there_can_be_asked_for(place):
    assert SINKS.digest(f"{place.root}/o.csv") is None
    assert SINKS.digest(f"{place.root}/o.csv") != write(place, "o.csv", TABLE).digest
    assert SINKS.digest(f"{place.root}/o.csv") == hashlib.sha256(place.read("o.csv")).hexdigest()
    place.put("o.csv", b"theirs")
    assert SINKS.digest(f"{place.root}/o.csv") == hashlib.sha256(b"theirs").hexdigest()


@pytest.mark.parametrize("name", ["o.parquet", "o.csv", "o.jsonl"])
@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_visible_when_writing_stops_half_way(place, name, stop):
    writers = []

    def half_way():
        with SINKS.writer(f"{place.root}/{name}", overwrite=False) as writer:
            writers.append(writer)
            writer.write(TABLE)
            assert place.read(name) is None
            raise stop

    with pytest.raises(stop):
        half_way()
    assert place.everything() == []
    assert writers[0].digest == ""
    write(place, name, TABLE)
    assert place.everything() == [name]


def test_stopping_half_way_leaves_the_old_output_as_it_was(place):
    place.put("o.csv", b"old")

    def half_way():
        with SINKS.writer(f"{place.root}/o.csv", overwrite=True) as writer:
            writer.write(TABLE)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_way()
    assert place.read("o.csv") == b"old"


def test_an_existing_output_is_refused_and_untouched(place):
    place.put("o.csv", b"theirs")
    with pytest.raises(OutputExistsError, match=r"o\.csv exists already") as caught:
        write(place, "o.csv", TABLE)
    assert "--overwrite" in caught.value.hint
    assert place.read("o.csv") == b"theirs"
    assert place.everything() == ["o.csv"]


def test_an_existing_output_is_replaced_when_allowed(place):
    place.put("o.csv", b"ours")
    write(place, "o.csv", TABLE, overwrite=True)
    assert place.read("o.csv").startswith(b'"row_id"')


def test_an_output_that_appears_while_we_write_is_not_replaced(place):
    def race():
        with SINKS.writer(f"{place.root}/o.csv", overwrite=False) as writer:
            writer.write(TABLE)
            place.put("o.csv", b"theirs")

    with pytest.raises(OutputExistsError):
        race()
    assert place.read("o.csv") == b"theirs"
    assert place.everything() == ["o.csv"]


def test_a_writer_without_tables_leaves_nothing(place):
    writer = write(place, "o.parquet")
    assert (writer.rows, writer.digest) == (0, "")
    assert place.everything() == []


def test_a_table_with_another_schema_is_refused(place):
    with pytest.raises(ValueError, match="another schema"):
        write(place, "o.parquet", TABLE, TABLE.drop_columns(["score"]))
    assert place.everything() == []


def test_an_unknown_extension_is_refused(place):
    with pytest.raises(UnsupportedFormatError, match=r"o\.xml") as caught:
        write(place, "o.xml", TABLE)
    assert ".parquet" in caught.value.hint


def test_another_kind_of_url_does_not_become_a_local_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsupportedFormatError, match="gs:// are not written"):
        SINKS.writer("gs://bucket/o.csv", overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_folders_on_the_way_are_created(place):
    write(place, "a/b/o.csv", TABLE)
    assert place.read("a/b/o.csv")


def test_a_path_below_a_file_or_in_a_read_only_place_is_not_writable(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "o.csv", Path("/proc/nowhere/o.csv"), Path("/proc/o.csv")):
        with pytest.raises(OutputNotWritableError, match=str(path)):
            write(Folder(path.parent), path.name, TABLE)
    (tmp_path / "o.csv").mkdir()
    with pytest.raises(OutputNotWritableError, match="is a folder"):
        write(Folder(tmp_path), "o.csv", TABLE, overwrite=True)


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path, monkeypatch):
    import os
    from contextlib import contextmanager

    @contextmanager
    def full(uri, *, overwrite):
        with open_local_target(uri, overwrite=overwrite) as handle:
            disk = os.open("/dev/full", os.O_WRONLY)
            os.dup2(disk, handle.fileno())
            os.close(disk)
            yield handle

    sinks = TableSinks(local=full, s3=S3Target())
    big = pa.table({"a": [os.urandom(1000).hex() for _ in range(2000)]})
    for name in ("o.csv", "o.parquet", "o.jsonl"):
        for table in (big, big.slice(0, 1)):
            with (
                pytest.raises(OutputNotWritableError, match="No space left"),
                sinks.writer(str(tmp_path / name), overwrite=False) as writer,
            ):
                writer.write(table)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_followed_over_somebody_elses_file(tmp_path):
    (tmp_path / "theirs.csv").write_text("theirs")
    (tmp_path / "o.csv").symlink_to(tmp_path / "theirs.csv")
    write(Folder(tmp_path), "o.csv", TABLE, overwrite=True)
    assert (tmp_path / "theirs.csv").read_text() == "theirs"


def test_a_missing_bucket_or_a_url_without_key_is_not_writable(s3_endpoint):
    with (
        pytest.raises(OutputNotWritableError, match=r"s3://no-such-bucket-x/o\.csv"),
        SINKS.writer("s3://no-such-bucket-x/o.csv", overwrite=True),
    ):
        pytest.fail("the bucket is missing")
    with (
        pytest.raises(OutputNotWritableError, match="names no object"),
        SINKS.writer("s3://bucket.csv", overwrite=True),
    ):
        pytest.fail("there is no key")
