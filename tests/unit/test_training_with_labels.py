"""A label column in training: from the staged rows to the folder that scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pynomaly.application.fit import FitScorer
from pynomaly.application.scoring_rows import score_table
from pynomaly.application.train import FitModel, TrainedModel
from pynomaly.application.tune import Choice
from pynomaly.domain.datasets import Column, Dataset, Fingerprint, Schema, Snapshot
from pynomaly.domain.errors import IntegrityError, NotTrainableError
from pynomaly.domain.evaluation import average_precision
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline, TrainingPolicy
from pynomaly.domain.scores import p_values
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore
from pynomaly.infrastructure.filesystem.targets import open_local_target
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.modelfolder import FolderModelStore
from pynomaly.infrastructure.modelfolder.document import from_document, to_document
from pynomaly.infrastructure.pyod.fitter import PyodFitter
from pynomaly.infrastructure.pyod.labels import SklearnLabelFitter

KERNELS = FrozenKernels()
ROWS = 1_000


def _rows(seed: int = 0, rows: int = ROWS) -> tuple[pa.Table, np.ndarray]:
    """Rows whose anomalies have ordinary values in one corner."""
    values = np.random.default_rng(seed).normal(size=(rows, 2))
    truth = ((values > 0.9).all(axis=1)).astype(int)
    return pa.table({"a": values[:, 0], "b": values[:, 1]}), truth


def _train(
    folder: Path, labels: np.ndarray | None, rows: int = ROWS
) -> tuple[TrainedModel, Model, pa.Table]:
    table, _ = _rows(rows=rows)
    columns = (Column("a", "numeric"), Column("b", "numeric"))
    if labels is not None:
        table = table.append_column("bad", pa.array(labels, from_pandas=True))
        columns += (Column("bad", "numeric"),)
    pipeline = Pipeline(
        "p",
        SourceSpec("unused"),
        Schema(columns),
        label_column=None if labels is None else "bad",
        training=TrainingPolicy(detectors=("ecod",)),
        decision=DecisionPolicy(budget=0.02),
    )
    store = ParquetDatasetStore(folder / "datasets", open_local_target)
    with store.writer("rows") as writer:
        writer.write(table)
    snapshot = Snapshot("rows.csv", Fingerprint("c", "s"), (), rows, 1)
    fit_scorer = FitScorer(PyodFitter(KERNELS), SklearnLabelFitter(KERNELS), KERNELS)
    fit = FitModel(store, fit_scorer, FolderModelStore(), folder / "models")
    trained = fit(
        pipeline,
        Dataset(writer.uri, snapshot, rows, None, 0),
        Choice("ecod", {}, "consensus_stability", ()),
        "run",
    )
    model = FolderModelStore().load(Path(trained.folder), trained.manifest_digest)
    return trained, model, store.table(trained.holdout_uri)


def _known(share: float) -> np.ndarray:
    _, truth = _rows()
    unknown = np.random.default_rng(1).random(ROWS) >= share
    return np.where(unknown, np.nan, truth)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    return _train(tmp_path_factory.mktemp("taught"), _known(0.5))


def test_labels_make_a_better_model_and_the_folder_keeps_what_they_taught(taught, tmp_path):
    _, label_free, _ = _train(tmp_path, None)
    _, model, _ = taught
    unseen, truth = _rows(5)
    before = average_precision(truth, score_table(label_free, unseen, KERNELS))
    after = average_precision(truth, score_table(model, unseen, KERNELS))
    assert label_free.head is None
    assert before < 0.3 < 0.8 < after


def test_the_run_and_the_model_card_say_what_labels_did(taught):
    trained, model, _ = taught
    assert trained.labels == model.card.labels
    assert trained.labels.startswith("Labels shape the score")
    assert trained.metrics["labels_used"] == 1.0
    assert trained.metrics["known_anomalies"] > 5
    precision = trained.metrics["holdout_average_precision"]
    assert trained.metrics["holdout_average_precision_lower"] < precision
    assert precision <= trained.metrics["holdout_average_precision_upper"]


@pytest.mark.parametrize("ordinary", [0, 1, 9])
def test_labels_that_leave_nothing_ordinary_are_refused(ordinary, tmp_path):
    with pytest.raises(NotTrainableError, match=r"'bad': [0-9] are left to tell what is ordinary"):
        _train(tmp_path, np.repeat([0.0, 1.0], [ordinary, ROWS - ordinary]))


def test_known_anomalies_do_not_calibrate_but_stay_for_the_gates(taught):
    trained, model, holdout = taught
    known = int(np.nansum(_known(0.5)))
    held_out = int(np.nansum(holdout.column("bad").to_numpy()))
    assert len(holdout) + trained.fitted_rows == ROWS
    assert held_out == known - trained.metrics["known_anomalies"] > 0
    assert len(model.calibration.scores) == trained.fitted_rows - trained.metrics["known_anomalies"]


def test_of_a_large_hold_out_the_gates_get_the_share_of_anomalies_that_there_is(tmp_path):
    rows = 20_000
    _, truth = _rows(rows=rows)

    trained, model, holdout = _train(tmp_path, truth.astype(float), rows)

    held_out = rows - trained.fitted_rows
    assert len(model.calibration.scores) >= 2_000
    assert len(holdout) < 0.6 * held_out
    share = float(np.mean(holdout.column("bad").to_numpy()))
    assert share == pytest.approx(truth.mean(), rel=0.15)


def test_ordinary_rows_get_uniform_p_values_although_they_are_labelled(taught):
    _, model, _ = taught
    unseen, truth = _rows(7)
    ordinary = unseen.filter(pa.array(truth == 0))
    p = p_values(model.calibration, score_table(model, ordinary, KERNELS))
    for share in (0.02, 0.1, 0.5):
        # Three standard errors of a share, and half of it for unknown anomalies that calibrate.
        assert abs(np.mean(p <= share) - share) < 3 * np.sqrt(share / len(p)) + share / 2


def test_useless_labels_give_the_label_free_model(tmp_path):
    labels = np.random.default_rng(3).permutation(_known(0.3))
    trained, model, _ = _train(tmp_path, labels)
    assert model.head is None
    assert trained.metrics["labels_used"] == 0.0
    assert trained.labels.startswith("Label-free in spite of labels")


def test_without_a_label_column_nothing_is_said_of_labels(tmp_path):
    trained, model, _ = _train(tmp_path, None)
    assert (trained.labels, model.card.labels) == ("", "")
    assert not [name for name in trained.metrics if "label" in name or "known" in name]


def test_a_head_is_saved_to_the_bit_and_refused_without_parts(taught, tmp_path):
    _, model, _ = taught
    document, arrays = to_document(model)
    again = from_document(document, arrays)
    rows, _ = _rows(9)
    assert (
        score_table(again, rows, KERNELS).tobytes() == score_table(model, rows, KERNELS).tobytes()
    )
    assert model.head is not None
    empty, arrays = to_document(replace(model, head=replace(model.head, parts=())))
    with pytest.raises(IntegrityError, match="a head without parts"):
        from_document(empty, arrays)


def test_the_strangest_rows_are_no_references_for_reasons(tmp_path):
    _, model, _ = _train(tmp_path, None)
    assert len(model.preprocessing.references) == 248  # of 256
