"""A row's score is its own: alone, in any batch, order, chunk size, thread, after save and load."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pynomaly.application import scoring_rows
from pynomaly.application.ensemble import fit_detector
from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.scoring_rows import score_matrix, score_table
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.detectors import CATALOGUE
from pynomaly.domain.models import Model, ModelCard
from pynomaly.domain.scores import calibrate
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.modelfolder import FolderModelStore
from pynomaly.infrastructure.pyod import PyodFitter

CERTIFIED = [name for name, entry in CATALOGUE.items() if entry.certified]
SCHEMA = Schema((Column("a", "numeric"), Column("b", "numeric"), Column("c", "categorical")))
KERNELS = FrozenKernels()


def _table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows) * rng.choice([1.0, 1e6], size=rows, p=[0.95, 0.05])
    b = np.where(rng.random(rows) < 0.1, np.nan, np.round(rng.exponential(size=rows), 1))
    return pa.table(
        {"a": a, "b": pa.array(b, from_pandas=True), "c": rng.choice([*"xxxyz"], size=rows)}
    )


@pytest.fixture(scope="module")
def fresh():
    return _table(137, seed=9)


@pytest.fixture(scope="module", params=CERTIFIED)
def model(request) -> Model:
    table = _table(250, seed=1)
    preprocessing = fit_preprocessing(table, SCHEMA)
    X = encode(preprocessing, table)
    members = fit_detector(
        request.param, {}, X, fitter=PyodFitter(KERNELS), kernels=KERNELS, seed=5
    )
    card = ModelCard("p", "r", request.param, {}, "f", 250, 5, {"numpy": np.__version__})
    unscored = Model(card, SCHEMA, preprocessing, members, calibrate(np.zeros(1)))
    return replace(unscored, calibration=calibrate(score_matrix(unscored, X, KERNELS)))


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_part_in_any_order_scores_the_same(model, fresh, data):
    whole = score_table(model, fresh, KERNELS)
    rows = data.draw(
        st.lists(st.integers(0, fresh.num_rows - 1), min_size=1, max_size=40), label="rows"
    )
    np.testing.assert_array_equal(score_table(model, fresh.take(rows), KERNELS), whole[rows])


@pytest.mark.parametrize("block", [1, 7, 64])
def test_the_block_size_does_not_matter(model, fresh, monkeypatch, block):
    whole = score_table(model, fresh, KERNELS)
    monkeypatch.setattr(scoring_rows, "BLOCK_ROWS", block)
    np.testing.assert_array_equal(score_table(model, fresh, KERNELS), whole)


def test_two_threads_at_once_score_the_same(model, fresh):
    whole = score_table(model, fresh, KERNELS)
    with ThreadPoolExecutor(2) as pool:
        for scores in pool.map(lambda _: score_table(model, fresh, KERNELS), range(8)):
            np.testing.assert_array_equal(scores, whole)


def test_saving_and_loading_changes_no_bit(model, fresh, tmp_path):
    whole = score_table(model, fresh, KERNELS)
    store = FolderModelStore()
    golden = fresh.append_column("expected_score", pa.array(whole))
    loaded = store.load(tmp_path / "m", store.save(model, golden, tmp_path / "m"))
    np.testing.assert_array_equal(score_table(loaded, fresh, KERNELS), whole)
