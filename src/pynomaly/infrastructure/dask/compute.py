"""Works off score jobs on a Dask cluster: a future per partition, all under the ledger's leases."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.score_work import JobWork, Workers
from pynomaly.domain.errors import (
    ConfigurationError,
    FencedError,
    MissingExtraError,
    PartitionsFailedError,
)

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DaskCompute"]

_POLL_SECONDS = 0.2

_KEEP_MEMORY = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 128 * 2**20,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 32 * 2**20,
}
"""Dask's 64 KiB make glibc give every batch's memory back and fetch it anew: 1.5 × the CPU time.

Once one threshold is set, the other no longer grows by itself.  Values in the environment go before
these.
"""


class DaskCompute:
    """Implements ``Compute`` (application/score.py).

    A future stands for no particular partition: it leases whichever is free, scores it and commits
    it.  So Dask may lose, repeat or move futures as it likes; the ledger alone decides what is
    done.  A lost worker costs the partition it was at, which is leased again once the lease was
    broken (a dead process on a machine where another worker runs) or has run out.

    Args:
        ledger: Tells when a job is finished.
        workers: Gives a worker process of the cluster its ledger, reader and store; called there,
            once per partition, so it keeps what it made.  It must pickle.
        scheduler: Address such as ``tcp://scheduler:8786``; None starts a cluster on this machine
            for each job.
        processes: Of that cluster, each with one thread.

    Raises:
        MissingExtraError: Dask's ``distributed`` is not installed.
    """

    def __init__(
        self, ledger: Ledger, workers: Callable[[], Workers], scheduler: str | None, processes: int
    ) -> None:
        if importlib.util.find_spec("distributed") is None:
            raise MissingExtraError(
                "scoring on Dask needs the package distributed, which is not installed",
                hint="pip install 'pynomaly-platform[dask]'",
            )
        self._ledger = ledger
        self._workers = workers
        self._scheduler = scheduler
        self._processes = processes

    def __call__(self, work: JobWork, on_rows: Callable[[int], None]) -> None:
        """Work until every partition of the job is committed or has failed.

        Args:
            work: The job; it is sent to every worker once.
            on_rows: Told of every further number of rows read, partition by partition.

        Raises:
            ConfigurationError: The scheduler does not answer, has no workers, or its workers use
                another ledger.
            PartitionsFailedError: Workers die of what they are given, again and again.
            FencedError: Another worker took over a partition while one was not looking; the rest
                is done all the same.
            OutputNotWritableError: The target refuses us or is full.
        """
        before = self._ledger.progress(work.job_id)
        left = before.pending + before.leased
        if not left:
            return
        fenced: list[FencedError] = []
        with self._client() as client:
            shared = self._shared(client, work)
            while left:
                died = self._round(client, shared, left, on_rows, fenced)
                now = self._ledger.progress(work.job_id)
                left = now.pending + now.leased
                if now == before:
                    if died:
                        raise PartitionsFailedError(
                            f"workers of {self} died and nothing was scored: {died}",
                            hint="see the workers' logs; if they ran out of memory, give them more "
                            "or make batches smaller with --memory",
                        )
                    time.sleep(_POLL_SECONDS)  # what is left is leased to others
                if died:  # perhaps all who had it
                    shared = self._shared(client, work)
                before = now
        if fenced:
            raise fenced[0]

    def require_ready(self) -> None:
        """Look whether the scheduler answers, where it is not ours.

        Raises:
            ConfigurationError: It does not.
        """
        if self._scheduler is not None:
            with self._client():
                pass

    def __str__(self) -> str:
        """Return the scheduler's address, for messages."""
        return self._scheduler or "the local Dask cluster"

    def _shared(self, client: Client, work: JobWork) -> Future[JobWork]:
        """Send the job to every worker."""
        try:
            sent: Future[JobWork] = client.scatter(work, broadcast=True, hash=False)  # type: ignore[no-untyped-call]
        except TimeoutError as error:
            raise ConfigurationError(
                f"{self} has no workers", hint="start some, e.g. `dask worker ADDRESS --nthreads 1`"
            ) from error
        return sent

    def _round(
        self,
        client: Client,
        shared: Future[JobWork],
        count: int,
        on_rows: Callable[[int], None],
        fenced: list[FencedError],
    ) -> str | None:
        """Let ``count`` futures each work off a partition; returns how workers died, if any did."""
        from distributed import CancelledError, KilledWorker, as_completed

        died = None
        futures = [
            client.submit(_next_partition, self._workers, shared, pure=False) for _ in range(count)
        ]
        for future in as_completed(futures, loop=client.loop):  # type: ignore[no-untyped-call]
            try:
                on_rows(future.result())
            except FencedError as error:
                fenced.append(error)
            except (CancelledError, KilledWorker) as error:
                died = str(error)
        return died

    @contextmanager
    def _client(self) -> Iterator[Client]:
        """Connect to the scheduler, or start a cluster for the block."""
        import dask
        from distributed import Client, LocalCluster

        if self._scheduler is None:
            with (
                dask.config.set(_KEEP_MEMORY),
                LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=self._processes,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address="127.0.0.1:0",  # any free port
                ) as cluster,
                Client(cluster, set_as_default=False) as client,  # type: ignore[no-untyped-call]
            ):
                yield client
            return
        try:
            client = Client(self._scheduler, set_as_default=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"no Dask scheduler answers at {self._scheduler}: {error}",
                hint="check scoring.scheduler or --scheduler, e.g. tcp://host:8786",
            ) from error
        with client:
            yield client


def _next_partition(workers: Callable[[], Workers], work: JobWork) -> int:
    """Work off whichever partition is free; runs in a worker.  Returns how many rows were read."""
    read: list[int] = []
    here = workers()
    if not here.next(work, read.append, threading.Event()):
        if here.ledger.job(work.job_id) is None:
            raise ConfigurationError(
                "a Dask worker finds no such job in its ledger: it works on another database",
                hint="workers on other machines need the records in PostgreSQL (records.url)",
            )
        here.break_leases_of_the_dead(work.job_id)
    return sum(read)
