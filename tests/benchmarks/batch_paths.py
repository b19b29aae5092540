"""Scoring files in bulk by other paths than the shortest: from CSV, and on Dask.

Jobs over the same rows as in ``batch.py`` in turns, each in a fresh process.  CPU seconds of the work
alone: whatever starts (imports, the cluster, a first job of a thousand rows) is done before.  On Dask
the time of the workers, the scheduler and the client counts; a worker's kernels have one thread, so
the stream beside it has one too.

    python tests/benchmarks/batch_paths.py --rows 1000000
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
from batch import Job, cpu, generate, prepare

from pynomaly import adapters
from pynomaly.application.score_partition import ScorePartition
from pynomaly.application.score_work import Workers
from pynomaly.infrastructure.dask import DaskCompute
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.sqlalchemy.ledger import SqlLedger

PATHS = {"csv": 3.0, "dask": 1.4}
"""Path → most CPU wanted, as a multiple of the stream's from Parquet."""


MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**27), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
"""Of workers, as docs/how-to/scale-out.md has it."""


@cache
def workers(ledger: str) -> Workers:
    """Return what a worker of the cluster works with."""
    score = ScorePartition(
        adapters.partition_reader(), adapters.part_store(), adapters.detector_kernels()
    )
    return Workers(SqlLedger(ledger), score, 1, 60.0)


def job(path: str, detector: str, source: Path, folder: Path) -> Job:
    """Return a job over one file, in the stream."""
    model = pickle.loads((folder / f"{detector}.ours").read_bytes())
    made = Job(model, source, Path(tempfile.mkdtemp(dir=folder)), workers=1)
    if path in ("dask", "stream, one thread"):
        made.workers = Workers(
            made.ledger,
            ScorePartition(made.reader, made.store, FrozenKernels(threads=1)),
            1,
            60.0,
        )
    return made


def alone(path: str, detector: str, folder: Path) -> float:
    """Return the CPU seconds of one job; runs in a process of its own."""
    suffix = ".csv" if path == "csv" else ".parquet"
    with ExitStack() as stack:
        first, full = (
            job(path, detector, folder / f"{name}{suffix}", folder) for name in ("few", "rows")
        )
        spent: Callable[[], float] = cpu
        if path == "dask":
            from distributed import Client, LocalCluster

            os.environ.update(MEMORY)
            cluster = stack.enter_context(
                LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0")
            )
            client = stack.enter_context(Client(cluster))
            for each in (first, full):
                url = f"sqlite:///{each.folder / 'ledger.db'}"
                each.workers = DaskCompute(
                    each.ledger, partial(workers, url), cluster.scheduler_address, 2
                )

            client.run(_warm, detector, folder)

            def spent() -> float:
                return cpu() + sum(client.run(time.process_time).values())

        first()
        before = spent()
        full()
        return spent() - before


def _warm(detector: str, folder: Path) -> int:
    return job("dask", detector, folder / "few.parquet", folder)()


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--detectors", nargs="+", default=["iforest", "self_cleaning"])
    options.add_argument("--alone", nargs=3, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.alone:
        path, detector, folder = given.alone
        print(json.dumps(alone(path, detector, Path(folder))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, rows in (("few", 1_000), ("rows", given.rows)):
            generate(folder / f"{file}.parquet", rows)
            table = pq.read_table(folder / f"{file}.parquet")
            pyarrow.csv.write_csv(table, folder / f"{file}.csv")
        print(f"{given.rows:,} rows × 20, medians of {given.rounds} interleaved rounds")
        print("detector        path                CPU s  × stream  at most")
        for detector in given.detectors:
            prepare(detector, folder)
            _compare(detector, folder, given.rounds)


def _compare(detector: str, folder: Path, rounds: int) -> None:
    beside = {"csv": "stream", "dask": "stream, one thread"}
    found = [
        {path: _measured(path, detector, folder) for path in (*beside.values(), *beside)}
        for _ in range(rounds)
    ]
    for path in found[0]:
        seconds = np.median([one[path] for one in found])
        line = f"{detector:15} {path:18} {seconds:6.2f}"
        if path in beside:
            ratio = np.median([one[path] / one[beside[path]] for one in found])
            line += f" {ratio:9.2f} {PATHS[path]:8.1f}"
        print(line, flush=True)


def _measured(path: str, detector: str, folder: Path) -> float:
    command = [sys.executable, __file__, "--alone", path, detector, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
