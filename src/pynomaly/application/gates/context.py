"""What every gate may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pynomaly.application.gates.contender import Contender
from pynomaly.application.gates.recent import Recent
from pynomaly.application.judgements import Judgements
from pynomaly.domain.gates import GateResult
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline
from pynomaly.domain.quality import ValidationReport

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Gate", "GateContext"]


@dataclass(frozen=True, slots=True)
class GateContext:
    """A challenger in the ring.

    Args:
        pipeline: Its release policy holds the thresholds, its decision policy flags rows.
        challenger: As the registry holds it, verified.
        champion: What serves; None for a first release.
        serving: The decision policy it flags rows with; the pipeline's where nothing serves.
        holdout: Conformed rows of the challenger's snapshot that it was not fitted on.
        golden: Rows with the scores the challenger must reproduce.
        report: Of the validation of its training snapshot; None if there is none on record.
        fingerprint: Content digest of its training snapshot.
        model_bytes: Size of its folder.
        recent: What production scored last.
        trained_at: When training of the challenger began; what was said later it could not know.
        judgements: What people said about rows, and which wait for it.
    """

    pipeline: Pipeline
    challenger: Contender
    champion: Contender | None
    serving: DecisionPolicy
    holdout: pa.Table
    golden: pa.Table
    report: ValidationReport | None
    fingerprint: str
    model_bytes: int
    recent: Recent
    trained_at: datetime
    judgements: Judgements


Gate = Callable[[GateContext], GateResult]
"""Judges a challenger: what entry points of the group ``pynomaly.gates`` resolve to."""
