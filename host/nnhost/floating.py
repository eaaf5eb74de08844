"""Positive numbers of a wide range in 16 bits: what squares of gradients, and their roots, need.

A code is 6 bits of exponent e above 10 bits of mantissa f and stands for (1 + f / 1024) *
2^(e - 24), from 6e-8 to 1e12: a fixed point would lose the squares of small gradients, or those of
large ones. Codes are in the order of their values. Rounding is stochastic.
"""

from __future__ import annotations

import math

from nnhost.ir import (
    UINT16,
    Expr,
    Interval,
    Operand,
    clamp,
    length,
    maximum,
    minimum,
    wrap,
)
from nnhost.roots import mantissa_root

MANTISSA = 10
#: The exponent of 1.
ONE = 24
#: Bits of a share: ONE_SHARE stands for 1.
SHARE_BITS = 15
ONE_SHARE = 1 << SHARE_BITS
#: A mantissa as it is computed with: 1 becomes 2^28.
_WORK = 28


def code_of(value: float) -> int:
    """The code next below a value."""
    exponent = math.floor(math.log2(value))
    mantissa = math.floor((value * 2.0**-exponent - 1) * 2**MANTISSA)
    code: int = ((exponent + ONE) << MANTISSA) + mantissa
    return min(max(0, code), UINT16.hi)


def value_of(code: int) -> float:
    """What a code stands for."""
    mantissa = 1 + (code & ((1 << MANTISSA) - 1)) * 2.0**-MANTISSA
    return float(mantissa * 2.0 ** ((code >> MANTISSA) - ONE))


def _parts(code: Expr) -> tuple[Expr, Expr]:
    """Mantissa, 1 as 2^28, and exponent."""
    return ((code & 1023) + 1024) << (_WORK - MANTISSA), code >> MANTISSA


def _square(x: Expr) -> tuple[Expr, Expr]:
    """x * x for an int16 x, in the parts of a code; the mantissa may be below 1."""
    size = clamp(maximum(x, 0 - x), Interval(0, 32767))
    digits = length(size)
    long = minimum(size << (15 - digits), 32767)  # 15 bits, so the minimum never acts
    return (long * long) >> 1, 2 * digits + (ONE - 1)


def _rounded(mantissa: Expr, exponent: Expr, noise: Expr) -> Expr:
    """The code of a mantissa of up to 31 bits, by 16 bits of noise."""
    least = maximum(mantissa, 1 << (MANTISSA + 1))
    shift = clamp(length(least) - (MANTISSA + 1), Interval(0, 19))
    dither = (noise << 3) >> (19 - shift)
    short = minimum((least + dither) >> shift, 2 << MANTISSA)  # carries into the exponent
    code = ((exponent + shift - (_WORK - MANTISSA)) << MANTISSA) + (short - (1 << MANTISSA))
    return clamp(code, UINT16)


def _aligned(code: Expr, x: Expr) -> tuple[Expr, Expr, Expr]:
    """The number of a code and x * x as mantissas of one exponent, which is the third."""
    mine, at = _parts(code)
    other, there = _square(x)
    exponent = maximum(at, there)
    steps = Interval(0, 31)
    return mine >> clamp(exponent - at, steps), other >> clamp(exponent - there, steps), exponent


def mixed(code: Expr, x: Expr, share: Operand, noise: Expr) -> Expr:
    """The number of `code` moved towards x * x by a share, from 0 to `ONE_SHARE`. `noise`: 16
    bits."""
    mine, other, exponent = _aligned(code, x)
    part = _WORK - SHARE_BITS  # leaves 16 bits of each
    moved = mine + ((((other >> part) - (mine >> part)) * wrap(share)) >> (SHARE_BITS - part))
    return _rounded(moved, exponent, noise)


def added(code: Expr, x: Expr, noise: Expr) -> Expr:
    """The number of `code` plus x * x. `noise`: 16 bits."""
    mine, other, exponent = _aligned(code, x)
    return _rounded(mine + other, exponent, noise)


def inverse_root(code: Expr) -> tuple[Expr, Expr]:
    """(t, h) with 1 / sqrt(number) = t * 2^(-15 + ONE / 2 - h), t from 2^14 to 2^15."""
    mantissa = (code & ((1 << MANTISSA) - 1)) + (1 << MANTISSA)
    odd = (code >> MANTISSA) & 1
    return mantissa_root(mantissa << (odd + 14 - MANTISSA)), code >> (MANTISSA + 1)
