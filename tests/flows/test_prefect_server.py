"""The local server is shared, leaves nothing running, and says why when it cannot start."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pynomaly.domain.errors import ConfigurationError, PynomalyError
from pynomaly.infrastructure.prefect.folder import ServerFolder
from pynomaly.infrastructure.prefect.server import healthy, loopback_server, running_server
from pynomaly.infrastructure.prefect.session import available_api, prefect_session

pytestmark = pytest.mark.prefect


@pytest.fixture
def home(tmp_path, prefect_api, prefect_home):
    """A home whose database is migrated already: creating one takes most of a first start."""
    folder = tmp_path / "prefect"
    folder.mkdir()
    with (
        sqlite3.connect(ServerFolder(prefect_home / "prefect").database) as there,
        sqlite3.connect(folder / "prefect.db") as here,
    ):
        there.backup(here)
    there.close()
    here.close()
    return tmp_path


def gone(pid):
    """Whether the process ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_commands_that_overlap_share_a_server_and_the_last_one_stops_it(home):
    folder = ServerFolder(home / "prefect")
    with loopback_server(home) as first:
        with loopback_server(home) as second:
            assert second == first == running_server(home) == available_api(home)
        pid = folder.address().pid
        assert healthy(first)

    assert not healthy(first)
    assert gone(pid)
    assert running_server(home) is None
    assert not (home / "prefect" / "server.json").exists()


def test_a_killed_command_leaves_no_server_behind(home):
    code = (
        "import sys, time, pathlib\n"
        "from pynomaly.infrastructure.prefect.server import loopback_server\n"
        "with loopback_server(pathlib.Path(sys.argv[1])) as url:\n"
        "    print(url, flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True
    )
    with command:
        assert command.stdout.readline().startswith("http://127.0.0.1:")
        server = ServerFolder(home / "prefect").address()
        command.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + 60
    while not gone(server.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert gone(server.pid)
    assert running_server(home) is None


def test_a_server_that_dies_while_starting_is_reported_with_its_log(home):
    (home / "prefect" / "prefect.db").write_bytes(b"this is no database, it is a text file" * 99)

    with pytest.raises(PynomalyError) as raised, loopback_server(home):
        pass

    assert "ended while starting" in raised.value.message
    assert str(home / "prefect" / "server.log") in raised.value.message
    assert "not a database" in (home / "prefect" / "server.log").read_text()
    assert "--engine direct" in raised.value.hint
    assert not ServerFolder(home / "prefect").alive


def test_a_configured_api_that_does_not_answer_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")

    with (
        pytest.raises(ConfigurationError, match=r"http://127\.0\.0\.1:9/api"),
        prefect_session(tmp_path),
    ):
        pass

    assert list(tmp_path.iterdir()) == []


def test_a_configured_api_is_used_instead_of_a_server_of_our_own(
    tmp_path, monkeypatch, prefect_api
):
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)

    with prefect_session(tmp_path) as url:
        assert url == prefect_api

    assert list(tmp_path.iterdir()) == []


def test_an_api_is_available_where_a_prefect_profile_names_one(tmp_path, monkeypatch):
    profiles = tmp_path / "profiles.toml"
    profiles.write_text(
        'active = "team"\n[profiles.team]\nPREFECT_API_URL = "http://prefect.example/api"\n'
    )
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(profiles))

    assert available_api(tmp_path) == "http://prefect.example/api"
    monkeypatch.setenv("PREFECT_PROFILE", "other")
    assert available_api(tmp_path) is None


def test_a_left_over_address_of_a_dead_server_is_not_believed(tmp_path, prefect_api, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    folder = tmp_path / "prefect"
    folder.mkdir()
    (folder / "server.json").write_text(f'{{"pid": {os.getpid()}, "url": "{prefect_api}"}}')

    assert running_server(tmp_path) is None
    assert available_api(tmp_path) is None
