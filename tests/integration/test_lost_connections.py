"""A job that reads from and writes to PostgreSQL outlives connections that the server ends."""

import gc
import logging
import uuid
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa

from pynomaly import adapters
from pynomaly.application import score_work
from pynomaly.application.score_partition import PartitionWork, ScorePartition
from pynomaly.application.score_work import JobWork, Slice, Workers
from pynomaly.domain.decision import Line
from pynomaly.domain.errors import ConnectionLostError
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.ledger import Entry, ScoreJob, ScoreVersion, partition_key
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.sqlalchemy.ledger import SqlLedger
from pynomaly.testing import InMemoryLedger
from small_model import KERNELS, SCHEMA, Champion, rows

pytestmark = pytest.mark.integration

VERSION = ScoreVersion(1, "m", "p")
CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


class Job:
    """200 rows of a table, in four partitions whose scores go to another table."""

    def __init__(self, url, ledger):
        self.url = url.replace("postgresql+psycopg", "postgresql")
        self.engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        self.store, self.reader = adapters.part_store(), adapters.partition_reader()
        self.ledger, self.name = ledger, f"t{uuid.uuid4().hex[:12]}"
        table = rows(200, seed=2).drop_columns("row_id")
        table = table.add_column(0, "number", [list(range(200))])
        with self.engine.connect() as connection:
            table.to_pandas().to_sql(self.name, connection, index=False)
        self.spec = SourceSpec(self.url, query=self.name)
        self.target = self.store.resolve(f"{self.url}#{self.name}_scores")
        self.cuts = 0
        self.progress = []

    @contextmanager
    def writer(self, *arguments, **options):
        """Open a part; while there are cuts left, the server ends all connections after a write."""
        with self.store.writer(*arguments, **options) as part:
            write = part.write

            def cut(table):
                write(table)
                if self.cuts:
                    self.cuts -= 1
                    with self.engine.connect() as connection:
                        connection.exec_driver_sql(CUT)

            part.write = cut
            yield part

    def remove(self, uri):
        self.store.remove(uri)

    def run(self, cuts):
        self.cuts = cuts
        plan = self.reader.plan(self.spec, partition_rows=50, key="number")
        now = datetime.now(UTC)
        job = ScoreJob(new_id(now), "run", "p", self.spec.uri, "f", VERSION, self.target, now)
        entries = [
            Entry(partition_key(one, VERSION, {}), one, "p", VERSION, self.target, "pending")
            for one in plan.partitions
        ]
        self.ledger.open_job(job, entries)
        work = PartitionWork(
            Pipeline("p", self.spec, SCHEMA, id_columns=("number",)), self.spec,
            Champion().model, VERSION, Line(np.inf, last=-1), self.target, (), None, 20,
        )  # fmt: skip
        slices = {entry.key: Slice(np.array([], dtype=np.int64)) for entry in entries}
        workers = Workers(self.ledger, ScorePartition(self.reader, self, KERNELS), 1, 60.0)
        workers(JobWork(job.id, work, slices), self.progress.append)
        return self.ledger.progress(job.id)

    def ids(self):
        with self.engine.connect() as connection:
            found = connection.exec_driver_sql(f"SELECT number FROM {self.name}_scores").scalars()
            return sorted(map(int, found))


def _database(url):
    """Make a database for one ledger alone; returns its URL."""
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["ledger elsewhere", "ledger on that server"])
def job(request, postgres_url, monkeypatch, caplog):
    # What it logs of cursors it could not close would keep them alive beyond the test.
    caplog.set_level(logging.CRITICAL, logger="sqlalchemy.pool")
    elsewhere = request.param == "ledger elsewhere"
    ledger = InMemoryLedger() if elsewhere else SqlLedger(_database(postgres_url))
    monkeypatch.setattr(score_work, "_LONGEST_PAUSE_SECONDS", 0.01)
    with warnings.catch_warnings():
        # psycopg cannot close a cursor whose connection broke, and complains of it later.
        warnings.filterwarnings("ignore", message=".*ServerCursor", category=ResourceWarning)
        yield Job(postgres_url, ledger)
        gc.collect()


def test_a_job_outlives_connections_that_the_server_ends(job, caplog):
    with caplog.at_level(logging.WARNING):
        done = job.run(cuts=3)
    assert (done.committed, done.failed, job.cuts) == (4, 0, 0)
    assert job.ids() == list(range(200))
    assert sum(job.progress) == 200
    assert caplog.text.count("the partition is tried again") == 3


def test_a_server_that_goes_on_ending_them_is_told_and_the_next_run_completes(job):
    with pytest.raises(ConnectionLostError, match=r"lost|ended the connection") as caught:
        job.run(cuts=1_000)
    assert caught.value.exit_code == 6
    done = job.run(cuts=0)
    assert done.committed == 4
    assert job.ids() == list(range(200))
