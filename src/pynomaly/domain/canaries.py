"""Whether a challenger that answers rows beside the champion may go on: anytime-valid tests.

Both models score the same rows, so what is compared is paired: rows that both flag, that only the
one flags, and that only the other does.  The tests are looked at after every batch and stay valid
however often that is.

Rows of one group are one witness; :mod:`~pynomaly.domain.witnesses` has the mathematics.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pynomaly.domain.rollouts import Rollout
from pynomaly.domain.witnesses import NO_EVIDENCE, Evidence, certainty

__all__ = [
    "TAIL",
    "Comparison",
    "Finding",
    "Observation",
    "Pairs",
    "judge",
    "together",
]

TAIL = 0.1
"""Rows with a p-value up to this are "strange": ten times as many as a usual alert budget, so that
a change in the distribution of scores shows before it shows in alerts."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """How often two models agree that a row is strange, and what that proves.

    Args:
        both: Rows that both single out.
        challenger: Rows that only the challenger does.
        champion: Rows that only the champion does.
        evidence: About the ratio the rollout allows; none of observations written before rows were
            taken in groups.
    """

    both: int = 0
    challenger: int = 0
    champion: int = 0
    evidence: Evidence = NO_EVIDENCE

    def __add__(self, other: Pairs) -> Pairs:
        """Return both counts together."""
        return Pairs(
            self.both + other.both,
            self.challenger + other.challenger,
            self.champion + other.champion,
            self.evidence + other.evidence,
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Challenger and champion on the same rows.

    Args:
        rows: Scored by both.
        answered: Of them by the challenger.
        errors: Rows the challenger could not score; the champion answered them.
        alerts: Rows flagged.
        tail: Rows with a p-value up to :data:`TAIL`.
        failure: Why it failed first; empty where it did not.
    """

    rows: int = 0
    answered: int = 0
    errors: int = 0
    alerts: Pairs = Pairs()
    tail: Pairs = Pairs()
    failure: str = ""

    def __add__(self, other: Comparison) -> Comparison:
        """Return both together."""
        return Comparison(
            self.rows + other.rows,
            self.answered + other.answered,
            self.errors + other.errors,
            self.alerts + other.alerts,
            self.tail + other.tail,
            self.failure or other.failure,
        )


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one release in one step.

    Args:
        release_id: Of which release.
        step: Of its rollout.
        seen: On the same rows.
    """

    release_id: str
    step: int
    seen: Comparison


def together(comparisons: Iterable[Comparison]) -> Comparison:
    """Return the sum of comparisons of different rows."""
    return sum(comparisons, Comparison())


@dataclass(frozen=True, slots=True)
class Finding:
    """What a step of a rollout should do next.

    Args:
        verdict: ``advance``, ``hold`` or ``roll_back``.
        sentence: Why, for a person.
    """

    verdict: Literal["advance", "hold", "roll_back"]
    sentence: str


def judge(seen: Comparison, rollout: Rollout) -> Finding:
    """Decide a step from everything seen in it.

    Rolls back when the challenger failed on a row, or certainly singles out more than
    ``max_ratio`` times or less than 1/``max_ratio`` of what the champion does, among alerts or
    among strange rows.  Advances when both are certainly within; holds otherwise.

    Args:
        seen: Of all batches in this step.
        rollout: With ``max_ratio`` and ``alpha``.
    """
    if seen.errors:
        why = f": {seen.failure.rstrip('.')}" if seen.failure else ""
        return Finding(
            "roll_back",
            f"The challenger could not score {seen.errors:,} of {seen.rows:,} rows{why}.",
        )
    ratio, told = rollout.max_ratio, []
    # Two looks at two sides: each may be wrong with a quarter of alpha, per step.
    steps = max(1, len(rollout.shares))
    certain = math.log(4 * steps / rollout.alpha)
    proven = True
    for what, pairs in (("flags", seen.alerts), ("finds strange", seen.tail)):
        own, theirs = pairs.both + pairs.challenger, pairs.both + pairs.champion
        told.append(f"{what} {own:,} (the champion {theirs:,})")
        found = pairs.evidence
        for logs, factor in (
            (found.more, f"more than {ratio:g} times"),
            (found.fewer, f"less than 1/{ratio:g} of"),
        ):
            if certainty(logs) >= certain:
                return Finding(
                    "roll_back",
                    f"Of {seen.rows:,} rows the challenger {told[-1]}: certainly {factor} as many.",
                )
        proven &= certainty(found.not_more) >= certain and certainty(found.not_fewer) >= certain
    summary = f"Of {seen.rows:,} rows the challenger {' and '.join(told)}"
    if proven:
        return Finding("advance", f"{summary}: certainly within {ratio:g} times either way.")
    groups = min(seen.alerts.evidence.groups, seen.tail.evidence.groups)
    return Finding(
        "hold",
        f"{summary}: not yet certain, by {groups:,} groups of rows, to be within {ratio:g} times "
        "either way.",
    )
