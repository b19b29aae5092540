"""Every gate there is, in the order people read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pynomaly.application.gates.alerts import alert_rate, alerts_per_day, recent_alert_rate
from pynomaly.application.gates.capacity import latency, model_size, throughput
from pynomaly.application.gates.comparison import injected_recall, rank_agreement, recent_recall
from pynomaly.application.gates.context import GateContext
from pynomaly.application.gates.extensions import team_gates
from pynomaly.application.gates.inputs import (
    column_scales,
    incomparable,
    schema_compatible,
    schema_declared,
    training_rows,
)
from pynomaly.application.gates.integrity import (
    batch_invariant,
    certified,
    data_validated,
    distinct_scores,
    golden_rows,
)
from pynomaly.application.gates.labels import known_anomalies, label_precision
from pynomaly.application.gates.replay import replay
from pynomaly.application.gates.verdicts import contamination, known_rows
from pynomaly.domain.gates import GateResult

__all__ = ["NAMES", "judge"]

NAMES = frozenset(
    {
        "data_validated", "certified", "schema_declared", "schema_compatible", "golden_rows", "batch_invariant",
        "distinct_scores", "injected_recall", "alert_rate", "alerts_per_day", "average_precision",
        "contamination", "known_anomalies", "training_rows", "column_scales", "rank_agreement", "recent_recall",
        "recent_alert_rate", "replay", "latency", "throughput", "model_size",
        "inconclusive_allowed",
    }
)  # fmt: skip
"""Of the platform's own results; gates of other packages have others."""


def judge(context: GateContext) -> tuple[GateResult, ...]:
    """Put a challenger before every gate that applies to it.

    A model that would run uncertified code meets ``certified`` alone, and one that does not read
    what the pipeline declares ``schema_declared`` as the last: nothing further can be asked of
    them, and nobody can override these two.  A champion that cannot read what the pipeline
    declares now counts as none, which a person has to look at.
    """
    code = certified(context.challenger.model)
    if code.verdict == "block":
        return (code,)
    validated = data_validated(context.report, context.fingerprint)
    declared = schema_declared(context.challenger.model, context.pipeline)
    if declared.verdict == "block":
        return (validated, code, declared)
    champion, why = context.champion, None
    if champion is not None:
        why = incomparable(champion.model, context.holdout.column_names, context.pipeline)
        context = replace(context, champion=None) if why else context
    inputs = schema_compatible(
        context.challenger.model,
        champion.model if champion else None,
        context.recent,
        context.pipeline,
        why,
    )
    results = (
        validated,
        code,
        declared,
        inputs,
        *_own(context),
        *_with_champion(context),
        *_capacity(context),
    )
    return (*results, *team_gates(context, taken=NAMES))


def _own(context: GateContext) -> Iterator[GateResult]:
    """Gates that a first model meets as well."""
    challenger, champion, holdout = context.challenger, context.champion, context.holdout
    policy, decision = context.pipeline.release, context.pipeline.decision
    seed = context.pipeline.training.seed
    scores = challenger.score(holdout)
    yield golden_rows(challenger, context.golden)
    yield batch_invariant(challenger, holdout, scores, seed)
    yield distinct_scores(challenger, holdout, scores, policy.min_distinct_scores)
    yield injected_recall(challenger, champion, holdout, policy, seed)
    yield alert_rate(challenger, champion, holdout, policy, decision, context.serving)
    yield alerts_per_day(
        challenger, holdout, context.recent, policy, decision, first=champion is None
    )
    if (clean := contamination(challenger, context.judgements, context.trained_at)) is not None:
        yield clean
    if (known := known_rows(context)) is not None:
        for gate in (label_precision, known_anomalies):
            judged = gate(challenger, champion, known.rows, known.labels, policy, seed)
            if judged:
                yield replace(judged, sentence=f"{judged.sentence}{known.told}")


def _with_champion(context: GateContext) -> Iterator[GateResult]:
    """Gates that compare with what serves."""
    challenger, champion = context.challenger, context.champion
    if champion is None:
        return
    policy, decision = context.pipeline.release, context.pipeline.decision
    seed = context.pipeline.training.seed
    yield training_rows(challenger.model, champion.model, policy)
    yield column_scales(challenger.model, champion.model, policy)
    yield rank_agreement(challenger, champion, context.holdout, policy, context.serving)
    for judged in (
        recent_recall(challenger, champion, context.recent, policy, seed),
        recent_alert_rate(challenger, champion, context.recent, policy, decision, context.serving),
    ):
        if judged:
            yield judged
    yield replay(challenger, champion, context.recent, context.pipeline, context.serving)


def _capacity(context: GateContext) -> Iterator[GateResult]:
    """Gates about costs."""
    policy = context.pipeline.release
    yield latency(context.challenger, context.holdout, policy)
    yield throughput(context.challenger, context.holdout, policy)
    yield model_size(context.model_bytes, policy)
