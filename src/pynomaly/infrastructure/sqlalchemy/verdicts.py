"""Verdicts in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from pynomaly.domain.errors import ConflictError
from pynomaly.domain.runs import Actor
from pynomaly.domain.verdicts import Verdict
from pynomaly.infrastructure.sqlalchemy.database import Database, insert_into
from pynomaly.infrastructure.sqlalchemy.tables import verdicts

__all__ = ["SqlVerdicts"]


class SqlVerdicts:
    """Implements ``Verdicts`` (application/ports/verdicts.py).

    Args:
        url: As for ``SqlRecords``.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def add(self, given: Sequence[Verdict]) -> None:
        """Store verdicts, all of them or none.

        Raises:
            ConflictError: One of that id exists with other content.
            ValueError: A moment without a time zone.
        """
        values = [_values(verdict) for verdict in given]
        with self._database.write() as connection:
            for verdict, value in zip(given, values, strict=True):
                insert = insert_into(connection, verdicts).values(value)
                connection.execute(insert.on_conflict_do_nothing().inline())
                same = sa.select(verdicts).where(verdicts.c.id == verdict.id)
                if _verdict(connection.execute(same).one()) != verdict:
                    raise ConflictError(
                        f"verdict {verdict.id} is stored already, with other content",
                        hint="verdicts are written once; give a new one a new id",
                    )

    def of(self, pipeline: str) -> tuple[Verdict, ...]:
        """Return every verdict ever given on rows of a pipeline, in the order they arrived."""
        query = sa.select(verdicts).where(verdicts.c.pipeline == pipeline)
        with self._database.read() as connection:
            return tuple(map(_verdict, connection.execute(query.order_by(verdicts.c.seq))))


def _values(verdict: Verdict) -> dict[str, Any]:
    if verdict.at.tzinfo is None:
        raise ValueError(f"Verdict.at has no time zone: {verdict.at}")
    values = {field.name: getattr(verdict, field.name) for field in fields(verdict)}
    actor = values.pop("actor")
    return {
        **values,
        "ids": dict(verdict.ids),
        "values": dict(verdict.values),
        "actor_name": actor.name,
        "actor_kind": actor.kind,
    }


def _verdict(found: sa.Row[Any]) -> Verdict:
    values = dict(found._mapping)
    del values["seq"]
    return Verdict(actor=Actor(values.pop("actor_name"), values.pop("actor_kind")), **values)
