"""Release gates: what each saw, what it demands, and how verdicts combine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["GateResult", "Verdict", "combine"]

Verdict = Literal["pass", "review", "block", "inconclusive"]


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's verdict with the numbers behind it.

    Args:
        gate: Its name.
        verdict: Pass, review, block or inconclusive.
        observed: The statistic; None where the gate is not numeric.
        bound: Confidence bound that was compared; None where there is none.
        threshold: What it was compared with; None where there is none.
        n: Rows (or pairs) it rests on.
        sentence: The same for a person.
    """

    gate: str
    verdict: Verdict
    observed: float | None
    bound: float | None
    threshold: float | None
    n: int
    sentence: str


def combine(results: Iterable[GateResult], *, allow_inconclusive: bool = False) -> Verdict:
    """Return the verdict of a whole release.

    Any block blocks.  Otherwise any inconclusive gate makes the release inconclusive, unless the
    policy allows it; otherwise any review asks for review; otherwise it passes.

    Args:
        results: Every gate's result.
        allow_inconclusive: Whether the release policy lets inconclusive gates through.

    >>> combine([GateResult("a", "pass", None, None, None, 1, ""),
    ...          GateResult("b", "review", None, None, None, 1, "")])
    'review'
    """
    verdicts = {result.verdict for result in results}
    if "block" in verdicts:
        return "block"
    if "inconclusive" in verdicts and not allow_inconclusive:
        return "inconclusive"
    return "review" if "review" in verdicts else "pass"
