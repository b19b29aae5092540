"""PyOD's other detectors can be tried: kept as data, fitted again to score, refused when odd."""

from __future__ import annotations

import gc
import importlib.util
import pkgutil
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pynomaly.adapters import detector_fitter, detector_kernels, model_folders
from pynomaly.application.gates.integrity import certified
from pynomaly.domain import extensions
from pynomaly.domain.errors import (
    ConfigurationError,
    DataRejectedError,
    IntegrityError,
    MissingExtraError,
    NotTrainableError,
)
from pynomaly.domain.models import Head, Member, Normalisation
from pynomaly.domain.uncertified import UNCERTIFIED
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.pyod.reproducible import reproducible
from pynomaly.infrastructure.pyod.uncertified import MAX_TRAINING_ROWS, RefittedDetectors
from pynomaly.serving import load_scorer
from pynomaly.testing.model_folders import model_of, with_expected_scores

KERNELS = detector_kernels()
FITTER = detector_fitter(KERNELS)
OTHER_DATA = {"ts_", "pyg_", "embedding", "audio"}
NEED_LABELS_OR_DETECTORS = {"XGBOD", "DevNet", "LSCP"}


@pytest.fixture(scope="module")
def rows():
    X = np.random.default_rng(0).normal(size=(120, 3))
    X[7] += 9
    return X


@pytest.fixture(scope="module")
def member(rows):
    return FITTER.fit("pyod:KDE", {"bandwidth": 0.8}, rows, 3)


def test_the_table_names_every_detector_of_pyod_for_tables():
    import pyod.models

    found = set()
    for module in pkgutil.iter_modules(pyod.models.__path__):
        if any(module.name.startswith(prefix) for prefix in OTHER_DATA):
            continue
        source = Path(importlib.util.find_spec(f"pyod.models.{module.name}").origin).read_text()
        found |= set(re.findall(r"^class (\w+)\(Base(?:DeepLearning)?Detector\)", source, re.M))
    ours = {
        "CBLOF", "COPOD", "ECOD", "GMM", "HBOS", "IForest", "INNE", "KNN", "LODA", "LOF", "MCD",
        "OCSVM", "PCA", "BaseDeepLearningDetector",
    }  # fmt: skip
    assert found - ours - NEED_LABELS_OR_DETECTORS == set(UNCERTIFIED)


def test_scores_are_those_of_pyod_on_scaled_rows(rows, member):
    from pyod.models.kde import KDE

    from pynomaly.infrastructure.pyod.frozen import RobustScaling

    Z = RobustScaling.fit(rows, np.zeros(3))(rows)
    expected = KDE(bandwidth=0.8).fit(Z).decision_function(Z)
    np.testing.assert_allclose(KERNELS.score(member, rows), expected, rtol=1e-12)


def test_only_numbers_are_kept_and_few_rows():
    many = np.random.default_rng(0).normal(size=(MAX_TRAINING_ROWS + 300, 2))
    arrays = FITTER.fit("pyod:KDE", {}, many, 0).arrays
    assert arrays["training"].shape == (MAX_TRAINING_ROWS, 2)
    assert {array.dtype.kind for array in arrays.values()} <= set("if")


def test_a_model_folder_scores_the_same_wherever_it_is_loaded(rows, member, tmp_path):
    scores = KERNELS.score(member, rows)
    model = model_of([member], rows, "pyod:KDE", 3)
    digest = model_folders().save(model, with_expected_scores(rows, scores), tmp_path / "m")
    loaded = model_folders().load(tmp_path / "m", digest)
    np.testing.assert_array_equal(detector_kernels().score(loaded.members[0], rows), scores)
    frame = pa.table({f"x{i}": rows[:, i] for i in range(3)}).to_pandas()
    assert load_scorer(tmp_path / "m", digest).score(frame)["score"].idxmax() == 7


def test_it_is_fitted_once_and_forgotten_with_its_member(rows, member, monkeypatch):
    from pyod.models.kde import KDE

    fits = []
    fit = KDE.fit
    monkeypatch.setattr(KDE, "fit", lambda self, X: fits.append(1) or fit(self, X))
    held = [replace(member, arrays={key: a.copy() for key, a in member.arrays.items()})]
    refitted = RefittedDetectors()
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(lambda _: refitted.score(held[0], rows), range(8)):
            np.testing.assert_array_equal(scores, KERNELS.score(member, rows))
    assert len(fits) == 1
    held.clear()
    gc.collect()
    assert not refitted._fitted


def test_it_scores_while_another_thread_is_fitting(rows, member):
    refitted, waiting, scored = RefittedDetectors(), threading.Event(), []

    def score_in_the_way():
        waiting.set()
        scored.append(refitted.score(member, rows))

    def fit_and_score():
        with reproducible():  # as a fitter does, whose self-test scores
            other = threading.Thread(target=score_in_the_way, daemon=True)
            other.start()
            waiting.wait()
            time.sleep(0.2)  # the other one stands at the same lock now
            scored.append(refitted.score(member, rows))
        other.join(20)

    both = threading.Thread(target=fit_and_score, daemon=True)
    both.start()
    both.join(20)
    assert len(scored) == 2, "fitting and scoring wait for each other"
    np.testing.assert_array_equal(*scored)


@pytest.mark.parametrize("name", ["pyod:BaseDetector", "pyod:os", "pyod:../base", "pyod:IForest"])
def test_a_model_cannot_name_code_outside_the_catalogue(member, rows, name):
    with pytest.raises(IntegrityError, match="may be fitted from a model"):
        KERNELS.score(replace(member, detector=name), rows)


@pytest.mark.parametrize("params", [{"bandwith": 1.0}, {"metric_params": {"a": 1}}])
def test_a_model_cannot_pass_anything_but_plain_parameters(member, rows, params):
    with pytest.raises(IntegrityError, match="parameter"):
        KERNELS.score(replace(member, params=params), rows)


def test_a_mistyped_parameter_suggests_the_nearest(rows):
    with pytest.raises(ConfigurationError, match="did you mean 'bandwidth'"):
        FITTER.fit("pyod:KDE", {"bandwith": 1.0}, rows, 0)


def test_what_pyod_cannot_learn_from_is_no_configuration_to_choose(rows):
    with pytest.raises(NotTrainableError, match=r"pyod:MAD cannot learn from 120 rows and 3 col"):
        FITTER.fit("pyod:MAD", {}, rows, 0)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_a_detector_that_needs_another_package_names_it(rows):
    with pytest.raises(MissingExtraError, match="pip install torch"):
        FITTER.fit("pyod:VAE", {}, rows, 0)


def test_scores_that_are_no_numbers_are_refused(rows):
    member = FITTER.fit("pyod:SOS", {}, rows, 0)
    with pytest.raises(DataRejectedError, match="pyod:SOS gives 1 of 1 rows no finite score"):
        KERNELS.score(member, rows[:1])


def test_kernels_that_were_not_told_how_refuse_them(member, rows):
    with pytest.raises(IntegrityError, match="no kernel for detector 'pyod:KDE'"):
        FrozenKernels().score(member, rows)


def test_the_gate_names_the_member_that_is_not_certified(member, rows):
    good = FITTER.fit("ecod", {}, rows, 0)
    unknown = Member("lof2", {}, {}, Normalisation(0, 1, 0, 1))
    assert certified(model_of([good], rows, "ecod", 0)).verdict == "pass"
    for bad, why in [(member, "pyod:KDE is PyOD's own code"), (unknown, "unknown detector 'lof2'")]:
        result = certified(model_of([good, bad], rows, "mixed", 0))
        assert result.verdict == "block"
        assert why in result.sentence


def test_the_gate_and_model_folders_let_nothing_but_classifiers_into_a_head(member, rows, tmp_path):
    good = FITTER.fit("ecod", {}, rows, 0)
    for part in (member, good):
        model = replace(model_of([good], rows, "ecod", 0), head=Head((part,), 1.0, 0.0))
        result = certified(model)
        assert result.verdict == "block"
        assert f"{part.detector} is no classifier of a head" in result.sentence
        folder = tmp_path / part.detector
        digest = model_folders().save(model, with_expected_scores(rows, rows[:, 0]), folder)
        with pytest.raises(IntegrityError, match=f"'{part.detector}', which is no part of a head"):
            model_folders().load(folder, digest)


@pytest.mark.parametrize("name", ["grown_forest", "lof2", "pyod:os"])
def test_a_model_folder_with_a_member_that_is_no_detector_is_not_loaded(
    member, rows, name, tmp_path
):
    model = model_of([replace(member, detector=name)], rows, "mixed", 0)
    digest = model_folders().save(model, with_expected_scores(rows, rows[:, 0]), tmp_path / "m")
    with pytest.raises(IntegrityError, match=f"'{name}', which is no member"):
        model_folders().load(tmp_path / "m", digest)


def test_a_broken_package_blocks_at_the_gate(member, rows, monkeypatch):
    broken = EntryPoint("broken", "missing_module:DETECTOR", extensions.GROUP)
    monkeypatch.setattr(extensions, "_declared", lambda: {"broken": (broken,)})
    result = certified(model_of([replace(member, detector="broken")], rows, "broken", 0))
    assert result.verdict == "block"
    assert "cannot be loaded: ModuleNotFoundError" in result.sentence
