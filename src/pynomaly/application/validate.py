"""Read a source, refuse bad rows, and stage the rest as a typed dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from pynomaly.application.conform import conform
from pynomaly.application.planned_source import PlannedSource
from pynomaly.application.ports.data import DatasetStore, MalformedRow, OutputWriter, SourceBatch
from pynomaly.application.ports.partitions import PartitionReader
from pynomaly.application.ports.quality import DataValidator, ValidationSession
from pynomaly.application.ports.records import Records
from pynomaly.application.ports.reporting import Reports
from pynomaly.application.quarantine import quarantined_rows, reasons_by_row, without_rows
from pynomaly.domain.datasets import ROW_ID, Dataset, Snapshot
from pynomaly.domain.errors import IntegrityError, MalformedSourceError, ValidationFailedError
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.partitions import Partition, Plan
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.quality import ExpectationResult, RowFailure, ValidationReport
from pynomaly.domain.sources import SourceSpec

__all__ = ["ValidateData", "Validated"]

SAMPLE_IDS = 10
_EXAMPLES = 3
_TO_THE_END = "partitions_read_to_their_end"

_CELLS = 2_000_000
"""Of a batch: every expectation costs milliseconds a batch, so batches of few rows are dear."""


@dataclass(frozen=True, slots=True)
class Validated:
    """Outcome of a validation that let the data through.

    Args:
        report: What was found; also stored.
        dataset: Accepted rows, staged unless they are to be scored.
        report_path: HTML page.
        plan: The partitions that were validated.
        unreadable: Position of a partition that could not be read to its end, and why; its other
            rows are neither accepted nor quarantined.
    """

    report: ValidationReport
    dataset: Dataset
    report_path: str
    plan: Plan
    unreadable: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ValidateData:
    """Validate one snapshot of a pipeline's data in one streaming pass.

    Args:
        reader: Reads the source.
        datasets: Stages accepted and refused rows.
        validator: Checks expectations.
        records: Keeps the report.
        reports: Renders it.
        reports_folder: Where the HTML page goes.
    """

    reader: PartitionReader
    datasets: DatasetStore
    validator: DataValidator
    records: Records
    reports: Reports
    reports_folder: Path

    def __call__(
        self,
        pipeline: Pipeline,
        spec: SourceSpec,
        run_id: str,
        plan: Plan,
        *,
        to_score: bool = False,
    ) -> Validated:
        """Validate a snapshot; unless it is to be scored, its accepted rows are staged.

        Args:
            pipeline: Its expectations.
            spec: The source.
            run_id: Of the run record.
            plan: The partitions of the snapshot.
            to_score: Scoring follows, which reads the source again: leave a partition aside that
                cannot be read and validate the others, look at no label, and keep no accepted rows.

        Raises:
            ValidationFailedError: A critical expectation failed or too many rows are bad.  The
                report and the quarantined rows are kept.
            SourceNotFoundError: Missing or unreadable.
            MalformedSourceError: No usable table, or not a row of it can be read.
        """
        pipeline = pipeline.unlabelled if to_score else pipeline
        unreadable: dict[int, MalformedSourceError] = {}

        def set_aside(partition: Partition, error: MalformedSourceError) -> None:
            unreadable[plan.partitions.index(partition)] = error

        source = PlannedSource(self.reader, spec, plan, set_aside if to_score else None)
        session = self.validator.session(pipeline)
        report_id = new_id(datetime.now(UTC))
        results = list(session.check_columns(source.columns))
        if any(not r.passed and r.severity == "critical" for r in results):
            # Rows cannot be judged without their columns; read on only to pin the snapshot.
            for _ in source.batches():
                pass
            return self._conclude(pipeline, source.snapshot(), report_id, results, None, None, plan)
        refusals = _Refusals()
        with (
            self.datasets.writer(f"{report_id}-accepted") as accepted,
            self.datasets.writer(f"{report_id}-quarantine") as quarantine,
        ):
            rows = min(max(_CELLS // max(len(source.columns), 1), 50_000), 200_000)
            for batch in source.batches(rows):
                _divide(batch, pipeline, session, accepted, quarantine, refusals)
                del batch  # or it would stay while the next one is read
                pa.default_memory_pool().release_unused()
        if unreadable and not source.snapshot().rows:
            raise next(iter(unreadable.values()))
        results += [*refusals.results(), *_cut_short(tuple(unreadable.values()), plan)]
        if accepted.rows:
            results += session.finish(lambda names: self.datasets.table(accepted.uri, names))
        validated = self._conclude(
            pipeline, source.snapshot(), report_id, results, accepted, quarantine, plan
        )
        if to_score:
            self.datasets.discard(accepted.uri)
        why = ((position, error.message) for position, error in unreadable.items())
        return replace(validated, unreadable=tuple(why))

    def _conclude(
        self,
        pipeline: Pipeline,
        snapshot: Snapshot,
        report_id: str,
        results: list[ExpectationResult],
        accepted: OutputWriter | None,
        quarantine: OutputWriter | None,
        plan: Plan,
    ) -> Validated:
        report = ValidationReport(
            id=report_id,
            pipeline=pipeline.name,
            snapshot=snapshot,
            results=tuple(results),
            accepted=accepted.rows if accepted else 0,
            quarantined=quarantine.rows if quarantine else 0,
            max_quarantine_share=pipeline.validation.max_quarantine_share,
            created_at=datetime.now(UTC),
        )
        self.records.add_report(report)
        path = self.reports_folder / f"validation-{report.id}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.reports.validation_html(report), encoding="utf-8")
        quarantine_uri = quarantine.uri if quarantine and quarantine.rows else None
        if report.verdict == "rejected" or accepted is None:
            if accepted is not None and accepted.rows:
                self.datasets.discard(accepted.uri)
            raise ValidationFailedError(
                _why_rejected(report), report_id=report.id, hint=_hint(path, quarantine_uri)
            )
        if report.accepted + report.quarantined != snapshot.rows:
            raise IntegrityError(
                f"{snapshot.uri}: {snapshot.rows:,} rows in, {report.accepted:,} accepted and "
                f"{report.quarantined:,} quarantined do not add up"
            )
        dataset = Dataset(accepted.uri, snapshot, accepted.rows, quarantine_uri, report.quarantined)
        return Validated(report, dataset, str(path), plan)


@dataclass(slots=True)
class _Refusals:
    """Counts of rows refused before any expectation could look at them."""

    unreadable: int = 0
    unreadable_ids: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    malformed: int = 0
    malformed_ids: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def add_unreadable(self, ids: Iterable[str], failures: Sequence[RowFailure]) -> None:
        ids = list(ids)
        self.unreadable += len(ids)
        self.unreadable_ids = (*self.unreadable_ids, *ids)[:SAMPLE_IDS]
        self.reasons = _some(self.reasons, [failure.reason for failure in failures[:_EXAMPLES]])

    def add_malformed(self, lines: Sequence[MalformedRow]) -> None:
        self.malformed += len(lines)
        ids = (f"{line.file}:{line.line}" for line in lines[:SAMPLE_IDS])
        self.malformed_ids = (*self.malformed_ids, *ids)[:SAMPLE_IDS]
        self.faults = _some(self.faults, [line.reason for line in lines[:_EXAMPLES]])

    def results(self) -> tuple[ExpectationResult, ...]:
        return (
            ExpectationResult(
                "lines_split_into_the_header's_columns", None, "row", not self.malformed,
                f"{self.malformed} malformed lines{_examples(self.faults)}", "0 malformed lines",
                self.malformed, self.malformed_ids,
            ),
            ExpectationResult(
                "values_read_as_declared", None, "row", not self.unreadable,
                f"{self.unreadable} unreadable rows{_examples(self.reasons)}", "0 unreadable rows",
                self.unreadable, self.unreadable_ids,
            ),
        )  # fmt: skip


def _some(told: tuple[str, ...], more: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*told, *more)))[:_EXAMPLES]


def _examples(told: tuple[str, ...]) -> str:
    return f", e.g. {'; '.join(told)}" if told else ""


def _cut_short(
    unreadable: Sequence[MalformedSourceError], plan: Plan
) -> Iterator[ExpectationResult]:
    if unreadable:
        count, number = len(plan.partitions), len(unreadable)
        found = f"{number} of {count} partitions cannot be: {unreadable[0].message}"
        yield ExpectationResult(_TO_THE_END, None, "warning", False, found, "all of them")


def _divide(
    batch: SourceBatch,
    pipeline: Pipeline,
    session: ValidationSession,
    accepted: OutputWriter,
    quarantine: OutputWriter,
    refusals: _Refusals,
) -> None:
    """Send every row of a batch either on or into quarantine."""
    table, unreadable = conform(batch.table, pipeline)
    reasons = reasons_by_row((*unreadable, *session.check_rows(table, unreadable)))
    row_ids = batch.table.column(ROW_ID).to_pylist() if reasons else []
    positions = sorted({failure.position for failure in unreadable})
    refusals.add_unreadable((row_ids[position] for position in positions), unreadable)
    refusals.add_malformed(batch.malformed)
    accepted.write(without_rows(table, reasons))
    refused = quarantined_rows(batch, reasons)
    if len(refused):
        quarantine.write(refused)


def _why_rejected(report: ValidationReport) -> str:
    parts = [failure.sentence for failure in report.failures]
    if report.too_many_quarantined:
        parts.append(
            f"{report.quarantined:,} of {report.snapshot.rows:,} rows "
            f"({report.quarantine_share:.1%}) had to be quarantined, "
            f"allowed {report.max_quarantine_share:.1%}"
        )
        parts += [refusal.sentence for refusal in report.refusals[:_EXAMPLES]]
    parts += [result.sentence for result in report.results if result.expectation == _TO_THE_END]
    if not parts:
        parts.append("no row was accepted")
    return f"{report.snapshot.uri} was rejected: " + "; ".join(parts)


def _hint(path: Path, quarantine_uri: str | None) -> str:
    hint = f"full report: {path}"
    return f"{hint}; refused rows with reasons: {quarantine_uri}" if quarantine_uri else hint
