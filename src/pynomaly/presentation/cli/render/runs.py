"""What a run did: one sentence per step, the gates, and what to look at next."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pynomaly.domain.datasets import SCORED_COLUMNS
from pynomaly.domain.scores import NO_REASON, Reason
from pynomaly.presentation.cli.render.base import (
    clean,
    detector_name,
    number,
    share,
    share_range,
    table,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["evidence", "gates_table", "judged", "run_lines", "sentence"]

Facts = Mapping[str, Any]

_QUALITY = ("holdout_roc_auc", "holdout_average_precision")
"""Metrics that tell quality; they exist only where there are labels."""


def _prepared(facts: Facts) -> str:
    return f"{number(facts['rows'])} rows to train on, {facts['batches']} later batches"


def _planned(facts: Facts) -> str:
    count = facts["partitions"]
    if not count:
        return "nothing new"
    return f"{number(count)} partition{'s' if count != 1 else ''}"


def _validated(facts: Facts) -> str:
    text = f"{number(facts['rows'])} rows: {number(facts['accepted'])} accepted, "
    text += f"{number(facts['quarantined'])} quarantined"
    warnings = facts.get("warnings", 0)
    return text + (f", {warnings} warning{'s' if warnings != 1 else ''}" if warnings else "")


def _profiled(facts: Facts) -> str:
    low, high = facts["contamination"]
    return (
        f"{facts['columns']} columns, {facts['features']} features; "
        f"{share_range(low, high)} of rows far out in a column"
    )


def _tuned(facts: Facts) -> str:
    ranking = facts["objective"].replace("_", " ")
    if facts.get("incumbent_kept"):
        return (
            f"{facts['trials']} trials by {ranking}: {detector_name(facts)} stays, "
            "nothing beat it by the margin"
        )
    return f"{facts['trials']} trials by {ranking}: {detector_name(facts)} beat the incumbent"


def _trained(facts: Facts) -> str:
    text = f"{detector_name(facts)} on {number(facts['fitted_rows'])} rows"
    measured = facts.get("metrics", {})
    known = [f"{n.replace('_', ' ')} {number(measured[n])}" for n in _QUALITY if n in measured]
    # The whole sentence, with its numbers, is in the model card and in the document.
    said, _, _ = facts.get("labels", "").partition(":")
    sentences = filter(None, (", ".join([text, *known]), said))
    return ". ".join(sentences) + (f". {facts['verdicts']}" if facts.get("verdicts") else "")


def _registered(facts: Facts) -> str:
    return f"version {facts['version']}"


def _gated(facts: Facts) -> str:
    gates = facts["gates"]
    passed = sum(gate["verdict"] == "pass" for gate in gates)
    return f"{facts['verdict']}: {passed} of {len(gates)} gates pass version {facts['version']}"


def _promoted(facts: Facts) -> str:
    previous = facts.get("previous")
    version, state = facts["version"], facts.get("state", "production")
    who = _challenger(version, previous)
    if state == "staging":
        return f"{who} scores silently beside {_champion(version, previous)}"
    if state == "canary":
        return (
            f"{who} answers {share(facts['share'])} of the rows ({facts['strategy']}), "
            f"{_champion(version, previous)} the others"
        )
    before = f", before it {_champion(version, previous)}" if previous is not None else ""
    return f"{who} serves{before}"


def _challenger(version: int, previous: int | None) -> str:
    """Return what is released: a version, or a policy for the one that serves."""
    return f"version {version}" + (" with a new decision policy" if version == previous else "")


def _champion(version: int, previous: int | None) -> str:
    if previous is None:
        return "nothing"
    return f"version {previous}" + (" with the present one" if version == previous else "")


def _scored(facts: Facts) -> str:
    rows, version = facts["rows_scored"], facts["model_version"]
    others = facts.get("rows_by_challenger", 0)
    by = f"scored by version {version}"
    if others:
        by = (
            f"scored, {number(rows - others)} by version {version} and {number(others)} by "
            f"{_challenger(facts['challenger'], version)}"
        )
    told = f"{number(rows)} rows {by}, {number(facts['rows_flagged'])} flagged"
    if before := facts.get("rows_done_before"):
        done = "all of them" if before == rows else f"{number(before)} of them"
        told += f"; {done} had been scored before this run"
    if absent := facts.get("challenger_absent"):
        told += f". Version {absent['version']} took no part: {absent['reason']}"
    if facts.get("unreleased_policy"):
        told += (
            ". The decision policy of the configuration is not released and flagged nothing, "
            f"{facts['policy_version']} did: release it with `pynomaly release`"
        )
    return told


def _monitored(facts: Facts) -> str:
    notable = [f for f in facts["findings"] if f["level"] != "ok"]
    return (
        f"{facts['level']}: {len(notable)} of {len(facts['findings'])} findings about "
        f"{number(facts['rows'])} rows are notable"
    )


def _judged(facts: Facts) -> str:
    if not facts:
        return "nothing to judge"
    who = _challenger(facts["version"], facts.get("champion"))
    went = {
        "production": f"{who} serves",
        "rolled_back": f"{who} was rolled back",
        "canary": f"{who} answers {share(facts['next_share'])} of the rows",
        "staging": f"{who} scores silently",
    }[facts["state"]]
    answered = f"It answered {number(facts['answered'])} of {number(facts['rows'])} rows."
    return f"{facts['verdict'].replace('_', ' ')}: {went}. {answered} {facts['sentence']}"


def _reconciled(facts: Facts) -> str:
    told = [f"{alias} → {version or 'nothing'}" for alias, version in facts["moved"].items()]
    told += [f"version {version} is lost" for version in facts["missing"]]
    return "registry: " + "; ".join(told + ([facts["problem"]] if facts["problem"] else []))


_SENTENCES: Mapping[str, Callable[[Facts], str]] = {
    "prepare": _prepared,
    "plan": _planned,
    "validate": _validated,
    "profile": _profiled,
    "tune": _tuned,
    "train": _trained,
    "register": _registered,
    "gate": _gated,
    "promote": _promoted,
    "score": _scored,
    "monitor": _monitored,
    "rollout": _judged,
    "reconcile": _reconciled,
}


def sentence(step: str, facts: Facts) -> str:
    """Return one sentence about a finished or failed step."""
    if facts.get("type") == "KeyboardInterrupt":
        return "interrupted"
    if "error" in facts:
        return f"failed: {facts['error']}"
    return _SENTENCES[step](facts) if step in _SENTENCES else "done"


def run_lines(document: Facts, data: str | None = None) -> Iterator[RenderableType]:
    """Yield what a run's document tells, ending with commands to try, on the same ``--data``."""
    steps: Mapping[str, Facts] = document["steps"]
    seconds = document.get("seconds")
    took = f" in {seconds:.1f} s" if seconds is not None else ""
    yield table(
        f"{document['command']} {document['pipeline']}: {document['status']}{took}",
        ["step", "result"],
        [(step, sentence(step, facts)) for step, facts in steps.items()],
    )
    yield from (f"- {clean(told)}" for told in steps.get("validate", {}).get("problems", ()))
    yield from evidence(steps)
    if alerts := document.get("alerts"):
        yield _alerts_table(alerts)
    for title, place in _places(document, steps):
        yield f"{title:<12} {clean(place)}"
    if commands := list(_next(document, steps, data)):
        yield "\nNext:"
        yield from (f"  {command}" for command in commands)


def evidence(steps: Mapping[str, Facts]) -> Iterator[RenderableType]:
    """Yield the gates and what profiling dropped, where a run got that far."""
    if dropped := steps.get("profile", {}).get("dropped"):
        yield table("not used for training", ["column", "why"], list(dropped.items()))
    if gates := steps.get("gate", {}).get("gates"):
        yield gates_table(gates)
    if monitored := steps.get("monitor", {}):
        yield from _findings(monitored)


def _findings(monitored: Facts) -> Iterator[RenderableType]:
    if findings := monitored.get("findings"):
        yield table(
            f"{monitored['source']}, scored {monitored['scored_at']} by version "
            f"{monitored['model_version']}",
            ["finding", "level", "because"],
            [(f["check"].replace("_", " "), f["level"], f["sentence"]) for f in findings],
        )
    if reasons := monitored.get("alert_reasons"):
        shown = ", ".join(f"{clean(column)} {number(n)}" for column, n in reasons.items())
        yield f"alerts by what explains most of each: {shown}"
    for note in monitored.get("notes", ()):
        yield f"- {clean(note)}"


def gates_table(gates: Sequence[Facts]) -> RenderableType:
    """Return every gate with verdict and sentence."""
    return table(
        "gates",
        ["gate", "verdict", "because"],
        [(gate["gate"], gate["verdict"], gate["sentence"] + _waived(gate)) for gate in gates],
    )


def judged(release: Facts) -> str:
    """Return the verdict on a release, and how many of its gates somebody overrode."""
    waived = sum(bool(gate.get("override")) for gate in release["gates"])
    return f"{release['verdict']}, {waived} overridden" if waived else str(release["verdict"])


def _waived(gate: Facts) -> str:
    """Return who let a release go on in spite of a gate; empty where nobody did."""
    if not (override := gate.get("override")):
        return ""
    return f" Overridden by {override['actor']['name']} as {override['role']}: {override['reason']}"


def _alerts_table(alerts: Sequence[Facts]) -> RenderableType:
    """Return the strangest rows: how they are called, how severe, and why."""
    ids = [name for name in alerts[0] if name not in SCORED_COLUMNS]
    return table(
        "strangest rows",
        [*ids, "severity", "because"],
        [
            (
                *(str(alert[name]) for name in ids),
                f"{alert['severity']:.0f}",
                "\n".join(Reason(**reason).sentence for reason in alert["reasons"] or ())
                or NO_REASON,
            )
            for alert in alerts
        ],
    )


def _places(document: Facts, steps: Mapping[str, Facts]) -> Iterator[tuple[str, str]]:
    if uri := steps.get("score", {}).get("output_uri"):
        yield "scores", uri
    validated = steps.get("validate", {})
    if uri := validated.get("quarantine_uri"):
        yield "quarantine", uri
    if path := validated.get("report_path"):
        yield "validation", path
    if path := document.get("report"):
        yield "report", path


def _next(document: Facts, steps: Mapping[str, Facts], data: str | None) -> Iterator[str]:
    name = document["pipeline"]
    command = document["command"]
    if command in ("validate", "profile"):
        yield f"pynomaly run {name}" + (f" --data {shlex.quote(data)}" if data else "")
    if command == "train" and "register" in steps:
        if document.get("engine") == "prefect":
            yield f"pynomaly releases list {name}   # pynomaly up may be releasing it already"
        yield f"pynomaly release {name} --version {steps['register']['version']}"
    if command in ("run", "score") and steps.get("score", {}).get("rows_flagged"):
        yield f"pynomaly incidents list {name}"
    if command in ("run", "score") and "score" in steps:
        yield f"pynomaly scores read {name} --out current.parquet"
    if steps.get("monitor", {}).get("level") == "drift":
        yield f"pynomaly run {name}   # train anew, if the data is right as it is now"
    promoted = steps.get("promote", {})
    if promoted.get("state") in ("staging", "canary"):
        yield f"pynomaly releases watch {promoted['release_id']}"
    if command in ("run", "release"):
        yield f"pynomaly score {name} --data NEW.csv --out scored.parquet"
        yield f"pynomaly status {name}"
    yield f"pynomaly history {name}"
