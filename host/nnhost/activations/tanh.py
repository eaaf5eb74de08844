"""Hyperbolic tangent by table over -4..4; the derivative is 1 - y^2."""

from __future__ import annotations

import math

import numpy as np

from nnhost.activations.base import SLOPE_BITS, Activation, Real, sloped
from nnhost.fixed import Format, curve, lookup, nearest, saturate, signed
from nnhost.ir import Expr, rounded_shift

#: A table step is 2^-5, so that 256 of them span -4..4.
TABLE_FRACTION = 5


def _format(bits: int) -> Format:
    return Format(signed(bits), bits)


def _forward(acc: Expr, fraction: int, out: Format, fine: bool) -> Expr:
    top = out.interval.hi
    entries = [
        max(-top, min(top, nearest(2**out.fraction * math.tanh(i / 2**TABLE_FRACTION))))
        for i in range(-128, 129 if fine else 128)
    ]
    values = curve(f"tanh{out.fraction}", entries, f"tanh((i-128)/32) * 2^{out.fraction}")
    return lookup(values, acc, fraction, TABLE_FRACTION, fine)


def _backward(g: Expr, a: Expr, out: Format) -> Expr:
    square = rounded_shift(a * a, 2 * out.fraction - SLOPE_BITS)
    return sloped(saturate(g), (1 << SLOPE_BITS) - square)


def _real(z: Real) -> Real:
    return np.tanh(z)


def _derivative(z: Real, a: Real) -> Real:
    return 1.0 - a * a


TANH = Activation("tanh", False, _format, _forward, _backward, _real, _derivative)
