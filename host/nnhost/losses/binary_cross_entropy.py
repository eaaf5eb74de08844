"""Binary cross-entropy of sigmoid outputs: loss = mean -(t ln p + (1-t) ln(1-p)), gradient p - t.

One output for two classes, else one output a class (one against all). The sigmoid and ln(1+e^-z)
are tables over |z| in sixteenths up to 16; the loss is summed in 256ths of a nat.
"""

from __future__ import annotations

import math

import numpy as np

from nnhost.fixed import nearest, saturate
from nnhost.ir import (
    UINT8,
    Buffer,
    Const,
    Expr,
    Map,
    Var,
    clamp,
    maximum,
    rounded_shift,
    sel,
    table,
    total,
)
from nnhost.losses.base import Loss, Outputs, Real, loss_buffer, predict_class

ONE = 32768

#: 2^15 / (1 + exp(-i/16)): the sigmoid of a non-negative logit.
LOGISTIC = table(
    "logistic", [nearest(ONE / (1 + math.exp(-i / 16))) for i in range(256)], "2^15 sigmoid(i/16)"
)
#: ln(1 + exp(-i/16)) * 2^8.
SOFTPLUS = table(
    "softplus", [nearest(256 * math.log1p(math.exp(-i / 16))) for i in range(256)], "256 ln(1+e^-x)"
)


def _predict(o: Outputs) -> list[Map]:
    return predict_class(o, 0)


def _measure(o: Outputs) -> list[Map]:
    k = Var("k", o.count)
    size = Buffer("size", (o.count,), UINT8, doc="|logit| in 16ths")
    z = o.logits[k]
    magnitude = rounded_shift(maximum(z, 0 - z), o.fraction - 4)
    on = LOGISTIC[size[k]]
    p = sel(z < Const(0), ONE - on, on)
    positive = Const(0) < z
    wrong = sel(o.wanted(k), z < Const(0), positive)
    loss = total(k, 16 * size[k] * wrong + SOFTPLUS[size[k]])
    return [
        Map("size", size, (k,), clamp(magnitude, UINT8), doc="|logit| in 16ths, at most 255"),
        Map("loss", loss_buffer(loss), (), loss, doc="cross-entropy, in 256ths"),
        Map("delta_out", o.delta, (k,), saturate(p - ONE * o.wanted(k)), doc="sigmoid - target"),
    ]


def _milli(loss: Expr, count: int) -> Expr:
    return (loss * 125) // (32 * count)


def _real(z: Real, t: Real) -> tuple[float, Real]:
    p = 0.5 * (1.0 + np.tanh(0.5 * z))  # the logistic sigmoid, which cannot overflow so
    loss = np.maximum(z, 0.0) - z * t + np.log1p(np.exp(-np.abs(z)))
    return float(loss.mean()), (p - t) / len(z)


BINARY_CROSS_ENTROPY = Loss(
    name="binary-cross-entropy",
    outputs=lambda classes: 1 if classes == 2 else classes,
    delta_fraction=lambda task: 15,
    predict=_predict,
    measure=_measure,
    scale=lambda count: 2.0**-8 / count,
    milli=_milli,
    gradient_scale=lambda count: 1.0 / count,
    real=_real,
)
