"""Hold-out and calibration: rows the model has not seen, recent ones where rows have times."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pynomaly.application.calibration import CALIBRATION_FOLDS, calibrate_on_unseen_rows
from pynomaly.application.ensemble import fit_detector
from pynomaly.application.preprocessing import encode, fit_preprocessing
from pynomaly.application.resampling import Resampling, Scorer
from pynomaly.application.scoring_rows import score_members
from pynomaly.application.split import training_rows
from pynomaly.domain.datasets import Column, Dataset, Fingerprint, Schema, Snapshot
from pynomaly.domain.decision import decide
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline, TrainingPolicy
from pynomaly.domain.scores import p_values
from pynomaly.domain.sources import SourceSpec
from pynomaly.infrastructure.arrow.outputs import ParquetDatasetStore
from pynomaly.infrastructure.filesystem.targets import open_local_target
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod import PyodFitter

KERNELS = FrozenKernels()


def divided(folder: Path, times: list[int | None], *, seed: int = 0, **policy: object):
    store = ParquetDatasetStore(folder, open_local_target)
    stamps = pa.array(times, pa.timestamp("us", "UTC"))
    with store.writer("rows") as writer:
        writer.write(pa.table({"t": stamps, "row": np.arange(len(times)).astype(float)}))
    snapshot = Snapshot("rows.csv", Fingerprint("c", "s"), (), len(times), 1)
    job = Pipeline(
        "p",
        SourceSpec("unused"),
        Schema((Column("t", "datetime"), Column("row", "numeric"))),
        time_column="t",
        training=TrainingPolicy(seed=seed, **policy),  # type: ignore[arg-type]
    )
    return training_rows(job, Dataset(writer.uri, snapshot, len(times), None, 0), store)


def numbers(table: pa.Table) -> list[int]:
    return table.column("row").to_numpy().astype(int).tolist()


def test_with_times_the_most_recent_rows_are_held_out(tmp_path: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(100)

    rows = divided(tmp_path, shuffled.tolist())

    assert rows.fit["t"].cast(pa.int64()).to_pylist() == list(range(75))
    assert rows.holdout["t"].cast(pa.int64()).to_pylist() == list(range(75, 100))


def test_rows_of_one_time_stay_in_order_whatever_the_seed(tmp_path: Path) -> None:
    rows = divided(tmp_path, [7] * 40, seed=3)

    assert numbers(rows.fit) + numbers(rows.holdout) == list(range(40))


def test_rows_without_a_time_are_learnt_from_not_judged_on(tmp_path: Path) -> None:
    rows = divided(tmp_path, [None, *range(20, 58), None])

    assert numbers(rows.fit)[:3] == [0, 39, 1]
    assert rows.holdout["t"].null_count == 0


def test_of_a_large_dataset_the_sample_keeps_the_recent_share(tmp_path: Path) -> None:
    rows = divided(tmp_path, list(range(1_000)), max_rows=150)

    assert (len(rows.fit), len(rows.holdout)) == (150, 50)
    assert max(numbers(rows.fit)) < min(numbers(rows.holdout))
    assert min(numbers(rows.holdout)) > 600


def nearest_seen(table: pa.Table) -> Scorer:
    """A model that remembers its rows: the score is the distance to the nearest one."""
    seen = table.column("row").to_numpy()
    return lambda rows: np.abs(rows.column("row").to_numpy()[:, None] - seen).min(axis=1)


def unseen(fit: int, holdout: int, *, in_time_order: bool, wanted: int = 1):
    table = pa.table({"row": np.arange(float(fit + holdout))})
    rows, holdout = table.slice(0, fit), table.slice(fit)
    times = np.arange(float(fit)) if in_time_order else None
    resampling = Resampling(rows, rows.slice(0, 0), nearest_seen, 0, times)
    return calibrate_on_unseen_rows(holdout, nearest_seen(rows), resampling, wanted=wanted)


def test_a_large_hold_out_is_shared_row_by_row_between_gates_and_calibration() -> None:
    kept, calibration = unseen(10, 4_000, in_time_order=True)

    assert numbers(kept) == list(range(10, 4_010, 2))
    np.testing.assert_array_equal(calibration.scores, np.arange(2.0, 4_001.0, 2.0))


@pytest.mark.parametrize("in_time_order", [False, True])
def test_a_small_hold_out_leaves_calibration_to_fitted_rows_seen_by_no_model_that_scores_them(
    in_time_order: bool,
) -> None:
    kept, calibration = unseen(500, 100, in_time_order=in_time_order)

    assert numbers(kept) == list(range(500, 600))
    assert len(calibration.scores) == 500
    assert calibration.scores.min() >= 1.0  # 0 would mean that a row was scored by its own model


def test_in_time_order_a_rows_neighbours_do_not_give_it_away() -> None:
    """Random folds nearly always leave a neighbour in; blocks leave it out."""
    _, random = unseen(500, 100, in_time_order=False)
    _, blocked = unseen(500, 100, in_time_order=True)

    assert np.median(random.scores) == 1.0
    assert np.median(blocked.scores) > 500 / CALIBRATION_FOLDS / 5


def test_numbers_as_times_put_rows_in_order_and_tell_no_days() -> None:
    rows = pa.table({"row": np.arange(500.0), "step": np.arange(500.0) * 10_000})
    job = Pipeline("p", SourceSpec("u"), Schema((Column("row", "numeric"),)), time_column="step")
    resampling = Resampling.of(rows, job, nearest_seen)

    assert resampling.times is not None
    scores = resampling.cross_fit(5).scores
    # Blocks of a hundred neighbours, not of whole days of 86,400.
    assert (scores[0], scores[-1]) == (100.0, 100.0)


def test_a_hold_out_too_small_for_the_policy_does_not_calibrate() -> None:
    kept, calibration = unseen(500, 4_100, in_time_order=True, wanted=2_051)

    assert (len(kept), len(calibration.scores)) == (4_100, 500)


def clean(rows: int, rng: np.random.Generator) -> pa.Table:
    values = rng.standard_t(4, size=(rows, 3))
    return pa.table({f"x{i}": values[:, i] for i in range(3)})


def forest(table: pa.Table) -> Scorer:
    schema = Schema(tuple(Column(f"x{i}", "numeric") for i in range(3)))
    preprocessing = fit_preprocessing(table, schema)
    members = fit_detector(
        "iforest", {"n_estimators": 50}, encode(preprocessing, table), fitter=PyodFitter(KERNELS),
        kernels=KERNELS, seed=0,
    )  # fmt: skip
    return lambda rows: score_members(members, encode(preprocessing, rows), KERNELS)


@pytest.mark.parametrize(("fit", "holdout"), [(2_000, 8_000), (4_000, 1_000)])
def test_clean_rows_get_uniform_p_values_and_a_budget_of_one_percent_flags_one_percent(
    fit: int, holdout: int
) -> None:
    """From a hold-out and from fitted rows alike.

    Bounds: p-values stray from uniform by no more than the calibration and the fresh rows each
    stray from their distribution (DKW, 1e-6 each); the flagged share by 4 standard deviations.
    """
    rng = np.random.default_rng(0)
    rows = clean(fit, rng)
    scorer, resampling = forest(rows), Resampling(rows, rows.slice(0, 0), forest, 0, None)
    _, calibration = calibrate_on_unseen_rows(clean(holdout, rng), scorer, resampling, wanted=1_000)
    n, m = len(calibration.scores), 20_000
    scores = scorer(clean(m, rng))

    p = np.sort(p_values(calibration, scores))
    flagged = decide(DecisionPolicy(budget=0.01), scores, calibration).mean()

    assert n == 4_000
    distance = np.abs(np.arange(1, m + 1) / m - p).max()
    assert distance < sum(np.sqrt(np.log(2 / 1e-6) / (2 * size)) for size in (n, m)) + 1 / n
    spread = np.sqrt(0.01 * 0.99 * (1 / n + 1 / m))
    assert abs(flagged - 0.01) < 4 * spread
