"""By which decision policy a past job flagged rows."""

from __future__ import annotations

from collections.abc import Iterator

from pynomaly.application.configuration import decision_of
from pynomaly.application.ports.records import Records
from pynomaly.domain.decision import policy_version
from pynomaly.domain.errors import UsageError
from pynomaly.domain.ledger import ScoreJob
from pynomaly.domain.models import Model
from pynomaly.domain.pipelines import DecisionPolicy, Pipeline

__all__ = ["past_decision"]

_ALL = 1_000_000


def past_decision(
    records: Records, job: ScoreJob, pipeline: Pipeline, model: Model
) -> tuple[DecisionPolicy, str]:
    """Return the policy that was in force, of which the ledger keeps the digest, and its origin.

    Args:
        records: Know the releases.
        job: Of then.
        pipeline: As it is configured now.
        model: That scored.

    Raises:
        UsageError: It is nowhere to be found.
    """
    wanted = job.version.policy_version
    for policy, origin in _policies(records, job, pipeline, model):
        if policy_version(policy) == wanted:
            return policy, origin
    raise UsageError(
        f"the decision policy {wanted}, with which the run was scored, is neither that of a "
        f"release of version {job.version.model_version} nor in the configuration of "
        f"'{job.pipeline}', nor was the model trained under it",
        hint=f"set it again in conf/pipelines/{job.pipeline}.yaml, under `decision:`, and "
        "replay; the version control of that file knows it",
    )


def _policies(
    records: Records, job: ScoreJob, pipeline: Pipeline, model: Model
) -> Iterator[tuple[DecisionPolicy, str]]:
    for release in records.releases(job.pipeline, _ALL):
        if release.version == job.version.model_version and release.decision is not None:
            yield release.decision, f"release {release.id}"
    yield pipeline.decision, "the configuration"
    trained = decision_of(model.card.configuration)
    if trained is not None:
        yield trained, "the configuration when the model was trained"
