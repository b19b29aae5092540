"""What the releases of a pipeline say together: which serves, and whether one may still move."""

from __future__ import annotations

from collections.abc import Sequence

from pynomaly.domain.errors import ConflictError, UsageError
from pynomaly.domain.releases import Release, ReleaseState

__all__ = ["one", "require", "require_champion", "serving_in"]


def serving_in(book: Sequence[Release]) -> Release | None:
    """Return the release that serves, if any."""
    return next((release for release in book if release.state == "production"), None)


def one(book: Sequence[Release], release_id: str) -> Release:
    """Return a release by id.

    Raises:
        UsageError: There is no such release.
    """
    for release in book:
        if release.id == release_id:
            return release
    raise UsageError(f"there is no release {release_id}")


def require(release: Release, *states: ReleaseState) -> None:
    """Refuse a release in any other state.

    Raises:
        ConflictError: It is in another one.
    """
    if release.state not in states:
        raise ConflictError(
            f"release {release.id} (version {release.version} of '{release.pipeline}') is "
            f"{release.state.replace('_', ' ')} by now",
            hint=f"look at it: pynomaly releases show {release.id}",
        )


def require_champion(book: Sequence[Release], release: Release) -> None:
    """Refuse a release that was compared with another champion than what serves now.

    Raises:
        ConflictError: It was, or the same model serves with another decision policy since.
    """
    serving = serving_in(book)
    champion = serving.version if serving else None
    # The same model may serve with another policy by now: one that was gated later.
    again = serving is not None and serving.created_at > release.created_at
    if champion != release.champion or again:
        policy = " with another decision policy" if champion == release.champion else ""
        raise ConflictError(
            f"release {release.id} of '{release.pipeline}' was compared with champion "
            f"{release.champion or 'none'}, but now version {champion or 'none'} serves{policy}",
            hint=f"run `pynomaly release {release.pipeline}` again to compare with it",
        )
