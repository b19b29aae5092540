"""Sources that change, break or refuse us between planning and reading."""

import io
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from botocore.awsrequest import AWSResponse

from pynomaly.adapters import partition_reader
from pynomaly.application.planned_source import PlannedSource
from pynomaly.domain.errors import MalformedSourceError, SourceChangedError, SourceNotFoundError
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.files import stamp
from pynomaly.infrastructure.s3.client import connect

pytestmark = pytest.mark.integration

READER = partition_reader()


def parquet(rows=30, first=0, **options):
    sink = io.BytesIO()
    table = pa.table({"n": range(first, first + rows), "s": [f"text {n}" for n in range(rows)]})
    # Plain and unpacked, so that bytes can be found and damaged.
    options = {"compression": "none", "use_dictionary": False, **options}
    pq.write_table(table, sink, row_group_size=10, write_page_checksum=True, **options)
    return sink.getvalue()


def csv(rows=30, first=0):
    return "".join(["n,s\n", *(f"{n},text\n" for n in range(first, first + rows))]).encode()


def numbers(spec, partition, **options):
    return [
        n for batch in READER.read(spec, partition, **options) for n in batch.table["n"].to_pylist()
    ]


def damaged(data, group):
    """Return a Parquet file with one bit of a page of that row group flipped."""
    chunk = pq.read_metadata(io.BytesIO(data)).row_group(group).column(1)
    place = chunk.data_page_offset + chunk.total_compressed_size - 3
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


WRITERS = {"parquet": parquet, "csv": csv}


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_that_was_replaced_since_it_was_planned_is_refused(tmp_path, form):
    path = tmp_path / f"a.{form}"
    path.write_bytes(WRITERS[form]())
    spec = SourceSpec(str(path))
    plan = READER.plan(spec, partition_rows=10)
    other = tmp_path / "new"
    other.write_bytes(WRITERS[form](first=1))
    other.replace(path)
    for partition in plan.partitions:
        with pytest.raises(SourceChangedError, match=rf"a\.{form}.* changed since it was planned"):
            numbers(spec, partition)


@pytest.mark.parametrize("form", WRITERS)
def test_only_a_file_that_somebody_has_touched_is_digested_again(tmp_path, form, monkeypatch):
    path = tmp_path / f"a.{form}"
    path.write_bytes(WRITERS[form]())
    was = path.stat()
    monkeypatch.setattr("time.time_ns", lambda: was.st_ctime_ns + 3 * 10**9)
    plan = READER.plan(SourceSpec(str(path)), partition_rows=1_000)
    with monkeypatch.context() as patched:
        patched.setattr("hashlib.sha256", None)  # a digest would fail
        found = numbers(SourceSpec(str(path)), plan.partitions[0])
    assert [int(n) for n in found] == list(range(30))

    # Written to in place, as long as before, and with its time set back.
    while path.stat().st_ctime_ns == was.st_ctime_ns:
        path.write_bytes(path.read_bytes().replace(b"text", b"lies"))
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert path.stat().st_mtime_ns == was.st_mtime_ns
    with pytest.raises(SourceChangedError, match="changed since it was planned"):
        numbers(SourceSpec(str(path)), plan.partitions[0])


def test_the_times_of_a_file_written_just_now_prove_nothing(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(csv())
    with path.open("rb") as handle:
        assert stamp(handle) == ""


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_that_grew_shorter_or_is_gone_is_told_from_a_damaged_one(tmp_path, form):
    path = tmp_path / f"a.{form}"
    path.write_bytes(WRITERS[form]())
    spec = SourceSpec(str(path))
    last = READER.plan(spec, partition_rows=10).partitions[-1]
    path.write_bytes(WRITERS[form]()[:-20])
    with pytest.raises(SourceChangedError):
        numbers(spec, last)
    path.unlink()
    with pytest.raises(SourceNotFoundError, match=rf"a\.{form}"):
        numbers(spec, last)


def test_an_edit_in_place_concerns_its_own_row_group_alone(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet())
    spec = SourceSpec(str(path))
    plan = READER.plan(spec, partition_rows=10)
    path.write_bytes(damaged(parquet(), 1))
    first, second, third = plan.partitions
    assert numbers(spec, first) == list(range(10))
    with pytest.raises(SourceChangedError, match="row group 1, rows 11-20"):
        numbers(spec, second)
    assert numbers(spec, third) == list(range(20, 30))


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_that_is_written_to_while_it_is_read_is_refused_at_the_end(tmp_path, form):
    path = tmp_path / f"a.{form}"
    path.write_bytes(WRITERS[form]())
    spec = SourceSpec(str(path))
    (partition,) = READER.plan(spec, partition_rows=1_000).partitions
    batches = READER.read(spec, partition, batch_rows=5)
    next(batches)
    with path.open("ab") as handle:
        handle.write(b"1,more\n")
    with pytest.raises(SourceChangedError):
        list(batches)


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet())
    spec = SourceSpec(str(path))
    (partition,) = READER.plan(spec, partition_rows=1_000).partitions
    batches = READER.read(spec, partition, batch_rows=5)
    found = next(batches).table["n"].to_pylist()
    (tmp_path / "new").write_bytes(parquet(first=500))
    (tmp_path / "new").replace(path)
    assert found + [n for b in batches for n in b.table["n"].to_pylist()] == list(range(30))


def test_a_corrupt_row_group_is_named_and_the_others_are_read(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(damaged(parquet(), 1))
    spec = SourceSpec(str(path))
    first, second, third = READER.plan(spec, partition_rows=10).partitions
    assert numbers(spec, first) == list(range(10))
    with pytest.raises(MalformedSourceError, match=r"a\.parquet, row group 1 cannot be decoded"):
        numbers(spec, second)
    assert numbers(spec, third) == list(range(20, 30))
    # The column that is sound can still be had.
    assert numbers(spec, second, columns=["n"]) == list(range(10, 20))


def test_a_truncated_file_among_sound_ones_fails_when_it_is_read(tmp_path):
    (tmp_path / "a.parquet").write_bytes(parquet())
    (tmp_path / "b.parquet").write_bytes(parquet()[:-30])
    (tmp_path / "c.parquet").write_bytes(parquet(first=30))
    spec = SourceSpec(str(tmp_path))
    plan = READER.plan(spec, partition_rows=1_000)
    sound, broken, last = plan.partitions
    assert (broken.name, broken.extent, broken.rows) == ("b.parquet", "", None)
    assert numbers(spec, sound) + numbers(spec, last) == list(range(60))
    with pytest.raises(MalformedSourceError, match=r"b\.parquet is no readable Parquet file"):
        numbers(spec, broken)


def test_a_truncated_file_comes_first_and_the_plan_is_that_of_the_others(tmp_path):
    (tmp_path / "a.parquet").write_bytes(parquet()[:-30])
    (tmp_path / "b.parquet").write_bytes(parquet())
    plan = READER.plan(SourceSpec(str(tmp_path)), partition_rows=1_000)
    assert [p.name for p in plan.partitions] == ["a.parquet", "b.parquet"]
    assert plan.columns == (("n", "int64"), ("s", "string"))


def test_a_truncated_file_alone_is_refused_when_it_is_planned(tmp_path):
    (tmp_path / "a.parquet").write_bytes(parquet()[:-30])
    with pytest.raises(MalformedSourceError, match=r"a\.parquet is no readable Parquet file"):
        READER.plan(SourceSpec(str(tmp_path)), partition_rows=10)


def test_what_cannot_be_read_of_a_plan_is_told_and_left_out(tmp_path):
    (tmp_path / "a.parquet").write_bytes(damaged(parquet(), 1))
    (tmp_path / "b.parquet").write_bytes(parquet()[:-30])
    (tmp_path / "c.parquet").write_bytes(parquet(first=30))
    spec = SourceSpec(str(tmp_path))
    plan = READER.plan(spec, partition_rows=20)
    told = []
    source = PlannedSource(READER, spec, plan, lambda p, error: told.append((p.name, str(error))))
    rows = [row for batch in source.batches(7) for row in batch.table.to_pylist()]
    # Row group 0 lies in the same partition as the broken one, before it.
    assert [row["row_id"] for row in rows] == [
        *(f"a.parquet#{n}" for n in [*range(1, 11), *range(21, 31)]),
        *(f"c.parquet#{n}" for n in range(1, 31)),
    ]
    assert [name for name, _ in told] == ["a.parquet", "b.parquet"]
    assert "row group 1" in told[0][1]
    assert source.snapshot().rows == 50
    assert source.snapshot().fingerprint == plan.fingerprint
    with pytest.raises(MalformedSourceError, match="row group 1"):
        list(PlannedSource(READER, spec, plan).batches())


# --- objects


@pytest.fixture
def faults():
    """Function that answers requests of an operation for us: statuses, then the server's own."""
    ours = []

    def inject(operation, statuses):
        seen = []

        def answer(request, **other):
            seen.append(request.url)
            status = next(statuses, None)
            if status is None:
                return None
            body = io.BytesIO(b"<Error><Code>SlowDown</Code></Error>")
            body.stream = lambda *arguments, **options: iter([body.getvalue()])
            return AWSResponse(request.url, status, {}, body)

        events = connect().meta.events
        name = f"before-send.s3.{operation}"
        events.register(name, answer)
        ours.append((events, name, answer))
        return seen

    yield inject
    for events, name, answer in ours:
        events.unregister(name, answer)


def put(bucket, data, key="lake/a.parquet"):
    connect().put_object(Bucket=bucket, Key=key, Body=data)
    return SourceSpec(f"s3://{bucket}/{key}")


@pytest.mark.s3
@pytest.mark.parametrize("form", WRITERS)
def test_an_object_that_was_replaced_since_it_was_planned_is_refused(any_bucket, form):
    key = f"lake/a.{form}"
    spec = put(any_bucket, WRITERS[form](), key)
    plan = READER.plan(spec, partition_rows=10)
    put(any_bucket, WRITERS[form](first=1), key)
    for partition in plan.partitions:
        with pytest.raises(SourceChangedError, match=rf"a\.{form}"):
            numbers(spec, partition)


@pytest.mark.s3
def test_a_corrupt_row_group_of_an_object_is_named_and_the_others_are_read(any_bucket):
    spec = put(any_bucket, damaged(parquet(), 1))
    first, second, third = READER.plan(spec, partition_rows=10).partitions
    assert numbers(spec, first) + numbers(spec, third) == [*range(10), *range(20, 30)]
    with pytest.raises(MalformedSourceError, match=r"s3://.*a\.parquet, row group 1 cannot"):
        numbers(spec, second)


@pytest.mark.s3
def test_a_truncated_object_among_sound_ones_fails_when_it_is_read(any_bucket):
    put(any_bucket, parquet())
    put(any_bucket, parquet()[:-30], "lake/b.parquet")
    spec = SourceSpec(f"s3://{any_bucket}/lake")
    sound, broken = READER.plan(spec, partition_rows=1_000).partitions
    assert numbers(spec, sound) == list(range(30))
    with pytest.raises(MalformedSourceError, match=r"b\.parquet is no readable Parquet file"):
        numbers(spec, broken)


@pytest.mark.s3
def test_a_server_that_is_busy_twice_is_asked_again(any_bucket, faults, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    spec = put(any_bucket, parquet())
    (partition,) = READER.plan(spec, partition_rows=1_000).partitions
    seen = faults("GetObject", iter([503, 503]))
    assert numbers(spec, partition) == list(range(30))
    assert len(seen) >= 3


@pytest.mark.s3
def test_a_server_that_stays_busy_is_given_up_with_its_answer(any_bucket, faults, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    spec = put(any_bucket, parquet())
    (partition,) = READER.plan(spec, partition_rows=1_000).partitions
    seen = faults("GetObject", iter(lambda: 503, None))
    with pytest.raises(SourceNotFoundError, match=r"a\.parquet: S3 kept answering 503") as caught:
        numbers(spec, partition)
    assert "try again" in caught.value.hint
    assert 3 <= len(seen) <= 6


@pytest.mark.s3
def test_wrong_credentials_are_said_without_repeating_them(s3_bucket, monkeypatch):
    spec = put(s3_bucket, parquet())
    (partition,) = READER.plan(spec, partition_rows=1_000).partitions
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-right-secret")
    for attempt in (
        lambda: READER.plan(spec, partition_rows=10),
        lambda: numbers(spec, partition),
    ):
        with pytest.raises(SourceNotFoundError, match="access denied") as caught:
            attempt()
        assert "not-the-right-secret" not in str(caught.value)


# --- databases


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def run(request, tmp_path):
    """Function that runs a statement in a database with a table; ``url`` is its URL."""
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/d.db" if sqlite else request.getfixturevalue("postgres_url")
    engine = sa.create_engine(url, poolclass=sa.NullPool)

    def execute(statement):
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)

    execute("DROP TABLE IF EXISTS moving")
    execute("CREATE TABLE moving (n integer PRIMARY KEY, v integer)")
    rows = ", ".join(f"({n}, 0)" for n in range(0, 60, 2))
    execute(f"INSERT INTO moving VALUES {rows}")
    execute.url = url
    yield execute
    engine.dispose()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE moving SET v = 1 WHERE n = 30",
        "DELETE FROM moving WHERE n = 30",
        "INSERT INTO moving VALUES (31, 0)",
        "ALTER TABLE moving ADD COLUMN w integer",
    ],
)
def test_a_table_that_changed_since_it_was_planned_is_refused_where_it_changed(run, change):
    spec = SourceSpec(run.url, query="moving")
    plan = READER.plan(spec, partition_rows=10, key="n")
    first, second, third = plan.partitions
    assert numbers(spec, second) == list(range(20, 40, 2))
    run(change)
    with pytest.raises(SourceChangedError, match=r"20 <= n < 40 changed since it was planned"):
        numbers(spec, second)
    if not change.startswith("ALTER"):
        assert numbers(spec, first) + numbers(spec, third) == [*range(0, 20, 2), *range(40, 60, 2)]


def test_rows_beyond_the_plan_are_no_change_of_it(run):
    spec = SourceSpec(run.url, query="moving")
    plan = READER.plan(spec, partition_rows=10, key="n")
    run("INSERT INTO moving VALUES (100, 0), (-5, 0)")
    assert [n for p in plan.partitions for n in numbers(spec, p)] == list(range(0, 60, 2))


def test_a_table_that_is_gone_is_named(run):
    spec = SourceSpec(run.url, query="moving")
    (partition,) = READER.plan(spec, partition_rows=100, key="n").partitions
    run("DROP TABLE moving")
    with pytest.raises(SourceNotFoundError, match="no table 'moving'"):
        numbers(spec, partition)
