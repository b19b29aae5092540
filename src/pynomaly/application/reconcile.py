"""Bring the registry into line with our release table."""

from __future__ import annotations

from dataclasses import dataclass

from pynomaly.application.ports.records import Records
from pynomaly.application.ports.registry import ModelRegistry

__all__ = ["ReconcileAliases"]


@dataclass(frozen=True, slots=True)
class ReconcileAliases:
    """Make the registry's aliases say what the release table decided; safe to repeat."""

    records: Records
    registry: ModelRegistry

    def __call__(self, pipeline: str) -> tuple[str, ...]:
        """Return the aliases that had to be moved."""
        production = self.records.production(pipeline)
        if production is None:
            return ()
        wanted = {"production": production.version, "previous": production.champion}
        moved = []
        for alias, version in wanted.items():
            if version is not None and self.registry.alias(pipeline, alias) != version:
                self.registry.set_alias(pipeline, alias, version)
                moved.append(alias)
        return tuple(moved)
