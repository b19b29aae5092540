"""What is known of a pipeline's rows, and what still waits for an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pynomaly.application.incidents import FindIncidents
from pynomaly.application.ports.verdicts import Verdicts
from pynomaly.application.row_names import called_now
from pynomaly.domain.pipelines import Pipeline
from pynomaly.domain.verdicts import Verdict, standing

__all__ = ["CollectJudgements", "Judgements", "nothing_said"]


@dataclass(frozen=True, slots=True)
class Judgements:
    """Verdicts and open alerts of a pipeline.

    Args:
        verdicts: That stand.
        waiting: Digests of flagged rows without a verdict, and since when they are flagged.
        nameless: Further ones of which nobody can tell which rows they are: their scores are gone or
            damaged, or they have no id and their source is gone.
    """

    verdicts: tuple[Verdict, ...] = ()
    waiting: Mapping[str, datetime] = field(default_factory=dict)
    nameless: int = 0


def nothing_said(_: Pipeline) -> Judgements:
    """Return the judgements of a pipeline nobody has scored or judged a row of."""
    return Judgements()


@dataclass(frozen=True, slots=True)
class CollectJudgements:
    """Look up what people said, and what they have not looked at yet.

    Args:
        verdicts: What they said.
        incidents: Finds open alerts.
    """

    verdicts: Verdicts
    incidents: FindIncidents

    def __call__(self, pipeline: Pipeline) -> Judgements:
        """Return the judgements of a pipeline as they are now."""
        found = self.incidents(pipeline, reasons=False)
        open_alerts = [
            alert for incident in found.incidents for alert in incident.alerts if alert.said is None
        ]
        waiting = {alert.row: alert.scored_at for alert in open_alerts if alert.row is not None}
        return Judgements(
            standing(called_now(self.verdicts.of(pipeline.name), pipeline)),
            waiting,
            sum(alert.row is None for alert in open_alerts) + found.unreadable,
        )
