"""Which units of the data a challenger answers: sticky, and the same on every machine."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["chosen"]


def chosen(salt: str, names: Iterable[str], share: float) -> NDArray[np.bool_]:
    """Return which units the challenger answers.

    A unit that is chosen stays chosen as the share grows, in every batch and on every machine.

    Args:
        salt: Hex, of the release.
        names: Of the units, in order.
        share: 0–1.

    Returns:
        (n,) whether each is among them.

    >>> few, more = (chosen("5a17", map(str, range(1000)), s) for s in (0.1, 0.5))
    >>> bool((few & ~more).any()), int(more.sum())
    (False, 476)
    """
    key, limit = bytes.fromhex(salt), int(share * 2**64)
    return np.fromiter(
        (
            int.from_bytes(hmac.digest(key, name.encode("utf-8", "surrogatepass"), "sha256")[:8])
            < limit
            for name in names
        ),
        dtype=np.bool_,
    )
