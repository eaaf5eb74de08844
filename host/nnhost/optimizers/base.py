"""What an optimizer says of itself, and what it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnhost.fixed import saturate
from nnhost.ir import Buffer, Expr, Load, Map, Var, sel

#: What slots hold.
VELOCITY, GATHERED = "velocity", "gathered"


@dataclass(frozen=True)
class Parameter:
    """One trainable tensor during one update, with the gradient of the current sample.

    `weight`: int16 at `index`. `slots`: int16 of the same shape with `extra` more fraction bits, as
    the optimizer asks for. `step`: learning rate times gradient, in units of the slots. `first`,
    `last`: 1 at the ends of a batch. `kept(v)` is momentum times v, `decayed(v)` that less the
    step, rounded once; `narrow(v)` drops `extra` bits. All four are rounded stochastically.
    `clipped(g)` clips what has been gathered over a batch larger than 1; smaller ones have clipped
    steps.
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


@dataclass(frozen=True)
class Optimizer:
    """`slots(batch, clips)`: names of the int16 slots of a weight, `clips` telling whether the
    gradient is clipped; `momentum`: whether [train] momentum matters; `curved`: whether the
    gradient is multiplied with inverse factors of the curvature first."""

    name: str
    slots: Callable[[int, bool], tuple[str, ...]]
    momentum: bool
    update: Callable[[Parameter], list[Map]]
    curved: bool = False


def gathered(p: Parameter) -> Map:
    """The second slot sums the steps of a batch."""
    moved = saturate(sel(p.first, 0, Load(p.slots[1], p.index)) - p.step)
    return Map(f"gather_{p.name}", p.slots[1], p.index, moved, doc="sum of -lr * g over the batch")
