"""Logistic sigmoid by table over -8..8; the derivative is y (1 - y)."""

from __future__ import annotations

import math

import numpy as np

from nnhost.activations.base import SLOPE_BITS, Activation, Real, sloped
from nnhost.fixed import Format, curve, lookup, nearest, saturate
from nnhost.ir import Expr, Interval, rounded_shift

#: A table step is 2^-4, so that 256 of them span -8..8.
TABLE_FRACTION = 4


def _format(bits: int) -> Format:
    # Never above 2^(bits-1): half the range keeps its products in the proven bounds of tanh.
    return Format(Interval(0, 2 ** (bits - 1) - 1), bits - 1)


def _forward(acc: Expr, fraction: int, out: Format, fine: bool) -> Expr:
    entries = [
        min(out.interval.hi, nearest(2**out.fraction / (1 + math.exp(-i / 2**TABLE_FRACTION))))
        for i in range(-128, 129 if fine else 128)
    ]
    values = curve(f"sigmoid{out.fraction}", entries, f"sigmoid((i-128)/16) * 2^{out.fraction}")
    return lookup(values, acc, fraction, TABLE_FRACTION, fine)


def _backward(g: Expr, a: Expr, out: Format) -> Expr:
    slope = rounded_shift(a * (2**out.fraction - a), 2 * out.fraction - SLOPE_BITS)
    return sloped(saturate(g), slope)


def _real(z: Real) -> Real:
    return 0.5 * (1.0 + np.tanh(0.5 * z))  # the same, and cannot overflow


def _derivative(z: Real, a: Real) -> Real:
    return a * (1.0 - a)


SIGMOID = Activation("sigmoid", True, _format, _forward, _backward, _real, _derivative)
