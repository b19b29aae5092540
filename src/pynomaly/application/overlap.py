"""Reading, computing and writing at the same time, each at most one piece ahead of the next.

What overlaps releases the interpreter lock (decoding, kernels, compression), so threads are enough;
at most one piece waits on either side, so memory stays bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["behind", "read_ahead"]

T = TypeVar("T")
_END = object()


class _Hands(threading.local):
    """Threads that read and write for the thread that asks, partition after partition.

    They end with it.  New ones for each partition would begin with memory of their own every time.
    """

    def __init__(self) -> None:
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="read")
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="write")


_HANDS = _Hands()


def read_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield ``items`` while the next one is being made in another thread.

    What making an item raises is raised where it would have been yielded.
    """
    source, reader = iter(items), _HANDS.reader
    coming: Future[object] = reader.submit(next, source, _END)
    try:
        while (item := coming.result()) is not _END:
            coming = reader.submit(next, source, _END)
            yield item  # type: ignore[misc]  # only the end is no T
    finally:
        coming.cancel() or coming.exception()  # a generator cannot be closed while it runs
        if (close := getattr(source, "close", None)) is not None:
            close()


@contextmanager
def behind(write: Callable[[T], object]) -> Iterator[Callable[[T], None]]:
    """Give a function that hands items to ``write`` in another thread, in order.

    It waits while the item before is still being written, and raises what writing that raised; so
    does the end of the block.
    """
    writer = _HANDS.writer
    last: Future[object] | None = None

    def hand(item: T) -> None:
        nonlocal last
        if last is not None:
            last.result()
        last = writer.submit(write, item)

    try:
        yield hand
    finally:
        wait([last] if last is not None else [])
    if last is not None:
        last.result()
