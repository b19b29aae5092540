"""Releases in SQL: rules are carried out in one transaction, and everything that moves is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from pynomaly.domain.canaries import Comparison, together
from pynomaly.domain.errors import PynomalyError
from pynomaly.domain.releases import ACTIVE, Release, ReleaseEvent
from pynomaly.domain.transitions import Rule, event_of
from pynomaly.infrastructure.sqlalchemy import rows
from pynomaly.infrastructure.sqlalchemy.database import Database, insert_into
from pynomaly.infrastructure.sqlalchemy.tables import observations, release_events, releases

__all__ = ["events_of", "move", "observe", "observed", "on_its_way", "production_of"]


def production_of(pipeline: str) -> sa.Select[Any]:
    """Return the query for the release that serves."""
    return sa.select(releases).where(
        releases.c.pipeline == pipeline, releases.c.state == "production"
    )


def on_its_way(pipeline: str) -> sa.Select[Any]:
    """Return the query for the release that is staged, rolled out or waits for approval."""
    return sa.select(releases).where(
        releases.c.pipeline == pipeline, releases.c.state.in_(sorted(ACTIVE))
    )


def move(connection: sa.Connection, pipeline: str, rule: Rule) -> tuple[Release, ...]:
    """Carry out a rule; see ``Records.move``.

    Args:
        connection: In a transaction that sees no other one's half-done work.
        pipeline: Which one.
        rule: Of the domain.
    """
    found = connection.execute(sa.select(releases).where(releases.c.pipeline == pipeline))
    book = [rows.release(row) for row in found]
    states = {release.id: release.state for release in book}
    transitions = rule(book)
    newest = sa.select(sa.func.max(release_events.c.fence)).where(
        release_events.c.pipeline == pipeline
    )
    # Releases from before there were events count as well.
    fence = max([connection.scalar(newest) or 0, *(release.fence for release in book)])
    stored = []
    # The first is what was asked for; what makes room for it must go before.
    for transition in reversed(transitions):
        fence += 1
        values = rows.row(transition.release) | {"fence": fence}
        connection.execute(
            sa.update(releases).where(releases.c.id == transition.release.id).values(values)
        )
        event = event_of(transition, states[transition.release.id], fence)
        connection.execute(sa.insert(release_events).values(rows.row(event)))
        query = sa.select(releases).where(releases.c.id == transition.release.id)
        stored.append(rows.release(connection.execute(query).one()))
    return tuple(reversed(stored))


def events_of(
    connection: sa.Connection, pipeline: str, release_id: str | None
) -> tuple[ReleaseEvent, ...]:
    """Return what happened to releases, oldest first."""
    query = sa.select(release_events).where(release_events.c.pipeline == pipeline)
    if release_id is not None:
        query = query.where(release_events.c.release_id == release_id)
    found = connection.execute(query.order_by(release_events.c.fence))
    return tuple(map(rows.release_event, found))


def observe(database: Database, release_id: str, step: int, seen: Mapping[str, Comparison]) -> None:
    """Keep what was seen of a release, each partition once; see ``Records.observe``."""
    if not seen:
        return
    values = [
        {
            "release_id": release_id,
            "step": step,
            "key": key,
            "seen": rows.comparison_row(comparison),
        }
        for key, comparison in sorted(seen.items())  # in one order, so that two never deadlock
    ]
    with database.write() as connection:
        known = connection.scalar(
            sa.select(sa.func.count()).select_from(releases).where(releases.c.id == release_id)
        )
        if not known:
            raise PynomalyError(f"observations of unknown release {release_id}")
        connection.execute(insert_into(connection, observations).on_conflict_do_nothing(), values)


def observed(connection: sa.Connection, release_id: str, step: int) -> Comparison:
    """Return everything seen of a release in a step, added up."""
    query = sa.select(observations.c.seen).where(
        observations.c.release_id == release_id, observations.c.step == step
    )
    return together(rows.comparison(seen) for seen in connection.scalars(query))
