"""ReLU: y = max(x, 0). The derivative is 1 where y > 0 (Nair and Hinton, 2010)."""

from __future__ import annotations

import numpy as np

from nnhost.activations.base import Activation, Real
from nnhost.fixed import Format, unsigned
from nnhost.ir import Const, Expr, clamp, rounded_shift, sel


def _format(bits: int) -> Format:
    return Format(unsigned(bits), bits - 4)


def _forward(acc: Expr, fraction: int, out: Format, fine: bool) -> Expr:
    return clamp(rounded_shift(acc, fraction - out.fraction), out.interval)


def _backward(g: Expr, a: Expr, out: Format) -> Expr:
    return sel(a > Const(0), g, 0)


def _real(z: Real) -> Real:
    return np.maximum(z, 0.0)


def _derivative(z: Real, a: Real) -> Real:
    return (z > 0).astype(z.dtype)


RELU = Activation("relu", True, _format, _forward, _backward, _real, _derivative)
