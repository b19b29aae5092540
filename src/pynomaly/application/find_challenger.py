"""What is rolled out beside the champion when a job begins."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np

from pynomaly.application.champion import ModelLoader, deciding
from pynomaly.application.contest import Challenger, reason
from pynomaly.application.plan_scoring import score_version
from pynomaly.application.ports.records import Records
from pynomaly.domain.decision import Line
from pynomaly.domain.errors import IntegrityError, PynomalyError
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.releases import ModelVersion
from pynomaly.domain.runs import Actor
from pynomaly.domain.transitions import fail

__all__ = ["SYSTEM", "Absent", "FindChallenger"]

_log = logging.getLogger(__name__)

SYSTEM = Actor("pynomaly", "service")
"""Acts where nobody watches."""


@dataclass(frozen=True, slots=True)
class Absent:
    """A challenger that takes no part in a batch, though its rollout is under way.

    Args:
        version: Of its model.
        reason: Why, for a person.
    """

    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class FindChallenger:
    """Load the model of a running rollout.

    Args:
        records: Know the release on its way.
        loader: Fetches its model.
    """

    records: Records
    loader: ModelLoader

    def __call__(self, pipeline: Pipeline, champion: ModelVersion) -> Challenger | Absent | None:
        """Return the challenger of a pipeline, None where nothing is rolled out.

        A rollout whose model is damaged or lost is rolled back here.  One whose model cannot be
        fetched now, because the registry does not answer, stays where it is.  Scoring goes on with
        the champion in either case.

        Args:
            pipeline: Which one.
            champion: That serves; a rollout that was gated against another one takes no part.
        """
        release = self.records.on_its_way(pipeline.name)
        if release is None or release.rollout is None or release.step is None:
            return None
        if release.champion != champion.version:
            return None
        version = self.loader.version(pipeline.name, release.version)
        try:
            model = self.loader.load(version)
        except IntegrityError as error:
            rule = partial(
                fail,
                release_id=release.id,
                actor=SYSTEM,
                at=datetime.now(UTC),
                step=release.step,
                reason=error.message,
            )
            self.records.move(pipeline.name, rule)
            return Absent(version.version, error.message)
        except (PynomalyError, OSError) as error:
            _log.warning("release %s was not fetched", release.id, exc_info=True)
            return Absent(version.version, f"{reason(error)}; its rollout stays where it is")
        decided = deciding(pipeline, release)
        return Challenger(
            release.id,
            release.step,
            release.rollout,
            model,
            score_version(decided, version),
            decided.decision,
            Line(np.inf, last=-1),
        )
