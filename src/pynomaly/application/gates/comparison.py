"""Gates that set the challenger against the champion on the same rows."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.gates.contender import Contender
from pynomaly.domain.decision import require_resolution, score_threshold
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.evaluation import (
    average_precision,
    paired_lower_bound,
    recall_at_budget,
    share_lower_bound,
)
from pynomaly.domain.gates import GateResult, Verdict
from pynomaly.domain.injection import columns_to_shift, shifted_values
from pynomaly.domain.pipelines import DecisionPolicy, ReleasePolicy

__all__ = ["alert_rate", "injected_recall", "label_precision"]

Floats = NDArray[np.float64]

INJECTED_ROWS = 2_000
INJECTION_BUDGET = 0.10
"""An injected anomaly is found if it scores above all but this share of held-out rows.

Held-out rows hold real anomalies too.  At the pipeline's own budget, often below their share, the
threshold would lie among them and the gate would measure how extreme they are.
"""
BOOTSTRAP_DRAWS = 1_000
MIN_ANOMALIES = 5


def injected_recall(
    challenger: Contender,
    champion: Contender | None,
    holdout: pa.Table,
    policy: ReleasePolicy,
    seed: int,
) -> GateResult:
    """Compare how many injected anomalies each model finds at an equal alert budget.

    The same disturbed copies of the same held-out rows go to both models; the decision rests on
    the 95 % lower bound of the paired difference.  A first model, which has nobody to be compared
    with, must find a minimum share by its own lower bound.
    """
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(holdout), size=INJECTED_ROWS, replace=len(holdout) < INJECTED_ROWS)
    disturbed = _disturb(holdout.take(pa.array(rows)), challenger, rng)
    if disturbed is None:
        return GateResult(
            "injected_recall", "inconclusive", None, None, None, len(holdout),
            "No numeric column to disturb, so no injected anomalies to find.",
        )  # fmt: skip
    sources, source_of = np.unique(rows, return_inverse=True)

    def found(contender: Contender) -> Floats:
        """Share of each held-out row's disturbed copies that are found; rows are independent."""
        clean, injected = contender.score(holdout), contender.score(disturbed)
        flags = recall_at_budget(clean, injected, INJECTION_BUDGET)
        return np.bincount(source_of, weights=flags) / np.bincount(source_of)

    own = found(challenger)
    if champion is None:
        bound = share_lower_bound(float(own.mean()), len(sources))
        passed = bound >= policy.min_first_recall
        return GateResult(
            "injected_recall", "pass" if passed else "block",
            float(own.mean()), bound, policy.min_first_recall, len(sources),
            f"First model: finds {own.mean():.0%} of anomalies injected into {len(sources):,} "
            f"held-out rows at a {INJECTION_BUDGET:.0%} alert budget (lower bound {bound:.0%}, "
            f"at least {policy.min_first_recall:.0%}).",
        )  # fmt: skip
    theirs = found(champion)
    difference = own - theirs
    bound = paired_lower_bound(difference, rng=rng)
    verdict: Verdict = "pass"
    threshold = policy.recall_review
    if bound < policy.recall_block:
        verdict, threshold = "block", policy.recall_block
    elif theirs.mean() < policy.min_champion_recall or len(holdout) < policy.min_gate_rows:
        verdict = "inconclusive"
    elif bound < policy.recall_review:
        verdict = "review"
    sentence = (
        f"Finds {own.mean():.0%} of anomalies injected into {len(sources):,} held-out rows at a "
        f"{INJECTION_BUDGET:.0%} alert budget, the champion {theirs.mean():.0%}; difference at "
        f"least {bound:+.1%}."
    )
    if verdict == "inconclusive" and len(holdout) < policy.min_gate_rows:
        sentence += (
            f" Too little power: {len(holdout):,} rows were held out, "
            f"{policy.min_gate_rows:,} are the least (release.min_gate_rows)."
        )
    elif verdict == "inconclusive":
        sentence += (
            f" Too little power: the champion itself finds less than "
            f"{policy.min_champion_recall:.0%} (release.min_champion_recall)."
        )
    return GateResult(
        "injected_recall", verdict, float(difference.mean()), bound, threshold,
        len(sources), sentence,
    )  # fmt: skip


def _disturb(rows: pa.Table, challenger: Contender, rng: np.random.Generator) -> pa.Table | None:
    """Return rows with one to three numeric cells pushed far out; None without such a column."""
    numeric = [c.name for c in challenger.model.schema.columns if c.kind == "numeric"]
    cells = [
        rows.column(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in numeric
    ]
    present = [i for i, column in enumerate(cells) if np.isfinite(column).any()]
    if not present:
        return None
    values = np.column_stack([cells[i] for i in present])
    moved = shifted_values(values, columns_to_shift(len(values), values.shape[1], rng), rng)
    for i, position in enumerate(present):
        name = numeric[position]
        column = pa.array(moved[:, i], pa.float64(), from_pandas=True)
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows


def alert_rate(
    challenger: Contender,
    champion: Contender | None,
    holdout: pa.Table,
    policy: ReleasePolicy,
    decision: DecisionPolicy,
) -> GateResult:
    """Compare alert volumes on the same held-out rows.

    The ratio of the two rates is judged by its 95 % interval, so that few alerts alone neither
    block nor ask for review.  Where the champion itself overruns its budget on these rows, the data
    moved away from it, and fewer alerts are what a retrain is for: a person looks.  So does one
    where the challenger overruns its own; with a time column the held-out rows are the newest, and
    calibration on older ones need not hold on them.  ``top_k`` flags as many rows whatever the
    model; ``fdr`` takes the held-out rows as one batch.

    Source: log-ratio interval with ½ added, Katz et al. (1978).
    """
    n = len(holdout)
    if decision.kind == "top_k":
        return GateResult(
            "alert_rate", "pass", min(decision.k or 0, n) / n, None, None, n,
            f"The policy flags the {decision.k:,} strangest rows of every batch, whatever the "
            "model.",
        )  # fmt: skip
    if silent := _silent(challenger, n, decision):
        return GateResult("alert_rate", "review", 0.0, None, None, n, silent)
    if champion and (silent := _silent(champion, n, decision)):
        return GateResult(
            "alert_rate",
            "review",
            None,
            None,
            None,
            n,
            f"No alerts of the champion to compare with. {silent}",
        )
    own = challenger.alerts(decision, challenger.score(holdout))
    overrun = _overrun(own, n, policy, decision)
    if champion is None and overrun:
        return GateResult(
            "alert_rate", "review", own / n, overrun, decision.budget, n,
            f"First model, and its calibration does not hold on the held-out rows: would flag "
            f"{own:,} of {n:,}, at least {overrun:.2%} for a budget of {decision.budget:.2%}.",
        )  # fmt: skip
    if champion is None:
        return GateResult(
            "alert_rate", "pass", own / n, None, None, n,
            f"First model: would flag {own:,} of {n:,} held-out rows ({own / n:.2%}).",
        )  # fmt: skip
    theirs = champion.alerts(decision, champion.score(holdout))
    if moved := _overrun(theirs, n, policy, decision):
        return GateResult(
            "alert_rate", "review", theirs / n, moved, decision.budget, n,
            f"The data moved: the champion would flag {theirs:,} of {n:,} held-out rows, at least "
            f"{moved:.2%} for a budget of {decision.budget:.2%}; the challenger {own:,}.",
        )  # fmt: skip
    ratio = (own + 0.5) / (theirs + 0.5)
    width = 1.96 * math.sqrt(1 / (own + 0.5) + 1 / (theirs + 0.5))
    low, high = ratio * math.exp(-width), ratio * math.exp(width)
    verdict: Verdict = "pass"
    bound, threshold = (low, policy.alert_rate_review) if ratio >= 1 else (
        high, 1 / policy.alert_rate_review,
    )  # fmt: skip
    if low > policy.alert_rate_block_high:
        verdict, threshold = "block", policy.alert_rate_block_high
    elif high < policy.alert_rate_block_low:
        verdict, threshold = "block", policy.alert_rate_block_low
    elif low > policy.alert_rate_review or high < 1 / policy.alert_rate_review:
        verdict = "review"
    elif overrun:
        verdict, bound, threshold = "review", overrun, decision.budget
    return GateResult(
        "alert_rate", verdict, ratio, bound, threshold, n,
        f"Would flag {own:,} of {n:,} held-out rows, the champion {theirs:,}: "
        f"{ratio:.2f} times as many (between {low:.2f} and {high:.2f}).",
    )  # fmt: skip


def _silent(contender: Contender, n: int, decision: DecisionPolicy) -> str | None:
    """Return why a policy could flag nothing with this model, whatever the rows; else None."""
    calibration = contender.model.calibration.scores
    try:
        require_resolution(decision, len(calibration), n)
    except ConfigurationError as error:
        return f"{error.message}. To mend it: {error.hint}."
    if decision.kind == "alert_budget" and score_threshold(decision, calibration) is None:
        return (
            f"Calibrated on {len(calibration):,} rows, no p-value falls below "
            f"{1 / (len(calibration) + 1):.2%}: an alert budget of {decision.budget:.2%} flags "
            "nothing. Train on more rows or raise decision.budget."
        )
    return None


def _overrun(alerts: int, n: int, policy: ReleasePolicy, decision: DecisionPolicy) -> float | None:
    """Return the lower bound of an alert rate that is far above its budget; else None."""
    if decision.kind != "alert_budget":
        return None
    bound = share_lower_bound(alerts / n, n)
    return bound if bound > policy.alert_rate_review * decision.budget else None


def label_precision(
    challenger: Contender,
    champion: Contender | None,
    holdout: pa.Table,
    labels: Floats,
    policy: ReleasePolicy,
    seed: int,
) -> GateResult | None:
    """Compare average precision where labels exist; None where they are too few to judge by."""
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
        verdict, bound = "block", upper
    elif lower < -policy.max_precision_drop:
        verdict = "review"
    return GateResult(
        "average_precision", verdict, observed - average_precision(y, theirs), float(bound),
        -policy.max_precision_drop, len(y),
        f"Average precision {observed:.3f}, the champion {average_precision(y, theirs):.3f}; "
        f"difference between {lower:+.3f} and {upper:+.3f}.",
    )  # fmt: skip
