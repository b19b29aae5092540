"""Step results survive being kept by Prefect: a run taken up again gets the very same values."""

import math
from datetime import UTC, datetime

import pytest
from prefect.serializers import JSONSerializer

from pynomaly.application.ports.learning import Trial
from pynomaly.application.train import TrainedModel
from pynomaly.application.tune import Choice
from pynomaly.application.validate import Validated
from pynomaly.domain.datasets import Dataset, Fingerprint, Snapshot
from pynomaly.domain.gates import GateResult
from pynomaly.domain.increments import Watermark
from pynomaly.domain.monitoring import Finding, Monitoring
from pynomaly.domain.partitions import Partition, Plan
from pynomaly.domain.profiles import ColumnProfile, Profile
from pynomaly.domain.quality import ExpectationResult, ValidationReport
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.runs import ScoredBatch

NOW = datetime(2026, 11, 23, 12, 30, 1, 5, tzinfo=UTC)
SNAPSHOT = Snapshot("a.csv", Fingerprint("c", "s"), (("a", "double"),), 3, 99)
EXPECTATION = ExpectationResult("e", None, "row", False, "1", "0", 1, ("x",))
COLUMN = ColumnProfile(
    "a", "numeric", "feature", "", "double", 0.1, 2, ((0.5, 1.0),), (("1", 2),), 0.3, ("note",)
)
PIECE = Partition("a.parquet", "a.parquet", "row groups 0-1", 0, 3, 99, "d", (0, 2, None, "t"))
PLAN = Plan("a.parquet", (("a", "double"),), (PIECE,), Watermark("a", "7", NOW), incremental=True)
VALUES = [
    PLAN,
    Validated(
        ValidationReport("r", "p", SNAPSHOT, (EXPECTATION,), 2, 1, 0.05, NOW),
        Dataset("d", SNAPSHOT, 2, "q", 1),
        "page.html",
        PLAN,
        ((0, "broken"),),
    ),
    Profile((COLUMN,), 3, 3, 0, (0.001, 0.1)),
    Choice("knn", {"n_neighbors": 5}, "consensus_stability", (Trial(0, "knn", {}, None, 0.1),)),
    TrainedModel("f", "d", "h", "knn", {"method": "mean"}, 9, {"holdout_rows": 3.0}),
    ModelVersion("p", 1, "u", "d", "r", "t", "f", "h", NOW),
    Release(
        "r", "run", "p", 2, 1, "candidate", "pass",
        (GateResult("g", "pass", math.inf, None, 0.1, 3, "s"),), NOW,
    ),
    Monitoring(
        "b", "u", NOW, 3, "v", 2, 0, 1, (("a", 1),), (Finding("c", "ok", 0.1, None, 0.5, 2, "s"),), ("note",)
    ),
    ScoredBatch("b", "r", "p", "u", "f", 1, "v", 3, 2, 1, 0, "o", "d", None, NOW),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_step_s_result_is_read_back_equal(value):
    serializer = JSONSerializer()

    assert serializer.loads(serializer.dumps(value)) == value
