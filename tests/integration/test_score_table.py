"""Tables of scores under many writers, stale ones, lost connections and refusals."""

import sqlite3
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pyarrow as pa
import pytest
import sqlalchemy as sa

from pynomaly import adapters
from pynomaly.domain.errors import (
    ConflictError,
    ConnectionLostError,
    FencedError,
    IntegrityError,
    OutputNotWritableError,
)
from pynomaly.infrastructure.sqlalchemy import score_target, score_writers

pytestmark = pytest.mark.integration

STORE = adapters.part_store()
KEY = "0123456789abcdef"


def numbers(count):
    return pa.table({"n": pa.array(range(count), pa.int64())})


def write(target, name, rows):
    with STORE.writer(target, name) as writer:
        writer.write(rows)
    return writer.parts[0]


@pytest.fixture
def postgres(postgres_url):
    """A table on PostgreSQL that is not there yet, and a connection to look at it."""
    name = f"scores_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    url = postgres_url.replace("postgresql+psycopg", "postgresql")
    with engine.connect() as connection:
        yield SimpleNamespace(
            target=STORE.resolve(f"{url}#{name}"),
            name=name,
            url=url,
            run=connection.exec_driver_sql,
            parts=lambda: dict(
                connection.exec_driver_sql(
                    f"SELECT _part, count(*) FROM {name} GROUP BY _part"
                ).all()
            ),
        )


@pytest.fixture(params=["sqlite", "postgres"])
def target(request, tmp_path):
    if request.param == "sqlite":
        return STORE.resolve(f"sqlite:///{tmp_path}/scores.db#scores")
    return request.getfixturevalue("postgres").target


def test_many_workers_write_at_once_from_the_first_row_on(target):
    def work(number):
        return write(target, f"{number:016x}-1", numbers(500))

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(work, range(16)))
    assert len({part.digest for part in parts}) == 1
    assert [STORE.check(part) for part in parts] == [None] * 16
    assert len(list(STORE.stored(target))) == 16


def test_of_two_attempts_at_once_the_greater_fence_stays(target):
    parts = []

    def overtaken():
        with STORE.writer(target, f"{KEY}-1") as stale:
            stale.write(numbers(10))
            parts.append(write(target, f"{KEY}-2", numbers(20)))
            stale.write(numbers(10))

    with pytest.raises(FencedError, match=f"{KEY}-2 was written meanwhile"):
        overtaken()
    assert [item.uri for item in STORE.stored(target)] == [parts[0].uri]
    assert STORE.check(parts[0]) is None


def test_a_reader_does_not_keep_writers_waiting(target):
    part = write(target, f"{KEY}-1", numbers(100))
    reading = STORE.read([part], batch_rows=10)
    next(reading)
    write(target, "f" * 16 + "-1", numbers(5))
    assert sum(map(len, reading)) == 90


def test_a_part_removed_while_it_is_read_is_told(target):
    part = write(target, f"{KEY}-1", numbers(100))
    reading = STORE.read([part], batch_rows=10)
    next(reading)
    STORE.remove(part.uri)
    with pytest.raises(IntegrityError, match="holds 10 rows, committed were 100"):
        list(reading)


def test_a_dropped_connection_leaves_nothing_and_the_next_attempt_succeeds(postgres):
    def dropped():
        with STORE.writer(postgres.target, f"{KEY}-1") as writer:
            writer.write(numbers(100))
            postgres.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE state = 'idle in transaction' AND pid <> pg_backend_pid()"
            )
            writer.write(numbers(100))

    with pytest.raises((OutputNotWritableError, ConflictError), match=r"terminat|closed"):
        dropped()
    assert postgres.parts() == {}
    assert STORE.check(write(postgres.target, f"{KEY}-2", numbers(200))) is None
    assert postgres.parts() == {f"{KEY}-2": 200}


def test_a_commit_whose_answer_was_lost_is_not_repeated(postgres, monkeypatch):
    commit = sa.Connection.commit

    def lose(connection):
        commit(connection)
        if connection.exec_driver_sql(f"SELECT count(*) FROM {postgres.name}").scalar():
            raise sa.exc.OperationalError("COMMIT", None, Exception("the connection is lost"))

    with monkeypatch.context() as patch:
        patch.setattr(sa.Connection, "commit", lose)
        with pytest.raises(OutputNotWritableError, match="the connection is lost"):
            write(postgres.target, f"{KEY}-1", numbers(100))
    assert postgres.parts() == {f"{KEY}-1": 100}  # an orphan: the ledger does not know it
    part = write(postgres.target, f"{KEY}-2", numbers(100))
    assert postgres.parts() == {f"{KEY}-2": 100}
    assert STORE.check(part) is None


def test_a_worker_asleep_in_its_last_step_holds_nobody_up(postgres, monkeypatch):
    monkeypatch.setattr(score_writers, "_ASLEEP_SECONDS", 1)
    write(postgres.target, "f" * 16 + "-1", numbers(1))
    asleep, wake = threading.Event(), threading.Event()
    dump_layout = score_writers.dump_layout

    def sleep(schema):
        if threading.current_thread() is not threading.main_thread():
            asleep.set()
            wake.wait(20)
        return dump_layout(schema)

    monkeypatch.setattr(score_writers, "dump_layout", sleep)
    with ThreadPoolExecutor(1) as pool:
        stale = pool.submit(write, postgres.target, f"{KEY}-1", numbers(10))
        assert asleep.wait(20)
        part = write(postgres.target, f"{KEY}-2", numbers(20))
        wake.set()
        with pytest.raises((ConflictError, OutputNotWritableError)):
            stale.result()
    assert postgres.parts() == {f"{KEY}-2": 20, "f" * 16 + "-1": 1}
    assert STORE.check(part) is None


def test_a_lock_that_is_never_given_up_is_a_conflict(postgres, monkeypatch):
    monkeypatch.setattr(score_writers, "_LOCK_SECONDS", 1)
    slot = f"{postgres.name}/{KEY}"
    postgres.run(f"SELECT pg_advisory_lock(hashtextextended('{slot}', 0))")
    with pytest.raises(ConflictError, match="others kept it locked"):
        write(postgres.target, f"{KEY}-1", numbers(10))
    assert postgres.parts() == {}


def test_a_sqlite_file_that_stays_locked_is_a_conflict(tmp_path, monkeypatch):
    monkeypatch.setattr(score_target, "_BUSY_SECONDS", 0.1)
    target = STORE.resolve(f"sqlite:///{tmp_path}/scores.db#scores")
    write(target, f"{KEY}-1", numbers(1))
    other = sqlite3.connect(tmp_path / "scores.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(ConflictError, match="database is locked") as caught:
            write(target, f"{KEY}-2", numbers(1))
    finally:
        other.close()
    assert "PostgreSQL" in caught.value.hint


def test_a_schema_can_be_named(postgres):
    schema = f"s_{postgres.name}"
    postgres.run(f"CREATE SCHEMA {schema}")
    target = STORE.resolve(f"{postgres.url}#{schema}.scores")
    part = write(target, f"{KEY}-1", numbers(3))
    assert postgres.run(f"SELECT count(*) FROM {schema}.scores").scalar() == 3
    assert STORE.check(part) is None
    assert STORE.occupied(target)
    STORE.remove(part.uri)
    assert list(STORE.stored(target)) == []


def test_a_server_that_does_not_answer_or_refuses_us_is_told_without_the_password(
    postgres, monkeypatch
):
    monkeypatch.setenv("PGPASSWORD", "not-the-right-secret")
    role = f"reader_{postgres.name}"
    postgres.run(f"CREATE ROLE {role} LOGIN")
    mine = postgres.url.replace("postgres@", f"{role}@")
    for url, error, says in [
        ("postgresql://me@127.0.0.1:9/db", ConnectionLostError, "refused"),
        (postgres.url.replace("/postgres", "/no_such_db"), ConnectionLostError, "no_such_db"),
        (mine, OutputNotWritableError, "permission denied"),
    ]:
        if error is ConnectionLostError:  # before anything is planned
            with pytest.raises(OutputNotWritableError, match=says):
                STORE.occupied(f"{url}#{postgres.name}")
        with pytest.raises(error, match=says) as caught:
            write(f"{url}#{postgres.name}", f"{KEY}-1", numbers(1))
        assert "PGPASSWORD" in caught.value.hint
        assert "not-the-right-secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "scores.db").write_bytes(b"no database" * 100)
    with pytest.raises(OutputNotWritableError, match="not a database"):
        write(STORE.resolve(f"sqlite:///{tmp_path}/scores.db#t"), f"{KEY}-1", numbers(1))


def test_rows_without_a_fence_row_are_found(target):
    kept = write(target, f"{KEY}-1", numbers(3))
    stray = write(target, "f" * 16 + "-1", numbers(4))
    engine = sa.create_engine(
        target.partition("#")[0].replace("postgresql:", "postgresql+psycopg:"),
        poolclass=sa.NullPool,
    )
    table = target.partition("#")[2]
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM {table}_parts WHERE rows = 4")
        theirs = f"INSERT INTO {table} (_part, _row) VALUES ('entered by hand', 1)"
        connection.exec_driver_sql(theirs)
    assert {item.uri for item in STORE.stored(target)} == {kept.uri, stray.uri}
    STORE.remove(stray.uri)
    assert {item.uri for item in STORE.stored(target)} == {kept.uri}
    assert STORE.check(kept) is None
