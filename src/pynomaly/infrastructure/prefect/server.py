"""A Prefect server of our own, started when needed and shared by all commands on one home."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pynomaly.domain.errors import PynomalyError
from pynomaly.infrastructure.prefect.folder import Lock, ServerFolder

__all__ = ["healthy", "loopback_server", "running_server", "server_environment"]

_STOP_SECONDS = 15.0
# A loopback server only answers the flow runs of the commands that use it.  What watches over
# deployments, schedules and workers has nothing to do there; task history and events stay on.
_IDLE_SERVICES = (
    "CANCELLATION_CLEANUP",
    "CLEANUP_RECONCILER",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TRIGGERS",
)


def running_server(home: Path) -> str | None:
    """Return the API URL of the healthy server of this home, or None."""
    address = ServerFolder(home / "prefect").address()
    return address.url if address and healthy(address.url) else None


def healthy(url: str) -> bool:
    """Whether a local API answers; a proxy is never asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@contextmanager
def loopback_server(home: Path, *, start_seconds: float = 180.0) -> Iterator[str]:
    """Yield the API URL of this home's server, starting one unless it runs already.

    Commands that overlap share the server; the last to leave stops it.

    Args:
        home: ``PYNOMALY_HOME``; the server's database is ``prefect/prefect.db`` in it.
        start_seconds: Give up after this long.

    Raises:
        PynomalyError: It died or did not answer in time; the message names its log.
    """
    folder = ServerFolder(home.resolve() / "prefect")
    folder.path.mkdir(parents=True, exist_ok=True)
    users = folder.users_lock()
    users.share()
    child: subprocess.Popen[bytes] | None = None
    try:
        if not folder.alive:
            child = _spawn(folder)
            importlib.import_module("prefect.main")  # takes us as long as the server needs anyway
        yield _wait_until_healthy(folder, child, start_seconds)
    finally:
        _leave(folder, users, child)


def _spawn(folder: ServerFolder) -> subprocess.Popen[bytes]:
    idle = {f"PREFECT_SERVER_SERVICES_{s}_ENABLED": "false" for s in _IDLE_SERVICES}
    with folder.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pynomaly.infrastructure.prefect.serve", str(folder.path)],
            cwd=folder.path,  # Prefect also reads prefect.toml, .env and pyproject.toml from here
            env=server_environment(folder) | idle | {"PREFECT_SERVER_UI_ENABLED": "false"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us: we still need the server to record it
        )


def server_environment(folder: ServerFolder) -> dict[str, str]:
    """Return the environment of a server that keeps everything in ``folder``."""
    # Settings of the user's own Prefect must not leak into ours.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return environment | {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(folder.path),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder.database}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }


def _wait_until_healthy(
    folder: ServerFolder, child: subprocess.Popen[bytes] | None, seconds: float
) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        address = folder.address()
        if address and healthy(address.url):
            return address.url
        # A child that finds another server in the folder ends; then that one is awaited.
        if (child is None or child.poll() is not None) and not folder.alive:
            raise _not_started(folder, "ended while starting")
        time.sleep(0.1)
    raise _not_started(folder, f"did not answer within {seconds:.0f} s")


def _not_started(folder: ServerFolder, what: str) -> PynomalyError:
    lines = folder.log.read_text(errors="replace").strip().splitlines()
    last = f": {lines[-1].strip()}" if lines else ""
    return PynomalyError(
        f"The local Prefect server {what}{last} (log: {folder.log})",
        hint="Run again with --engine direct, which needs no server, or look into the log.",
    )


def _leave(folder: ServerFolder, users: Lock, child: subprocess.Popen[bytes] | None) -> None:
    try:
        if users.take():  # nobody else uses it, and nobody can begin to until we release the lock
            address = folder.address()
            if child and child.poll() is None:
                _stop(folder, child.pid, child)
            elif address:
                _stop(folder, address.pid, None)
        elif child:
            _orphans.append(child)
    finally:
        users.release()


_orphans: list[subprocess.Popen[bytes]] = []
"""Servers we started that others still use; they stop with their last user."""


def _stop(folder: ServerFolder, pid: int, child: subprocess.Popen[bytes] | None) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            # The child may not have taken its lock yet, another's child we cannot wait for.
            if (child.poll() is not None) if child else not folder.alive:
                return
            time.sleep(0.05)
