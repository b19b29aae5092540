"""What people said about rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pynomaly.domain.verdicts import Verdict

__all__ = ["Verdicts"]


class Verdicts(Protocol):
    """Keeps verdicts for ever; every method is one transaction."""

    def add(self, verdicts: Sequence[Verdict]) -> None:
        """Store verdicts, all of them or none; an equal one may exist already.

        Raises:
            ConflictError: One of that id exists with other content.
            ValueError: A moment without a time zone.
        """

    def of(self, pipeline: str) -> tuple[Verdict, ...]:
        """Return every verdict ever given on rows of a pipeline, in the order they arrived."""
