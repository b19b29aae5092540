"""Gates about rows whose label says what they are; advice where few anomalies are known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.gates.comparison import INJECTION_BUDGET
from pynomaly.application.gates.contender import Contender
from pynomaly.domain.evaluation import average_precision, paired_lower_bound, recall_at_budget
from pynomaly.domain.gates import GateResult, Verdict
from pynomaly.domain.pipelines import ReleasePolicy

__all__ = ["known_anomalies", "label_precision"]

Floats = NDArray[np.float64]

BOOTSTRAP_DRAWS = 1_000
MIN_ANOMALIES = 5


def label_precision(
    challenger: Contender,
    champion: Contender | None,
    holdout: pa.Table,
    labels: Floats,
    policy: ReleasePolicy,
    seed: int,
) -> GateResult | None:
    """Compare average precision where labels exist; None where they are too few to judge by.

    Below ``min_positives`` known anomalies it asks for review at most.
    """
    known = ~np.isnan(labels)
    y = labels[known].astype(int)
    rows = holdout.filter(pa.array(known))
    if y.sum() < MIN_ANOMALIES or y.sum() == len(y):
        return None
    own = challenger.score(rows)
    observed = average_precision(y, own)
    if champion is None:
        return GateResult(
            "average_precision", "pass", observed, None, None, len(y),
            f"First model: average precision {observed:.3f} on {len(y):,} labelled rows "
            f"({y.mean():.1%} anomalies).",
        )  # fmt: skip
    theirs = champion.score(rows)
    rng = np.random.default_rng(seed)
    differences = []
    for _ in range(BOOTSTRAP_DRAWS):
        draw = rng.integers(0, len(y), len(y))
        if y[draw].any():
            differences.append(
                average_precision(y[draw], own[draw]) - average_precision(y[draw], theirs[draw])
            )
    lower, upper = np.quantile(differences, [0.05, 0.95])
    # Blocks when the drop is certain, asks for review when it cannot be excluded.
    verdict: Verdict = "pass"
    bound = lower
    if upper < -policy.max_precision_drop:
        verdict, bound = _at_most(int(y.sum()), policy), upper
    elif lower < -policy.max_precision_drop:
        verdict = "review"
    return GateResult(
        "average_precision", verdict, observed - average_precision(y, theirs), float(bound),
        -policy.max_precision_drop, len(y),
        f"Average precision {observed:.3f}, the champion {average_precision(y, theirs):.3f}; "
        f"difference between {lower:+.3f} and {upper:+.3f}.{_advice(int(y.sum()), policy)}",
    )  # fmt: skip


def known_anomalies(
    challenger: Contender,
    champion: Contender | None,
    holdout: pa.Table,
    labels: Floats,
    policy: ReleasePolicy,
    seed: int,
) -> GateResult | None:
    """Guard against having learnt known anomalies as normal; None where fewer than five are known.

    Rows that a model was fitted on as if they were normal look ordinary to it.  So the share of
    known anomalies that score above all but a tenth of the other rows must not have fallen against
    the champion's; a first model must place more than a tenth of them there, which is what chance
    would do.  Below ``min_positives`` known anomalies it asks for review at most.
    """
    anomalous = labels == 1
    positives = int(anomalous.sum())
    if positives < MIN_ANOMALIES or positives == len(labels):
        return None
    known, others = holdout.filter(pa.array(anomalous)), holdout.filter(pa.array(~anomalous))

    def found(contender: Contender) -> Floats:
        flags = recall_at_budget(contender.score(others), contender.score(known), INJECTION_BUDGET)
        return flags.astype(np.float64)

    own = found(challenger)
    where = f"of {positives:,} known anomalies above all but {INJECTION_BUDGET:.0%} of other rows"
    if champion is None:
        ordinary = own.mean() <= INJECTION_BUDGET
        return GateResult(
            "known_anomalies", "review" if ordinary else "pass",
            float(own.mean()), None, INJECTION_BUDGET, positives,
            f"First model: places {own.mean():.0%} {where}"
            f"{', as chance would: it may have learnt them as normal' if ordinary else ''}.",
        )  # fmt: skip
    theirs = found(champion)
    difference = own - theirs
    # The upper bound of the difference is the lower one of its negative.
    upper = 0.0 - paired_lower_bound(-difference, rng=np.random.default_rng(seed))
    verdict: Verdict = "pass"
    if upper < -policy.max_recall_drop:
        verdict = _at_most(positives, policy)
    elif difference.mean() < -policy.max_recall_drop:
        verdict = "review"
    return GateResult(
        "known_anomalies", verdict, float(difference.mean()), upper, -policy.max_recall_drop,
        positives,
        f"Places {own.mean():.0%} {where}, the champion {theirs.mean():.0%}; difference at most "
        f"{upper:+.1%}.{_advice(positives, policy)}",
    )  # fmt: skip


def _at_most(positives: int, policy: ReleasePolicy) -> Verdict:
    return "block" if positives >= policy.min_positives else "review"


def _advice(positives: int, policy: ReleasePolicy) -> str:
    if positives >= policy.min_positives:
        return ""
    return (
        f" Advice only: {positives} anomalies are known, {policy.min_positives} are the least to "
        "block by (release.min_positives)."
    )
