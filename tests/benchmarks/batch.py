"""Scoring files in bulk: CPU against pandas → PyOD → Parquet, memory, and where the time goes.

Three sides score the same file in turns: our job, ``decision_function`` by hand, and the same
detector through ``mlflow.pyfunc``.  Each time in a fresh process, child processes counted, so that
all pay for their memory alike; starting it (imports, loading the model, scoring 1,000 rows) is
counted apart from the work, on all sides.

    python tests/benchmarks/batch.py --rows 1000000 --large 10000000
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.scores import calibrate
from pynomaly.domain.sources import SourceSpec
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
        self.ledger.progress("none")  # creates the database, as the first job ever does
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


def by_hand(detector: str, source: Path, folder: Path) -> Callable[[], int]:
    """Return what people write by hand: pandas, ``decision_function``, ``to_parquet``."""
    import pandas as pd

    scores = pickle.loads((folder / f"{detector}.pyod").read_bytes()).decision_function

    def run() -> int:
        frame = pd.read_parquet(source)
        found = scores(frame[NAMES].to_numpy())
        out = pd.DataFrame({"id": frame["id"], "score": found, "label": found > 0})
        out.to_parquet(folder / "naive.parquet")
        return len(out)

    return run


def by_mlflow(detector: str, source: Path, folder: Path) -> Callable[[], int]:
    """Return the same through the detector's ``mlflow.pyfunc``."""
    import mlflow.pyfunc
    import pandas as pd

    model = mlflow.pyfunc.load_model(str(folder / f"{detector}.mlflow"))

    def run() -> int:
        frame = pd.read_parquet(source)
        found = model.predict(frame[NAMES])
        out = pd.DataFrame({"id": frame["id"], "score": found, "label": found > 0})
        out.to_parquet(folder / "mlflow.parquet")
        return len(out)

    return run


def ours(detector: str, source: Path, folder: Path) -> Job:
    """Return our job."""
    model = pickle.loads((folder / f"{detector}.ours").read_bytes())
    return Job(model, source, Path(tempfile.mkdtemp(dir=folder)), workers=1)


SIDES = {"ours": ours, "by hand": by_hand, "mlflow": by_mlflow}


def prepare(detector: str, folder: Path) -> None:
    """Fit what every side scores with; a process that trains needs more memory."""
    import mlflow.pyfunc
    from pyod.models.ecod import ECOD
    from pyod.models.iforest import IForest

    class Detector(mlflow.pyfunc.PythonModel):
        def __init__(self, fitted: Any) -> None:
            self.fitted = fitted

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return self.fitted.decision_function(model_input.to_numpy())

    (folder / f"{detector}.ours").write_bytes(pickle.dumps(train(detector)))
    known = np.random.default_rng(1).normal(size=(COLUMNS, 10_000)).T
    fitted = (
        Composition(known)
        if detector == "self_cleaning"
        else {"iforest": IForest, "ecod": ECOD}[detector]().fit(known)
    )
    (folder / f"{detector}.pyod").write_bytes(pickle.dumps(fitted))
    if detector != "self_cleaning":
        place = str(folder / f"{detector}.mlflow")
        mlflow.pyfunc.save_model(place, python_model=Detector(fitted), pip_requirements=["pyod"])


class Composition:
    """The default ensemble composed of scikit-learn parts."""

    def __init__(self, known: np.ndarray) -> None:
        from sklearn.covariance import LedoitWolf
        from sklearn.ensemble import ExtraTreesRegressor
        from sklearn.neighbors import NearestNeighbors

        rng = np.random.default_rng(0)
        self.parts = [
            (
                NearestNeighbors(n_neighbors=20).fit(known[rng.choice(len(known), 512)]),
                [known[rng.choice(len(known), 16)] for _ in range(40)],
                LedoitWolf().fit(known),
            )
            for _ in range(3)
        ]
        norms = np.linalg.norm(known, axis=1)
        self.forest = ExtraTreesRegressor(100, max_depth=12).fit(known, norms)

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return (n,) scores."""
        from sklearn.metrics import pairwise_distances

        total = self.forest.predict(X)
        for knn, groups, covariance in self.parts:
            total += knn.kneighbors(X)[0].mean(axis=1)
            total += np.mean([pairwise_distances(X, group).min(axis=1) for group in groups], axis=0)
            total += covariance.mahalanobis(X)
        return total


def cpu() -> float:
    """Return CPU seconds of this process so far, all its threads and ended children."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def limits(job: Job) -> dict[str, float]:
    """Return CPU seconds of decoding alone, scoring alone and writing alone."""
    plan = job.reader.plan(job.pipeline.source, partition_rows=ROW_GROUP)
    decode = kernel = write = digest = 0.0
    started = time.process_time()
    job.reader.plan(job.pipeline.source, partition_rows=ROW_GROUP)
    digest = time.process_time() - started
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
    return {"digest": digest, "decode": decode, "kernel": kernel, "write": write}


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


def alone(side: str, detector: str, source: Path, folder: Path) -> None:
    """Score one file in this process and print what it took; a child of :func:`main`."""
    SIDES[side](detector, folder / "few.parquet", folder)()  # loads all that will be needed
    run = SIDES[side](detector, source, folder)
    started = cpu()
    rows = run()
    found = {"rows": rows, "start": started, "seconds": cpu() - started, "peak_mib": _peak_mib()}
    if isinstance(run, Job):
        found["ledger"] = ledger_share(run, found["seconds"], max(rows // ROW_GROUP, 1))
        found["alone"] = limits(run) if rows <= 1_000_000 else {}
    print(json.dumps(found))


def measured(side: str, detector: str, source: Path, folder: Path) -> dict[str, Any]:
    """Return what :func:`alone` prints in a fresh process."""
    command = [sys.executable, __file__, "--alone", side, detector, str(source), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


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
    options.add_argument("--alone", nargs=4, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.alone:
        side, detector, source, folder = given.alone
        alone(side, detector, Path(source), Path(folder))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        source, big = folder / "rows.parquet", folder / "large.parquet"
        generate(source, given.rows)
        generate(folder / "few.parquet", 1_000)
        print(f"{given.rows:,} rows × {COLUMNS}, medians of {given.rounds} interleaved rounds")
        for detector in given.detectors:
            prepare(detector, folder)
            _compare(detector, source, folder, given.rounds)
        if given.large:
            generate(big, given.large)
            print("\ndetector             rows  peak MiB  CPU µs/row")
            for detector in given.detectors:
                for path in (source, big):
                    found = measured("ours", detector, path, folder)
                    print(
                        f"{detector:15} {found['rows']:10,} {found['peak_mib']:9.0f} "
                        f"{1e6 * found['seconds'] / found['rows']:11.3f}"
                    )


def _compare(detector: str, source: Path, folder: Path, rounds: int) -> None:
    sides = [s for s in SIDES if s != "mlflow" or detector != "self_cleaning"]
    found = [{s: measured(s, detector, source, folder) for s in sides} for _ in range(rounds)]

    def median(side: str, what: str) -> float:
        return float(np.median([one[side][what] for one in found]))

    work = median("ours", "seconds")
    print(
        f"\n{detector}: wanted {DETECTORS[detector]}, {found[0]['ours']['rows'] / work:,.0f} rows/s·core"
    )
    print("side       start s   work s  work ratio  ratio with start")
    for side in sides:
        start, seconds = median(side, "start"), median(side, "seconds")
        ratio = np.median([one[side]["seconds"] / one["ours"]["seconds"] for one in found])
        whole = (start + seconds) / (median("ours", "start") + work)
        print(f"{side:10} {start:7.2f} {seconds:8.2f} {ratio:11.1f} {whole:17.1f}")
    parts = found[0]["ours"]["alone"]
    shares = {
        what: float(np.median([one["ours"]["alone"][what] for one in found])) for what in parts
    }
    text = ", ".join(f"{what} {s:.2f} s ({s / work:.0%})" for what, s in shares.items())
    print(f"alone: {text}; ledger {median('ours', 'ledger'):.1%}")


if __name__ == "__main__":
    main()
