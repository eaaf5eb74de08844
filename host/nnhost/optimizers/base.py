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
    slot. `first`, `last`: 1 at the ends of a batch. `decay(x, factor)` multiplies by factor/256
    and `narrow(x)` drops `extra` bits, both rounded stochastically.
    """

    name: str
    weight: Buffer
    slot: Buffer | None
    index: tuple[Var, ...]
    step: Expr
    first: Expr
    last: Expr
    decay: Callable[[Expr, int], Expr]
    narrow: Callable[[Expr], Expr]


@dataclass(frozen=True)
class Optimizer:
    """`slots(batch)`: int16 slots a weight; `update(p, momentum)`: the Maps, momentum in 256ths."""

    name: str
    slots: Callable[[int], int]
    update: Callable[[Parameter, int], list[Map]]
