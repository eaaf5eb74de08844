"""What a loss says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnhost.ir import (
    UINT16,
    Buffer,
    Expr,
    Map,
    Operand,
    Var,
    clamp,
    eq,
    interval,
    largest,
    rounded_shift,
    sel,
    smallest,
    table,
)

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Outputs:
    """What a loss computes with: the exact sums of the output layer, and the target.

    `logits`: (K,), int32, `fraction` fraction bits. `top`: the largest of them, written with the
    prediction. `target`: a scalar class index, or (K,) int16 with the fraction bits of `delta`.
    `delta`: (K,) int16, the gradient with respect to the logits with `delta_fraction` bits,
    without the loss's `gradient_scale`. `smoothing`: share of the target spread over all classes.
    """

    logits: Buffer
    fraction: int
    top: Buffer
    target: Buffer
    delta: Buffer
    delta_fraction: int
    smoothing: float = 0.0

    @property
    def count(self) -> int:
        """K, the number of outputs."""
        return self.logits.shape[0]

    def wanted(self, k: Expr) -> Expr:
        """1 where output k should be on, for a class index; a lone output stands for class 1."""
        return self.target() if self.count == 1 else eq(self.target(), k)


@dataclass(frozen=True)
class Loss:
    """A loss in fixed point and, independently, in real numbers.

    `outputs(classes)`: how many outputs a classification needs.
    `delta_fraction(task)`: fraction bits of the output gradient.
    `predict(o)`: Maps that write the prediction; `measure(o)`: Maps that write loss and delta.
    `scale(K)`: what one unit of the integer loss stands for; `milli(loss, K)`: in thousandths.
    `gradient_scale(K)`: constant factor of the gradient, folded into the learning rate.
    `real(z, t)`: loss and gradient of the floating-point reference for logits z (K,) and wanted
    outputs t (K,), which are 0 and 1 for classes.
    `real_targets`: whether it learns real numbers; `smooths`: whether it takes label smoothing.
    """

    name: str
    outputs: Callable[[int], int]
    delta_fraction: Callable[[str], int]
    predict: Callable[[Outputs], list[Map]]
    measure: Callable[[Outputs], list[Map]]
    scale: Callable[[int], float]
    milli: Callable[[Expr, int], Expr]
    gradient_scale: Callable[[int], float]
    real: Callable[[Real, Real], tuple[float, Real]]
    real_targets: bool = False
    smooths: bool = False


def first(k: Var, value: Expr, wanted: Expr, last: Operand) -> Expr:
    """The first k at which a value is the one wanted, at most `last`."""
    return smallest(k, sel(eq(value, wanted), k, last))


def predict_class(o: Outputs, threshold: int) -> list[Map]:
    """The first largest output, or whether a lone output lies above `threshold`."""
    if o.count == 1:
        prediction = Buffer("prediction", (), UINT16, doc="predicted class")
        lone = o.logits[0]
        return [Map("predict", prediction, (), lone > threshold, doc="the lone output is on")]
    k = Var("k", o.count)
    prediction = Buffer("prediction", (), UINT16, doc="predicted class")
    return [
        Map("find_top", o.top, (), largest(k, o.logits[k]), doc="the largest logit"),
        Map(
            "predict",
            prediction,
            (),
            first(k, o.logits[k], o.top(), o.count - 1),
            doc="first output that equals the largest",
        ),
    ]


#: A class weight of 1 in units of 2^-15; the largest.
WEIGHT_BITS = 15


def weigh(o: Outputs, loss: Buffer, weights: tuple[int, ...]) -> list[Map]:
    """Maps that weigh a sample's loss and delta with its class's share of the largest weight."""
    k = Var("k", o.count)
    share = table("class_weight", list(weights), "class weights, in 2^-15 of the largest")
    mine = share[o.target()]
    # The loss's upper bits alone, as far as the product has room for them.
    shift = max(0, loss.interval.largest.bit_length() - WEIGHT_BITS)
    weighed = rounded_shift((loss() >> shift) * mine, WEIGHT_BITS - shift)
    delta = rounded_shift(o.delta[k] * mine, WEIGHT_BITS)
    return [
        Map("weigh_loss", loss, (), clamp(weighed, loss.interval), doc="as the class counts"),
        Map("weigh_delta", o.delta, (k,), delta, doc="as the class counts"),
    ]


def loss_buffer(value: Expr) -> Buffer:
    """The buffer that every loss writes its value to."""
    return Buffer("loss", (), interval(value), doc="loss of the sample")
