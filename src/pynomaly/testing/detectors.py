"""The contract of detectors, for those we ship and for those of other packages.

:func:`check_detector` runs all checks; each can be run alone on a :class:`Subject`.  A violation is
an ``AssertionError`` that names the detector, what broke and how.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from pynomaly.adapters import detector_fitter, detector_kernels, model_folders
from pynomaly.application.ports.learning import Kernels
from pynomaly.domain.detectors import detector as catalogued
from pynomaly.domain.extensions import DetectorExtension, provided
from pynomaly.testing.detector_rows import BOUND, awkward_rows, without_variation
from pynomaly.testing.subject import Subject

__all__ = [
    "CHECKS",
    "Subject",
    "check_arrays_only",
    "check_awkward_data",
    "check_batches",
    "check_detector",
    "check_determinism",
    "check_direction",
    "check_library_agreement",
    "check_purity",
    "check_refusal_of_missing_values",
    "check_save_and_load",
    "check_threads",
]

_COMPARED = 0.5  # of ordinary rows; a library that is sure of fewer proves nothing
_COPIES = 100  # so many of the fresh rows are more than one thread's share


def check_detector(
    detector: str | DetectorExtension,
    params: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    kernels: Kernels | None = None,
) -> None:
    """Check everything that a certified detector promises.

    Args:
        detector: A name in the catalogue (installed extensions included), or an extension itself.
        params: To fit with; missing ones take defaults.
        seed: Of every fit.
        kernels: To score with; the platform's own where None.

    Raises:
        AssertionError: A promise is broken; the message says which and how.
        ConfigurationError: There is no such detector or parameter.

    >>> check_detector("ecod")
    """
    extension = None if isinstance(detector, str) else detector
    name = extension.entry.name if extension else str(detector)
    kernels = kernels or detector_kernels()
    with provided(extension) if extension else nullcontext():
        strict = detector_fitter(kernels, catalogued(name).tolerance, _COMPARED)
        subject = Subject(name, params or {}, seed, kernels, detector_fitter(kernels), strict)
        for check in CHECKS:
            check(subject)


def check_library_agreement(subject: Subject) -> None:
    """Frozen scores equal those of the fitted library detector within the stated tolerance.

    A detector that declares rows undecidable is compared on half of them at least.
    """
    _ = subject.members  # fitting compares them, and fails where they differ


def check_direction(subject: Subject) -> None:
    """Higher is stranger: a row far outside scores above nearly all training rows."""
    X = subject.rows
    far = np.median(X, axis=0) + 50 * X.std(axis=0)
    score = subject.score(subject.members, far[None])[0]
    usual = np.quantile(subject.score(subject.members, X), 0.98)
    assert score >= usual, (
        f"{subject.name}: a row 50 standard deviations out scores {score!r}, below 2 % of training "
        f"rows ({usual!r}); higher must be stranger"
    )


def check_batches(subject: Subject) -> None:
    """A row scores the same alone, in any batch, order and chunk size, to the last bit."""
    members, X, scores = subject.members, subject.fresh, subject.scores
    assert scores.dtype == np.float64, f"{subject.name}: scores are {scores.dtype}, not float64"
    empty = subject.score(members, X[:0])
    assert empty.shape == (0,), f"{subject.name}: no rows give scores of shape {empty.shape}"
    for size in (1, 2, 7, 64):
        parts = [subject.score(members, X[i : i + size]) for i in range(0, len(X), size)]
        how = "alone" if size == 1 else f"in chunks of {size}"
        subject.require_equal(np.concatenate(parts), scores, how)
    order = np.random.default_rng(0).permutation(len(X))
    subject.require_equal(subject.score(members, X[order]), scores[order], "in another order")
    strange = np.vstack([X, np.full((50, X.shape[1]), 1e6)])
    beside = subject.score(members, strange)[: len(X)]
    subject.require_equal(beside, scores, "beside 50 strange rows")
    twice = subject.score(members, np.repeat(X, 2, axis=0))[::2]
    subject.require_equal(twice, scores, "beside a copy of every row")


def check_threads(subject: Subject) -> None:
    """Scores do not depend on threads: however many score one batch, and from four at once."""
    members, X, scores = subject.members, subject.fresh, subject.scores
    many = np.tile(X, (_COPIES, 1))
    for threads in (1, 2, 4):
        kernels = detector_kernels(threads)
        found = np.array([kernels.score(member, many) for member in members])
        own = np.array([subject.kernels.score(member, X) for member in members])
        subject.require_equal(found, np.tile(own, _COPIES), f"with {threads} threads")
    parts = np.array_split(np.arange(len(X)), 8)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: subject.score(members, X), range(8)):
            subject.require_equal(found, scores, "from four threads at once")
        cut = list(pool.map(lambda rows: subject.score(members, X[rows]), parts))
    subject.require_equal(np.concatenate(cut), scores, "cut over four threads")


def check_determinism(subject: Subject) -> None:
    """Equal seeds give bit-identical members."""
    again = subject.fit(subject.rows, "ordinary rows a second time")
    for first, second in zip(subject.members, again, strict=True):
        assert first.arrays.keys() == second.arrays.keys(), (
            f"{subject.name}: a second fit with the same seed gives arrays {sorted(second.arrays)} "
            f"instead of {sorted(first.arrays)}"
        )
        for name, array in first.arrays.items():
            assert array.tobytes() == second.arrays[name].tobytes(), (
                f"{subject.name}: array {name!r} differs after a second fit with the same seed "
                f"({subject.seed})"
            )
        assert first.normalisation == second.normalisation, (
            f"{subject.name}: the normalisation differs after a second fit with the same seed"
        )


def check_purity(subject: Subject) -> None:
    """Scoring changes neither rows nor arrays, takes read-only rows and any memory layout."""
    members, X = subject.members, subject.fresh.copy()
    before = [{key: array.copy() for key, array in m.arrays.items()} for m in members]
    writable = subject.score(members, X)
    assert np.array_equal(X, subject.fresh), f"{subject.name}: scoring changed the rows"
    subject.require_equal(writable, subject.scores, "as writable rows")
    subject.require_equal(
        subject.score(members, np.asfortranarray(X)), subject.scores, "column by column"
    )
    for member, arrays in zip(members, before, strict=True):
        for key, array in arrays.items():
            assert np.array_equal(member.arrays[key], array), (
                f"{subject.name}: scoring changed array {key!r}"
            )


def check_arrays_only(subject: Subject) -> None:
    """Members are plain numbers: nothing that a pickle would be needed for."""
    for member in subject.members:
        for name, array in member.arrays.items():
            assert array.dtype.kind in "biuf", (
                f"{subject.name}: array {name!r} is {array.dtype}; only booleans, integers and "
                "floats are stored"
            )


def check_save_and_load(subject: Subject) -> None:
    """A model folder gives back the same scores to the last bit, without pickles."""
    from pynomaly.testing.model_folders import model_of, with_expected_scores

    model = model_of(subject.members, subject.rows, subject.name, subject.seed)
    golden = with_expected_scores(subject.fresh, subject.scores)
    with tempfile.TemporaryDirectory() as work:
        folder, store = Path(work) / "model", model_folders()
        digest = store.save(model, golden, folder)
        loaded = store.load(folder, digest).members
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            for name in arrays.files:
                _ = arrays[name]  # raises where a pickle would be needed
    subject.require_equal(
        subject.score(loaded, subject.fresh), subject.scores, "after saving and loading"
    )


def check_refusal_of_missing_values(subject: Subject) -> None:
    """NaN and infinities are refused by fitting and scoring, never scored silently."""
    for value in (np.nan, np.inf, -np.inf):
        X = subject.fresh.copy()
        X[11, 2] = value
        assert subject.refuses_to_score(X), f"{subject.name}: a row with {value} is scored silently"
        assert subject.refuses_to_fit(X), f"{subject.name}: learns silently from a row with {value}"


def check_awkward_data(subject: Subject) -> None:
    """Whatever can be learned from gives finite scores, and what teaches nothing is refused."""
    for what, X in awkward_rows().items():
        members = subject.fit(X, what)
        d = X.shape[1]
        probes = {
            "the training rows": X,
            "one row": X[-1:],
            "zeros": np.zeros((1, d)),
            "very large values": np.full((1, d), BOUND),
            "very small values": np.full((1, d), -BOUND),
        }
        for probe, rows in probes.items():
            found = [(member.detector, subject.score([member], rows)) for member in members]
            for name, scores in [*found, ("together", subject.score(members, rows))]:
                assert np.isfinite(scores).all(), (
                    f"{subject.name}: fitted on {what}, {name} scores {probe} as "
                    f"{scores[~np.isfinite(scores)][0]}"
                )
    for what, X in without_variation().items():
        assert subject.refuses_to_fit(X), f"{subject.name}: learns from {what} without variation"


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_library_agreement,
    check_arrays_only,
    check_refusal_of_missing_values,
    check_purity,
    check_batches,
    check_threads,
    check_determinism,
    check_direction,
    check_save_and_load,
    check_awkward_data,
)
"""All of the contract, the quick checks first."""
