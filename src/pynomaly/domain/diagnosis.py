"""What a look at an installation found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "Status", "worst"]

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Args:
        name: What.
        status: ``problem`` is something that will fail, ``warning`` something that may.
        seen: What is there.
        fix: What to do about it; None where nothing has to be done.
    """

    name: str
    status: Status
    seen: str
    fix: str | None = None


def worst(checks: Iterable[Check]) -> Status:
    """Return the worst status; ``ok`` of nothing.

    >>> worst([Check("disk", "ok", "9 GiB free"), Check("clock", "warning", "7 s ahead")])
    'warning'
    """
    order: tuple[Status, ...] = ("ok", "warning", "problem")
    return max((check.status for check in checks), key=order.index, default="ok")
