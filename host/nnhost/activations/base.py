"""What an activation function says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnhost.fixed import Format
from nnhost.ir import Expr, rounded_shift

Real = NDArray[np.float64]

#: Fraction bits of the slope of a curve.
SLOPE_BITS = 14


@dataclass(frozen=True)
class Activation:
    """An activation in fixed point and, independently, in real numbers.

    `unsigned`: its values are never negative, so one more magnitude bit is available.
    `format(bits)`: format of its values, given their magnitude bits.
    `forward(acc, fraction, out, fine)`: the value, from the exact pre-activation sum `acc` with
    `fraction` fraction bits, in format `out`; `fine` asks for interpolated tables.
    `backward(g, a, out)`: the gradient g times the derivative, from the value `a` in format `out`.
    `real`, `derivative(z, a)`: the same for the floating-point reference.
    """

    name: str
    unsigned: bool
    format: Callable[[int], Format]
    forward: Callable[[Expr, int, Format, bool], Expr]
    backward: Callable[[Expr, Expr, Format], Expr]
    real: Callable[[Real], Real]
    derivative: Callable[[Real, Real], Real]


def sloped(gradient: Expr, slope: Expr) -> Expr:
    """A gradient times the slope of a curve, 0 to 1."""
    return rounded_shift(gradient * slope, SLOPE_BITS)
