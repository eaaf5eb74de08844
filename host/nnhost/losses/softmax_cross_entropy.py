"""Softmax with cross-entropy: loss = -ln p_y, gradient p - onehot(y).

Label smoothing spreads a share of the wanted 1 over all classes (Szegedy et al., 2016).

In fixed point (see docs/semantics.md): the largest logit is subtracted at full width, the
difference is rounded to sixteenths and clamped to 255, exp comes from a table, and the quotients
are rounded divisions. The loss is in 256ths of a nat: 16 d_y + ln(sum), the logarithm by its
bit length and a table.
"""

from __future__ import annotations

import numpy as np

from nnhost.fixed import EXP, LN, nearest
from nnhost.ir import (
    INT16,
    UINT8,
    Buffer,
    Const,
    Expr,
    Interval,
    Map,
    Var,
    clamp,
    maximum,
    minimum,
    op,
    rounded_shift,
    sel,
    total,
)
from nnhost.losses.base import Loss, Outputs, Real, loss_buffer, predict_class

ONE = 32768
LN_2 = 177  # ln 2 in 256ths


def smoothed(smoothing: float, count: int) -> tuple[int, int]:
    """What the right class and each other one want, in units of 2^-15; together ONE."""
    off = nearest(ONE * smoothing / count)
    return ONE - (count - 1) * off, off


def gap(top: Expr, logit: Expr, shift: int) -> Expr:
    """How far a logit is below the largest, in 16ths, at most 255."""
    return clamp(rounded_shift(top - logit, shift), UINT8)


def share(power: Expr, mass: Expr) -> Expr:
    """A power's share of their sum, in 2^-15."""
    return ((power << 15) + (mass >> 1)) // mass


def gradient(part: Expr, wanted: Expr) -> Expr:
    """softmax - target, in 2^-15."""
    return minimum(maximum(part - wanted, INT16.lo), INT16.hi)


def _predict(o: Outputs) -> list[Map]:
    return predict_class(o, 0)


def _measure(o: Outputs) -> list[Map]:
    count = o.count
    k = Var("k", count)
    gaps = Buffer("gap", (count,), UINT8, doc="distance to the largest logit, in 16ths")
    mass = Buffer("mass", (), Interval(ONE, ONE * count), doc="sum of exponentials x 2^15")
    away = gap(o.top(), o.logits[k], o.fraction - 4)
    power = EXP[gaps[k]]
    # The bit length of the sum less sixteen: how often it can be halved above 2^16.
    halvings = Const(0) + sum(
        (op("lt", (65536 << i) - 1, mass()) for i in range((ONE * count).bit_length() - 16)),
        Const(0),
    )
    mantissa = clamp(mass() >> (halvings + 8), Interval(128, 255))
    on, off = smoothed(o.smoothing, count)
    away_from_top = 16 * gaps[o.target()]
    if off:
        # The mean distance as the smoothed target weighs the classes.
        weighed = gaps[o.target()] * (on - off) + total(k, gaps[k]) * off
        away_from_top = rounded_shift(weighed, 11)
    loss = away_from_top + LN_2 * halvings + LN[mantissa - 128]
    wanted = sel(o.wanted(k), on, off) if off else ONE * o.wanted(k)
    return [
        Map("gap", gaps, (k,), away, doc="(top - logit) in 16ths, at most 255"),
        # exp(0) is in the sum, so the maximum never acts: it tells the proof so.
        Map("mass", mass, (), maximum(total(k, power), ONE), doc="sum of exp(-gap/16)"),
        Map("loss", loss_buffer(loss), (), loss, doc="-ln softmax[target], in 256ths"),
        Map(
            "delta_out",
            o.delta,
            (k,),
            gradient(share(power, mass()), wanted),
            doc="softmax - onehot",
        ),
    ]


def _milli(loss: Expr, count: int) -> Expr:
    return rounded_shift(loss * 1000, 8)


def _real(z: Real, t: Real) -> tuple[float, Real]:
    z = z - z.max()
    e = np.exp(z)
    mass = e.sum()
    return float(np.log(mass) - z @ t), e / mass - t


SOFTMAX_CROSS_ENTROPY = Loss(
    name="softmax-cross-entropy",
    outputs=lambda classes: classes,
    delta_fraction=lambda task: 15,
    predict=_predict,
    measure=_measure,
    scale=lambda count: 2.0**-8,
    milli=_milli,
    gradient_scale=lambda count: 1.0,
    real=_real,
    smooths=True,
)
