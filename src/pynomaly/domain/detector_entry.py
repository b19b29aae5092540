"""What the catalogue says of a detector, and where its parameters are searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Choice", "Detector", "FloatRange", "IntRange", "ParameterValue", "Space"]

ParameterValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values."""

    values: tuple[ParameterValue, ...]


@dataclass(frozen=True, slots=True)
class IntRange:
    """A whole number from ``low`` to ``high``, both included."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True, slots=True)
class FloatRange:
    """A number from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False


Space = Choice | IntRange | FloatRange


@dataclass(frozen=True, slots=True)
class Detector:
    """One entry of the catalogue.

    Args:
        name: As configuration and frozen members spell it.
        title: For people.
        finds: What kind of anomaly it is good at.
        defaults: Every parameter with its default.
        space: Parameters worth tuning; defaults lie inside.
        fit_cost: How expensive fitting is and what it grows with.
        score_cost: How expensive scoring a row is and what it grows with.
        reference: Paper the method comes from.
        tolerance: Largest relative deviation of frozen scores from those of ``equals``.
        equals: What they are compared with.
        family: Whether a pipeline may name it.
        searched: Whether tuning tries it unless the pipeline names other families.
        certified: Whether it freezes to arrays and passes the contract suite.
    """

    name: str
    title: str
    finds: str
    fit_cost: str
    score_cost: str
    reference: str
    tolerance: float
    equals: str
    defaults: Mapping[str, ParameterValue] = field(default_factory=dict)
    space: Mapping[str, Space] = field(default_factory=dict)
    family: bool = True
    searched: bool = True
    certified: bool = True
