"""Who carries out which run."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from pynomaly.domain.runs import Run, RunLease

__all__ = ["RunLeases"]


class RunLeases(Protocol):
    """Leases on runs; every method is one transaction."""

    def take(self, lease: RunLease, now: datetime) -> None:
        """Lease a run, new or known, to ``lease.owner``.

        Args:
            lease: To be stored, in place of one on the same run that has ended.
            now: UTC; leases that expired before have ended.

        Raises:
            ConflictError: Another owner's lease on the run has not ended, or another run of the
                pipeline is at work on what only one may do at a time.
        """

    def renew(self, lease: RunLease, until: datetime) -> None:
        """Prolong a lease.

        Raises:
            FencedError: It was taken over.
        """

    def conclude(self, lease: RunLease, run: Run | None) -> None:
        """Store how a run ended, if it was stored at all, and give its lease back.

        Raises:
            FencedError: It was taken over; nothing is stored.
        """

    def leases(self) -> tuple[RunLease, ...]:
        """Return all leases, ended ones included."""
