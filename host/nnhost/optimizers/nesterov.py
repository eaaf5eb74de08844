"""Nesterov's accelerated gradient: v = beta * v - lr * g, then w = w + beta * v - lr * g.

The weights are kept where the momentum will carry them, so that the gradient there is the one at
hand (Nesterov, 1983; in this form Sutskever and others, 2013). The gradient is needed twice: with
batch 1 it is computed again, larger batches gather it in a second slot.
"""

from __future__ import annotations

from nnhost.fixed import saturate
from nnhost.ir import Load, Map
from nnhost.optimizers.base import GATHERED, VELOCITY, Optimizer, Parameter, gathered


def _update(p: Parameter) -> list[Map]:
    v, weight = Load(p.slots[0], p.index), Load(p.weight, p.index)
    if len(p.slots) == 1:
        gather, moved = [], saturate(p.decayed(v))
    else:
        g = Load(p.slots[1], p.index)
        gather, moved = [gathered(p)], saturate(p.kept(v) + p.clipped(g))
    return [
        *gather,
        Map(f"velocity_{p.name}", p.slots[0], p.index, moved, p.last, "v = beta * v - lr * g"),
        Map(
            f"update_{p.name}",
            p.weight,
            p.index,
            saturate(weight + p.narrow(moved)),
            p.last,
            "w = w + beta * v - lr * g",
        ),
    ]


def _slots(batch: int, clips: bool) -> tuple[str, ...]:
    return (VELOCITY,) if batch == 1 else (VELOCITY, GATHERED)


NESTEROV = Optimizer("nesterov", _slots, True, _update)
