"""Carrying out a run under a lease, so that others can tell whether its process still lives."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pynomaly.application.lost_runs import BuryLostRuns
from pynomaly.application.ports.run_leases import RunLeases
from pynomaly.domain.errors import FencedError, PynomalyError
from pynomaly.domain.runs import Run, RunLease

__all__ = ["HoldRun"]

Conclude = Callable[[Run], None]


@dataclass(frozen=True, slots=True)
class HoldRun:
    """Hold the lease on a run while it is at work.

    Args:
        leases: Where leases are kept.
        bury: Frees what dead processes hold.
        seconds: How long a process may give no sign of life.
    """

    leases: RunLeases
    bury: BuryLostRuns
    seconds: float

    @contextmanager
    def __call__(self, run_id: str, pipeline: str, command: str) -> Iterator[Conclude]:
        """Hold a run in the block.

        Yields:
            Stores how the run ended; raises ``FencedError`` where another process has taken it
            up, whose end counts instead of ours.

        Raises:
            ConflictError: Another living process carries it out, or another run of the pipeline
                is at work on what only one may do at a time.
        """
        self.bury(pipeline)
        owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        lease = RunLease(run_id, pipeline, command, owner, self._from_now())
        self.leases.take(lease, datetime.now(UTC))
        done = threading.Event()
        thread = threading.Thread(
            target=self._renew, args=(lease, done), name="renew-run", daemon=True
        )
        thread.start()
        try:
            yield lambda run: self.leases.conclude(lease, run)
        finally:
            done.set()
            thread.join()

    def _from_now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.seconds)

    def _renew(self, lease: RunLease, done: threading.Event) -> None:
        while not done.wait(self.seconds / 3):
            try:
                self.leases.renew(lease, self._from_now())
            except FencedError:
                return  # told when the run is concluded
            except PynomalyError:
                continue  # the database does not answer; the next renewal may succeed
