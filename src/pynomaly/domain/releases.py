"""A release: one model version on its way to serving, and how it got there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pynomaly.domain.gates import GateResult, Verdict

__all__ = ["ModelVersion", "Release", "ReleaseState"]

ReleaseState = Literal["candidate", "blocked", "production", "superseded", "rolled_back"]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered model version.

    Args:
        pipeline: Registered model name.
        version: Number given by the registry.
        uri: Where its folder can be fetched from the registry.
        manifest_digest: sha256 of its MANIFEST.sha256, hex; checked before anything is loaded.
        run_id: Our run that trained it.
        tracking_run_id: The registry's run.
        training_fingerprint: Content digest of the training snapshot.
        holdout_uri: Staged rows of its training snapshot that it was not fitted on, for gates.
        created_at: UTC.
    """

    pipeline: str
    version: int
    uri: str
    manifest_digest: str
    run_id: str
    tracking_run_id: str
    training_fingerprint: str
    holdout_uri: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Release:
    """One attempt to bring a version into production.

    Args:
        id: Unique.
        run_id: Which run of ours asked for it.
        pipeline: Which job.
        version: Challenger.
        champion: Version that served when the gates ran; None for a first release.
        state: Where it stands.
        verdict: Of all gates together.
        gates: Every gate's result.
        created_at: UTC.
        promoted_at: UTC; None unless it reached production.
        fence: Grows with every promotion of the pipeline; tells which came later.
    """

    id: str
    run_id: str
    pipeline: str
    version: int
    champion: int | None
    state: ReleaseState
    verdict: Verdict
    gates: tuple[GateResult, ...]
    created_at: datetime
    promoted_at: datetime | None = None
    fence: int = 0
