"""asinh, exp and log as straight-line arithmetic, so that loops over them become vector loops.

Relative errors stay below 1e-14 (tested against the C library; about 2e-15 in fact).  Coefficients
are Chebyshev interpolants on the reduced range, computed with 40 digits.
"""

from __future__ import annotations

import math

from pynomaly.infrastructure.kernels._jit import bits, fma, from_bits, inlined

__all__ = ["asinh", "exp", "log"]

_LN2 = 0.6931471805599453
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
_PER_LN2 = 1.4426950408889634
_ROOT_HALF = 0x3FE6A09E667F3BCD  # bits of √½
_FRACTION = (1 << 52) - 1
_SHIFT = 6755399441055744.0  # 1.5 · 2⁵²: adding it rounds to a whole number, in the low bits
_SHIFT_BITS = 0x4338000000000000


@inlined
def log(x: float) -> float:
    """Return the natural logarithm of a normal number > 0."""
    pattern = bits(x) - _ROOT_HALF
    exponent = float(pattern >> 52)
    f = from_bits((pattern & _FRACTION) + _ROOT_HALF) - 1.0  # x = 2^exponent · (1 + f)
    s = f / (2.0 + f)
    t = s * s
    p = fma(t, 0.14616450140035353, 0.1533172155704884)
    p = fma(p, t, 0.1818288912686165)
    p = fma(p, t, 0.22222211134766842)
    p = fma(p, t, 0.28571428625975726)
    p = fma(p, t, 0.39999999999899505)
    p = fma(p, t, 0.666666666666667)
    return fma(exponent, _LN2, fma(s * t, p, 2.0 * s))


@inlined
def exp(x: float) -> float:
    """Return e^x for x ≤ 700; below −700 the result is e^−700, which is nothing."""
    x = max(x, -700.0)
    shifted = fma(x, _PER_LN2, _SHIFT)
    k = shifted - _SHIFT
    r = fma(-k, _LN2_LOW, fma(-k, _LN2_HIGH, x))
    p = fma(r, 2.5100375832561234e-08, 2.7620075879983367e-07)
    p = fma(p, r, 2.7557268480310024e-06)
    p = fma(p, r, 2.4801521322368692e-05)
    p = fma(p, r, 0.00019841269863040545)
    p = fma(p, r, 0.0013888888917196719)
    p = fma(p, r, 0.008333333333330065)
    p = fma(p, r, 0.041666666666624164)
    p = fma(p, r, 0.16666666666666669)
    p = fma(p, r, 0.5000000000000001)
    p = fma(r * r, p, r) + 1.0
    return p * from_bits((bits(shifted) - _SHIFT_BITS + 1023) << 52)


@inlined
def asinh(x: float) -> float:
    """Return the inverse hyperbolic sine of a finite number."""
    a = abs(x)
    t = min(a, 0.125)
    t = t * t
    p = fma(t, 0.016609582368610487, -0.022356334566458733)
    p = fma(p, t, 0.03038177658044954)
    p = fma(p, t, -0.04464285622702179)
    p = fma(p, t, 0.07499999999761822)
    p = fma(p, t, -0.16666666666666435)
    near_zero = fma(p * t, a, a)
    huge = a > 1e9  # where a² would lose the 1, and later overflow: asinh a = log 2a
    c = min(a, 1e9)
    logarithm = log(a if huge else c + math.sqrt(fma(c, c, 1.0)))
    logarithm = logarithm + _LN2 if huge else logarithm
    return math.copysign(near_zero if a < 0.125 else logarithm, x)
