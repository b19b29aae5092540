"""Keys seen so far, across chunks, in bounded memory.

Great Expectations sees one batch at a time and reports every member of a group of duplicates, so
uniqueness is judged beside it: the first occurrence of a key is kept and later ones are against
the expectation, in a chunk as in the whole.  A key is known by 128 bits of SipHash, with which a
false alarm among 10^9 keys has a probability below 10^-20.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pynomaly.infrastructure.great_expectations.spill import Hashes, SpilledHashes

__all__ = ["SeenKeys"]

_SEEDS = ("pynomaly-keys-01", "pynomaly-keys-02")
_MIX = np.uint64(0x9E3779B97F4A7C15)


class SeenKeys:
    """A set of keys that only grows.

    Args:
        columns: That make up a key.
        ignore: Which rows have no key: ``any`` or ``all`` of its columns missing, or ``never``.
    """

    def __init__(self, columns: Sequence[str], ignore: str) -> None:
        self._columns = tuple(columns)
        self._ignore = ignore
        self._known = SpilledHashes()

    def add(self, chunk: pa.Table) -> tuple[int, NDArray[np.int64]]:
        """Take in a chunk.

        Args:
            chunk: Conformed rows.

        Returns:
            How many rows have a key, and the positions of those whose key was there before.
        """
        cells = [chunk.column(name).combine_chunks() for name in self._columns]
        positions = np.flatnonzero(self._with_key(cells))
        hashes = _hashes([c.take(pa.array(positions)) for c in cells])
        # Stable: of equal keys the earliest row leads.
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        hashes, positions = hashes[order], positions[order]
        again = self._known.contains(hashes)
        again[1:] |= (hashes[1:] == hashes[:-1]).all(axis=1)
        self._known.add(hashes[~again])
        return len(positions), np.sort(positions[again])

    def _with_key(self, cells: Sequence[pa.Array]) -> NDArray[np.bool_]:
        valid = [c.is_valid().to_numpy(zero_copy_only=False) for c in cells]
        if self._ignore == "never":
            return np.ones(len(cells[0]), dtype=np.bool_)
        combine = np.all if self._ignore == "any" else np.any
        return np.asarray(combine(np.stack(valid), axis=0))


def _hashes(cells: Sequence[pa.Array]) -> Hashes:
    from pandas.util import hash_array

    mixed: Hashes = np.zeros((len(cells[0]), len(_SEEDS)), dtype=np.uint64)
    for column in cells:
        texts = _texts(column).to_numpy(zero_copy_only=False)
        hashed = [hash_array(texts, hash_key=seed, categorize=False) for seed in _SEEDS]
        mixed = (mixed ^ np.stack(hashed, axis=1)) * _MIX
        mixed ^= mixed >> np.uint64(31)
    return mixed


def _texts(column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):
        column = pc.add(column, 0.0)  # -0.0 equals 0.0
    # A prefix keeps a missing value apart from any text.
    return pc.if_else(
        column.is_valid(), pc.binary_join_element_wise("=", column.cast(pa.string()), ""), "-"
    )
