"""What ``pynomaly up`` keeps running of Prefect: a server with its pages, and a worker."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pynomaly.application.ports.processes import Service
from pynomaly.domain.errors import ConflictError
from pynomaly.infrastructure.prefect.folder import ServerFolder, reachable, write_whole
from pynomaly.infrastructure.prefect.server import healthy, server_environment

__all__ = ["Addresses", "alive_here", "beat", "occupied", "server", "shut", "worker"]

HEARTBEAT_SECONDS = 30
_BEAT_SECONDS = 30.0
"""A worker that has not touched its file for so long hangs."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where people find what is up.

    Args:
        pid: Process of ``pynomaly up``.
        prefect: URL of Prefect's pages.
        mlflow: URL of MLflow's pages; None where it keeps no pages of its own.
    """

    pid: int
    prefect: str
    mlflow: str | None


@contextmanager
def occupied(home: Path, addresses: Addresses) -> Iterator[None]:
    """Be the one ``pynomaly up`` of ``home``, and a user of its server.

    Raises:
        ConflictError: There is another one; the message tells where.
    """
    folder = ServerFolder(home / "prefect")
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = folder.up_lock()
    try:
        # Others look whether it is free by taking it for a moment: one refusal proves nothing.
        while not lock.take():
            if there := alive_here(home):
                raise ConflictError(
                    f"pynomaly up is at work on {home} already: {there.prefect}",
                    hint="use it, or stop it: pynomaly down",
                )
            time.sleep(0.05)
        users = folder.users_lock()
        users.share()
        try:
            published = folder.path / "up.json"
            write_whole(published, json.dumps(asdict(addresses)))
            try:
                yield
            finally:
                published.unlink(missing_ok=True)
        finally:
            users.release()
    finally:
        lock.release()


def alive_here(home: Path) -> Addresses | None:
    """Return where the living ``pynomaly up`` of ``home`` is; None if there is none."""
    folder = ServerFolder(home / "prefect")
    if not folder.up:
        return None
    try:
        return Addresses(**json.loads((folder.path / "up.json").read_text()))
    except FileNotFoundError:
        return None


def shut(home: Path, seconds: float) -> Addresses | None:
    """Stop the ``pynomaly up`` of ``home`` and wait until it is gone.

    Returns:
        Where it was; None if there was none.

    Raises:
        ConflictError: It is still there after ``seconds``.
    """
    there = alive_here(home)
    if there is None:
        return None
    with suppress(ProcessLookupError):
        os.kill(there.pid, signal.SIGTERM)
    folder = ServerFolder(home / "prefect")
    deadline = time.monotonic() + seconds
    while folder.up:
        if time.monotonic() > deadline:
            raise ConflictError(
                f"pynomaly up (process {there.pid}) has not ended within {seconds:.0f} s",
                hint=f"look at what it prints, or end it for good: kill -9 {there.pid}",
            )
        time.sleep(0.1)
    return there


def server(home: Path, host: str, port: int) -> Service:
    """Return Prefect's server with its pages, schedules and triggers."""
    folder = ServerFolder(home / "prefect")
    url = f"http://{reachable(host)}:{port}"
    return Service(
        name="prefect",
        command=(
            sys.executable, "-m", "pynomaly.infrastructure.prefect.serve",
            str(folder.path), host, str(port),
        ),
        environment=server_environment(folder)
        | {
            "PREFECT_SERVER_UI_ENABLED": "true",
            # Pages ask the server they came from, whatever people call it.
            "PREFECT_UI_API_URL": "/api",
            # Prefect copies its pages before it serves them, by default into its own package.
            "PREFECT_UI_STATIC_DIRECTORY": str(folder.path / "ui"),
        },
        folder=folder.path,
        log=folder.log,
        healthy=lambda: healthy(f"{url}/api"),
        url=url,
    )  # fmt: skip


def worker(home: Path, project: Path, module: str, api: str, after: tuple[str, ...]) -> Service:
    """Return the worker that runs every pipeline's deployments.

    Args:
        home: ``PYNOMALY_HOME``.
        project: Folder of the configuration.
        module: To be run with ``python -m``.
        api: URL of the Prefect API.
        after: Services it needs.
    """
    folder = ServerFolder(home / "prefect")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    hosts = [environment[name] for name in ("no_proxy", "NO_PROXY") if environment.get(name)]
    past_proxies = ",".join([*hosts, "127.0.0.1"])
    return Service(
        name="worker",
        command=(sys.executable, "-m", module),
        environment=environment
        | {
            "DO_NOT_TRACK": "1",
            "PYNOMALY_HOME": str(home),
            "PREFECT_API_URL": api,
            "PREFECT_HOME": str(folder.path),
            "PREFECT_LOCAL_STORAGE_PATH": str(folder.results),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            # Runs here are long enough for it: it is how others see that a process died.
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
            "no_proxy": past_proxies,
            "NO_PROXY": past_proxies,
        },
        folder=project,
        log=folder.path / "worker.log",
        healthy=lambda: _beats(folder),
        after=after,
    )


def beat(home: Path) -> None:
    """Say that this process, the worker, is well."""
    write_whole(_beat_file(ServerFolder(home / "prefect")), str(os.getpid()))


def _beats(folder: ServerFolder) -> bool:
    path = _beat_file(folder)
    try:
        pid, age = int(path.read_text()), time.time() - path.stat().st_mtime
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return age < _BEAT_SECONDS


def _beat_file(folder: ServerFolder) -> Path:
    return folder.path / "worker.beat"
