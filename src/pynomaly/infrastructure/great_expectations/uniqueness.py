"""Keys seen so far, across chunks, in bounded memory.

Great Expectations sees one batch at a time and reports every member of a group of duplicates, so
uniqueness is judged beside it: the first occurrence of a key is kept and later ones are against
the expectation, in a chunk as in the whole.  16 bytes are kept per key: 128 bits of SipHash, with
which a false alarm among 10^9 keys has a probability below 10^-20.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["SeenKeys"]

_SEEDS = ("pynomaly-keys-01", "pynomaly-keys-02")
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHARD_BITS = 4
_SHIFT = np.uint64(64 - _SHARD_BITS)

Hashes = NDArray[np.uint64]


class SeenKeys:
    """A set of keys that only grows.

    Args:
        columns: That make up a key.
        ignore: Which rows have no key: ``any`` or ``all`` of its columns missing, or ``never``.
    """

    def __init__(self, columns: Sequence[str], ignore: str) -> None:
        self._columns = tuple(columns)
        self._ignore = ignore
        # By the first bits of a hash, so that merging needs room for a part of all keys alone.
        self._shards = tuple(_Runs() for _ in range(1 << _SHARD_BITS))

    def add(self, chunk: pa.Table) -> tuple[int, NDArray[np.int64]]:
        """Take in a chunk.

        Args:
            chunk: Conformed rows.

        Returns:
            How many rows have a key, and the positions of those whose key was there before.
        """
        cells = [chunk.column(name).combine_chunks() for name in self._columns]
        positions = np.flatnonzero(self._with_key(cells))
        first, second = (
            _hashes([c.take(pa.array(positions)) for c in cells], seed) for seed in _SEEDS
        )
        order = np.lexsort((second, first))  # stable: of equal keys the earliest row leads
        first, second, positions = first[order], second[order], positions[order]
        again = np.zeros(len(first), dtype=np.bool_)
        again[1:] = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
        bounds = np.searchsorted(first >> _SHIFT, np.arange(len(self._shards) + 1))
        for runs, (start, end) in zip(self._shards, pairwise(bounds.tolist()), strict=True):
            runs.add(first[start:end], second[start:end], again[start:end])
        return len(positions), np.sort(positions[again])

    def _with_key(self, cells: Sequence[pa.Array]) -> NDArray[np.bool_]:
        valid = [c.is_valid().to_numpy(zero_copy_only=False) for c in cells]
        if self._ignore == "never":
            return np.ones(len(cells[0]), dtype=np.bool_)
        combine = np.all if self._ignore == "any" else np.any
        return np.asarray(combine(np.stack(valid), axis=0))


class _Runs:
    """Sorted runs of hashes, each at least twice as long as the next, as in a merge sort.

    Adding n hashes in any chunks costs O(n log n), looking one up O(log² n).
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Hashes, Hashes]] = []

    def add(self, first: Hashes, second: Hashes, again: NDArray[np.bool_]) -> None:
        """Take in sorted hashes.

        Args:
            first: (n,) halves, ascending.
            second: (n,) the other halves.
            again: (n,) which of them repeat another of them; those met before are marked, too.
        """
        for run in self._runs:
            again |= _contains(run, first, second)
        first, second = first[~again], second[~again]
        if not len(first):
            return
        self._runs.append((first, second))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            (a_first, a_second), (b_first, b_second) = self._runs[-2:]
            first = np.concatenate([a_first, b_first])
            order = np.argsort(first, kind="stable")
            self._runs[-2:] = [(first[order], np.concatenate([a_second, b_second])[order])]


def _contains(run: tuple[Hashes, Hashes], first: Hashes, second: Hashes) -> NDArray[np.bool_]:
    known_first, known_second = run
    at = np.searchsorted(known_first, first)
    at[at == len(known_first)] = 0
    # Two different keys with equal first halves are not told apart by more than the first of
    # them: one repetition missed in 10^19 / n² rows.
    found: NDArray[np.bool_] = (known_first[at] == first) & (known_second[at] == second)
    return found


def _hashes(cells: Sequence[pa.Array], seed: str) -> Hashes:
    from pandas.util import hash_array

    mixed: Hashes = np.zeros(len(cells[0]), dtype=np.uint64)
    for column in cells:
        texts = _texts(column)
        hashed = hash_array(texts.to_numpy(zero_copy_only=False), hash_key=seed, categorize=False)
        mixed = (mixed ^ hashed) * _MIX
        mixed ^= mixed >> np.uint64(31)
    return mixed


def _texts(column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):
        column = pc.add(column, 0.0)  # -0.0 equals 0.0
    # A prefix keeps a missing value apart from any text.
    return pc.if_else(
        column.is_valid(), pc.binary_join_element_wise("=", column.cast(pa.string()), ""), "-"
    )
