"""The one decision the database takes: which release serves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from pynomaly.domain.errors import ConflictError, PynomalyError, ReleaseBlockedError
from pynomaly.domain.releases import Release
from pynomaly.infrastructure.sqlalchemy import rows
from pynomaly.infrastructure.sqlalchemy.tables import releases

__all__ = ["production_of", "promote"]


def production_of(pipeline: str) -> sa.Select[Any]:
    """Return the query for the release that serves."""
    return sa.select(releases).where(
        releases.c.pipeline == pipeline, releases.c.state == "production"
    )


def promote(connection: sa.Connection, release: Release) -> Release:
    """Replace the pipeline's production by a candidate; see ``Records.promote``.

    Args:
        connection: In a transaction that sees no other one's half-done work.
        release: As it was stored.
    """
    stored = _one(connection, sa.select(releases).where(releases.c.id == release.id))
    if stored is None:
        raise PynomalyError(
            f"release {release.id} cannot be promoted: it was never stored",
            hint="call add_release first, on the same records database",
        )
    if stored.state == "production":
        return stored
    if stored.state == "blocked":
        raise ReleaseBlockedError(
            f"release {release.id} of {release.pipeline} was blocked by its gates",
            release_id=release.id,
            hint="train again, or change the pipeline's release policy",
        )
    if stored.state != "candidate" or _asked(stored) != _asked(release):
        raise ConflictError(
            f"release {release.id} of {release.pipeline} is {stored.state} for version "
            f"{stored.version} against champion {stored.champion or 'none'}; asked was to promote "
            f"version {release.version} against champion {release.champion or 'none'}",
            hint="gate the version again and promote that release",
        )
    serving = _one(connection, production_of(release.pipeline))
    champion = serving.version if serving else None
    if champion != release.champion:
        raise ConflictError(
            f"release {release.id} of {release.pipeline} was compared with champion "
            f"{release.champion or 'none'}, but now version {champion or 'none'} serves",
            hint=f"run `pynomaly release {release.pipeline}` again to compare with it",
        )
    if serving:
        connection.execute(_update(serving).values(state="superseded"))
    fence = sa.select(sa.func.coalesce(sa.func.max(releases.c.fence), 0) + 1)
    connection.execute(
        _update(release).values(
            state="production",
            promoted_at=release.promoted_at or datetime.now(UTC),
            fence=fence.where(releases.c.pipeline == release.pipeline).scalar_subquery(),
        )
    )
    (promoted,) = connection.execute(sa.select(releases).where(releases.c.id == release.id))
    return rows.release(promoted)


def _one(connection: sa.Connection, query: sa.Select[Any]) -> Release | None:
    found = connection.execute(query).one_or_none()
    return rows.release(found) if found else None


def _asked(release: Release) -> tuple[str, int, int | None]:
    return release.pipeline, release.version, release.champion


def _update(release: Release) -> sa.Update:
    return sa.update(releases).where(releases.c.id == release.id)
