"""Runs whose process is gone: they would be "running" for ever."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pynomaly.application.ports.records import Records
from pynomaly.application.ports.run_leases import RunLeases
from pynomaly.application.processes import process_exists
from pynomaly.domain.errors import FencedError
from pynomaly.domain.runs import Run, RunLease

__all__ = ["BuryLostRuns", "as_found"]


def as_found(run: Run, leases: Iterable[RunLease], now: datetime) -> Run:
    """Return a run as it is: failed, if it is on record as running and its process is gone.

    Args:
        run: As it is on record.
        leases: Of any runs; one that holds none is taken at its word.
        now: UTC.
    """
    if run.status != "running":
        return run
    for lease in leases:
        if lease.run_id == run.id and (why := _why_lost(lease, now)) is not None:
            return replace(run, status="failed", error=why)
    return run


@dataclass(frozen=True, slots=True)
class BuryLostRuns:
    """Mark runs as failed whose process is gone.

    Args:
        records: Of the runs.
        leases: Say who carries out which.
    """

    records: Records
    leases: RunLeases

    def __call__(self, pipeline: str | None = None) -> tuple[Run, ...]:
        """Return the runs that were found lost, as they are stored now.

        Args:
            pipeline: Look at its runs alone.
        """
        now = datetime.now(UTC)
        lost = []
        for lease in self.leases.leases():
            if pipeline not in (None, lease.pipeline) or _why_lost(lease, now) is None:
                continue
            run = self.records.run(lease.run_id)  # none if it died before it could store it
            if run is not None and run.status == "running":
                run = replace(as_found(run, (lease,), now), finished_at=now)
            try:
                self.leases.conclude(lease, run)
            except FencedError:
                continue  # somebody was faster
            if run is not None:
                lost.append(run)
        return tuple(lost)


def _why_lost(lease: RunLease, now: datetime) -> str | None:
    host, pid, _ = lease.owner.rsplit(":", 2)
    if host == socket.gethostname() and not process_exists(int(pid)):
        return f"its process ({pid} on {host}) died"
    if lease.expires_at < now:
        until = f"{lease.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"its process ({pid} on {host}) has given no sign of life until {until}"
    return None
