"""Ranges of rows of PostgreSQL and SQLite: how they are found, and read in a stable order."""

# ruff: noqa: S608 - names are quoted by the dialect, values are bound.

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from pynomaly.domain.errors import ConfigurationError, MalformedSourceError
from pynomaly.infrastructure.sqlalchemy.selection import VALUE, Relation, Selection, run

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

__all__ = ["New", "Range", "Ranges"]

_DIVISIBLE = ("postgresql", "sqlite")
_TESTS = {
    "from": "{column} >= {value}",
    "below": "{column} < {value}",
    "to": "{column} <= {value}",
    "above": "{column} > {value}",
    "to or null": "({column} <= {value} OR {column} IS NULL)",
    "null": "{column} IS NULL",
    "present": "{column} IS NOT NULL",
}

Value = int | float | str


@dataclass(frozen=True, slots=True)
class _Condition:
    """One test of a column against a value that the database gave.

    Args:
        column: Its name.
        test: See ``_TESTS``.
        value: As the database takes it; None where the test takes none.
        type: PostgreSQL's, to which the value, a text, is cast; empty on SQLite.
    """

    column: str
    test: str
    value: Value | None = None
    type: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    """What a partition keeps for its reader.

    Args:
        kinds: Name of each column and of what it holds, in order.
        key: Divides the table; None where it is not divided.
        conditions: That its rows meet, all of them.
    """

    kinds: dict[str, str]
    key: str | None
    conditions: tuple[_Condition, ...] = ()

    def __str__(self) -> str:
        """Return it as a partition keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Range:
        """Return what a partition keeps."""
        fields = json.loads(text)
        fields["conditions"] = tuple(_Condition(**each) for each in fields["conditions"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class New:
    """Which rows of a table are new.

    Args:
        conditions: That they meet.
        watermark: The highest among them, as text.
        extent: For people; empty where all rows are.
    """

    conditions: tuple[_Condition, ...]
    watermark: str | None
    extent: str


class Ranges:
    """Speaks to PostgreSQL or SQLite about one relation.

    PostgreSQL gives and takes keys as texts, which are exact for every type; SQLite, where each
    value has a type of its own, as they are.
    """

    def __init__(self, connection: Connection, relation: Relation) -> None:
        self._connection = connection
        self._relation = relation
        self._postgres = connection.dialect.name == "postgresql"
        self._quote = connection.dialect.identifier_preparer.quote_identifier

    @property
    def divisible(self) -> bool:
        """Whether we know how this database compares what it gave."""
        return self._connection.dialect.name in _DIVISIBLE

    def new(self, selection: Selection, column: str, above: str | None) -> New:
        """Find out which rows have a watermark above the one given, and the highest."""
        highest = f"max({self._quote(column)})"
        kind = self._type(self._quote(column))
        conditions: tuple[_Condition, ...] = ()
        if above is not None:
            conditions = (_Condition(column, "above", self._taken(above, highest), kind),)
            where, _ = self._where((_Condition(column, "null"),))
            ((lacking,),) = self._all(f"SELECT count(*) FROM {self._relation.clause}{where}")
            if lacking:
                raise MalformedSourceError(
                    f"{lacking:,} rows of {selection.place} have no {column}: whether they are new "
                    "cannot be told",
                    hint=f"fill in {column}, or read all rows",
                )
        where, values = self._where(conditions)
        ((top,),) = self._all(
            f"SELECT {self._shown(highest)} FROM {self._relation.clause}{where}", values
        )
        if above is None:
            until = () if top is None else (_Condition(column, "to or null", top, kind),)
            return New(until, None if top is None else str(top), "")
        if top is None:  # and with that value no row is to be found
            return New(conditions, above, "")
        conditions += (_Condition(column, "to", top, kind),)
        return New(conditions, str(top), f"{column} above {above} to {top}")

    def divide(self, whole: Range, rows: int) -> Iterator[tuple[str, Range]]:
        """Yield ranges, each with its name for people, in the order of the key."""
        if whole.key is None:
            yield "", whole
            return
        key = whole.key
        column = self._quote(key)
        kind = self._type(column)
        where, values = self._where((*whole.conditions, _Condition(key, "present")))
        # In the database's own order and equality: collations may take two texts for one.
        numbered = (
            f"SELECT {column} AS k, row_number() OVER (ORDER BY {column}) AS n, "
            f"count(*) OVER () AS total FROM {self._relation.clause}{where}"
        )
        found = self._all(
            f"SELECT {self._shown('r.k')} AS shown FROM ({numbered}) AS r "
            f"WHERE (n - 1) % {rows:d} = 0 OR n = total GROUP BY r.k ORDER BY r.k",
            values,
        )
        bounds = [self._bound(row[0], key) for row in found]
        starts = bounds[:-1] or bounds
        for position, (low, high) in enumerate(pairwise((*starts, *bounds[-1:])), 1):
            last = position == len(starts)
            tests = (
                _Condition(key, "from", low, kind),
                _Condition(key, "to" if last else "below", high, kind),
            )
            extent = f"{low} <= {key} {'<=' if last else '<'} {high}"
            yield extent, replace(whole, conditions=(*whole.conditions, *tests))
        missing = (*whole.conditions, _Condition(key, "null"))
        yield f"{key} is null", replace(whole, conditions=missing)

    def read(self, part: Range, rows: int) -> Iterator[Sequence[Any]]:
        """Stream the rows of a range in their order, so many at a time."""
        relation = self._relation
        statement: str = relation.statement
        values: Sequence[Value] = ()
        if self.divisible:
            where, values = self._where(part.conditions)
            order = [] if part.key is None else [self._quote(part.key)]
            without = any(each.test == "null" for each in part.conditions)
            if without or part.key not in relation.unique:
                total = relation.key and not without
                order += map(self._quote, relation.key) if total else map(self._text, part.kinds)
            statement = f"SELECT * FROM {relation.clause}{where} ORDER BY {', '.join(order)}"
        with run(self._connection, statement, values) as result:
            while batch := result.fetchmany(rows):
                yield batch

    def _where(self, conditions: Sequence[_Condition]) -> tuple[str, tuple[Value, ...]]:
        tests = [
            _TESTS[each.test].format(
                column=self._quote(each.column),
                value=f"CAST({VALUE} AS {each.type})" if self._postgres else VALUE,
            )
            for each in conditions
        ]
        values = tuple(each.value for each in conditions if each.value is not None)
        return (f" WHERE {' AND '.join(tests)}" if tests else ""), values

    def _all(self, statement: str, values: Sequence[Value] = ()) -> Sequence[Any]:
        with run(self._connection, statement, values) as result:
            return result.fetchall()

    def _shown(self, expression: str) -> str:
        return f"CAST({expression} AS text)" if self._postgres else expression

    def _text(self, column: str) -> str:
        name = self._quote(column)
        return f'CAST({name} AS text) COLLATE "C"' if self._postgres else f"quote({name})"

    def _type(self, expression: str) -> str:
        if not self._postgres:
            return ""
        found = self._all(
            f"SELECT CAST(pg_typeof({expression}) AS text) FROM {self._relation.clause} LIMIT 1"
        )
        kind: str = found[0][0]
        # CAST(… AS character) would keep a single one.
        return "bpchar" if kind == "character" else kind

    def _taken(self, above: str, highest: str) -> Value:
        """Return a watermark given as text as the database compares it."""
        if self._postgres:
            return above
        ((kind,),) = self._all(f"SELECT typeof({highest}) FROM {self._relation.clause}")
        if kind not in ("integer", "real"):
            return above
        for number in (int, float):
            with contextlib.suppress(ValueError):
                return number(above)
        raise ConfigurationError(
            f"the last watermark was {above!r}, and now the column holds numbers",
            hint="read all rows",
        )

    def _bound(self, value: Any, key: str) -> Value:
        if isinstance(value, bytes):
            raise ConfigurationError(
                f"the key {key!r} is binary, which SQLite tables are not divided by",
                hint="name another id column",
            )
        return cast("Value", value)
