"""The doctor names what is broken, says how to mend it, and breaks nothing itself."""

from __future__ import annotations

import re
import socket
import sqlite3
import threading
from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from pynomaly.application.diagnose import diagnose
from pynomaly.domain.diagnosis import Check
from pynomaly.domain.errors import ConfigurationError
from pynomaly.infrastructure.host import installation, machine
from pynomaly.infrastructure.mlflow.inspection import inspect_registry
from pynomaly.infrastructure.prefect.inspection import inspect_prefect
from pynomaly.infrastructure.s3.inspection import inspect_buckets
from pynomaly.infrastructure.sqlalchemy import inspection
from pynomaly.infrastructure.sqlalchemy.inspection import inspect_records
from pynomaly.infrastructure.sqlalchemy.records import SqlRecords


def only(checks: Iterable[Check]) -> Check:
    (check,) = checks
    return check


@contextmanager
def http(answers: Mapping[str, str]) -> Iterator[str]:
    """Serve some paths with 200 and a text each, all others with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = answers.get(self.path)
            self.send_response(404 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def closed_port() -> int:
    """Nobody listens there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_a_look_that_fails_is_a_problem_and_stops_no_other() -> None:
    def wrong() -> Iterator[Check]:
        yield Check("first", "ok", "fine")
        raise ConfigurationError("a key is wrong", hint="mend it")

    def broken() -> Iterator[Check]:
        raise ZeroDivisionError("by zero\nand more")

    found = diagnose({"wrong": wrong, "broken": broken, "good": lambda: [Check("g", "ok", "x")]})

    assert [(c.name, c.status, c.seen, c.fix) for c in found] == [
        ("first", "ok", "fine", None),
        ("wrong", "problem", "a key is wrong", "mend it"),
        ("broken", "problem", "could not be looked at: ZeroDivisionError: by zero", None),
        ("g", "ok", "x", None),
    ]


# Installation


def test_this_installation_has_the_python_and_libraries_it_declares() -> None:
    assert only(installation.python()).status == "ok"
    assert only(installation.libraries()).status == "ok"


def test_another_python_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation.platform, "python_version", lambda: "3.9.2")

    check = only(installation.python())

    assert check.status == "problem"
    assert "3.9.2" in check.seen
    assert ">=3.11" in check.seen


def test_the_versions_that_break_others_silently_are_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = {"sqlalchemy": "2.1.9", "fastapi": "0.151.0", "distributed": "2020.1"}
    versions = metadata.version
    monkeypatch.setattr(
        installation.metadata, "version", lambda name: here.get(name) or versions(name)
    )

    found = {c.name: c for c in installation.libraries()}

    assert set(found) == {"library fastapi", "library sqlalchemy", "library distributed"}
    assert "silently stops scheduling cron runs" in found["library sqlalchemy"].seen
    assert "fails at import" in found["library fastapi"].seen
    assert found["library fastapi"].fix == "pip install 'fastapi<0.150'"


def test_a_missing_library_is_a_problem_and_a_missing_extra_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = metadata.version

    def version(name: str) -> str:
        if name in ("optuna", "distributed"):
            raise metadata.PackageNotFoundError(name)
        return versions(name)

    monkeypatch.setattr(installation.metadata, "version", version)

    check = only(installation.libraries())

    assert (check.name, check.seen) == ("library optuna", "not installed")


# Machine


def test_a_home_that_is_a_file_is_a_problem_and_one_to_be_made_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert only(machine.home(tmp_path / "file" / "home")).status == "problem"
    assert only(machine.home(tmp_path)).status == "ok"
    assert "can be made" in only(machine.home(tmp_path / "a" / "b")).seen
    assert not (tmp_path / "a").exists()


def test_a_home_without_the_right_to_write_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.os, "access", lambda *_: False)  # root may write everywhere

    check = only(machine.home(tmp_path))

    assert check.status == "problem"
    assert "PYNOMALY_HOME" in str(check.fix)


@pytest.mark.parametrize(("gib", "status"), [(9, "ok"), (1, "warning"), (0.1, "problem")])
def test_the_disk_is_judged_by_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gib: float, status: str
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage(0, 0, int(gib * 2**30)))

    assert only(machine.disk(tmp_path / "not" / "there")).status == status


def test_a_port_is_free_ours_or_taken(closed_port: int) -> None:
    def look(number: int) -> Check:
        return only(machine.port(number, "Prefect", "/api/health", "--port"))

    assert look(closed_port).seen == "free for Prefect"
    with http({"/api/health": "true"}) as ours:
        assert look(int(ours.rpartition(":")[2])).seen == "Prefect answers there"
    with http({}) as other:
        assert look(int(other.rpartition(":")[2])).status == "warning"
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def greet() -> None:
            for _ in range(2):  # the first connection only asks whether somebody listens
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(b"SSH-2.0\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        assert look(listening.getsockname()[1]).status == "warning"
        thread.join()


# Records


def revised(path: Path, revision: str) -> str:
    """Make a records database and claim another revision for it."""
    url = f"sqlite:///{path}"
    SqlRecords(url).pipelines()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    connection.close()
    return url


def test_records_that_are_not_there_stay_so(tmp_path: Path) -> None:
    check = only(inspect_records(f"sqlite:///{tmp_path}/x.db"))

    assert check.status == "ok"
    assert not list(tmp_path.iterdir())


def test_current_and_older_records_are_fine_and_are_not_migrated(tmp_path: Path) -> None:
    path = tmp_path / "odd #% name.db"
    current, clock = inspect_records(revised(path, inspection.HEAD))
    assert (current.status, clock.status) == ("ok", "ok")
    assert "current schema" in current.seen

    before = path.read_bytes()
    older, _ = inspect_records(revised(path, "0001"))
    assert older.status == "ok"
    assert "is migrated" in older.seen
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
    connection.close()
    assert len(path.read_bytes()) == len(before)


def test_records_of_the_future_foreign_ones_and_garbage_are_problems(tmp_path: Path) -> None:
    (tmp_path / "garbage.db").write_text("this is no database at all" * 100)
    with sqlite3.connect(tmp_path / "foreign.db") as connection:
        connection.execute("CREATE TABLE customers (id)")
    connection.close()
    urls = {
        "newer": revised(tmp_path / "newer.db", "9999"),
        "foreign": f"sqlite:///{tmp_path}/foreign.db",
        "garbage": f"sqlite:///{tmp_path}/garbage.db",
        "driver": "mysql://host/records",
    }

    found = {
        name: only(diagnose({"records": lambda url=url: inspect_records(url)}))
        for name, url in urls.items()
    }

    assert {check.status for check in found.values()} == {"problem"}
    assert "upgrade this installation" in str(found["newer"].fix)
    assert "not a Pynomaly records database" in found["foreign"].seen
    assert "file is not a database" in found["garbage"].seen
    assert all(check.fix for check in found.values())


def test_a_database_server_that_is_down_is_a_problem_and_its_password_stays_secret(
    closed_port: int,
) -> None:
    check = only(inspect_records(f"postgresql://me:secret@127.0.0.1:{closed_port}/records"))

    assert check.status == "problem"
    assert "refused" in check.seen
    assert "secret" not in f"{check.seen}{check.fix}"


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("seconds", "status", "side"),
    [(0, "ok", "within"), (-60, "warning", "ahead of"), (900, "problem", "behind")],
)
def test_the_clocks_of_database_and_machine_are_compared(
    empty_postgres_database: str,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    status: str,
    side: str,
) -> None:
    SqlRecords(empty_postgres_database).pipelines()

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) + timedelta(seconds=seconds)

    monkeypatch.setattr(inspection, "datetime", Shifted)

    records, clock = inspect_records(empty_postgres_database)

    assert records.status == "ok"
    assert clock.status == status
    assert side in clock.seen


# MLflow


def test_a_registry_file_is_missing_good_or_broken(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert "not there yet" in only(inspect_registry(uri)).seen
    assert not list(tmp_path.iterdir())

    (tmp_path / "mlflow.db").write_text("garbage" * 1000)
    assert only(inspect_registry(uri)).status == "problem"
    (tmp_path / "mlflow.db").unlink()

    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE registered_models (name)")
        connection.execute("INSERT INTO registered_models VALUES ('payments')")
    connection.close()
    check = only(inspect_registry(uri))
    assert (check.status, check.seen.endswith("1 registered models")) == ("ok", True)


def test_a_registry_server_is_judged_by_its_version(closed_port: int) -> None:
    with http({"/version": metadata.version("mlflow")}) as url:
        assert only(inspect_registry(url)).status == "ok"
    with http({"/version": "2.9.0"}) as url:
        check = only(inspect_registry(url))
        assert check.status == "warning"
        assert "runs MLflow 2.9.0" in check.seen
    with http({}) as url:
        assert "answers 404" in only(inspect_registry(url)).seen
    down = only(inspect_registry(f"http://127.0.0.1:{closed_port}"))
    assert (down.status, "refused" in down.seen) == ("problem", True)


def test_a_registry_in_a_database_server_that_is_down_is_a_problem(closed_port: int) -> None:
    check = only(inspect_registry(f"postgresql+psycopg://me:secret@127.0.0.1:{closed_port}/m"))

    assert check.status == "problem"
    assert "secret" not in f"{check.seen}{check.fix}"


# Prefect


@pytest.fixture
def no_prefect(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", "/nonexistent")
    return monkeypatch


def test_no_prefect_api_is_fine(no_prefect: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert only(inspect_prefect(tmp_path)).status == "ok"
    assert not list(tmp_path.iterdir())


def test_a_prefect_api_is_judged_by_its_answer_and_version(
    no_prefect: pytest.MonkeyPatch, tmp_path: Path, closed_port: int
) -> None:
    here = metadata.version("prefect")
    with http({"/api/health": "true", "/api/admin/version": f'"{here}"'}) as url:
        no_prefect.setenv("PREFECT_API_URL", f"{url}/api")
        assert only(inspect_prefect(tmp_path)).seen == f"{url}/api runs Prefect {here}"
    with http({"/api/health": "true", "/api/admin/version": '"3.1.0"'}) as url:
        no_prefect.setenv("PREFECT_API_URL", f"{url}/api")
        assert only(inspect_prefect(tmp_path)).status == "warning"
    no_prefect.setenv("PREFECT_API_URL", f"http://127.0.0.1:{closed_port}/api")
    down = only(inspect_prefect(tmp_path))
    assert (down.status, "--engine direct" in str(down.fix)) == ("problem", True)


# S3


@pytest.mark.s3
def test_buckets_answer_are_missing_or_out_of_reach(
    moto_bucket: str, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    good, missing = inspect_buckets(
        [f"s3://{moto_bucket}/a", f"s3://{moto_bucket}/b", "s3://no-such/x"]
    )
    if good.name != f"s3 {moto_bucket}":
        good, missing = missing, good
    assert good.status == "ok"
    assert missing.status == "problem"

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port}")
    away = only(inspect_buckets(["s3://lake/x"]))
    assert re.search("does not answer", away.seen)
