"""Put on record what somebody says about scored rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pynomaly.application.in_force import entries_in_force
from pynomaly.application.ports.data import DatasetStore
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore
from pynomaly.application.ports.records import Records
from pynomaly.application.ports.verdicts import Verdicts
from pynomaly.application.row_names import cells, digests
from pynomaly.application.source_rows import Ids, ReadSourceRows, called_so, ids_of, with_ids
from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.errors import UsageError
from pynomaly.domain.identifiers import new_id
from pynomaly.domain.ledger import Entry
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.runs import Actor
from pynomaly.domain.sources import SourceSpec
from pynomaly.domain.verdicts import Cell, Said, Verdict, standing

__all__ = ["RecordVerdicts", "Statement"]

_BATCHES = 50
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody says about a row.

    Args:
        ids: Values of the pipeline's keys, as scored output has them.
        said: What it is.
        reason: Why, in their words.
        source: File, object or table the row was scored from; None where the ids alone tell.
    """

    ids: Ids
    said: Said
    reason: str = ""
    source: str | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """A scored row as its source has it."""

    row: str
    values: Mapping[str, Cell]
    source: str


@dataclass(frozen=True, slots=True)
class RecordVerdicts:
    """Find the rows that are spoken of, and store verdicts with their values; all or none.

    Args:
        verdicts: Keep them.
        ledger: Knows which scores are in force.
        store: Reads them.
        source_rows: Reads the rows' values.
        records: Know the batches that were scored.
        datasets: Hold the rows that were refused.
    """

    verdicts: Verdicts
    ledger: Ledger
    store: PartStore
    source_rows: ReadSourceRows
    records: Records
    datasets: DatasetStore

    def __call__(
        self, pipeline: Pipeline, statements: Sequence[Statement], actor: Actor
    ) -> tuple[Verdict, ...]:
        """Record verdicts on scored rows.

        Args:
            pipeline: Its keys call the rows.
            statements: One per row.
            actor: Who says so.

        Raises:
            UsageError: No scored row is called so, or several rows are; nothing is recorded.
            SourceNotFoundError: The source of a row is gone, so its values cannot be kept.
            SourceChangedError: It is no longer what was scored.
            IntegrityError: Stored scores are missing or damaged.
        """
        entries = entries_in_force(self.ledger, self.records, pipeline.name)
        statements = self._named(statements, {e.partition.source for e in entries}, listed=False)
        _refuse_contradictions(pipeline, statements)
        found = self._rows(pipeline, entries, statements)
        missing = [s for s in statements if not found[s]]
        if missing:
            raise self._unknown(pipeline, missing)
        now = datetime.now(UTC)
        given = tuple(
            Verdict(
                new_id(now), pipeline.name, row.row,
                dict(zip(pipeline.keys, statement.ids, strict=True)), statement.said, row.values,
                row.source, actor, now, statement.reason,
            )
            for statement in statements
            for row in (_only(pipeline, statement, found[statement]),)
        )  # fmt: skip
        self.verdicts.add(given)
        return given

    def withdraw(
        self, pipeline: Pipeline, statements: Sequence[Statement], actor: Actor
    ) -> tuple[Verdict, ...]:
        """Take back the verdicts that stand on rows, whether or not their scores are still kept.

        Raises:
            UsageError: No verdict stands on such a row, or on several; nothing is recorded.
        """
        stands = standing(self.verdicts.of(pipeline.name))
        now = datetime.now(UTC)
        given = []
        for statement in self._named(statements, {v.source for v in stands}, listed=True):
            of_row = [
                v
                for v in stands
                if tuple(v.ids.get(name) for name in pipeline.keys) == statement.ids
                and statement.source in (None, v.source)
            ]
            if not of_row:
                raise UsageError(
                    f"no verdict stands on the row {_called(pipeline, statement)}",
                    hint=f"list them: pynomaly verdicts list {pipeline.name}",
                )
            rows = [_Found(v.row, v.values, v.source) for v in of_row]
            row = _only(pipeline, statement, rows)
            given.append(
                Verdict(
                    new_id(now),
                    pipeline.name,
                    row.row,
                    of_row[0].ids,
                    "withdrawn",
                    row.values,
                    row.source,
                    actor,
                    now,
                    statement.reason,
                )
            )
        self.verdicts.add(given)
        return tuple(given)

    def _named(
        self, statements: Sequence[Statement], known: Collection[str], *, listed: bool
    ) -> list[Statement]:
        """Return statements with their sources as they are known.

        What is known by a path may have become a link since.  Rows are then those of the file it
        leads to now, whereas verdicts are listed by the path of then.
        """
        named = {s.source: self._known(s.source, known, listed) for s in statements if s.source}
        return [replace(s, source=s.source and named[s.source]) for s in statements]

    def _known(self, source: str, known: Collection[str], listed: bool) -> str:
        if "://" in source:
            return source
        spelled = self._spelling(source)
        for one in (source, spelled) if listed else (spelled, source):
            if one in known:
                return one
        alike = (one for one in known if "://" not in one and self._spelling(one) == spelled)
        return next(alike, spelled)

    def _spelling(self, path: str) -> str:
        return self.source_rows.reader.place(SourceSpec(path))

    def _rows(
        self, pipeline: Pipeline, entries: Iterable[Entry], statements: Sequence[Statement]
    ) -> dict[Statement, list[_Found]]:
        """Return, for every statement, the scored rows that are called so."""
        found: dict[Statement, list[_Found]] = {statement: [] for statement in statements}
        for entry in entries:
            source = entry.partition.source
            about = {s.ids: s for s in statements if s.source in (None, source)}
            scored = self._scored(pipeline, entry, about)
            if not scored:
                continue
            for rows in self.source_rows(pipeline, entry.partition, scored):
                for ids, row, values in zip(
                    ids_of(rows, pipeline), digests(rows, pipeline), cells(rows, pipeline),
                    strict=True,
                ):  # fmt: skip
                    found[about[ids]].append(_Found(row, values, source))
        return found

    def _scored(self, pipeline: Pipeline, entry: Entry, about: Iterable[Ids]) -> set[Ids]:
        wanted = set(about)
        scored: set[Ids] = set()
        if wanted and entry.outcome is not None and called_so(self.store, entry, pipeline):
            for table in self.store.read(entry.outcome.parts, list(pipeline.keys)):
                scored |= set(ids_of(with_ids(table, pipeline, wanted), pipeline))
        return scored

    def _unknown(self, pipeline: Pipeline, missing: Sequence[Statement]) -> UsageError:
        """Return what is to be said about rows without a score."""
        refused = self._refused(pipeline, missing)
        named = ", ".join(_called(pipeline, s) for s in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        if refused:
            ids, why = next(iter(refused.items()))
            called = _called(pipeline, Statement(ids, "normal"))
            return UsageError(
                f"the row {called} was not scored, validation refused it: {why}",
                hint="mend the row and score it; only scored rows can be judged",
            )
        where = next((f" from {s.source}" for s in missing if s.source), "")
        return UsageError(
            f"no row of '{pipeline.name}' scored{where} has {named}{more}; nothing was recorded",
            hint=f"rows are called by {' and '.join(pipeline.keys)}, as in scored output: pynomaly "
            f"incidents list {pipeline.name}; score what is new: pynomaly score {pipeline.name} "
            "--data FILE",
        )

    def _refused(self, pipeline: Pipeline, missing: Sequence[Statement]) -> dict[Ids, str]:
        """Return those of some rows that validation refused lately, with its reason."""
        wanted = {statement.ids for statement in missing}
        prefix = "" if pipeline.keys == (ROW_ID,) else "source."
        names = [f"{prefix}{name}" for name in pipeline.keys]
        refused: dict[Ids, str] = {}
        for batch in self.records.batches(pipeline.name, _BATCHES):
            if batch.quarantine_uri is not None:
                table = self.datasets.table(batch.quarantine_uri)
                if set(names) <= set(table.column_names):
                    columns = [table.column(name).to_pylist() for name in names]
                    reasons = table.column("reason").to_pylist()
                    for *ids, reason in zip(*columns, reasons, strict=True):
                        if tuple(ids) in wanted:
                            refused.setdefault(tuple(ids), reason)
        return refused


def _refuse_contradictions(pipeline: Pipeline, statements: Sequence[Statement]) -> None:
    """Raise where a row is, or may be, spoken of twice at once."""
    seen: dict[Ids, set[str | None]] = {}
    for statement in statements:
        before = seen.setdefault(statement.ids, set())
        # Without a source a statement is about all rows called so.
        if statement.source in before or (before and None in {statement.source, *before}):
            raise UsageError(
                f"the row {_called(pipeline, statement)} is given twice; nothing was recorded",
                hint="say once what it is",
            )
        before.add(statement.source)


def _only(pipeline: Pipeline, statement: Statement, found: Sequence[_Found]) -> _Found:
    """Return the one row that a statement is about."""
    if len({(row.row, tuple(row.values.items())) for row in found}) == 1:
        return found[-1]
    sources = sorted({row.source for row in found})
    raise UsageError(
        f"{len(found)} scored rows have {_called(pipeline, statement)}, and they are not alike "
        f"({', '.join(sources[:_NAMED])}); nothing was recorded",
        hint="say which one is meant: --source FILE"
        if len(sources) > 1
        else f"{' and '.join(pipeline.keys)} must tell rows apart: name further id columns in "
        f"conf/pipelines/{pipeline.name}.yaml",
    )


def _called(pipeline: Pipeline, statement: Statement) -> str:
    pairs = zip(pipeline.keys, statement.ids, strict=True)
    return ", ".join(f"{name} '{value}'" for name, value in pairs)
