"""Status, history and model versions, from our own records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pynomaly.presentation.cli.render.base import clean, moment, number, table
from pynomaly.presentation.cli.render.runs import gates_table, judged, sentence

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["history_lines", "models_lines", "status_lines"]

Document = Mapping[str, Any]


def status_lines(document: Document) -> Iterator[RenderableType]:
    """Yield what serves, what ran last, and what was scored last."""
    champion, run = document["champion"], document["last_run"]
    release, batch = document["last_release"], document["last_batch"]
    serves = "nothing promoted yet"
    if champion:
        serves = f"version {champion['version']}, since {moment(champion['promoted_at'])}"
    rows = [("serves", serves), ("versions", number(document["versions"]))]
    if active := document["on_its_way"]:
        stands = active["state"].replace("_", " ") + (", paused" if active["paused"] else "")
        rows.append(
            ("on its way", f"version {active['version']}: {stands} (release {active['id']})")
        )
    if run:
        text = f"{run['command']} {run['status']} ({run['engine']}), {moment(run['started_at'])}"
        rows.append(("last run", text + (f": {run['error']}" if run["error"] else "")))
    if release:
        state = release["state"].replace("_", " ")
        text = f"version {release['version']} {state}, verdict {judged(release)}"
        rows.append(("last release", f"{text}, {moment(release['created_at'])}"))
    if batch:
        text = f"{number(batch['rows_scored'])} scored, {number(batch['rows_flagged'])} flagged, "
        text += f"{number(batch['rows_quarantined'])} quarantined, {moment(batch['scored_at'])}"
        if not batch["kept"]:
            text += "; its scores are kept no more"
        elif gone := batch["partitions_gone"]:
            text += f"; {number(gone)} partitions of it are gone or damaged: score it again"
        rows.append(("last batch", text))
        rows.append(("", batch["output_uri"]))
    yield table(document["pipeline"], ["", ""], rows)
    if release and release["verdict"] != "pass":
        yield gates_table(release["gates"])
    if not run:
        yield f"Next: pynomaly run {clean(document['pipeline'])}"


def history_lines(document: Document) -> Iterator[RenderableType]:
    """Yield the latest runs with what each step did."""
    if not document["runs"]:
        yield f"{clean(document['pipeline'])} has not run yet: pynomaly run {document['pipeline']}"
        return
    rows: list[tuple[object, ...]] = []
    for run in document["runs"]:
        what = f"{run['command']} ({run['engine']})"
        rows.append((moment(run["started_at"]), what, run["status"], f"run {run['id']}"))
        rows.extend(
            ("", f"  {step['step']}", "", sentence(step["step"], step["summary"]))
            for step in run["steps"]
        )
        # A step that failed says why itself; the run would only repeat it.
        if run["error"] and not any("error" in step["summary"] for step in run["steps"]):
            rows.append(("", "", "", run["error"]))
    yield table(document["pipeline"], ["started", "what", "status", "result"], rows)


def models_lines(document: Document) -> Iterator[RenderableType]:
    """Yield every version with what became of it."""
    if not document["models"]:
        yield f"{clean(document['pipeline'])} has no version: pynomaly train {document['pipeline']}"
        return
    yield table(
        document["pipeline"],
        ["#version", "state", "verdict", "created", "trained on", "manifest"],
        [
            (
                model["version"],
                model["state"].replace("_", " "),
                model["verdict"],
                moment(model["created_at"]),
                model["training_fingerprint"][:12],
                model["manifest_digest"][:12],
            )
            for model in document["models"]
        ],
    )
