"""Choosing, fitting and calibrating a model as the steps of a run do."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pynomaly.application.fit import FitScorer
from pynomaly.application.held_out import digest_of_rows
from pynomaly.application.train import FitModel, TrainedModel
from pynomaly.application.tune import ChooseDetector, TuneDetector
from pynomaly.domain.datasets import Column, Dataset, Fingerprint, Schema, Snapshot
from pynomaly.domain.errors import NotTrainableError
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline, TrainingPolicy
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore
from pynomaly.infrastructure.filesystem.targets import open_local_target
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.modelfolder import FolderModelStore
from pynomaly.infrastructure.optuna.tuner import OptunaTuner
from pynomaly.infrastructure.pyod.fitter import PyodFitter
from pynomaly.infrastructure.pyod.labels import SklearnLabelFitter

KERNELS = FrozenKernels()
FITTER = PyodFitter(KERNELS)


def pipeline(**training: object) -> Pipeline:
    policy = {"detectors": ("ecod", "knn"), "trials": 3, "timeout_seconds": None, **training}
    return Pipeline(
        "p",
        SourceSpec("unused"),
        Schema((Column("a", "numeric"), Column("b", "numeric"))),
        training=TrainingPolicy(**policy),  # type: ignore[arg-type]
        decision=DecisionPolicy(budget=0.02),
    )


def train(folder: Path, job: Pipeline, rows: int) -> TrainedModel:
    store = ParquetDatasetStore(folder / "datasets", open_local_target)
    values = np.random.default_rng(0).normal(size=(rows, 2))
    with store.writer("rows") as writer:
        writer.write(pa.table({"a": values[:, 0], "b": values[:, 1]}))
    snapshot = Snapshot("rows.csv", Fingerprint("c", "s"), (), rows, 1)
    dataset = Dataset(writer.uri, snapshot, rows, None, 0)
    choose = ChooseDetector(FITTER, KERNELS, OptunaTuner(folder / "studies"))
    choice = TuneDetector(store, choose)(job, dataset, "run")
    fit_scorer = FitScorer(FITTER, SklearnLabelFitter(KERNELS), KERNELS)
    fit = FitModel(store, fit_scorer, FolderModelStore(), folder / "models")
    return fit(job, dataset, choice, "run")


def test_equal_seeds_give_bit_identical_model_folders(tmp_path: Path) -> None:
    first = train(tmp_path / "1", pipeline(), 400)
    second = train(tmp_path / "2", pipeline(), 400)
    other = train(tmp_path / "3", pipeline(seed=1), 400)

    assert first.manifest_digest == second.manifest_digest != other.manifest_digest
    for name in ("model.json", "arrays.npz", "golden.parquet", "MANIFEST.sha256"):
        assert (Path(first.folder) / name).read_bytes() == (Path(second.folder) / name).read_bytes()


def test_a_run_taken_up_again_leaves_folder_and_hold_out_as_they_were(tmp_path: Path) -> None:
    first = train(tmp_path, pipeline(), 400)
    written = (Path(first.folder) / "arrays.npz").stat().st_mtime_ns

    second = train(tmp_path, pipeline(), 400)
    changed = train(tmp_path, pipeline(seed=1), 400)

    assert second == first
    assert (Path(first.folder) / "arrays.npz").stat().st_mtime_ns == written
    assert changed.holdout_uri != first.holdout_uri
    assert not list((tmp_path / "models" / "p").glob(".incoming*"))


@pytest.mark.parametrize(
    ("rows", "calibrated", "held_out"), [(400, 300, 100), (16_400, 2_050, 2_050)]
)
def test_gates_get_rows_that_neither_fitting_nor_calibration_has_seen(
    rows: int, calibrated: int, held_out: int, tmp_path: Path
) -> None:
    trained = train(tmp_path, pipeline(detectors=("ecod",), trials=1), rows)

    model = FolderModelStore().load(Path(trained.folder), trained.manifest_digest)
    holdout = ParquetDatasetStore(tmp_path, open_local_target).table(trained.holdout_uri)
    assert len(model.calibration.scores) == calibrated
    assert len(holdout) == trained.metrics["holdout_rows"] == held_out
    assert trained.fitted_rows + held_out + (0 if rows == 400 else calibrated) == rows


def test_the_digest_of_rows_tells_every_change_and_no_other_layout() -> None:
    rows = pa.table(
        {
            "x": pa.array([1.0, None, 3.0]),
            "t": pa.array([0, None, 7], pa.timestamp("us", "UTC")),
            "c": ["web", None, ""],
            "b": [True, None, False],
        }
    )
    pieces = pa.concat_tables([rows.slice(0, 1), rows.slice(1)])
    assert digest_of_rows(pieces) == digest_of_rows(rows)
    others = [
        rows.set_column(
            i, name, pa.concat_arrays([rows[name].chunk(0)[:1], rows[name].chunk(0)[:2]])
        )
        for i, name in enumerate(rows.column_names)
    ]
    others += [rows.slice(1), rows.rename_columns(["y", "t", "c", "b"])]
    assert len({digest_of_rows(table) for table in (rows, *others)}) == 7


def test_too_few_rows_name_the_data_and_the_least(tmp_path: Path) -> None:
    with pytest.raises(NotTrainableError, match=r"rows.csv has 19 usable rows; at least 20"):
        train(tmp_path, pipeline(), 19)
