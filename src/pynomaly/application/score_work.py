"""Working off a job's partitions under leases, until nothing is left to do."""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.planned_source import read_again
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore
from pynomaly.application.processes import process_exists
from pynomaly.application.score_partition import PartitionWork, ScorePartition
from pynomaly.domain.errors import (
    ConnectionLostError,
    DataRejectedError,
    FencedError,
    PynomalyError,
    SourceChangedError,
    SourceNotFoundError,
)
from pynomaly.domain.ledger import Lease, Outcome

__all__ = ["JobWork", "Slice", "Workers"]

_PARTITION_FAULTS = (DataRejectedError, SourceNotFoundError, SourceChangedError)
"""Concern one partition; after anything else the others would fare no better."""

_POLL_SECONDS = 0.2

_ATTEMPTS, _LONGEST_PAUSE_SECONDS = 8, 30.0
"""While connections break; some 90 seconds in all, in which a database that restarts is back."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Slice:
    """What a job knows about one of its partitions beforehand.

    Args:
        refused: (k,) ascending numbers of rows in the file that validation refused.
        first: Position of its first accepted row in the batch.
        unreadable: Why validation could not read it; None if it could.
    """

    refused: NDArray[np.int64]
    first: int = 0
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class JobWork:
    """A job as its workers see it.

    Args:
        job_id: In the ledger.
        partition_work: What all partitions have in common.
        slices: By partition key.
    """

    job_id: str
    partition_work: PartitionWork
    slices: Mapping[str, Slice]


@dataclass(frozen=True, slots=True)
class Workers:
    """Threads that lease, score and commit.

    Any number of processes may work on one job at once.  A worker that dies loses its lease when
    that runs out, or at once if it was a process of this machine; one that was merely slow learns
    that it was overtaken when it tries to commit.

    Args:
        ledger: Shared by all.
        score: Scores one partition.
        count: Partitions in progress at once in this process.
        lease_seconds: How long a lease holds unless renewed.
    """

    ledger: Ledger
    score: ScorePartition[PartStore]
    count: int
    lease_seconds: float

    def __call__(self, work: JobWork, on_rows: Callable[[int], None]) -> None:
        """Work until every partition of the job is committed or has failed.

        Args:
            work: The job.
            on_rows: Told of every further number of rows read; of less than 0 where some will be
                read again.

        Raises:
            FencedError: Another worker took over a partition while this process was not looking;
                the rest is done all the same.
            ConnectionLostError: A database went on ending connections.
            OutputNotWritableError: The target refuses us or is full.
        """
        stop = threading.Event()
        fenced: list[FencedError] = []
        while True:
            with ThreadPoolExecutor(self.count, thread_name_prefix="score") as pool:
                futures = [
                    # The listener may ask which task it belongs to: threads inherit that.
                    pool.submit(copy_context().run, self._until_idle, work, on_rows, stop, fenced)
                    for _ in range(self.count)
                ]
                try:
                    while wait(futures, _POLL_SECONDS, FIRST_EXCEPTION).not_done:
                        if any(future.done() and future.exception() for future in futures):
                            break
                finally:
                    # After Ctrl-C or a fault: partitions in progress are given back at once.
                    stop.set()
            for future in futures:
                future.result()
            stop.clear()
            if self.ledger.progress(work.job_id).finished:
                break
            self.break_leases_of_the_dead(work.job_id)
            stop.wait(_POLL_SECONDS)
        if fenced:
            raise fenced[0]

    def require_ready(self) -> None:
        """Return: threads of this process always are."""

    def _until_idle(
        self,
        work: JobWork,
        on_rows: Callable[[int], None],
        stop: threading.Event,
        fenced: list[FencedError],
    ) -> None:
        while not stop.is_set():
            try:
                if not self.next(work, on_rows, stop):
                    return
            except FencedError as error:
                fenced.append(error)

    def next(self, work: JobWork, on_rows: Callable[[int], None], stop: threading.Event) -> bool:
        """Lease the next free partition and work it off; see :meth:`one`.

        Where a database ends the connection it is tried again, perhaps with another partition.

        Returns:
            False where no partition was free, or somebody asked to stop.
        """
        lost = 0
        while not stop.is_set():
            owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
            lease = self.ledger.lease(work.job_id, owner, self.lease_seconds)
            if lease is None:
                return False
            try:
                self.one(work, lease, on_rows, stop)
                return True
            except ConnectionLostError as error:
                lost += 1
                if lost == _ATTEMPTS:
                    raise
                _log.warning("%s; the partition is tried again", error.message)
                stop.wait(random.uniform(0.5, 1.0) * min(2.0**lost, _LONGEST_PAUSE_SECONDS))
        return False

    def one(
        self,
        work: JobWork,
        lease: Lease,
        on_rows: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        """Score and commit one leased partition, or give it back.

        A fault of the partition itself is recorded in the ledger and not raised.

        Args:
            work: The job.
            lease: On one of its partitions.
            on_rows: Told of every further number of rows read; see :meth:`__call__`.
            stop: Once set, the partition is given back at the next batch.
        """
        slice_ = work.slices[lease.key]
        read = 0
        try:
            with self._held(lease) as lost:
                if slice_.unreadable is not None:
                    spec = work.partition_work.spec
                    read_again(self.score.reader, spec, lease.partition, slice_.unreadable)

                def go_on(rows: int) -> None:
                    nonlocal read
                    if lost:
                        raise lost[0]
                    if stop.is_set():
                        raise _StoppedError
                    read += rows
                    on_rows(rows)

                outcome = self.score(
                    work.partition_work, lease, slice_.refused, slice_.first, go_on
                )
                self._commit(lease, outcome)
        except FencedError:
            raise
        except _PARTITION_FAULTS as error:
            self.ledger.give_back(lease, f"{type(error).__name__}: {error.message}")
        except _StoppedError:
            self.ledger.give_back(lease)
        except BaseException as error:
            if isinstance(error, ConnectionLostError) and read:
                on_rows(-read)
            try:
                self.ledger.give_back(lease)
            except PynomalyError as second:  # the lease runs out by itself
                error.add_note(f"and its lease could not be given back: {second.message}")
            raise

    def _commit(self, lease: Lease, outcome: Outcome) -> None:
        try:
            self.ledger.commit(lease, outcome)
        except FencedError:
            with suppress(PynomalyError):  # what stays is superseded, and found by `verify`
                for part in outcome.parts:
                    self.score.store.remove(part.uri)
            raise

    @contextmanager
    def _held(self, lease: Lease) -> Iterator[list[FencedError]]:
        """Renew a lease while the block works; gives a list that says if it was lost."""
        lost: list[FencedError] = []
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self.lease_seconds / 3):
                try:
                    self.ledger.renew(lease, self.lease_seconds)
                except FencedError as error:
                    lost.append(error)
                    return
                except PynomalyError:
                    continue  # the database does not answer; the commit decides

        thread = threading.Thread(target=renew, name="renew", daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            done.set()
            thread.join()

    def break_leases_of_the_dead(self, job_id: str) -> None:
        """Free the partitions of processes of this machine that are no more."""
        for lease in self.ledger.leases(job_id):
            host, pid, _ = lease.owner.rsplit(":", 2)
            if host == socket.gethostname() and not process_exists(int(pid)):
                self.ledger.break_lease(lease)


class _StoppedError(Exception):
    """Somebody asked to stop; the partition in progress is given back."""
