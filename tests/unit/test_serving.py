"""A scorer made of nothing but a model folder reads frames as the platform reads sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.scoring_rows import score_members, score_table
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.errors import DataRejectedError, IntegrityError
from pynomaly.domain.models import Model, ModelCard
from pynomaly.domain.scores import calibrate, p_values
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.modelfolder import FolderModelStore
from pynomaly.infrastructure.pyod import PyodFitter
from pynomaly.serving import Scorer, load_scorer

SCHEMA = Schema(
    (
        Column("amount", "numeric"),
        Column("code", "categorical"),
        Column("online", "boolean", nullable=False),
        Column("seen_at", "datetime"),
    )
)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    rng = np.random.default_rng(0)
    n = 100
    seen = np.datetime64("2026-01-01T00:00:00", "us") + rng.integers(0, 10**12, n)
    return pa.table(
        {
            "amount": pa.array(rng.integers(0, 90, n).astype(float)),
            "code": pa.array(rng.choice(["1", "2"], n).tolist()),
            "online": pa.array(rng.random(n) < 0.5),
            "seen_at": pa.array(seen, pa.timestamp("us", tz="UTC")),
        }
    )


@pytest.fixture(scope="module")
def model(rows: pa.Table) -> Model:
    preprocessing = fit_preprocessing(rows, SCHEMA)
    X = encode(preprocessing, rows)
    kernels = FrozenKernels()
    members = (PyodFitter(kernels).fit("pca", {}, X, seed=0),)
    card = ModelCard("payments", "run-1", "pca", {}, "f" * 64, len(X), 0, {})
    calibration = calibrate(score_members(members, X, kernels))
    return Model(card, SCHEMA, preprocessing, members, calibration)


@pytest.fixture(scope="module")
def saved(
    model: Model, rows: pa.Table, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("model") / "model"
    golden = rows.append_column(
        "expected_score", pa.array(score_table(model, rows, FrozenKernels()))
    )
    return folder, FolderModelStore().save(model, golden, folder)


@pytest.fixture(scope="module")
def scorer(saved: tuple[Path, str]) -> Scorer:
    return load_scorer(*saved)


def test_scores_are_those_of_the_model(scorer: Scorer, model: Model, rows: pa.Table) -> None:
    result = scorer.score(rows.to_pandas())
    expected = score_table(model, rows, FrozenKernels())
    assert result["score"].tolist() == expected.tolist()
    assert result["p_value"].tolist() == p_values(model.calibration, expected).tolist()


def test_spelling_order_index_and_other_columns_change_nothing(
    scorer: Scorer, rows: pa.Table
) -> None:
    frame = rows.to_pandas()
    index = [f"row-{i}" for i in range(len(frame))]
    other = pd.DataFrame(
        {
            "note": "not ours",
            "seen_at": frame["seen_at"].dt.tz_convert("Asia/Tokyo"),
            "online": frame["online"].map({True: "yes", False: "no"}),
            "code": frame["code"].astype(float),  # as pandas reads integers beside a missing one
            "amount": frame["amount"].astype(int),
        },
    ).set_index(pd.Index(index))
    result = scorer.score(other)
    assert result.index.tolist() == index
    assert result["score"].tolist() == scorer.score(frame)["score"].tolist()


def test_no_rows_give_no_scores(scorer: Scorer, rows: pa.Table) -> None:
    result = scorer.score(rows.slice(0, 0).to_pandas())
    assert result.shape == (0, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount": None}, "columns missing for the model of 'payments': amount"),
        ({"amount": ["much"] * 100}, "100 cells cannot be scored; row 0: amount: 'much'"),
        ({"online": [None] * 100}, "row 0: online: expected a value, found none"),
        ({"code": ["a", 1] * 50}, "column 'code' mixes types"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    scorer: Scorer, rows: pa.Table, change: dict[str, list[object] | None], message: str
) -> None:
    frame = rows.to_pandas()
    for name, values in change.items():
        if values is None:
            frame = frame.drop(columns=name)
        else:
            frame[name] = pd.Series(values, dtype=object)
    with pytest.raises(DataRejectedError) as caught:
        scorer.score(frame)
    assert message in caught.value.message


def test_a_repeated_column_is_refused(scorer: Scorer, rows: pa.Table) -> None:
    frame = rows.to_pandas()
    with pytest.raises(DataRejectedError, match="'amount' occurs 2 times"):
        scorer.score(pd.concat([frame, frame[["amount"]]], axis=1))


def test_another_digest_is_refused(saved: tuple[Path, str]) -> None:
    with pytest.raises(IntegrityError):
        load_scorer(saved[0], "0" * 64)
