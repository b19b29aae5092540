"""Gates about how many alerts a challenger would raise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.gates.contender import Contender
from pynomaly.application.gates.recent import Recent
from pynomaly.domain.decision import require_resolution, score_threshold
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.evaluation import ratio_interval, share_lower_bound
from pynomaly.domain.gates import GateResult, Verdict
from pynomaly.domain.pipelines import DecisionPolicy, ReleasePolicy
from pynomaly.domain.runs import ScoredBatch

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["alert_rate", "alerts_per_day", "overrun", "per_day", "recent_alert_rate", "silent"]


def alert_rate(
    challenger: Contender,
    champion: Contender | None,
    rows: pa.Table,
    policy: ReleasePolicy,
    decision: DecisionPolicy,
    serving: DecisionPolicy,
    *,
    gate: str = "alert_rate",
    which: str = "held-out rows",
) -> GateResult:
    """Compare alert volumes on the same rows, each model deciding by its own policy.

    The ratio of the two rates is judged by its 95 % interval, so that few alerts alone neither
    block nor ask for review.  Where the champion itself overruns its budget on these rows, the data
    moved away from it, and fewer alerts are what a retrain is for: a person looks.  Many times more
    are not, and block.  A person looks as well where the challenger overruns its own budget; with a
    time column the held-out rows are the newest, and calibration on older ones need not hold on
    them.  Where only the policy makes the difference, somebody asked for it: a person looks, and
    only a model that is far off by the same policy blocks.  ``top_k`` flags as many rows whatever
    the model; ``fdr`` takes the rows as one batch.

    Args:
        challenger: To be released.
        champion: What serves, if anything.
        rows: Conformed, that neither was fitted on.
        policy: Holds the thresholds.
        decision: The challenger's policy.
        serving: The champion's.
        gate: Name of the result.
        which: What the sentence calls the rows.
    """
    n = len(rows)
    if decision.kind == "top_k":
        return GateResult(
            gate, "pass", min(decision.k or 0, n) / n, None, None, n,
            f"The policy flags the {decision.k:,} strangest rows of every batch, whatever the "
            "model.",
        )  # fmt: skip
    if serving.kind == "top_k":  # says nothing about rows that are no batch of its own
        serving = decision
    if why := silent(challenger, n, decision):
        return GateResult(gate, "review", 0.0, None, None, n, why)
    if champion and (why := silent(champion, n, serving)):
        return GateResult(
            gate, "review", None, None, None, n,
            f"No alerts of the champion to compare with. {why}",
        )  # fmt: skip
    scores = challenger.score(rows)
    own = challenger.alerts(decision, scores)
    too_many = overrun(challenger, scores, policy, decision)
    if champion is None and too_many:
        return GateResult(
            gate, "review", own / n, too_many, decision.budget, n,
            f"First model, and its calibration does not hold on the {which}: would flag "
            f"{own:,} of {n:,}, at least {too_many:.2%} for a budget of {decision.budget:.2%}.",
        )  # fmt: skip
    if champion is None:
        return GateResult(
            gate, "pass", own / n, None, None, n,
            f"First model: would flag {own:,} of {n:,} {which} ({own / n:.2%}).",
        )  # fmt: skip
    judged = _against(champion, own, rows, policy, decision, serving, gate=gate, which=which)
    if judged.verdict == "pass" and too_many:
        return replace(judged, verdict="review", bound=too_many, threshold=decision.budget)
    return judged


def _against(
    champion: Contender,
    own: int,
    rows: pa.Table,
    policy: ReleasePolicy,
    decision: DecisionPolicy,
    serving: DecisionPolicy,
    *,
    gate: str,
    which: str,
) -> GateResult:
    """Compare so many alerts with the champion's by its own policy, and by the new one."""
    n, scores = len(rows), champion.score(rows)
    theirs = alike = champion.alerts(serving, scores)
    changed = serving != decision and not silent(champion, n, decision)
    if changed:
        alike = champion.alerts(decision, scores)
    by_model = _compared(own, alike, policy)
    flood = by_model[0] == "block" and own > alike
    moved = overrun(champion, scores, policy, serving)
    if moved and not flood:
        return GateResult(
            gate, "review", theirs / n, moved, serving.budget, n,
            f"The data moved: the champion would flag {theirs:,} of {n:,} {which}, at least "
            f"{moved:.2%} for a budget of {serving.budget:.2%}; the challenger {own:,}.",
        )  # fmt: skip
    ratio, low, high = ratio_interval(own, theirs)
    verdict, bound, threshold = _compared(own, theirs, policy)
    sentence = (
        f"Would flag {own:,} of {n:,} {which}, the champion {theirs:,}: "
        f"{ratio:.2f} times as many (between {low:.2f} and {high:.2f})."
    )
    if changed:
        sentence += f" By the new decision policy the champion would flag {alike:,}."
        if by_model[0] == "block":
            verdict, bound, threshold = by_model
        elif verdict == "block":
            verdict = "review"
    return GateResult(gate, verdict, ratio, bound, threshold, n, sentence)


def _compared(own: int, theirs: int, policy: ReleasePolicy) -> tuple[Verdict, float, float]:
    """Return what so many alerts instead of so many mean, by which bound and threshold."""
    ratio, low, high = ratio_interval(own, theirs)
    if low > policy.alert_rate_block_high:
        return "block", low, policy.alert_rate_block_high
    if high < policy.alert_rate_block_low:
        return "block", high, policy.alert_rate_block_low
    asks = low > policy.alert_rate_review or high < 1 / policy.alert_rate_review
    verdict: Verdict = "review" if asks else "pass"
    if ratio >= 1:
        return verdict, low, policy.alert_rate_review
    return verdict, high, 1 / policy.alert_rate_review


def recent_alert_rate(
    challenger: Contender,
    champion: Contender,
    recent: Recent,
    policy: ReleasePolicy,
    decision: DecisionPolicy,
    serving: DecisionPolicy,
) -> GateResult | None:
    """Compare alert volumes on what production sends now: the newest batch that can be read again.

    The held-out rows come from the challenger's own snapshot.  If that is of another year, in other
    units or of another population, the challenger is at home there and the champion looks wrong;
    on production's rows it is the other way round.

    Returns:
        None where no batch with rows can be read, or the policy flags as many rows whatever the
        model or nothing whatever the rows.
    """
    newest = next((batch for batch in recent.read if len(batch.rows)), None)
    if newest is None or decision.kind == "top_k":
        return None
    n = len(newest.rows)
    if silent(challenger, n, decision) or silent(champion, n, serving):
        return None
    return alert_rate(
        challenger, champion, newest.rows, policy, decision, serving,
        gate="recent_alert_rate", which=newest.which,
    )  # fmt: skip


def alerts_per_day(
    challenger: Contender,
    holdout: pa.Table,
    recent: Recent,
    policy: ReleasePolicy,
    decision: DecisionPolicy,
    *,
    first: bool,
) -> GateResult:
    """Hold the alerts a day that are to be expected to what the team can look at.

    Rows (or, for ``top_k``, batches) a day come from the batches on record, the share of alerts
    from the newest batch that can be read again, else from the held-out rows.  Without a limit
    nothing is demanded.  With one and no day's worth of batches on record a first model passes, for
    nothing else can be known; a later one is inconclusive.

    Args:
        challenger: To be released.
        holdout: Rows it was not fitted on.
        recent: What production scored last.
        policy: Holds the limit.
        decision: Flags rows.
        first: Whether nothing serves yet.
    """
    limit = policy.max_alerts_per_day
    whole = decision.kind == "top_k"
    rate = per_day(recent.scored, [1 if whole else b.rows_scored for b in recent.scored])
    read = next((batch.rows for batch in recent.read if len(batch.rows)), holdout)
    n = len(read)
    if rate is None:
        wanted = "and no limit is set (release.max_alerts_per_day)" if limit is None else (
            f"so alerts a day cannot be told for a limit of {limit:g}"
        )  # fmt: skip
        return GateResult(
            "alerts_per_day", "pass" if limit is None or first else "inconclusive",
            None, None, limit, len(recent.scored),
            f"How many rows a day has is unknown until scored batches span one, {wanted}.",
        )  # fmt: skip
    if whole:
        expected = least = rate * (decision.k or 0)
        how = f"{decision.k:,} in each of {rate:.3g} batches a day"
    else:
        alerts = 0
        if not silent(challenger, n, decision):
            alerts = challenger.alerts(decision, challenger.score(read))
        expected, least = rate * alerts / n, rate * share_lower_bound(alerts / n, n)
        how = (
            f"{alerts / n:.2%} of {n:,} {'held-out' if read is holdout else 'recent'} rows, "
            f"{rate:,.0f} rows a day"
        )
    verdict: Verdict = "pass"
    if limit is not None and expected > limit:
        verdict = "block" if least > limit else "review"
    return GateResult(
        "alerts_per_day", verdict, expected, least, limit, n,
        f"About {expected:,.3g} alerts a day are to be expected ({how}); "
        + ("no limit is set (release.max_alerts_per_day)." if limit is None
           else f"the team can look at {limit:g}."),
    )  # fmt: skip


def per_day(batches: Sequence[ScoredBatch], counts: Sequence[int]) -> float | None:
    """Return how much of something comes a day; None where batches span less than a day.

    Args:
        batches: Newest first.
        counts: Of each; the oldest batch only marks where time begins.
    """
    if len(batches) < 2:
        return None
    days = (batches[0].scored_at - batches[-1].scored_at).total_seconds() / 86_400
    return sum(counts[:-1]) / days if days >= 1 else None


def silent(contender: Contender, n: int, decision: DecisionPolicy) -> str | None:
    """Return why a policy could flag nothing with this model, whatever the rows; else None.

    Args:
        contender: Whose calibration counts.
        n: Rows of a batch.
        decision: The policy.
    """
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


def overrun(
    contender: Contender,
    scores: NDArray[np.float64],
    policy: ReleasePolicy,
    decision: DecisionPolicy,
) -> float | None:
    """Return the lower bound of an alert rate that is far above its budget; else None.

    Args:
        contender: Whose calibration counts.
        scores: (n,) it gives some rows.
        policy: Says how far is far.
        decision: Only an alert budget can be overrun.
    """
    if decision.kind != "alert_budget":
        return None
    n = len(scores)
    bound = share_lower_bound(contender.alerts(decision, scores) / n, n)
    return bound if bound > policy.alert_rate_review * decision.budget else None
