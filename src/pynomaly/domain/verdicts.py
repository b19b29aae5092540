"""What people say about rows: anomalies or not.

A row is called by a digest: of its id columns where the pipeline has some, else of its values as
the pipeline reads them (two rows of equal values are then one row).  Verdicts are never changed or
removed; the newest of a row stands, and one that says ``withdrawn`` takes back whatever stood.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pynomaly.domain.runs import Actor

__all__ = [
    "JUDGING_SHARE",
    "Cell",
    "Said",
    "Verdict",
    "digest_of_ids",
    "digest_of_values",
    "judges",
    "short",
    "standing",
]

Said = Literal["anomaly", "normal", "withdrawn"]

Cell = float | bool | str | None
"""A value as the pipeline reads it: number, truth value, text, or time as ISO 8601."""

JUDGING_SHARE = 0.2
"""Of all judged rows so many never teach a model, so that there is something to judge models by."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What somebody said about a row.

    Args:
        id: Unique, sortable by time.
        pipeline: Whose row.
        row: Digest that calls the row, 64 hex digits.
        ids: What people call it by: the pipeline's keys as in scored output.
        said: What it is.
        values: Every feature of the row as the pipeline read it, so that it can be learnt from and
            scored once the source no longer has it.
        source: Path or URL of the file, object or table it was scored from.
        actor: Who said so.
        at: When; UTC.
        reason: Why, in the actor's words; may be empty.
    """

    id: str
    pipeline: str
    row: str
    ids: Mapping[str, str]
    said: Said
    values: Mapping[str, Cell]
    source: str
    actor: Actor
    at: datetime
    reason: str = ""


def standing(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Return the verdicts that count: of every row the newest, unless it was withdrawn.

    Args:
        verdicts: Of one pipeline, in the order in which they were given.
    """
    newest: dict[str, Verdict] = {}
    for verdict in verdicts:
        newest.pop(verdict.row, None)  # the newest also comes last
        newest[verdict.row] = verdict
    return tuple(verdict for verdict in newest.values() if verdict.said != "withdrawn")


def digest_of_ids(ids: Sequence[str]) -> str:
    """Return what calls a row by its id columns.

    Args:
        ids: In the order in which the pipeline names the columns.

    >>> digest_of_ids(["t1"])[:12]
    'b813212912f4'
    """
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()


def digest_of_values(values: Mapping[str, Cell]) -> str:
    """Return what calls a row that has no id, whatever the order of its columns.

    >>> digest_of_values({"a": 1.0, "b": None}) == digest_of_values({"b": None, "a": 1.0})
    True
    """
    return hashlib.sha256(json.dumps(dict(values), sort_keys=True).encode()).hexdigest()


def judges(row: str) -> bool:
    """Whether a row is one that models are judged by and that none is taught with.

    It depends on the row alone, so no model ever learns from it, whenever it was trained.

    Args:
        row: Its digest.

    >>> judges("00" * 32), judges("ff" * 32)
    (True, False)
    """
    return int(row[:8], 16) < JUDGING_SHARE * 2**32


def short(row: str) -> int:
    """Return the first 64 bits of a digest: enough to tell the rows of a table apart.

    >>> short("00000000000000ff" + "00" * 24)
    255
    """
    return int(row[:16], 16)
