"""Tuning: the study, its objectives and the rule that protects the incumbent."""

from __future__ import annotations

import numpy as np
import pytest

from pynomaly.application.ports.learning import Trial, TuningResult
from pynomaly.application.tuning import LABEL_FREE_MARGIN, LabelFreeObjective, choose
from pynomaly.domain.detectors import FAMILIES, complete
from pynomaly.domain.errors import NotTrainableError
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.optuna import OptunaTuner
from pynomaly.infrastructure.pyod import PyodFitter

KERNELS = FrozenKernels()
FITTER = PyodFitter(KERNELS)


def _objective(detector, params):
    """Best is knn with few neighbours."""
    return 1.0 - params["n_neighbors"] / 100 if detector == "knn" else 0.1


def _tune(folder, objective=_objective, *, trials=12, study="s", seed=1, timeout=None, on=None):
    return OptunaTuner(folder).tune(
        study, FAMILIES, objective, trials=trials, timeout_seconds=timeout, seed=seed,
        on_trial=on or (lambda trial: None),
    )  # fmt: skip


def _outcome(result):
    return [(t.number, t.detector, dict(t.params), t.value) for t in result.trials]


def test_trial_zero_is_the_incumbent_with_defaults(tmp_path):
    first = _tune(tmp_path).trials[0]
    assert (first.number, first.detector) == (0, "self_cleaning")
    assert first.params == complete("self_cleaning", {})


def test_every_trial_is_reported_once_and_the_best_is_found(tmp_path):
    seen: list[Trial] = []
    result = _tune(tmp_path, on=seen.append)
    assert tuple(seen) == result.trials
    assert [trial.number for trial in seen] == list(range(12))
    assert result.best.value == max(trial.value for trial in seen)
    assert result.best.detector == "knn"


def test_equal_seeds_give_equal_studies(tmp_path):
    one, other = _tune(tmp_path / "a"), _tune(tmp_path / "b")
    assert _outcome(one) == _outcome(other)
    assert _outcome(_tune(tmp_path / "c", seed=2)) != _outcome(one)


def test_a_study_in_memory_is_the_same_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    in_memory = _outcome(_tune(None))
    assert list(tmp_path.iterdir()) == []
    assert in_memory == _outcome(_tune(tmp_path / "kept"))


def test_a_finished_study_is_not_run_again(tmp_path):
    first = _tune(tmp_path)
    seen: list[Trial] = []
    again = _tune(tmp_path, lambda d, p: pytest.fail("computed again"), on=seen.append)
    assert _outcome(again) == _outcome(first)
    assert seen == []


def test_a_killed_study_goes_on_as_if_it_had_never_stopped(tmp_path):
    calls = 0

    def interrupted(detector, params):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return _objective(detector, params)

    with pytest.raises(KeyboardInterrupt):
        _tune(tmp_path / "a", interrupted)
    [journal] = (tmp_path / "a").glob("*.journal")
    with journal.open("ab") as file:
        file.write(b'{"op_code":')  # torn by the kill
    assert _outcome(_tune(tmp_path / "a")) == _outcome(_tune(tmp_path / "b"))


def test_studies_do_not_mix(tmp_path):
    _tune(tmp_path, trials=3, study="pay ments/1")
    assert len(_tune(tmp_path, trials=2, study="pay_ments/1").trials) == 2


def test_a_configuration_that_cannot_be_trained_counts_and_the_search_goes_on(tmp_path):
    def objective(detector, params):
        if detector == "self_cleaning":
            raise NotTrainableError("too few rows")
        return _objective(detector, params)

    result = _tune(tmp_path, objective, trials=8)
    assert result.trials[0].value is None
    assert len(result.trials) == 8
    assert result.best.value is not None
    assert _outcome(_tune(tmp_path, objective, trials=8)) == _outcome(result)


def test_nothing_trainable_is_an_error(tmp_path):
    def objective(detector, params):
        raise NotTrainableError("too few rows")

    with pytest.raises(NotTrainableError, match="none of 2 tried"):
        _tune(tmp_path, objective, trials=2)


def test_other_errors_are_not_swallowed(tmp_path):
    def objective(detector, params):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _tune(tmp_path, objective)


def test_no_trial_starts_after_the_timeout_but_the_incumbent_always_runs(tmp_path):
    assert len(_tune(tmp_path, timeout=0.0).trials) == 1


def test_equal_configurations_are_computed_once(tmp_path):
    asked: list[tuple[str, tuple]] = []

    def objective(detector, params):
        asked.append((detector, tuple(sorted(params.items()))))
        return 1.0 if detector == "ecod" else 0.0

    result = _tune(tmp_path, objective, trials=20)
    assert len(result.trials) == 20
    assert len(asked) == len(set(asked)) < 20


# objectives --------------------------------------------------------------------------------------


def _rows(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5))
    labels = np.zeros(n)
    labels[: n // 20] = 1
    X[labels == 1] *= 4
    return X, labels


@pytest.fixture(scope="module")
def label_free():
    return LabelFreeObjective(_rows()[0], fitter=FITTER, kernels=KERNELS, seed=0)


def test_consensus_is_deterministic_and_bounded(label_free):
    value = label_free("knn", {})
    assert value == label_free("knn", {})
    assert -1.0 <= value <= 1.0


def test_an_inverted_detector_has_no_consensus(label_free):
    class Inverted(FrozenKernels):
        def score_members(self, members, X):
            return -super().score_members(members, X)

    broken = LabelFreeObjective(_rows()[0], fitter=FITTER, kernels=KERNELS, seed=0)
    broken._kernels = Inverted()
    assert broken("knn", {}) < 0.5 < label_free("knn", {})


def _result(incumbent, challenger):
    trials = (Trial(0, "ecod", {}, incumbent, 1.0), Trial(1, "knn", {}, challenger, 1.0))
    return TuningResult(trials, max(trials, key=lambda t: -1.0 if t.value is None else t.value))


@pytest.mark.parametrize(
    ("incumbent", "challenger", "chosen"),
    [
        (0.80, 0.79, "ecod"),
        (0.80, 0.80 + LABEL_FREE_MARGIN / 2, "ecod"),
        (0.80, 0.80 + LABEL_FREE_MARGIN * 2, "knn"),
        (None, 0.10, "knn"),
        (0.80, None, "ecod"),
    ],
)
def test_the_incumbent_stays_unless_clearly_beaten(incumbent, challenger, chosen):
    assert choose(_result(incumbent, challenger), LABEL_FREE_MARGIN).detector == chosen
