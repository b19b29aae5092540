"""Release gates: what each saw, what it demands, how verdicts combine, and who may override one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from pynomaly.domain.errors import UsageError
from pynomaly.domain.runs import Actor

__all__ = [
    "INTEGRITY_GATES",
    "GateResult",
    "Override",
    "OverridingRole",
    "Verdict",
    "combine",
    "overridden",
]

Verdict = Literal["pass", "review", "block", "inconclusive"]
OverridingRole = Literal["approver", "admin"]

INTEGRITY_GATES = frozenset(
    {"data_validated", "certified", "schema_declared", "golden_rows", "batch_invariant"}
)
"""Say that something is not what it claims to be, or could not run.  No reason makes that
acceptable, so nobody can override them; neither can anybody override bytes that differ from what was registered, which end
the command before any gate is asked."""


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody's decision to let a release go on in spite of one gate; dated as the release is.

    Args:
        gate: Which gate.
        actor: Who decided.
        role: In which role; embedded, the local user has all of them.
        reason: Why, in the actor's words.

    Raises:
        UsageError: That gate cannot be overridden, not in that role, or not without a reason.
    """

    gate: str
    actor: Actor
    role: OverridingRole
    reason: str

    def __post_init__(self) -> None:
        """Refuse what nobody may override, and overriding without right or reason."""
        if self.gate in INTEGRITY_GATES:
            raise UsageError(
                f"gate {self.gate} cannot be overridden: it guards integrity",
                hint="mend what it found and train or register again",
            )
        if self.role not in get_args(OverridingRole):
            raise UsageError(
                f"{self.actor.name} cannot override gate {self.gate} as {self.role!r}",
                hint=f"it takes the role {' or '.join(get_args(OverridingRole))}",
            )
        if not self.reason.strip():
            raise UsageError(
                f"overriding gate {self.gate} takes a reason",
                hint="say why the release is right in spite of it; the reason stays on record",
            )


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
        details: Further JSON-able facts for people and evidence, a few hundred lines at most.
        override: Who let the release go on in spite of it; the verdict stays what it was.

    Raises:
        ValueError: There is no such verdict; one that is misspelt must not count as none.
    """

    gate: str
    verdict: Verdict
    observed: float | None
    bound: float | None
    threshold: float | None
    n: int
    sentence: str
    details: Mapping[str, object] = field(default_factory=dict)
    override: Override | None = None

    def __post_init__(self) -> None:
        """Refuse what :func:`combine` would not know."""
        if self.verdict not in get_args(Verdict):
            raise ValueError(
                f"gate {self.gate} says {self.verdict!r}; a verdict is one of "
                f"{', '.join(get_args(Verdict))}"
            )


def overridden(
    results: Iterable[GateResult], overrides: Iterable[Override]
) -> tuple[GateResult, ...]:
    """Return the results with overrides attached, so that they stay with the evidence.

    Args:
        results: Every gate's result.
        overrides: Of gates that block or could not decide.

    Raises:
        UsageError: There is no such result, or it is not in the way.
    """
    found = {result.gate: result for result in results}
    for override in overrides:
        result = found.get(override.gate)
        if result is None or result.verdict not in ("block", "inconclusive"):
            says = "did not run" if result is None else f"says {result.verdict}"
            standing = ", ".join(
                name for name, r in found.items() if r.verdict in ("block", "inconclusive")
            )
            raise UsageError(
                f"gate {override.gate} {says}: there is nothing to override",
                hint=f"in the way: {standing}" if standing else "no gate blocks or is inconclusive",
            )
        found[override.gate] = replace(result, override=override)
    return tuple(found.values())


def combine(results: Iterable[GateResult], *, allow_inconclusive: bool = False) -> Verdict:
    """Return the verdict of a whole release.

    Overridden gates do not count.  Of the others any block blocks; else any inconclusive gate makes
    the release inconclusive, unless the policy allows it; else any review asks for review; else it
    passes.

    Args:
        results: Every gate's result, overrides attached.
        allow_inconclusive: Whether the release policy lets inconclusive gates through.

    >>> combine([GateResult("a", "pass", None, None, None, 1, ""),
    ...          GateResult("b", "review", None, None, None, 1, "")])
    'review'
    """
    verdicts = {result.verdict for result in results if result.override is None}
    if "block" in verdicts:
        return "block"
    if "inconclusive" in verdicts and not allow_inconclusive:
        return "inconclusive"
    return "review" if "review" in verdicts else "pass"
