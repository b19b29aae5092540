"""Bring the registry into line with our release table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pynomaly.application.ports.records import Records
from pynomaly.application.ports.registry import ModelRegistry
from pynomaly.domain.errors import PynomalyError
from pynomaly.domain.releases import Release

__all__ = ["ALIASES", "ReconcileRegistry", "Reconciled"]

_DESCRIBED = 10
"""Releases that the page of a model tells about."""

ALIASES = ("candidate", "staging", "canary", "production", "previous")


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was found and mended.

    Args:
        moved: Alias → where it points now; None where it was removed.
        missing: Versions that our table needs and the registry has lost.
        problem: Why the registry could not be asked, or changed; it lags behind until it can.
    """

    moved: Mapping[str, int | None] = field(default_factory=dict)
    missing: tuple[int, ...] = ()
    problem: str | None = None

    @property
    def in_line(self) -> bool:
        """Whether the registry said what the table says all along."""
        return not (self.moved or self.missing or self.problem)


@dataclass(frozen=True, slots=True)
class ReconcileRegistry:
    """Make the registry's aliases and tags say what the release table decided; safe to repeat."""

    records: Records
    registry: ModelRegistry

    def __call__(self, pipeline: str) -> Reconciled:
        """Move aliases, tag versions, and report versions that somebody deleted.

        Nothing is decided here: an alias that somebody moved is moved back.  A registry that does
        not answer is reported, because what was decided holds without it.
        """
        try:
            return self._follow(pipeline)
        except PynomalyError as error:
            return Reconciled(problem=error.message)

    def _follow(self, pipeline: str) -> Reconciled:
        releases = self.records.releases(pipeline, _DESCRIBED)
        if not releases:
            return Reconciled()
        wanted = self._wanted(pipeline)
        present = self.registry.aliases(pipeline)
        moved: dict[str, int | None] = {}
        missing: set[int] = set()
        for alias, release in wanted.items():
            version = release.version if release else None
            if version is not None and not self.registry.holds(pipeline, version):
                missing.add(version)
                continue
            holder = present.get(alias)
            if holder == version:
                continue
            if holder is not None:
                self._tag(pipeline, holder)  # first: once it has no alias nothing reminds of it
            if release is None:
                self.registry.remove_alias(pipeline, alias)
            else:
                self._tag(pipeline, release.version, release)
                self.registry.set_alias(pipeline, alias, release.version)
            moved[alias] = version
        if any(self.registry.holds(pipeline, release.version) for release in releases):
            runs = {v.version: v.tracking_run_id for v in self.records.versions(pipeline)}
            self.registry.describe(pipeline, releases, runs)
        return Reconciled(moved, tuple(sorted(missing)))

    def _tag(self, pipeline: str, version: int, release: Release | None = None) -> None:
        """Say of a version where it stands, by a release of it; by its newest where None.

        What serves says so, also while another decision policy for it is on its way.
        """
        serving = self.records.production(pipeline)
        if serving and serving.version == version:
            release = serving
        if release is None:
            releases = self.records.releases(pipeline, 1_000_000)
            release = next((release for release in releases if release.version == version), None)
        if release and self.registry.holds(pipeline, version):
            self.registry.tag(pipeline, version, _tags(release))

    def _wanted(self, pipeline: str) -> dict[str, Release | None]:
        """Return the release each alias is to point at."""
        wanted: dict[str, Release | None] = dict.fromkeys(ALIASES)
        wanted["production"] = production = self.records.production(pipeline)
        if production and production.replaced:
            before = self.records.release(production.replaced)
            wanted["previous"] = before if before and before.state == "superseded" else None
        if active := self.records.on_its_way(pipeline):
            alias = "candidate" if active.state == "pending_approval" else active.state
            wanted[alias] = active
        return wanted


def _tags(release: Release) -> dict[str, str]:
    return {
        "release": release.id,
        "release_state": release.state,
        "release_verdict": release.verdict,
        **{f"gate.{gate.gate}": gate.verdict for gate in release.gates},
    }
