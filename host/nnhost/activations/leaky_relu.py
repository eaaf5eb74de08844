"""Leaky ReLU: y = x where x > 0, else x / 8 (Maas et al., 2013; the slope is a shift by three)."""

from __future__ import annotations

import numpy as np

from nnhost.activations.base import Activation, Real
from nnhost.fixed import Format, signed
from nnhost.ir import Const, Expr, clamp, rounded_shift, sel

SLOPE_SHIFT = 3


def _format(bits: int) -> Format:
    return Format(signed(bits), bits - 4)


def _forward(acc: Expr, fraction: int, out: Format, fine: bool) -> Expr:
    y = rounded_shift(acc, fraction - out.fraction)
    return clamp(sel(y < Const(0), y >> SLOPE_SHIFT, y), out.interval)


def _backward(g: Expr, a: Expr, out: Format) -> Expr:
    return sel(a < Const(0), g >> SLOPE_SHIFT, g)


def _real(z: Real) -> Real:
    return np.where(z < 0, z / 2**SLOPE_SHIFT, z)


def _derivative(z: Real, a: Real) -> Real:
    return np.where(z < 0, 2.0**-SLOPE_SHIFT, 1.0).astype(z.dtype)


LEAKY_RELU = Activation("leaky-relu", False, _format, _forward, _backward, _real, _derivative)
