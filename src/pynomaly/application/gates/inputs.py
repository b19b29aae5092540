"""Gates about what a challenger reads and what it was fitted on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pynomaly.application.gates.recent import Recent, RecentBatch
from pynomaly.domain.datasets import Schema
from pynomaly.domain.encodings import QUANTILE_SHARES, CategoricalEncoding, NumericEncoding
from pynomaly.domain.gates import GateResult, Verdict
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import Pipeline, ReleasePolicy

__all__ = [
    "column_scales",
    "incomparable",
    "schema_compatible",
    "schema_declared",
    "training_rows",
]

_NEARLY_ALL = 0.95


def schema_declared(challenger: Model, pipeline: Pipeline) -> GateResult:
    """Block a model that reads columns otherwise than the pipeline declares them: it cannot score."""
    problems = [*_undeclared(challenger.schema, pipeline, "challenger")]
    columns = len(challenger.schema.names)
    return GateResult(
        "schema_declared", "block" if problems else "pass", float(len(problems)), None, 0.0, columns,
        f"{'; '.join(problems)}." if problems
        else f"The pipeline declares all {columns} columns as the challenger learnt them.",
    )  # fmt: skip


def incomparable(champion: Model, holdout: Iterable[str], pipeline: Pipeline) -> str | None:
    """Return why a champion can score neither the held-out rows nor what the pipeline now reads.

    Args:
        champion: What serves.
        holdout: Columns of the challenger's held-out rows.
        pipeline: As it is declared now.

    Returns:
        None if it can.
    """
    problems = [*_undeclared(champion.schema, pipeline, "champion")]
    problems += [
        f"the held-out rows lack '{name}', which the champion reads"
        for name in sorted({*champion.schema.names} - {*holdout})
    ]
    return problems[0] if problems else None


def schema_compatible(
    challenger: Model,
    champion: Model | None,
    recent: Recent,
    pipeline: Pipeline,
    incomparable: str | None = None,
) -> GateResult:
    """Pass if what production sends is what the challenger reads, columns and kinds.

    It blocks where the batch scored last lacks a column, or where more of its rows than may be
    quarantined cannot be read as the pipeline declares them.  Where no batch can be read, what the
    champion reads has to stand for what production sends: a column it does not read, or reads as
    another kind, asks for review.  So does a champion that cannot be compared with.

    Args:
        challenger: To be released.
        champion: What serves, if anything.
        recent: What production scored last.
        pipeline: As it is declared now.
        incomparable: Why the champion cannot be compared with; None if it can.
    """
    newest = next(iter(recent.read), None)
    problems = [*_not_sent(challenger.schema, newest, pipeline)] if newest else []
    doubts = []
    if incomparable is not None:
        doubts.append(
            f"{incomparable}: it cannot be compared with, and cannot score what the pipeline "
            "declares now"
        )
    elif champion is not None:
        doubts = [*_new_to(champion.schema, challenger.schema, sent=newest is not None)]
    ignored = [] if champion is None else [
        name for name in champion.schema.names if name not in challenger.schema.names
    ]  # fmt: skip
    verdict: Verdict = "block" if problems else "review" if doubts else "pass"
    if problems or doubts:
        sentence = "; ".join([*problems, *doubts]) + "."
    else:
        against = (
            "the batch scored last" if newest else "the champion" if champion else "the pipeline"
        )
        sentence = f"All {len(challenger.schema.names)} columns are as {against} has them."
    if ignored:
        sentence += f" No longer read: {', '.join(ignored)}."
    return GateResult(
        "schema_compatible", verdict, float(len(problems) + len(doubts)), None, 0.0,
        len(challenger.schema.names), sentence,
    )  # fmt: skip


def _undeclared(schema: Schema, pipeline: Pipeline, who: str) -> Iterator[str]:
    declared = {column.name: column.kind for column in pipeline.schema.columns}
    for column in schema.columns:
        kind = declared.get(column.name)
        if kind is None:
            yield f"the pipeline no longer declares '{column.name}', which the {who} reads"
        elif kind != column.kind:
            yield f"'{column.name}' is declared {kind}, and the {who} learnt it as {column.kind}"


def _not_sent(schema: Schema, newest: RecentBatch, pipeline: Pipeline) -> Iterator[str]:
    for name in schema.names:
        if name not in newest.columns:
            yield f"the batch scored last has no column '{name}', which the challenger reads"
    rows = len(newest.rows) + newest.unreadable
    if newest.unreadable > pipeline.validation.max_quarantine_share * rows:
        yield (
            f"{newest.unreadable:,} of {rows:,} rows of the batch scored last cannot be read as "
            "the pipeline declares its columns now"
        )


def _new_to(champion: Schema, challenger: Schema, *, sent: bool) -> Iterator[str]:
    kinds = {column.name: column.kind for column in champion.columns}
    for column in challenger.columns:
        kind = kinds.get(column.name)
        if kind is None and not sent:
            yield (
                f"the champion does not read '{column.name}': check that production sends it, no "
                "scored batch can be read to tell"
            )
        elif kind is not None and kind != column.kind:
            yield f"'{column.name}' is {column.kind} to the challenger, {kind} to the champion"


def training_rows(challenger: Model, champion: Model, policy: ReleasePolicy) -> GateResult:
    """Block a model fitted on a fraction of the champion's rows: most likely of a partial extract.

    On easy data a hundredth of the rows gives scores that no other gate can tell from the
    champion's; what it lacks is what only many rows show.
    """
    own, theirs = challenger.card.training_rows, champion.card.training_rows
    share = own / theirs
    verdict: Verdict = "pass"
    threshold = policy.training_share_review
    if share < policy.training_share_block:
        verdict, threshold = "block", policy.training_share_block
    elif share < policy.training_share_review:
        verdict = "review"
    return GateResult(
        "training_rows", verdict, share, None, threshold, own,
        f"Fitted on {own:,} rows, the champion on {theirs:,}: a ratio of {share:.2g}.",
    )  # fmt: skip


def column_scales(challenger: Model, champion: Model, policy: ReleasePolicy) -> GateResult:
    """Block where a numeric column was spread quite otherwise when the challenger learnt it.

    Cents instead of euros make a column ten or a hundred times as wide, and the challenger blind or
    oversensitive to it, which comparisons on its own held-out rows cannot see: they are in cents as
    well.  The spread is what lies between the 5th and the 95th percentile of the training rows;
    columns without any are left out.

    A column that varied for the champion and is the same in all of the challenger's rows, as when
    what delivers it broke, was dropped when it was trained: it is blind to it.  A person looks.
    """
    own, theirs = _spreads(challenger), _spreads(champion)
    changes = {name: own[name] / theirs[name] for name in own.keys() & theirs.keys()}
    read = {encoding.column for encoding in challenger.preprocessing.encodings}
    lost = [
        name for name in _varied(champion) if name in challenger.schema.names and name not in read
    ]
    blind = (
        f" The challenger does not look at {', '.join(lost)}: the same in all rows it learnt from, "
        "not so when the champion was trained."
        if lost
        else ""
    )
    verdict: Verdict = "review" if lost else "pass"
    if not changes:
        return GateResult(
            "column_scales", verdict, None, None, policy.max_scale_change, 0,
            f"No numeric column to compare.{blind}",
        )  # fmt: skip
    worst = max(sorted(changes), key=lambda name: max(changes[name], 1 / changes[name]))
    change = max(changes[worst], 1 / changes[worst])
    if change > policy.max_scale_change:
        verdict = "block"
    return GateResult(
        "column_scales", verdict, change, None, policy.max_scale_change, len(changes),
        f"Of {len(changes)} numeric columns '{worst}' changed most: it is spread "
        f"{changes[worst]:.3g} times as wide as when the champion was trained.{blind}",
    )  # fmt: skip


def _varied(model: Model) -> Iterator[str]:
    """Yield columns that were not nearly the same in all training rows."""
    spreads = _spreads(model)
    for encoding in model.preprocessing.encodings:
        match encoding:
            case NumericEncoding(column=name) if name not in spreads:
                continue
            case CategoricalEncoding(shares=(most, *_)) if most > _NEARLY_ALL:
                continue
        yield encoding.column


def _spreads(model: Model) -> dict[str, float]:
    low, high = QUANTILE_SHARES.index(0.05), QUANTILE_SHARES.index(0.95)
    return {
        encoding.column: encoding.quantiles[high] - encoding.quantiles[low]
        for encoding in model.preprocessing.encodings
        if isinstance(encoding, NumericEncoding)
        and encoding.quantiles[high] > encoding.quantiles[low]
    }
