"""Two columns of normal data, and a small model of them."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.models import Model, ModelCard
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.releases import ModelVersion
from pynomaly.domain.scores import calibrate
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod import PyodFitter

KERNELS = FrozenKernels()
SCHEMA = Schema((Column("a", "numeric"), Column("b", "numeric")))


def rows(n: int, seed: int, strange: int = 0) -> pa.Table:
    values = np.random.default_rng(seed).normal(size=(n, 2))
    values[n - strange :] += 9.0
    ids = [f"f#{i}" for i in range(n)]
    return pa.table({"row_id": ids, "a": values[:, 0], "b": values[:, 1]})


class Champion:
    """Serves one model."""

    def __init__(self, calibration_rows: int = 3_000) -> None:
        known = rows(500, seed=0)
        preprocessing = fit_preprocessing(known, SCHEMA)
        members = fit_detector(
            "ecod", {}, encode(preprocessing, known), fitter=PyodFitter(KERNELS), kernels=KERNELS,
            seed=0,
        )  # fmt: skip
        unseen = encode(preprocessing, rows(calibration_rows, seed=1))
        self.model = Model(
            ModelCard("p", "r", "ecod", {}, "f", 500, 0, {}),
            SCHEMA, preprocessing, members, calibrate(score_members(members, unseen, KERNELS)),
        )  # fmt: skip

        self.version = ModelVersion("p", 1, "", "", "r", "r-1", "f", "", datetime.now(UTC))

    def champion(self, pipeline: Pipeline) -> tuple[Pipeline, ModelVersion]:
        return pipeline, self.version

    def load(self, version: ModelVersion) -> Model:
        assert version == self.version
        return self.model
