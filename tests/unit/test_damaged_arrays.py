"""Kernels index without bounds checks: arrays that would lead them astray are refused before."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from golden.golden_detectors import ARRAYS, DOCUMENT, FITTER, KERNELS, SINGLE, stored_model
from pynomaly.adapters import label_fitter
from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.models import Member
from pynomaly.infrastructure.kernels import FrozenKernels
from pynomaly.infrastructure.kernels.checks import LAYOUTS

PATIENCE = 120


@cache
def members() -> Mapping[str, tuple[Member, int]]:
    """Return every detector that has a kernel, and the width of its rows."""
    document = json.loads(DOCUMENT.read_text())["detectors"]
    with np.load(ARRAYS, allow_pickle=False) as arrays:
        found = {name: (stored_model(name, arrays, document[name]), 4) for name in SINGLE}
    rng = np.random.default_rng(0)
    X, wide = rng.normal(size=(60, 3)), rng.normal(size=(90, 62))
    labels = np.where(np.arange(60) < 15, 1.0, 0.0)
    parts = label_fitter(KERNELS).fit(X, X[:, :2] ** 2, labels, 0, trees=6)
    found |= {part.detector: (part, 5) for part in parts}
    found["gmm, projected"] = FITTER.fit("gmm", {}, wide, 0), 62
    found["pyod:KDE"] = FITTER.fit("pyod:KDE", {}, X, 0), 3
    return found


def with_array(member: Member, name: str, array: np.ndarray) -> Member:
    return replace(member, arrays={**member.arrays, name: np.ascontiguousarray(array)})


def damaged(member: Member) -> Iterator[tuple[str, Member]]:
    """Yield members each array of which in turn is not what it should be."""
    for name, array in member.arrays.items():
        if name != "training":  # of fewer rows
            yield f"{name} shortened", with_array(member, name, array[:-1])
        yield f"{name} with an axis more", with_array(member, name, array[None])
        yield f"{name} of another type", with_array(member, name, array.astype(np.float16))
        yield (
            f"{name} missing",
            replace(member, arrays={key: a for key, a in member.arrays.items() if key != name}),
        )
        if array.dtype.kind not in "iu" or name == "seed":
            continue
        far = array.dtype.type(10**9)
        yield f"{name} + 10⁹", with_array(member, name, array + far)
        yield f"{name} - 10⁹", with_array(member, name, array - far)
        for place in np.random.default_rng(1).choice(array.size, min(array.size, 9), replace=False):
            for value in (far, np.array(-1).astype(array.dtype)):
                one = array.copy()
                one.flat[place] = value
                yield f"{name}[{place}] = {value}", with_array(member, name, one)
    yield "an array more", with_array(member, "scale2", np.ones(3))


def score_damaged() -> None:
    """Print what is scored although it is damaged."""
    for title, (member, width) in members().items():
        for what, bad in damaged(member):
            try:
                scores = KERNELS.score(bad, np.zeros((70, width)))
                print(f"{title}: {what}: scored as {scores[0]}")
            except IntegrityError as error:
                if repr(member.detector) not in error.message:
                    print(f"{title}: {what}: no detector named: {error}")


def score_shuffled() -> None:
    """Print where numpy, which does check bounds, stumbles over arrays that were let through."""
    from pynomaly.infrastructure.kernels import frozen, plain

    frozen._backend = lambda: plain
    rng = np.random.default_rng(2)
    for title, (member, width) in members().items():
        rows, through = rng.normal(size=(20, width)), 0
        whole = {name: a for name, a in member.arrays.items() if a.dtype.kind in "iu"}
        for name, array in whole.items():
            top = int(array.max()) + 3
            for _ in range(60):
                other = array.copy()
                places = rng.integers(array.size, size=rng.integers(1, 4))
                other.flat[places] = rng.integers(0, top, size=len(places))
                try:
                    KERNELS.score(with_array(member, name, other), rows)
                    through += 1
                except IntegrityError:
                    continue
                except (IndexError, ValueError, TypeError) as error:
                    print(f"{title}: {name}: {error!r}")
        if whole and not through:
            print(f"{title}: nothing was let through, so nothing was tried")


@pytest.mark.parametrize("task", ["score_damaged", "score_shuffled"])
def test_no_array_leads_a_kernel_astray(task):
    command = f"from unit.test_damaged_arrays import {task}; {task}()"
    done = subprocess.run(  # what is not refused may crash a process, or never end
        [sys.executable, "-c", command],
        check=False, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stdout, done.stdout


@pytest.mark.parametrize("name", ["surrogate", "grown_forest", "boosted_trees"])
def test_a_right_child_behind_the_last_node_is_refused(name):
    member, width = members()[name]
    limits = member.arrays["threshold"].dtype.type([-1e30, np.inf])
    leaf = 1 if name == "surrogate" else 0
    forged = {"feature": [0, 0], "child": [1, leaf], "roots": [0], "depths": [1]}
    arrays = dict(member.arrays) | {"threshold": limits}
    for key, array in member.arrays.items():
        if key in forged:
            arrays[key] = np.array(forged[key], dtype=array.dtype)
        elif key in ("value", "share"):
            arrays[key] = np.zeros(2)

    with pytest.raises(IntegrityError, match="child"):
        KERNELS.score(replace(member, arrays=arrays), np.ones((70, width)))


def test_every_detector_with_a_kernel_has_a_layout_and_is_tried():
    from pynomaly.infrastructure.kernels import compiled

    assert LAYOUTS.keys() == compiled.SCORERS.keys()
    assert LAYOUTS.keys() <= {member.detector for member, _ in members().values()}


@pytest.mark.parametrize(
    ("detector", "array", "change", "message"),
    [
        (
            "knn",
            "columns",
            lambda a: a + 10**9,
            "'columns' holds 1000000000 to .*, expected 0 to 3",
        ),
        ("subsample", "groups", lambda a: a * 0 + 10**6, "'groups' .* divides 48 references"),
        ("inne", "groups", lambda a: a * 0, "'groups' .* divides"),
        (
            "knn",
            "neighbours",
            lambda a: a * 0 + 91,
            "'neighbours' holds 91 to 91, expected 1 to 90",
        ),
        ("lof", "neighbours", lambda a: a * 0, "'neighbours' holds 0 to 0"),
        ("cluster", "starts", lambda a: a[[0, 2, 1, 3]], "'starts' .* ascending from 0"),
        ("ecod", "starts", lambda a: np.r_[a[0], a[:1], a[2:]], "'starts' .* ascending from 0"),
        ("loda", "cut_columns", lambda a: a + 4, "'cut_columns' holds"),
        ("iforest", "feature", lambda a: a + np.uint32(4), "'feature' holds .* expected 0 to 3"),
        ("surrogate", "threshold", np.zeros_like, "'threshold' .* infinity at every leaf"),
        ("surrogate", "depths", lambda a: a - 10**6, "'depths' holds"),
        ("surrogate", "child", lambda a: np.maximum(a - 2, 0), "'child' .* every node once"),
        ("grown_forest", "child", lambda a: np.where(a, 1, 0).astype("i4"), "every node once"),
        ("boosted_trees", "child", lambda a: np.arange(len(a), dtype="i4"), "every node once"),
    ],
)
def test_the_array_and_what_was_expected_are_named(detector, array, change, message):
    member, width = members()[detector]
    bad = with_array(member, array, change(member.arrays[array]))
    with pytest.raises(IntegrityError, match=message):
        KERNELS.score(bad, np.zeros((1, width)))


def test_rows_of_another_width_are_refused_even_after_fitting_ones():
    for detector in ("iforest", "grown_forest", "logistic"):
        member, width = members()[detector]
        KERNELS.score(member, np.zeros((1, width)))
        for other in (width - 1, width + 1):
            with pytest.raises(IntegrityError, match=f"the frozen '{detector}'"):
                KERNELS.score(member, np.zeros((1, other)))


def test_an_unknown_way_to_measure_neighbours_is_refused():
    member, width = members()["knn"]
    with pytest.raises(IntegrityError, match="the frozen 'knn' has no method 'smallest'"):
        KERNELS.score(replace(member, params={"method": "smallest"}), np.zeros((1, width)))


def test_looking_at_arrays_costs_no_batch_after_the_first_anything():
    kernels, member, row = FrozenKernels(), members()["iforest"][0], np.zeros((1, 4))
    kernels.score(member, row)
    best = np.inf
    for _ in range(2_000):
        start = time.perf_counter()
        kernels.score(member, row)
        best = min(best, time.perf_counter() - start)
    assert best < 50e-6
