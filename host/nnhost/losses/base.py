"""What a loss says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnhost.ir import UINT16, Buffer, Expr, Map, Operand, Var, eq, interval, largest, sel, smallest

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


def loss_buffer(value: Expr) -> Buffer:
    """The buffer that every loss writes its value to."""
    return Buffer("loss", (), interval(value), doc="loss of the sample")
