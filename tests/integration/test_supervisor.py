"""Services are restarted when they die or hang, given up when that is of no use, never left over."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from pynomaly.application.ports.processes import Service
from pynomaly.domain.errors import PynomalyError
from pynomaly.infrastructure.processes import supervisor as module
from pynomaly.infrastructure.processes.supervisor import Supervisor

LIVING = (
    "import pathlib, os, time; pathlib.Path('up').write_text(str(os.getpid())); time.sleep(600)"
)


def service(folder, code=LIVING, *, name="one", healthy=None, after=()):
    place = folder / name
    place.mkdir(exist_ok=True)
    return Service(
        name=name,
        command=(sys.executable, "-c", code),
        environment=dict(os.environ),
        folder=place,
        log=folder / f"{name}.log",
        healthy=healthy or (place / "up").exists,
        after=after,
    )


def gone(pid):
    """Whether the process ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@contextmanager
def supervised(*services):
    """Run services; yields what was told and what the watch ended with."""
    told, ended = [], []
    supervisor = Supervisor(services, lambda name, what: told.append((name, what)))

    def watch():
        try:
            supervisor.watch()
        except PynomalyError as error:
            ended.append(error)

    try:
        supervisor.start()
        threading.Thread(target=watch, daemon=True).start()
        yield told, ended
    finally:
        supervisor.stop()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(module, "STOP_SECONDS", 2.0)
    monkeypatch.setattr(module, "HEALTH_SECONDS", 0.1)


def pid_of(folder, name="one"):
    wait_until(lambda: (folder / name / "up").exists() and (folder / name / "up").read_text())
    return int((folder / name / "up").read_text())


def test_a_service_starts_after_the_one_it_needs(tmp_path):
    first = service(tmp_path, "import time, pathlib; time.sleep(.3);" + LIVING, name="first")
    needs = "import pathlib; assert pathlib.Path('../first/up').exists();" + LIVING
    with supervised(first, service(tmp_path, needs, name="second", after=("first",))) as (told, _):
        assert told == [
            ("first", "starting"),
            ("first", "healthy"),
            ("second", "starting"),
            ("second", "healthy"),
        ]
        pids = [pid_of(tmp_path, "first"), pid_of(tmp_path, "second")]
    assert all(map(gone, pids))


def test_a_killed_service_is_started_again(tmp_path):
    with supervised(service(tmp_path)) as (told, ended):
        first = pid_of(tmp_path)
        (tmp_path / "one" / "up").unlink()
        os.kill(first, signal.SIGKILL)
        second = pid_of(tmp_path)
        wait_until(lambda: told[-1] == ("one", "healthy"))
    assert second != first
    assert gone(second)
    assert ("one", "ended with exit code 137") in told  # 128 + SIGKILL
    assert ended == []


def test_a_service_that_hangs_is_started_again(tmp_path):
    well = tmp_path / "well"
    well.touch()
    with supervised(service(tmp_path, healthy=well.exists)) as (told, _):
        first = pid_of(tmp_path)
        (tmp_path / "one" / "up").unlink()
        well.unlink()
        wait_until(lambda: ("one", "does not answer") in told)
        well.touch()
        assert pid_of(tmp_path) != first
        assert gone(first)


def test_a_service_that_cannot_start_is_told_with_its_last_words(tmp_path):
    with (
        pytest.raises(PynomalyError, match=r"one ended while starting: .*no such port.*one\.log"),
        supervised(service(tmp_path, "raise SystemExit('no such port')")),
    ):
        pass


def test_a_service_that_dies_again_and_again_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FAILURES", 3)
    dying = "import pathlib, time; pathlib.Path('up').touch(); time.sleep(.3); exit('out of luck')"
    with supervised(service(tmp_path, dying)) as (_, ended):
        wait_until(lambda: ended)
    assert "3 times in a row: out of luck" in ended[0].message


def test_what_a_service_started_ends_with_it(tmp_path):
    code = (
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path('up').write_text(str(child.pid))\n"
        "time.sleep(600)"
    )
    with supervised(service(tmp_path, code)):
        grandchild = pid_of(tmp_path)
        assert not gone(grandchild)
    assert gone(grandchild)


def test_a_service_that_ignores_being_told_to_end_is_killed(tmp_path):
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + LIVING
    with supervised(service(tmp_path, stubborn)):
        pid = pid_of(tmp_path)
    assert gone(pid)


def test_nothing_outlives_a_supervisor_that_was_killed(tmp_path):
    code = textwrap.dedent(
        f"""
        import sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        import os
        from pynomaly.application.ports.processes import Service
        from pynomaly.infrastructure.processes.supervisor import Supervisor
        one = Service("one", (sys.executable, "-c", {LIVING!r}), dict(os.environ), Path.cwd(),
                      Path("log"), lambda: Path("up").exists())
        supervisor = Supervisor([one], lambda *_: None)
        supervisor.start()
        supervisor.watch()
        """
    )
    (tmp_path / "one").mkdir()
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path / "one")
    pid = pid_of(tmp_path)
    process.kill()
    process.wait()
    wait_until(lambda: gone(pid))
