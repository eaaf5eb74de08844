"""Hard sigmoid: y = x / 4 + 1/2 between 0 and 1, clipped there; the derivative is 1/4 inside.

The line touches the sigmoid at 0 and its slope is a shift (Gulcehre et al., 2016).
"""

from __future__ import annotations

import numpy as np

from nnhost.activations.base import Activation, Real
from nnhost.fixed import Format
from nnhost.ir import Const, Expr, Interval, clamp, rounded_shift, sel

SLOPE_SHIFT = 2


def _format(bits: int) -> Format:
    return Format(Interval(0, 2 ** (bits - 1) - 1), bits - 1)


def _forward(acc: Expr, fraction: int, out: Format, fine: bool) -> Expr:
    y = rounded_shift(acc, fraction + SLOPE_SHIFT - out.fraction)
    return clamp(y + (1 << (out.fraction - 1)), out.interval)


def _backward(g: Expr, a: Expr, out: Format) -> Expr:
    inside = (a > Const(0)) & (a < Const(out.interval.hi))
    return sel(inside, rounded_shift(g, SLOPE_SHIFT), 0)


def _real(z: Real) -> Real:
    line: Real = z / 2**SLOPE_SHIFT + 0.5
    return np.clip(line, 0.0, 1.0)


def _derivative(z: Real, a: Real) -> Real:
    return np.where(np.abs(z) < 2, 2.0**-SLOPE_SHIFT, 0.0).astype(z.dtype)


HARD_SIGMOID = Activation("hard-sigmoid", True, _format, _forward, _backward, _real, _derivative)
