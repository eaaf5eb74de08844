"""AdaGrad: v = v + g^2, then w = w - lr * g / sqrt(v) (Duchi, Hazan and Singer, 2011)."""

from __future__ import annotations

from nnhost.fixed import saturate
from nnhost.floating import added
from nnhost.ir import Load, Map
from nnhost.optimizers.base import GRADIENT, SQUARE, Optimizer, Parameter, batch_gradient


def _update(p: Parameter) -> list[Map]:
    assert p.moments is not None
    gather, g = batch_gradient(p)
    v, weight = Load(p.slots[0], p.index), Load(p.weight, p.index)
    square = added(v, g, p.moments.noise(16))
    moved = saturate(weight - p.moments.change(g, v))
    return [
        *gather,
        Map(f"square_{p.name}", p.slots[0], p.index, square, p.last, "the sum of g * g"),
        Map(f"update_{p.name}", p.weight, p.index, moved, p.last, "w - lr * g / sqrt(v)"),
    ]


def _slots(batch: int, clips: bool) -> tuple[str, ...]:
    return (SQUARE,) if batch == 1 else (SQUARE, GRADIENT)


ADAGRAD = Optimizer("adagrad", _slots, False, _update, lr=0.03125, adaptive=True, decoupled=False)
