"""What commands propose to do next can be done."""

from __future__ import annotations

import pytest

from pynomaly.presentation.cli.render.releases import steered_lines
from pynomaly.presentation.cli.render.runs import run_lines

RELEASE = "pynomaly release payments --version 2"
LOOK = "pynomaly releases list payments   # pynomaly up may be releasing it already"


def trained(engine: str) -> list[str]:
    lines = run_lines(
        {
            "pipeline": "payments",
            "command": "train",
            "engine": engine,
            "status": "completed",
            "steps": {"register": {"version": 2}},
        }
    )
    return [line.strip() for line in lines if isinstance(line, str)]


def test_where_up_may_release_what_was_trained_one_looks_before_releasing_it() -> None:
    lines = trained("prefect")
    assert lines.index(LOOK) == lines.index(RELEASE) - 1


def test_what_was_trained_in_the_process_itself_is_released_by_command_alone() -> None:
    lines = trained("direct")
    assert RELEASE in lines
    assert LOOK not in lines


@pytest.mark.parametrize(("champion", "proposed"), [(None, False), (1, True)])
def test_a_rollback_is_proposed_only_where_something_served_before(
    champion: int | None, proposed: bool
) -> None:
    event = {
        "at": "2026-11-25T12:00:00+00:00",
        "version": 2,
        "action": "restore",
        "after": "production",
        "actor": {"name": "ada"},
        "reason": "alerts doubled",
    }
    document = {
        "id": "release-2",
        "pipeline": "payments",
        "version": 2,
        "champion": champion,
        "state": "production",
        "to": "production",
        "paused": False,
        "approval": None,
        "rollout": None,
        "events": [event],
    }
    lines = [str(line).strip() for line in steered_lines(document, changed=True)]
    assert ("pynomaly rollback payments --reason …" in lines) is proposed
