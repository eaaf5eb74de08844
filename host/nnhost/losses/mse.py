"""Mean squared error of linear outputs: loss = mean (y - t)^2, gradient 2 (y - t) / K.

Errors saturate at the range of their format, -4..4 for regression (of z-scores) and -2..2 for
class targets of 0 and 1; a saturated error acts as a clipped gradient.
"""

from __future__ import annotations

from nnhost.fixed import saturate
from nnhost.ir import Expr, Map, Var, rounded_shift, total
from nnhost.losses.base import Loss, Outputs, Real, loss_buffer, predict_class

CLASS_FRACTION = 14
REGRESSION_FRACTION = 13


def _target(o: Outputs, k: Expr) -> Expr:
    if o.target.shape:
        return o.target[k]
    return o.wanted(k) * (1 << o.delta_fraction)


def _predict(o: Outputs) -> list[Map]:
    return predict_class(o, 1 << (o.fraction - 1))


def _measure(o: Outputs) -> list[Map]:
    k = Var("k", o.count)
    error = rounded_shift(o.logits[k], o.fraction - o.delta_fraction) - _target(o, k)
    # A square has up to 30 bits: the sum keeps 16 fraction bits of it.
    square = (o.delta[k] * o.delta[k]) >> (2 * o.delta_fraction - LOSS_FRACTION)
    loss = total(k, square)
    return [
        Map("delta_out", o.delta, (k,), saturate(error), doc="output - target"),
        Map("loss", loss_buffer(loss), (), loss, doc="sum of squared errors"),
    ]


LOSS_FRACTION = 16


def _milli(loss: Expr, count: int) -> Expr:
    return ((loss >> 8) * 125) // (32 * count)


def _real(z: Real, t: Real) -> tuple[float, Real]:
    error = z - t
    return float(error @ error) / len(z), 2.0 * error / len(z)


MSE = Loss(
    name="mse",
    outputs=lambda classes: 1 if classes == 2 else classes,
    delta_fraction=lambda task: REGRESSION_FRACTION if task == "regression" else CLASS_FRACTION,
    predict=_predict,
    measure=_measure,
    scale=lambda count: 2.0**-LOSS_FRACTION / count,
    milli=_milli,
    gradient_scale=lambda count: 2.0 / count,
    real=_real,
)
