"""Look at everything the platform stands on, whatever of it is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pynomaly.domain.diagnosis import Check
from pynomaly.domain.errors import PynomalyError

__all__ = ["Probe", "diagnose"]

Probe = Callable[[], Iterable[Check]]
"""Looks, changes nothing, and comes back within seconds."""


def diagnose(probes: Mapping[str, Probe]) -> tuple[Check, ...]:
    """Return what all probes saw; one that fails is a problem and stops none of the others.

    Args:
        probes: By name of what they look at.
    """
    return tuple(check for name, probe in probes.items() for check in _looked(name, probe))


def _looked(name: str, probe: Probe) -> list[Check]:
    found: list[Check] = []
    try:
        # One by one: what a probe saw before it failed counts.
        for check in probe():
            found.append(check)  # noqa: PERF402
    except PynomalyError as error:
        found.append(Check(name, "problem", error.message, error.hint))
    except Exception as error:  # noqa: BLE001  whatever it is, the other checks go on
        said = str(error).strip().splitlines()
        what = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
        found.append(Check(name, "problem", f"could not be looked at: {what}"))
    return found
