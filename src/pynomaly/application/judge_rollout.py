"""After a batch: does the challenger advance, hold, or go back?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from pynomaly.application.find_challenger import SYSTEM
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.records import Records
from pynomaly.domain.canaries import Comparison, Finding, judge
from pynomaly.domain.releases import Release
from pynomaly.domain.transitions import advance, fail

__all__ = ["JudgeRollout", "Judged"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A rollout after a batch.

    Args:
        release: As it is now.
        step: That was judged.
        share: Of units the challenger answered in that step.
        seen: Of everything in that step.
        finding: What was concluded.
    """

    release: Release
    step: int
    share: float
    seen: Comparison
    finding: Finding


@dataclass(frozen=True, slots=True)
class JudgeRollout:
    """Add a scored job to what was seen of a rollout, and move it if that is conclusive."""

    ledger: Ledger
    records: Records

    def __call__(self, job_id: str) -> Judged | None:
        """Judge the rollout that a job took part in; safe to repeat.

        Args:
            job_id: Of a finished score job.

        Returns:
            None where nothing was rolled out, or the rollout has left that step.
        """
        observed = {
            entry.key: entry.outcome.observed
            for entry in self.ledger.entries_of(job_id)
            if entry.outcome is not None and entry.outcome.observed is not None
        }
        if not observed:
            return None
        first = next(iter(observed.values()))
        release_id, step = first.release_id, first.step
        self.records.observe(release_id, step, {key: one.seen for key, one in observed.items()})
        release = self.records.release(release_id)
        if release is None or release.rollout is None or release.step != step:
            return None
        share = release.share
        seen = self.records.observed(release_id, step)
        finding = judge(seen, release.rollout)
        if finding.verdict != "hold":
            rule = advance if finding.verdict == "advance" else fail
            moved = self.records.move(
                release.pipeline,
                partial(
                    rule,
                    release_id=release_id,
                    actor=SYSTEM,
                    at=datetime.now(UTC),
                    step=step,
                    reason=finding.sentence,
                ),
            )
            if moved:
                release = moved[0]
        return Judged(release, step, share, seen, finding)
