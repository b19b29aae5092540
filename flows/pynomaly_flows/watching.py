"""Noticing that data has arrived in a watched source."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pynomaly import operations
from pynomaly.adapters import source_listing
from pynomaly.domain.errors import PynomalyError, SourceNotFoundError
from pynomaly.settings import load_pipeline, pipeline_names

if TYPE_CHECKING:
    from pathlib import Path

    from pynomaly.domain.pipelines import Pipeline
    from pynomaly.settings import Settings

__all__ = ["SourceWatch"]

_log = logging.getLogger(__name__)


@dataclass
class SourceWatch:
    """Announces ``data-arrived`` when the listing of a watched source has changed.

    What was there when the source was first seen is nothing new.  A change is announced once two
    looks in a row have found the same, so that a file which is still being written is not read
    half.  What was announced is remembered from one ``pynomaly up`` to the next.

    Args:
        settings: Of the project; its pipelines are read again at every look.
    """

    settings: Settings
    _due: dict[str, float] = field(default_factory=dict, init=False)
    _changed: dict[str, str] = field(default_factory=dict, init=False)

    def look(self) -> None:
        """Look at every watched source whose time has come."""
        now = time.monotonic()
        for name in pipeline_names(self.settings):
            if now < self._due.get(name, 0.0):
                continue
            try:
                pipeline = load_pipeline(name, self.settings)
                self._due[name] = now + pipeline.triggers.watch_seconds
                if pipeline.triggers.watch:
                    self._look_at(pipeline)
            except PynomalyError as error:  # one pipeline's trouble is not the others'
                _log.warning("cannot watch %s: %s", name, error)
                self._due.setdefault(name, 0.0)

    def _look_at(self, pipeline: Pipeline) -> None:
        known = self._known()
        before = known.get(pipeline.name)
        try:
            found = _digest(source_listing(pipeline.source.uri))
        except SourceNotFoundError:
            if before is not None:
                raise  # it was there: perhaps a bucket that does not answer
            found = _digest({})
        if found == before:
            self._changed.pop(pipeline.name, None)
        elif before is None:
            self._remember(known | {pipeline.name: found})
        elif self._changed.get(pipeline.name) == found:
            operations.announce(
                self.settings, "pynomaly.data-arrived", pipeline.name, {"source": "watched"}
            )
            self._remember(known | {pipeline.name: found})
        else:
            self._changed[pipeline.name] = found

    @property
    def _file(self) -> Path:
        return self.settings.home / "prefect" / "watched.json"

    def _known(self) -> dict[str, str]:
        try:
            known: dict[str, str] = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        return known

    def _remember(self, known: dict[str, str]) -> None:
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(json.dumps(known))
        temporary.replace(self._file)


def _digest(listing: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(listing.items())).encode()).hexdigest()
