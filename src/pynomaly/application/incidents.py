"""Find the incidents of a pipeline: in the scores in force, with the verdicts that stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from pynomaly.application.in_force import entries_in_force
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore
from pynomaly.application.ports.records import Records
from pynomaly.application.ports.verdicts import Verdicts
from pynomaly.application.row_names import called_now, digests
from pynomaly.application.source_rows import ReadSourceRows, called_so, ids_of
from pynomaly.domain.errors import IntegrityError, PynomalyError, UsageError
from pynomaly.domain.incidents import Alert, Incident, group
from pynomaly.domain.ledger import Entry
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.scores import Reason
from pynomaly.domain.verdicts import Said, digest_of_ids, standing

__all__ = ["FindIncidents", "Found"]

_COLUMNS = (
    "score", "p_value", "is_anomaly", "severity", "model_version", "scored_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What was flagged.

    Args:
        incidents: Those scored last first, of one source in order of its rows.
        unreadable: Further flagged rows, whose scores are gone or damaged.
    """

    incidents: tuple[Incident, ...]
    unreadable: int


@dataclass(frozen=True, slots=True)
class FindIncidents:
    """Group the alerts in force; reads committed rows part by part.

    Where the pipeline has id columns, they call the rows.  Where it has none, rows are called by
    their values, and the sources of flagged rows are read once more.

    Args:
        ledger: Knows what is in force.
        store: Reads parts.
        records: Know which version counts.
        source_rows: Reads sources again.
        verdicts: What people said.
    """

    ledger: Ledger
    store: PartStore
    records: Records
    source_rows: ReadSourceRows
    verdicts: Verdicts

    def __call__(self, pipeline: Pipeline, *, reasons: bool = True) -> Found:
        """Return all incidents.

        Of parts that are gone or damaged the flagged rows are only counted; ``scores verify`` tells
        which those are.  Rows that were scored when other columns were the pipeline's keys are left
        out.

        Args:
            pipeline: Whose.
            reasons: Whether to read those of the alerts: most of the time and memory it takes.
        """
        given = called_now(self.verdicts.of(pipeline.name), pipeline)
        said = {verdict.row: verdict.said for verdict in standing(given)}
        found: list[tuple[Incident, ...]] = []
        unreadable = 0
        entries = entries_in_force(self.ledger, self.records, pipeline.name)
        for _, of_source in groupby(entries, key=lambda entry: entry.partition.source):
            alerts, lost = self._alerts(pipeline, list(of_source), said, reasons=reasons)
            unreadable += lost
            if alerts:
                found.append(group(alerts))
        found.sort(key=lambda of: of[0].alerts[0].scored_at, reverse=True)
        return Found(tuple(incident for of in found for incident in of), unreadable)

    def one(self, pipeline: Pipeline, incident_id: str) -> Incident:
        """Return an incident by id.

        Raises:
            UsageError: There is none of that id.
        """
        for incident in self(pipeline).incidents:
            if incident.id == incident_id:
                return incident
        raise UsageError(
            f"pipeline '{pipeline.name}' has no incident {incident_id}; they follow from the "
            "scores in force, and new scores make new ones",
            hint=f"list them: pynomaly incidents list {pipeline.name} --all",
        )

    def _alerts(
        self,
        pipeline: Pipeline,
        entries: Sequence[Entry],
        said: Mapping[str, Said],
        *,
        reasons: bool,
    ) -> tuple[list[Alert], int]:
        """Return the alerts of a source, and how many more cannot be read."""
        alerts: list[Alert] = []
        position = unreadable = 0
        for entry in entries:
            assert entry.outcome is not None  # committed
            if entry.outcome.rows_flagged:
                try:
                    same = called_so(self.store, entry, pipeline)
                    columns = (*_COLUMNS, "reasons") if reasons else _COLUMNS
                    found = list(self._flagged(pipeline, entry, position, columns)) if same else []
                except IntegrityError:
                    found = []
                    unreadable += entry.outcome.rows_flagged
                alerts += (
                    replace(alert, said=said.get(alert.row)) if alert.row else alert
                    for alert in self._called(pipeline, entry, found)
                )
            position += entry.outcome.rows_scored
        return alerts, unreadable

    def _flagged(
        self, pipeline: Pipeline, entry: Entry, position: int, columns: Sequence[str]
    ) -> Iterator[Alert]:
        """Yield the alerts of a partition; those without ids are not called anything yet."""
        assert entry.outcome is not None  # committed
        wanted = list(dict.fromkeys((*pipeline.keys, *columns)))
        for table in self.store.read(entry.outcome.parts, wanted):
            numbers = np.flatnonzero(table.column("is_anomaly").to_numpy(zero_copy_only=False))
            rows = table.take(pa.array(numbers))
            for number, ids, row in zip(
                numbers.tolist(), ids_of(rows, pipeline), rows.to_pylist(), strict=True
            ):
                yield Alert(
                    digest_of_ids(ids) if pipeline.id_columns else None,
                    dict(zip(pipeline.keys, ids, strict=True)),
                    entry.partition.source,
                    position + number,
                    row["score"],
                    row["p_value"],
                    row["severity"],
                    _sentences(row.get("reasons")),
                    row["model_version"],
                    row["scored_at"],
                    None,
                )
            position += len(table)

    def _called(self, pipeline: Pipeline, entry: Entry, alerts: Sequence[Alert]) -> Sequence[Alert]:
        """Return alerts with the digests of their values where no ids call them."""
        if pipeline.id_columns or not alerts:
            return alerts
        wanted = {tuple(alert.ids.values()) for alert in alerts}
        called: dict[tuple[str, ...], str] = {}
        try:
            for rows in self.source_rows(pipeline, entry.partition, wanted):
                called |= zip(ids_of(rows, pipeline), digests(rows, pipeline), strict=True)
        except PynomalyError:
            return alerts  # nobody can say what they were: neither judged nor learnt from
        return [replace(alert, row=called.get(tuple(alert.ids.values()))) for alert in alerts]


def _sentences(reasons: Sequence[Mapping[str, Any]] | str | None) -> tuple[str, ...]:
    """Return reasons for people; in tables of databases they are text already."""
    if isinstance(reasons, str):
        return (reasons,)
    return tuple(Reason(**reason).sentence for reason in reasons or ())
