"""Library code runs alone, and its sums on one thread, so that equal seeds give equal bits."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["reproducible"]

_ALONE = threading.RLock()  # the self-test of an uncertified detector fits it again


@contextmanager
def reproducible() -> Iterator[None]:
    """Enter a block in which libraries compute reproducibly; one at a time in a process.

    BLAS and OpenMP are kept to one thread, because they add up their threads' sums in the order
    those finish.  Threads of joblib are not: what grows trees with seeds of their own may use more.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with _ALONE, threadpool_limits(limits=1), warnings.catch_warnings():
        # Unconverged mixtures, duplicate points and undefined skewness are judged by their
        # scores, not by these warnings; nothing here depends on them.
        warnings.simplefilter("ignore")
        yield
