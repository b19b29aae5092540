"""How gates combine, and what a blocked release tells."""

from datetime import UTC, datetime

import pytest

from pynomaly.application.gate import require_passed, review_asked
from pynomaly.domain.errors import ReleaseBlockedError, UsageError
from pynomaly.domain.gates import (
    INTEGRITY_GATES,
    GateResult,
    Override,
    Verdict,
    combine,
    overridden,
)
from pynomaly.domain.releases import Release
from pynomaly.domain.runs import Actor


def gate(verdict: Verdict, name: str = "injected_recall") -> GateResult:
    return GateResult(name, verdict, 0.25, 0.125, 0.5, 400, "A sentence.")


@pytest.mark.parametrize(
    ("verdicts", "combined"),
    [
        (["pass", "pass"], "pass"),
        (["pass", "review"], "review"),
        (["review", "inconclusive"], "inconclusive"),
        (["inconclusive", "block", "pass"], "block"),
        ([], "pass"),
    ],
)
def test_the_worst_verdict_decides(verdicts: list[Verdict], combined: Verdict) -> None:
    assert combine(gate(verdict) for verdict in verdicts) == combined


def test_inconclusive_passes_only_where_the_policy_says_so() -> None:
    results = [gate("inconclusive"), gate("review")]

    assert combine(results, allow_inconclusive=True) == "review"
    assert combine([*results, gate("block")], allow_inconclusive=True) == "block"


def test_a_blocked_release_names_gate_observed_bound_threshold_and_who_serves() -> None:
    release = Release(
        "r1", "run1", "payments", 4, 3, "blocked", "block",
        (gate("pass", "golden_rows"), gate("block")), datetime.now(UTC),
    )  # fmt: skip

    with pytest.raises(ReleaseBlockedError) as caught:
        require_passed(release)

    message = str(caught.value)
    for part in ("injected_recall", "0.25", "0.125", "0.5", "version 3 keeps serving", "version 4"):
        assert part in message
    assert "golden_rows" not in message
    assert caught.value.exit_code == 4


def test_review_goes_on_to_a_person_and_block_to_nobody() -> None:
    asking = Release(
        "r1", "run1", "payments", 4, 3, "candidate", "review", (gate("review"),), datetime.now(UTC)
    )
    gates = (gate("block"), gate("inconclusive", "rank_agreement"), gate("pass", "latency"))
    blocked = Release("r2", "run1", "payments", 4, 3, "blocked", "block", gates, datetime.now(UTC))

    require_passed(asking)
    assert "says review" in review_asked(asking)
    with pytest.raises(ReleaseBlockedError) as caught:
        require_passed(blocked)
    assert "--override injected_recall --override rank_agreement --reason" in str(caught.value.hint)


ADA = Actor("ada")


def override(gate: str = "injected_recall", role: str = "approver", why: str = "Seen.") -> Override:
    return Override(gate, ADA, role, why)  # type: ignore[arg-type]


@pytest.mark.parametrize("verdict", ["block", "inconclusive"])
def test_an_overridden_gate_is_not_in_the_way_and_keeps_its_verdict(verdict: Verdict) -> None:
    results = overridden([gate(verdict), gate("review", "alert_rate")], [override()])

    assert combine(results) == "review"
    assert results[0].verdict == verdict
    assert results[0].override == Override("injected_recall", ADA, "approver", "Seen.")


def test_an_override_covers_its_own_gate_alone() -> None:
    results = overridden([gate("block"), gate("block", "alert_rate")], [override()])

    assert combine(results) == "block"
    with pytest.raises(ReleaseBlockedError, match="alert_rate says block") as caught:
        require_passed(
            Release("r", "run1", "p", 2, 1, "blocked", "block", results, datetime.now(UTC))
        )
    assert "injected_recall" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(INTEGRITY_GATES))
def test_gates_of_integrity_cannot_be_overridden(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} cannot be overridden"):
        override(name)


def test_overriding_takes_a_role_and_a_reason() -> None:
    with pytest.raises(UsageError, match="as 'analyst'") as role:
        override(role="analyst")
    assert "approver or admin" in str(role.value)
    with pytest.raises(UsageError, match="takes a reason"):
        override(why="  ")


@pytest.mark.parametrize(
    ("name", "says"), [("alert_rate", "says review"), ("recal", "did not run")]
)
def test_what_is_not_in_the_way_cannot_be_overridden(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        overridden([gate("block"), gate("review", "alert_rate")], [override(name)])
    assert "in the way: injected_recall" in str(caught.value)
