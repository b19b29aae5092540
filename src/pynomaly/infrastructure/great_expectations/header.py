"""Checks of a source's columns against the schema, before any row is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from pynomaly.domain.datasets import ColumnKind
from pynomaly.domain.pipelines import Expectation, Pipeline
from pynomaly.domain.quality import ExpectationResult
from pynomaly.infrastructure.great_expectations.catalogue import Check, build
from pynomaly.infrastructure.great_expectations.engine import Engine, Outcome
from pynomaly.infrastructure.great_expectations.sentences import allowed, shown

__all__ = ["check_header"]

_TEXT = r"(large_)?string(_view)?|dictionary.*|null"
_INTEGER = r"u?int\d+"
_LOOKED_FOR = 20  # absent columns; each is compared with every other name
_TYPES: dict[ColumnKind, tuple[re.Pattern[str], str]] = {
    "numeric": (re.compile(rf"{_INTEGER}|halffloat|float|double|decimal.*|null"), "a number type"),
    "boolean": (re.compile("bool|null"), "bool"),
    "datetime": (re.compile(rf"timestamp.*|date\d+.*|{_TEXT}"), "a timestamp, date or text"),
    "categorical": (re.compile(rf"{_TEXT}|bool|{_INTEGER}"), "text, integer or bool"),
    "id": (re.compile(rf"{_TEXT}|{_INTEGER}|decimal.*"), "text or integer"),
}


def check_header(
    engine: Engine,
    pipeline: Pipeline,
    columns: Sequence[tuple[str, str]],
    configured: Sequence[Check],
) -> tuple[ExpectationResult, ...]:
    """Compare names, order and physical types with the schema.

    A missing column is critical, except the label: without it, labels are unknown.

    Args:
        engine: Runs the suite.
        pipeline: Declares the schema.
        columns: ``(name, physical type)`` of the source.
        configured: The pipeline's own expectations about columns.
    """
    import pandas as pd

    names = [name for name, _ in columns]
    declared = list(dict.fromkeys((*pipeline.id_columns, *pipeline.schema.names)))
    checks = [
        build(
            Expectation(
                "expect_column_to_exist",
                {"column": name},
                "warning" if name == pipeline.label_column else "critical",
            ),
            pipeline,
        )
        for name in declared
    ]
    known = [*declared, *(name for name in pipeline.excluded if name not in declared)]
    matches = Expectation("expect_table_columns_to_match_set", {"column_set": known}, "warning")
    ordered = Expectation(
        "expect_table_columns_to_match_ordered_list",
        {"column_list": _in_schema_order(names, pipeline.schema.names)},
        "warning",
    )
    checks += [build(matches, pipeline), build(ordered, pipeline), *configured]
    outcomes = engine.suite("header", checks).run(pd.DataFrame(columns=names))
    first = len(declared)
    others = [name for name in names if name not in known]
    found = dict(zip(declared, outcomes, strict=False))
    beside = _beside([name for name in declared if not found[name].success], others)
    results = [
        _exists(check, found[name], beside.get(name, ""))
        for check, name in zip(checks, declared, strict=False)
    ]
    results.append(_no_extras(checks[first], outcomes[first]))
    results.append(_order(checks[first + 1], outcomes[first + 1], names, pipeline.schema.names))
    results += [
        _configured(check, outcome)
        for check, outcome in zip(checks[first + 2 :], outcomes[first + 2 :], strict=True)
    ]
    return (*results, *_types(pipeline, columns))


def _in_schema_order(names: Sequence[str], schema: Sequence[str]) -> list[str]:
    """Return the names with those of the schema in its order and all others where they stand."""
    ordered = iter([name for name in schema if name in names])
    return [next(ordered) if name in schema else name for name in names]


def _beside(absent: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Return, by name of an absent column, which columns of no schema may be it.

    Of a few that is the one whose name is nearest; of the first that has none near, all of them.
    """
    folded = {name.casefold(): name for name in others}
    told = {}
    for name in absent[:_LOOKED_FOR]:
        if near := get_close_matches(name.casefold(), folded, n=1, cutoff=0.7):
            told[name] = f"; the data has {shown([folded[near[0]]])}"
    unlike = next((name for name in absent if name not in told), None)
    if others and unlike is not None:
        told[unlike] = f" (not in the schema: {shown(others)})"
    return told


def _exists(check: Check, outcome: Outcome, beside: str) -> ExpectationResult:
    return ExpectationResult(
        expectation=check.spec.type,
        column=check.columns[0],
        severity=check.spec.severity,
        passed=outcome.success,
        observed="present" if outcome.success else f"missing{beside}",
        allowed="present",
    )


def _no_extras(check: Check, outcome: Outcome) -> ExpectationResult:
    # Missing columns fail this expectation as well; they have been reported one by one.
    extra = outcome.details.get("mismatched", {}).get("unexpected", [])
    return ExpectationResult(
        expectation=check.spec.type,
        column=None,
        severity=check.spec.severity,
        passed=not extra,
        observed=f"extra columns {shown(extra)}, not read" if extra else "no extra columns",
        allowed="the columns of the schema",
    )


def _order(
    check: Check, outcome: Outcome, names: Sequence[str], schema: Sequence[str]
) -> ExpectationResult:
    found = [name for name in names if name in schema]
    return ExpectationResult(
        expectation=check.spec.type,
        column=None,
        severity=check.spec.severity,
        passed=outcome.success,
        observed="the schema's order" if outcome.success else f"order {', '.join(found)}",
        allowed=f"order {', '.join(name for name in schema if name in names)}",
    )


def _configured(check: Check, outcome: Outcome) -> ExpectationResult:
    return ExpectationResult(
        expectation=check.spec.type,
        column=check.columns[0] if check.columns else None,
        severity=check.spec.severity,
        passed=outcome.success,
        observed=shown(outcome.observed) if outcome.observed is not None else "missing",
        allowed=allowed(check.spec.type, check.spec.kwargs),
    )


def _types(pipeline: Pipeline, columns: Sequence[tuple[str, str]]) -> tuple[ExpectationResult, ...]:
    """Compare physical types; a source of texts alone (CSV) has none to compare."""
    physical = dict(columns)
    if all(re.fullmatch(_TEXT, kind) for kind in physical.values()):
        return ()
    results = []
    for column in pipeline.schema.columns:
        kind: ColumnKind = "id" if column.name in pipeline.id_columns else column.kind
        if column.name == pipeline.label_column or column.name not in physical:
            continue
        if kind not in _TYPES:
            continue
        pattern, words = _TYPES[kind]
        results.append(
            ExpectationResult(
                expectation="expect_column_values_to_be_of_type",
                column=column.name,
                severity="warning",
                passed=bool(pattern.fullmatch(physical[column.name])),
                observed=physical[column.name],
                allowed=f"{words} (declared {kind})",
            )
        )
    return tuple(results)
