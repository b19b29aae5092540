"""Tables and queries of real databases."""

import datetime as dt
import sqlite3
import sys

import pytest
import sqlalchemy as sa

from pynomaly.domain.errors import (
    ConfigurationError,
    MalformedSourceError,
    MissingExtraError,
    SourceNotFoundError,
)
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.sqlalchemy.source import open_sql_source

pytestmark = pytest.mark.integration


def rows(source, batch_rows=50_000):
    return [row for batch in source.batches(batch_rows) for row in batch.table.to_pylist()]


@pytest.fixture
def sqlite(tmp_path):
    """Runs statements in a new SQLite file and opens sources on it."""
    path = tmp_path / "data.db"

    def run(*statements):
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.executescript(statement)
        connection.close()

    run("CREATE TABLE t (id INTEGER PRIMARY KEY, amount NUMERIC, name TEXT)")
    run("INSERT INTO t VALUES (2, 2.5, 'b'), (1, 1, 'a'), (3, NULL, NULL)")
    run.open = lambda query: open_sql_source(SourceSpec(f"sqlite:///{path}", query=query))
    run.path = path
    return run


@pytest.fixture
def postgres(postgres_url):
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA IF EXISTS shop CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA shop")
        connection.exec_driver_sql("CREATE SEQUENCE shop.counter")
        connection.exec_driver_sql(
            "CREATE TABLE shop.pay (id bigint PRIMARY KEY, amount numeric(20,2), rate float8,"
            " ok boolean, at timestamptz, day date, note text, tags jsonb, raw bytea, nothing int)"
        )
        connection.exec_driver_sql(
            "INSERT INTO shop.pay VALUES"
            " (2, 10.10, 0.5, true, '2026-01-02 03:04:05+02', '2026-01-02', 'é 100%% :x', '[1]',"
            "  '\\x01', NULL), (1, 9007199254740993.01, 'NaN', NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
        )
    yield postgres_url
    engine.dispose()


def test_a_table_is_read_in_order_of_its_key_with_types(sqlite):
    source = sqlite.open("t")
    assert source.columns == (("id", "int64"), ("amount", "double"), ("name", "string"))
    assert rows(source) == [
        {"row_id": "t#1", "id": 1, "amount": 1.0, "name": "a"},
        {"row_id": "t#2", "id": 2, "amount": 2.5, "name": "b"},
        {"row_id": "t#3", "id": 3, "amount": None, "name": None},
    ]
    assert source.snapshot().rows == 3
    assert source.snapshot().uri.endswith("data.db")


def test_a_query_is_read_with_row_ids_of_its_own(sqlite):
    source = sqlite.open("SELECT name AS n, amount * 2 AS twice FROM t WHERE id < 3 ORDER BY id;")
    assert rows(source) == [
        {"row_id": "query#1", "n": "a", "twice": 2.0},
        {"row_id": "query#2", "n": "b", "twice": 5.0},
    ]
    assert rows(sqlite.open("WITH x AS (SELECT 1 AS one) SELECT * FROM x"))[0]["one"] == 1


def test_the_digest_follows_content_and_not_the_order_of_insertion(sqlite):
    def content():
        source = sqlite.open("t")
        rows(source, batch_rows=2)
        return source.snapshot().fingerprint.content

    first = content()
    sqlite("DELETE FROM t; INSERT INTO t VALUES (3, NULL, NULL), (1, 1, 'a'), (2, 2.5, 'b')")
    assert content() == first
    sqlite("UPDATE t SET name = 'c' WHERE id = 3")
    assert content() != first


def test_a_value_of_another_type_further_down_is_kept_aside(sqlite):
    sqlite(
        "CREATE TABLE mixed (v)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)"
        " INSERT INTO mixed SELECT CASE WHEN i = 1200 THEN 'text' ELSE i END FROM n",
    )
    source = sqlite.open("mixed")
    batches = list(source.batches(1000))
    malformed = [bad for batch in batches for bad in batch.malformed]
    assert [(bad.line, bad.text) for bad in malformed] == [(1200, "('text',)")]
    assert "CAST" in malformed[0].reason
    ids = [row for batch in batches for row in batch.table["row_id"].to_pylist()]
    assert len(ids) == 1499
    assert "mixed#1200" not in ids
    assert "mixed#1201" in ids
    assert source.snapshot().rows == 1500


def test_a_mixed_column_is_text(sqlite):
    sqlite("CREATE TABLE m (v)", "INSERT INTO m VALUES (1), ('x'), (2.5)")
    assert [row["v"] for row in rows(sqlite.open("m"))] == ["1", "x", "2.5"]


def test_a_missing_table_lists_those_there_are(sqlite):
    with pytest.raises(SourceNotFoundError, match="no table 'payments'") as caught:
        sqlite.open("payments")
    assert caught.value.hint == "it has t"
    with pytest.raises(SourceNotFoundError, match="no such table"):
        sqlite.open("SELECT * FROM payments")


def test_a_missing_sqlite_file_is_not_created(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"absent\.db does not exist"):
        open_sql_source(SourceSpec(f"sqlite:///{tmp_path}/absent.db", query="t"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SourceNotFoundError, match="in memory"):
        open_sql_source(SourceSpec("sqlite://", query="t"))


def test_a_file_that_is_no_database_is_malformed(tmp_path):
    path = tmp_path / "x.db"
    path.write_text("hello, this is no database at all" * 100)
    with pytest.raises(MalformedSourceError, match="not a database"):
        open_sql_source(SourceSpec(f"sqlite:///{path}", query="t"))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (None, "names no table"),
        ("DELETE FROM t", "no SELECT"),
        ("SELECT 1; DROP TABLE t", "more than one statement"),
        ("/* x */ UPDATE t SET id = 1", "no SELECT"),
        ("SELECT nope FROM t", "no such column"),
        ("WITH x AS (SELECT 1) DELETE FROM t", "readonly"),
    ],
)
def test_only_one_readable_select_is_accepted(sqlite, query, message):
    with pytest.raises(ConfigurationError, match=message):
        sqlite.open(query)
    assert len(rows(sqlite.open("t"))) == 3


def test_semicolons_percent_signs_and_colons_in_literals_are_fine(sqlite):
    source = sqlite.open("SELECT 'a;b' AS a, '100%s :x' AS b -- and; this")
    assert rows(source) == [{"row_id": "query#1", "a": "a;b", "b": "100%s :x"}]


def test_no_rows_duplicate_columns_and_row_id_are_refused(sqlite):
    with pytest.raises(MalformedSourceError, match="no rows"):
        sqlite.open("SELECT * FROM t WHERE id > 9")
    with pytest.raises(MalformedSourceError, match="two columns called 'a'"):
        sqlite.open("SELECT 1 AS a, 2 AS a")
    with pytest.raises(MalformedSourceError, match="'row_id'"):
        sqlite.open("SELECT 1 AS row_id")


def test_a_database_without_driver_names_the_extra():
    with pytest.raises(MissingExtraError, match="no driver") as caught:
        open_sql_source(SourceSpec("oracle+nope://u:secret@h/d", query="t"))
    assert "secret" not in str(caught.value)


def test_postgres_without_psycopg_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError) as caught:
        open_sql_source(SourceSpec("postgresql://u:secret@h/d", query="t"))
    assert "pynomaly-platform[postgres]" in caught.value.hint


def test_a_broken_url_does_not_repeat_its_password():
    with pytest.raises(ConfigurationError, match="no SQLAlchemy URL") as caught:
        open_sql_source(SourceSpec("postgresql://u:secret@h:port/d", query="t"))
    assert "secret" not in str(caught.value)


@pytest.mark.postgres
def test_postgres_types_are_kept_and_decimals_lose_no_digit(postgres):
    source = open_sql_source(SourceSpec(postgres, query="shop.pay"))
    assert dict(source.columns) == {
        "id": "int64", "amount": "string", "rate": "double", "ok": "bool",
        "at": "timestamp[us, tz=UTC]", "day": "date32[day]", "note": "string",
        "tags": "string", "raw": "binary", "nothing": "string",
    }  # fmt: skip
    first, second = rows(source)
    assert (first["id"], first["amount"]) == (1, "9007199254740993.01")
    assert second["row_id"] == "shop.pay#2"
    assert second["at"] == dt.datetime(2026, 1, 2, 1, 4, 5, tzinfo=dt.UTC)
    assert (second["day"], second["note"], second["tags"], second["raw"]) == (
        dt.date(2026, 1, 2), "é 100% :x", "[1]", b"\x01",
    )  # fmt: skip


@pytest.mark.postgres
def test_postgres_streams_and_plain_postgresql_urls_mean_psycopg(postgres):
    plain = postgres.replace("+psycopg", "")
    query = "SELECT i, 'x%' AS p FROM generate_series(1, 25000) AS i"
    source = open_sql_source(SourceSpec(plain, query=query))
    assert [batch.table.num_rows for batch in source.batches(10_000)] == [10_000, 10_000, 5_000]
    assert source.snapshot().rows == 25_000
    batches = source.batches(10)
    next(batches)
    batches.close()


@pytest.mark.postgres
def test_postgres_refuses_to_write_and_what_is_missing_or_denied_is_named(postgres):
    with pytest.raises(ConfigurationError, match="read-only transaction"):
        open_sql_source(SourceSpec(postgres, query="SELECT nextval('shop.counter')"))
    query = "WITH gone AS (DELETE FROM shop.pay RETURNING id) SELECT * FROM gone"
    with pytest.raises(ConfigurationError, match="data-modifying"):
        open_sql_source(SourceSpec(postgres, query=query))
    with pytest.raises(SourceNotFoundError, match=r"no table 'shop\.nope'") as caught:
        open_sql_source(SourceSpec(postgres, query="shop.nope"))
    assert "pay" in caught.value.hint
    with pytest.raises(SourceNotFoundError, match="nope"):
        open_sql_source(SourceSpec(postgres, query="SELECT * FROM shop.nope"))
    engine = sa.create_engine(postgres, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS guest")
        connection.exec_driver_sql("CREATE ROLE guest LOGIN")
    engine.dispose()
    guest = postgres.replace("postgres@", "guest:hunter2@")
    with pytest.raises(SourceNotFoundError, match="access denied") as caught:
        open_sql_source(SourceSpec(guest, query="SELECT * FROM shop.pay"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.postgres
def test_an_unreachable_database_is_not_found_and_the_password_stays_hidden(postgres):
    gone = "postgresql://u:hunter2@127.0.0.1:9/db?sslpassword=hunter3"
    with pytest.raises(SourceNotFoundError, match="cannot connect") as caught:
        open_sql_source(SourceSpec(gone, query="t"))
    assert "hunter" not in str(caught.value)
    missing = postgres.rsplit("/", 1)[0] + "/nope"
    with pytest.raises(SourceNotFoundError, match='"nope" does not exist'):
        open_sql_source(SourceSpec(missing, query="t"))


@pytest.mark.postgres
def test_the_password_is_masked_in_the_snapshot(postgres):
    url = postgres.replace("postgres@", "postgres:hunter2@")
    source = open_sql_source(SourceSpec(url, query="shop.pay"))
    rows(source)
    assert "hunter2" not in source.snapshot().uri
    assert "postgres:***@127.0.0.1" in source.snapshot().uri
