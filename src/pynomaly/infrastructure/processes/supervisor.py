"""Keeps services running: starts them in order, restarts what dies or hangs, stops them all."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pynomaly.application.ports.processes import Service
from pynomaly.domain.errors import PynomalyError
from pynomaly.infrastructure.processes.leash import end_group

__all__ = ["Supervisor"]

START_SECONDS = 180.0
"""A service that is not healthy by then has failed to start."""

STOP_SECONDS = 20.0
"""Between being asked to end and being killed."""

HEALTH_SECONDS = 10.0
"""Between two looks at a service that was healthy."""

SICK_LOOKS = 6
"""As many looks in a row that find a service unhealthy have it restarted: about a minute, for a
busy machine makes services slow, and a restart loses what they were about to do."""

FAILURES = 5
"""As many ends in a row, none of them after a healthy minute, are too many."""

_TICK_SECONDS = 0.2
_STEADY_SECONDS = 60.0
_LONGEST_PAUSE = 30.0


@dataclass
class _Child:
    """A service and the process that runs it now, if any."""

    service: Service
    process: subprocess.Popen[bytes] | None = None
    group: int | None = None
    healthy: bool = False
    started: float = 0.0
    healthy_since: float = 0.0
    looked: float = 0.0
    sick: int = 0
    failures: int = 0
    not_before: float = 0.0

    def start(self) -> None:
        leash = "pynomaly.infrastructure.processes.leash"
        self.service.log.parent.mkdir(parents=True, exist_ok=True)
        with self.service.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", leash, str(STOP_SECONDS), *self.service.command],
                cwd=self.service.folder,
                env=dict(self.service.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us, who end them in order
            )
        assert self.process.stdout is not None  # a pipe
        first = self.process.stdout.readline().strip()
        self.group = int(first) if first else None
        self.started, self.healthy, self.sick = time.monotonic(), False, 0

    def look(self, now: float) -> None:
        """Ask the service how it is; often while it starts, seldom once it is well."""
        if now - self.looked < (HEALTH_SECONDS if self.healthy else _TICK_SECONDS):
            return
        if self.service.healthy():
            if not self.healthy:
                self.healthy_since = time.monotonic()
            self.healthy, self.sick = True, 0
        elif self.healthy:
            self.sick += 1
        self.looked = time.monotonic()

    def stop(self) -> None:
        """Tell the leash to end the group, without waiting for it."""
        if self.process is not None:
            self.process.terminate()

    def wait(self) -> None:
        """Wait until nothing of the service is left."""
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS + 5)
            self.bury()

    def bury(self) -> None:
        """Remove what a leash left that was itself killed."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    stream.close()
        if self.group is not None:
            end_group(self.group, 0.0)
        self.process = self.group = None


@dataclass
class Supervisor:
    """Runs services until it is interrupted.

    Args:
        services: In order of their start; each after the one it needs.
        tell: Called with a service's name and what happened to it.
    """

    services: Sequence[Service]
    tell: Callable[[str, str], None]
    _children: list[_Child] = field(init=False)

    def __post_init__(self) -> None:
        self._children = [_Child(service) for service in self.services]

    def start(self) -> None:
        """Start all services and return when all are healthy.

        Raises:
            PynomalyError: One ended or hung while starting; the message ends with its last words.
        """
        for child in self._children:
            self._await([c for c in self._children if c.service.name in child.service.after])
            child.start()
            self.tell(child.service.name, "starting")
        self._await(self._children)

    def watch(self) -> None:
        """Restart what dies or hangs; returns never, ends by an interrupt.

        Raises:
            PynomalyError: A service died again and again; the message ends with its last words.
        """
        while True:
            for child in self._children:
                self._tend(child)
            time.sleep(_TICK_SECONDS)

    def stop(self) -> None:
        """End all services, the last started first; returns when no process of theirs is left."""
        for child in reversed(self._children):
            child.stop()
            child.wait()

    def _await(self, children: Sequence[_Child]) -> None:
        while waiting := [child for child in children if not child.healthy]:
            for child in waiting:
                assert child.process is not None  # started before
                if child.process.poll() is not None:
                    raise _failed(child, "ended while starting")
                if time.monotonic() - child.started > START_SECONDS:
                    raise _failed(child, f"was not healthy within {START_SECONDS:.0f} s")
                child.look(time.monotonic())
                if child.healthy:
                    self.tell(child.service.name, "healthy")
            time.sleep(_TICK_SECONDS)

    def _tend(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.not_before:
                child.start()
                self.tell(child.service.name, "restarted")
            return
        if child.process.poll() is not None:
            self._lost(child, f"ended with exit code {child.process.returncode}")
            return
        was = child.healthy
        child.look(now)
        if child.healthy and not was:
            self.tell(child.service.name, "healthy")
        if child.sick >= SICK_LOOKS:
            self._lost(child, "does not answer")
        elif not child.healthy and now - child.started > START_SECONDS:
            self._lost(child, f"was not healthy within {START_SECONDS:.0f} s")

    def _lost(self, child: _Child, what: str) -> None:
        now = time.monotonic()
        steady = child.healthy and now - child.healthy_since > _STEADY_SECONDS
        child.failures = 1 if steady else child.failures + 1
        self.tell(child.service.name, what)
        if child.failures >= FAILURES:
            raise _failed(child, f"{what}, {child.failures} times in a row")
        child.stop()
        child.wait()
        child.healthy = False
        child.not_before = now + min(0.5 * 2 ** (child.failures - 1), _LONGEST_PAUSE)


def _failed(child: _Child, what: str) -> PynomalyError:
    log = child.service.log
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    last = f": {lines[-1].strip()}" if lines else ""
    return PynomalyError(
        f"{child.service.name} {what}{last} (log: {log})", hint="look into that log"
    )
