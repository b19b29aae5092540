"""Promotion decides in our table first; the registry's aliases follow, also after a crash."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pynomaly.application.promote import PromoteRelease
from pynomaly.application.reconcile import ReconcileAliases
from pynomaly.domain.errors import ConflictError, ReleaseBlockedError, UsageError
from pynomaly.domain.gates import GateResult
from pynomaly.domain.releases import ModelVersion, Release
from pynomaly.domain.runs import Actor, Run
from pynomaly.testing import InMemoryRecords, InMemoryRegistry

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class AliasRegistry(InMemoryRegistry):
    """A registry whose versions exist without folders; dies before moving an alias if told to."""

    dies = False

    def set_alias(self, pipeline: str, alias: str, version: int) -> None:
        if self.dies:
            raise KeyboardInterrupt
        self.aliases[pipeline, alias] = version

    def tag(self, pipeline: str, version: int, tags: Mapping[str, str]) -> None:
        self.tags.setdefault((pipeline, version), {}).update(tags)


@pytest.fixture
def records() -> InMemoryRecords:
    records = InMemoryRecords()
    records.start_run(Run("run", "p", "run", "direct", Actor("me"), "running", NOW))
    for number in (1, 2):
        records.add_version(ModelVersion("p", number, "u", "d", "run", "t", "f", "h", NOW))
    return records


@pytest.fixture
def registry(tmp_path: Path) -> AliasRegistry:
    return AliasRegistry(tmp_path)


@pytest.fixture
def promote(records: InMemoryRecords, registry: AliasRegistry) -> PromoteRelease:
    return PromoteRelease(records, registry, ReconcileAliases(records, registry))


def release(version: int, champion: int | None, *, blocked: bool = False) -> Release:
    gate = GateResult("golden_rows", "block" if blocked else "pass", 0.0, None, 1e-9, 3, "Rows.")
    return Release(
        f"r{version}", "run", "p", version, champion, "blocked" if blocked else "candidate",
        gate.verdict, (gate,), NOW,
    )  # fmt: skip


def test_a_promoted_version_gets_the_aliases_and_the_gates_as_tags(
    records: InMemoryRecords, registry: AliasRegistry, promote: PromoteRelease
) -> None:
    records.add_release(release(1, None))
    records.add_release(release(2, 1))

    promote("r1")
    promote("r2")

    assert registry.aliases == {("p", "production"): 2, ("p", "previous"): 1}
    assert registry.tags["p", 2]["gate.golden_rows"] == "pass"
    assert [r.state for r in records.releases("p")] == ["production", "superseded"]


def test_a_death_between_table_and_alias_is_mended_by_the_next_reconciliation(
    records: InMemoryRecords, registry: AliasRegistry, promote: PromoteRelease
) -> None:
    records.add_release(release(1, None))
    registry.dies = True

    with pytest.raises(KeyboardInterrupt):
        promote("r1")

    serving = records.production("p")
    assert serving is not None  # the table decided before the alias could
    assert registry.aliases == {}
    registry.dies = False
    assert promote.reconcile("p") == ("production",)
    assert registry.aliases == {("p", "production"): 1}
    assert promote.reconcile("p") == ()


def test_a_blocked_release_is_never_promoted(
    records: InMemoryRecords, registry: AliasRegistry, promote: PromoteRelease
) -> None:
    records.add_release(release(1, None, blocked=True))

    with pytest.raises(ReleaseBlockedError, match="golden_rows"):
        promote("r1")

    assert records.production("p") is None
    assert registry.aliases == {}


def test_a_release_gated_against_a_former_champion_is_refused(
    records: InMemoryRecords, promote: PromoteRelease
) -> None:
    records.add_release(release(1, None))
    records.add_release(release(2, None))
    promote("r1")

    with pytest.raises(ConflictError):
        promote("r2")


def test_an_unknown_release_is_named(promote: PromoteRelease) -> None:
    with pytest.raises(UsageError, match="nothing-like-it"):
        promote("nothing-like-it")
