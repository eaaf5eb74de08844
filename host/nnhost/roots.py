"""Square roots in integers: 1 / sqrt(x) as a mantissa and a shift.

x is shifted by pairs of bits until it has 15 or 16; of these a table knows the reciprocal root at
49 places, and straight lines between them do the rest: at most 2^-11 of it off.
"""

from __future__ import annotations

from nnhost.fixed import nearest
from nnhost.ir import Expr, Interval, clamp, length, maximum, minimum, sel, table

#: 1 / sqrt(i / 16) * 2^15 for i = 16..64, the first of which is one less: 16 bits with a sign.
_ROOTS = table(
    "roots",
    [min(32767, nearest(2.0**17 / i**0.5)) for i in range(16, 65)],
    "2^15 / sqrt(i / 16), i = 16..64",
)
#: Bits of the mantissa below the table's places.
_BETWEEN = 10


def root_shift(x: Expr) -> Expr:
    """s, so that x is 4^s times 1..4: 0..15 for x in 1..2^32 - 1; 0 for 0."""
    return (maximum(length(x), 1) - 1) >> 1


def reciprocal_root(x: Expr, shift: Expr) -> Expr:
    """m in 16384..32767, so that 1 / sqrt(x) ~ m * 2^-(15 + shift); 0 counts as 1.

    `shift`: what `root_shift` gives for x.
    """
    # x * 4^(7 - shift) has 15 or 16 bits; what the bounds take away is proven, not there.
    up = minimum(x, (1 << 14) - 1) << (2 * (7 - minimum(shift, 7)))
    down = x >> (2 * (maximum(shift, 7) - 7))
    return mantissa_root(clamp(sel(shift < 7, up, down), Interval(1 << 14, (1 << 16) - 1)))


def mantissa_root(sixteen: Expr) -> Expr:
    """The m of x in 2^14..2^16 - 1, which stands for 1..4."""
    place = (sixteen >> _BETWEEN) - 16
    low = _ROOTS[place]
    fall = low - _ROOTS[place + 1]
    between = sixteen & ((1 << _BETWEEN) - 1)
    return clamp(low - ((fall * between) >> _BETWEEN), Interval(1 << 14, (1 << 15) - 1))
