"""Rollouts of simulated models, whose alerts come in bursts.

``python tests/simulated_rollouts.py`` prints the table of docs/how-to/release-a-model.md, in minutes.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.canaries import Comparison, Pairs, judge
from pynomaly.domain.rollouts import RolloutPolicy, plan_rollout
from pynomaly.domain.witnesses import GROUP_ROWS, evidence, grouped

ROLLOUT = plan_rollout(RolloutPolicy(), "5a17", to="production", first=False)
ROWS = 500
EQUAL, LIMIT, TRIPLE = (0.01, 0.01, 0.004), (0.02, 0.01, 0.006), (0.03, 0.01, 0.004)
"""Shares of rows that the challenger flags, that the champion does, and that both do."""


def followed(
    own: float,
    theirs: float,
    both: float,
    repetitions: int,
    seed: int,
    *,
    burst: int = 1,
    looks: int = 40,
) -> list[tuple[str, int]]:
    """Return verdicts of rollouts looked at after every 500 rows, and after how many rows.

    Args:
        own: Share of rows the challenger flags; ten times as many are strange to it.
        theirs: Share the champion flags, likewise.
        both: Share both flag, likewise.
        repetitions: Rollouts to simulate.
        seed: Of the simulation.
        burst: Rows in a row that one cause makes strange, in the eyes of the same models.
        looks: At most.
    """
    rng = np.random.default_rng(seed)
    shares = [both, own - both, theirs - both]
    outcomes = []
    for _ in range(repetitions):
        seen, verdict = Comparison(), "hold"
        alerts = _looked_at(rng, shares, burst, looks)
        tails = _looked_at(rng, [10 * share for share in shares], burst, looks)
        for few, many in zip(alerts, tails, strict=True):
            seen += Comparison(ROWS, 0, 0, few, many)
            verdict = judge(seen, ROLLOUT).verdict
            if verdict != "hold":
                break
        outcomes.append((verdict, seen.rows))
    return outcomes


def _looked_at(
    rng: np.random.Generator, shares: list[float], burst: int, looks: int
) -> Iterator[Pairs]:
    """Yield what every look sees of the rows of one kind."""
    for rows in _kinds(rng, shares, burst, looks):
        found = np.flatnonzero(rows)
        both, own, theirs = (rows[found] == kind for kind in (1, 2, 3))
        groups = grouped(found // GROUP_ROWS, both | own, both | theirs)
        counts = map(int, (both.sum(), own.sum(), theirs.sum()))
        yield Pairs(*counts, evidence(groups, ROLLOUT.max_ratio))


def _kinds(
    rng: np.random.Generator, shares: list[float], burst: int, looks: int
) -> NDArray[np.int64]:
    """Return what the rows of every look are, 0 where nobody singles them out; runs are alike."""
    count = looks * ROWS
    drawn = rng.choice(4, size=count // burst + 2, p=[1 - sum(shares), *shares])
    start = rng.integers(burst)
    return np.repeat(drawn, burst)[start : start + count].reshape(looks, ROWS)


def row(burst: int, repetitions: int) -> str:
    """Return the table's line about bursts of one length, over up to 100,000 rows."""
    equal, limit, triple = (
        followed(*shares, repetitions, seed=0, burst=burst, looks=200)
        for shares in (EQUAL, LIMIT, TRIPLE)
    )

    def share(outcomes: list[tuple[str, int]], wanted: str) -> str:
        return f"{100 * sum(verdict == wanted for verdict, _ in outcomes) / len(outcomes):.1f} %"

    def median(outcomes: list[tuple[str, int]]) -> str:
        return f"{statistics.median(rows for _, rows in outcomes):,.0f} rows"

    advanced = [outcome for outcome in equal if outcome[0] == "advance"]
    most = 2 * len(advanced) > len(equal)
    after = median(equal) if most else f"{share(equal, 'advance')} do"
    return (
        f"| {burst:,} row{'s'[: burst > 1]} | {share(equal, 'roll_back')} | "
        f"{after if advanced else 'none does'} | {share(limit, 'roll_back')} | "
        f"{share(limit, 'advance')} | {median(triple)} |"
    )


if __name__ == "__main__":
    print(
        "| alerts in runs of | equal models go back | equal models advance after | on the limit go "
        "back | on the limit advance | three times as many alerts go back after |\n"
        "| ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    for length in (1, 10, 50, 100, 200, 1_000):
        print(row(length, 200), flush=True)
