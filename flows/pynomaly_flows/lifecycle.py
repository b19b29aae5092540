"""The whole chain: from a raw table to a released model and scored rows."""

from __future__ import annotations

from pynomaly.domain.errors import ApprovalPendingError, ReleaseBlockedError
from pynomaly.domain.ledger import Output
from pynomaly_flows.runs import Document, recorded_run
from pynomaly_flows.scoring import score_batch
from pynomaly_flows.tasks import (
    conflicting_release,
    gate,
    plan,
    profile,
    promote,
    register,
    serves,
    train,
    tune,
    validate,
)

__all__ = ["lifecycle"]


def lifecycle(
    pipeline: str,
    data: str | None = None,
    out: str | None = None,
    overwrite: bool = False,
    run_id: str | None = None,
) -> Document:
    """Validate, profile, tune, train, register, gate, promote, score.

    While another release is on its way nothing is trained: the rows are scored, which moves it.

    Args:
        pipeline: Name of a configured pipeline.
        data: To train on and to score; the pipeline's source where None.
        out: Where scored rows go; under the platform's own folder where None.
        overwrite: Replace an output that we did not write.
        run_id: A failed run to take up again.
    """
    output = Output(out, overwrite)
    with recorded_run("run", pipeline, run_id) as run:
        validated = validate(run.job, data, plan(run.job, data, output=output))
        run.profile = profile(run.job, validated.dataset)
        if conflict := conflicting_release(run.job, "nothing was trained"):
            # Scored rows are what moves a rollout, and nobody shall miss them meanwhile.
            if serves(run.job):
                score_batch(run.job, data, validated, output)
            raise conflict
        choice = tune(run.job, validated.dataset)
        trained = train(run.job, validated.dataset, choice)
        version = register(run.job, validated, run.profile, choice, trained)
        release = gate(run.job, version.version)
        try:
            promote(run.job, release.id)
        except (ReleaseBlockedError, ApprovalPendingError):
            if release.champion is not None:
                # The champion keeps serving; a refused retrain costs nobody the scores.
                score_batch(run.job, data, validated, output)
            raise
        score_batch(run.job, data, validated, output)
    return run.document
