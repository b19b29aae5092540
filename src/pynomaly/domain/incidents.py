"""Alerts that belong together, until people have said what they are.

Nothing of this is stored: incidents follow from the scores in force and from the verdicts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pynomaly.domain.verdicts import Said

__all__ = ["APART", "Alert", "Incident", "IncidentState", "group"]

APART = 5
"""Alerts with fewer rows than this between them belong together."""

IncidentState = Literal["open", "confirmed", "dismissed"]


@dataclass(frozen=True, slots=True)
class Alert:
    """A flagged row in force.

    Args:
        row: Digest that calls the row; None where its source can no longer be read and nothing
            else calls it.
        ids: The pipeline's keys.
        source: File, object or table it was scored from.
        position: Of the row among the scored ones of its source, from 0.
        score: Higher = stranger.
        p_value: Conformal.
        severity: 0–100.
        reasons: Sentences, the weightiest first.
        model_version: That flagged it.
        scored_at: UTC.
        said: The verdict that stands, None without.
    """

    row: str | None
    ids: Mapping[str, str]
    source: str
    position: int
    score: float
    p_value: float
    severity: float
    reasons: tuple[str, ...]
    model_version: int
    scored_at: datetime
    said: Said | None


@dataclass(frozen=True, slots=True)
class Incident:
    """Neighbouring alerts of one source.

    Args:
        id: 12 hex digits; the same as long as its first alert stays the first.
        alerts: In order of the rows, at least one.
    """

    id: str
    alerts: tuple[Alert, ...]

    @property
    def source(self) -> str:
        """File, object or table."""
        return self.alerts[0].source

    @property
    def state(self) -> IncidentState:
        """``open`` while an alert waits for a verdict; else whether any is an anomaly."""
        if any(alert.said is None for alert in self.alerts):
            return "open"
        return "confirmed" if any(a.said == "anomaly" for a in self.alerts) else "dismissed"

    @property
    def strangest(self) -> Alert:
        """The alert with the smallest p-value; of equal ones the first."""
        return min(self.alerts, key=lambda alert: alert.p_value)


def group(alerts: Sequence[Alert]) -> tuple[Incident, ...]:
    """Return the incidents of one source.

    Args:
        alerts: All of them, ascending by position.

    Returns:
        In order of the rows; alerts are of one incident as long as fewer than :data:`APART` other
        rows lie between each and the next.
    """
    runs: list[list[Alert]] = []
    for alert in alerts:
        if runs and alert.position - runs[-1][-1].position <= APART:
            runs[-1].append(alert)
        else:
            runs.append([alert])
    return tuple(Incident(_name(run[0]), tuple(run)) for run in runs)


def _name(first: Alert) -> str:
    text = "\0".join(_parts(first))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _parts(alert: Alert) -> Iterable[str]:
    yield alert.source
    for name, value in alert.ids.items():
        yield f"{name}={value}"
