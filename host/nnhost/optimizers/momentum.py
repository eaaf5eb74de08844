"""SGD with momentum: v = beta * v - lr * g, then w = w + v (Polyak, 1964).

v has more fraction bits than w. It decays at the first sample of a batch and is added to w at the
last, so it is the batch's accumulator as well and a batch costs no memory.
"""

from __future__ import annotations

from nnhost.fixed import saturate
from nnhost.ir import Load, Map, sel
from nnhost.optimizers.base import VELOCITY, Optimizer, Parameter


def _update(p: Parameter) -> list[Map]:
    slot = p.slots[0]
    v, weight = Load(slot, p.index), Load(p.weight, p.index)
    moved = saturate(sel(p.first, p.decayed(v), v - p.step))
    return [
        Map(f"velocity_{p.name}", slot, p.index, moved, doc="v = beta * v - lr * g"),
        Map(
            f"update_{p.name}",
            p.weight,
            p.index,
            saturate(weight + p.narrow(v)),
            when=p.last,
            doc="w = w + v",
        ),
    ]


MOMENTUM = Optimizer("momentum", lambda batch: (VELOCITY,), True, _update)
