"""The part of the composition root that scores with a registered model and keeps the scores."""

from __future__ import annotations

from functools import cache, cached_property, partial
from typing import TYPE_CHECKING

from pynomaly.learning import Learning

if TYPE_CHECKING:
    from pynomaly.application.champion import ModelLoader
    from pynomaly.application.find_challenger import FindChallenger
    from pynomaly.application.plan_scoring import PlanScoring
    from pynomaly.application.ports.partitions import PartStore
    from pynomaly.application.prune_scores import ForgetPlace, PruneScores
    from pynomaly.application.read_scores import ReadScores
    from pynomaly.application.score import Compute, ScoreSnapshot
    from pynomaly.application.score_output import ScoreOutput
    from pynomaly.application.score_partition import ScorePartition
    from pynomaly.application.score_work import Workers
    from pynomaly.application.verify_scores import VerifyScores
    from pynomaly.settings import Settings

__all__ = ["Scoring", "scoring_workers"]


@cache
def scoring_workers(settings: Settings) -> Workers:
    """Return what works off score jobs in this process, made once; a cluster's workers call it."""
    return Scoring(settings).workers


class Scoring(Learning):
    """Use cases that score with what was learned, and look after the scores."""

    @cached_property
    def loader(self) -> ModelLoader:
        """Fetch registered models, verified."""
        from pynomaly.application.champion import ModelLoader

        return ModelLoader(
            self.registry, self.records, self.model_store, self._artifacts / "verified"
        )

    @cached_property
    def plan_scoring(self) -> PlanScoring:
        """Divide a source into partitions."""
        from pynomaly.application.plan_scoring import PlanScoring

        return PlanScoring(
            self.partitions,
            self.ledger,
            self.loader,
            self.score_output,
            self.records,
            self.settings.scoring.partition_rows,
            self._require_ready,
        )

    def _require_ready(self) -> None:
        from pynomaly.application.batch_rows import rows_that_fit

        scoring = self.settings.scoring
        # With a row of one column and no model: what does not fit then never will.
        rows_that_fit(scoring.batch_rows, scoring.memory_mib, scoring.workers, 1, ())
        self.compute.require_ready()

    @cached_property
    def score_output(self) -> ScoreOutput:
        """Settle where scores go."""
        from pynomaly.application.score_output import ScoreOutput
        from pynomaly.infrastructure.filesystem.targets import require_writable

        return ScoreOutput(
            self.ledger,
            self.parts,
            self.read_scores,
            self.settings.home / "scores",
            require_writable,
        )

    @cached_property
    def score_partition(self) -> ScorePartition[PartStore]:
        """Score one partition."""
        from pynomaly.application.score_partition import ScorePartition

        return ScorePartition(self.partitions, self.parts, self.kernels)

    @cached_property
    def workers(self) -> Workers:
        """Work off a job in this process."""
        from pynomaly.application.score_work import Workers

        scoring = self.settings.scoring
        return Workers(self.ledger, self.score_partition, scoring.workers, scoring.lease_seconds)

    @cached_property
    def compute(self) -> Compute:
        """Work off a job where the settings say."""
        scoring = self.settings.scoring
        if scoring.compute == "threads":
            return self.workers
        from pynomaly.infrastructure.dask import DaskCompute

        workers = partial(scoring_workers, self.settings)
        return DaskCompute(self.ledger, workers, scoring.scheduler, scoring.workers)

    @cached_property
    def find_challenger(self) -> FindChallenger:
        """Find what is rolled out beside the champion."""
        from pynomaly.application.find_challenger import FindChallenger

        return FindChallenger(self.records, self.loader)

    @cached_property
    def score(self) -> ScoreSnapshot:
        """Score a validated snapshot with the champion."""
        from pynomaly.application.score import ScoreSnapshot

        return ScoreSnapshot(
            self.ledger,
            self.records,
            self.loader,
            self.partitions,
            self.score_output,
            self.datasets,
            self.kernels,
            self.compute,
            self.find_challenger,
            self.settings.scoring.batch_rows,
            self.settings.scoring.workers,
            self.settings.scoring.memory_mib,
        )

    @cached_property
    def read_scores(self) -> ReadScores:
        """Committed scores."""
        from pynomaly.application.read_scores import ReadScores

        return ReadScores(self.ledger, self.parts, self.sinks, self.records)

    @cached_property
    def verify_scores(self) -> VerifyScores:
        """Compare stored scores with the ledger."""
        from pynomaly.application.verify_scores import VerifyScores

        return VerifyScores(self.ledger, self.parts, self.settings.home / "scores")

    @cached_property
    def prune_scores(self) -> PruneScores:
        """Remove scores nothing refers to any more."""
        from pynomaly.application.prune_scores import PruneScores

        return PruneScores(self.ledger, self.parts, self.records)

    @cached_property
    def forget_place(self) -> ForgetPlace:
        """Give up a place for scores."""
        from pynomaly.application.prune_scores import ForgetPlace

        return ForgetPlace(self.ledger, self.parts)
