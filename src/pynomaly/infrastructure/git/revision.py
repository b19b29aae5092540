"""Which commit a file belongs to."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["revision_of"]

_SECONDS = 10.0


def revision_of(path: Path) -> str | None:
    """Return the commit that holds a file or folder, and whether it was changed since.

    Args:
        path: Tracked by a repository, or not: an installed package that merely lies in somebody's
            working tree has no revision.

    Returns:
        ``"git 5f1c…"`` or ``"git 5f1c… and uncommitted changes"``; None outside a repository and
        where there is no git.
    """
    if not _git(path, "ls-files", "--", path.name):
        return None
    commit = _git(path, "rev-parse", "HEAD")
    if not commit:
        return None
    changed = _git(path, "status", "--porcelain", "--", path.name)
    return f"git {commit}" + (" and uncommitted changes" if changed else "")


def _git(path: Path, *arguments: str) -> str:
    """Return what a git command prints; nothing if it fails."""
    # Optional locks would have a mere question write to the repository.
    command = ["git", "--no-optional-locks", "-C", str(path.parent), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
