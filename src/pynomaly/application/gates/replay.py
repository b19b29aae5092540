"""What would have been different: recent batches scored again by champion and challenger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.gates.alerts import per_day, silent
from pynomaly.application.gates.contender import Contender
from pynomaly.application.gates.recent import Recent, RecentBatch
from pynomaly.application.row_scorer import RowScorer
from pynomaly.domain.decision import Line, draw_line
from pynomaly.domain.evaluation import ratio_interval, share_lower_bound
from pynomaly.domain.gates import GateResult
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline
from pynomaly.domain.scores import p_values

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["replay"]

Floats = NDArray[np.float64]

SHOWN = 20
"""Alerts that appear, and that disappear, kept with their reasons; the strangest."""


@dataclass(frozen=True, slots=True)
class _Scored:
    """A batch in the eyes of one model."""

    contender: Contender
    line: Line
    scores: Floats
    flags: NDArray[np.bool_]

    @classmethod
    def by(cls, contender: Contender, rows: pa.Table, decision: DecisionPolicy) -> _Scored:
        scores = contender.score(rows)
        line = draw_line(decision, contender.model.calibration, [scores])
        return cls(contender, line, scores, line.flags(scores))

    def p(self, row: int) -> float:
        scores = self.scores[row : row + 1]
        return float(p_values(self.contender.model.calibration, scores)[0])


@dataclass(frozen=True, slots=True)
class _Replayed:
    """A batch in the eyes of both."""

    recent: RecentBatch
    own: _Scored
    theirs: _Scored

    def alerts(self, keys: Iterable[str], *, new: bool) -> list[tuple[float, dict[str, object]]]:
        """Return the strangest alerts that only one of them raises, with the score behind each."""
        by, other = (self.own, self.theirs) if new else (self.theirs, self.own)
        only = np.flatnonzero(by.flags & ~other.flags)
        chosen = only[np.argsort(-by.scores[only], kind="stable")][:SHOWN]
        if not len(chosen):
            return []
        rows = self.recent.rows.take(chosen)
        scorer = RowScorer(by.contender.model, by.line, by.contender.kernels)
        told = scorer.reasons(rows, by.scores[chosen])
        ids = rows.select(list(keys)).to_pylist()
        return [
            (
                float(by.scores[row]),
                {
                    "batch": self.recent.batch.id,
                    "ids": {name: str(value) for name, value in who.items()},
                    "challenger_p_value": self.own.p(row),
                    "champion_p_value": self.theirs.p(row),
                    "reasons": [reason.sentence for reason in why],
                },
            )
            for row, who, why in zip(chosen.tolist(), ids, told, strict=True)
        ]

    @property
    def facts(self) -> dict[str, object]:
        batch = self.recent.batch
        return {
            "batch": batch.id,
            "data": batch.snapshot_uri,
            "scored_at": batch.scored_at.isoformat(),
            "rows": len(self.recent.rows),
            "rows_scored": batch.rows_scored,
            "champion_alerts": int(self.theirs.flags.sum()),
            "challenger_alerts": int(self.own.flags.sum()),
            "same_alerts": int((self.own.flags & self.theirs.flags).sum()),
        }


def replay(
    challenger: Contender,
    champion: Contender,
    recent: Recent,
    pipeline: Pipeline,
    serving: DecisionPolicy,
) -> GateResult:
    """Show which alerts of recent batches would appear and disappear, and the reviewers' load.

    The champion flags rows by the policy it serves with, the challenger by the pipeline's: a change
    of the policy alone shows as well.

    It is advice: two good models share about half of their alerts, so it asks for review where
    certainly less than ``replay_kept_review`` of the champion's alerts stay, or certainly more or
    fewer alerts are raised by the factor ``alert_rate_review``.  What cannot be read again is told
    and not judged.  The result's details hold every batch, and the strangest alerts of either kind
    with reasons.
    """
    policy = pipeline.release
    unread = f" Not replayed: {'; '.join(recent.unread)}." if recent.unread else ""
    batches, mute = [], ""
    for batch in recent.read:
        n = len(batch.rows)
        why = silent(challenger, n, pipeline.decision) or silent(champion, n, serving)
        if why:
            mute = mute or why
        elif n:
            batches.append(batch)
    if not batches and mute:
        return _nothing(f"Nothing to compare: {mute}")
    if mute:
        unread += f" Some batches are not compared: {mute}"
    if not batches:
        return _nothing(
            f"No scored batch can be replayed.{unread}"
            if recent.unread
            else "No scored batch is on record that could be replayed."
            if policy.replay_batches
            else "Replay is switched off (release.replay_batches)."
        )
    replayed = [
        _Replayed(
            batch,
            _Scored.by(challenger, batch.rows, pipeline.decision),
            _Scored.by(champion, batch.rows, serving),
        )
        for batch in batches
    ]
    rows = sum(len(batch.rows) for batch in batches)
    own = sum(int(r.own.flags.sum()) for r in replayed)
    theirs = sum(int(r.theirs.flags.sum()) for r in replayed)
    same = sum(int((r.own.flags & r.theirs.flags).sum()) for r in replayed)
    kept = same / theirs if theirs else None
    most = None if kept is None else 1 - share_lower_bound(1 - kept, theirs)
    _, low, high = ratio_interval(own, theirs)
    factor = policy.alert_rate_review
    asks = (most is not None and most < policy.replay_kept_review) or (
        low > factor or high < 1 / factor
    )
    keys = pipeline.keys
    return GateResult(
        "replay", "review" if asks else "pass", kept, most, policy.replay_kept_review, rows,
        f"On {rows:,} rows of {_batches(len(batches))} the champion raises {theirs:,} alerts and the "
        f"challenger {own:,}: {own - same:,} appear, {theirs - same:,} disappear, {same:,} stay. "
        f"{_load(own, theirs, rows, recent)}{unread}",
        {
            "batches": [r.facts for r in replayed],
            "appear": _strangest(pair for r in replayed for pair in r.alerts(keys, new=True)),
            "disappear": _strangest(pair for r in replayed for pair in r.alerts(keys, new=False)),
        },
    )  # fmt: skip


def _nothing(sentence: str) -> GateResult:
    return GateResult("replay", "pass", None, None, None, 0, sentence)


def _batches(count: int) -> str:
    return "the batch scored last" if count == 1 else f"the {count} batches scored last"


def _strangest(alerts: Iterable[tuple[float, dict[str, object]]]) -> list[Mapping[str, object]]:
    found = sorted(alerts, key=lambda pair: -pair[0])
    return [alert for _, alert in found[:SHOWN]]


def _load(own: int, theirs: int, rows: int, recent: Recent) -> str:
    """Say what that means for the people who look at alerts."""
    rate = per_day(recent.scored, [batch.rows_scored for batch in recent.scored])
    if rate is None:
        return f"For reviewers: {1_000 * own / rows:.3g} alerts in 1,000 rows instead of {1_000 * theirs / rows:.3g}."
    return (
        f"For reviewers: about {rate * own / rows:,.3g} alerts a day instead of "
        f"{rate * theirs / rows:,.3g}."
    )
