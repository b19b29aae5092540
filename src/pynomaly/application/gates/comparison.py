"""Gates that set the challenger's ranking against the champion's, on the same rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.gates.alerts import overrun
from pynomaly.application.gates.contender import Contender
from pynomaly.application.gates.recent import Recent
from pynomaly.domain.evaluation import (
    paired_lower_bound,
    rank_correlation,
    recall_at_budget,
    share_lower_bound,
)
from pynomaly.domain.gates import GateResult, Verdict
from pynomaly.domain.injection import columns_to_shift, shifted_values
from pynomaly.domain.pipelines import DecisionPolicy, ReleasePolicy

__all__ = ["INJECTION_BUDGET", "injected_recall", "rank_agreement", "recent_recall"]

Floats = NDArray[np.float64]

INJECTED_ROWS = 2_000
INJECTION_BUDGET = 0.10
"""An injected anomaly is found if it scores above all but this share of held-out rows.

Held-out rows hold real anomalies too.  At the pipeline's own budget, often below their share, the
threshold would lie among them and the gate would measure how extreme they are.
"""


def injected_recall(
    challenger: Contender,
    champion: Contender | None,
    holdout: pa.Table,
    policy: ReleasePolicy,
    seed: int,
    *,
    gate: str = "injected_recall",
    which: str = "held-out rows",
) -> GateResult:
    """Compare how many injected anomalies each model finds at an equal alert budget.

    The same disturbed copies of the same rows go to both models; the decision rests on the 95 %
    lower bound of the paired difference.  A first model, which has nobody to be compared with, must
    find a minimum share by its own lower bound.

    Where there is too little power, for want of rows or because the champion finds too few, chance
    alone brings that bound down.  Then only a challenger blocks that is certainly worse, by the
    upper bound; any other is inconclusive.

    Args:
        challenger: To be released.
        champion: What serves, if anything.
        holdout: Conformed rows that neither was fitted on.
        policy: Holds the thresholds.
        seed: Of the disturbance and of the bootstrap.
        gate: Name of the result.
        which: What the sentence calls the rows.
    """
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(holdout), size=INJECTED_ROWS, replace=len(holdout) < INJECTED_ROWS)
    disturbed = _disturb(holdout.take(pa.array(rows)), challenger, rng)
    if disturbed is None:
        return GateResult(
            gate, "inconclusive", None, None, None, len(holdout),
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
        return _first(gate, which, float(own.mean()), len(sources), len(holdout), policy)
    theirs = found(champion)
    difference = own - theirs
    bound = paired_lower_bound(difference, rng=rng)
    verdict: Verdict = "pass"
    threshold = policy.recall_review
    if theirs.mean() < policy.min_champion_recall or len(holdout) < policy.min_gate_rows:
        # The upper bound of the difference is the lower one of its negative.
        certainly = -paired_lower_bound(-difference, rng=rng) < policy.recall_block
        verdict = "block" if certainly else "inconclusive"
    elif bound < policy.recall_block:
        verdict = "block"
    elif bound < policy.recall_review:
        verdict = "review"
    if verdict == "block":
        threshold = policy.recall_block
    sentence = (
        f"Finds {own.mean():.0%} of anomalies injected into {len(sources):,} {which} at a "
        f"{INJECTION_BUDGET:.0%} alert budget, the champion {theirs.mean():.0%}; difference at "
        f"least {bound:+.1%}."
    )
    if verdict == "inconclusive" and len(holdout) < policy.min_gate_rows:
        sentence += _few(len(holdout), policy)
    elif verdict == "inconclusive":
        sentence += (
            f" Too little power: the champion itself finds less than "
            f"{policy.min_champion_recall:.0%} (release.min_champion_recall)."
        )
    return GateResult(
        gate, verdict, float(difference.mean()), bound, threshold,
        len(sources), sentence,
    )  # fmt: skip


def _first(
    gate: str, which: str, share: float, n: int, rows: int, policy: ReleasePolicy
) -> GateResult:
    """Judge a model that has nobody to be compared with by what it finds of ``n`` rows."""
    least, most = share_lower_bound(share, n), 1 - share_lower_bound(1 - share, n)
    wanted = policy.min_first_recall
    few = rows < policy.min_gate_rows
    verdict: Verdict = "pass"
    if least < wanted:
        verdict = "inconclusive" if few and most >= wanted else "block"
    sentence = (
        f"First model: finds {share:.0%} of anomalies injected into {n:,} {which} at a "
        f"{INJECTION_BUDGET:.0%} alert budget (lower bound {least:.0%}, at least {wanted:.0%})."
    )
    if verdict == "inconclusive":
        sentence += _few(rows, policy)
    return GateResult(gate, verdict, share, least, wanted, n, sentence)


def _few(rows: int, policy: ReleasePolicy) -> str:
    return (
        f" Too little power: {rows:,} rows were held out, {policy.min_gate_rows:,} are the least "
        "(release.min_gate_rows)."
    )


def recent_recall(
    challenger: Contender,
    champion: Contender,
    recent: Recent,
    policy: ReleasePolicy,
    seed: int,
) -> GateResult | None:
    """Repeat the contest of :func:`injected_recall` on the newest large batch of production.

    The held-out rows come from the challenger's own snapshot, where one that was fitted on data of
    another year, or in other units, does well.

    Returns:
        None where the batches that can be read have no power, for they have fewer rows than
        ``min_gate_rows`` or the champion finds too few anomalies in them: the held-out rows decide.
    """
    newest = next((b for b in recent.read if len(b.rows) >= policy.min_gate_rows), None)
    if newest is None:
        return None
    result = injected_recall(
        challenger, champion, newest.rows, policy, seed,
        gate="recent_recall", which=newest.which,
    )  # fmt: skip
    return None if result.verdict == "inconclusive" else result


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


def rank_agreement(
    challenger: Contender,
    champion: Contender,
    holdout: pa.Table,
    policy: ReleasePolicy,
    serving: DecisionPolicy,
) -> GateResult:
    """Block a challenger that ranks ordinary rows quite unlike the champion.

    Two good models share few of their top alerts, so likeness of alerts never counts; over all rows
    even good models of different families agree far better than one half.  Where the champion
    itself overruns its budget, the data moved away from it and it is no measure: a person looks.
    """
    n = len(holdout)
    own, theirs = challenger.score(holdout), champion.score(holdout)
    found = rank_correlation(own, theirs) if n > 3 else None
    if found is None:
        return GateResult(
            "rank_agreement", "inconclusive", None, None, policy.min_rank_agreement, n,
            f"{n:,} held-out rows rank nothing: one of the models gives all of them the same score."
            if n > 3 else f"{n} held-out rows are too few to compare rankings.",
        )  # fmt: skip
    rho, upper = found
    verdict: Verdict = "pass"
    if rho < policy.min_rank_agreement:
        verdict = "block" if upper < policy.min_rank_agreement else "review"
    sentence = (
        f"Ranks {n:,} held-out rows like the champion with Spearman's ρ = {rho:.2f} (with "
        f"95% confidence at most {upper:.2f}); {policy.min_rank_agreement:.2f} is the least."
    )
    if verdict == "block" and overrun(champion, theirs, policy, serving):
        verdict = "review"
        sentence += " The data moved away from the champion, so its ranking is no measure."
    return GateResult("rank_agreement", verdict, rho, upper, policy.min_rank_agreement, n, sentence)
