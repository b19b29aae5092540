"""A challenger beside the champion: both score the same rows, one of them answers each."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pynomaly.application.ports.learning import Kernels
from pynomaly.application.row_scorer import RowScorer, ScoredRows
from pynomaly.domain.canaries import TAIL, Comparison, Observation, Pairs
from pynomaly.domain.decision import Line
from pynomaly.domain.errors import PynomalyError
from pynomaly.domain.ledger import ScoreVersion
from pynomaly.domain.models import Model
from pynomaly.domain.partitions import Partition
from pynomaly.domain.pipelines import DecisionPolicy
from pynomaly.domain.rollouts import Rollout
from pynomaly.domain.splits import chosen
from pynomaly.domain.witnesses import GROUP_ROWS, evidence, grouped

__all__ = ["Challenger", "Contest", "reason"]

_log = logging.getLogger(__name__)

_REASON = 300
"""Characters kept of why a challenger failed."""

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
        failure: Why it could not.
    """

    release_id: str
    step: int
    rollout: Rollout
    model: Model
    version: ScoreVersion
    decision: DecisionPolicy
    line: Line | None
    failure: str = ""

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
        self._rows = Comparison()
        ratio = challenger.rollout.max_ratio
        self._alerts, self._tail = _SingledOut(ratio), _SingledOut(ratio)

    @property
    def seen(self) -> Comparison:
        """What was seen so far; a group of rows that is not at its end yet counts as it is."""
        return replace(self._rows, alerts=self._alerts.pairs, tail=self._tail.pairs)

    @property
    def observation(self) -> Observation:
        """That, with the step of the rollout it is about."""
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
        groups = np.zeros(len(rows), dtype=np.int64)
        failure = self._challenger.failure
        try:
            own = self._scorer(rows, first) if self._scorer else None
            groups = self._groups(rows)
            if self._challenger.share:
                answers = self._answers(rows)
        except Exception as error:  # noqa: BLE001  whatever it is, it must not reach who asked
            _log.warning("release %s failed on rows", self._challenger.release_id, exc_info=True)
            own, failure = None, reason(error)
        failed = len(rows) if own is None else int((~np.isfinite(own.scores)).sum())
        if own is None or failed:
            failure = failure or "its score is not a finite number"
            self._rows += Comparison(len(rows), 0, failed, failure=failure)
            return champion, nobody
        self._rows += Comparison(len(rows), answered=int(answers.sum()))
        self._alerts.add(groups, own.flags, champion.flags)
        self._tail.add(groups, own.p_values <= TAIL, champion.p_values <= TAIL)
        return (own.instead(champion, answers) if answers.any() else champion), answers

    def _groups(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return which rows are one witness together: an entity's, else consecutive ones."""
        by = self._challenger.rollout.split_by
        if by is None:
            return (self._rows.rows + np.arange(len(rows), dtype=np.int64)) // GROUP_ROWS
        # Only equality counts, within this partition: no name has to be kept.
        return np.fromiter(map(hash, rows.column(by).cast(pa.string()).to_pylist()), dtype=np.int64)

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


def reason(error: BaseException) -> str:
    """Return why a challenger failed, in one line for the record of its release."""
    unexpected = f"{type(error).__name__}: {error}"
    said = error.message if isinstance(error, PynomalyError) else unexpected
    return " ".join(said.split())[:_REASON]


class _SingledOut:
    """Rows of a partition that a model singled out, with their groups."""

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._found: list[tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]] = []

    def add(
        self,
        groups: NDArray[np.int64],
        challenger: NDArray[np.bool_],
        champion: NDArray[np.bool_],
    ) -> None:
        """Keep those of further rows that either model singled out."""
        either = challenger | champion
        self._found.append((groups[either], challenger[either], champion[either]))

    @property
    def pairs(self) -> Pairs:
        """How many there are, and what their groups prove."""
        if not self._found:
            return Pairs()
        groups, challenger, champion = map(np.concatenate, zip(*self._found, strict=True))
        return Pairs(
            both=int((challenger & champion).sum()),
            challenger=int((challenger & ~champion).sum()),
            champion=int((champion & ~challenger).sum()),
            evidence=evidence(grouped(groups, challenger, champion), self._ratio),
        )
