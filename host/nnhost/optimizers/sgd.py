"""Stochastic gradient descent: w = w - lr * g, over mini-batches when the batch is larger than 1.

With batch 1 the weight is the only state. Larger batches gather -lr * g in a slot with more
fraction bits than the weight and add it at the batch's end (Robbins and Monro, 1951).
"""

from __future__ import annotations

from nnhost.fixed import saturate
from nnhost.ir import Load, Map, sel
from nnhost.optimizers.base import VELOCITY, Optimizer, Parameter


def _update(p: Parameter) -> list[Map]:
    weight = Load(p.weight, p.index)
    if not p.slots:
        return [
            Map(f"update_{p.name}", p.weight, p.index, saturate(weight - p.step), doc="w - lr * g")
        ]
    slot = Load(p.slots[0], p.index)
    gathered = saturate(sel(p.first, 0, slot) - p.step)
    return [
        Map(f"gather_{p.name}", p.slots[0], p.index, gathered, doc="sum of -lr * g over the batch"),
        Map(
            f"update_{p.name}",
            p.weight,
            p.index,
            saturate(weight + p.narrow(p.clipped(slot))),
            when=p.last,
            doc="w + the gathered step",
        ),
    ]


SGD = Optimizer("sgd", lambda batch, clips: () if batch == 1 else (VELOCITY,), False, _update)
