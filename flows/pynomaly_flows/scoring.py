"""Scoring a batch with the champion."""

from __future__ import annotations

from pynomaly_flows.runs import Document, recorded_run
from pynomaly_flows.tasks import score, validate

__all__ = ["scoring"]


def scoring(
    pipeline: str,
    data: str | None = None,
    out: str | None = None,
    overwrite: bool = False,
    run_id: str | None = None,
) -> Document:
    """Validate a batch and score its good rows.

    Args:
        pipeline: Name of a configured pipeline.
        data: To score; the pipeline's source where None.
        out: Where scored rows go; under the platform's own folder where None.
        overwrite: Replace an output that we did not write.
        run_id: A failed run to take up again.
    """
    with recorded_run("score", pipeline, run_id) as run:
        validated = validate(run.job, data)
        score(run.job, validated.dataset, out, overwrite)
    return run.document
