"""A ring for challengers: real training, registry, records and gates around generated payments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pynomaly import adapters
from pynomaly.application.champion import ModelLoader
from pynomaly.application.conform import conform
from pynomaly.application.fit import FitScorer
from pynomaly.application.gate import GateVersion
from pynomaly.application.gates.recent import ReadRecent
from pynomaly.application.judgements import Judgements
from pynomaly.application.ports.registry import Registration
from pynomaly.application.scoring_rows import score_table
from pynomaly.application.train import FitModel, TrainedModel
from pynomaly.application.tune import Choice
from pynomaly.domain.datasets import EXPECTED_SCORE, Column, Dataset, Fingerprint, Schema, Snapshot
from pynomaly.domain.gates import Override
from pynomaly.domain.ledger import Entry, ScoreJob, ScoreVersion
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline, ReleasePolicy, TrainingPolicy
from pynomaly.domain.quality import ValidationReport
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.runs import Actor, ScoredBatch
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore
from pynomaly.infrastructure.filesystem.targets import open_local_target
from pynomaly.testing import InMemoryLedger, InMemoryRecords, InMemoryRegistry

KERNELS = adapters.detector_kernels()
NUMBERS = ("amount", "items", "weight", "distance", "hour", "age", "speed", "load")
SCHEMA = Schema(
    (
        *(Column(name, "numeric") for name in NUMBERS),
        Column("channel", "categorical"),
    )
)
LABELLED = Schema((*SCHEMA.columns, Column("is_fraud", "boolean")))
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def payments(
    n: int, seed: int, *, anomalies: float = 0.005, attack: float = 0.0, year: int = 0
) -> pa.Table:
    """Return payments: two kinds of customers, columns that hang together, few strange rows.

    Args:
        n: Rows.
        seed: Of the draw.
        anomalies: Share of rows far out in two columns, labelled.
        attack: Share of rows of one dense unusual kind, labelled.
        year: Years ago: prices, loads and habits were lower then.
    """
    rng = np.random.default_rng(seed)
    firm = rng.random(n) < 0.3
    items = rng.gamma(np.where(firm, 9.0, 3.0), 1.0)
    columns = {
        "amount": np.exp(rng.normal(3.0, 0.4, n)) * (1 + 0.2 * items),
        "items": items,
        "weight": 2.0 * items + rng.normal(0, 1.0, n),
        "distance": rng.gamma(4.0, np.where(firm, 30.0, 8.0)),
        "hour": rng.normal(np.where(firm, 10.0, 16.0), 2.5),
        "age": rng.normal(45.0, 9.0, n),
        "speed": rng.normal(60.0, 6.0, n),
        "load": rng.normal(0.5, 0.1, n),
    }
    if year:
        columns["amount"] *= 0.7**year
        columns["speed"] -= 15.0 * year
        columns["load"] -= 0.25 * year
    labels = np.zeros(n)
    strange = rng.random(n) < anomalies
    for row in np.flatnonzero(strange):
        for name in rng.choice(NUMBERS, 2, replace=False):
            spread = float(np.std(columns[name]))
            columns[name][row] += rng.choice([-1, 1]) * rng.uniform(5, 9) * spread
    attacked = rng.random(n) < attack
    columns["speed"][attacked] = rng.normal(95.0, 2.0, int(attacked.sum()))
    columns["load"][attacked] = rng.normal(0.95, 0.03, int(attacked.sum()))
    labels[strange | attacked] = 1
    return pa.table(
        {
            **columns,
            "channel": rng.choice(["web", "shop", "phone"], n, p=[0.6, 0.3, 0.1]),
            "is_fraud": labels.astype(bool),
        }
    )


def pipeline(**release: Any) -> Pipeline:
    """Return the pipeline of the ring; half of the rows are held out, so that fits stay short."""
    return Pipeline(
        "payments",
        SourceSpec("payments.parquet"),
        SCHEMA,
        training=TrainingPolicy(calibration_share=0.5),
        release=ReleasePolicy(**release),
        decision=DecisionPolicy(budget=0.01),
    )


class Serving(InMemoryRecords):
    """Records of a pipeline of which one version serves."""

    version_that_serves: int | None = None

    def production(self, pipeline: str) -> Release | None:
        """Return the release of the version that serves."""
        if self.version_that_serves is None:
            return None
        return Release(
            "r", "run", pipeline, self.version_that_serves, None, "production", "pass", (), NOON
        )


@dataclass
class Ring:
    """Trains, registers and gates versions of one pipeline.

    Args:
        folder: For everything that is written.
        pipeline: What is released.
        judgements: What people have said about rows when the gates are asked.
    """

    folder: Path
    pipeline: Pipeline = field(default_factory=pipeline)
    records: Serving = field(default_factory=Serving)
    ledger: InMemoryLedger = field(default_factory=InMemoryLedger)
    judgements: Judgements = field(default_factory=Judgements)

    def __post_init__(self) -> None:
        self.reader = adapters.partition_reader()
        self.store = adapters.model_folders()
        self.datasets = ParquetDatasetStore(self.folder / "datasets", open_local_target)
        self.registry = InMemoryRegistry(self.folder / "registry")
        self.loader = ModelLoader(self.registry, self.records, self.store, self.folder / "verified")

    @cached_property
    def fit(self) -> FitModel:
        scorer = FitScorer(
            adapters.detector_fitter(KERNELS), adapters.label_fitter(KERNELS), KERNELS
        )
        return FitModel(self.datasets, scorer, self.store, self.folder / "models")

    def trained(
        self,
        table: pa.Table,
        *,
        seed: int = 0,
        detector: str = "knn",
        params: Mapping[str, Any] | None = None,
        job: Pipeline | None = None,
    ) -> TrainedModel:
        """Train a model on a snapshot."""
        job = job or self.pipeline
        ids = pa.array([f"snapshot#{i + 1}" for i in range(len(table))])
        rows, failures = conform(table.add_column(0, "row_id", ids), job)
        assert not failures
        content = sha256(f"{seed} {table.to_pydict()}".encode()).hexdigest()
        with self.datasets.writer(f"accepted-{content}") as writer:
            writer.write(rows)
        snapshot = Snapshot("payments.parquet", Fingerprint(content, "s"), (), len(table), 1)
        report = ValidationReport(f"v{content}", job.name, snapshot, (), len(table), 0, 0.05, NOON)
        self.records.add_report(report)
        job = replace(job, training=replace(job.training, seed=seed))
        dataset = Dataset(writer.uri, snapshot, len(table), None, 0)
        return self.fit(job, dataset, Choice(detector, params or {}, "", ()), "run")

    def registered(self, trained: TrainedModel) -> ModelVersion:
        """Register a trained model."""
        folder = Path(trained.folder)
        model = self.store.load(folder, trained.manifest_digest)
        version = self.registry.register(
            Registration(
                self.pipeline.name, "run", folder, trained.manifest_digest,
                model.card.training_fingerprint, trained.holdout_uri, pa.table({}), {}, {},
            )
        )  # fmt: skip
        self.records.add_version(version)
        return version

    def changed(self, trained: TrainedModel, model: Model, *, golden: bool = False) -> TrainedModel:
        """Return a model that something went wrong with, in a folder of its own.

        Args:
            trained: The sound one; the gates get its holdout.
            model: What became of it.
            golden: Whether the golden rows expect what it scores now, as if it had been trained so.
        """
        rows = self.store.golden(Path(trained.folder), trained.manifest_digest)
        if golden:
            scores = score_table(model, rows, KERNELS)
            place = rows.schema.get_field_index(EXPECTED_SCORE)
            rows = rows.set_column(place, EXPECTED_SCORE, pa.array(scores))
        folder = self.folder / "changed" / str(len(self.records.versions(self.pipeline.name)))
        folder.parent.mkdir(exist_ok=True)
        return replace(
            trained, folder=str(folder), manifest_digest=self.store.save(model, rows, folder)
        )

    def model(self, trained: TrainedModel) -> Model:
        """Return a trained model."""
        return self.store.load(Path(trained.folder), trained.manifest_digest)

    def scored(self, table: pa.Table, days_ago: float = 0.0, flagged: int = 0) -> ScoredBatch:
        """Put a batch that the champion scored on record: a file, its partitions, and the batch."""
        serving = self.records.version_that_serves
        assert serving is not None
        number = len(self.records.batches(self.pipeline.name, 1_000))
        spec = SourceSpec(str(self.folder / f"batch-{number}.parquet"))
        pq.write_table(table, spec.uri, row_group_size=1_000)
        plan = self.reader.plan(spec, partition_rows=2_000)
        version = ScoreVersion(serving, "m", "p")
        at = NOON - timedelta(days=days_ago)
        job = ScoreJob(
            f"batch-{number}", "run", self.pipeline.name, plan.uri, plan.fingerprint.content,
            version, str(self.folder), at,
        )  # fmt: skip
        self.ledger.open_job(
            job,
            [
                Entry(
                    f"{number}-{i}", partition, self.pipeline.name, version, str(self.folder),
                    "pending",
                )
                for i, partition in enumerate(plan.partitions)
            ],
        )  # fmt: skip
        batch = ScoredBatch(
            job.id, "run", self.pipeline.name, plan.uri, plan.fingerprint.content, serving, "p",
            len(table), len(table), 0, flagged, str(self.folder), "d", None, at,
        )  # fmt: skip
        self.records.add_batch(batch)
        return batch

    def serves(self, version: ModelVersion) -> None:
        """Make a version the champion."""
        self.records.version_that_serves = version.version

    def release(self, version: ModelVersion, overrides: Sequence[Override] = ()) -> Release:
        """Put a version before the gates, as the registry holds it."""
        gate = GateVersion(
            self.loader,
            self.datasets,
            KERNELS,
            self.records,
            ReadRecent(self.records, self.ledger, self.reader, self.datasets),
            lambda _: self.judgements,
        )
        return gate(self.pipeline, version.version, "run", Actor("ada"), overrides=overrides)
