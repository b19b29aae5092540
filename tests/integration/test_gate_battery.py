"""Every bad challenger is stopped by the gate that should see it; honest ones are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from challengers import (
    CASES,
    FAMILIES,
    REFUSED,
    RETRAINS,
    Arena,
    Case,
    Told,
    documented,
    honest,
    sentence,
    table,
    told,
)
from pynomaly.domain.datasets import Schema
from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.gates import Override
from pynomaly.domain.releases import Release
from pynomaly.domain.runs import Actor
from ring import NUMBERS, SCHEMA, Ring, payments, pipeline


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Told]:
    return told(tmp_path_factory.mktemp("bad"))


@pytest.fixture(scope="module")
def retrains(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Release]]:
    folder = tmp_path_factory.mktemp("honest")
    return {family: honest(folder / family, family) for family in FAMILIES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_challenger_is_stopped_by_the_gate_that_should_see_it(
    case: Case, outcomes: list[Told]
) -> None:
    found = next(one for one in outcomes if one.case is case)

    assert found.verdict == case.verdict
    if case.verdict == "block":
        assert case.seen_by in found.blocking
    elif case.verdict != REFUSED:
        assert case.seen_by in found.others


@pytest.mark.parametrize("family", FAMILIES)
def test_honest_retrains_with_other_seeds_and_fresh_data_pass_or_ask_for_review(
    family: str, retrains: dict[str, list[Release]]
) -> None:
    releases = retrains[family]

    assert len(releases) == RETRAINS
    assert {release.verdict for release in releases} <= {"pass", "review"}, [
        gate.sentence for release in releases for gate in release.gates if gate.verdict == "block"
    ]
    assert all(release.state == "candidate" for release in releases)


def test_the_documentation_says_what_came_out(
    outcomes: list[Told], retrains: dict[str, list[Release]]
) -> None:
    releases = [release for family in retrains.values() for release in family]

    assert documented() == f"{table(outcomes)}\n\n{sentence(releases)}"


def undecided(release: Release) -> dict[str, str]:
    return {gate.gate: gate.sentence for gate in release.gates if gate.verdict == "inconclusive"}


def test_few_rows_are_inconclusive_not_passed(tmp_path: Path) -> None:
    ring = Ring(tmp_path)
    ring.serves(ring.registered(ring.trained(payments(1_200, 1), detector="gmm")))

    release = ring.release(ring.registered(ring.trained(payments(1_200, 2), detector="gmm")))

    assert (release.verdict, release.state) == ("inconclusive", "blocked")
    assert list(undecided(release)) == ["injected_recall"]
    assert "600 rows were held out" in undecided(release)["injected_recall"]


def test_held_out_rows_that_somebody_changed_judge_nothing(tmp_path: Path) -> None:
    ring = Ring(tmp_path)
    version = ring.registered(ring.trained(payments(600, 1), detector="gmm"))
    held_out = ring.datasets.table(version.holdout_uri)
    with ring.datasets.writer(Path(version.holdout_uri).stem) as writer:
        writer.write(held_out.slice(1))

    with pytest.raises(IntegrityError, match="not those the model was trained with"):
        ring.release(version)


def test_a_champion_that_finds_hardly_anything_makes_the_contest_inconclusive(
    tmp_path: Path,
) -> None:
    def noise(seed: int) -> pa.Table:
        """Columns so heavy-tailed that eight deviations are nothing unusual."""
        rng = np.random.default_rng(seed)
        columns = {name: np.sinh(rng.standard_cauchy(4_000).clip(-9, 9)) for name in NUMBERS}
        return pa.table({**columns, "channel": ["web"] * 4_000})

    ring = Ring(tmp_path)
    ring.serves(ring.registered(ring.trained(noise(1), detector="gmm")))

    release = ring.release(ring.registered(ring.trained(noise(2), detector="gmm")))

    assert release.verdict == "inconclusive"
    assert "the champion itself finds less than 30%" in undecided(release)["injected_recall"]


def test_an_override_lets_a_blocked_release_go_on_and_stays_with_it(tmp_path: Path) -> None:
    arena = Arena(tmp_path, "gmm")
    version = arena.ring.registered(arena.trained(payments(700, 2)))
    waived = [
        Override(gate, Actor("ada"), "approver", "A new shop, there are no more rows yet.")
        for gate in ("training_rows", "injected_recall")
    ]

    without = arena.ring.release(version)
    release = arena.ring.release(version, waived)

    assert without.verdict == "block"
    assert (release.verdict, release.state) == ("pass", "candidate")
    assert [gate.override for gate in release.gates if gate.override] == sorted(
        waived, key=lambda override: override.gate
    )


def test_inconclusive_passes_where_the_policy_says_so_and_that_is_on_record(tmp_path: Path) -> None:
    ring = Ring(tmp_path, pipeline(allow_inconclusive=True))
    ring.serves(ring.registered(ring.trained(payments(1_200, 1), detector="gmm")))

    release = ring.release(ring.registered(ring.trained(payments(1_200, 2), detector="gmm")))

    assert release.state == "candidate"
    assert release.gates[-1].gate == "inconclusive_allowed"


def test_a_column_that_was_dropped_or_renamed_asks_for_review_instead_of_failing(
    tmp_path: Path,
) -> None:
    arena = Arena(tmp_path, "gmm")
    ring = arena.ring
    without = Schema(tuple(column for column in SCHEMA.columns if column.name != "load"))
    old = arena.trained(payments(4_000, 2))
    ring.pipeline = replace(ring.pipeline, schema=without)

    fresh = ring.release(ring.registered(arena.trained(payments(4_000, 2))))
    stale = ring.release(ring.registered(old))

    assert fresh.verdict == "review"
    asking = next(gate for gate in fresh.gates if gate.gate == "schema_compatible")
    assert "no longer declares 'load', which the champion reads" in asking.sentence
    assert "No longer read: load." in asking.sentence
    assert stale.verdict == "block"
    assert stale.gates[-1].gate == "schema_declared"
