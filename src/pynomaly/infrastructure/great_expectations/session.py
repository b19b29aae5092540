"""Validation of one snapshot, chunk by chunk, with the verdict of the whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.pipelines import Expectation, Pipeline
from pynomaly.domain.quality import ExpectationResult, RowFailure
from pynomaly.infrastructure.great_expectations.catalogue import ROWS, Check, build
from pynomaly.infrastructure.great_expectations.engine import Engine, Outcome
from pynomaly.infrastructure.great_expectations.frames import to_frame
from pynomaly.infrastructure.great_expectations.header import check_header
from pynomaly.infrastructure.great_expectations.sentences import allowed, shown
from pynomaly.infrastructure.great_expectations.tallies import Tally
from pynomaly.infrastructure.great_expectations.uniqueness import SeenKeys

__all__ = ["GreatExpectationsSession"]

_NOT_NULL = "expect_column_values_to_not_be_null"
_UNIQUE = "expect_column_values_to_be_unique"
_COMPOUND = "expect_compound_columns_to_be_unique"
_ROW_COUNT = "expect_table_row_count_to_be_between"
_NEWEST = "expect_column_max_to_be_between"
_IGNORE = {
    "all_values_are_missing": "all",
    "any_value_is_missing": "any",
    "never": "never",
}


class GreatExpectationsSession:
    """A :class:`~pynomaly.application.ports.quality.ValidationSession`.

    Args:
        pipeline: Schema and policy.
        now: Clock for freshness.

    Raises:
        ConfigurationError: An expectation is unknown or its arguments are wrong.
    """

    def __init__(self, pipeline: Pipeline, now: Callable[[], datetime]) -> None:
        policy = pipeline.validation
        if policy.max_age_hours is not None and pipeline.time_column is None:
            raise ConfigurationError(
                f"pipeline '{pipeline.name}': max_age_hours needs a time column",
                hint="declare the time column or remove max_age_hours",
            )
        self._pipeline = pipeline
        self._now = now
        self._checks = tuple(build(spec, pipeline) for spec in _expectations(pipeline))
        self._engine = Engine()
        self._by_row = self._scoped("row")
        self._suite = self._engine.suite("rows", self._by_row) if self._by_row else None
        self._tallies = {check: Tally(check) for check in self._checks}
        self._seen = {
            check: SeenKeys(
                check.columns,
                _IGNORE[check.spec.kwargs.get("ignore_row_if", "all_values_are_missing")],
            )
            for check in self._scoped("unique")
        }
        self._rows = 0
        self._newest: datetime | None = None

    def _scoped(self, scope: str) -> tuple[Check, ...]:
        return tuple(check for check in self._checks if check.scope == scope)

    def check_columns(self, columns: Sequence[tuple[str, str]]) -> tuple[ExpectationResult, ...]:
        """Compare the source's columns (name, physical type) with the schema."""
        return check_header(self._engine, self._pipeline, columns, self._scoped("header"))

    def check_rows(
        self, chunk: pa.Table, unreadable: Sequence[RowFailure] = ()
    ) -> tuple[RowFailure, ...]:
        """Check a conformed chunk and add its outcomes to the totals."""
        if not chunk.num_rows:
            return ()
        self._rows += chunk.num_rows
        self._note_newest(chunk)
        refused: dict[str | None, set[int]] = defaultdict(set)
        for failure in unreadable:
            refused[failure.unreadable].add(failure.position)
        failures: list[RowFailure] = []
        if self._suite:
            outcomes = self._suite.run(to_frame(chunk, _needed(self._by_row, chunk.column_names)))
            for check, outcome in zip(self._by_row, outcomes, strict=True):
                # A cell that cannot be read is no missing one: its row has been refused for that.
                known = set().union(*(refused[name] for name in check.columns))
                told = np.isin(outcome.positions, list(known))
                considered = (outcome.considered or 0) - int(told.sum())
                failures += self._count(check, considered, outcome.positions[~told], chunk)
        for check, seen in self._seen.items():
            failures += self._count(check, *seen.add(chunk), chunk)
        failures.sort(key=lambda failure: failure.position)
        return tuple(failures)

    def _count(
        self, check: Check, considered: int, positions: NDArray[np.int64], chunk: pa.Table
    ) -> Iterator[RowFailure]:
        tally = self._tallies[check]
        tally.add(considered, positions, chunk, self._pipeline.keys)
        return tally.failures(positions, chunk) if check.spec.severity == "row" else iter(())

    def _note_newest(self, chunk: pa.Table) -> None:
        if self._pipeline.validation.max_age_hours is not None:
            newest = pc.max(chunk.column(self._pipeline.time_column)).as_py()
            if newest is not None and (self._newest is None or newest > self._newest):
                self._newest = newest

    def finish(self, read: Callable[[list[str]], pa.Table]) -> tuple[ExpectationResult, ...]:
        """Judge the totals, and whole columns where an expectation needs them."""
        results: dict[Check, ExpectationResult] = {
            check: self._tallies[check].result()
            for check in self._checks
            if check.scope in ("row", "unique")
        }
        results |= self._row_counts()
        results |= self._whole_columns(read)
        ordered = [results[check] for check in self._checks if check in results]
        return (*ordered, *self._freshness())

    def _row_counts(self) -> dict[Check, ExpectationResult]:
        import pandas as pd

        checks = self._scoped("row_count")
        outcomes = self._engine.suite("volume", checks).run(pd.DataFrame({ROWS: [self._rows]}))
        return {
            check: _aggregate(check, outcome, f"{self._rows} rows")
            for check, outcome in zip(checks, outcomes, strict=True)
        }

    def _whole_columns(
        self, read: Callable[[list[str]], pa.Table]
    ) -> dict[Check, ExpectationResult]:
        groups: dict[tuple[str, ...], list[Check]] = defaultdict(list)
        for check in self._scoped("whole"):
            groups[check.columns].append(check)
        results: dict[Check, ExpectationResult] = {}
        for number, (columns, checks) in enumerate(groups.items()):
            others = self._pipeline.schema.names if any(map(_conditional, checks)) else ()
            table = read(list(dict.fromkeys((ROW_ID, *self._pipeline.keys, *columns, *others))))
            suite = self._engine.suite(f"whole columns {number}", checks)
            outcomes = suite.run(to_frame(table, _needed(checks, table.column_names)))
            for check, outcome in zip(checks, outcomes, strict=True):
                results[check] = self._whole(check, outcome, table)
        return results

    def _whole(self, check: Check, outcome: Outcome, table: pa.Table) -> ExpectationResult:
        if outcome.considered is None:
            return _aggregate(check, outcome, shown(outcome.observed))
        tally = Tally(check)
        tally.add(outcome.considered, outcome.positions, table, self._pipeline.keys)
        return tally.result()

    def _freshness(self) -> Iterator[ExpectationResult]:
        hours = self._pipeline.validation.max_age_hours
        if hours is None:
            return
        import pandas as pd

        oldest = self._now() - timedelta(hours=hours)
        kwargs = {"column": self._pipeline.time_column, "min_value": oldest}
        check = build(Expectation(_NEWEST, kwargs), self._pipeline)
        if self._newest is None:
            passed = False
        else:
            # The newest of all rows stands for them: its maximum is theirs.
            frame = pd.DataFrame({check.columns[0]: [pd.Timestamp(self._newest)]})
            (outcome,) = self._engine.suite("freshness", [check]).run(frame)
            passed = outcome.success
        yield ExpectationResult(
            expectation=_NEWEST,
            column=self._pipeline.time_column,
            severity="critical",
            passed=passed,
            observed=f"newest {shown(self._newest)}",
            allowed=f"not older than {hours:g} hours: {shown(oldest.replace(microsecond=0))}",
        )


def _conditional(check: Check) -> bool:
    return bool(check.spec.kwargs.get("row_condition"))


def _needed(checks: Sequence[Check], present: Sequence[str]) -> list[str]:
    """Return the frame columns of some checks; a row condition may name any column."""
    named = [name for check in checks for name in check.frame_columns]
    return [*named, *present] if any(map(_conditional, checks)) else named


def _expectations(pipeline: Pipeline) -> Iterator[Expectation]:
    """Yield what the schema implies, what is configured, and the volume."""
    configured = pipeline.validation.expectations
    for implied in _implied(pipeline):
        if implied not in configured:
            yield implied
    yield from configured
    policy = pipeline.validation
    bounds = {"min_value": policy.min_rows, "max_value": policy.max_rows}
    yield Expectation(_ROW_COUNT, {k: v for k, v in bounds.items() if v is not None})


def _implied(pipeline: Pipeline) -> Iterator[Expectation]:
    ids = pipeline.id_columns
    strict = [c.name for c in pipeline.schema.columns if not c.nullable]
    for name in dict.fromkeys((*ids, *strict)):
        if name != pipeline.label_column:
            yield Expectation(_NOT_NULL, {"column": name}, "row")
    if len(ids) == 1:
        yield Expectation(_UNIQUE, {"column": ids[0]}, "row")
    elif ids:
        kwargs = {"column_list": list(ids), "ignore_row_if": "any_value_is_missing"}
        yield Expectation(_COMPOUND, kwargs, "row")


def _aggregate(check: Check, outcome: Outcome, observed: str) -> ExpectationResult:
    return ExpectationResult(
        expectation=check.spec.type,
        column=", ".join(check.columns) or None,
        severity=check.spec.severity,
        passed=outcome.success,
        observed=observed,
        allowed=allowed(check.spec.type, check.spec.kwargs),
    )
