"""Of a large table with few known anomalies, all of these are learnt from."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pynomaly.application.profiling import profile_table
from pynomaly.application.raw_rows import learning_rows, pipeline_of_the_moment, split_rows
from pynomaly.application.split import training_rows
from pynomaly.domain.datasets import Column, Dataset, Fingerprint, Schema, Snapshot
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline, TrainingPolicy
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.memory import TableSource
from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore
from pynomaly.infrastructure.filesystem.targets import open_local_target

ROWS, KNOWN = 5_000, 20


def _labels(rest: float, known: int = KNOWN) -> np.ndarray:
    labels = np.full(ROWS, rest)
    labels[np.random.default_rng(0).choice(ROWS, known, replace=False)] = 1.0
    return labels


def _anomalies(table: pa.Table) -> int:
    return int(np.nansum(table["y"].to_numpy()))


@pytest.mark.parametrize("rest", [0.0, np.nan])
def test_a_table_in_memory_keeps_all_of_a_few(rest):
    rows = pa.table({"x": np.arange(float(ROWS)), "y": _labels(rest)})
    chosen, others = split_rows(rows, 400, 0, "y")
    assert (len(chosen), _anomalies(chosen)) == (400, KNOWN)
    assert _anomalies(others) == 0
    assert len(others) == (0 if rest == 0 else ROWS - 400)


@pytest.mark.parametrize(("known", "kept"), [(300, 40), (1_000, 80)])
def test_many_take_a_tenth_of_the_rows_or_the_share_they_have(known, kept):
    rows = pa.table({"x": np.arange(float(ROWS)), "y": _labels(0.0, known)})
    chosen, _ = split_rows(rows, 400, 0, "y")
    assert (len(chosen), _anomalies(chosen)) == (400, kept)


@pytest.mark.parametrize("rest", [0.0, None])
def test_a_source_gives_all_of_a_few_that_its_sample_has_missed(rest):
    labels = [1.0 if label == 1 else rest for label in _labels(0.0)]
    table = pa.table({"x": np.random.default_rng(1).normal(size=ROWS), "y": labels})
    source = TableSource(table, "t")
    for _ in source.batches():
        pass
    sample = table.slice(0, 800).add_column(0, "row_id", pa.nulls(800, pa.string()))
    pipeline = pipeline_of_the_moment(
        profile_table(sample, ROWS, label_column="y"), id_columns=(), time_column=None,
        label_column="y", training=TrainingPolicy(), decision=DecisionPolicy(),
    )  # fmt: skip
    chosen, _ = learning_rows(sample, source, pipeline, 400)
    assert (len(chosen), _anomalies(chosen)) == (400, KNOWN)


def _divided(
    folder: Path, labels: np.ndarray, time: str | None = None, missing: np.ndarray | None = None
):
    store = ParquetDatasetStore(folder, open_local_target)
    ticks = np.random.default_rng(2).permutation(ROWS)
    stamps = pa.array(ticks, pa.timestamp("us", "UTC"), mask=missing)
    with store.writer("rows") as writer:
        writer.write(pa.table({"t": stamps, "y": pa.array(labels, from_pandas=True)}))
    snapshot = Snapshot("rows.csv", Fingerprint("c", "s"), (), ROWS, 1)
    job = Pipeline(
        "p", SourceSpec("unused"), Schema((Column("t", "datetime"), Column("y", "numeric"))),
        time_column=time, label_column="y", training=TrainingPolicy(max_rows=400),
    )  # fmt: skip
    return training_rows(job, Dataset(writer.uri, snapshot, ROWS, None, 0), store)


@pytest.mark.parametrize("rest", [0.0, np.nan])
def test_a_pipeline_fits_on_all_of_a_few_and_holds_out_the_share_there_is(tmp_path, rest):
    rows = _divided(tmp_path, _labels(rest))
    held_out = _anomalies(rows.holdout)
    assert len(rows.fit) == 400
    assert _anomalies(rows.fit) == KNOWN - held_out
    assert held_out <= 3  # of 133 rows .5 are to be expected


def test_of_many_a_pipeline_fits_on_a_tenth(tmp_path):
    rows = _divided(tmp_path, _labels(0.0, 300))
    assert (len(rows.fit), _anomalies(rows.fit)) == (400, 40)


def test_no_anomaly_more_recent_than_held_out_rows_is_fitted_on(tmp_path):
    rows = _divided(tmp_path, _labels(np.nan), time="t")
    times = rows.fit["t"].cast(pa.int64()).to_numpy()
    assert (np.diff(times) >= 0).all()
    assert times[-1] <= rows.holdout["t"].cast(pa.int64())[0].as_py()
    assert KNOWN / 2 < _anomalies(rows.fit) < KNOWN


def test_where_held_out_rows_have_no_time_only_such_anomalies_are_added(tmp_path):
    labels, nulls = _labels(np.nan, 40), np.zeros(ROWS, dtype=bool)
    nulls[np.random.default_rng(3).choice(ROWS, 4_500, replace=False)] = True
    rows = _divided(tmp_path, labels, time="t", missing=nulls)
    dated = rows.fit.filter(pc.is_valid(rows.fit["t"]))
    assert rows.holdout["t"].null_count
    assert _anomalies(dated) == 0
    assert _anomalies(rows.fit) > 20
