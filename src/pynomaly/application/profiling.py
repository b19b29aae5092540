"""Profiles of raw and of staged tables, from a uniform sample."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.cells import plain, read_texts, spelled
from pynomaly.application.inference import Encoded, Inferred, encode, infer, read_as
from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.profiles import ColumnProfile, Profile, Role

__all__ = ["profile_table", "sample_rows"]

PROBABILITIES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
TOP_VALUES = 10

_LIKE_A_VALUE = re.compile(r"[+-]?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?\Z|[0-9]{4}-[0-9]{2}-[0-9]{2}")
"""A fraction or a day; whole numbers may be years."""

Floats = NDArray[np.float64]


def sample_rows(tables: Iterable[pa.Table], size: int, seed: int) -> tuple[pa.Table, int]:
    """Draw rows uniformly without replacement from a stream, in one pass.

    The drawn rows depend on ``seed`` and the order of rows alone, not on how they are batched.

    Args:
        tables: The stream; at most about two samples and one table are in memory at a time.
        size: Largest number of rows to draw.
        seed: Equal seeds draw equal rows.

    Returns:
        The sample in source order, and how many rows went by.

    Source: every row gets a random key and the smallest keys stay; Efraimidis & Spirakis (2006).
    """
    rng = np.random.default_rng(seed)
    kept: list[pa.Table] = []
    keys: Floats = np.empty(0)
    limit, seen = np.inf, 0
    for table in tables:
        drawn = rng.random(table.num_rows)
        inside = np.flatnonzero(drawn < limit)
        kept.append(table if len(inside) == table.num_rows else table.take(pa.array(inside)))
        keys = np.concatenate([keys, drawn[inside]])
        seen += table.num_rows
        if len(keys) > 2 * size:
            kept, keys = _smallest(kept, keys, size)
            limit = float(np.max(keys))
    if not kept:
        return pa.table({}), 0
    if len(keys) > size:
        kept, keys = _smallest(kept, keys, size)
    return pa.concat_tables(kept, promote_options="permissive"), seen


def _smallest(tables: list[pa.Table], keys: Floats, size: int) -> tuple[list[pa.Table], Floats]:
    chosen = np.sort(np.argpartition(keys, size - 1)[:size])
    table = pa.concat_tables(tables, promote_options="permissive")
    return [table.take(pa.array(chosen)).combine_chunks()], keys[chosen]


def profile_table(
    sample: pa.Table,
    rows: int,
    *,
    id_columns: Sequence[str] = (),
    time_column: str | None = None,
    label_column: str | None = None,
    excluded: Sequence[str] = (),
) -> Profile:
    """Describe a sample column by column and propose a role for each.

    Text columns of which at least 99 % read as numbers, times or truth values count as such;
    columns that look like identifiers, free text and columns that never vary are dropped with
    the reason.

    Args:
        sample: Raw or conformed rows; ``row_id`` is passed over.
        rows: Of the whole snapshot.
        id_columns: Columns that identify a row.
        time_column: Event time.
        label_column: 1 = anomaly, 0 = normal.
        excluded: Columns to leave out.

    Raises:
        ConfigurationError: A named column is not in the data.
    """
    names = [name for name in sample.column_names if name != ROW_ID]
    _check_names(names, [*id_columns, time_column, label_column, *excluded])
    named: dict[str, tuple[Role, str]] = {
        **dict.fromkeys(excluded, ("dropped", "excluded by the configuration")),
        **dict.fromkeys(id_columns, ("id", "named as id")),
    }
    if time_column:
        named[time_column] = ("time", "named as event time")
    if label_column:
        named[label_column] = ("label", "named as label")
    profiles: list[ColumnProfile] = []
    hashes = np.zeros(sample.num_rows, dtype=np.uint64)
    compared = False
    features: list[Floats] = []
    for name in names:
        cells = plain(sample.column(name))
        column = encode(name, cells)
        role, found = _role(column, cells.type, rows, named)
        numbers = _numbers(column, found)
        reason = named[name][1] if name in named else found.reason
        physical = str(sample.schema.field(name).type)
        profiles.append(_describe(column, found, role, reason, physical, numbers))
        if role != "id" and found.kind != "id" and name not in excluded:
            compared = True
            _mix(hashes, column)
        if role == "feature" and found.kind == "numeric":
            features.append(numbers)
    return Profile(
        columns=tuple(profiles),
        rows=rows,
        sampled_rows=sample.num_rows,
        duplicate_rows=sample.num_rows - len(np.unique(hashes)) if compared else 0,
        contamination=_contamination(features, sample.num_rows),
    )


def _check_names(names: Sequence[str], wanted: Iterable[str | None]) -> None:
    for name in wanted:
        if name is not None and name not in names:
            nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean '{nearest[0]}'?" if nearest else f"columns: {', '.join(names)}"
            raise ConfigurationError(f"the data has no column '{name}'", hint=hint)


def _role(
    column: Encoded, physical: pa.DataType, rows: int, named: dict[str, tuple[Role, str]]
) -> tuple[Role, Inferred]:
    role = named[column.name][0] if column.name in named else None
    if role == "id":
        return role, read_as("id", column)
    if role == "time":
        found = read_as("datetime", column)
        return role, _mostly_readable(column, found, "times", "name a column of ISO 8601 times")
    if role == "label":
        found = _label(column)
        return role, _mostly_readable(column, found, "labels", "labels are 0, 1 or empty")
    found = infer(column, physical, rows)
    if role is None:
        role = "dropped" if found.reason else "feature"
    return role, found


def _mostly_readable(column: Encoded, found: Inferred, wanted: str, hint: str) -> Inferred:
    refused = found.reading.refused
    if 2 * column.counts[refused].sum() > column.counts.sum():
        example = column.values[int(np.flatnonzero(refused)[0])]
        raise ConfigurationError(
            f"column '{column.name}' does not hold {wanted}, e.g. {spelled(example)[:40]!r}",
            hint=hint,
        )
    return found


def _label(column: Encoded) -> Inferred:
    found = read_as("boolean", column)  # reads what counts as a label: 0, 1, true, false …
    numbers = found.reading.values.cast(pa.float64())
    return Inferred("numeric", type(found.reading)(numbers, found.reading.refused), "", found.notes)


def _numbers(column: Encoded, found: Inferred) -> Floats:
    """Return (n,) values of a numeric column, or epoch seconds of a datetime; NaN if missing."""
    values = found.reading.values
    if found.kind == "datetime":
        values = values.cast(pa.int64()).cast(pa.float64(), safe=False)
    elif found.kind != "numeric":
        return np.empty(0)
    distinct = values.fill_null(np.nan).to_numpy(zero_copy_only=False)
    if found.kind == "datetime":
        distinct = distinct / 1e6
    return np.append(distinct, np.nan)[column.codes]  # code -1 picks the NaN at the end


def _describe(
    column: Encoded,
    found: Inferred,
    role: Role,
    reason: str,
    physical: str,
    numbers: Floats,
) -> ColumnProfile:
    valid = found.reading.values.is_valid().to_numpy(zero_copy_only=False)
    cells = len(column.codes)
    present = int(column.counts[valid | found.reading.refused].sum())
    nulls = 1 - present / cells if cells else 0.0
    finite = numbers[~np.isnan(numbers)]
    skew = _skew(finite) if found.kind == "numeric" else None
    notes = list(found.notes)
    if nulls > 0.5 and "is not supported" not in found.reason:
        notes.append(f"{cells - present:,} of {cells:,} values are missing")
    if physical == "string" and _LIKE_A_VALUE.match(column.name):
        notes.append("is called like a value: if the first line is a row, add a line of names")
    if skew is not None and abs(skew) > 5:
        notes.append(f"heavy tail: skewness {skew:.1f}")
    return ColumnProfile(
        name=column.name,
        kind=found.kind,
        role=role,
        reason=reason,
        physical_type=physical,
        nulls=nulls,
        distinct=_distinct(column, found, valid),
        quantiles=_quantiles(finite),
        top_values=_top_values(column, found, valid),
        skew=skew,
        notes=tuple(notes),
    )


def _distinct(column: Encoded, found: Inferred, valid: NDArray[np.bool_]) -> int:
    values = found.reading.values
    if values.type == column.values.type:
        return int(valid.sum())
    return len(values.drop_null().unique())  # "1" and "1.0" are one number


def _top_values(
    column: Encoded, found: Inferred, valid: NDArray[np.bool_]
) -> tuple[tuple[str, int], ...]:
    counts = np.where(valid, column.counts, 0)
    order = np.argsort(-counts, kind="stable")[:TOP_VALUES]
    order = order[counts[order] > 0]
    texts = read_texts(column.values.take(pa.array(order))).values.to_pylist()
    return tuple((str(text), int(count)) for text, count in zip(texts, counts[order], strict=True))


def _scaled(values: Floats) -> tuple[Floats, float]:
    """Return values within -1…1 and their scale: sums of 1e308 would overflow."""
    scale = float(np.abs(values).max(initial=0.0))
    return (values / scale, scale) if scale else (values, 1.0)


def _quantiles(values: Floats) -> tuple[tuple[float, float], ...]:
    if not len(values):
        return ()
    scaled, scale = _scaled(values)
    found = np.clip(np.quantile(scaled, PROBABILITIES), np.min(scaled), np.max(scaled)) * scale
    return tuple(zip(PROBABILITIES, found.tolist(), strict=True))


def _skew(values: Floats) -> float | None:
    if len(values) < 3:
        return None
    scaled, _ = _scaled(values)
    centred = scaled - scaled.mean()
    variance = float(np.mean(centred**2))
    if variance < 1e-30:
        return None
    return float(np.mean(centred**3) / variance**1.5)


def _mix(hashes: NDArray[np.uint64], column: Encoded) -> None:
    """Take a column into the (n,) hashes by which equal rows are known."""
    hashes ^= (column.codes + 2).astype(np.uint64)
    hashes *= np.uint64(0x9E3779B97F4A7C15)
    hashes ^= hashes >> np.uint64(29)


def _contamination(features: Sequence[Floats], rows: int) -> tuple[float, float]:
    extreme, far = np.zeros(rows, dtype=np.bool_), np.zeros(rows, dtype=np.bool_)
    for values in features:
        scaled, _ = _scaled(values[~np.isnan(values)])
        if not len(scaled):
            continue
        median = float(np.median(scaled))
        spread = 1.4826 * float(np.median(np.abs(scaled - median)))
        if not spread:  # more than half of the values are equal
            low, high = np.quantile(scaled, (0.25, 0.75))
            spread = float(high - low) / 1.349
        if spread:
            distance = np.zeros(rows)
            distance[~np.isnan(values)] = np.abs(scaled - median) / spread
            extreme |= distance > 6
            far |= distance > 3.5
    if not rows:
        return 0.001, 0.001
    low, high = np.clip([extreme.mean(), far.mean()], 0.001, 0.2)
    return float(low), float(high)
