"""What a challenger reads has to be what production sends, and what it learnt from enough."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from pynomaly.application.gates.inputs import (
    column_scales,
    incomparable,
    schema_compatible,
    schema_declared,
    training_rows,
)
from pynomaly.application.gates.recent import Recent, RecentBatch
from pynomaly.application.preprocessing import fit_preprocessing
from pynomaly.domain.datasets import Column, ColumnKind, Schema
from pynomaly.domain.models import Calibration, Model, ModelCard
from pynomaly.domain.pipelines import Pipeline, ReleasePolicy
from pynomaly.domain.runs import ScoredBatch
from pynomaly.domain.sources import SourceSpec

POLICY = ReleasePolicy()


def schema(**kinds: ColumnKind) -> Schema:
    return Schema(tuple(Column(name, kind) for name, kind in kinds.items()))


AB = schema(a="numeric", b="numeric")
PIPELINE = Pipeline("p", SourceSpec("x.csv"), schema(a="numeric", b="numeric", c="categorical"))


def model(columns: Schema = AB, training_rows: int = 1_000, scale: float = 1.0) -> Model:
    values = np.random.default_rng(0).normal(size=(200, 2))
    table = pa.table({"a": values[:, 0], "b": values[:, 1] * scale})
    card = ModelCard("p", "r", "knn", {}, "f", training_rows, 0, {})
    preprocessing = fit_preprocessing(table, AB)
    return Model(card, columns, preprocessing, (), Calibration(np.zeros(1)))


def sent(*columns: str, rows: int = 99, unreadable: int = 0) -> Recent:
    batch = ScoredBatch(
        "b", "r", "p", "x.csv", "f", 1, "p", rows, rows, 0, 0, "out", "d", None, datetime.now(UTC)
    )
    table = pa.table({"a": np.zeros(rows)})
    return Recent((batch,), (RecentBatch(batch, columns, table, unreadable),))


def test_columns_that_production_sends_pass() -> None:
    assert schema_compatible(model(), model(), Recent(), PIPELINE).verdict == "pass"
    result = schema_compatible(model(), model(), sent("a", "b", "extra"), PIPELINE)
    assert result.verdict == "pass"
    assert result.sentence == "All 2 columns are as the batch scored last has them."


def test_a_column_the_last_batch_lacks_blocks() -> None:
    result = schema_compatible(model(), model(), sent("a"), PIPELINE)

    assert result.verdict == "block"
    assert "no column 'b'" in result.sentence


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (schema(a="numeric", gone="numeric"), "no longer declares 'gone'"),
        (schema(a="categorical", b="numeric"), "'a' is declared numeric"),
    ],
)
def test_a_model_of_another_declaration_blocks(columns: Schema, told: str) -> None:
    result = schema_declared(model(columns), PIPELINE)

    assert result.verdict == "block"
    assert told in result.sentence
    assert schema_declared(model(), PIPELINE).verdict == "pass"


@pytest.mark.parametrize(
    ("columns", "holdout", "told"),
    [
        (schema(a="numeric", gone="numeric"), ["a", "gone"], "no longer declares 'gone'"),
        (schema(a="categorical"), ["a"], "'a' is declared numeric, and the champion learnt"),
        (AB, ["a"], "the held-out rows lack 'b'"),
    ],
)
def test_a_champion_that_cannot_read_the_present_columns_is_not_compared_with(
    columns: Schema, holdout: list[str], told: str
) -> None:
    why = incomparable(model(columns), holdout, PIPELINE)

    assert why is not None
    assert told in why
    assert incomparable(model(), ["a", "b", "c"], PIPELINE) is None
    result = schema_compatible(model(), model(columns), sent("a", "b"), PIPELINE, why)
    assert result.verdict == "review"
    assert "cannot be compared with" in result.sentence


def test_a_column_new_to_the_champion_asks_for_review_until_production_is_seen_to_send_it() -> None:
    wider = model(PIPELINE.schema)

    unseen = schema_compatible(wider, model(), Recent(), PIPELINE)
    seen = schema_compatible(wider, model(), sent("a", "b", "c"), PIPELINE)

    assert (unseen.verdict, seen.verdict) == ("review", "pass")
    assert "does not read 'c'" in unseen.sentence


def test_rows_that_cannot_be_read_as_declared_block_beyond_the_quarantine_share() -> None:
    few = schema_compatible(model(), None, sent("a", "b", rows=99, unreadable=1), PIPELINE)
    many = schema_compatible(model(), None, sent("a", "b", rows=90, unreadable=10), PIPELINE)

    assert few.verdict == "pass"
    assert many.verdict == "block"
    assert "10 of 100 rows" in many.sentence


def test_columns_no_longer_read_are_named() -> None:
    result = schema_compatible(model(schema(a="numeric")), model(), Recent(), PIPELINE)

    assert result.verdict == "pass"
    assert "No longer read: b." in result.sentence


@pytest.mark.parametrize(
    ("rows", "verdict"), [(1_000, "pass"), (5_000, "pass"), (400, "review"), (99, "block")]
)
def test_a_fraction_of_the_champions_rows_is_no_training(rows: int, verdict: str) -> None:
    assert training_rows(model(training_rows=rows), model(), POLICY).verdict == verdict


@pytest.mark.parametrize(
    ("scale", "verdict"), [(1.0, "pass"), (8.0, "pass"), (100.0, "block"), (0.01, "block")]
)
def test_a_column_in_other_units_blocks(scale: float, verdict: str) -> None:
    result = column_scales(model(scale=scale), model(), POLICY)

    assert result.verdict == verdict
    assert result.observed == pytest.approx(max(scale, 1 / scale))
    if verdict == "block":
        assert "'b' changed most" in result.sentence


def test_a_column_that_no_longer_varies_asks_for_review() -> None:
    values = np.random.default_rng(0).normal(size=(200, 2))
    dead = replace(
        model(),
        preprocessing=fit_preprocessing(pa.table({"a": values[:, 0], "b": np.zeros(200)}), AB),
    )
    ignored = replace(dead, schema=schema(a="numeric"))

    result = column_scales(dead, model(), POLICY)

    assert result.verdict == "review"
    assert "does not look at b" in result.sentence
    assert column_scales(model(), dead, POLICY).verdict == "pass"
    assert column_scales(ignored, model(), POLICY).verdict == "pass"  # on purpose


def test_without_numeric_columns_there_are_no_units() -> None:
    bare = model()
    bare = replace(bare, preprocessing=replace(bare.preprocessing, encodings=()))

    assert column_scales(bare, bare, POLICY).verdict == "pass"
