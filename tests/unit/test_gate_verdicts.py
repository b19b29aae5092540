"""How gates combine, and what a blocked release tells."""

from datetime import UTC, datetime

import pytest

from pynomaly.application.gate import require_passed
from pynomaly.domain.errors import ApprovalPendingError, ReleaseBlockedError
from pynomaly.domain.gates import GateResult, Verdict, combine
from pynomaly.domain.releases import Release


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


def test_review_waits_for_a_person_and_block_for_nobody() -> None:
    asking = Release(
        "r1", "run1", "payments", 4, 3, "candidate", "review", (gate("review"),), datetime.now(UTC)
    )
    blocked = Release(
        "r2", "run1", "payments", 4, 3, "blocked", "block", (gate("block"),), datetime.now(UTC)
    )

    with pytest.raises(ApprovalPendingError, match="version 3 keeps serving") as caught:
        require_passed(asking)
    assert caught.value.exit_code == 5
    assert "--accept-review" in str(caught.value)
    require_passed(asking, accept_review=True)
    with pytest.raises(ReleaseBlockedError):
        require_passed(blocked, accept_review=True)
