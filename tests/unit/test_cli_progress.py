"""Progress goes to standard error: bars on a terminal, plain lines elsewhere."""

import io
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pynomaly.presentation.cli import progress as module
from pynomaly.presentation.cli.render.base import console, share
from pynomaly.presentation.cli.session import jsonable
from pynomaly_flows.context import Event

TRIALS = [("knn", 0.5), ("gmm", None), ("iforest", 0.4), ("pca", 0.75)]
EVENTS = [
    Event("engine", "prefect", {"state": "starting"}),
    Event("engine", "prefect", {"state": "ready", "api": "http://127.0.0.1:1/api"}),
    Event("started", "tune"),
    *(
        Event("progress", "tune", {"number": n, "detector": d, "value": v, "of": 4})
        for n, (d, v) in enumerate(TRIALS)
    ),
    Event("finished", "tune", {"trials": 4, "objective": "x", "detector": "pca"}),
    Event("reused", "train"),
    Event("started", "score"),
    Event("progress", "score", {"rows": 50_000, "of": 120_000}),
    Event("failed", "score", {"error": "disk \x1b[31mfull"}),
    Event("failed", "gate", {"error": "KeyboardInterrupt", "type": "KeyboardInterrupt"}),
]


def test_lines_tell_every_event(capsys):
    steps = {}
    with module.progress(steps) as on_event:
        for event in EVENTS:
            on_event(event)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "prefect: starting",
        "prefect: ready at http://127.0.0.1:1/api",
        "tune …",
        "  trial 1 of 4: knn 0.5000 (best 0.5000)",
        "  trial 2 of 4: gmm failed (best 0.5000)",
        "  trial 3 of 4: iforest 0.4000 (best 0.5000)",
        "  trial 4 of 4: pca 0.7500 (best 0.7500)",
        "tune: 4 trials by x: pca beat the incumbent",
        "train: kept from the earlier attempt",
        "score …",
        "  50,000 of 120,000 rows",
        "score: failed: disk \\x1b[31mfull",
        "gate: interrupted",
    ]
    assert set(steps) == {"tune", "score", "gate"}


def test_bars_on_a_terminal_end_with_the_sentences_of_the_steps(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with module.progress({}) as on_event:
        for event in EVENTS:
            on_event(event)
    shown = screen.getvalue()
    assert "4 trials by x: pca beat the incumbent" in shown
    assert "disk \x1b[31mfull" not in shown
    last = shown.rsplit("prefect", 1)[1]
    assert "kept from the earlier attempt" in last
    assert "failed" in last


def test_no_colour_outside_a_terminal():
    stream = io.StringIO()
    console(stream).print("[red]x[/red] :smile: 'y' 3", style="bold red")
    assert stream.getvalue() == "[red]x[/red] :smile: 'y' 3\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0 %"), (0.005, "0.5 %"), (0.05, "5 %"), (0.25, "25 %"), (1.0, "100 %")],
)
def test_shares_are_percent(value, shown):
    assert share(value) == shown


def test_everything_becomes_json():
    value = {
        "a": (1, math.nan, -math.inf, 2.5),
        3: Path("/x"),
        "t": datetime(2026, 1, 1, tzinfo=UTC),
        "n": None,
        "b": True,
    }
    assert jsonable(value) == {
        "a": [1, None, None, 2.5],
        "3": "/x",
        "t": "2026-01-01T00:00:00+00:00",
        "n": None,
        "b": True,
    }
