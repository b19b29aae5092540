"""What a person finds beside a run in Prefect's UI; only ever called under a flow run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from pynomaly_flows.context import Job, platform

__all__ = [
    "Progress",
    "findings_table",
    "gates_table",
    "model_link",
    "report_link",
    "validation_page",
]

Facts = Mapping[str, Any]


def validation_page(job: Job, facts: Facts) -> None:
    """Publish the validation report, of accepted and of refused data alike."""
    from prefect.artifacts import create_markdown_artifact

    report = platform().records.report(str(facts.get("report_id")))
    if report is not None:  # there is none when the data could not be read at all
        create_markdown_artifact(
            platform().reports.validation_markdown(report),
            key=_key(job, "validation"),
            description=f"Validation of {report.snapshot.uri}: {report.verdict}",
        )


def gates_table(job: Job, facts: Facts) -> None:
    """Publish every gate with its numbers."""
    from prefect.artifacts import create_table_artifact

    release = platform().records.release(str(facts.get("release_id")))
    if release is not None:  # there is none when a gate could not be evaluated at all
        create_table_artifact(
            [
                {
                    "gate": gate.gate,
                    "verdict": gate.verdict,
                    "observed": gate.observed,
                    "bound": gate.bound,
                    "threshold": gate.threshold,
                    "n": gate.n,
                    "meaning": gate.sentence,
                }
                for gate in release.gates
            ],
            key=_key(job, "gates"),
            description=f"Gates of version {release.version}: {release.verdict}",
        )


def model_link(job: Job, facts: Facts) -> None:
    """Say where the registry keeps the new version."""
    from prefect.artifacts import create_markdown_artifact

    if "version" in facts:
        create_markdown_artifact(
            f"Registered model **{job.pipeline}**, version **{facts['version']}**\n\n"
            f"- MLflow run `{facts['tracking_run_id']}`\n- model `{facts['uri']}`\n"
            f"- manifest `{facts['manifest_digest']}`",
            key=_key(job, "model"),
            description=f"Version {facts['version']} in MLflow",
        )


def findings_table(job: Job, facts: Facts) -> None:
    """Publish every finding about the last scored batch."""
    from prefect.artifacts import create_table_artifact

    if "findings" in facts:
        create_table_artifact(
            [
                {"check": f["check"], "level": f["level"], "meaning": f["sentence"]}
                for f in facts["findings"]
            ],
            key=_key(job, "monitoring"),
            description=f"{facts['source']}, scored {facts['scored_at']}: {facts['level']}",
        )


def report_link(job: Job, path: str) -> None:
    """Link the run's report."""
    from prefect.artifacts import create_link_artifact

    create_link_artifact(
        Path(path).resolve().as_uri(),
        link_text="Run report (opens offline)",
        key=_key(job, "report"),
        description=f"What run {job.run_id} did",
    )


class Progress:
    """A progress bar that follows something countable.

    Args:
        job: Whose.
        name: What is counted.
    """

    def __init__(self, job: Job, name: str) -> None:
        from prefect.artifacts import create_progress_artifact

        created = create_progress_artifact(
            0.0, key=_key(job, name), description=f"{name.capitalize()} of {job.pipeline}"
        )
        assert isinstance(created, UUID)  # it would be awaitable in an async flow only
        self._id = created

    def at(self, share: float) -> None:
        """Move the bar to ``share``, 0–1."""
        from prefect.artifacts import update_progress_artifact

        update_progress_artifact(self._id, min(share, 1.0) * 100)


def _key(job: Job, name: str) -> str:
    """Return a key as Prefect allows them: lower-case letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", f"{job.pipeline}-{name}".lower()).strip("-")
