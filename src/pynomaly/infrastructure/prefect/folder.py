"""The folder a local Prefect server lives in, and the locks that say who uses it.

Advisory locks make any number of commands share one server, and none outlive its users:

- ``server.lock`` is held by the server process for as long as it lives, so that one database
  never has two servers;
- ``users.lock`` is held shared by every command that uses the server.  Whoever can take it alone
  knows that nobody else does, and may stop the server.

``pynomaly up`` is such a user, for as long as it is wanted; ``up.lock`` says that it is at work.

The kernel releases both when a process dies, however it dies.  Standard library only: the server
process takes its lock before it spends seconds on importing Prefect.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Lock", "ServerAddress", "ServerFolder", "reachable", "write_whole"]


def reachable(host: str) -> str:
    """Return the name by which this machine reaches what listens on ``host``.

    >>> reachable("0.0.0.0"), reachable("10.0.0.7")
    ('127.0.0.1', '10.0.0.7')
    """
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104  compared only


def write_whole(path: Path, text: str) -> None:
    """Write a file that others read at any time: it is there whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


class Lock:
    """An advisory lock on a file; released by :meth:`release` or the death of the process."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def share(self) -> None:
        """Hold the lock together with others; waits for an exclusive holder to leave."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def take(self) -> bool:
        """Try to hold the lock alone; returns whether it worked.

        A shared hold of our own is given up either way.
        """
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            return False
        return True

    def release(self) -> None:
        """Give the lock up and close its file."""
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a running server is.

    Args:
        pid: Its process.
        url: Of its API, ending in ``/api``.
    """

    pid: int
    url: str


@dataclass(frozen=True, slots=True)
class ServerFolder:
    """Everything Prefect keeps under ``PYNOMALY_HOME``.

    Args:
        path: ``<home>/prefect``.
    """

    path: Path

    @property
    def database(self) -> Path:
        """SQLite database of the server, kept from run to run."""
        return self.path / "prefect.db"

    @property
    def results(self) -> Path:
        """Persisted step results, from which a retried run resumes."""
        return self.path / "results"

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.path / "server.log"

    def server_lock(self) -> Lock:
        """Return the lock of the server process, not yet held."""
        return Lock(self.path / "server.lock")

    def users_lock(self) -> Lock:
        """Return the lock of the server's users, not yet held."""
        return Lock(self.path / "users.lock")

    def up_lock(self) -> Lock:
        """Return the lock of ``pynomaly up``, not yet held."""
        return Lock(self.path / "up.lock")

    @property
    def alive(self) -> bool:
        """Whether a server process holds the folder, ready or still starting."""
        return self._held("server.lock")

    @property
    def up(self) -> bool:
        """Whether ``pynomaly up`` is at work here, ready or still starting."""
        return self._held("up.lock")

    def _held(self, name: str) -> bool:
        if not (self.path / name).exists():
            return False
        lock = Lock(self.path / name)
        try:
            return not lock.take()
        finally:
            lock.release()

    def publish(self, address: ServerAddress) -> None:
        """Tell other processes where the server is."""
        text = json.dumps({"pid": address.pid, "url": address.url})
        write_whole(self.path / "server.json", text)

    def withdraw(self) -> None:
        """Remove the published address."""
        (self.path / "server.json").unlink(missing_ok=True)

    def address(self) -> ServerAddress | None:
        """Return where the living server is; None if there is none, or none yet."""
        if not self.alive:
            return None  # a published address without a living server is a leftover of a crash
        try:
            published = json.loads((self.path / "server.json").read_text())
        except FileNotFoundError:
            return None
        return ServerAddress(published["pid"], published["url"])
