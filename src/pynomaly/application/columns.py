"""What the columns of a table are, and what was done with each, in one sentence."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from pynomaly.application.cells import is_span
from pynomaly.application.profiling import profile_table
from pynomaly.domain.datasets import Column, ColumnKind
from pynomaly.domain.detection import ColumnUse
from pynomaly.domain.encodings import CategoricalEncoding, Encoding, NumericEncoding, TimeEncoding
from pynomaly.domain.models import Preprocessing
from pynomaly.domain.profiles import ColumnProfile, Profile

__all__ = ["column_uses", "declared_columns"]


def column_uses(profile: Profile, preprocessing: Preprocessing) -> tuple[ColumnUse, ...]:
    """Return one use per column, in source order.

    Args:
        profile: What the columns are and why some were dropped.
        preprocessing: What the model makes of the rest.
    """
    encodings = {encoding.column: encoding for encoding in preprocessing.encodings}
    told = _told(preprocessing)
    ids = [column for column in profile.columns if column.role == "id"]
    return tuple(
        _id_use(column, profile.sampled_rows if len(ids) == 1 else 0)
        if column.role == "id"
        else _use(column, encodings.get(column.name), column.name in told)
        for column in profile.columns
    )


def declared_columns(table: pa.Table) -> tuple[Column, ...]:
    """Return how to read the columns of a table whose types somebody has chosen.

    Numbers, truth values and times are what their types say, even where they look like an
    identifier in a file; texts are looked into as those of a file are.
    """
    return tuple(
        Column(field.name, _declared_kind(table, field.name, field.type)) for field in table.schema
    )


def _told(preprocessing: Preprocessing) -> set[str]:
    """Return the columns whose missing numbers are told from others."""
    imputation = preprocessing.imputation
    if imputation is None:
        return set()
    told = imputation.targets[(imputation.telling >= 0).any(axis=1)]
    return {preprocessing.encodings[preprocessing.owners[target]].column for target in told}


def _declared_kind(table: pa.Table, name: str, physical: pa.DataType) -> ColumnKind:
    if (
        pa.types.is_integer(physical)
        or pa.types.is_floating(physical)
        or pa.types.is_decimal(physical)
        or is_span(physical)
    ):
        return "numeric"
    if pa.types.is_boolean(physical):
        return "boolean"
    if pa.types.is_timestamp(physical) or pa.types.is_date(physical):
        return "datetime"
    return profile_table(table.select([name]), len(table))[name].kind


def _id_use(column: ColumnProfile, rows: int) -> ColumnUse:
    """Say what is done with an id; of rows that it should identify alone whether it does."""
    told = round(rows * (1 - column.nulls))
    why = (
        f"should identify rows, but {told:,} rows have {column.distinct:,} different ones"
        if told > column.distinct
        else "identifies rows"
    )
    return ColumnUse(column.name, "id", f"{why}; never learnt from", column.notes)


def _use(column: ColumnProfile, encoding: Encoding | None, told: bool) -> ColumnUse:
    if column.role == "label":
        why = "1 = anomaly, 0 = normal, empty = unknown; never a feature"
        return ColumnUse(column.name, "label", why, column.notes)
    if encoding is None and column.kind == "datetime" and column.role != "dropped":
        return _time_use(column, None)
    if encoding is None:
        why = column.reason if column.role == "dropped" else "never varies in the rows learnt from"
        if column.role != "dropped" and column.distinct > 1 and column.kind != "numeric":
            why = f"its {column.distinct:,} levels are equally frequent: none is rare"
        return ColumnUse(column.name, "dropped", why, column.notes)
    missing = column.nulls > 0
    match encoding:
        case NumericEncoding():
            why = f"{column.distinct:,} distinct values"
            if missing:
                why += f"; {column.nulls:.1%} missing, " + (
                    "told from the row's other columns"
                    if told
                    else f"taken as the median {encoding.fill:.4g}"
                )
                why += ", being missing counts as a sign" if encoding.missing_indicator else ""
            return ColumnUse(column.name, "numeric", why, column.notes)
        case CategoricalEncoding():
            why = f"how rare each of its {len(encoding.levels):,} levels is"
            if missing:
                why += f"; {column.nulls:.1%} missing, a level of its own"
            boolean = column.kind == "boolean"
            return ColumnUse(
                column.name, "boolean" if boolean else "categorical", why, column.notes
            )
        case TimeEncoding():
            return _time_use(column, encoding)


def _time_use(column: ColumnProfile, encoding: TimeEncoding | None) -> ColumnUse:
    why = "tells no rhythm: hardly three days, or always the same hour and weekday"
    use: Literal["datetime", "dropped"] = "dropped"
    if encoding is not None:
        read = {"hour of the day": encoding.hours, "weekday": encoding.weekdays}
        told = " and ".join(
            rhythm for rhythm, shares in read.items() if 0 < max(shares, default=0) < 1
        )
        why, use = f"{told}, in UTC" if told else "whether it is missing", "datetime"
    if column.role == "time":
        why, use = f"orders the rows; {why}", "datetime"
    if column.nulls:
        why += f"; {column.nulls:.1%} missing"
    return ColumnUse(column.name, use, why, column.notes)
