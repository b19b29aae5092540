"""Trouble with the records database ends in a message that says what to do."""

import socket
import sqlite3
import sys

import pytest
import sqlalchemy as sa

from pynomaly.domain.errors import ConfigurationError, ConflictError, MissingExtraError
from pynomaly.infrastructure.sqlalchemy.database import Database
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords

pytestmark = pytest.mark.integration


def test_the_folder_of_the_file_is_made_on_first_use(tmp_path):
    records = SqlRecords(f"sqlite:///{tmp_path}/a/b/pynomaly.db")
    assert not (tmp_path / "a").exists()
    records.pipelines()
    assert (tmp_path / "a" / "b" / "pynomaly.db").is_file()


def test_a_relative_file_stays_where_it_was_when_the_process_moves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = SqlRecords("sqlite:///pynomaly.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    records.pipelines()
    assert (tmp_path / "pynomaly.db").is_file()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"file/below of the records database"):
        SqlRecords(f"sqlite:///{tmp_path}/file/below/pynomaly.db").pipelines()


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=f"{tmp_path} cannot be used: unable to open"):
        SqlRecords(f"sqlite:///{tmp_path}").pipelines()


def test_a_file_that_is_no_database_keeps_its_bytes(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("remember the milk\n" * 100)
    with pytest.raises(ConfigurationError, match=r"notes.txt cannot be used: file is not a data"):
        SqlRecords(f"sqlite:///{path}").pipelines()
    assert path.read_text() == "remember the milk\n" * 100


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://root@localhost/pynomaly", "cannot be kept in 'mysql'"),
        ("postgresql+psycopg2://localhost/pynomaly", "records cannot be kept"),
        ("sqlite+aiosqlite:///pynomaly.db", "records cannot be kept"),
        ("sqlite://", "need a SQLite file"),
        ("sqlite:///:memory:", "need a SQLite file"),
        ("pynomaly.db", "cannot be parsed"),
        ("postgresql://ada:secret@host:port/pynomaly", "cannot be parsed"),
    ],
)
def test_a_url_we_cannot_use_says_which_we_can(url, problem):
    with pytest.raises(ConfigurationError, match=problem) as caught:
        SqlRecords(url)
    assert "sqlite:///path" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_unreachable_server_is_named_without_its_password(unused_port):
    url = f"postgresql://ada:pass%40word@127.0.0.1:{unused_port}/records?password=hunter2"
    with pytest.raises(ConfigurationError) as caught:
        SqlRecords(url).pipelines()
    message = str(caught.value)
    assert f"postgresql+psycopg://ada:***@127.0.0.1:{unused_port}/records" in message
    assert "check the records URL" in message
    for secret in ("pass%40word", "pass@word", "hunter2"):
        assert secret not in message


@pytest.fixture
def unused_port():
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.postgres
def test_a_missing_database_on_a_server_is_named(postgres_url):
    url = sa.make_url(postgres_url).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(ConfigurationError, match='database "nowhere" does not exist'):
        SqlRecords(url).pipelines()


@pytest.mark.postgres
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_usual_scheme_of_postgresql_works(empty_postgres_database, scheme):
    _, rest = empty_postgres_database.split("://")
    assert SqlRecords(f"{scheme}://{rest}").pipelines() == ()


def test_postgresql_without_its_driver_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "psycopg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    with pytest.raises(MissingExtraError) as caught:
        SqlRecords("postgresql://localhost/pynomaly")
    assert caught.value.hint == "pip install 'pynomaly-platform[postgres]'"


def test_a_file_locked_for_long_is_a_conflict(tmp_path, monkeypatch):
    monkeypatch.setattr("pynomaly.infrastructure.sqlalchemy.database._BUSY_TIMEOUT_SECONDS", 0.05)
    path = tmp_path / "pynomaly.db"
    database = Database(f"sqlite:///{path}")
    with database.write():
        pass
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(ConflictError, match="stayed locked"), database.write():
            pass
    finally:
        other.close()


@pytest.mark.postgres
class TestDecisionsOnPostgresql:
    """A statement raises what PostgreSQL raises when transactions overlap."""

    @pytest.fixture
    def database(self, empty_postgres_database, monkeypatch):
        monkeypatch.setattr(
            "pynomaly.infrastructure.sqlalchemy.database.random.uniform", lambda *_: 0.0
        )
        return Database(empty_postgres_database)

    @pytest.mark.parametrize("code", ["40001", "40P01", "23505"])
    def test_an_overlapping_decision_is_taken_again(self, database, code):
        attempts = []

        def decision(connection):
            attempts.append(connection.exec_driver_sql("SHOW transaction_isolation").scalar_one())
            if len(attempts) < 3:
                fail(connection, code)
            return "decided"

        assert database.decide(decision) == "decided"
        assert attempts == ["serializable"] * 3

    def test_a_decision_that_always_overlaps_is_a_conflict(self, database):
        attempts = []

        def decision(connection):
            attempts.append(1)
            fail(connection, "40001")

        with pytest.raises(ConflictError, match="kept refusing"):
            database.decide(decision)
        assert len(attempts) == 10

    def test_any_other_failure_is_not_repeated(self, database):
        attempts = []

        def decision(connection):
            attempts.append(1)
            fail(connection, "23514")

        with pytest.raises(sa.exc.IntegrityError):
            database.decide(decision)
        assert len(attempts) == 1


def fail(connection, code):
    connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")
