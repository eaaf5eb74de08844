"""What the losses of the residual, output less target, share.

Residuals saturate at the range of their format, -4..4 for regression (of z-scores) and -2..2 for
class targets of 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable

from nnhost.fixed import saturate
from nnhost.ir import Expr, Map, maximum, rounded_shift
from nnhost.losses.base import Loss, Outputs, Real, predict_class

#: Fraction bits of the loss, summed over the outputs.
LOSS_FRACTION = 16
CLASS_FRACTION = 14
REGRESSION_FRACTION = 13


def outputs(classes: int) -> int:
    """One output stands for two classes."""
    return 1 if classes == 2 else classes


def fraction(task: str) -> int:
    """Fraction bits of a residual and of its gradient."""
    return REGRESSION_FRACTION if task == "regression" else CLASS_FRACTION


def residual(o: Outputs, k: Expr) -> Expr:
    """Output k less its target, int16 with the fraction bits of delta."""
    target = o.target[k] if o.target.shape else o.wanted(k) * (1 << o.delta_fraction)
    return saturate(rounded_shift(o.logits[k], o.fraction - o.delta_fraction) - target)


def magnitude(x: Expr) -> Expr:
    """|x|; the 0 never wins, it tells the proof the sign."""
    return maximum(maximum(x, 0 - x), 0)


def predict(o: Outputs) -> list[Map]:
    """A lone output is on above one half."""
    return predict_class(o, 1 << (o.fraction - 1))


def scale(count: int) -> float:
    """What one unit of the loss stands for."""
    return 2.0**-LOSS_FRACTION / count


def milli(loss: Expr, count: int) -> Expr:
    """The loss in thousandths."""
    return ((loss >> 8) * 125) // (32 * count)


def make(
    name: str,
    measure: Callable[[Outputs], list[Map]],
    real: Callable[[Real, Real], tuple[float, Real]],
    gradient: float,
) -> Loss:
    """A loss of the residual, whose gradient is `gradient` / K times what `measure` writes."""
    return Loss(
        name=name,
        outputs=outputs,
        delta_fraction=fraction,
        predict=predict,
        measure=measure,
        scale=scale,
        milli=milli,
        gradient_scale=lambda count: gradient / count,
        real=real,
        real_targets=True,
    )
