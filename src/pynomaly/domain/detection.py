"""What detecting anomalies in one table, without any configuration, comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pynomaly.domain.models import Model
from pynomaly.domain.profiles import Profile
from pynomaly.domain.scores import Reason
from pynomaly.domain.trust import Trust

__all__ = ["ColumnUse", "Detection", "Refusal", "StrangeRow", "ToLabel"]

Use = Literal["numeric", "categorical", "boolean", "datetime", "id", "label", "dropped"]


@dataclass(frozen=True, slots=True)
class ColumnUse:
    """What was decided about one column.

    Args:
        name: Of the column.
        use: What it serves as; ``dropped`` columns are not looked at.
        why: One sentence.
        notes: Warnings for people.
    """

    name: str
    use: Use
    why: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StrangeRow:
    """One of the strangest rows.

    Args:
        ids: Its id columns, or ``row_id``.
        score: Higher is stranger.
        p_value: How often an ordinary row scores at least as high.
        severity: 0–100.
        is_anomaly: Whether the alert budget flags it.
        reasons: Why, the strongest first.
        time: When it happened, ISO 8601; None where no time column was named or it is missing.
    """

    ids: Mapping[str, str]
    score: float
    p_value: float
    severity: float
    is_anomaly: bool
    reasons: tuple[Reason, ...]
    time: str | None = None


@dataclass(frozen=True, slots=True)
class ToLabel:
    """A row of which it would help most to know what it is.

    Args:
        ids: Its id columns, or ``row_id``.
        because: ``top`` – it leads the ranking; ``disputed`` – models fitted on two halves of
            the data disagree about it most.
        ranks: Its rank among the judged rows in the eyes of either half, 1 = strangest; None for
            rows that were not among them.
    """

    ids: Mapping[str, str]
    because: Literal["top", "disputed"]
    ranks: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that could not be read.

    Args:
        row_id: ``"<file>#<row>"``, or ``"<file>:<line>"`` of a line that is no row.
        reason: Column, what was found and what was expected.
    """

    row_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Detection:
    """The result.

    Args:
        source: What was read.
        profile: Of its rows.
        columns: What was decided about every column, in source order.
        rows: Read; ``rows == scored + quarantined``.
        scored: Rows with a score.
        quarantined: Rows that could not be read.
        flagged: Rows whose p-value is within the alert budget.
        alert_budget: Share of ordinary rows that may be flagged.
        budget: ``quick``, ``default`` or ``thorough``.
        detector: Family that scored them.
        certified: Whether that is a certified one.
        params: Its parameters.
        chosen_by: How it was chosen.
        trials: Configurations that were tried; 0 where nothing was tuned.
        fitted_rows: Rows it was fitted on.
        calibration_rows: Rows behind the p-values.
        ranked_among_own_rows: Whether those are the rows the model was fitted on, so that a p-value
            is a rank among them; else none was scored by a model that had seen it.
        known_labels: ``(anomalies, normal rows)`` among the rows that were learnt from.
        trust: How far to trust the ranking.
        top: The strangest rows, strangest first.
        to_label: Rows to look at and label first.
        refusals: The first of the quarantined rows.
        seconds: Wall time by stage: ``read``, ``fit`` (tuning and calibration included), ``score``.
        model: What scored the rows, to be used again.
    """

    source: str
    profile: Profile
    columns: tuple[ColumnUse, ...]
    rows: int
    scored: int
    quarantined: int
    flagged: int
    alert_budget: float
    budget: str
    detector: str
    certified: bool
    params: Mapping[str, Any]
    chosen_by: str
    trials: int
    fitted_rows: int
    calibration_rows: int
    ranked_among_own_rows: bool
    known_labels: tuple[int, int]
    trust: Trust
    top: tuple[StrangeRow, ...]
    to_label: tuple[ToLabel, ...]
    refusals: tuple[Refusal, ...]
    seconds: Mapping[str, float]
    model: Model
