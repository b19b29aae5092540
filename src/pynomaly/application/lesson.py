"""Decide what each row of a training table is good for, once people have judged some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.judgements import Judgements
from pynomaly.application.row_names import digests, rows_of
from pynomaly.application.split import TrainingRows, known_labels
from pynomaly.application.training_marks import marked
from pynomaly.domain.models import Seen
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.verdicts import Said, judges, short

__all__ = ["MOST_WAITING", "Lesson", "prepare_lesson"]

MOST_WAITING = 0.1
"""If more of the rows wait for a verdict, they are no exceptions any more: the data moved."""

_LABEL: Mapping[Said, float] = {"anomaly": 1.0, "normal": 0.0}


@dataclass(frozen=True, slots=True)
class Lesson:
    """Rows to learn from, and what became of those that were judged or wait for it.

    Args:
        rows: The training table's; all of them calibrate, in columns of their own they say which
            are fitted on and what they teach.
        added: Judged rows from elsewhere, which teach and do nothing else.
        seen: What the model keeps of both.
        counts: Of rows, by what became of them; empty where nobody judged or flagged any.
    """

    rows: pa.Table
    added: pa.Table
    seen: Seen
    counts: Mapping[str, int]

    @property
    def to_fit(self) -> pa.Table:
        """All rows."""
        return pa.concat_tables([self.rows, self.added]).combine_chunks()

    @property
    def sentence(self) -> str:
        """For people; empty where nobody judged or flagged a row."""
        if not self.counts:
            return ""
        count = self.counts
        told = []
        if count["standing"]:
            added, judging = count["added"], count["kept_to_judge"]
            told.append(
                f"Of {count['standing']:,} verdicts {count['anomalies_taught']:,} teach what an "
                f"anomaly is and {count['normal_taught']:,} what is normal"
                + (f", {added:,} of them from outside the training table" if added else "")
                + (f"; {judging:,} judge models and teach nothing." if judging else ".")
            )
        if count["unreadable"]:
            told.append(f"{count['unreadable']:,} cannot be read as the columns are now.")
        if count["waiting_set_aside"]:
            told.append(
                f"{count['waiting_set_aside']:,} flagged rows that wait for a verdict were not "
                "fitted on."
            )
        if count["waiting_fitted"]:
            told.append(
                f"{count['waiting_fitted']:,} flagged rows that wait for a verdict were fitted on: "
                f"they are more than {MOST_WAITING:.0%} of the table."
            )
        if count["waiting_nameless"]:
            told.append(
                f"{count['waiting_nameless']:,} flagged rows that may wait for a verdict could not be "
                "looked for: their scores are gone or damaged (pynomaly scores verify), or they have "
                "no id and their source is gone or was changed."
            )
        return " ".join(told)


def prepare_lesson(rows: TrainingRows, pipeline: Pipeline, judgements: Judgements) -> Lesson:
    """Give every row its part.

    - A row judged an anomaly teaches that, and is not fitted on as ordinary.
    - A row judged normal teaches that, and is fitted on.
    - One in five judged rows, always the same ones, teaches nothing and is not fitted on: models
      are judged by them.
    - A flagged row that waits for a verdict is not fitted on, unless there are too many of them or
      the label column says what it is.
    - Judged rows that are not in the table are added and teach; held-out ones do not.

    All rows of the table go on to calibrate, by models that have not seen them.

    Args:
        rows: Divided already.
        pipeline: Names ids, features and label column.
        judgements: What is known, and what is not.
    """
    names = digests(rows.fit, pipeline)
    said = {verdict.row: verdict.said for verdict in judgements.verdicts}
    verdicts = np.array([_taught(said, name) for name in names], dtype=np.float64)
    fitted = np.array([name not in said or verdicts[i] == 0 for i, name in enumerate(names)])
    waiting = np.array([name in judgements.waiting and name not in said for name in names])
    labels = known_labels(rows.fit, pipeline)
    answered = np.zeros(len(names), dtype=np.bool_) if labels is None else ~np.isnan(labels)
    waiting &= ~answered
    too_many = waiting.mean() > MOST_WAITING
    if not too_many:
        fitted &= ~waiting
    here = {*names, *digests(rows.holdout, pipeline)} if said else set()
    elsewhere = [
        verdict
        for verdict in judgements.verdicts
        if not judges(verdict.row) and verdict.row not in here
    ]
    added, readable = rows_of(elsewhere, pipeline)
    added_labels = np.array([_LABEL[v.said] for v in readable], dtype=np.float64)
    taught = [name for i, name in enumerate(names) if not np.isnan(verdicts[i])]
    taught += [verdict.row for verdict in readable]
    all_labels = np.concatenate([verdicts, added_labels])
    counts = {
        "standing": len(said),
        "anomalies_taught": int(np.sum(all_labels == 1)),
        "normal_taught": int(np.sum(all_labels == 0)),
        "added": len(readable),
        "kept_to_judge": len(said) - len(set(taught)) - (len(elsewhere) - len(readable)),
        "unreadable": len(elsewhere) - len(readable),
        "waiting_set_aside": 0 if too_many else int(waiting.sum()),
        "waiting_fitted": int(waiting.sum()) if too_many else 0,
        "waiting_nameless": judgements.nameless,
    }
    table = rows.fit
    if said or waiting.any():
        table = marked(table, fitted, verdicts if taught else None)
    if readable:
        none = np.zeros(len(readable), dtype=np.bool_)
        added = marked(added, none, added_labels)
        added = added.select(table.column_names).cast(table.schema)
    return Lesson(
        table,
        added if readable else table.slice(0, 0),
        Seen(
            _shortened(name for i, name in enumerate(names) if fitted[i]),
            _shortened([*taught, *(names[i] for i in np.flatnonzero(answered & fitted))]),
        ),
        counts if any(counts.values()) else {},
    )


def _taught(said: Mapping[str, Said], name: str) -> float:
    """Return what a row of the table teaches; NaN for nothing."""
    return np.nan if name not in said or judges(name) else _LABEL[said[name]]


def _shortened(names: Iterable[str]) -> NDArray[np.uint64]:
    return np.unique(np.fromiter((short(name) for name in names), dtype=np.uint64))
