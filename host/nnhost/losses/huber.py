"""Huber's loss of linear outputs: e^2 / 2 for an error |e| <= 1, |e| - 1/2 beyond; gradient e / K,
clipped to -1..1 / K (Huber, 1964). Squares near the target, absolute values for outliers.
"""

from __future__ import annotations

import numpy as np

from nnhost.ir import INT16, Buffer, Interval, Map, Var, clamp, maximum, minimum, total
from nnhost.losses import residual
from nnhost.losses.base import Outputs, Real, loss_buffer


def _measure(o: Outputs) -> list[Map]:
    k = Var("k", o.count)
    error = Buffer("residual", (o.count,), INT16, doc="output - target")
    e = error[k]
    one = 1 << o.delta_fraction
    size = residual.magnitude(e)
    near = minimum(size, one)
    # With h = min(|e|, 1), both branches are h (2 |e| - h) / 2; |e| >= h tells the proof the sign.
    twice = maximum(2 * size - near, 0)
    loss = total(k, (near * twice) >> (2 * o.delta_fraction + 1 - residual.LOSS_FRACTION))
    return [
        Map("residual", error, (k,), residual.residual(o, k), doc="output - target"),
        Map("delta_out", o.delta, (k,), clamp(e, Interval(-one, one)), doc="clipped residual"),
        Map("loss", loss_buffer(loss), (), loss, doc="sum of Huber's losses"),
    ]


def _real(z: Real, t: Real) -> tuple[float, Real]:
    error = z - t
    near = np.minimum(np.abs(error), 1.0)
    return float((near * (np.abs(error) - near / 2)).mean()), np.clip(error, -1.0, 1.0) / len(z)


HUBER = residual.make("huber", _measure, _real, 1.0)
