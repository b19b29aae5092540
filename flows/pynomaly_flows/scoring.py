"""Scoring a batch with the champion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pynomaly.domain.errors import SourceChangedError
from pynomaly.domain.ledger import Output
from pynomaly_flows.context import Job
from pynomaly_flows.events import announce
from pynomaly_flows.runs import Document, recorded_run
from pynomaly_flows.tasks import plan, rolling_out, rollout, score, validate

if TYPE_CHECKING:
    from pynomaly.application.validate import Validated

__all__ = ["score_batch", "scoring"]

_ATTEMPTS = 3
"""Inputs that change while they are read are planned anew so often; what is committed stays."""


def scoring(
    pipeline: str,
    data: str | None = None,
    out: str | None = None,
    overwrite: bool = False,
    keep: Sequence[str] = (),
    partition_by: str | None = None,
    incremental: bool = False,
    run_id: str | None = None,
) -> Document:
    """Plan a batch, validate it, and score every good row exactly once.

    Args:
        pipeline: Name of a configured pipeline.
        data: To score; the pipeline's source where None.
        out: Where scored rows go; under the platform's own folder where None.
        overwrite: Use an output that holds something we did not write.
        keep: Source columns passed through.
        partition_by: Divide the output among folders by a column's values.
        incremental: Only what is new to the place that receives the scores.
        run_id: A failed run to take up again.
    """
    output = Output(out, overwrite, tuple(keep), partition_by)
    with recorded_run("score", pipeline, run_id) as run:
        for attempt in range(1, _ATTEMPTS + 1):
            planned = plan(run.job, data, incremental, output, attempt)
            if not planned.partitions:
                break  # nothing new
            try:
                validated = validate(run.job, data, planned, True, attempt)
                score_batch(run.job, data, validated, output, attempt)
                break
            except SourceChangedError:
                if attempt == _ATTEMPTS:
                    raise
    return run.document


def score_batch(
    job: Job, data: str | None, validated: Validated, output: Output, attempt: int = 1
) -> None:
    """Score a validated batch, and let a rollout move by what it showed."""
    score(job, data, validated, output, attempt)
    if rolling_out(job):
        judged = rollout(job)
        if judged and judged.release.state == "production":
            announce(job, "release-promoted", {"version": judged.release.version})
