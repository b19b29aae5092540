"""Where numba cannot be imported, numpy gives the same scores."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from pynomaly.application.ensemble import fit_detector
from pynomaly.domain.detectors import CATALOGUE
from pynomaly.domain.models import Member
from pynomaly.infrastructure.kernels import FrozenKernels, compiled, plain
from pynomaly.infrastructure.pyod import PyodFitter

KERNELS = FrozenKernels()
FITTER = PyodFitter(KERNELS)

WITHOUT_NUMBA = """
import json, sys
sys.modules["numba"] = None  # any import of it fails now
import numpy as np
from pynomaly.domain.models import Member, Normalisation
from pynomaly.infrastructure.kernels import FrozenKernels

folder, members = sys.argv[1], json.loads(sys.argv[2])
rows = np.load(folder + "/rows.npy")
for name, (detector, params) in members.items():
    with np.load(f"{folder}/{name}.npz") as arrays:
        member = Member(detector, params, dict(arrays), Normalisation(0, 1, 0, 1))
    kernels = FrozenKernels()
    scores = kernels.score(member, rows)
    alone = [kernels.score(member, rows[i : i + 1])[0] for i in range(0, len(rows), 9)]
    assert alone == scores[::9].tolist(), name
    np.save(f"{folder}/{name}.npy", scores)
assert "numba" not in {name for name, module in sys.modules.items() if module}
"""


@pytest.fixture(scope="module")
def members() -> dict[str, Member]:
    rng = np.random.default_rng(0)
    X = rng.lognormal(size=(300, 7))
    X[:, 2] = rng.integers(0, 3, 300)
    single = [
        name for name, entry in CATALOGUE.items() if entry.certified and name != "self_cleaning"
    ]
    fitted = {
        name: fit_detector(name, {}, X, fitter=FITTER, kernels=KERNELS, seed=0)[0]
        for name in single
    }
    for method in ("largest", "median"):
        fitted[f"knn_{method}"] = FITTER.fit("knn", {"method": method}, X, 0)
    fitted["gmm_wide"] = FITTER.fit("gmm", {}, rng.normal(size=(300, 70)), 0)
    return fitted


def test_every_detector_scores_the_same_in_a_process_without_numba(members, tmp_path):
    rows = np.random.default_rng(1).lognormal(sigma=1.5, size=(90, 7))
    narrow = {name: member for name, member in members.items() if name != "gmm_wide"}
    np.save(tmp_path / "rows.npy", rows)
    for name, member in narrow.items():
        np.savez(tmp_path / f"{name}.npz", **member.arrays)
    described = {name: (member.detector, dict(member.params)) for name, member in narrow.items()}
    subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMBA, str(tmp_path), json.dumps(described)], check=True
    )
    for name, member in narrow.items():
        np.testing.assert_allclose(
            np.load(tmp_path / f"{name}.npy"), KERNELS.score(member, rows), rtol=1e-9, atol=1e-12
        )


def test_both_ways_score_projected_rows_the_same(members):
    member = members["gmm_wide"]
    Z = plain.robust(member.arrays, np.random.default_rng(2).normal(size=(70, 40)))
    np.testing.assert_allclose(
        plain.SCORERS["gmm"](member.arrays, member.params, Z),
        compiled.SCORERS["gmm"](member.arrays, member.params, Z),
        rtol=1e-9,
    )


def test_both_ways_know_the_same_detectors():
    assert plain.SCORERS.keys() == compiled.SCORERS.keys()


@pytest.mark.parametrize(
    "thresholds",
    {
        "a few": [0.0, 1.0],
        "even": np.arange(1_000.0),
        "with a long tail": np.random.default_rng(3).lognormal(0, 3, 2_000),
        "far apart": [-1e300, *np.linspace(-1, 1, 600), 1e300],
        "close together": 1.0 + np.arange(60) * 2.0**-52,
        "next to infinity": 1e308 * np.linspace(-1, 1, 100),
    }.values(),
)
def test_both_ways_find_a_number_among_thresholds_however_they_lie(thresholds):
    values = np.unique(thresholds)
    arrays = {
        "columns": np.array([0]),
        "starts": np.array([0, len(values)]),
        "values": values,
        "heights": np.arange(2.0 * len(values) + 1),
    }
    near = [np.nextafter(values, -np.inf), values, np.nextafter(values, np.inf)]
    numbers = np.concatenate([*near, [-1e308, 0.0, 1e308]])
    # Heights that count up tell where every number was found.
    expected = np.searchsorted(values, numbers, "left") + np.searchsorted(values, numbers, "right")
    for backend in (plain, compiled):
        assert backend.SCORERS["ecod"](arrays, {}, numbers[None]).tolist() == expected.tolist()


def test_both_ways_find_the_same_similar_rows_and_of_equal_ones_the_first():
    rng = np.random.default_rng(4)
    references = rng.integers(0, 3, size=(40, 4)).astype(float)  # many are equally near
    rows = np.concatenate([rng.integers(0, 3, size=(30, 4)).astype(float), [[1e30, 0, 0, 0]]])
    spread = np.array([1.0, 2.0, 1e-300, 0.5])
    apart = np.minimum(np.abs(rows[:, None] - references) / spread, 3.0).sum(axis=2)
    expected = np.argsort(apart, axis=1, kind="stable")[:, :5]
    for backend in (plain, compiled):
        found = backend.nearest(rows, np.ascontiguousarray(references.T), spread, 3.0, 5)
        assert found.tolist() == expected.tolist()
