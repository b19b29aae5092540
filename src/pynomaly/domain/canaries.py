"""Whether a challenger that answers rows beside the champion may go on: anytime-valid tests.

Both models score the same rows, so what is compared is paired: rows that both flag, that only the
one flags, and that only the other does.  The tests are looked at after every batch and stay valid
however often that is.

They hold for rows of which each, whatever came before it, is singled out by the one model at most so
many times as often as by the other.  Rows that one cause makes strange together, and rows that are
counted twice, are fewer witnesses than they seem: the tests then err more often than they say, towards
going back rather than advancing (docs/how-to/release-a-model.md has numbers).

Source: testing by betting, Waudby-Smith & Ramdas, "Estimating means of bounded random variables by
betting", JRSS-B 86 (2024); a mixture over fixed bets, Ville's inequality.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pynomaly.domain.rollouts import Rollout

__all__ = [
    "TAIL",
    "Comparison",
    "Finding",
    "Observation",
    "Pairs",
    "excess_evidence",
    "judge",
    "together",
]

TAIL = 0.1
"""Rows with a p-value up to this are "strange": ten times as many as a usual alert budget, so that
a change in the distribution of scores shows before it shows in alerts."""

_BETS = (0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Shares of the largest bet that cannot lose everything at once."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """How often two models agree that a row is strange.

    Args:
        both: Rows that both single out.
        challenger: Rows that only the challenger does.
        champion: Rows that only the champion does.
    """

    both: int = 0
    challenger: int = 0
    champion: int = 0

    def __add__(self, other: Pairs) -> Pairs:
        """Return both counts together."""
        return Pairs(
            self.both + other.both,
            self.challenger + other.challenger,
            self.champion + other.champion,
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
    """

    rows: int = 0
    answered: int = 0
    errors: int = 0
    alerts: Pairs = Pairs()
    tail: Pairs = Pairs()

    def __add__(self, other: Comparison) -> Comparison:
        """Return both together."""
        return Comparison(
            self.rows + other.rows,
            self.answered + other.answered,
            self.errors + other.errors,
            self.alerts + other.alerts,
            self.tail + other.tail,
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


def excess_evidence(more: int, less: int, both: int, ratio: float) -> float:
    """Return the log of an e-value against "the first singles out at most ``ratio`` × the second".

    Per row, x = (first singles it out) − ratio · (second does) has a mean of at most 0 under that
    hypothesis, so Π(1 + λx) is a supermartingale for every bet λ in [0, 1/ratio); the mean over
    fixed bets is one too, and exceeds 1/α at any time with probability at most α.

    Args:
        more: Rows only the first singles out.
        less: Rows only the second does.
        both: Rows both do.
        ratio: Positive.

    >>> excess_evidence(60, 10, 40, 1.0) > math.log(1 / 0.01)
    True
    >>> excess_evidence(30, 30, 40, 1.0) < 0
    True
    """
    logs = []
    for share in _BETS:
        bet = share / max(ratio, ratio - 1, 1e-9)
        logs.append(
            more * math.log1p(bet)
            + less * math.log1p(-bet * ratio)
            + both * math.log1p(bet * (1 - ratio))
        )
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs) / len(logs))


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
        return Finding(
            "roll_back", f"The challenger could not score {seen.errors:,} of {seen.rows:,} rows."
        )
    ratio, told = rollout.max_ratio, []
    # Two looks at two sides: each may be wrong with a quarter of alpha, per step.
    steps = max(1, len(rollout.shares))
    certain = math.log(4 * steps / rollout.alpha)
    proven = True
    for what, pairs in (("flags", seen.alerts), ("finds strange", seen.tail)):
        own, theirs = pairs.both + pairs.challenger, pairs.both + pairs.champion
        told.append(f"{what} {own:,} (the champion {theirs:,})")
        for side, more, less in (
            ("more than", pairs.challenger, pairs.champion),
            ("less than 1/", pairs.champion, pairs.challenger),
        ):
            if excess_evidence(more, less, pairs.both, ratio) >= certain:
                factor = f"{side} {ratio:g} times" if "more" in side else f"{side}{ratio:g} of"
                return Finding(
                    "roll_back",
                    f"Of {seen.rows:,} rows the challenger {told[-1]}: certainly {factor} as many.",
                )
            # Within on this side: the other one certainly has more than 1/ratio of it.
            proven &= excess_evidence(less, more, pairs.both, 1 / ratio) >= certain
    summary = f"Of {seen.rows:,} rows the challenger {' and '.join(told)}"
    if proven:
        return Finding("advance", f"{summary}: certainly within {ratio:g} times either way.")
    return Finding("hold", f"{summary}: not yet certain to be within {ratio:g} times either way.")
