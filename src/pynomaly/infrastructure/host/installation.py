"""Whether Python and the libraries are those this version was made for."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pynomaly.domain.diagnosis import Check

__all__ = ["libraries", "python"]

DISTRIBUTION = "pynomaly-platform"

_TRAPS = {
    "sqlalchemy": "with 2.1 Prefect silently stops scheduling cron runs",
    "fastapi": "from 0.150 on Prefect's server fails at import",
}
"""Why a version is refused, where the package itself would let it in."""


def python() -> Iterator[Check]:
    """Look at the version of Python."""
    here = platform.python_version()
    wanted = metadata.metadata(DISTRIBUTION)["Requires-Python"]
    if SpecifierSet(wanted).contains(here, prereleases=True):
        yield Check("python", "ok", here)
    else:
        fix = "make a new environment with a Python in that range and install there"
        yield Check("python", "problem", f"{here}; {wanted} is needed", fix)


def libraries() -> Iterator[Check]:
    """Compare every library that is installed with what we declare.

    Those of extras need not be there; where they are, their version counts.
    """
    wrong, right = [], 0
    for text in metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(text)
        extra = requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})
        problem = _problem(requirement, optional=extra)
        if problem is None:
            right += 1
        else:
            wrong.append(problem)
    yield from wrong
    if not wrong:
        yield Check("libraries", "ok", f"{right} libraries in the versions we ask for")


def _problem(requirement: Requirement, *, optional: bool) -> Check | None:
    name = f"library {requirement.name}"
    fix = f"pip install '{requirement.name}{requirement.specifier}'"
    try:
        here = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return None if optional else Check(name, "problem", "not installed", fix)
    if requirement.specifier.contains(here, prereleases=True):
        return None
    why = _TRAPS.get(requirement.name, "")
    seen = f"{here}; {requirement.specifier} is needed{f': {why}' if why else ''}"
    return Check(name, "problem", seen, fix)
