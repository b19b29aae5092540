"""What the page of a registered model says: where its versions stand, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pynomaly.domain.releases import Release

__all__ = ["page"]

_HEAD = """\
Anomaly detector of the Pynomaly pipeline **{pipeline}**.

Aliases: `production` serves, `previous` served before it, `canary` answers part of the rows, `staging`
scores silently, `candidate` waits for approval. They follow Pynomaly's release table: moving one by hand
changes nothing about what serves, and it is moved back.

`pynomaly releases list {pipeline}` tells the whole story, `pynomaly rollback {pipeline}` undoes the last
step.
"""

_TABLE = """
Latest releases:

| version | stands at | gates | asked for | training |
| --- | --- | --- | --- | --- |
"""


def page(
    pipeline: str, releases: Sequence[Release], runs: Mapping[int, str], experiment: str | None
) -> str:
    """Return the description of a registered model, as Markdown.

    Args:
        pipeline: Its name.
        releases: The latest ones, newest first.
        runs: MLflow's run of every version.
        experiment: MLflow's id of the experiment that holds them.
    """
    head = _HEAD.format(pipeline=pipeline)
    rows = [_row(release, runs.get(release.version), experiment) for release in releases]
    return head + _TABLE + "\n".join(rows) if rows else head


def _row(release: Release, run: str | None, experiment: str | None) -> str:
    # Relative to whatever address the page has.
    version = f"[{release.version}](#/models/{release.pipeline}/versions/{release.version})"
    state = release.state.replace("_", " ")
    if release.state == "canary":
        state += f", {release.share:.0%} of the rows"
    others = [gate for gate in release.gates if gate.verdict != "pass"]
    said = "; ".join(f"`{gate.gate}` {gate.verdict}" for gate in others)
    training = f"[run](#/experiments/{experiment}/runs/{run})" if run and experiment else ""
    who = f" by {release.proposer.name}" if release.proposer else ""
    return (
        f"| {version} | {state} | {release.verdict}{': ' + said if said else ''} "
        f"| {release.created_at:%Y-%m-%d %H:%M} UTC{who} | {training} |"
    )
