"""How many rows may be in memory at once."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from pynomaly.domain.errors import ConfigurationError
from pynomaly.domain.models import Model

__all__ = ["rows_that_fit"]

_SLACK_MIB = 48  # Parquet encoders, fragmentation
_LEAST_BATCH = 1_000


def rows_that_fit(
    wanted: int, memory_mib: int | None, workers: int, columns: int, models: Sequence[Model]
) -> int:
    """Return how many rows a batch may have.

    Args:
        wanted: At most so many.
        memory_mib: That the process must stay within; None for no bound.
        workers: Partitions in progress at once.
        columns: Of the source.
        models: That score every row, loaded: the champion, and a challenger if there is one.

    Raises:
        ConfigurationError: The process is as large already as it may become.
    """
    if memory_mib is None:
        return wanted
    # Per worker: a batch being read, one at work (as read, as declared, as a matrix and its
    # block of scores) and one being written, which also holds texts.  What a challenger says is
    # held beside that, and once more while the answers of both are put together.
    features = sum(len(model.preprocessing.features) for model in models)
    row = 4 * 8 * columns + 3 * 8 * features + 3 * 250 * len(models)
    used = _peak_memory() >> 20
    rows = (memory_mib - used - _SLACK_MIB) * 2**20 // (row * workers)
    if rows < _LEAST_BATCH:
        raise ConfigurationError(
            f"{memory_mib} MiB are too little: the process has needed {used} MiB before it "
            f"scores a row, and {workers} workers with batches of {_LEAST_BATCH:,} rows "
            f"{_SLACK_MIB + row * _LEAST_BATCH * workers // 2**20} MiB more",
            hint="allow more memory, or fewer workers",
        )
    return min(wanted, rows)


def _peak_memory() -> int:
    """Return the largest size this process has had so far, in bytes; 0 where nobody can tell."""
    status = Path("/proc/self/status")
    # Where there is none, getrusage tells; else also of the process that started this one.
    told = status.read_text() if status.exists() else ""
    if peak := re.search(r"^VmHWM:\s*(\d+) kB$", told, re.MULTILINE):
        return int(peak[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
