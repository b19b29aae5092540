"""How kernels are compiled, and the three machine operations Python has no word for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

__all__ = [
    "F32",
    "F64",
    "I32",
    "I64",
    "MATRIX",
    "NUMBER",
    "WHOLE",
    "bits",
    "fma",
    "from_bits",
    "inlined",
    "kernel",
    "table",
]

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_F = TypeVar("_F", bound=Callable[..., Any])


def table(dtype: types.Type, dimensions: int = 1) -> types.Array:
    """Return the type of an array argument.

    Read-only: a model is never changed by scoring, and writable arrays convert implicitly, so
    arrays of either kind share one compiled version.
    """
    return types.Array(dtype, dimensions, "C", readonly=True)


F64, F32 = table(types.float64), table(types.float32)
I64, I32 = table(types.int64), table(types.int32)
MATRIX = table(types.float64, 2)
NUMBER, WHOLE = types.float64, types.int64


def kernel(*arguments: types.Type, returns: types.Type) -> Callable[[_F], _F]:
    """Compile for exactly these types, cached on disk, without the GIL.

    No ``fastmath``: it would let the compiler reorder or fuse operations as it pleases, and scores
    would depend on how a batch is cut.  Without it every operation is what IEEE 754 says, so loops
    may run over any number of vector lanes and still give each row the same bits; where a fused
    multiplication and addition pays, kernels say :func:`fma`.
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


def inlined(function: _F) -> _F:
    """Compile a part of kernels, which the compiler dissolves into them.

    The cache on disk watches a kernel's own file only: while changing a part, delete
    ``__pycache__`` here (installing a new version does).
    """
    return cast("_F", njit(**_OPTIONS)(function))


@intrinsic
def _fma(_context: Any, _a: Any, _b: Any, _c: Any) -> Any:
    def emit(_target: Any, builder: Any, _signature: Any, operands: Any) -> Any:
        return builder.fma(*operands)

    return NUMBER(NUMBER, NUMBER, NUMBER), emit


@intrinsic
def _bits(_context: Any, _number: Any) -> Any:
    def emit(_target: Any, builder: Any, _signature: Any, operands: Any) -> Any:
        return builder.bitcast(operands[0], ir.IntType(64))

    return WHOLE(NUMBER), emit


@intrinsic
def _from_bits(_context: Any, _pattern: Any) -> Any:
    def emit(_target: Any, builder: Any, _signature: Any, operands: Any) -> Any:
        return builder.bitcast(operands[0], ir.DoubleType())

    return NUMBER(WHOLE), emit


fma = cast("Callable[[float, float, float], float]", _fma)
"""a · b + c, rounded once."""

bits = cast("Callable[[float], int]", _bits)
"""The 64 bits of a number."""

from_bits = cast("Callable[[int], float]", _from_bits)
"""The number that 64 bits mean."""
