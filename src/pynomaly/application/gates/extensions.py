"""Gates that teams bring along, by entry points of the group ``pynomaly.gates``.

An entry point resolves to a callable of :class:`~pynomaly.application.gates.context.GateContext`
that returns a :class:`~pynomaly.domain.gates.GateResult`; its name is the gate's.  A gate that
cannot be loaded or raises blocks: what a team demands is not waived because it broke.  So does one
that is named like another, of which otherwise only one would count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from pynomaly.application.gates.context import GateContext
from pynomaly.domain.gates import GateResult

__all__ = ["GROUP", "team_gates"]

GROUP = "pynomaly.gates"
"""The entry-point group."""


def team_gates(context: GateContext, taken: Collection[str]) -> tuple[GateResult, ...]:
    """Ask every gate that an installed package declares, in order of their names.

    Args:
        context: What they may look at.
        taken: Names of the platform's own gates; nobody can stand in for those.
    """
    names = Counter(point.name for point in _declared())
    twice = {name for name, times in names.items() if times > 1}
    return tuple(_asked(point, context, taken, twice) for point in _declared())


def _asked(
    point: EntryPoint, context: GateContext, taken: Collection[str], twice: Collection[str]
) -> GateResult:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
    whose = f"The gate {point.name!r} of {package}"
    if point.name in taken or point.name in twice:
        like = "one of ours" if point.name in taken else "that of another package"
        return _broken(f"{package}: {point.name}", f"{whose} is named like {like}; rename it.")
    try:
        found = point.load()(context)
        if isinstance(found, GateResult):
            json.dumps(asdict(found))  # what cannot be kept must not fail the release later
    except Exception as error:  # noqa: BLE001 - whatever it is, it is theirs and blocks
        return _broken(point.name, f"{whose} failed: {type(error).__name__}: {error}")
    if not isinstance(found, GateResult):
        return _broken(
            point.name, f"{whose} returned {type(found).__name__} instead of a GateResult."
        )
    # Only a person overrides, and the name is the one it was installed under.
    return replace(found, gate=point.name, override=None)


def _broken(gate: str, sentence: str) -> GateResult:
    return GateResult(gate, "block", None, None, None, 0, sentence)


@cache
def _declared() -> tuple[EntryPoint, ...]:
    return tuple(sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)))
