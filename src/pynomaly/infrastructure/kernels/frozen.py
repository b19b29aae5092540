"""Scores frozen members: rows cut into chunks, chunks spread over threads."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from pynomaly.domain.errors import IntegrityError
from pynomaly.domain.extensions import extension
from pynomaly.domain.finite import require_finite
from pynomaly.domain.models import Member
from pynomaly.domain.uncertified import PREFIX
from pynomaly.infrastructure.kernels.checks import require_sound

__all__ = ["FrozenKernels", "available_threads"]

Floats = NDArray[np.float64]

_CHUNK_CELLS, _FEWEST_ROWS, _MOST_ROWS = 40_960, 64, 4_096
# A chunk of rows and what is made of it stay in the second-level cache of one core.

_MOST_CELLS_BESIDE_TABLES = 2**19
# Where every number is looked up in a table as large as the training data, the tables do not fit
# into that cache.  They are read once a chunk, so chunks are as large as they are, up to 4 MiB.

_STRETCHES = 2
# Of chunks, for each thread: one that was held up leaves the rest to the others.


class FrozenKernels:
    """Implements the ``Kernels`` port.

    Compiled code does the operations of a row in a fixed order, whatever other rows it shares a
    vector, a chunk or a thread with, so a row's score is the same to the last bit alone, in any
    batch and in any thread.  It is cached on disk and releases the GIL.  Where numba cannot be
    imported numpy does the same more slowly; scores then agree to 1e-9.

    Args:
        uncertified: Scores members whose detector has no kernel; without it they are refused.
        threads: Score large batches with so many; None for :func:`available_threads`.
    """

    def __init__(
        self,
        uncertified: Callable[[Member, Floats], Floats] | None = None,
        threads: int | None = None,
    ) -> None:
        self._uncertified = uncertified
        self._threads = threads

    def score(self, member: Member, X: Floats) -> Floats:
        """Return raw scores (n,), higher = stranger; see the port."""
        return np.asarray(self.score_members((member,), X)[0])

    def score_members(self, members: Sequence[Member], X: Floats) -> Floats:
        """Return raw scores (members, n), higher = stranger; see the port."""
        X = np.asarray(X, dtype=np.float64)
        out = np.empty((len(members), len(X)))
        backend, compiled = _backend(), []
        for member, scores in zip(members, out, strict=True):
            require_sound(member, X.shape[1])
            if scorer := backend.SCORERS.get(member.detector):
                compiled.append(_Task(member, scorer, _scaling(member), scores))
            else:
                require_finite(X, member.detector)
                scores[:] = self._foreign(member, X)
        if len(X) <= _FEWEST_ROWS:
            _score_chunks(backend, compiled, X, _FEWEST_ROWS, range(0, len(X), _FEWEST_ROWS))
            return out
        threads = self._threads or available_threads()
        size = _chunk_rows(compiled, X.shape[1], -(-len(X) // threads))
        starts = range(0, len(X), size)
        score = partial(_score_chunks, backend, compiled, X, size)
        if min(threads, len(starts)) > 1:
            many = math.ceil(len(starts) / (_STRETCHES * threads))
            stretches = [starts[first : first + many] for first in range(0, len(starts), many)]
            list(_pool(threads, os.getpid()).map(score, stretches))
        else:
            score(starts)
        return out

    def nearest(
        self, X: Floats, references: Floats, spread: Floats, limit: float, count: int
    ) -> NDArray[np.int64]:
        """Return positions (n, count) of the most similar reference rows; see the port."""
        X = np.ascontiguousarray(X, dtype=np.float64)
        columns = np.ascontiguousarray(references.T)
        found: NDArray[np.int64] = _backend().nearest(X, columns, spread, limit, count)
        return found

    def _foreign(self, member: Member, X: Floats) -> Floats:
        X = np.ascontiguousarray(X)
        if member.detector.startswith(PREFIX) and self._uncertified:
            return self._uncertified(member, X)
        if found := extension(member.detector):
            return found.score(member.arrays, member.params, X)
        raise IntegrityError(
            f"no kernel for detector {member.detector!r}",
            hint="the model was made by another version of pynomaly, or needs a package that is "
            "not installed here: install it, or retrain the model",
        )


class _Task(NamedTuple):
    member: Member
    scorer: Callable[..., Floats]
    scaling: object
    scores: Floats


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the threads of a process, which stay: cheap detectors take less time than starting any.

    A process made by forking has none of its parent's.
    """
    return ThreadPoolExecutor(threads, thread_name_prefix="kernel")


def _score_chunks(
    backend: ModuleType, tasks: Sequence[_Task], X: Floats, size: int, starts: Iterable[int]
) -> None:
    if not tasks:
        return
    memory = _memory(backend, tasks, X)
    for start in starts:
        scaled: dict[object, Floats] = {}
        if memory is None:
            scaled[None] = backend.lanes(X[start : start + size])
            if not math.isfinite(scaled[None].sum()):  # looked at here, where they are in the cache
                require_finite(X, tasks[0].member.detector)
        for member, scorer, scaling, scores in tasks:
            # Members of an ensemble share few scalings, so each is done once.
            if scaling not in scaled:
                if memory is None:
                    scaled[scaling] = backend.robust(member.arrays, scaled[None])
                else:
                    rows = min(size, len(X) - start)
                    scaled[scaling], finite = backend.robust_columns(
                        member.arrays, *memory, start, rows
                    )
                    if not finite:
                        require_finite(X, member.detector)
            scores[start : start + size] = scorer(member.arrays, member.params, scaled[scaling])


def _memory(backend: ModuleType, tasks: Sequence[_Task], X: Floats) -> tuple[Floats, int] | None:
    """Return the memory of a matrix and how far apart its columns begin; None where it takes more.

    Where columns are contiguous and every task scales all of them, rows are scaled, and seen to be
    finite, where they lie: a copy of a chunk costs as much as scoring it by a cheap detector.
    """
    rows, columns = X.shape
    apart, rest = divmod(X.strides[1], X.itemsize)
    if (
        X.strides[0] != X.itemsize
        or apart < rows
        or rest
        or not hasattr(backend, "robust_columns")
        or any(t.scaling is None or len(t.member.arrays["columns"]) != columns for t in tasks)
    ):
        return None
    return as_strided(X, (apart * (columns - 1) + rows,), (X.itemsize,), writeable=False), apart


def _chunk_rows(tasks: Sequence[_Task], columns: int, share: int) -> int:
    """Return how many rows to score at a time.

    Args:
        tasks: Members to score them by.
        columns: Of a row.
        share: Rows for each thread.
    """
    width = max(1, columns)
    rows = min(max(_CHUNK_CELLS // width, _FEWEST_ROWS), _MOST_ROWS)
    held = [task.member.arrays for task in tasks if "values" in task.member.arrays]
    largest = max((a["values"].size + a["heights"].size for a in held), default=0)
    return max(rows, min(min(largest, _MOST_CELLS_BESIDE_TABLES) // width, share))


def _scaling(member: Member) -> object:
    """Return what tells a member's scaling from others; None where it takes raw rows."""
    if "scale" not in member.arrays:
        return None
    return tuple(member.arrays[name].tobytes() for name in ("columns", "center", "scale"))


@cache
def _backend() -> ModuleType:
    try:
        from pynomaly.infrastructure.kernels import compiled
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in ("numba", "llvmlite"):
            raise
        from pynomaly.infrastructure.kernels import plain

        return plain
    return compiled


def available_threads() -> int:
    """Return how many cores this process may use: one inside Dask and Prefect workers.

    Those run several such processes or threads themselves.
    """
    if "PREFECT__FLOW_RUN_ID" in os.environ or _inside_dask():
        return 1
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _inside_dask() -> bool:
    distributed = sys.modules.get("distributed")  # not imported for the question's sake
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True
