"""SGD with momentum: v = beta * v - lr * g, then w = w + v (Polyak, 1964).

v has more fraction bits than w. It decays at the first sample of a batch and is added to w at the
last, so it is the batch's accumulator as well and a batch costs no memory. Only where the batch's
gradient is to be clipped it is gathered in a second slot.
"""

from __future__ import annotations

from nnhost.fixed import saturate
from nnhost.ir import Load, Map, sel
from nnhost.optimizers.base import GATHERED, VELOCITY, Optimizer, Parameter, gathered


def _update(p: Parameter) -> list[Map]:
    slot = p.slots[0]
    v, weight = Load(slot, p.index), Load(p.weight, p.index)
    doc = "v = beta * v - lr * g"
    if len(p.slots) == 1:
        moved = saturate(sel(p.first, p.decayed(v), v - p.step))
        velocity = [Map(f"velocity_{p.name}", slot, p.index, moved, doc=doc)]
    else:
        moved = saturate(p.kept(v) + p.clipped(Load(p.slots[1], p.index)))
        velocity = [gathered(p), Map(f"velocity_{p.name}", slot, p.index, moved, p.last, doc)]
    return [
        *velocity,
        Map(
            f"update_{p.name}",
            p.weight,
            p.index,
            saturate(weight + p.narrow(v)),
            when=p.last,
            doc="w = w + v",
        ),
    ]


def _slots(batch: int, clips: bool) -> tuple[str, ...]:
    return (VELOCITY, GATHERED) if clips and batch > 1 else (VELOCITY,)


MOMENTUM = Optimizer("momentum", _slots, True, _update)
