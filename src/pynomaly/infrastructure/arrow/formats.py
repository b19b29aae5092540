"""Which files are data, and what every format's parser gives."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from pynomaly.domain.datasets import ROW_ID
from pynomaly.domain.errors import MalformedSourceError, SourceNotFoundError, UnsupportedFormatError
from pynomaly.domain.sources import SourceFormat, SourceSpec

if TYPE_CHECKING:
    import pyarrow as pa

    from pynomaly.application.ports.partitions import PartitionBatch
    from pynomaly.infrastructure.arrow.files import DataFile

__all__ = [
    "MAX_COLUMNS",
    "NULL_TOKENS",
    "Parse",
    "Parsed",
    "check_columns",
    "check_names",
    "choose",
    "excerpt",
]

NULL_TOKENS = ("", "NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "None")
"""Cells of text formats that mean "missing"."""

MAX_COLUMNS = 10_000
"""More than this is no table anybody meant to send."""

_FORMATS: dict[str, SourceFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".csv.gz": "csv",
    ".tsv.gz": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson.gz": "jsonl",
    ".xlsx": "excel",
    ".xlsm": "excel",
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file whose header has been read.

    Args:
        schema: Of every piece's table.
        pieces: Of the file, read as they are asked for; of whatever size.
    """

    schema: pa.Schema
    pieces: Generator[PartitionBatch, None, None]


Parse = Callable[[BinaryIO, "DataFile", SourceSpec], Parsed]
"""Parses an open file; raises ``MalformedSourceError``."""


def choose(
    files: Sequence[DataFile], spec: SourceSpec
) -> tuple[SourceFormat, tuple[DataFile, ...]]:
    """Return the format of a source and those of its files that hold data.

    With a declared format all of them do; otherwise those whose extension is known.

    Raises:
        SourceNotFoundError: A folder or glob whose files all have unknown extensions, or a name
            that is no text.
        UnsupportedFormatError: A single file has.
        MalformedSourceError: Several formats are mixed.
    """
    if spec.format is not None:
        _require_text(files)
        return spec.format, tuple(files)
    known = [(_format(file.name), file) for file in files]
    data = [(kind, file) for kind, file in known if kind is not None]
    alone = len(files) == 1 and spec.uri.rpartition("/")[2] == files[0].name
    if not data and not alone:
        raise SourceNotFoundError(
            f"{spec.uri} holds no data files; it has {files[0].name} and {len(files) - 1} more",
            hint="data files end in "
            + ", ".join(sorted(_FORMATS))
            + "; or set `format:` of a pipeline's source",
        )
    if not data:
        raise UnsupportedFormatError(
            f"the format of {files[0].uri} cannot be told from its name",
            hint="name it "
            + ", ".join(sorted(_FORMATS))
            + ", or set `format:` of a pipeline's source",
        )
    first_kind, first = data[0]
    for kind, file in data:
        if kind != first_kind:
            raise MalformedSourceError(
                f"{spec.uri} mixes formats: {first.name} is {first_kind}, {file.name} is {kind}",
                hint=f"narrow the source with a glob, e.g. *.{first.name.rpartition('.')[2]}",
            )
    _require_text(chosen := tuple(file for _, file in data))
    return first_kind, chosen


def _require_text(files: Sequence[DataFile]) -> None:
    """Refuse names of bytes that are no text: they could not be kept, nor written into Parquet."""
    for file in files:
        try:
            file.uri.encode()
        except UnicodeEncodeError as error:
            shown = file.uri.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise SourceNotFoundError(
                f"the name of {shown} is no UTF-8", hint="rename it, or the folder"
            ) from error


def _format(name: str) -> SourceFormat | None:
    lower = name.lower()
    return next((kind for end, kind in _FORMATS.items() if lower.endswith(end)), None)


def check_names(names: Sequence[str], uri: str) -> None:
    """Refuse column names that are duplicated, reserved or too many.

    Raises:
        MalformedSourceError: Naming the file, the column and its positions.
    """
    if len(names) > MAX_COLUMNS:
        raise MalformedSourceError(
            f"{uri} has {len(names)} columns; at most {MAX_COLUMNS} are read",
            hint="check the delimiter, or drop columns",
        )
    seen: dict[str, int] = {}
    for position, name in enumerate(names, 1):
        if name in seen:
            raise MalformedSourceError(
                f"{uri}: columns {seen[name]} and {position} are both called {name!r}",
                hint="rename one of them",
            )
        seen[name] = position
    if ROW_ID in seen:
        raise MalformedSourceError(
            f"{uri}: column {seen[ROW_ID]} is called {ROW_ID!r}, a name Pynomaly gives itself",
            hint="rename it, e.g. to id, and name it as the id column of the pipeline",
        )


def check_columns(schema: pa.Schema, uri: str, expected: pa.Schema, first: str) -> None:
    """Refuse a file whose columns are not those of the first one, in whatever order.

    Args:
        schema: Of the file.
        uri: Of the file.
        expected: Of the first one.
        first: Its URI.

    Raises:
        MalformedSourceError: Naming the columns in which they differ.
    """
    known = {(field.name, str(field.type)) for field in expected}
    found = {(field.name, str(field.type)) for field in schema}
    if found == known:
        return
    differences = {"lacks": known - found, "has instead or besides": found - known}
    told = (
        f"it {what} " + ", ".join(f"{name} ({kind})" for name, kind in sorted(columns)[:5])
        for what, columns in differences.items()
        if columns
    )
    raise MalformedSourceError(
        f"{uri} does not have the columns of {first}: {'; '.join(told)}",
        hint="all files of a source need the same columns, those that folders called column=value "
        "tell among them; narrow the source with a glob",
    )


def excerpt(text: str) -> str:
    """Return a line as :class:`MalformedRow` carries it."""
    return text.rstrip("\r\n")[:500]
