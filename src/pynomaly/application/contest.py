"""A challenger beside the champion: both score the same rows, one of them answers each."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.application.row_scorer import RowScorer, ScoredRows
from pynomaly.domain.canaries import TAIL, Comparison, Observation, Pairs
from pynomaly.domain.decision import Line
from pynomaly.domain.ledger import Partition, ScoreVersion
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import DecisionPolicy
from pynomaly.domain.rollouts import Rollout
from pynomaly.domain.splits import chosen

__all__ = ["Challenger", "Contest"]

_log = logging.getLogger(__name__)

_SEPARATOR = "\x1f"  # between the values of several id columns


@dataclass(frozen=True, slots=True)
class Challenger:
    """What is rolled out beside the champion.

    Args:
        release_id: Of the release.
        step: Of its rollout.
        rollout: Says who answers what.
        model: Loaded and verified.
        version: Registered model and decision policy.
        decision: That policy.
        line: Where its policy cuts the batch; None where it could not say.
    """

    release_id: str
    step: int
    rollout: Rollout
    model: Model
    version: ScoreVersion
    decision: DecisionPolicy
    line: Line | None

    @property
    def share(self) -> float:
        """Share of units it answers."""
        return self.rollout.shares[self.step]


class Contest:
    """Compares the two on the rows of one partition.

    A challenger that fails costs nobody a score: the champion answers, and the failure counts.

    Args:
        challenger: What is rolled out.
        kernels: Score.
        partition: Whose rows.
        keys: Columns that identify a row.
    """

    def __init__(
        self, challenger: Challenger, kernels: Kernels, partition: Partition, keys: tuple[str, ...]
    ) -> None:
        self._challenger = challenger
        line = challenger.line
        self._scorer = RowScorer(challenger.model, line, kernels) if line else None
        self._partition = str(partition)
        by = challenger.rollout.split_by
        self._keys = keys if by is None else (by,)
        self.seen = Comparison()

    @property
    def observation(self) -> Observation:
        """What was seen so far."""
        return Observation(self._challenger.release_id, self._challenger.step, self.seen)

    def __call__(
        self, rows: pa.Table, champion: ScoredRows, first: int
    ) -> tuple[ScoredRows, NDArray[np.bool_]]:
        """Return the rows as they are answered, and which of them the challenger answers.

        Args:
            rows: Conformed.
            champion: What the champion says about them.
            first: Position of the first of them in the batch.
        """
        answers = nobody = np.zeros(len(rows), dtype=np.bool_)
        try:
            own = self._scorer(rows, first) if self._scorer else None
            if self._challenger.share:
                answers = self._answers(rows)
        except Exception:  # noqa: BLE001  whatever it is, it must not reach who asked for scores
            _log.warning("release %s failed on rows", self._challenger.release_id, exc_info=True)
            own = None
        failed = len(rows) if own is None else int((~np.isfinite(own.scores)).sum())
        if own is None or failed:
            self.seen += Comparison(len(rows), 0, failed)
            return champion, nobody
        self.seen += Comparison(
            rows=len(rows),
            answered=int(answers.sum()),
            alerts=_pairs(own.flags, champion.flags),
            tail=_pairs(own.p_values <= TAIL, champion.p_values <= TAIL),
        )
        return (own.instead(champion, answers) if answers.any() else champion), answers

    def _answers(self, rows: pa.Table) -> NDArray[np.bool_]:
        rollout, share = self._challenger.rollout, self._challenger.share
        if rollout.unit == "partition":
            return np.repeat(chosen(rollout.salt, [self._partition], share), len(rows))
        columns = [rows.column(name).cast(pa.string()).to_pylist() for name in self._keys]
        names = (
            _SEPARATOR.join("" if value is None else value for value in row)
            for row in zip(*columns, strict=True)
        )
        return chosen(rollout.salt, names, share)


def _pairs(challenger: NDArray[np.bool_], champion: NDArray[np.bool_]) -> Pairs:
    return Pairs(
        both=int((challenger & champion).sum()),
        challenger=int((challenger & ~champion).sum()),
        champion=int((champion & ~challenger).sum()),
    )
