"""Let a gated release serve: our table first, then the registry's aliases follow."""

from __future__ import annotations

from dataclasses import dataclass

from pynomaly.application.gate import require_passed
from pynomaly.application.ports.records import Records
from pynomaly.application.ports.registry import ModelRegistry
from pynomaly.application.reconcile import ReconcileAliases
from pynomaly.domain.errors import UsageError
from pynomaly.domain.releases import Release

__all__ = ["PromoteRelease"]


@dataclass(frozen=True, slots=True)
class PromoteRelease:
    """Promote a release whose gates let it through."""

    records: Records
    registry: ModelRegistry
    reconcile: ReconcileAliases

    def __call__(self, release_id: str, *, accept_review: bool = False) -> Release:
        """Promote and return the stored release.

        Args:
            release_id: Of a gated release.
            accept_review: Whether a person accepts gates that ask for review; the run's record
                says who.

        Raises:
            ReleaseBlockedError: A gate is in the way.
            ApprovalPendingError: A gate asks for review and nobody accepted.
            ConflictError: Another release was promoted since the gates ran.
        """
        release = self.records.release(release_id)
        if release is None:
            raise UsageError(f"there is no release {release_id}")
        require_passed(release, accept_review=accept_review)
        promoted = self.records.promote(release)
        self.reconcile(release.pipeline)
        self.registry.tag(
            release.pipeline,
            release.version,
            {
                "release": release.id,
                "release_verdict": release.verdict,
                **{f"gate.{gate.gate}": gate.verdict for gate in release.gates},
            },
        )
        return promoted
