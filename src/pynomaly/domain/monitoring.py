"""What monitoring says about a scored batch: findings with numbers, a sentence and a level.

A finding needs two things at once: a difference that chance does not explain, and one that
matters.  Large batches make any difference certain, small ones make large differences common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pynomaly.domain.drift import Shift
from pynomaly.domain.proportions import calibrated_share_p, same_share_p, share_interval

__all__ = [
    "COMPARISONS",
    "DRIFT_CHANCE",
    "WATCH_CHANCE",
    "Finding",
    "Level",
    "Monitoring",
    "Share",
    "judge_alerts_against_budget",
    "judge_alerts_against_earlier",
    "judge_quarantine",
    "judge_shift",
    "judge_warnings",
]

Level = Literal["ok", "watch", "drift"]

WATCH_CHANCE = 0.05
"""At most this share of runs over unchanged data says ``watch`` (or worse) by chance."""
DRIFT_CHANCE = 0.01
"""At most this share of runs over unchanged data says ``drift`` by chance."""
COMPARISONS = 5
"""Tests of one run that share these chances evenly (Bonferroni)."""

# A small and a large change.  Alert rates: the bounds of the release gate on alert volume.
_RATIO_WATCH, _RATIO_DRIFT, _RATIO_DRIFT_LOW = 2.0, 3.0, 0.25
_PSI_WATCH, _PSI_DRIFT = 0.1, 0.25  # Siddiqi (2006)


@dataclass(frozen=True, slots=True)
class Share:
    """Rows that have something, among all.

    Args:
        count: Rows that have it.
        n: All rows.
    """

    count: int
    n: int

    @property
    def value(self) -> float:
        """0–1; 0 where there is no row."""
        return self.count / self.n if self.n else 0.0

    @property
    def text(self) -> str:
        """Return it for people, with its exact 95 % interval.

        >>> Share(3, 100).text
        '3.00 % of 100 rows (95 % interval 0.62–8.52 %)'
        """
        low, high = share_interval(self.count, self.n)
        return (
            f"{_percent(self.value)} of {self.n:,} rows "
            f"(95 % interval {100 * low:.2f}–{_percent(high)})"
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison and what it means.

    Args:
        check: What was compared.
        level: ``ok``, ``watch`` (look at it) or ``drift`` (the model or its line no longer fit).
        observed: The statistic.
        expected: What it was compared with; None where there is none.
        p: Two-sided p-value; None where nothing was tested.
        n: Rows it rests on.
        sentence: The same for a person.
    """

    check: str
    level: Level
    observed: float | None
    expected: float | None
    p: float | None
    n: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Monitoring:
    """Everything monitoring found about one scored batch.

    Args:
        batch_id: Of the batch.
        source: What was scored.
        scored_at: UTC.
        model_version: That scored it.
        policy_version: That flagged it.
        rows: Scored by that version.
        flagged: Alerts among them.
        earlier: Earlier batches of the same model and policy whose scores were compared with.
        reasons: The columns that explain most alerts, with how many; the most frequent first.
        findings: Every comparison that could be made.
        notes: What was not compared, and why.
    """

    batch_id: str
    source: str
    scored_at: datetime
    model_version: int
    policy_version: str
    rows: int
    flagged: int
    earlier: int
    reasons: tuple[tuple[str, int], ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def level(self) -> Level:
        """Return the worst level of all findings."""
        return worst([finding.level for finding in self.findings])


def worst(levels: Sequence[Level]) -> Level:
    """Return the worst of some levels.

    >>> worst(["ok", "drift", "watch"]), worst([])
    ('drift', 'ok')
    """
    order: tuple[Level, ...] = ("ok", "watch", "drift")
    return max(levels, key=order.index, default="ok")


def judge_alerts_against_budget(
    alerts: Share, budget: float, above: int, n_calibration: int
) -> Finding:
    """Compare an alert rate with what the model was calibrated to.

    Args:
        alerts: Of the batch.
        budget: Of the decision policy, 0–1.
        above: Calibration rows above the alert line.
        n_calibration: Calibration rows.
    """
    p = calibrated_share_p(alerts.count, alerts.n, above, n_calibration)
    promised = (above + 1) / (n_calibration + 1)
    ratio = alerts.value / promised
    level = _level(p, _ratio_level(ratio))
    sentence = (
        f"{alerts.text} were flagged, {ratio:.1f} times the {_percent(promised)} that the line "
        f"promises at a budget of {_percent(budget)}"
    )
    return Finding("alerts_budget", level, alerts.value, promised, p, alerts.n, sentence)


def judge_alerts_against_earlier(alerts: Share, earlier: Share) -> Finding:
    """Compare an alert rate with that of earlier batches.

    Args:
        alerts: Of the batch.
        earlier: Of all earlier batches together.
    """
    p = same_share_p(alerts.count, alerts.n, earlier.count, earlier.n)
    level = _level(p, _ratio_level(_ratio(alerts, earlier)))
    sentence = (
        f"{alerts.text} were flagged, in earlier batches "
        f"{_percent(earlier.value)} of {earlier.n:,} rows"
    )
    return Finding("alerts_earlier", level, alerts.value, earlier.value, p, alerts.n, sentence)


def judge_shift(check: str, found: Shift, rows: int, against: str) -> Finding:
    """Say what a shift of scores means.

    Args:
        check: Name of the comparison.
        found: The shift.
        rows: Of the batch.
        against: What the scores were compared with, for people.
    """
    size: Level = "ok"
    if found.psi >= _PSI_WATCH:
        size = "drift" if found.psi >= _PSI_DRIFT else "watch"
    level = _level(found.p, size)
    how = "" if level == "ok" else f"rows look {'stranger' if found.stranger else 'tamer'}; "
    sentence = (
        f"scores of {rows:,} rows against {against}: {how}PSI {found.psi:.3f}, largest difference "
        f"of the distributions {_percent(found.distance)} (p {_chance(found.p)})"
    )
    return Finding(check, level, found.psi, 0.0, found.p, rows, sentence)


def judge_quarantine(refused: Share, allowed: float, earlier: Share | None) -> Finding:
    """Judge the share of rows that validation refused; never worse than ``watch``.

    Refused rows are a matter for whoever delivers them: training again would not help.

    Args:
        refused: Of the batch.
        allowed: Largest share with which a batch goes on, 0–1.
        earlier: Of all earlier batches together; None without any.
    """
    p = expected = None
    level: Level = "ok"
    sentence = f"{refused.text} were quarantined, allowed are {_percent(allowed)}"
    if refused.count and refused.value >= allowed / 2:
        level = "watch"
    if earlier is not None:
        p, expected = (
            same_share_p(refused.count, refused.n, earlier.count, earlier.n),
            earlier.value,
        )
        sentence += f"; in earlier batches {_percent(earlier.value)} of {earlier.n:,}"
        if p <= WATCH_CHANCE / COMPARISONS and _ratio(refused, earlier) >= _RATIO_WATCH:
            level = "watch"
    return Finding("quarantine", level, refused.value, expected, p, refused.n, sentence)


def judge_warnings(failed: Sequence[str], expectations: int, rows: int) -> Finding:
    """Judge expectations that failed without refusing the batch; at most ``watch``.

    Args:
        failed: Column, expectation, observed and allowed of each, for people.
        expectations: That were checked.
        rows: Of the batch.
    """
    sentence = f"{expectations} expectations hold"
    if failed:
        shown = "; ".join(failed[:3]) + (f"; and {len(failed) - 3} more" if failed[3:] else "")
        sentence = f"{len(failed)} of {expectations} expectations failed: {shown}"
    return Finding(
        "validation", "watch" if failed else "ok", float(len(failed)), 0.0, None, rows, sentence
    )


def _ratio(one: Share, other: Share) -> float:
    """Return how many times as large a share is; half a row is added to each count."""
    return ((one.count + 0.5) / (one.n + 1)) / ((other.count + 0.5) / (other.n + 1))


def _ratio_level(ratio: float) -> Level:
    if ratio > _RATIO_DRIFT or ratio < _RATIO_DRIFT_LOW:
        return "drift"
    return "watch" if not 1 / _RATIO_WATCH <= ratio <= _RATIO_WATCH else "ok"


def _level(p: float, size: Level) -> Level:
    """Return the level that both the chance and the size of a difference allow."""
    chance: Level = "ok"
    if p <= WATCH_CHANCE / COMPARISONS:
        chance = "drift" if p <= DRIFT_CHANCE / COMPARISONS else "watch"
    order: tuple[Level, ...] = ("ok", "watch", "drift")
    return min(chance, size, key=order.index)


def _chance(p: float) -> str:
    """Return a p-value for people.

    >>> _chance(0.034567), _chance(1e-30)
    ('= 0.035', '< 1e-06')
    """
    return f"= {p:.2g}" if p >= 1e-6 else "< 1e-06"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
