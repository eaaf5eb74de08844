"""What an optimizer says of itself, and what it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnhost.ir import Buffer, Expr, Map, Var


@dataclass(frozen=True)
class Parameter:
    """One trainable tensor during one update, with the gradient of the current sample.

    `weight`: int16 at `index`. `slot`: int16 of the same shape with `extra` more fraction bits
    (None where the optimizer needs none). `step`: learning rate times gradient, in units of the
    slot. `first`, `last`: 1 at the ends of a batch. `decayed(v)` is momentum times v less the step,
    rounded once; `narrow(v)` drops `extra` bits. All three are rounded stochastically.
    """

    name: str
    weight: Buffer
    slot: Buffer | None
    index: tuple[Var, ...]
    step: Expr
    first: Expr
    last: Expr
    decayed: Callable[[Expr], Expr]
    narrow: Callable[[Expr], Expr]


@dataclass(frozen=True)
class Optimizer:
    """`slots(batch)`: int16 slots a weight; `momentum`: whether [train] momentum matters."""

    name: str
    slots: Callable[[int], int]
    momentum: bool
    update: Callable[[Parameter], list[Map]]
