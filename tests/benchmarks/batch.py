"""Scoring files in bulk: CPU against pandas → PyOD → Parquet, memory, and where the time goes.

Everything runs interleaved in one process, so ratios hold whatever else the machine does; memory is
that of a fresh process which does nothing but score.

    python tests/benchmarks/batch.py --rows 1000000 --large 10000000
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pynomaly import adapters
from pynomaly.application.ensemble import fit_detector
from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.row_scorer import RowScorer
from pynomaly.application.score_partition import PartitionWork, ScorePartition
from pynomaly.application.score_work import JobWork, Slice, Workers
from pynomaly.application.scoring_rows import score_members, score_table
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.decision import draw_line
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.ledger import Entry, ScoreJob, ScoreVersion, partition_key
from pynomaly.domain.models import Model, ModelCard
from pynomaly.domain.pipelines import Pipeline, SourceSpec
from pynomaly.domain.scores import calibrate
from pynomaly.infrastructure.sqlalchemy.ledger import SqlLedger

COLUMNS, ROW_GROUP, CHUNK = 20, 100_000, 200_000
NAMES = [f"x{i}" for i in range(COLUMNS)]
SCHEMA = Schema(tuple(Column(name, "numeric") for name in NAMES))
DETECTORS = {"iforest": 4.5, "ecod": 8.0, "self_cleaning": 4.0}
"""Detector → least ratio wanted."""


def generate(path: Path, rows: int, seed: int = 0) -> None:
    """Write ``rows`` × 20 float64 and an id, row groups of 100,000."""
    rng = np.random.default_rng(seed)
    schema = pa.schema([("id", pa.string()), *((name, pa.float64()) for name in NAMES)])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, CHUNK):
            n = min(CHUNK, rows - start)
            ids = pa.array(np.arange(start, start + n)).cast(pa.string())
            columns = [pa.array(column) for column in rng.normal(size=(COLUMNS, n))]
            writer.write_table(pa.table([ids, *columns], schema=schema), row_group_size=ROW_GROUP)


def train(detector: str, seed: int = 0) -> Model:
    """Fit on 10,000 rows and calibrate on 5,000 more."""
    rng = np.random.default_rng(seed + 1)
    kernels = adapters.detector_kernels()

    def table(n: int) -> pa.Table:
        return pa.table(dict(zip(NAMES, rng.normal(size=(COLUMNS, n)), strict=True)))

    known = table(10_000)
    preprocessing = fit_preprocessing(known, SCHEMA)
    fitter = adapters.detector_fitter(kernels)
    X = encode(preprocessing, known)
    members = fit_detector(detector, {}, X, fitter=fitter, kernels=kernels, seed=0)
    unseen = score_members(members, encode(preprocessing, table(5_000)), kernels)
    card = ModelCard("bench", "r", detector, {}, "f", 10_000, 0, {})
    return Model(card, SCHEMA, preprocessing, members, calibrate(unseen))


class Job:
    """One job over one file, as ``pynomaly score`` runs it after validation."""

    def __init__(self, model: Model, source: Path, folder: Path, workers: int) -> None:
        self.pipeline = Pipeline("bench", SourceSpec(str(source)), SCHEMA, id_columns=("id",))
        self.folder = folder
        self.reader, self.store = adapters.partition_reader(), adapters.part_store()
        self.kernels = adapters.detector_kernels()
        self.ledger = SqlLedger(f"sqlite:///{folder / 'ledger.db'}")
        self.version = ScoreVersion(1, "m" * 64, "p")
        line = draw_line(self.pipeline.decision, model.calibration, ())
        self.work = PartitionWork(
            self.pipeline, self.pipeline.source, model, self.version, line,
            str(folder / "out"), (), None, 50_000,
        )  # fmt: skip
        score = ScorePartition(self.reader, self.store, self.kernels)
        self.workers = Workers(self.ledger, score, workers, 60.0)

    def __call__(self) -> int:
        """Plan, open the job, and work it off; returns the rows scored."""
        now = datetime.now(UTC)
        plan = self.reader.plan(self.pipeline.source, partition_rows=ROW_GROUP)
        job = ScoreJob(
            new_id(now), "r", "bench", plan.uri, "f", self.version, self.work.target, now
        )
        salt = job.id  # so that every round scores anew
        entries, slices = [], {}
        for partition in plan.partitions:
            key = partition_key(partition, self.version, {"salt": salt})
            entries.append(
                Entry(key, partition, "bench", self.version, self.work.target, "pending")
            )
            slices[key] = Slice(np.array([], dtype=np.int64))
        self.ledger.open_job(job, entries)
        self.workers(JobWork(job.id, self.work, slices), lambda _: None)
        progress = self.ledger.progress(job.id)
        assert progress.failed == 0, self.ledger.entries_of(job.id)
        shutil.rmtree(self.work.target)
        return progress.rows_scored


def naive(detector: str, model: Model, source: Path, folder: Path) -> Callable[[], int]:
    """Return what people write by hand: pandas, ``decision_function``, ``to_parquet``."""
    import pandas as pd
    from pyod.models.ecod import ECOD
    from pyod.models.iforest import IForest

    known = np.random.default_rng(1).normal(size=(COLUMNS, 10_000)).T
    if detector == "self_cleaning":
        return _naive_ensemble(known, source, folder)
    fitted = {"iforest": IForest, "ecod": ECOD}[detector]().fit(known)

    def run() -> int:
        frame = pd.read_parquet(source)
        scores = fitted.decision_function(frame[NAMES].to_numpy())
        out = pd.DataFrame({"id": frame["id"], "score": scores, "label": scores > 0})
        out.to_parquet(folder / "naive.parquet")
        return len(out)

    return run


def _naive_ensemble(known: np.ndarray, source: Path, folder: Path) -> Callable[[], int]:
    """Return the composition of the default ensemble from PyOD and scikit-learn parts."""
    import pandas as pd
    from sklearn.covariance import LedoitWolf
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.metrics import pairwise_distances
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    knns, samples, covariances = [], [], []
    for _ in range(3):
        knns.append(NearestNeighbors(n_neighbors=20).fit(known[rng.choice(len(known), 512)]))
        samples.append([known[rng.choice(len(known), 16)] for _ in range(40)])
        covariances.append(LedoitWolf().fit(known))
    forest = ExtraTreesRegressor(100, min_samples_leaf=1, max_depth=12).fit(
        known, np.linalg.norm(known, axis=1)
    )

    def run() -> int:
        frame = pd.read_parquet(source)
        X = frame[NAMES].to_numpy()
        total = forest.predict(X)
        for knn, groups, covariance in zip(knns, samples, covariances, strict=True):
            total += knn.kneighbors(X)[0].mean(axis=1)
            total += np.mean([pairwise_distances(X, group).min(axis=1) for group in groups], axis=0)
            total += covariance.mahalanobis(X)
        pd.DataFrame({"id": frame["id"], "score": total}).to_parquet(folder / "naive.parquet")
        return len(frame)

    return run


def cpu(run: Callable[[], int]) -> tuple[float, int]:
    """Return CPU seconds of this process, all its threads, and the rows done."""
    started = time.process_time()
    rows = run()
    return time.process_time() - started, rows


def limits(job: Job) -> dict[str, float]:
    """Return CPU seconds of decoding alone, scoring alone and writing alone."""
    plan = job.reader.plan(job.pipeline.source, partition_rows=ROW_GROUP)
    decode = kernel = write = 0.0
    scorer = RowScorer(job.work.model, job.work.line, job.kernels)
    names = ("id", *NAMES)
    for number, partition in enumerate(plan.partitions):
        started = time.process_time()
        batches = list(
            job.reader.read(job.pipeline.source, partition, columns=names, batch_rows=50_000)
        )
        decode += time.process_time() - started
        outputs = []
        for batch in batches:
            started = time.process_time()
            score_table(job.work.model, batch.table, job.kernels)
            kernel += time.process_time() - started
            found = scorer(batch.table)
            outputs.append(found.beside(batch.table.select(["id"])))
        started = time.process_time()
        with job.store.writer(job.work.target, f"{number:032d}-1") as part:
            for table in outputs:
                part.write(table)
        write += time.process_time() - started
    shutil.rmtree(job.work.target)
    return {"decode": decode, "kernel": kernel, "write": write}


def ledger_share(job: Job, total: float, partitions: int) -> float:
    """Return the share of a job's CPU that leases and commits take."""
    from pynomaly.domain.ledger import Outcome

    now = datetime.now(UTC)
    plan = job.reader.plan(job.pipeline.source, partition_rows=ROW_GROUP)
    first = plan.partitions[0]
    bare = ScoreJob(new_id(now), "r", "bench", "u", "f", job.version, "t", now)
    entries = [
        Entry(
            partition_key(replace(first, extent=str(i)), job.version, {"bare": bare.id}),
            first, "bench", job.version, "t", "pending",
        )
        for i in range(200)
    ]  # fmt: skip
    job.ledger.open_job(bare, entries)
    started = time.process_time()
    while lease := job.ledger.lease(bare.id, "h:1:x", 60.0):
        job.ledger.commit(lease, Outcome(0, 0, 0, 0, ()))
    each = (time.process_time() - started) / len(entries)
    return each * partitions / total


def alone(model: Path, source: Path) -> None:
    """Score one file in this process and print peak memory and CPU; a child of :func:`main`."""
    with tempfile.TemporaryDirectory() as name:
        job = Job(pickle.loads(model.read_bytes()), source, Path(name), workers=1)
        seconds, rows = cpu(job)
    print(json.dumps({"rows": rows, "seconds": seconds, "peak_mib": _peak_mib()}))


def _peak_mib() -> float:
    """Return this process's largest size; ``ru_maxrss`` would count its parent's too."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--large", type=int, default=0, help="rows of the memory run")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--detectors", nargs="+", default=list(DETECTORS))
    options.add_argument("--folder", type=Path)
    options.add_argument("--alone", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.alone:
        alone(*given.alone)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        source = folder / "rows.parquet"
        generate(source, given.rows)
        print(f"{given.rows:,} rows × {COLUMNS}, medians of {given.rounds} interleaved rounds")
        print("detector        naive CPU s  ours CPU s  ratio  wanted  rows/s·core  ledger")
        for detector in given.detectors:
            model = train(detector)
            job = Job(model, source, folder, workers=1)
            by_hand = naive(detector, model, source, folder)
            job()  # compiles
            ours, theirs = [], []
            for _ in range(given.rounds):
                ours.append(cpu(job)[0])
                theirs.append(cpu(by_hand)[0])
            mine, other = float(np.median(ours)), float(np.median(theirs))
            share = ledger_share(job, mine, max(given.rows // ROW_GROUP, 1))
            print(
                f"{detector:15} {other:11.2f} {mine:11.2f} {other / mine:6.1f} "
                f"{DETECTORS[detector]:7.1f} {given.rows / mine:12,.0f} {share:7.1%}"
            )
            parts = limits(job)
            text = ", ".join(f"{what} {s:.2f} s ({s / mine:.0%})" for what, s in parts.items())
            print(f"  alone: {text}")
        if given.large:
            _memory(given.rows, given.large, source, folder, given.detectors)


def _memory(rows: int, large: int, source: Path, folder: Path, detectors: list[str]) -> None:
    big = folder / "large.parquet"
    generate(big, large)
    print("\ndetector             rows  peak MiB  CPU µs/row")
    for detector in detectors:
        model = folder / "model"
        model.write_bytes(pickle.dumps(train(detector)))  # a process that trains needs more
        for path in (source, big):
            command = [sys.executable, __file__, "--alone", str(model), str(path)]
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env=os.environ
            )
            found = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{detector:15} {found['rows']:10,} {found['peak_mib']:9.0f} "
                f"{1e6 * found['seconds'] / found['rows']:11.3f}"
            )


if __name__ == "__main__":
    main()
