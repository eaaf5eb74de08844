"""Adam: m and v are averages of g and g^2 without bias, then w = w - lr * m / sqrt(v).

Kingma and Ba, 2015. Weight decay is a part of the gradient; see AdamW for the other way.
"""

from __future__ import annotations

from nnhost.fixed import saturate
from nnhost.floating import SHARE_BITS, mixed
from nnhost.ir import Load, Map
from nnhost.optimizers.adaptive import averaged
from nnhost.optimizers.base import GRADIENT, MOMENT, SQUARE, Optimizer, Parameter, batch_gradient


def _update(p: Parameter) -> list[Map]:
    assert p.moments is not None
    gather, g = batch_gradient(p)
    m, v, weight = (Load(b, p.index) for b in (*p.slots[:2], p.weight))
    newest, newest_square = p.moments.shares
    moment = averaged(m, g, newest, p.moments.noise(SHARE_BITS))
    square = mixed(v, g, newest_square, p.moments.noise(16))
    moved = saturate(weight - p.moments.change(m, v))
    return [
        *gather,
        Map(f"moment_{p.name}", p.slots[0], p.index, moment, p.last, "the average of g"),
        Map(f"square_{p.name}", p.slots[1], p.index, square, p.last, "the average of g * g"),
        Map(f"update_{p.name}", p.weight, p.index, moved, p.last, "w - lr * m / sqrt(v)"),
    ]


def _slots(batch: int, clips: bool) -> tuple[str, ...]:
    return (MOMENT, SQUARE) if batch == 1 else (MOMENT, SQUARE, GRADIENT)


ADAM = Optimizer(
    "adam", _slots, False, _update, lr=0.002, adaptive=True, averages=("beta1", "beta2"),
    decoupled=False,
)  # fmt: skip
