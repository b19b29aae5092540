"""Gates about data, code and bytes: validated, certified, golden rows, invariance, distinctness."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.gates.contender import Contender
from pynomaly.domain.datasets import EXPECTED_SCORE
from pynomaly.domain.detectors import CLASSIFIERS, detector
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.extensions import extension
from pynomaly.domain.gates import GateResult
from pynomaly.domain.models import Model
from pynomaly.domain.quality import ValidationReport
from pynomaly.domain.uncertified import PREFIX

__all__ = ["batch_invariant", "certified", "data_validated", "distinct_scores", "golden_rows"]

TOLERANCE = 1e-9
"""Largest deviation of a score between two ways to compute it (design: float64 to 1e-9)."""

_PLACE = "place in the hold-out"


def data_validated(report: ValidationReport | None, fingerprint: str) -> GateResult:
    """Pass if the very snapshot the model was trained on was validated and not rejected."""
    if report is None:
        return GateResult(
            "data_validated", "block", None, None, None, 0,
            f"No validation report is on record for training data {fingerprint[:12]}.",
        )  # fmt: skip
    return GateResult(
        "data_validated",
        "block" if report.verdict == "rejected" else "pass",
        report.quarantine_share,
        None,
        report.max_quarantine_share,
        report.snapshot.rows,
        f"Training data {fingerprint[:12]}: {report.verdict.replace('_', ' ')}, "
        f"{report.accepted:,} rows accepted, {report.quarantined:,} quarantined.",
    )


def certified(model: Model) -> GateResult:
    """Block a model that would run anything but certified detectors and our classifiers."""
    names = dict.fromkeys(member.detector for member in model.members)
    parts = dict.fromkeys(part.detector for part in model.head.parts) if model.head else {}
    problems = [
        *(problem for name in names if (problem := _uncertified(name))),
        *(f"{name} is no classifier of a head" for name in parts if name not in CLASSIFIERS),
    ]
    return GateResult(
        "certified",
        "block" if problems else "pass",
        float(len(problems)),
        None,
        0.0,
        len(model.members),
        f"Not certified: {'; '.join(problems)}."
        if problems
        else f"Every member is a certified detector: {_vouched_for(names)}.",
    )


def _vouched_for(names: Iterable[str]) -> str:
    found = {name: extension(name) for name in names}
    ours = [name for name, brought in found.items() if brought is None]
    brought = [
        f"{name} ({brought.package} {brought.version} says so)"
        for name, brought in found.items()
        if brought is not None
    ]
    return ", ".join(ours + brought)


def _uncertified(name: str) -> str | None:
    try:
        if detector(name).certified:
            return None
    except ConfigurationError as error:
        return error.message
    if name.startswith(PREFIX):
        return (
            f"{name} is PyOD's own code, fitted again wherever it scores; it may score a row by "
            "its batch, and an upgrade may change its scores"
        )
    found = extension(name)
    return f"{name} is declared uncertified by {found.package if found else 'the catalogue'}"


def golden_rows(challenger: Contender, golden: pa.Table) -> GateResult:
    """Pass if the registry's copy reproduces the scores written at training time."""
    expected = golden.column(EXPECTED_SCORE).to_numpy()
    worst = _deviation(challenger.score(golden), expected)
    return GateResult(
        "golden_rows",
        "pass" if worst <= TOLERANCE else "block",
        worst,
        None,
        TOLERANCE,
        len(golden),
        f"{len(golden)} golden rows scored from the registry differ by at most {worst:.1e}.",
    )


def batch_invariant(
    challenger: Contender, holdout: pa.Table, scores: NDArray[np.float64], seed: int
) -> GateResult:
    """Pass if rows score the same alone, in another order and in chunks of another size."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(holdout))
    shuffled = challenger.score(holdout.take(pa.array(order)))
    alone = rng.choice(len(holdout), size=min(8, len(holdout)), replace=False)
    chunk = max(1, len(holdout) // 7)
    chunks = [holdout.slice(start, chunk) for start in range(0, len(holdout), chunk)]
    worst = max(
        _deviation(shuffled, scores[order]),
        _deviation(np.concatenate([challenger.score(part) for part in chunks]), scores),
        *(_deviation(challenger.score(holdout.slice(i, 1)), scores[i : i + 1]) for i in alone),
    )
    return GateResult(
        "batch_invariant",
        "pass" if worst <= TOLERANCE else "block",
        worst,
        None,
        TOLERANCE,
        len(holdout),
        f"Alone, shuffled and in chunks of {chunk} rows, scores differ by at most {worst:.1e}.",
    )


def distinct_scores(
    challenger: Contender, holdout: pa.Table, scores: NDArray[np.float64], threshold: float
) -> GateResult:
    """Block a model that gives most rows the same score: it cannot rank.

    It counts pairs of different rows that have different scores.  Rows that are the same have the
    same score, and a histogram has as many scores as it has cells, however many rows there are: a
    share of rows with a score of their own would block a sound model for the size of its data.

    Args:
        challenger: To be released.
        holdout: Conformed rows.
        scores: (n,) of them.
        threshold: Least share of pairs.
    """
    names = list(challenger.model.schema.names)
    places = holdout.select(names).append_column(_PLACE, pa.array(np.arange(len(holdout))))
    firsts = places.group_by(names).aggregate([(_PLACE, "min")]).column(f"{_PLACE}_min")
    n = len(firsts)
    if n < 2:
        return GateResult(
            "distinct_scores", "inconclusive", None, None, threshold, len(holdout),
            f"All {len(holdout):,} held-out rows are the same, so there is nothing to rank.",
        )  # fmt: skip
    _, times = np.unique(scores[firsts.to_numpy()], return_counts=True)
    share = 1.0 - float((times * (times - 1.0)).sum()) / (n * (n - 1.0))
    return GateResult(
        "distinct_scores", "pass" if share >= threshold else "block", share, None, threshold, n,
        f"Of {n:,} different held-out rows it tells {share:.1%} of all pairs apart, with "
        f"{len(times):,} different scores (at least {threshold:.0%}).",
    )  # fmt: skip


def _deviation(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    difference = np.abs(left - right).max(initial=0.0)
    return float(difference) if np.isfinite(difference) else float("inf")
