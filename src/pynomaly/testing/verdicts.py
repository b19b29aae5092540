"""Verdicts in memory, as strict as a database about what it is given."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace

from pynomaly.domain.errors import ConflictError
from pynomaly.domain.verdicts import Verdict

__all__ = ["InMemoryVerdicts"]


class InMemoryVerdicts:
    """Implements ``Verdicts`` (application/ports/verdicts.py); forgets everything when it goes.

    >>> InMemoryVerdicts().of("payments")
    ()
    """

    def __init__(self) -> None:
        self._verdicts: dict[str, Verdict] = {}
        self._lock = threading.Lock()

    def add(self, given: Sequence[Verdict]) -> None:
        """Store verdicts, all of them or none."""
        with self._lock:
            kept = dict(self._verdicts)
            for verdict in given:
                if verdict.at.tzinfo is None:
                    raise ValueError(f"Verdict.at has no time zone: {verdict.at}")
                # What is not JSON fails here as it would in a database.
                stored = replace(verdict, values=json.loads(json.dumps(dict(verdict.values))))
                if kept.setdefault(verdict.id, stored) != stored:
                    raise ConflictError(
                        f"verdict {verdict.id} is stored already, with other content"
                    )
            self._verdicts = kept

    def of(self, pipeline: str) -> tuple[Verdict, ...]:
        """Return every verdict ever given on rows of a pipeline, in the order they arrived."""
        return tuple(v for v in self._verdicts.values() if v.pipeline == pipeline)
