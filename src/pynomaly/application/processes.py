"""Telling the living processes of this machine from the dead."""

from __future__ import annotations

import os

__all__ = ["process_exists"]


def process_exists(pid: int) -> bool:
    """Whether a process of this machine exists; yes where nobody can tell.

    >>> process_exists(os.getpid())
    True
    """
    if os.name != "posix":
        return True  # there os.kill would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
