"""After a batch: does the challenger advance, hold, or go back?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from pynomaly.application.find_challenger import SYSTEM
from pynomaly.application.ports.ledger import Ledger
from pynomaly.application.ports.records import Records
from pynomaly.domain.canaries import Comparison, Finding, judge, together
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
    """Add up what was seen of a rollout in its step, and move it if that is conclusive."""

    ledger: Ledger
    records: Records

    def __call__(self, pipeline: str) -> Judged | None:
        """Judge the rollout of a pipeline by every partition committed in its step.

        Also those of a job that died, or was judged when the rollout was elsewhere; safe to repeat.

        Args:
            pipeline: Which one.

        Returns:
            None where nothing is rolled out, or nothing was seen in this step yet.
        """
        release = self.records.on_its_way(pipeline)
        if release is None or release.rollout is None or release.step is None:
            return None
        step, share = release.step, release.share
        # Kept apart from the ledger, which forgets partitions that are pruned.
        self.records.observe(release.id, step, self.ledger.observed(pipeline, release.id, step))
        seen = self.records.observed(release.id, step) + self._failed_before(release, step)
        if not seen.rows:
            return None
        finding = judge(seen, release.rollout)
        if finding.verdict != "hold":
            rule = advance if finding.verdict == "advance" else fail
            self.records.move(
                pipeline,
                partial(
                    rule,
                    release_id=release.id,
                    actor=SYSTEM,
                    at=datetime.now(UTC),
                    step=step,
                    reason=finding.sentence,
                ),
            )
        now = self.records.release(release.id)  # somebody else may have moved it
        assert now is not None  # it was there before
        return Judged(now, step, share, seen, finding)

    def _failed_before(self, release: Release, step: int) -> Comparison:
        """Return where it failed in earlier steps, in jobs that ended after the rollout moved on."""
        return together(
            seen
            for earlier in range(step)
            for seen in self.ledger.observed(release.pipeline, release.id, earlier).values()
            if seen.errors
        )
