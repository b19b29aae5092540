"""How a new release takes over from the one that serves, step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["Rollout", "RolloutPolicy", "Stage", "Strategy", "Unit", "plan_rollout"]

Strategy = Literal["canary", "blue_green", "rolling", "direct"]
Stage = Literal["staging", "production"]
Unit = Literal["row", "partition"]


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """How releases of a pipeline take over, and who has to agree.

    Args:
        strategy: ``canary`` answers a growing share of rows with the challenger; ``blue_green``
            has both score everything and switches at once; ``rolling`` moves partitions over one
            group at a time; ``direct`` switches as soon as the gates let it.
        shadow: Begin with a stage in which the challenger scores silently.
        canary_shares: Of rows answered by the challenger, step by step, each in (0, 1), ascending;
            after the last it serves alone.
        rolling_groups: Into how many groups ``rolling`` divides partitions.
        split_by: Column whose value decides who answers a row (a customer, a device), and which
            rows are one witness; the pipeline's id columns, and neighbouring rows, where None.
        max_ratio: Challenger and champion may differ by this factor in how many rows they flag;
            see :mod:`~pynomaly.domain.canaries`.
        alpha: Probability that a step rolls an acceptable challenger back, or lets one pass that
            exceeds ``max_ratio``.
        approval: Whether a person has to approve before the challenger answers rows.  Gates that
            ask for review need one in any case.
        four_eyes: Whether the approver must be somebody else than who trained and who proposed.
        approval_hours: An approval is void after this long.
    """

    strategy: Strategy = "canary"
    shadow: bool = False
    canary_shares: tuple[float, ...] = (0.05, 0.10, 0.25, 0.50)
    rolling_groups: int = 4
    split_by: str | None = None
    max_ratio: float = 2.0
    alpha: float = 0.05
    approval: Literal["none", "required"] = "none"
    four_eyes: bool = False
    approval_hours: float = 24.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """The steps one release goes through; written once, when its gates ran.

    Args:
        strategy: Of the policy then in force.
        shares: Of units the challenger answers at each step; 0 is silent scoring.  After the last
            step it serves alone.
        unit: What is answered by one model as a whole.
        salt: Hex; decides which units come first, anew for each release.
        split_by: Column that identifies a row for the split; the id columns where None.
        max_ratio: See :class:`RolloutPolicy`.
        alpha: Likewise.
        first: Step it begins with; those before were taken while it was only to be staged.
    """

    strategy: Strategy
    shares: tuple[float, ...]
    unit: Unit
    salt: str
    split_by: str | None
    max_ratio: float
    alpha: float
    first: int = 0

    def after(self, staged: Rollout) -> Rollout:
        """Return these steps for a release that was staged before: what was seen there stays apart.

        Silent scoring was its first step, and counts where these begin with it and ask the same.

        Args:
            staged: How it was staged.
        """
        same = (self.max_ratio, self.split_by) == (staged.max_ratio, staged.split_by)
        if same and self.shares[:1] == (0.0,):
            return self
        return replace(self, shares=(0.0, *self.shares), first=1)


def plan_rollout(policy: RolloutPolicy, salt: str, *, to: Stage, first: bool) -> Rollout:
    """Return the steps of a release.

    Args:
        policy: Of the pipeline.
        salt: Hex, new for every release.
        to: ``staging`` stops after silent scoring.
        first: Whether nothing serves yet; there is nobody to compare with then.

    >>> plan_rollout(RolloutPolicy(shadow=True), "00", to="production", first=False).shares
    (0.0, 0.05, 0.1, 0.25, 0.5)
    """
    groups = policy.rolling_groups
    steps: dict[Strategy, tuple[float, ...]] = {
        "canary": policy.canary_shares,
        "blue_green": (0.0,),
        "rolling": tuple(group / groups for group in range(1, groups)),
        "direct": (),
    }
    shares = () if first else steps[policy.strategy]
    if policy.shadow and not first and shares[:1] != (0.0,):
        shares = (0.0, *shares)
    return Rollout(
        strategy="direct" if first else policy.strategy,  # there is nothing to split with
        shares=(0.0,) if to == "staging" else shares,
        unit="partition" if policy.strategy == "rolling" and not first else "row",
        salt=salt,
        split_by=policy.split_by,
        max_ratio=policy.max_ratio,
        alpha=policy.alpha,
    )
