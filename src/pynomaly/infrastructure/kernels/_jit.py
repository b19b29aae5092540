"""How kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit, types

__all__ = ["CUBE", "F32", "F64", "FLAG", "I32", "I64", "MATRIX", "NUMBER", "WHOLE", "kernel"]

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_F = TypeVar("_F", bound=Callable[..., Any])


def _array(dtype: types.Type, dimensions: int = 1) -> types.Array:
    # Read-only: a model is never changed by scoring, and writable arrays convert implicitly, so
    # arrays of either kind share one compiled version.
    return types.Array(dtype, dimensions, "C", readonly=True)


F64, F32 = _array(types.float64), _array(types.float32)
I64, I32 = _array(types.int64), _array(types.int32)
MATRIX, CUBE = _array(types.float64, 2), _array(types.float64, 3)
NUMBER, WHOLE, FLAG = types.float64, types.int64, types.boolean


def kernel(*arguments: types.Type, returns: types.Type) -> Callable[[_F], _F]:
    """Compile for exactly these types, cached on disk, without the GIL.

    No ``fastmath``: it would let the compiler reorder additions, and scores would depend on how a
    batch is cut.
    """
    signature = returns(*arguments)

    def compiled(function: _F) -> _F:
        try:
            return cast("_F", njit(signature, cache=True, **_OPTIONS)(function))
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            # Neither our folder nor the user's cache folder is writable (a read-only container).
            # Scores are the same; each process compiles anew unless NUMBA_CACHE_DIR is set.
            return cast("_F", njit(signature, **_OPTIONS)(function))

    return compiled
