"""Taking up runs whose process died, or that wait for an answer which was given elsewhere."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from pynomaly import operations
from pynomaly.bootstrap import build
from pynomaly.domain.errors import PynomalyError

if TYPE_CHECKING:
    from pynomaly.bootstrap import Platform
    from pynomaly.domain.deployments import OrchestratedRun
    from pynomaly.settings import Settings

__all__ = ["MOST_ATTEMPTS", "RunRepair"]

MOST_ATTEMPTS = 3
"""A run that takes its process down this often is left alone: it would do so for ever."""

_LONGEST_AGO = timedelta(days=1)
"""Who finds an older crash decides for himself whether the run is still wanted."""

_log = logging.getLogger(__name__)


@dataclass
class RunRepair:
    """Marks runs of dead processes as failed, and has a worker take them up again.

    Our lease decides whether a process is dead.  A run keeps its id and, with it, what its steps
    have finished.  A suspended run is taken up as soon as its release waits for nobody any more:
    approved, rejected, aborted or replaced by whatever way.

    Args:
        settings: Of the project.
    """

    settings: Settings
    _taken_up: Counter[str] = field(default_factory=Counter, init=False)

    def bury_what_the_last_worker_left(self) -> None:
        """Mark as crashed what was at work, or being started, when the worker before us died.

        To be called before a new worker starts anything.  A run that was being started holds no
        lease yet, but in Prefect a place among those at work.
        """
        self._platform.bury_lost_runs()
        living = {lease.run_id for lease in self._platform.run_leases.leases()}
        for seen in operations.flow_runs(self.settings):
            at_work = seen.kind in ("PENDING", "RUNNING", "CANCELLING")
            if seen.deployed and at_work and seen.run_id not in living:
                self._mark_crashed(seen, "its worker died")

    def look(self) -> None:
        """Look once."""
        lost = {run.id: run.error for run in self._platform.bury_lost_runs()}
        for seen in operations.flow_runs(self.settings) if lost else ():
            why = lost.get(seen.run_id)
            if why and seen.deployed and seen.kind in ("RUNNING", "PENDING"):
                self._mark_crashed(seen, why)
        for seen in operations.flow_runs(self.settings):
            if self._is_to_be_taken_up(seen):
                self._take_up(seen)
            elif seen.kind == "PAUSED" and (answer := self._answer(seen.run_id)) is not None:
                self._let_go_on(seen, answer)

    def _mark_crashed(self, seen: OrchestratedRun, why: str) -> None:
        _log.warning("run %s is lost: %s", seen.run_id, why)
        try:
            operations.mark_crashed(self.settings, seen, why)
        except PynomalyError as error:  # the other runs are repaired all the same
            _log.warning("%s", error)

    def _take_up(self, seen: OrchestratedRun) -> None:
        _log.warning("run %s is taken up again", seen.run_id)
        self._taken_up[seen.id] += 1
        try:
            operations.start_again(self.settings, seen)
        except PynomalyError as error:
            _log.warning("%s", error)

    def _let_go_on(self, seen: OrchestratedRun, answer: dict[str, object]) -> None:
        _log.info("run %s waits for nobody any more", seen.run_id)
        try:
            operations.answer_run(self.settings, seen.run_id, answer)
        except PynomalyError as error:
            _log.warning("%s", error)

    def _answer(self, run_id: str) -> dict[str, object] | None:
        """Return what was decided about the release that a run waits for; None if it still waits."""
        told = [step.summary.get("release_id") for step in self._platform.records.steps(run_id)]
        release = self._platform.records.release(str(told[-1])) if told and told[-1] else None
        if release is None or (release.state == "pending_approval" and release.approval is None):
            return None
        name = release.approval.actor.name if release.approval else ""
        return {"approve": release.approval is not None, "name": name, "reason": ""}

    def _is_to_be_taken_up(self, seen: OrchestratedRun) -> bool:
        return (
            seen.deployed
            and seen.kind == "CRASHED"
            and max(seen.attempts, self._taken_up[seen.id] + 1) < MOST_ATTEMPTS
            and seen.planned is not None
            and datetime.now(UTC) - seen.planned < _LONGEST_AGO
            and not self._goes_on_or_is_done(seen.run_id)
        )

    def _goes_on_or_is_done(self, run_id: str) -> bool:
        """Whether our records know better than Prefect, which may only have lost sight of it."""
        run = self._platform.records.run(run_id)
        if run is not None and run.status == "completed":
            return True
        return any(lease.run_id == run_id for lease in self._platform.run_leases.leases())

    @cached_property
    def _platform(self) -> Platform:
        return build(self.settings)
