"""What a person finds beside a run in Prefect's UI; only ever called under a flow run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from pynomaly import operations
from pynomaly_flows.context import Job, platform

__all__ = [
    "Progress",
    "findings_table",
    "gates_pages",
    "model_link",
    "report_link",
    "rollout_page",
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


def gates_pages(job: Job, facts: Facts) -> None:
    """Publish every gate with its numbers, and the alerts that a replay saw appear and disappear."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    release = platform().records.release(str(facts.get("release_id")))
    if release is not None:  # there is none when a gate could not be evaluated at all
        create_markdown_artifact(
            platform().reports.gates_markdown(release),
            key=_key(job, "release"),
            description=f"Release of version {release.version}, with the replay of recent batches",
        )
        create_table_artifact(
            [
                {
                    "gate": gate.gate,
                    "verdict": "overridden" if gate.override else gate.verdict,
                    "observed": _rounded(gate.observed),
                    "bound": _rounded(gate.bound),
                    "threshold": _rounded(gate.threshold),
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
        version, run = facts["version"], f"`{facts['tracking_run_id']}`"
        name = f"{job.pipeline}, version {version}"
        if pages := operations.mlflow_pages(platform().settings):
            name = f"[{name}]({pages}/#/models/{job.pipeline}/versions/{version})"
        create_markdown_artifact(
            f"Registered model {name}\n\n- MLflow run {run}\n- model `{facts['uri']}`\n"
            f"- manifest `{facts['manifest_digest']}`",
            key=_key(job, "model"),
            description=f"Version {facts['version']} in MLflow",
        )


def rollout_page(job: Job, facts: Facts) -> None:
    """Publish where a rollout stands, what was seen, and what follows."""
    from prefect.artifacts import create_markdown_artifact

    if facts:  # nothing was judged otherwise
        verdict = str(facts["verdict"]).replace("_", " ")
        create_markdown_artifact(
            f"# Version {facts['version']}: {verdict}\n\n{facts['sentence']}\n\n"
            f"- strategy {facts['strategy']}, step {facts['step'] + 1}: it answered "
            f"{facts['answered']:,} of {facts['rows']:,} rows (share {facts['share']:.0%})\n"
            f"- now **{str(facts['state']).replace('_', ' ')}**, share {facts['next_share']:.0%}\n"
            f"- release `{facts['release_id']}`",
            key=_key(job, "rollout"),
            description=f"Rollout of version {facts['version']}: {verdict}",
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

        self._title = f"{name.capitalize()} of {job.pipeline}"
        created = create_progress_artifact(0.0, key=_key(job, name), description=self._title)
        assert isinstance(created, UUID)  # it would be awaitable in an async flow only
        self._id = created

    def at(self, share: float, told: str) -> None:
        """Move the bar to ``share``, 0–1, and say where that is ("3 of 12")."""
        from prefect.artifacts import update_progress_artifact

        update_progress_artifact(
            self._id,
            min(share, 1.0) * 100,
            description=f"{self._title}: {told}",
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _key(job: Job, name: str) -> str:
    """Return a key as Prefect allows them: lower-case letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", f"{job.pipeline}-{name}".lower()).strip("-")
