"""A growing set of 128-bit hashes: a Bloom filter in memory, the hashes in temporary files.

The filter (Bloom, 1970) says of nearly every new hash that it is new; only those it cannot tell
from known ones are looked up in the files, so the answer is that of the files.  The filter grows
with the hashes up to a fixed size; with so many that it tells few of them, lookups cost more time,
never more memory.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pynomaly.domain.errors import OutputNotWritableError

__all__ = ["Hashes", "SpilledHashes"]

Hashes = NDArray[np.uint64]
"""(n, 2): two independent halves of each hash, ascending by the first half."""

_SHARD_BITS = 14
_SHARDS = 1 << _SHARD_BITS
_SHIFT = np.uint64(64 - _SHARD_BITS)
_STRETCH = 64
_MANY = 4_096
_RUNS = 8
_FEWEST_WORDS = 1 << 16
_MOST_WORDS = 1 << 22
_GROWTH = 4


class SpilledHashes:
    """A set that only grows."""

    def __init__(self) -> None:
        self._filter = _Filter(_FEWEST_WORDS)
        self._runs: list[_Run] = []
        self._count = 0

    def contains(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Return (n,) which of some hashes are in the set."""
        found = self._filter.may_contain(hashes)
        at = np.flatnonzero(found)
        asked = hashes[at]
        known = np.zeros(len(at), dtype=np.bool_)
        for run in self._runs:
            known |= run.contains(asked)
        found[at] = known
        return found

    def add(self, hashes: Hashes) -> None:
        """Take in hashes that are not in the set, each once."""
        if not len(hashes):
            return
        self._count += len(hashes)
        self._runs.append(_Run.write(0, [hashes]))
        # Of eight runs of a level one of the next is made: adding n hashes writes O(n log n).
        while len(self._runs) >= _RUNS and self._runs[-_RUNS].level == self._runs[-1].level:
            merged = self._runs[-_RUNS:]
            self._runs[-_RUNS:] = [_Run.write(merged[0].level + 1, _merge(merged))]
        words = self._filter.words
        if self._count <= words or words >= _MOST_WORDS:
            self._filter.add(hashes)
            return
        del self._filter  # before there is a larger one
        self._filter = _Filter(words * _GROWTH)
        for run in self._runs:
            for part in run.parts():
                self._filter.add(part)


class _Filter:
    """A Bloom filter that sets four bits of one word per hash.

    Args:
        words: Of 64 bits; a power of two.
    """

    def __init__(self, words: int) -> None:
        self.words = words
        self._bits: NDArray[np.uint64] = np.zeros(words, dtype=np.uint64)

    def add(self, hashes: Hashes) -> None:
        np.bitwise_or.at(self._bits, *self._places(hashes))

    def may_contain(self, hashes: Hashes) -> NDArray[np.bool_]:
        words, bits = self._places(hashes)
        return np.asarray((self._bits[words] & bits) == bits)

    def _places(self, hashes: Hashes) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
        # The leading bits, as in the files: ascending hashes touch ascending words.
        shift = np.uint64(64 - (self.words.bit_length() - 1))
        words = (hashes[:, 0] >> shift).astype(np.intp)
        bits = np.zeros(len(hashes), dtype=np.uint64)
        for part in range(4):
            place = (hashes[:, 1] >> np.uint64(6 * part)) & np.uint64(63)
            bits |= np.uint64(1) << place
        return words, bits


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class _Run:
    """Ascending hashes in a temporary file, which is gone with the run or the process.

    Args:
        level: Of how many merges it comes.
        file: 16 bytes a hash.
        bounds: (shards + 1,) where in the file the hashes with the same leading bits start.
    """

    level: int
    file: BinaryIO
    bounds: NDArray[np.int64]

    @classmethod
    def write(cls, level: int, parts: Sequence[Hashes] | Iterator[Hashes]) -> _Run:
        """Write ascending parts, one after the other.

        Raises:
            OutputNotWritableError: The folder for temporary files is full or refuses us.
        """
        counts = np.zeros(_SHARDS, dtype=np.int64)
        try:
            file = tempfile.TemporaryFile(prefix="pynomaly-keys-", buffering=0)  # noqa: SIM115
            for part in parts:
                counts += np.bincount((part[:, 0] >> _SHIFT).astype(np.intp), minlength=_SHARDS)
                part.tofile(file)
        except OSError as error:
            folder = tempfile.tempdir or "the folder for temporary files"  # None: there is none
            raise OutputNotWritableError(
                f"cannot keep keys in {folder} to see which come twice: {error}",
                hint="free some space there, 32 bytes a row, or let TMPDIR name another folder",
            ) from error
        run = cls(level, file, np.concatenate([[0], np.cumsum(counts)]))
        weakref.finalize(run, file.close)
        return run

    def read(self, start: int, stop: int) -> Hashes:
        """Return the hashes of a range of shards."""
        first, last = self.bounds[start], self.bounds[stop]
        self.file.seek(16 * int(first))
        halves = np.fromfile(self.file, dtype=np.uint64, count=2 * int(last - first))
        return halves.reshape(last - first, 2)  # refuses a file that ends early

    def parts(self) -> Iterator[Hashes]:
        """Yield all hashes, a stretch of shards at a time."""
        for start in range(0, _SHARDS, _STRETCH):
            yield self.read(start, start + _STRETCH)

    def contains(self, asked: Hashes) -> NDArray[np.bool_]:
        """Return (n,) which of some ascending hashes it has.

        Two known hashes with equal first halves are not told apart by more than the first of them:
        one repetition missed in 10^19 / n² rows.
        """
        found = np.zeros(len(asked), dtype=np.bool_)
        # To read one long stretch after the other costs less than to read a shard for each hash.
        width = _STRETCH if len(asked) > _MANY else 1
        places = (asked[:, 0] >> _SHIFT).astype(np.intp) // width
        edges = [0, *(np.flatnonzero(np.diff(places)) + 1).tolist(), len(asked)]
        for start, stop in pairwise(edges if len(asked) else ()):
            shard = int(places[start]) * width
            known = self.read(shard, shard + width)
            if len(known):
                at = np.searchsorted(known[:, 0], asked[start:stop, 0])
                at[at == len(known)] = 0
                found[start:stop] = (known[at] == asked[start:stop]).all(axis=1)
        return found


def _merge(runs: Sequence[_Run]) -> Iterator[Hashes]:
    for parts in zip(*(run.parts() for run in runs), strict=True):
        part = np.concatenate(parts)
        yield part[np.argsort(part[:, 0], kind="stable")]
