"""What dividing and reading keep, wherever the rows are: files, objects and databases."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from pynomaly.adapters import data_sources, partition_reader
from pynomaly.domain.errors import ConfigurationError, MalformedSourceError, SourceChangedError
from pynomaly.domain.increments import INCREMENT
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.s3.client import connect

READER = partition_reader()
SOURCES = data_sources()
SERVERS = {"rclone": "s3_bucket", "moto": "moto_bucket"}


def table(rows=100, seed=0):
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "k": [f"id{n:03d}" for n in range(rows)],
            "x": random.normal(size=rows).tolist(),
            "n": random.integers(0, 9, rows).tolist(),
        }
    )


def parquet(rows, group=10, **options):
    sink = io.BytesIO()
    pq.write_table(rows, sink, row_group_size=group, **options)
    return sink.getvalue()


def csv(rows):
    lines = [",".join(map(str, row.values())) for row in rows.to_pylist()]
    return "\n".join([",".join(rows.column_names), *lines, ""]).encode()


def jsonl(rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows.to_pylist()).encode()


WRITERS = {"parquet": parquet, "csv": csv, "jsonl": jsonl}


class Lake:
    """A folder or prefix into which files are put."""

    def __init__(self, root, put):
        self.root, self.put = root, put

    @property
    def spec(self):
        return SourceSpec(self.root)


@pytest.fixture(params=["folder", *SERVERS])
def lake(request, tmp_path):
    if request.param == "folder":

        def put(name, data):
            path = tmp_path / "lake" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

        return Lake(str(tmp_path / "lake"), put)
    bucket = request.getfixturevalue(SERVERS[request.param])
    return Lake(
        f"s3://{bucket}/lake",
        lambda name, data: connect().put_object(Bucket=bucket, Key=f"lake/{name}", Body=data),
    )


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "files"
    root.mkdir()
    return Lake(str(root), lambda name, data: (root / name).write_bytes(data))


class Database:
    """A database whose tables are made anew."""

    def __init__(self, url):
        self.url = url

    def run(self, *statements):
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def spec(self, query="t"):
        return SourceSpec(self.url, query=query)


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres])],
)
def database(request, tmp_path):
    if request.param == "sqlite":
        return Database(f"sqlite:///{tmp_path}/d.db")
    found = Database(request.getfixturevalue("postgres_url"))
    found.run("DROP TABLE IF EXISTS t")
    return found


def numbered(spec, plan, **options):
    """Return the rows of all partitions with their row ids, having checked the numbers."""
    found = []
    expected = {}
    for partition in plan.partitions:
        assert partition.first_row == expected.get(partition.name, 0)
        last = partition.first_row
        rows = malformed = 0
        for batch in READER.read(spec, partition, **options):
            assert batch.numbers.dtype == np.int64
            assert len(batch.numbers) == batch.table.num_rows
            assert "row_id" not in batch.table.column_names
            refused = {row.line for row in batch.malformed}
            for number, row in zip(batch.numbers.tolist(), batch.table.to_pylist(), strict=True):
                assert number > last
                last = number
                found.append((f"{partition.name}#{number}", row))
            rows += batch.table.num_rows
            malformed += len(refused)
        if partition.rows is not None:
            assert partition.rows == rows + malformed
            assert last <= partition.first_row + partition.rows
        expected[partition.name] = partition.first_row + rows + malformed
    return found


def opened(spec):
    """Return the same from the source as a whole."""
    return [
        (row.pop("row_id"), row)
        for batch in SOURCES.open(spec).batches()
        for row in batch.table.to_pylist()
    ]


def digests(plan):
    return [partition.digest for partition in plan.partitions]


@pytest.mark.parametrize("form", WRITERS)
def test_the_partitions_together_are_the_source_row_for_row(lake, form):
    lake.put(f"a.{form}", WRITERS[form](table(95)))
    lake.put(f"b.{form}", WRITERS[form](table(7, seed=1)))
    whole = opened(lake.spec)
    assert len(whole) == 102
    for partition_rows in (1, 25, 1_000):
        plan = READER.plan(lake.spec, partition_rows=partition_rows)
        assert plan.columns == SOURCES.open(lake.spec).columns
        assert numbered(lake.spec, plan) == whole
        assert numbered(lake.spec, plan, batch_rows=3) == whole
        assert [row[0] for row in whole] == [
            *(f"a.{form}#{n}" for n in range(1, 96)),
            *(f"b.{form}#{n}" for n in range(1, 8)),
        ]


def test_parquet_is_divided_at_row_groups_into_at_least_the_rows_asked_for(lake):
    lake.put("a.parquet", parquet(table(95)))
    plan = READER.plan(lake.spec, partition_rows=25)
    assert [(p.first_row, p.rows) for p in plan.partitions] == [
        (0, 30),
        (30, 30),
        (60, 30),
        (90, 5),
    ]
    assert [p.extent for p in plan.partitions] == [
        "row groups 0-2, rows 1-30",
        "row groups 3-5, rows 31-60",
        "row groups 6-8, rows 61-90",
        "row group 9, rows 91-95",
    ]
    (whole,) = READER.plan(lake.spec, partition_rows=95).partitions
    assert (whole.extent, whole.rows) == ("", 95)


def test_malformed_lines_are_counted_among_the_numbers_and_reported(lake):
    lake.put("a.csv", b"a,b\n1,2\n3\n5,6\n")
    plan = READER.plan(lake.spec, partition_rows=10)
    (partition,) = plan.partitions
    batches = list(READER.read(lake.spec, partition))
    assert [n for batch in batches for n in batch.numbers.tolist()] == [1, 3]
    assert sum(len(batch.malformed) for batch in batches) == 1
    assert [name for name, _ in opened(lake.spec)] == ["a.csv#1", "a.csv#3"]


def test_rows_before_a_quote_that_is_never_closed_are_read(lake):
    lake.put("a.csv", b"a,b\n" + b"1,2\n" * 30_000 + b'3,"4\n' + b"5,6\n" * 300_000)
    (partition,) = READER.plan(lake.spec, partition_rows=1_000_000).partitions
    seen = []
    with pytest.raises(MalformedSourceError, match="line 30002 is never closed"):
        seen.extend(READER.read(lake.spec, partition, batch_rows=1_000_000))
    assert sum(len(batch.numbers) for batch in seen) >= 30_000


def test_malformed_lines_do_not_pile_up(lake):
    lake.put("a.jsonl", b'{"a": 1}\n' + b"broken\n" * 40_000)
    (partition,) = READER.plan(lake.spec, partition_rows=1_000_000).partitions
    batches = list(READER.read(lake.spec, partition, batch_rows=5_000))
    malformed = [len(batch.malformed) for batch in batches]
    assert sum(malformed) == 40_000
    assert max(malformed) < 10_000


@pytest.mark.parametrize("form", WRITERS)
def test_equal_content_has_equal_digests_and_fingerprint_wherever_it_is(tmp_path, form):
    plans = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / f"a.{form}").write_bytes(WRITERS[form](table()))
        plans.append(READER.plan(SourceSpec(str(tmp_path / place)), partition_rows=20))
    assert digests(plans[0]) == digests(plans[1])
    assert plans[0].fingerprint == plans[1].fingerprint


def test_an_object_listed_twice_has_equal_digests(lake):
    lake.put("a.parquet", parquet(table()))
    plans = [READER.plan(lake.spec, partition_rows=20) for _ in range(2)]
    assert plans[0] == plans[1]
    lake.put("a.parquet", parquet(table(seed=5)))
    assert not set(digests(plans[0])) & set(digests(READER.plan(lake.spec, partition_rows=20)))


def test_a_change_of_one_row_group_changes_the_digest_of_its_partition_alone(folder):
    rows = table()
    folder.put("a.parquet", parquet(rows))
    before = READER.plan(folder.spec, partition_rows=20)
    values = rows["x"].to_pylist()
    values[45] += 1e-9
    folder.put("a.parquet", parquet(rows.set_column(1, "x", pa.array(values))))
    after = READER.plan(folder.spec, partition_rows=20)
    changed = [a != b for a, b in zip(digests(before), digests(after), strict=True)]
    assert changed == [False, False, True, False, False]
    assert before.fingerprint.content != after.fingerprint.content
    assert before.fingerprint.schema == after.fingerprint.schema


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_with_its_columns_in_another_order_is_read_by_name(lake, form):
    lake.put(f"a.{form}", WRITERS[form](table(20)))
    lake.put(f"b.{form}", WRITERS[form](table(20, seed=1).select(["n", "k", "x"])))
    plan = READER.plan(lake.spec, partition_rows=10)
    for partition in plan.partitions:
        for batch in READER.read(lake.spec, partition):
            assert batch.table.column_names == ["k", "x", "n"]
    assert numbered(lake.spec, plan) == opened(lake.spec)


@pytest.mark.parametrize("form", WRITERS)
def test_files_of_different_columns_are_refused_when_planned(folder, form):
    folder.put(f"a.{form}", WRITERS[form](table(5)))
    folder.put(f"b.{form}", WRITERS[form](table(5).rename_columns(["k", "x", "other"])))
    with pytest.raises(MalformedSourceError, match=rf"b\.{form}") as caught:
        READER.plan(folder.spec, partition_rows=10)
    assert "other" in str(caught.value)


@pytest.mark.parametrize("form", WRITERS)
def test_columns_come_in_the_order_asked_for(lake, form):
    lake.put(f"a.{form}", WRITERS[form](table(20)))
    plan = READER.plan(lake.spec, partition_rows=10)
    found = numbered(lake.spec, plan, columns=["n", "k"])
    assert [list(row) for _, row in found] == [["n", "k"]] * 20
    assert found == [(i, {"n": row["n"], "k": row["k"]}) for i, row in opened(lake.spec)]
    with pytest.raises(MalformedSourceError, match="no column 'z'"):
        list(READER.read(lake.spec, plan.partitions[0], columns=["z"]))


@pytest.mark.parametrize("form", WRITERS)
def test_folders_called_column_equals_value_tell_a_column(lake, form):
    days = {"date=2026-01-01/part=a%2Fb": "a/b", "date=__HIVE_DEFAULT_PARTITION__/part=": ""}
    for number, folder in enumerate(days):
        lake.put(f"{folder}/x.{form}", WRITERS[form](table(20, seed=number)))
    plan = READER.plan(lake.spec, partition_rows=10)
    assert [name for name, _ in plan.columns] == ["k", "x", "n", "date", "part"]
    for columns in (None, ["part", "k", "date"], ["date"], ["k"]):
        found = [
            row
            for partition in plan.partitions
            for batch in READER.read(lake.spec, partition, columns=columns, batch_rows=7)
            for row in batch.table.to_pylist()
        ]
        assert list(found[0]) == (columns or ["k", "x", "n", "date", "part"])
        assert len(found) == 40
        if columns != ["k"]:
            assert [row["date"] for row in found] == ["2026-01-01"] * 20 + [None] * 20
        if columns is None:
            assert [row["part"] for row in found[::20]] == ["a/b", ""]
            whole = [r for b in SOURCES.open(lake.spec).batches() for r in b.table.to_pylist()]
            assert [{k: v for k, v in row.items() if k != "row_id"} for row in whole] == found


def test_a_column_that_a_file_has_itself_is_not_told_by_its_folder(folder):
    Path(folder.root, "k=elsewhere").mkdir()
    folder.put("k=elsewhere/a.csv", csv(table(3)))
    (partition,) = READER.plan(folder.spec, partition_rows=10).partitions
    (batch,) = READER.read(folder.spec, partition)
    assert batch.table["k"].to_pylist() == ["id000", "id001", "id002"]


def test_a_source_without_rows_is_refused_when_planned(folder):
    folder.put("a.parquet", parquet(table(0)))
    with pytest.raises(MalformedSourceError, match="no rows"):
        READER.plan(folder.spec, partition_rows=10)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_file_without_rows_among_others_is_a_partition_without_rows(lake, form):
    lake.put(f"a.{form}", WRITERS[form](table(5)))
    lake.put(f"b.{form}", WRITERS[form](table(5).slice(0, 0)))
    plan = READER.plan(lake.spec, partition_rows=10)
    _, empty = plan.partitions
    assert (empty.name, empty.extent, empty.rows) == (f"b.{form}", "", 0)
    assert list(READER.read(lake.spec, empty)) == []
    assert numbered(lake.spec, plan) == opened(lake.spec)
    lake.put(f"b.{form}", WRITERS[form](table(3)))
    with pytest.raises(SourceChangedError):
        list(READER.read(lake.spec, empty))


def test_what_is_gone_has_no_rows(lake):
    lake.put("a.parquet", parquet(table(5)))
    (partition,) = READER.plan(lake.spec, partition_rows=10).partitions
    nothing = replace(partition, rows=0, digest="", locator=())
    assert list(READER.read(lake.spec, nothing)) == []


def test_a_plan_of_files_names_one_path_in_any_spelling(folder, monkeypatch):
    folder.put("a.csv", csv(table(5)))
    plan = READER.plan(folder.spec, partition_rows=10)
    root = Path(folder.root)
    Path(root.parent, "link").symlink_to(root)
    monkeypatch.chdir(root)
    for spelling in ("a.csv", f"../{root.name}/a.csv", f"{root}/../link/a.csv", "../link/*.csv"):
        found = READER.plan(SourceSpec(spelling), partition_rows=10)
        assert found.partitions == plan.partitions
        assert READER.place(SourceSpec(spelling)) == found.uri
        assert found.uri == f"{root.resolve()}/{'*' if '*' in spelling else 'a'}.csv"


def test_a_file_found_by_two_names_is_read_once(folder):
    folder.put("2026-01.csv", csv(table(5)))
    root = Path(folder.root)
    Path(root, "earlier.csv").symlink_to(Path(root, "2026-01.csv"))
    Path(root, "latest.csv").symlink_to(Path(root, "2026-01.csv"))
    for spec in (folder.spec, SourceSpec(f"{root}/*.csv")):
        (partition,) = READER.plan(spec, partition_rows=10).partitions
        assert partition.name == "2026-01.csv"
        assert sum(batch.table.num_rows for batch in SOURCES.open(spec).batches()) == 5


# --- databases

KEYS = {
    "numbers": ("integer", [*range(-5, 30)]),
    "fractions": ("double precision", [n / 7 for n in range(35)]),
    "texts": ("text", [f"{'aÄ b'[n % 4]}'{n}%:x" for n in range(35)]),
    "repeated": ("integer", [n // 12 for n in range(35)]),
    "all equal": ("text", ["same"] * 35),
    "some missing": ("integer", [None if n % 5 == 0 else n % 9 for n in range(35)]),
    "texts missing": ("text", [None if n % 2 else str(n % 6) for n in range(35)]),
    "all missing": ("integer", [None] * 35),
}


def literal(value):
    if value is None:
        return "NULL"
    return (
        "'{}'".format(value.replace("'", "''").replace("%", "%%"))
        if isinstance(value, str)
        else str(value)
    )


def filled(database, kind, keys, primary="id integer PRIMARY KEY"):
    values = ", ".join(f"({n}, {literal(key)}, {n % 3})" for n, key in enumerate(keys))
    database.run(
        f"CREATE TABLE t ({primary}, k {kind}, v integer)", f"INSERT INTO t VALUES {values}"
    )


@pytest.mark.parametrize("primary", ["id integer PRIMARY KEY", "id integer"])
@pytest.mark.parametrize("keys", KEYS)
def test_ranges_of_a_key_together_are_the_table(database, keys, primary):
    filled(database, *KEYS[keys], primary)
    spec = database.spec()
    whole = sorted(row["id"] for _, row in opened(spec))
    for partition_rows in (5, 100):
        plan = READER.plan(spec, partition_rows=partition_rows, key="k")
        found = numbered(spec, plan, batch_rows=2)
        assert [name for name, _ in found] == [f"t#{n}" for n in range(1, 36)]
        assert sorted(row["id"] for _, row in found) == whole
        assert READER.plan(spec, partition_rows=partition_rows, key="k") == plan
        present = [row["k"] for _, row in found if row["k"] is not None]
        assert [row["k"] for _, row in found][: len(present)] == present
        if present and not isinstance(present[0], str):
            assert present == sorted(present)


def test_a_key_divides_into_ranges_of_the_rows_asked_for(database):
    filled(database, "integer", range(100))
    plan = READER.plan(database.spec(), partition_rows=25, key="id")
    assert [(p.first_row, p.rows) for p in plan.partitions] == [
        (0, 25), (25, 25), (50, 25), (75, 25),
    ]  # fmt: skip
    assert plan.partitions[0].extent == "0 <= id < 25"
    assert plan.partitions[-1].extent == "75 <= id <= 99"


def test_a_table_without_a_key_is_one_partition_and_the_source_itself(database):
    filled(database, "text", KEYS["texts"][1])
    spec = database.spec()
    plan = READER.plan(spec, partition_rows=4)
    assert len(plan.partitions) == 1
    assert numbered(spec, plan) == opened(spec)


def test_a_query_is_divided_like_a_table(database):
    filled(database, "integer", range(35))
    spec = database.spec("SELECT id, k * 2 AS twice FROM t WHERE id >= 5 -- the rest")
    plan = READER.plan(spec, partition_rows=10, key="twice")
    assert len(plan.partitions) == 3
    assert sorted(row["id"] for _, row in numbered(spec, plan)) == list(range(5, 35))


def test_a_changed_row_changes_the_digest_of_its_range_alone(database):
    filled(database, "integer", range(40))
    before = READER.plan(database.spec(), partition_rows=10, key="id")
    database.run("UPDATE t SET v = 99 WHERE id = 15")
    after = READER.plan(database.spec(), partition_rows=10, key="id")
    changed = [a != b for a, b in zip(digests(before), digests(after), strict=True)]
    assert changed == [False, True, False, False]


def test_columns_of_a_table_come_in_the_order_asked_for(database):
    filled(database, "integer", range(10))
    spec = database.spec()
    plan = READER.plan(spec, partition_rows=4, key="id")
    found = numbered(spec, plan, columns=["v", "id"])
    assert [tuple(row.items()) for _, row in found] == [
        (("v", n % 3), ("id", n)) for n in range(10)
    ]


@pytest.mark.parametrize(
    ("kind", "marks"),
    [
        ("integer", [*range(1, 21)]),
        ("text", [f"2026-01-{n:02d}" for n in range(1, 21)]),
        ("double precision", [n + 0.5 for n in range(1, 21)]),
    ],
)
def test_only_rows_above_the_watermark_are_new(database, kind, marks):
    filled(database, kind, marks[:15])
    spec = database.spec()
    first = READER.plan(spec, partition_rows=4, key="id", watermark="k")
    mark = first.watermark.value
    assert (first.watermark.column, mark) == ("k", str(marks[14]))
    assert len(numbered(spec, first)) == 15
    nothing = READER.plan(spec, partition_rows=4, key="id", watermark="k", above=mark)
    assert nothing.partitions == ()
    assert (nothing.watermark.column, nothing.watermark.value) == ("k", mark)

    more = ", ".join(f"({100 + n}, {literal(mark)}, 0)" for n, mark in enumerate(marks[15:]))
    database.run(f"INSERT INTO t VALUES {more}")
    second = READER.plan(spec, partition_rows=4, key="id", watermark="k", above=mark)
    assert second.watermark.value == str(marks[19])
    assert second.watermark.asked_at >= first.watermark.asked_at
    assert [row["k"] for _, row in numbered(spec, second)] == marks[15:]
    for partition in second.partitions:
        assert partition.source.endswith(f"{INCREMENT}{mark}")
        assert partition.source.removesuffix(f"{INCREMENT}{mark}") == READER.place(spec)
    assert {partition.source for partition in first.partitions} == {READER.place(spec)}
    # Rows without an id are named by table and number, which begins anew in every increment.
    assert not {p.name for p in first.partitions} & {p.name for p in second.partitions}
    # What came later is no part of the first plan.
    assert len(numbered(spec, first)) == 15


def test_rows_without_watermark_are_read_first_and_refused_in_an_increment(database):
    filled(database, "integer", [1, 2, None, 4])
    spec = database.spec()
    plan = READER.plan(spec, partition_rows=10, watermark="k")
    assert len(numbered(spec, plan)) == 4
    with pytest.raises(MalformedSourceError, match=r"1 rows of .* have no k"):
        READER.plan(spec, partition_rows=10, watermark="k", above="2")


def test_a_key_or_watermark_that_is_no_column_is_named(database):
    filled(database, "integer", range(3))
    with pytest.raises(MalformedSourceError, match="no column 'z'") as caught:
        READER.plan(database.spec(), partition_rows=10, key="z")
    assert "id, k, v" in caught.value.hint
    with pytest.raises(ConfigurationError, match="no watermark 'z'"):
        READER.plan(database.spec(), partition_rows=10, watermark="z")


@pytest.mark.postgres
def test_no_password_is_kept_in_a_plan(postgres_url):
    database = Database(postgres_url)
    database.run("DROP TABLE IF EXISTS t")
    filled(database, "integer", range(10))
    url = sa.make_url(postgres_url).set(password="hunter2-secret")
    secret = url.update_query_dict({"passfile": "/hunter2-secret"})
    spec = SourceSpec(secret.render_as_string(hide_password=False), query="t")
    plan = READER.plan(spec, partition_rows=4, key="id", watermark="k", above="3")
    assert len(numbered(spec, plan)) == 6
    assert "hunter2" not in repr(plan) + READER.place(spec) + "".join(map(str, plan.partitions))
