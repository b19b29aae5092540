"""From a conformed table to the float64 matrix detectors see; fitted once, frozen as tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pynomaly.application.imputation import fit_imputation, impute
from pynomaly.application.rhythms import DAY, WEEK, told
from pynomaly.domain.datasets import Column, Schema
from pynomaly.domain.encodings import (
    QUANTILE_SHARES,
    CategoricalEncoding,
    Encoding,
    NumericEncoding,
    TimeEncoding,
)
from pynomaly.domain.errors import DataRejectedError, NotTrainableError
from pynomaly.domain.models import Preprocessing

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "MIN_TRAINING_ROWS",
    "clock",
    "encode",
    "epoch_seconds",
    "fill_gaps",
    "fit_preprocessing",
    "level_codes",
    "numbers",
]

Floats = NDArray[np.float64]

MIN_TRAINING_ROWS = 10
"""Below it nothing can be called usual."""

_BOUND = 1e30
# Squares and differences of clipped values stay finite, in float32 trees too (max 3.4e38).

_MAX_LEVELS = 1_000
# Of the levels beyond the most frequent 1,000 it is enough to know that none is more frequent.

_REFERENCES = 256
# Reference rows: enough for most strange rows to find similar ones; 20 features take 40 KiB.

_TELLING_ROWS = 5_000
# Enough to tell missing numbers from other columns.

_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday, Monday is 0


def fit_preprocessing(
    table: pa.Table, schema: Schema, *, part_of: Preprocessing | None = None
) -> Preprocessing:
    """Learn encodings from training rows; columns that never vary are dropped.

    Args:
        table: Conformed: numeric float64, categorical string, boolean bool, datetime
            timestamp[us, UTC]; nulls allowed; columns in any order.
        schema: Feature columns.
        part_of: What all rows taught, where these are a part of them: of times the same rhythms
            are read, which a part alone might not tell.

    Raises:
        NotTrainableError: Too few rows, or no column that varies.
        DataRejectedError: A column is missing.
    """
    if table.num_rows < MIN_TRAINING_ROWS:
        raise NotTrainableError(
            f"{table.num_rows} rows are too few to learn from, {MIN_TRAINING_ROWS} are the least",
            hint="give a larger training snapshot; a few hundred rows make a useful model",
        )
    _require(table, schema.names)
    encodings: list[Encoding] = []
    features: list[str] = []
    owners: list[int] = []
    blocks: list[tuple[Floats, Floats]] = []
    rows, telling = (_spread(table.num_rows, most) for most in (_REFERENCES, _TELLING_ROWS))
    for column in schema.columns:
        encoding = (
            _fit_time(column, table[column.name], part_of)
            if column.kind == "datetime"
            else _FIT[column.kind](column, table[column.name])
        )
        if encoding is None:
            continue
        block = np.empty((table.num_rows, len(encoding.features)))
        _encode_column(encoding, table[column.name], block)
        if np.all(block.max(axis=0) == block.min(axis=0)):
            continue
        owners += [len(encodings)] * block.shape[1]
        features += encoding.features
        blocks.append((block[rows], block[telling]))
        encodings.append(encoding)
    if not encodings:
        raise NotTrainableError(
            "no usable feature: every column of the training data is constant, empty, unique or a "
            "time that tells no rhythm"
            if schema.columns
            else "no usable feature: the schema declares no numeric, categorical, boolean or "
            "datetime column",
            hint="check kinds and excluded columns; ids, texts and constants are no features",
        )
    references, told = (np.hstack(sampled) for sampled in zip(*blocks, strict=True))
    imputation = fit_imputation(encodings, owners, told)
    found = Preprocessing(tuple(encodings), tuple(features), tuple(owners), references, imputation)
    fill_gaps(found, references)
    return found


def encode(preprocessing: Preprocessing, table: pa.Table) -> Floats:
    """Return the (n, d) matrix of a conformed table: finite, its columns contiguous.

    Raises:
        DataRejectedError: A column is missing.
    """
    _require(table, tuple(encoding.column for encoding in preprocessing.encodings))
    matrix = np.empty((len(preprocessing.features), table.num_rows)).T
    start = 0
    for encoding in preprocessing.encodings:
        stop = start + len(encoding.features)
        _encode_column(encoding, table[encoding.column], matrix[:, start:stop])
        start = stop
    fill_gaps(preprocessing, matrix)
    return matrix


def fill_gaps(preprocessing: Preprocessing, X: Floats) -> None:
    """Put what a row's other values tell in place of its missing numbers.

    Args:
        preprocessing: Knows how, unless the median has to do.
        X: (n, d) encoded rows, changed in place.
    """
    if preprocessing.imputation is not None:
        impute(preprocessing.imputation, preprocessing.encodings, preprocessing.owners, X)


def _require(table: pa.Table, names: tuple[str, ...]) -> None:
    present = set(table.column_names)
    missing = [name for name in names if name not in present]
    if missing:
        raise DataRejectedError(
            f"column{'s' if len(missing) > 1 else ''} missing from the data: {', '.join(missing)}",
            hint=f"it has {', '.join(table.column_names[:20]) or 'no columns'}; the model needs "
            "the columns it was trained on, in any order",
        )


# fitting -----------------------------------------------------------------------------------------


def _fit_numeric(column: Column, cells: pa.ChunkedArray) -> NumericEncoding | None:
    values = numbers(cells)
    missing = np.isnan(values)
    if missing.all():
        return None
    present = np.clip(values[~missing], -_BOUND, _BOUND)
    return NumericEncoding(
        column.name,
        float(np.median(present)),
        -_BOUND,
        _BOUND,
        bool(missing.any()),
        tuple(np.quantile(present, QUANTILE_SHARES, method="inverted_cdf").tolist()),
        float(missing.mean()),
    )


def _fit_categorical(column: Column, cells: pa.ChunkedArray) -> CategoricalEncoding | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    counted = pc.value_counts(cells.cast(pa.string()))
    pairs = [(entry["values"], entry["counts"]) for entry in counted.to_pylist()]
    # Ties are broken by name so that the order of rows cannot change the model.
    pairs.sort(key=lambda pair: (-pair[1], pair[0] is not None, pair[0] or ""))
    counts = np.array([count for _, count in pairs], dtype=np.float64)
    kept = counts[:_MAX_LEVELS]
    # Levels equally frequent are equally rare, whatever their names, and whether kept or not.
    at_most = np.cumsum(counts[::-1])
    tails = at_most[np.searchsorted(counts[::-1], kept, side="right") - 1]
    rarity = tuple(_normal_score(tail / len(cells)) for tail in tails)
    return CategoricalEncoding(
        column.name,
        tuple(level for level, _ in pairs[:_MAX_LEVELS]),
        rarity,
        rarity[-1] if len(counts) > len(kept) else _normal_score(0.5 / len(cells)),
        tuple((kept / len(cells)).tolist()),
    )


def _normal_score(tail: float) -> float:
    """Return how many standard deviations leave ``tail`` outside on both sides."""
    return NormalDist().inv_cdf(1 - tail / 2)


def _fit_time(
    column: Column, cells: pa.ChunkedArray, part_of: Preprocessing | None = None
) -> TimeEncoding | None:
    seconds = epoch_seconds(cells)
    missing = np.isnan(seconds)
    if missing.all():
        return None
    if part_of is None:
        daily, weekly = told(seconds, DAY), told(seconds, WEEK)
    else:
        whole = next((e for e in part_of.encodings if e.column == column.name), None)
        daily = isinstance(whole, TimeEncoding) and bool(whole.hours)
        weekly = isinstance(whole, TimeEncoding) and bool(whole.weekdays)
    indicator = bool(missing.any())
    if not (daily or weekly or indicator):
        return None
    hours, weekdays = clock(seconds[~missing])
    return TimeEncoding(
        column.name,
        float(np.median(seconds[~missing])),
        indicator,
        tuple((np.bincount(hours, minlength=24) / len(hours)).tolist()) if daily else (),
        tuple((np.bincount(weekdays, minlength=7) / len(hours)).tolist()) if weekly else (),
        float(missing.mean()),
    )


def _no_feature(column: Column, cells: pa.ChunkedArray) -> None:
    return None


_FIT: dict[str, Callable[[Column, pa.ChunkedArray], Encoding | None]] = {
    "numeric": _fit_numeric,
    "boolean": _fit_categorical,
    "categorical": _fit_categorical,
    "id": _no_feature,
    "text": _no_feature,
    "constant": _no_feature,
}


def _spread(rows: int, most: int) -> NDArray[np.int64]:
    """Return row numbers evenly over a table, so many at most."""
    return np.unique(np.linspace(0, rows - 1, most).round().astype(np.int64))


# encoding ----------------------------------------------------------------------------------------


def _encode_column(encoding: Encoding, cells: pa.ChunkedArray, out: Floats) -> None:
    """Write the features of a column to (n, features) ``out``."""
    match encoding:
        case NumericEncoding():
            values = out[:, 0]
            np.clip(numbers(cells), encoding.lower, encoding.upper, out=values)
            values += 0.0  # turns -0.0 into 0.0, which compares equal but has other bits
            if encoding.missing_indicator:
                out[:, 1] = np.isnan(values)
            if math.isnan(values.sum()):  # a mask costs more than the sum
                values[np.isnan(values)] = encoding.fill + 0.0
        case CategoricalEncoding():
            rarity: Floats = np.array([*encoding.rarity, encoding.unseen])
            out[:, 0] = rarity[level_codes(encoding, cells)]
        case TimeEncoding():
            seconds = epoch_seconds(cells)
            missing = np.isnan(seconds)
            seconds = np.where(missing, encoding.fill, seconds)
            day = np.floor(seconds / DAY)
            angles = []
            if encoding.hours:
                angles.append(2 * np.pi * (seconds / DAY - day))
            if encoding.weekdays:
                angles.append(2 * np.pi * ((day + _EPOCH_WEEKDAY) % 7) / 7)
            for part, angle in enumerate(angles):
                out[:, 2 * part] = np.sin(angle)
                out[:, 2 * part + 1] = np.cos(angle)
            if encoding.missing_indicator:
                out[:, -1] = missing


def level_codes(encoding: CategoricalEncoding, cells: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return (n,) positions in ``encoding.levels``; its length for a level that is not there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    levels = pa.array(encoding.levels, type=pa.string())
    index = pc.index_in(cells.cast(pa.string()), value_set=levels)
    codes: NDArray[np.int64] = pc.fill_null(index, len(levels)).to_numpy().astype(np.int64)
    return codes


def numbers(cells: pa.ChunkedArray) -> Floats:
    """Return (n,) float64, NaN for missing cells."""
    import pyarrow as pa

    if pa.types.is_boolean(cells.type):
        cells = cells.cast(pa.int8())
    # Integers beyond 2^53 round to the nearest float64 instead of failing the cast.
    return np.asarray(cells.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def epoch_seconds(cells: pa.ChunkedArray) -> Floats:
    """Return (n,) seconds since 1970 in UTC, NaN for missing cells."""
    import pyarrow as pa

    micros = cells.cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64())
    return numbers(micros) / 1e6


def clock(seconds: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (n,) hours of day and (n,) weekdays from Monday, in UTC.

    Args:
        seconds: (n,) since 1970, none missing.
    """
    hours, days = np.floor(seconds / 3_600), np.floor(seconds / DAY)
    return (hours % 24).astype(np.int64), ((days + _EPOCH_WEEKDAY) % 7).astype(np.int64)
