"""SIGTERM, which schedulers and containers send, ends a command the way Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import NoReturn

__all__ = ["Terminated", "end_orderly_on_sigterm"]


class Terminated(KeyboardInterrupt):
    """SIGTERM has arrived; whatever cleans up after Ctrl-C cleans up after it."""


def end_orderly_on_sigterm() -> None:
    """Raise :class:`Terminated` in the main thread when SIGTERM arrives."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated
