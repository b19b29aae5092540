"""What has to run for as long as the platform is up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Service"]


@dataclass(frozen=True, slots=True)
class Service:
    """A process to be kept running.

    Args:
        name: For people, e.g. ``prefect``.
        command: Program and arguments.
        environment: All of its variables.
        folder: It works in.
        log: File that keeps what it prints.
        healthy: Whether it does its work now; may take a few seconds to tell.
        url: Where people find it, if it has pages.
        after: Names of services that must be healthy before it is started.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    healthy: Callable[[], bool]
    url: str | None = None
    after: tuple[str, ...] = ()
