"""Mean absolute error of linear outputs: loss = mean |y - t|, gradient sign(y - t) / K.

At y = t the gradient is 0. Outliers pull no harder than other rows: the median is learned.
"""

from __future__ import annotations

import numpy as np

from nnhost.ir import INT16, Buffer, Const, Map, Var, total
from nnhost.losses import residual
from nnhost.losses.base import Outputs, Real, loss_buffer


def _measure(o: Outputs) -> list[Map]:
    k = Var("k", o.count)
    error = Buffer("residual", (o.count,), INT16, doc="output - target")
    e = error[k]
    one = 1 << o.delta_fraction
    sign = (Const(0) < e) * one - (e < Const(0)) * one
    loss = total(k, residual.magnitude(e) * (1 << (residual.LOSS_FRACTION - o.delta_fraction)))
    return [
        Map("residual", error, (k,), residual.residual(o, k), doc="output - target"),
        Map("delta_out", o.delta, (k,), sign, doc="sign of the residual"),
        Map("loss", loss_buffer(loss), (), loss, doc="sum of absolute errors"),
    ]


def _real(z: Real, t: Real) -> tuple[float, Real]:
    error = z - t
    return float(np.abs(error).mean()), np.sign(error) / len(z)


MAE = residual.make("mae", _measure, _real, 1.0)
