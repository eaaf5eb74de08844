"""What an optimizer says of itself, and what it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnhost.fixed import saturate
from nnhost.ir import INT16, UINT16, Buffer, Expr, Interval, Load, Map, Var, sel
from nnhost.optimizers.adaptive import Moments

#: What slots hold: a fixed point in 16 bits, or a code of `nnhost.floating`.
VELOCITY, GATHERED = "velocity", "gathered"
MOMENT, SQUARE, GRADIENT = "moment", "square", "gradient"
SLOT_TYPES: dict[str, Interval] = {
    VELOCITY: INT16, GATHERED: INT16, MOMENT: INT16, GRADIENT: INT16, SQUARE: UINT16,
}  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """One trainable tensor during one update, with the gradient of the current sample.

    `weight`: int16 at `index`. `slots`: int16 of the same shape with `extra` more fraction bits, as
    the optimizer asks for. `step`: learning rate times gradient, in units of the slots. `first`,
    `last`: 1 at the ends of a batch. `kept(v)` is momentum times v, `decayed(v)` that less the
    step, rounded once; `narrow(v)` drops `extra` bits. All four are rounded stochastically.
    `clipped(g)` clips what has been gathered over a batch larger than 1; smaller ones have clipped
    steps.

    Of an adaptive optimizer `step` is the gradient alone, in units of the slots, and there are
    `moments`.
    """

    name: str
    weight: Buffer
    slots: tuple[Buffer, ...]
    index: tuple[Var, ...]
    step: Expr
    first: Expr
    last: Expr
    kept: Callable[[Expr], Expr]
    decayed: Callable[[Expr], Expr]
    narrow: Callable[[Expr], Expr]
    clipped: Callable[[Expr], Expr]
    moments: Moments | None = None


@dataclass(frozen=True)
class Optimizer:
    """`slots(batch, clips)`: names of the slots of a weight, `clips` telling whether the gradient
    is clipped; `momentum`: whether [train] momentum matters; `curved`: whether the gradient is
    multiplied with inverse factors of the curvature first; `lr`, `l2`: defaults of those keys.

    An `adaptive` one divides by the root of the gradient's square. `averages`: the keys of [train]
    that say how it forgets; `corrected`: whether its averages are free of their start. `decoupled`:
    whether weights decay beside their gradient, or the decay is a part of it.
    """

    name: str
    slots: Callable[[int, bool], tuple[str, ...]]
    momentum: bool
    update: Callable[[Parameter], list[Map]]
    curved: bool = False
    lr: float = 0.03125
    l2: float = 0.0
    adaptive: bool = False
    averages: tuple[str, ...] = ()
    corrected: bool = True
    decoupled: bool = True


def gathered(p: Parameter) -> Map:
    """The second slot sums the steps of a batch."""
    moved = saturate(sel(p.first, 0, Load(p.slots[1], p.index)) - p.step)
    return Map(f"gather_{p.name}", p.slots[1], p.index, moved, doc="sum of -lr * g over the batch")


def batch_gradient(p: Parameter) -> tuple[list[Map], Expr]:
    """The gradient at the end of a batch, clipped and with its decay, for an adaptive optimizer,
    and the Maps that gather it in the last slot if the batch is larger than 1."""
    assert p.moments is not None
    if GRADIENT not in p.slots[-1].name:
        return [], p.moments.with_decay(saturate(p.step))
    slot = Load(p.slots[-1], p.index)
    gathered = saturate(sel(p.first, 0, slot) + p.step)
    gather = Map(f"gather_{p.name}", p.slots[-1], p.index, gathered, doc="mean of g over the batch")
    return [gather], p.moments.with_decay(p.clipped(slot))
