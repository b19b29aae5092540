"""A detector under check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.ensemble import fit_detector
from pynomaly.application.ports.learning import DetectorFitter, Kernels
from pynomaly.application.scoring_rows import score_members
from pynomaly.domain.errors import PynomalyError
from pynomaly.domain.models import Member
from pynomaly.testing.detector_rows import ordinary_rows

__all__ = ["Subject"]

Floats = NDArray[np.float64]


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
