"""Hard tanh: y = x from -1 to 1, clipped there; the derivative is 1 inside (Collobert, 2004)."""

from __future__ import annotations

import numpy as np

from nnhost.activations.base import Activation, Real
from nnhost.fixed import Format, signed
from nnhost.ir import Const, Expr, clamp, rounded_shift, sel


def _format(bits: int) -> Format:
    return Format(signed(bits), bits)


def _forward(acc: Expr, fraction: int, out: Format, fine: bool) -> Expr:
    return clamp(rounded_shift(acc, fraction - out.fraction), out.interval)


def _backward(g: Expr, a: Expr, out: Format) -> Expr:
    lo, hi = out.interval
    return sel((a > Const(lo)) & (a < Const(hi)), g, 0)


def _real(z: Real) -> Real:
    return np.clip(z, -1.0, 1.0)


def _derivative(z: Real, a: Real) -> Real:
    return (np.abs(z) < 1).astype(z.dtype)


HARD_TANH = Activation("hard-tanh", False, _format, _forward, _backward, _real, _derivative)
