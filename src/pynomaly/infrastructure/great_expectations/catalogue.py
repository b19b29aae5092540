"""From a pipeline's expectations to Great Expectations objects, each with how it is judged."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Literal

from pynomaly.domain.datasets import ROW_ID, ColumnKind
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.pipelines import Expectation, Pipeline
from pynomaly.infrastructure.great_expectations.frames import as_text, twin
from pynomaly.infrastructure.great_expectations.loading import load

__all__ = ["ROWS", "Check", "Scope", "build"]

ROWS = "rows"
"""The frame column that holds the number of rows."""

Scope = Literal["row", "unique", "whole", "header", "row_count"]

_UNIQUE = {"expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique"}
_HEADER = {
    "expect_column_to_exist",
    "expect_table_column_count_to_be_between",
    "expect_table_column_count_to_equal",
    "expect_table_columns_to_match_ordered_list",
    "expect_table_columns_to_match_set",
}
_ROW_COUNT = {"expect_table_row_count_to_be_between", "expect_table_row_count_to_equal"}
# Judged value by value, but by comparing each with the others.
_WHOLE = {
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_be_decreasing",
    "expect_column_values_to_be_increasing",
    "expect_column_values_to_be_in_type_list",
    "expect_column_values_to_be_of_type",
    "expect_column_values_to_not_be_outliers",
}
_SQL_ONLY = {
    "expect_multicolumn_values_to_be_unique",  # superseded by expect_compound_columns_to_be_unique
    "expect_query_results_to_match_comparison",
    "expect_table_row_count_to_equal_other_table",
    "unexpected_rows_expectation",
}
_COLUMN_KEYS = ("column", "column_A", "column_B")


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """One expectation, ready to run.

    Args:
        spec: As configured.
        columns: It is about.
        scope: ``row``: row by row in every chunk; ``unique``: across chunks, by hashes;
            ``whole``: on whole columns; ``header``: on the source's columns; ``row_count``.
        gx: The Great Expectations object.
        frame_columns: Columns a frame needs for it.
    """

    spec: Expectation
    columns: tuple[str, ...]
    scope: Scope
    gx: Any
    frame_columns: tuple[str, ...]

    @property
    def mostly(self) -> float:
        """Share of values that must meet it."""
        return float(self.spec.kwargs.get("mostly", 1.0))


def build(expectation: Expectation, pipeline: Pipeline) -> Check:
    """Turn one expectation into a check.

    Args:
        expectation: As configured.
        pipeline: Whose columns it may name.

    Raises:
        ConfigurationError: Unknown type or column, wrong arguments, or a severity that the type
            cannot have.
    """
    kinds = _kinds(pipeline)
    implementation = _implementation(expectation, pipeline)
    scope = _scope(expectation, implementation)
    columns = _columns(expectation.kwargs)
    if scope != "header":
        _check_columns(columns, kinds, expectation, pipeline)
    if expectation.severity == "row" and scope not in ("row", "unique"):
        raise ConfigurationError(
            f"{_where(expectation, pipeline)}: severity row needs an expectation about single rows",
            hint="use severity critical or warning",
        )
    if scope in ("unique", "row_count") and expectation.kwargs.get("row_condition"):
        about = "uniqueness" if scope == "unique" else "the number of rows"
        raise ConfigurationError(
            f"{_where(expectation, pipeline)}: row_condition is not supported with {about}"
        )
    kwargs = _converted(expectation.kwargs, columns, kinds)
    gx = _instance(implementation, kwargs, expectation, pipeline)
    if scope == "row_count":
        gx = _of_number(gx, pipeline)
    return Check(expectation, columns, scope, gx, _columns(kwargs))


def _of_number(gx: Any, pipeline: Pipeline) -> Any:
    """Return an expectation about the number of rows as one about a column that holds it.

    Great Expectations hashes whatever frame it is given, its index included: 16 bytes a row for a
    frame of as many rows.
    """
    kept = ("min_value", "max_value", "strict_min", "strict_max")
    stated = {name: getattr(gx, name, None) for name in kept}
    if hasattr(gx, "value"):
        stated |= dict.fromkeys(("min_value", "max_value"), gx.value)
    kwargs = {name: value for name, value in stated.items() if value is not None}
    maximum = Expectation("expect_column_max_to_be_between", {"column": ROWS})
    return _implementation(maximum, pipeline)(column=ROWS, severity=gx.severity, **kwargs)


def _kinds(pipeline: Pipeline) -> dict[str, ColumnKind]:
    kinds: dict[str, ColumnKind] = {ROW_ID: "id"}
    kinds |= {column.name: column.kind for column in pipeline.schema.columns}
    kinds |= dict.fromkeys(pipeline.id_columns, "id")
    if pipeline.label_column:
        kinds[pipeline.label_column] = "numeric"
    return kinds


def _where(expectation: Expectation, pipeline: Pipeline) -> str:
    column = expectation.kwargs.get("column")
    about = f" on '{column}'" if column else ""
    return f"pipeline '{pipeline.name}', {expectation.type}{about}"


def _implementation(expectation: Expectation, pipeline: Pipeline) -> Any:
    load()
    from great_expectations.expectations import registry

    names = [
        name
        for name in registry.list_registered_expectation_implementations()
        if name not in _SQL_ONLY
    ]
    if expectation.type in _SQL_ONLY:
        raise ConfigurationError(
            f"{_where(expectation, pipeline)}: this expectation needs a SQL data source",
            hint="rows are validated as they stream in, whatever they come from",
        )
    if expectation.type not in names:
        nearest = difflib.get_close_matches(expectation.type, names, n=1, cutoff=0.5)
        raise ConfigurationError(
            f"pipeline '{pipeline.name}': unknown expectation '{expectation.type}'",
            hint=f"did you mean '{nearest[0]}'?"
            if nearest
            else "see https://greatexpectations.io/expectations for their names",
        )
    return registry.get_expectation_impl(expectation.type)


def _scope(expectation: Expectation, implementation: type) -> Scope:
    from great_expectations.expectations import expectation as base

    if expectation.type in _UNIQUE:
        return "unique"
    if expectation.type in _HEADER:
        return "header"
    if expectation.type in _ROW_COUNT:
        return "row_count"
    by_row = (
        base.ColumnMapExpectation,
        base.ColumnPairMapExpectation,
        base.MulticolumnMapExpectation,
    )
    if issubclass(implementation, by_row) and expectation.type not in _WHOLE:
        return "row"
    return "whole"


def _columns(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    single = [str(kwargs[key]) for key in _COLUMN_KEYS if key in kwargs]
    several = kwargs.get("column_list", ())
    return (*single, *(map(str, several) if isinstance(several, list | tuple) else ()))


def _check_columns(
    columns: Iterable[str],
    kinds: Mapping[str, ColumnKind],
    expectation: Expectation,
    pipeline: Pipeline,
) -> None:
    for column in columns:
        if column not in kinds:
            nearest = difflib.get_close_matches(column, kinds, n=1, cutoff=0.5)
            raise ConfigurationError(
                f"{_where(expectation, pipeline)}: the schema has no column '{column}'",
                hint=f"did you mean '{nearest[0]}'?" if nearest else f"columns: {', '.join(kinds)}",
            )


def _converted(
    kwargs: Mapping[str, Any], columns: tuple[str, ...], kinds: Mapping[str, ColumnKind]
) -> dict[str, Any]:
    """Return arguments in the types that conformed columns have."""
    kind = kinds.get(columns[0]) if columns else None
    converted = {
        key: _value(value, kind) if key.endswith(("_value", "value_set")) else value
        for key, value in kwargs.items()
    }
    if kind == "datetime" and "value_set" in converted:
        instants = converted["value_set"]
        converted["value_set"] = [
            as_text(value) if isinstance(value, datetime) else value for value in instants
        ]
        converted["column"] = twin(columns[0])
    condition = converted.get("row_condition")
    if isinstance(condition, str):
        from great_expectations.expectations.row_conditions import PassThroughCondition

        # The text form with condition_parser is deprecated, and pandas is the only parser here.
        converted["row_condition"] = PassThroughCondition(pass_through_filter=condition)
        converted.pop("condition_parser", None)
    return converted


def _value(value: Any, kind: ColumnKind | None) -> Any:
    if isinstance(value, list | tuple):
        return [_value(item, kind) for item in value]
    if kind == "datetime":
        return _instant(value)
    texts: tuple[ColumnKind, ...] = ("categorical", "id", "text", "constant")
    if kind in texts and isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


def _instant(value: Any) -> Any:
    """Return a time of a YAML file or an ISO text as a datetime in UTC; others as they are."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value  # Great Expectations says what is wrong with it
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def _instance(
    implementation: Any, kwargs: dict[str, Any], expectation: Expectation, pipeline: Pipeline
) -> Any:
    from great_expectations.compatibility import pydantic
    from great_expectations.exceptions.exceptions import GreatExpectationsError

    severity = "warning" if expectation.severity == "warning" else "critical"
    try:
        return implementation(**kwargs, severity=severity)
    except pydantic.ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()
        )
        raise _wrong(expectation, pipeline, reasons, implementation) from error
    except (GreatExpectationsError, TypeError, ValueError) as error:
        raise _wrong(expectation, pipeline, str(error), implementation) from error


def _wrong(
    expectation: Expectation, pipeline: Pipeline, reason: str, implementation: Any
) -> ConfigurationError:
    common = {
        "id", "meta", "notes", "result_format", "description", "catch_exceptions",
        "rendered_content", "severity", "windows", "batch_id",
    }  # fmt: skip
    arguments = sorted(set(implementation.__fields__) - common)
    return ConfigurationError(
        f"{_where(expectation, pipeline)}: {reason}", hint=f"arguments: {', '.join(arguments)}"
    )
