"""The current scored rows of a pipeline, as the ledger has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pynomaly.application.in_force import entries_in_force, score_versions, whole_source
from pynomaly.application.ports.data import OutputSinks
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.partitions import PartStore
from pynomaly.application.ports.records import Records
from pynomaly.domain.errors import OutputExistsError, UsageError
from pynomaly.domain.ledger import Entry, Part

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ReadScores", "is_file", "looks_like_a_file"]

_FILES = (".parquet", ".csv", ".jsonl")
_EXTENSION = re.compile(r"[^.]\.[A-Za-z][A-Za-z0-9]{0,7}\Z")


def is_file(out: str) -> bool:
    """Whether an output names one file rather than a folder, prefix or table.

    >>> is_file("s3://lake/scored.parquet"), is_file("scores/")
    (True, False)
    """
    return out.lower().endswith(_FILES)


def looks_like_a_file(out: str) -> bool:
    """Whether an output names neither a file we can write nor, plainly, a folder or a table.

    >>> looks_like_a_file("scored.xlsx"), looks_like_a_file("s3://lake/scored.csv.gz")
    (True, True)
    >>> looks_like_a_file("scores.v2/"), looks_like_a_file("2026.11"), is_file("scored.csv")
    (False, False, True)
    """
    scheme, separator, rest = out.rpartition("://")
    if separator and scheme.lower() != "s3":
        return False
    *folders, name = rest.split("/")
    # An s3:// URL of a bucket alone is a folder whatever its name.
    is_bucket = bool(separator) and not folders
    return not is_bucket and not is_file(out) and _EXTENSION.search(name) is not None


@dataclass(frozen=True, slots=True)
class ReadScores:
    """Read what was committed; nothing else counts, whatever lies in the folders.

    Args:
        ledger: Knows what counts.
        store: Reads parts.
        sinks: Write files for people.
        records: Know what we wrote to such files.
    """

    ledger: Ledger
    store: PartStore
    sinks: OutputSinks
    records: Records

    def current(
        self,
        pipeline: str,
        model_version: int | None = None,
        policy_version: str | None = None,
    ) -> tuple[Entry, ...]:
        """Return the committed partitions in force, wherever they were written.

        Args:
            pipeline: Which pipeline.
            model_version: Of an earlier version still kept; the one that counts where None
                (:func:`pynomaly.application.in_force.score_versions`).
            policy_version: Of an earlier decision policy; the one that counts where None.

        Raises:
            UsageError: Nothing is committed (of that version, of that policy).
        """
        others: dict[str, None] = {}
        for version in score_versions(self.ledger, self.records, pipeline):
            if not (entries := self.ledger.current(pipeline, version)):
                continue
            if model_version in (None, version.model_version) and policy_version in (
                None,
                version.policy_version,
            ):
                return entries
            others[f"version {version.model_version} under policy {version.policy_version}"] = None
        if others:
            asked = [f"model version {model_version}"] if model_version is not None else []
            asked += [f"policy {policy_version}"] if policy_version is not None else []
            raise UsageError(
                f"pipeline '{pipeline}' has no scores by {' and '.join(asked)}",
                hint=f"it has scores by {', '.join(others)}",
            )
        raise UsageError(
            f"pipeline '{pipeline}' has no committed scores",
            hint=f"score something first: pynomaly score {pipeline} --data FILE",
        )

    def left_out(self, pipeline: str, entries: Sequence[Entry]) -> int:
        """Return how many inputs have committed scores, but none among these entries."""
        all_of_them = entries_in_force(self.ledger, self.records, pipeline)
        return len({whole_source(e) for e in all_of_them} - {whole_source(e) for e in entries})

    def rows(
        self, entries: Sequence[Entry], columns: Sequence[str] | None = None
    ) -> Iterator[pa.Table]:
        """Stream the scored rows of committed partitions, in order.

        Raises:
            IntegrityError: A part is missing or damaged.
        """
        return self.store.read(_parts(entries), columns)

    def write(self, entries: Sequence[Entry], out: str, *, overwrite: bool) -> str:
        """Copy the rows of committed partitions into one file and return its digest.

        Raises:
            OutputExistsError: The file is there and is not what we wrote.
            IntegrityError: A part is missing or damaged.
        """
        self.refuse_foreign(out, overwrite=overwrite)
        return self.copy(_parts(entries), out, overwrite=overwrite)

    def _columns(self, parts: Sequence[Part]) -> pa.Schema:
        """Return the columns that all parts have: jobs may have kept different ones.

        What one kept as numbers and another as text, is text.
        """
        import pyarrow as pa

        common: dict[str, pa.DataType] | None = None
        for part in parts:
            for table in self.store.read([part], batch_rows=1):
                kinds = dict(zip(table.column_names, table.schema.types, strict=True))
                common = kinds if common is None else {
                    name: kind if kind == kinds[name] else pa.string()
                    for name, kind in common.items()
                    if name in kinds
                }  # fmt: skip
                break
        return pa.schema(list((common or {}).items()))

    def copy(self, parts: Sequence[Part], out: str, *, overwrite: bool) -> str:
        """Copy parts into one file, which appears complete or not at all; return its digest.

        Of columns that only some jobs kept, none is copied.
        """

        def announce(digest: str) -> None:
            self.records.add_output(out, digest)

        replaceable = overwrite or self._is_ours(self.sinks.digest(out), out)
        with self.sinks.writer(out, overwrite=replaceable, announce=announce) as output:
            columns = self._columns(parts)
            for table in self.store.read(parts, columns.names):
                output.write(table.cast(columns))
        return output.digest

    def refuse_foreign(self, out: str, *, overwrite: bool) -> None:
        """Refuse, before anything is scored, a file that we did not write.

        Raises:
            OutputExistsError: It is there, and is not what we wrote.
        """
        if overwrite or (found := self.sinks.digest(out)) is None or self._is_ours(found, out):
            return
        raise OutputExistsError(
            f"{out} exists already; it was left as it is",
            hint="choose another name, or allow replacing it with --overwrite",
        )

    def _is_ours(self, digest: str | None, out: str) -> bool:
        """Whether what is there now is, byte for byte, what we wrote there."""
        return digest is not None and self.records.wrote(out, digest)


def _parts(entries: Sequence[Entry]) -> list[Part]:
    return [part for entry in entries if entry.outcome is not None for part in entry.outcome.parts]
