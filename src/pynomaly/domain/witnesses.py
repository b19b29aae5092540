"""What rows that two models single out prove about them, when one cause makes many rows strange at once.

Rows that one cause makes strange together are one witness, not many.  Rows are therefore taken in groups:
:data:`GROUP_ROWS` consecutive ones, or all of one customer or device.  A group in which a model singles
out a row bets once, by the shares of its singled-out rows that both models, only the challenger or only
the champion found.  Nothing is assumed about rows within a group.

Source: testing by betting, Waudby-Smith & Ramdas, "Estimating means of bounded random variables by
betting", JRSS-B 86 (2024); a mixture over fixed bets, Ville's inequality.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROUP_ROWS", "NO_EVIDENCE", "Evidence", "certainty", "evidence", "grouped"]

GROUP_ROWS = 100
"""Consecutive rows that count as one witness.  Half as many would see a bad challenger in half of the
rows, but lets bursts of 200 rows take 3 to 6 % of acceptable challengers back; an acceptable one needs
about as long either way, for alerts are rare."""

_BETS = np.array((0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95))
"""Shares of the largest bet that cannot lose everything at once."""

_NOTHING = (0.0,) * len(_BETS)

Logs = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What groups of rows prove about how often one model singles rows out, compared with another.

    Each hypothesis that is betted against has a log-wealth for every fixed bet; those of different
    rows are added.

    Args:
        groups: In which either model singled out a row.
        more: Against "the challenger at most ``ratio`` times as often as the champion".
        not_more: Against "at least ``ratio`` times as often".
        fewer: Against "the champion at most ``ratio`` times as often as the challenger".
        not_fewer: Against "at least ``ratio`` times as often".
    """

    groups: int = 0
    more: Logs = _NOTHING
    not_more: Logs = _NOTHING
    fewer: Logs = _NOTHING
    not_fewer: Logs = _NOTHING

    def __add__(self, other: Evidence) -> Evidence:
        """Return both together; they must be about the same ratio."""
        return Evidence(
            self.groups + other.groups,
            _sum(self.more, other.more),
            _sum(self.not_more, other.not_more),
            _sum(self.fewer, other.fewer),
            _sum(self.not_fewer, other.not_fewer),
        )


NO_EVIDENCE = Evidence()
"""Of no rows."""


def grouped(
    groups: NDArray[np.int64], challenger: NDArray[np.bool_], champion: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return what each group has to say.

    Args:
        groups: (n,) to which group a row belongs; only rows that a model singled out.
        challenger: (n,) whether the challenger did.
        champion: (n,) whether the champion did.

    Returns:
        (g, 3) shares of a group's rows that both, only the challenger, only the champion singled out.

    >>> grouped(np.array([7, 7, 9]), np.array([True, True, False]), np.array([True, False, True]))
    array([[0.5, 0.5, 0. ],
           [0. , 0. , 1. ]])
    """
    _, group = np.unique(groups, return_inverse=True)
    kinds = np.column_stack(
        [challenger & champion, challenger & ~champion, champion & ~challenger]
    ).astype(np.float64)
    counts = np.zeros((int(group.max(initial=-1)) + 1, 3))
    np.add.at(counts, group, kinds)
    shares: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return shares


def evidence(shares: NDArray[np.float64], ratio: float) -> Evidence:
    """Return what groups prove, each being one witness.

    With x = (share the challenger singles out) − ratio · (share the champion does), the mean of x is
    at most 0, whatever came before, if the challenger singles out at most ``ratio`` times as much.
    Then Π(1 + λx) over groups is a supermartingale for every λ in [0, 1/ratio]; the mean over fixed
    bets is one too, and exceeds 1/α at any time with probability at most α.  Likewise for the other
    three hypotheses.

    Args:
        shares: (g, 3) of :func:`grouped`.
        ratio: At least 1.

    >>> one_sided = evidence(np.array([[0.0, 1.0, 0.0]] * 20), ratio=2.0)
    >>> certainty(one_sided.more) > 0 > certainty(one_sided.not_more)
    True
    """
    both, challenger, champion = shares.T
    over = both + challenger - ratio * (both + champion)
    under = both + champion - ratio * (both + challenger)
    return Evidence(
        len(shares),
        _wealth(over / ratio),
        _wealth(-over),
        _wealth(under / ratio),
        _wealth(-under),
    )


def certainty(logs: Logs) -> float:
    """Return the log of an e-value: of the mean wealth over all bets."""
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs) / len(logs))


def _wealth(gains: NDArray[np.float64]) -> Logs:
    """Return the log-wealth of every bet on gains of at least -1."""
    return tuple(np.log1p(np.outer(_BETS, gains)).sum(axis=1).tolist())


def _sum(one: Logs, other: Logs) -> Logs:
    return tuple(a + b for a, b in zip(one, other, strict=True))
