"""Real processes for tests that kill, pause and crowd them.

Each is forked from a server that has imported everything once, which saves seconds a process.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from command_line import frame
from pynomaly.application.validate import Validated
from pynomaly.bootstrap import build
from pynomaly.domain.datasets import Dataset, Snapshot
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.ledger import Output
from pynomaly.domain.quality import ValidationReport
from pynomaly.presentation.cli import main as command_line
from pynomaly.settings import load_settings

os.environ["GX_ANALYTICS_ENABLED"] = "false"
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(  # not this module: the server does not look among tests
    [
        "great_expectations",
        "pynomaly.bootstrap",
        "pynomaly.application.score",
        "pynomaly.infrastructure.great_expectations.session",
        "pynomaly.infrastructure.kernels.compiled",
        "pynomaly.infrastructure.sqlalchemy.ledger",
        "pynomaly.presentation.cli.commands.score",
        "pynomaly_flows.launch",
        "pynomaly_flows.scoring",
        "pyarrow.parquet",
    ]
)


class Started:
    """A process at work, and what it prints.

    Args:
        arguments: Of the command line; a single one is a file to score without validation.
        project: Working folder.
        settings: Environment variables.
    """

    def __init__(self, *arguments: str, project: Path, **settings: str) -> None:
        self._log = project / f"log-{time.monotonic_ns()}"
        self.process: ForkServerProcess = _context.Process(
            target=_work, args=(arguments, project, self._log, settings)
        )
        self.process.start()

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended gets none."""
        if self.process.is_alive():
            assert self.process.pid is not None
            os.kill(self.process.pid, number)

    def ended(self, seconds: float = 120) -> int:
        """Wait for the end and return the exit code."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"still at work after {seconds} s: {self.printed}")
        return self.process.exitcode

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document, below whatever progress was shown."""
        lines = self.printed.splitlines()
        found: dict[str, Any] = json.loads("\n".join(lines[lines.index("{") :]))
        return found

    @property
    def printed(self) -> str:
        """Everything on standard output and error."""
        return self._log.read_text() if self._log.exists() else ""


def score(
    project: Path,
    *options: str,
    data: str = "new.parquet",
    partition_rows: int = 500,
    lease_seconds: int = 2,
) -> Started:
    """Start ``pynomaly score`` with one worker thread."""
    arguments = ("score", "payments", "--data", data, "--engine", "direct", "--workers", "1")
    return Started(
        *arguments, *options, "--json", project=project, **settings(partition_rows, lease_seconds)
    )


def settings(partition_rows: int, lease_seconds: int = 2) -> dict[str, str]:
    """Return environment variables for small partitions and short leases."""
    return {
        "PYNOMALY_SCORING__LEASE_SECONDS": str(lease_seconds),
        "PYNOMALY_SCORING__PARTITION_ROWS": str(partition_rows),
    }


def run(project: Path, *arguments: str) -> dict[str, Any]:
    """Run a command to its good end and return its document."""
    done = Started(*arguments, "--json", project=project)
    assert done.ended() == 0, done.printed
    return done.document


def write_rows(path: Path, rows: int, group_rows: int = 500, seed: int = 7) -> list[str]:
    """Write a Parquet file of many row groups and return the ids in it."""
    data = frame(rows, seed)
    table = pa.Table.from_pandas(data, preserve_index=False)
    pq.write_table(table, path, row_group_size=group_rows)
    return list(data["txn_id"])


def read_ids(project: Path) -> list[str]:
    """Return the ids that ``pynomaly scores read`` gives, ascending."""
    run(project, "scores", "read", "payments", "--out", "current.parquet", "--overwrite")
    return sorted(pq.read_table(project / "current.parquet").column("txn_id").to_pylist())


def half_written(folder: Path) -> list[Path]:
    """Find temporary files."""
    return [path for path in folder.rglob("*") if path.suffix == ".tmp"]


def committed(project: Path) -> dict[str, tuple[int, str]]:
    """Return fence and moment of every committed partition, by its key."""
    query = "SELECT key, fence, committed_at FROM score_partitions WHERE state = 'committed'"
    with _ledger(project) as ledger:
        return {key: (fence, moment) for key, fence, moment in ledger.execute(query)}


def states(project: Path) -> Counter[str]:
    """Count the ledger's partitions by state."""
    with _ledger(project) as ledger:
        return Counter(state for (state,) in ledger.execute("SELECT state FROM score_partitions"))


def attempts(project: Path) -> int:
    """Count the leases there ever were."""
    with _ledger(project) as ledger:
        return int(ledger.execute("SELECT sum(attempts) FROM score_partitions").fetchone()[0])


def await_lease(project: Path, seconds: float = 20) -> None:
    """Return as soon as somebody is at work on a partition."""
    until = time.monotonic() + seconds
    while not states(project)["leased"]:
        assert time.monotonic() < until, f"nothing was leased in {seconds} s"
        time.sleep(0.005)


def pause_under_lease(one: Started, project: Path) -> None:
    """Stop a process while it holds a lease, and not the lock of the database."""
    while True:
        await_lease(project)
        one.send(signal.SIGSTOP)
        try:
            with _ledger(project, timeout=0.2) as ledger:
                ledger.execute("BEGIN IMMEDIATE")
            if states(project)["leased"]:
                return
        except sqlite3.OperationalError:
            pass
        one.send(signal.SIGCONT)


@contextmanager
def _ledger(project: Path, timeout: float = 30) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(project / ".pynomaly/pynomaly.db", timeout=timeout)) as ledger:
        yield ledger


def _work(arguments: tuple[str, ...], project: Path, log: Path, settings: dict[str, str]) -> None:
    os.chdir(project)
    os.environ.update(settings)
    os.environ.pop("PYNOMALY_HOME", None)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the fork server ignores it
    with log.open("w", buffering=1) as output, redirect_stdout(output), redirect_stderr(output):
        if len(arguments) == 1:
            _score_unvalidated(*arguments)
            code = 0
        else:
            sys.argv = ["pynomaly", *arguments]
            code = command_line.main()
    sys.exit(code)


def _score_unvalidated(data: str) -> None:
    """Score a Parquet file all rows of which are good."""
    platform = build(load_settings())
    pipeline = platform.pipeline("payments")
    spec = pipeline.source.at(data)
    plan = platform.plan_scoring(pipeline, spec)
    rows = sum(partition.rows or 0 for partition in plan.partitions)
    snapshot = Snapshot(plan.uri, plan.fingerprint, plan.columns, rows, plan.size_bytes)
    run_id = new_id(datetime.now(UTC))
    report = ValidationReport(run_id, "payments", snapshot, (), rows, 0, 0.0, datetime.now(UTC))
    validated = Validated(report, Dataset("", snapshot, rows, None, 0), "", plan)
    platform.score(pipeline, spec, validated, run_id, Output())
