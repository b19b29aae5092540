"""Fitting, scoring and tuning detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.models import Member

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from pynomaly.domain.models import Model

__all__ = [
    "DetectorFitter",
    "Kernels",
    "LabelFitter",
    "ModelStore",
    "Trial",
    "Tuner",
    "TuningResult",
]

Floats = NDArray[np.float64]


class Kernels(Protocol):
    """Scores frozen detectors and compares rows: pure, thread-safe, batch-invariant."""

    def score(self, member: Member, X: Floats) -> Floats:
        """Return raw scores, higher = stranger.

        Args:
            member: A frozen detector.
            X: (n, d) encoded features without NaN or inf; fastest where columns are contiguous.

        Returns:
            (n,) float64; a row's score depends on that row alone.
        """

    def score_members(self, members: Sequence[Member], X: Floats) -> Floats:
        """Return raw scores (members, n), those of :meth:`score`; shared work is done once."""

    def nearest(
        self, X: Floats, references: Floats, spread: Floats, limit: float, count: int
    ) -> NDArray[np.int64]:
        """Return which reference rows are most similar to each row.

        Args:
            X: (n, d) finite.
            references: (m, d) finite.
            spread: (d,) > 0.
            limit: At most what one feature adds to the distance, the sum of |difference| / spread.
            count: From 1 to m.

        Returns:
            (n, count) positions, the nearest first; of equally near ones the first of all.
        """


class DetectorFitter(Protocol):
    """Fits detectors with PyOD / scikit-learn and freezes them to arrays."""

    def fit(
        self,
        detector: str,
        params: Mapping[str, Any],
        X: Floats,
        seed: int,
        floors: Floats | None = None,
    ) -> Member:
        """Fit, freeze, and check the frozen scores against the fitted detector.

        Args:
            detector: Name in the catalogue.
            params: Of the catalogue's search space; missing ones take defaults.
            X: (n, d) encoded features.
            seed: Equal seeds give bit-identical arrays.
            floors: (d,) smallest spread a feature may be scaled by (``Preprocessing.floors``);
                none where None.

        Raises:
            NotTrainableError: Too few rows for the parameters.
            IntegrityError: Frozen and fitted scores disagree.
        """

    def imitate(
        self,
        params: Mapping[str, Any],
        scores: Floats,
        X: Floats,
        seed: int,
        floors: Floats | None = None,
    ) -> tuple[Member, Floats]:
        """Fit a surrogate: trees that learn to tell a row's score from its features.

        Args:
            params: Of the catalogue's ``surrogate``; missing ones take defaults.
            scores: (n,) of the rows, by any detector or ensemble.
            X: (n, d) encoded features.
            seed: Equal seeds give bit-identical arrays.
            floors: As in :meth:`fit`.

        Returns:
            The frozen surrogate, and its normalised score of each row by the trees that did not
            see that row (n,).

        Raises:
            NotTrainableError: Too few rows.
            IntegrityError: Frozen and fitted scores disagree.
        """

    def library_versions(self) -> Mapping[str, str]:
        """Return the versions of everything that took part in fitting."""


class LabelFitter(Protocol):
    """Fits classifiers on labelled rows with scikit-learn and freezes them to arrays."""

    def fit(
        self,
        X: Floats,
        scores: Floats,
        labels: Floats,
        seed: int,
        *,
        floors: Floats | None = None,
        trees: int = 100,
    ) -> tuple[Member, ...]:
        """Fit, freeze, and check the frozen log-odds against the fitted classifiers.

        Args:
            X: (n, d) encoded features.
            scores: (n, k) normalised scores of the same rows by label-free members, and their mean.
            labels: (n,) 1 = anomaly, 0 = normal, NaN = unknown; a known anomaly and a row that is
                none are the least.
            seed: Equal seeds give bit-identical arrays.
            floors: (d,) smallest spread a feature may be scaled by; none where None.
            trees: In the forest.

        Returns:
            Parts of a head: their kernels read rows of ``[X, scores]`` and give log-odds.

        Raises:
            NotTrainableError: No known anomaly, or nothing to tell it from.
            IntegrityError: Frozen and fitted log-odds disagree.
        """


@dataclass(frozen=True, slots=True)
class Trial:
    """One tried configuration.

    Args:
        number: From 0; 0 is the incumbent.
        detector: Family.
        params: Its parameters.
        value: Objective, higher is better; None if it failed or was pruned.
        seconds: Wall time.
    """

    number: int
    detector: str
    params: Mapping[str, Any]
    value: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class TuningResult:
    """A finished study.

    Args:
        trials: In order.
        best: The winner.
    """

    trials: tuple[Trial, ...]
    best: Trial


class Tuner(Protocol):
    """Searches the catalogue's space."""

    def tune(
        self,
        study: str,
        detectors: Sequence[str],
        objective: Callable[[str, Mapping[str, Any]], float],
        *,
        trials: int,
        timeout_seconds: float | None,
        seed: int,
        on_trial: Callable[[Trial], None],
    ) -> TuningResult:
        """Run or resume the study called ``study``.

        Trial 0 is the first detector with default parameters: the incumbent.  Deterministic for
        a seed as long as the timeout does not strike.

        Args:
            study: Finished trials of an interrupted study of this name are kept.
            detectors: Families to try.
            objective: Of family and parameters; higher is better.
            trials: In total, resumed ones included.
            timeout_seconds: No further trial starts after this; trial 0 always runs.
            seed: Of the sampler.
            on_trial: Called after every trial.
        """


class ModelStore(Protocol):
    """Model folders: ``model.json arrays.npz golden.parquet MANIFEST.sha256`` (design §5)."""

    def save(self, model: Model, golden: pa.Table, folder: Path) -> str:
        """Write a new folder; returns the manifest digest (sha256 of MANIFEST.sha256).

        Args:
            model: What to write.
            golden: Input rows (schema columns) plus ``expected_score`` float64.
            folder: Must not exist.
        """

    def load(self, folder: Path, manifest_digest: str) -> Model:
        """Read a folder after checking every byte; executes nothing from it.

        Raises:
            IntegrityError: Digest mismatch, missing, extra or linked files, unknown format.
        """

    def golden(self, folder: Path, manifest_digest: str) -> pa.Table:
        """Read the golden rows after the same checks."""
