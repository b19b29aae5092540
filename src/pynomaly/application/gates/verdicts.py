"""Gates about rows that people judged, or have still to judge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.gates.contender import Contender
from pynomaly.application.gates.context import GateContext
from pynomaly.application.judgements import Judgements
from pynomaly.application.lesson import MOST_WAITING
from pynomaly.application.row_names import digests, rows_of
from pynomaly.application.split import known_labels
from pynomaly.domain.gates import GateResult
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.verdicts import short

__all__ = ["KnownRows", "contamination", "known_rows"]


def contamination(
    challenger: Contender, judgements: Judgements, trained_at: datetime
) -> GateResult | None:
    """Block a model that learnt from a known anomaly, or an open alert, as if it were ordinary.

    A model keeps which rows it was fitted on.  What was known when its training began must not be
    among them; what came up later is a matter for a person, or, of open alerts, only told: they
    are likely, not known, to be anomalies.

    Returns:
        None where no anomaly is known, no alert open and none lost.
    """
    anomalies = {v.row: v.at for v in judgements.verdicts if v.said == "anomaly"}
    waiting = judgements.waiting
    n = len(anomalies) + len(waiting)
    if not n and not judgements.nameless:
        return None
    asked = f"{len(anomalies):,} rows judged anomalies and {len(waiting):,} open alerts"
    if judgements.nameless:
        asked += f" ({judgements.nameless:,} more cannot be told: their scores or source are gone)"
    seen = challenger.model.seen
    if seen is None:
        return GateResult(
            "contamination", "review", None, None, 0.0, n,
            f"There are {asked}, and the model does not say which rows it was fitted on: it was "
            "trained by an earlier version.  Train again.",
        )  # fmt: skip
    fitted, flagged = _among(anomalies, seen.fitted), _among(waiting, seen.fitted)
    known = [row for row in fitted if anomalies[row] < trained_at]
    answered = {*_among(flagged, seen.taught)}  # by the label column of the training table
    opened = [row for row in flagged if waiting[row] < trained_at and row not in answered]
    late = len(fitted) - len(known)
    too_many = challenger.model.card.verdicts.get("waiting_fitted", 0)
    told = f"Of {asked} {len(fitted):,} and {len(flagged):,} were fitted on as ordinary rows"
    if known or (opened and not too_many):
        return GateResult(
            "contamination", "block", float(len(known) + len(opened)), None, 0.0, n,
            f"{told}, {len(known) + len(opened):,} of them known when training began. Train again.",
        )  # fmt: skip
    if too_many:
        return GateResult(
            "contamination", "review", float(too_many), None, 0.0, n,
            f"{told}: open alerts were more than {MOST_WAITING:.0%} of the training rows, too many "
            "to leave out. Judge them, or see whether the data is right, and train again.",
        )  # fmt: skip
    if late:
        return GateResult(
            "contamination", "review", float(late), None, 0.0, n,
            f"{told}; they were judged since. Train again to leave them out.",
        )  # fmt: skip
    since = " (flagged since)" if flagged else ""
    return GateResult("contamination", "pass", 0.0, None, 0.0, n, f"{told}{since}.")


@dataclass(frozen=True, slots=True)
class KnownRows:
    """Rows that say what a model should think of them.

    Args:
        rows: Held-out rows, and judged anomalies that no model in the ring has seen.
        labels: (n,) 1 = anomaly, 0 = normal, NaN = unknown.
        told: What is to be said about judged ones; empty where there are none.
    """

    rows: pa.Table
    labels: NDArray[np.float64]
    told: str


def known_rows(context: GateContext) -> KnownRows | None:
    """Return held-out rows with what is known of them; None where nothing is.

    Anomalies that people found are added, as long as neither model was fitted on them or taught
    with them.  Rows they found normal are not: these were judged because the champion flagged
    them, and to count its own false alarms against it would flatter any other model.
    """
    pipeline, holdout = context.pipeline, context.holdout
    labels = None
    if pipeline.label_column in holdout.column_names:
        labels = known_labels(holdout, pipeline)
    anomalies = [v for v in context.judgements.verdicts if v.said == "anomaly"]
    seen = set(_among((v.row for v in anomalies), *_seen(context)))
    own = context.challenger.model.seen
    candidates = [v for v in anomalies if own is not None and v.row not in seen]
    judged, unseen = rows_of(candidates, pipeline)
    if not unseen:
        return None if labels is None else KnownRows(holdout, labels, "")
    if labels is None:
        labels = np.full(len(holdout), np.nan)
    said = {verdict.row for verdict in context.judgements.verdicts}
    spoken_of = np.array([name in said for name in _names(holdout, pipeline)], dtype=np.bool_)
    columns = [name for name in holdout.column_names if name in judged.column_names]
    others = holdout.filter(pa.array(~spoken_of)).select(columns)
    return KnownRows(
        pa.concat_tables([others, judged.select(columns).cast(others.schema)]).combine_chunks(),
        np.concatenate([labels[~spoken_of], np.ones(len(unseen))]),
        f" {len(unseen):,} of the anomalies were found by people, and neither model has seen them.",
    )


def _seen(context: GateContext) -> Iterator[NDArray[np.uint64]]:
    """Yield the rows that shaped either model; a champion that does not say was taught by none."""
    for contender in (context.challenger, context.champion):
        if contender is not None and contender.model.seen is not None:
            yield contender.model.seen.fitted
            yield contender.model.seen.taught


def _names(holdout: pa.Table, pipeline: Pipeline) -> list[str]:
    """Return what held-out rows are called; nothing where they were held out under other keys."""
    if set(pipeline.id_columns) <= set(holdout.column_names):
        return digests(holdout, pipeline)
    return [""] * len(holdout)


def _among(rows: Iterable[str], *kept: NDArray[np.uint64]) -> list[str]:
    """Return those of some digests that are among the kept ones, of which the first bits are."""
    asked = list(rows)
    bits = np.array([short(row) for row in asked], dtype=np.uint64)
    known = np.concatenate([np.empty(0, np.uint64), *kept])
    return [row for row, found in zip(asked, np.isin(bits, known), strict=True) if found]
