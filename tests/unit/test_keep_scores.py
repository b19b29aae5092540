"""Verifying and pruning stored scores never touches what somebody reads or will read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pynomaly import adapters
from pynomaly.application.keep_scores import PruneScores, VerifyScores
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.ledger import (
    Entry,
    Outcome,
    Partition,
    ScoreJob,
    ScoreVersion,
    partition_key,
)
from pynomaly.testing import InMemoryLedger

FIRST, SECOND = ScoreVersion(1, "a" * 64, "policy"), ScoreVersion(2, "b" * 64, "policy")
ROWS = 3


@dataclass
class Scores:
    """A ledger, a folder of parts, and jobs over made-up partitions."""

    target: str
    ledger: Ledger = field(default_factory=InMemoryLedger)
    store: PartStore = field(default_factory=adapters.part_store)

    def open(self, pipeline: str, *digests: str, version: ScoreVersion = FIRST) -> str:
        now = datetime.now(UTC)
        job = ScoreJob(new_id(now), "run", pipeline, "data", "f", version, self.target, now)
        entries = []
        for place, digest in enumerate(digests):
            partition = Partition(
                "data", "data", f"group {place}", ROWS * place, ROWS, 10, digest, ()
            )
            key = partition_key(partition, version, {})
            entries.append(Entry(key, partition, pipeline, version, self.target, "pending"))
        self.ledger.open_job(job, entries)
        return job.id

    def work(self, job: str, partitions: int = 99) -> None:
        for _ in range(partitions):
            lease = self.ledger.lease(job, "host:1:x", 60.0)
            if lease is None:
                return
            with self.store.writer(self.target, f"{lease.key[:32]}-{lease.fence}") as output:
                output.write(
                    pa.table({"id": [f"{lease.partition.digest}-{i}" for i in range(ROWS)]})
                )
            self.ledger.commit(lease, Outcome(ROWS, ROWS, 0, 0, output.parts))

    def read(self, pipeline: str) -> list[str]:
        parts = [e.outcome.parts for e in self.ledger.current(pipeline) if e.outcome]
        return sorted(
            row
            for several in parts
            for part in several
            for row in pq.read_table(part.uri).column("id").to_pylist()
        )


def rows(*digests: str) -> list[str]:
    return [f"{digest}-{i}" for digest in digests for i in range(ROWS)]


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    return Scores(str(tmp_path / "scores"))


def test_repairing_a_pipeline_leaves_another_one_in_the_same_place_alone(scores: Scores) -> None:
    scores.work(scores.open("payments", "d1"))
    scores.work(scores.open("logins", "d2"))

    found = VerifyScores(scores.ledger, scores.store)("payments", repair=True)

    assert (found.partitions, found.orphans) == (1, ())
    assert scores.read("logins") == rows("d2")


def test_pruning_leaves_what_a_job_has_committed_so_far(scores: Scores) -> None:
    scores.work(scores.open("payments", "d1", "d2"))
    changed = scores.open("payments", "e1", "e2")
    scores.work(changed, partitions=1)

    pruned = PruneScores(scores.ledger, scores.store)("payments", versions=1)
    scores.work(changed)

    assert pruned.partitions == 0
    assert scores.read("payments") == rows("e1", "e2")
    assert PruneScores(scores.ledger, scores.store)("payments", versions=1).partitions == 2
    assert scores.read("payments") == rows("e1", "e2")


def test_a_version_without_committed_scores_pushes_nothing_out(scores: Scores) -> None:
    scores.work(scores.open("payments", "d1"))
    scores.open("payments", "d1", version=SECOND)

    PruneScores(scores.ledger, scores.store)("payments", versions=1)

    assert scores.read("payments") == rows("d1")
