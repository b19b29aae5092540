"""Live progress on standard error: bars on a terminal, one line per step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from pynomaly.presentation.cli.render.base import clean, console, detector_name
from pynomaly.presentation.cli.render.runs import sentence

if TYPE_CHECKING:
    from rich.console import Console

    from pynomaly_flows.context import Event

__all__ = ["progress"]


@contextmanager
def progress(steps: MutableMapping[str, Any]) -> Iterator[Callable[[Event], None]]:
    """Show the events it is given.

    Args:
        steps: Collects the facts of steps that finished or failed.
    """
    out = console(sys.stderr)
    with _Bars(out) if out.is_terminal else _Lines(sys.stderr) as show:

        def on_event(event: Event) -> None:
            if event.kind in ("finished", "failed"):
                steps[event.step] = event.facts
            show(event)

        yield on_event


def _trial(facts: Any, best: float | None) -> str:
    value = facts.get("value")
    shown = "failed" if value is None else f"{value:.4f}"
    leading = "" if best is None else f" (best {best:.4f})"
    return f"trial {facts.get('number', 0) + 1} of {facts.get('of')}: {detector_name(facts)} " + (
        f"{shown}{leading}"
    )


def _rows(facts: Any) -> str:
    from pynomaly_flows.facts import rows_done  # where there are rows, flows are loaded

    return rows_done(**facts)


class _Best:
    """The best objective so far; a trial's event tells only its own."""

    def __init__(self) -> None:
        self.value: float | None = None

    def after(self, facts: Any) -> float | None:
        value = facts.get("value")
        if value is not None and (self.value is None or value > self.value):
            self.value = value
        return self.value


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._best = _Best()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        line = self._line(event)
        if line:
            self._stream.write(clean(line) + "\n")
            self._stream.flush()

    def _line(self, event: Event) -> str | None:
        facts = event.facts
        if event.kind == "engine":
            return f"{event.step}: {_engine(facts)}"
        if event.kind == "started":
            return f"{event.step} …"
        if event.kind == "progress":
            if "detector" in facts:
                return f"  {_trial(facts, self._best.after(facts))}"
            return f"  {_rows(facts)}"
        if event.kind == "reused":
            return f"{event.step}: kept from the earlier attempt"
        return f"{event.step}: {sentence(event.step, facts)}"


class _Bars:
    def __init__(self, out: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description:<9}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=out,
        )
        self._tasks: dict[str, TaskID] = {}
        self._best = _Best()

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._progress.tasks:
            if not task.finished:
                self._progress.stop_task(task.id)
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        if event.kind == "started":
            # The demo runs the same steps several times; each gets a bar of its own.
            self._tasks.pop(event.step, None)
        task = self._task(event.step)
        facts = event.facts
        if event.kind == "engine":
            self._note(task, _engine(facts), done=facts.get("state") != "starting")
        elif event.kind == "progress" and "detector" in facts:
            self._advance(task, facts["number"] + 1, facts["of"])
            self._note(task, _trial(facts, self._best.after(facts)))
        elif event.kind == "progress":
            self._advance(task, facts["rows"], facts["of"])
            self._note(task, _rows(facts))
        elif event.kind == "reused":
            self._note(task, "kept from the earlier attempt", done=True)
        elif event.kind == "failed":
            self._note(task, sentence(event.step, facts))
            self._progress.stop_task(task)
        elif event.kind == "finished":
            self._note(task, sentence(event.step, facts), done=True)

    def _task(self, step: str) -> TaskID:
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=None, note="")
        return self._tasks[step]

    def _advance(self, task: TaskID, completed: int, total: int) -> None:
        self._progress.update(task, completed=min(completed, max(total - 1, 0)), total=total)

    def _note(self, task: TaskID, text: str, *, done: bool = False) -> None:
        self._progress.update(task, note=clean(text))
        if done:
            self._progress.update(task, completed=1, total=1)


def _engine(facts: Any) -> str:
    if "unrecorded_task_runs" in facts:
        return f"{facts['unrecorded_task_runs']} task runs did not reach the server in time"
    api = f" at {facts['api']}" if "api" in facts else ""
    return f"{facts.get('state', '')}{api}"
