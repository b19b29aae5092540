"""Stores scored parts: Parquet files in folders and under ``s3://`` prefixes, rows in tables."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pynomaly.application.ports.partitions import PartStore, PartWriter, StoredPart
from pynomaly.domain.errors import (
    ConfigurationError,
    IntegrityError,
    SourceChangedError,
    UnsupportedFormatError,
)
from pynomaly.domain.ledger import Part
from pynomaly.infrastructure.arrow.partfiles import DIVIDED, PartFileWriter

__all__ = ["FileParts", "PartFiles", "PartStores"]

_NAME = r"[0-9a-f]{8,64}-\d+"
_FILE = rf"/\.?{_NAME}(\.\d+)?\.parquet(\.[0-9a-f]+\.tmp|#upload=.+)?\Z"
_OURS = re.compile(_FILE)
_WITHIN = re.compile(rf"(/[^/=]+=[^/]*)?{_FILE}")
"""Below a target: parts lie in it or in a folder named by a value; any deeper is another target."""
_DATABASES = ("sqlite", "postgresql", "postgres")


class PartFiles(Protocol):
    """A kind of place for files, whatever they hold."""

    @property
    def most_open(self) -> int:
        """Files that one writer may have open at once."""

    def resolve(self, target: str) -> str:
        """Return the one spelling of a target."""

    def occupied(self, target: str) -> bool:
        """Whether any file is there that is not hidden."""

    def create(self, uri: str) -> AbstractContextManager[BinaryIO]:
        """Give a handle whose bytes appear at ``uri`` when the context exits cleanly."""

    def open(self, uri: str) -> BinaryIO:
        """Open for reading, seekable; raises FileNotFoundError if nothing is there."""

    def stored(self, target: str) -> Iterator[StoredPart]:
        """Find every file, half-written ones included."""

    def remove(self, uri: str) -> None:
        """Remove a file; one that is gone already is fine."""


@dataclass(frozen=True, slots=True)
class PartStores:
    """Implements ``PartStore`` for every kind of target.

    Args:
        local: For folders.
        s3: For ``s3://`` prefixes.
        sql: For tables of databases.
    """

    local: PartStore
    s3: PartStore
    sql: PartStore

    def resolve(self, target: str) -> str:
        """Return the one spelling of a target that the ledger keeps."""
        scheme, separator, rest = target.partition("://")
        if separator and scheme.lower() == "s3":
            target = f"s3://{rest}"
        return self._store(target).resolve(target)

    def occupied(self, target: str) -> bool:
        """Whether the target holds anything at all."""
        return self._store(target).occupied(target)

    def writer(
        self, target: str, name: str, *, partition_by: str | None = None
    ) -> AbstractContextManager[PartWriter]:
        """Open a new part."""
        return self._store(target).writer(target, name, partition_by=partition_by)

    def read(
        self, parts: Sequence[Part], columns: Sequence[str] | None = None, batch_rows: int = 50_000
    ) -> Iterator[pa.Table]:
        """Stream parts in order."""
        for part in parts:
            yield from self._store(part.uri).read([part], columns, batch_rows)

    def check(self, part: Part) -> str | None:
        """Return what is wrong with a part, or None."""
        return self._store(part.uri).check(part)

    def stored(self, target: str) -> Iterator[StoredPart]:
        """Find all parts in a target, committed or not."""
        return self._store(target).stored(target)

    def remove(self, uri: str) -> None:
        """Remove a part."""
        self._store(uri).remove(uri)

    def _store(self, uri: str) -> PartStore:
        scheme, separator, _ = uri.partition("://")
        if not separator:
            return self.local
        if scheme == "s3":
            return self.s3
        if scheme.lower().partition("+")[0] in _DATABASES:
            return self.sql
        # Nothing but the scheme is repeated: the rest may hold a password.
        raise UnsupportedFormatError(
            f"scores are not kept in {scheme}://",
            hint="use a folder, s3://bucket/prefix, sqlite:///path#table or "
            "postgresql://user@host/database#table",
        )


@dataclass(frozen=True, slots=True)
class FileParts:
    """Implements ``PartStore`` by Parquet files; see :class:`PartFileWriter` for what they hold.

    Args:
        files: Where they are.
    """

    files: PartFiles

    def resolve(self, target: str) -> str:
        """Return the one spelling of a target that the ledger keeps."""
        return self.files.resolve(target)

    def occupied(self, target: str) -> bool:
        """Whether the target holds any file that is not hidden."""
        return self.files.occupied(target)

    @contextmanager
    def writer(
        self, target: str, name: str, *, partition_by: str | None = None
    ) -> Iterator[PartWriter]:
        """Open ``<target>/<name>.parquet``, or one such file in every ``<column>=<value>``.

        Files appear when the context exits cleanly.  Only a part that is divided among very many
        folders shows some before that; whatever ends the context early removes them again.
        """
        if not re.fullmatch(_NAME, name):
            raise ValueError(f"a part is called <key prefix>-<fence>: {name!r}")
        writer = PartFileWriter(self.files, target, name, partition_by)
        try:
            yield writer
            writer.complete()
        except BaseException as error:
            writer.discard(error)
            raise

    def read(
        self, parts: Sequence[Part], columns: Sequence[str] | None = None, batch_rows: int = 50_000
    ) -> Iterator[pa.Table]:
        """Stream parts in order; the column that folders are named by comes last, as text."""
        for part in parts:
            with self._opened(part) as parquet:
                rows = parquet.metadata.num_rows
                if rows != part.rows:
                    raise _damaged(part, f"holds {rows:,} rows, committed were {part.rows:,}")
                yield from _batches(part, parquet, columns, batch_rows)

    def check(self, part: Part) -> str | None:
        """Take the digest of a part's bytes anew and count its rows."""
        try:
            with self.files.open(part.uri) as handle:
                found = hashlib.file_digest(cast("Any", handle), "sha256").hexdigest()
        except FileNotFoundError:
            return "is missing"
        if found != part.digest:
            return f"has other bytes than were committed (sha256 {found}, not {part.digest})"
        with self._opened(part) as parquet:
            rows = parquet.metadata.num_rows
        return None if rows == part.rows else f"holds {rows:,} rows, committed were {part.rows:,}"

    def stored(self, target: str) -> Iterator[StoredPart]:
        """Find every file of this target with the name of a part, half-written or not."""
        for found in self.files.stored(target):
            if _WITHIN.fullmatch(found.uri.removeprefix(target.rstrip("/"))):
                yield found

    def remove(self, uri: str) -> None:
        """Remove the file of a part, half-written or not."""
        if not _is_ours(uri):
            raise ValueError(f"this is not the name of a part: {uri}")
        self.files.remove(uri)

    @contextmanager
    def _opened(self, part: Part) -> Iterator[pq.ParquetFile]:
        try:
            # pre_buffer would hold whole row groups in memory.
            with (
                self.files.open(part.uri) as handle,
                pq.ParquetFile(handle, pre_buffer=False) as parquet,
            ):
                yield parquet
        except FileNotFoundError as error:
            raise _damaged(part, "is missing") from error
        except SourceChangedError as error:
            raise _damaged(part, "was replaced while it was read") from error
        except (pa.ArrowException, OSError) as error:
            raise _damaged(part, f"cannot be read: {str(error).splitlines()[0]}") from error


def _batches(
    part: Part, parquet: pq.ParquetFile, columns: Sequence[str] | None, batch_rows: int
) -> Iterator[pa.Table]:
    stored = parquet.schema_arrow.names
    divided: dict[str, str | None] = json.loads(
        (parquet.metadata.metadata or {}).get(DIVIDED, "{}")
    )
    wanted = [*stored, *divided] if columns is None else list(columns)
    for name in wanted:
        if name not in stored and name not in divided:
            raise ConfigurationError(
                f"the scores in {part.uri} have no column {name!r}",
                hint="they have " + ", ".join([*stored, *divided]),
            )
    kept = [name for name in wanted if name in stored]
    for batch in parquet.iter_batches(batch_rows, columns=kept):
        arrays: dict[str, Any] = dict(zip(batch.schema.names, batch.columns, strict=True))
        for name, value in divided.items():
            arrays[name] = pa.repeat(pa.scalar(value, pa.string()), batch.num_rows)
        yield pa.table({name: arrays[name] for name in wanted})


def _is_ours(uri: str) -> bool:
    return _OURS.search(uri) is not None


def _damaged(part: Part, problem: str) -> IntegrityError:
    return IntegrityError(
        f"{part.uri} {problem}",
        hint="free it: `pynomaly scores verify --repair` for its pipeline, then score again",
    )
