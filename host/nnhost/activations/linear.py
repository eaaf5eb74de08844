"""Linear: y = x, clipped to the format."""

from __future__ import annotations

import numpy as np

from nnhost.activations.base import Activation, Real
from nnhost.fixed import Format, signed
from nnhost.ir import Expr, clamp, rounded_shift


def _format(bits: int) -> Format:
    return Format(signed(bits), bits - 4)


def _forward(acc: Expr, fraction: int, out: Format, fine: bool) -> Expr:
    return clamp(rounded_shift(acc, fraction - out.fraction), out.interval)


def _backward(g: Expr, a: Expr, out: Format) -> Expr:
    return g


def _real(z: Real) -> Real:
    return z


def _derivative(z: Real, a: Real) -> Real:
    return np.ones_like(z)


LINEAR = Activation("linear", False, _format, _forward, _backward, _real, _derivative)
