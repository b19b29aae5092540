"""Library code runs alone, and its sums on one thread, so that equal seeds give equal bits."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

__all__ = ["reproducible"]

_ALONE = threading.RLock()  # the self-test of an uncertified detector fits it again


@contextmanager
def reproducible() -> Iterator[None]:
    """Enter a block in which libraries compute reproducibly; one at a time in a process.

    BLAS and OpenMP are kept to one thread, because they add up their threads' sums in the order
    those finish.  Threads of joblib are not: what grows trees with seeds of their own may use more.
    """
    import sklearn  # noqa: F401  (loads what is to be kept to one thread, if it is not there yet)

    with _ALONE, _pools(len(sys.modules)).limit(limits=1), warnings.catch_warnings():
        # Unconverged mixtures, duplicate points and undefined skewness are judged by their
        # scores, not by these warnings; nothing here depends on them.
        warnings.simplefilter("ignore")
        yield


@lru_cache(maxsize=1)
def _pools(modules: int) -> Any:
    """Return the thread pools of all libraries loaded; looking for them takes milliseconds.

    Args:
        modules: How many are imported: one more may have brought another library.
    """
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()
