"""A fitted model as plain data: tables, arrays and numbers, nothing that can execute.

Scoring a row is: encode it with :class:`Preprocessing` into float64 features, score those with
every :class:`Member`, put each on a common scale with :class:`Normalisation`, and take the
weighted mean.
Where labels taught something, a :class:`Head` adds it.  Higher is stranger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.datasets import Schema
from pynomaly.domain.encodings import Encoding, NumericEncoding

__all__ = [
    "Calibration",
    "Head",
    "Imputation",
    "Member",
    "Model",
    "ModelCard",
    "Normalisation",
    "Preprocessing",
    "Seen",
]

Floats = NDArray[np.float64]

_INDICATOR_FLOOR = 0.7


@dataclass(frozen=True, slots=True)
class Imputation:
    """How numbers that are missing are told from a row's other features.

    Args:
        center: (n_features,) medians of the features.
        spread: (n_features,) their spreads.
        means: (n_features,) means of the features, asinh-scaled by those two.
        targets: (k,) int64, the numbers that have a missing indicator, which is the next feature.
        telling: (k, t) int64, the features each is told from, then -1; none where the median does.
        covariances: (k, t + 1, t + 1) of those scaled features; the last one is the number itself.
    """

    center: Floats
    spread: Floats
    means: Floats
    targets: NDArray[np.int64]
    telling: NDArray[np.int64]
    covariances: Floats


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From a table to a float64 matrix, fitted once.

    Args:
        encodings: One per source column, in order.
        features: Names of the matrix columns.
        owners: For each matrix column, the index of its encoding.
        references: (n_references, n_features) encoded training rows to compare a strange row with.
        imputation: Of missing numbers; None where the median has to do.
    """

    encodings: tuple[Encoding, ...]
    features: tuple[str, ...]
    owners: tuple[int, ...]
    references: Floats
    imputation: Imputation | None = None

    @property
    def floors(self) -> Floats:
        """(n_features,) smallest spread a detector may scale each feature by.

        Rarities, missing indicators and times of day come in natural units.  Scaled by their own
        spread, a level or flag that few rows have would outweigh every number.  What stands in for
        a missing number is ordinary, so the indicator counts a little more: else a row of which
        most is missing would be the most ordinary of all.
        """
        floors = np.ones(len(self.owners))
        first = np.searchsorted(self.owners, np.arange(len(self.encodings)))
        for i, encoding in zip(first, self.encodings, strict=True):
            if isinstance(encoding, NumericEncoding):
                floors[i] = 0.0
                if encoding.missing_indicator:
                    floors[i + 1] = _INDICATOR_FLOOR
        return floors


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Common scale, from training scores: ``(asinh((s - median) / spread) - mean) / std``."""

    median: float
    spread: float
    mean: float
    std: float


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Member:
    """One frozen detector.

    Args:
        detector: Name in the catalogue, e.g. ``iforest``.
        params: What it was fitted with.
        arrays: Everything its kernel needs, feature scaling included.
        normalisation: Of its raw scores.
        weight: In the mean of an ensemble, above 0.
    """

    detector: str
    params: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    normalisation: Normalisation
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Head:
    """What labels teach on top of the label-free score.

    A row's score is the log-odds that each part gives it, plus ``weight`` × its label-free score, of
    which what exceeds ``ordinary`` counts in full: labels of some kinds of anomalies must not hide a
    blatant one of another kind.  Parts read the row's features, then its normalised score by every
    member, then their mean.

    Args:
        parts: Frozen classifiers, at least one; their raw scores are log-odds, not normalised.
        weight: Of the label-free score; the fewer labels and the weaker their evidence, the larger.
        ordinary: What 99 % of the label-free scores of training rows stay below, and 99 % of those of
            rows known to be normal, but for one more.
    """

    parts: tuple[Member, ...]
    weight: float
    ordinary: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Held-out scores that turn a score into a conformal p-value.

    Args:
        scores: (n,) ascending scores of rows the members were not fitted on.
    """

    scores: Floats


@dataclass(frozen=True, slots=True)
class Seen:
    """Which rows shaped a model, each by the first 64 bits of the digest that calls it.

    Args:
        fitted: (n,) uint64 ascending; rows that what is ordinary was learnt from.
        taught: (k,) uint64 ascending; rows whose verdict or label a head could learn from.
    """

    fitted: NDArray[np.uint64]
    taught: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a person or an auditor asks about a model first.

    Args:
        pipeline: Which job.
        run_id: Which run of ours fitted it.
        detector: Winning configuration's family.
        params: Its parameters.
        training_fingerprint: Content digest of the training snapshot.
        training_rows: Rows fitted on.
        seed: Of everything random.
        library_versions: Package → version, of what fitted it.
        labels: What labels did for the model and why, for people; empty where there are none.
        configuration: The pipeline's, with every default, as it was in force; JSON-able.
        revision: Of what ran: ``pynomaly`` (its version), ``pynomaly_revision`` and
            ``project_revision`` as far as they could be told.
        trials: Tuning table: ``number detector params value`` of each, value None where it failed.
        verdicts: How many rows verdicts and open alerts concerned, by what became of them; empty
            where there were none.
        holdout_digest: sha256 (hex) of the rows that were held out for the gates; empty where none
            were, or before it was kept.
    """

    pipeline: str
    run_id: str
    detector: str
    params: Mapping[str, Any]
    training_fingerprint: str
    training_rows: int
    seed: int
    library_versions: Mapping[str, str]
    labels: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    revision: Mapping[str, str] = field(default_factory=dict)
    trials: tuple[Mapping[str, Any], ...] = ()
    verdicts: Mapping[str, int] = field(default_factory=dict)
    holdout_digest: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """Everything needed to score rows of one pipeline.

    Args:
        card: Provenance.
        schema: Feature columns a table must have, with kinds.
        preprocessing: Encoder.
        members: At least one.
        calibration: For p-values.
        head: What labels taught; None where the score is label-free.
        seen: Which rows it was made of; None where it was trained before that was kept.
    """

    card: ModelCard
    schema: Schema
    preprocessing: Preprocessing
    members: tuple[Member, ...]
    calibration: Calibration
    head: Head | None = None
    seen: Seen | None = None
