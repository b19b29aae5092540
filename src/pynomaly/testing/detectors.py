"""The contract of detectors, for those we ship and for those of other packages.

:func:`check_detector` runs all checks; each can be run alone on a :class:`Subject`.  A violation is
an ``AssertionError`` that names the detector, what broke and how.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.adapters import detector_fitter, detector_kernels, model_folders
from pynomaly.application.ensemble import fit_detector
from pynomaly.application.ports.learning import DetectorFitter, Kernels
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.detectors import detector as catalogued
from pynomaly.domain.errors import PynomalyError
from pynomaly.domain.extensions import DetectorExtension, provided
from pynomaly.domain.models import Member
from pynomaly.testing.detector_rows import BOUND, awkward_rows, ordinary_rows, without_variation

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

Floats = NDArray[np.float64]

_COMPARED = 0.5  # of ordinary rows; a library that is sure of fewer proves nothing
_COPIES = 100  # so many of the fresh rows are more than one thread's share


class Subject:
    """A detector under check; its ordinary fit is shared by all checks.

    Args:
        name: In the catalogue.
        params: Missing ones take defaults.
        seed: Of every fit.
        kernels: Score it.
        fitter: Fits it on any data.
        strict_fitter: Fits it on ordinary data and holds it to the stated tolerance on most rows.
    """

    def __init__(
        self,
        name: str,
        params: Mapping[str, Any],
        seed: int,
        kernels: Kernels,
        fitter: DetectorFitter,
        strict_fitter: DetectorFitter,
    ) -> None:
        self.name = name
        self.params = params
        self.seed = seed
        self.kernels = kernels
        self._fitter = fitter
        self._strict_fitter = strict_fitter
        self.rows = ordinary_rows()
        self.fresh = ordinary_rows(97, seed=9)
        for shared in (self.rows, self.fresh):
            shared.flags.writeable = False

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """Fitted on :attr:`rows`, within the stated tolerance."""
        return self.fit(self.rows, "ordinary rows", strict=True)

    @cached_property
    def scores(self) -> Floats:
        """Of :attr:`fresh`, in one batch."""
        return self.score(self.members, self.fresh)

    def fit(self, X: Floats, what: str, *, strict: bool = False) -> tuple[Member, ...]:
        """Return members fitted on ``X``; ``what`` describes it in a failure's message."""
        try:
            return self._fit(X, self._strict_fitter if strict else self._fitter)
        except Exception as error:
            raise AssertionError(f"{self.name}: fitting {what} failed: {error}") from error

    def refuses_to_fit(self, X: Floats) -> bool:
        """Return whether fitting ``X`` is refused."""
        try:
            self._fit(X, self._fitter)
        except PynomalyError:
            return True
        return False

    def score(self, members: Sequence[Member], X: Floats) -> Floats:
        """Return (n,) scores: raw ones of a single detector, combined ones of an ensemble."""
        try:
            if len(members) == 1:
                return self.kernels.score(members[0], X)
            return score_members(members, X, self.kernels)
        except Exception as error:
            raise AssertionError(f"{self.name}: scoring {len(X)} rows failed: {error}") from error

    def refuses_to_score(self, X: Floats) -> bool:
        """Return whether the kernels refuse these rows."""
        try:
            self.kernels.score(self.members[0], X)
        except PynomalyError:
            return True
        return False

    def require_equal(self, found: Floats, expected: Floats, how: str) -> None:
        """Fail unless scores are equal to the last bit."""
        assert found.shape == expected.shape, (
            f"{self.name}: {how}: {found.shape} scores instead of {expected.shape}"
        )
        different = np.argwhere(found != expected)
        if len(different):
            first = tuple(different[0])
            raise AssertionError(
                f"{self.name}: {how}: {len(different)} of {found.size} scores differ, first that "
                f"of row {first[-1]}: {found[first]!r} instead of {expected[first]!r}"
            )

    def _fit(self, X: Floats, fitter: DetectorFitter) -> tuple[Member, ...]:
        return fit_detector(
            self.name, self.params, X, fitter=fitter, kernels=self.kernels, seed=self.seed
        )


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
