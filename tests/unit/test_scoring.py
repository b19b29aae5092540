"""Scoring a snapshot: policies that look at the whole batch see all of it, in bounded memory."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pynomaly import adapters
from pynomaly.application.read_scores import ReadScores
from pynomaly.application.score import ScoreSnapshot
from pynomaly.application.score_output import ScoreOutput
from pynomaly.application.score_partition import ScorePartition
from pynomaly.application.score_work import Workers
from pynomaly.application.validate import Validated
from pynomaly.domain.datasets import Dataset, Snapshot
from pynomaly.domain.decision import decide
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.ledger import Output
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline
from pynomaly.domain.quality import ValidationReport
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore, TableSinks
from pynomaly.infrastructure.filesystem.targets import open_local_target, require_writable
from pynomaly.testing import InMemoryLedger, InMemoryRecords
from small_model import KERNELS, SCHEMA, Champion, rows

POLICIES = [
    DecisionPolicy(budget=0.05),
    DecisionPolicy("threshold", threshold=1.0),
    DecisionPolicy("fdr", q=0.2),
    DecisionPolicy("top_k", k=7),
]


def scored(
    folder: Path,
    policy: DecisionPolicy,
    champion: Champion,
    batch_rows: int,
    partition_rows: int = 100,
    workers: int = 2,
) -> tuple[pa.Table, int]:
    folder.mkdir(exist_ok=True)
    table = rows(300, seed=2, strange=12)
    spec = SourceSpec(str(folder / "rows.parquet"))
    pq.write_table(table.drop_columns("row_id"), spec.uri, row_group_size=50)
    reader, store, ledger = adapters.partition_reader(), adapters.part_store(), InMemoryLedger()
    plan = reader.plan(spec, partition_rows=partition_rows)
    snapshot = Snapshot(plan.uri, plan.fingerprint, plan.columns, len(table), 1)
    records = InMemoryRecords()
    records.add_version(champion.version)
    sinks = TableSinks(local=open_local_target, s3=open_local_target)
    score = ScoreSnapshot(
        ledger,
        records,
        champion,  # type: ignore[arg-type]
        reader,
        ScoreOutput(
            ledger,
            store,
            ReadScores(ledger, store, sinks, records),
            folder / "scores",
            require_writable,
        ),
        ParquetDatasetStore(folder / "staged", open_local_target),
        KERNELS,
        Workers(ledger, ScorePartition(reader, store, KERNELS), workers, 60.0),
        lambda pipeline, version: None,  # type: ignore[arg-type]  # nothing is rolled out
        batch_rows,
        workers,
        None,
    )
    report = ValidationReport("r", "p", snapshot, (), 300, 0, 0.05, datetime.now(UTC))
    validated = Validated(report, Dataset("unused", snapshot, 300, None, 0), "", plan)
    found = score(
        Pipeline("p", spec, SCHEMA, decision=policy), spec, validated, "run",
        Output(str(folder / "out.parquet"), overwrite=True),
    )  # fmt: skip
    return pq.read_table(folder / "out.parquet"), found.batch.rows_flagged


@pytest.fixture(scope="module")
def champion() -> Champion:
    return Champion()


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
def test_a_snapshot_is_decided_as_one_batch_however_it_is_streamed(
    policy: DecisionPolicy, champion: Champion, tmp_path: Path
) -> None:
    whole, flagged = scored(tmp_path / "whole", policy, champion, 1_000, 1_000, workers=1)
    streamed, _ = scored(tmp_path / "streamed", policy, champion, 17)

    alerts = whole["is_anomaly"].to_numpy()
    expected = decide(policy, whole["score"].to_numpy(), champion.model.calibration)
    np.testing.assert_array_equal(alerts, expected)
    assert 0 < flagged == alerts.sum() < 150
    assert streamed.drop_columns("scored_at").equals(whole.drop_columns("scored_at"))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
def test_exactly_the_flagged_rows_carry_reasons(
    policy: DecisionPolicy, champion: Champion, tmp_path: Path
) -> None:
    table, _ = scored(tmp_path, policy, champion, 64)

    assert table["reasons"].is_valid().to_pylist() == table["is_anomaly"].to_pylist()


def test_a_policy_that_cannot_flag_anything_refuses_and_writes_nothing(tmp_path: Path) -> None:
    few = Champion(calibration_rows=50)

    with pytest.raises(ConfigurationError, match="calibrated on 50 rows"):
        scored(tmp_path, DecisionPolicy("fdr", q=0.01), few, 64)

    assert not (tmp_path / "out.parquet").exists()
