"""Releases: where each stands, how it got there, and what its rollout saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pynomaly.presentation.cli.render.base import clean, moment, number, share, table
from pynomaly.presentation.cli.render.runs import gates_table, judged

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pynomaly.application.reconcile import Reconciled

__all__ = ["event_line", "registry_lines", "release_lines", "releases_lines", "steered_lines"]

Document = Mapping[str, Any]


def releases_lines(document: Document) -> Iterator[RenderableType]:
    """Yield every release with where it stands."""
    if not document["releases"]:
        yield f"{clean(document['pipeline'])} has no release: pynomaly release {document['pipeline']}"
        return
    yield table(
        document["pipeline"],
        ["release", "#version", "state", "strategy", "verdict", "gated"],
        [
            (
                release["id"],
                release["version"],
                _stands(release),
                (release["rollout"] or {}).get("strategy"),
                judged(release),
                moment(release["created_at"]),
            )
            for release in document["releases"]
        ],
    )


def release_lines(document: Document) -> Iterator[RenderableType]:
    """Yield a release: state, gates, history, and what to do next."""
    rows = [
        ("release", document["id"]),
        ("version", _versus(document["version"], document["champion"])),
        ("state", _stands(document)),
        ("verdict", judged(document)),
    ]
    if decision := document["decision"]:
        rows.append(("decision", _decision(decision)))
    if rollout := document["rollout"]:
        steps = " → ".join([*(share(s) for s in rollout["shares"]), "all"])
        strategy = rollout["strategy"].replace("_", "-")
        rows.append(("strategy", f"{strategy}, {rollout['unit']}s: {steps}"))
    if approval := document["approval"]:
        own = ", who trained or proposed it" if approval["own"] else ""
        said = f": {approval['reason']}" if approval["reason"] else ""
        until = moment(approval["expires_at"])
        rows.append(("approved", f"by {approval['actor']['name']}{own}, until {until}{said}"))
    if finding := document["finding"]:
        rows.append(("seen", finding["sentence"]))
    yield table(f"release of {document['pipeline']}", ["", ""], rows)
    yield gates_table(document["gates"])
    if events := document["events"]:
        yield table(
            "history",
            ["when", "who", "what", "state", "why"],
            [
                (
                    moment(event["at"]),
                    event["actor"]["name"],
                    event["action"].replace("_", " "),
                    _reached(event, document["rollout"]),
                    event["reason"],
                )
                for event in events
            ],
        )
    yield from _next(document)


def steered_lines(document: Document, changed: bool) -> Iterator[RenderableType]:
    """Yield what became of a release that somebody has just steered.

    Args:
        document: Of the release, afterwards.
        changed: Whether it was not so before; then it is told who had made it so.
    """
    stands = (
        f"version {document['version']} of {clean(document['pipeline'])} is {_stands(document)}"
    )
    yield stands if changed else f"nothing changed: {stands} already"
    yield f"  {clean(event_line(document['events'][-1]))}"
    yield from _next(document)
    yield f"\nAll about it: pynomaly releases show {document['id']}"


def registry_lines(found: Reconciled) -> Iterator[RenderableType]:
    """Yield what was mended in the registry."""
    for alias, version in found.moved.items():
        yield f"registry: {alias} → {'nothing' if version is None else f'version {version}'}"
    if found.missing:
        yield f"registry: has lost version {', '.join(map(str, found.missing))}"
    if found.problem:
        yield f"registry: lags behind, {clean(found.problem)}; it follows with the next run"
    if found.in_line:
        yield "registry: in line"


def event_line(event: Document) -> str:
    """Return one event on one line."""
    why = f": {event['reason']}" if event["reason"] else ""
    return (
        f"{moment(event['at'])}  version {event['version']}  {event['action'].replace('_', ' ')} → "
        f"{event['after'].replace('_', ' ')}  ({event['actor']['name']}){why}"
    )


def _versus(version: int, champion: int | None) -> str:
    if version == champion:
        return f"{version} with a new decision policy, against itself with the present one"
    return f"{version} against {champion or 'nothing'}"


def _stands(release: Document) -> str:
    state = str(release["state"]).replace("_", " ")
    if release["state"] == "canary":
        state += f" at {share(release['share'])}"
    if release["state"] == "pending_approval" and (approval := release.get("approval")):
        state = f"approved by {approval['actor']['name']} until {moment(approval['expires_at'])}"
    return f"{state}, paused" if release["paused"] else state


def _reached(event: Document, rollout: Document | None) -> str:
    """Return the state after an event, in a canary with its share."""
    state = str(event["after"]).replace("_", " ")
    shares = rollout["shares"] if rollout else ()
    if event["after"] == "canary" and event["step"] is not None and event["step"] < len(shares):
        return f"{state} at {share(shares[event['step']])}"
    return state


def _decision(decision: Document) -> str:
    setting = {
        "alert_budget": ("budget", share(decision["budget"])),
        "threshold": ("score", str(decision["threshold"])),
        "fdr": ("q", number(decision["q"])),
        "top_k": ("k", str(decision["k"])),
    }[decision["kind"]]
    return f"{decision['kind'].replace('_', ' ')}, {setting[0]} {setting[1]}"


def _next(document: Document) -> Iterator[str]:
    name, key = document["pipeline"], document["id"]
    commands = {
        "pending_approval": (
            [f"pynomaly release {name} --resume"]
            if document["approval"]
            else [f"pynomaly releases approve {key}", f"pynomaly releases reject {key} --reason …"]
        ),
        "staging": [f"pynomaly score {name}", f"pynomaly releases abort {key} --reason …"],
        "canary": [f"pynomaly score {name}", f"pynomaly releases abort {key} --reason …"],
        "production": [
            f"pynomaly score {name}",
            # The first release has nothing to go back to.
            *([f"pynomaly rollback {name} --reason …"] if document["champion"] else []),
        ],
    }.get(document["state"], [])
    if document["paused"]:
        commands = [f"pynomaly releases resume {key}", *commands]
    if document["state"] == "staging" and document["to"] == "staging":
        commands = [f"pynomaly release {name} --resume", *commands]
    if commands:
        yield "\nNext:"
        yield from (f"  {command}" for command in commands)
