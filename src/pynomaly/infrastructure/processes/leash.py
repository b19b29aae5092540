"""Runs a command that must not outlive its parent: ``python -m …leash SECONDS COMMAND…``.

The command gets a process group of its own.  The group is ended when the command itself ends, when
we are told to (SIGTERM), or when our standard input closes, which happens however our parent dies.
The first line we print is the number of the group.  Standard library only: it starts in no time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

__all__ = ["end_group", "main"]


def main(grace: float, command: Sequence[str]) -> int:
    """Run ``command`` and return its exit code, as shells do 128 + signal where one ended it.

    Args:
        grace: Seconds between TERM and KILL.
        command: Program and arguments.
    """
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=sys.stderr, process_group=0
    )
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    for wait in (child.wait, sys.stdin.buffer.read):
        threading.Thread(target=_then, args=(wait, over), daemon=True).start()
    over.wait()
    end_group(child.pid, grace, child)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _then(wait: Callable[[], object], over: threading.Event) -> None:
    wait()
    over.set()


def end_group(group: int, grace: float, leader: subprocess.Popen[bytes] | None = None) -> None:
    """Send TERM to a process group and, ``grace`` seconds later, KILL to what is left of it.

    Args:
        group: Its number.
        grace: Seconds.
        leader: Its first process, if it is our child: it has to be waited for to vanish.
    """
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 2.0)):
        deadline = time.monotonic() + seconds
        with suppress(ProcessLookupError):
            os.killpg(group, number)
            while time.monotonic() < deadline:
                if leader is not None:
                    leader.poll()
                os.killpg(group, 0)  # raises when nobody is left
                time.sleep(0.05)
            continue
        return


if __name__ == "__main__":
    # Not sys.exit(): a thread that still reads standard input would hold it up.
    os._exit(main(float(sys.argv[1]), sys.argv[2:]))
