"""A model around members that were fitted on a plain matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.preprocessing import fit_preprocessing
from pynomaly.domain.datasets import EXPECTED_SCORE, Column, Schema
from pynomaly.domain.models import Calibration, Member, Model, ModelCard

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["model_of", "with_expected_scores"]

Floats = NDArray[np.float64]


def model_of(members: Sequence[Member], X: Floats, detector: str, seed: int) -> Model:
    """Return a model of numeric columns x0, x1, … that a folder can hold.

    Args:
        members: Fitted on ``X``.
        X: (n, d) rows; preprocessing is learned from them.
        detector: For the card.
        seed: For the card.
    """
    schema = Schema(tuple(Column(f"x{i}", "numeric") for i in range(X.shape[1])))
    card = ModelCard(
        pipeline="check",
        run_id="check",
        detector=detector,
        params={},
        training_fingerprint="0" * 64,
        training_rows=len(X),
        seed=seed,
        library_versions={"numpy": np.__version__},
    )
    return Model(
        card=card,
        schema=schema,
        preprocessing=fit_preprocessing(_table(X), schema),
        members=tuple(members),
        calibration=Calibration(np.zeros(1)),
    )


def with_expected_scores(X: Floats, scores: Floats) -> pa.Table:
    """Return rows as a golden table."""
    import pyarrow as pa

    return _table(X).append_column(EXPECTED_SCORE, pa.array(scores, pa.float64()))


def _table(X: Floats) -> pa.Table:
    import pyarrow as pa

    return pa.table({f"x{i}": np.ascontiguousarray(column) for i, column in enumerate(X.T)})
