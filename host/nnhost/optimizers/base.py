"""What an optimizer says of itself, and what it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnhost.ir import Buffer, Expr, Map, Var

#: What slots hold.
VELOCITY, GATHERED = "velocity", "gathered"


@dataclass(frozen=True)
class Parameter:
    """One trainable tensor during one update, with the gradient of the current sample.

    `weight`: int16 at `index`. `slots`: int16 of the same shape with `extra` more fraction bits, as
    the optimizer asks for. `step`: learning rate times gradient, in units of the slots. `first`,
    `last`: 1 at the ends of a batch. `kept(v)` is momentum times v, `decayed(v)` that less the
    step, rounded once; `narrow(v)` drops `extra` bits. All four are rounded stochastically.
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


@dataclass(frozen=True)
class Optimizer:
    """`slots(batch)`: names of the int16 slots of a weight; `momentum`: whether [train] momentum
    matters."""

    name: str
    slots: Callable[[int], tuple[str, ...]]
    momentum: bool
    update: Callable[[Parameter], list[Map]]
