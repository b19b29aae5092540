"""Which rows of a growing table were scored: by a job over all of it, and by increments after it.

Every increment takes the rows above the watermark at which the one before it ended.  Rows are in
force if an unbroken chain of such jobs leads to them, so that each counts once, whatever jobs ran
beside each other, failed, or were scored anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

__all__ = ["INCREMENT", "Stretch", "Watermark", "chain", "in_force", "reach"]

INCREMENT = ", above "
"""In the source of a partition, between the table and the watermark that its rows lie above."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """Up to where a table was read.

    Args:
        column: That grows with every new row.
        value: The highest in the table, as text.
        asked_at: When the table was asked for it, UTC.
    """

    column: str
    value: str
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one job scored of a table.

    Args:
        job_id: Of the job.
        run_id: Of its run.
        target: Where its parts went.
        table: All of which the job looked at.
        source: Of its partitions: the table, or the table, :data:`INCREMENT` and a watermark.
        watermark: Up to where it goes; None where the table has none.
        complete: Whether all of its partitions are committed.
    """

    job_id: str
    run_id: str
    target: str
    table: str
    source: str
    watermark: Watermark | None
    complete: bool

    @property
    def above(self) -> str | None:
        """The watermark that its rows lie above; None where it begins with the first row.

        >>> Stretch("job", "run", "/scores", "db#rows", "db#rows, above 7", None, True).above
        '7'
        """
        increment = f"{self.table}{INCREMENT}"
        return self.source.removeprefix(increment) if self.source.startswith(increment) else None


def reach(stretches: Sequence[Stretch], column: str) -> str | None:
    """Return up to where a table is scored without a gap.

    The newest complete job over the whole table is followed by increments, each complete, each
    beginning where the one before ended.

    Args:
        stretches: Of one table in one place, the newest first.
        column: Of the watermark.  Where the table was read by another one last, nothing counts.
    """
    following: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(stretches):
        if one.complete and one.above is not None and _column(one) == column:
            following[one.above].append(place)
    whole = (n for n, one in enumerate(stretches) if one.complete and one.above is None)
    value, after = None, next(whole, None)
    while after is not None:
        place, mark = after, stretches[after].watermark
        if mark is None or mark.column != column:
            return None
        value = mark.value
        after = next((n for n in following[value] if n < place), None)
    return value


def chain(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """Return what is in force of a table, the newest first.

    It begins with the newest complete job and goes back, increment by increment, to one over the
    whole table; an increment that follows and is in progress comes before it.  So a row that two
    jobs have scored counts once, and a full job that an increment overtook hides nothing.

    Args:
        stretches: Of one table in one place, the newest first; at least one.
    """
    ending: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, one in enumerate(stretches):
        if one.watermark is not None:
            ending[one.watermark.column, one.watermark.value].append(place)
    place = next((n for n, one in enumerate(stretches) if one.complete), 0)
    found = [stretches[place]]
    begun = (one for one in stretches[:place] if _follows(one, stretches[place]))
    while (above := found[-1].above) is not None:
        older = [n for n in ending[_column(found[-1]), above] if n > place]
        if not older:
            break
        # A broken link still leads to what lies before it.
        place = next((n for n in older if stretches[n].complete), older[0])
        found.append(stretches[place])
    return (*(one for one in (next(begun, None),) if one), *found)


def in_force(stretches: Iterable[Stretch]) -> Mapping[str, str | None]:
    """Return which job decides about every source of the tables that have increments.

    Increments continue what lies in their own place: of a table that was scored into several, the
    place of the newest complete job counts, and the chain within it.

    Args:
        stretches: Of any tables, the newest first.

    Returns:
        Source → id of the job whose partitions of it are in force; None where none is.
    """
    tables: dict[str, list[Stretch]] = defaultdict(list)
    for one in stretches:
        tables[one.table].append(one)
    found: dict[str, str | None] = {}
    for table in tables.values():
        if any(one.above is not None for one in table):
            found |= dict.fromkeys((one.source for one in table), None)
            newest = next((one for one in table if one.complete), table[0])
            beside = [one for one in table if one.target == newest.target]
            found |= {one.source: one.job_id for one in chain(beside)}
    return found


def _column(one: Stretch) -> str:
    return one.watermark.column if one.watermark is not None else ""


def _follows(one: Stretch, other: Stretch) -> bool:
    mark = other.watermark
    return mark is not None and (_column(one), one.above) == (mark.column, mark.value)
