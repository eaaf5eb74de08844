"""Dropout: hidden units rest by chance while a step trains (Srivastava and others, 2014).

As published: a step takes a unit's output as it is, or 0; without training every output counts,
times the share that is kept. Nothing then has to be scaled up, which would leave the format.
"""

from __future__ import annotations

from dataclasses import replace

from nnhost.activations import ACTIVATIONS
from nnhost.ir import (
    INT16,
    UINT16,
    Buffer,
    Const,
    Draw,
    Expr,
    Interval,
    Load,
    Map,
    Var,
    eq,
    rounded_shift,
    sel,
)
from nnhost.plan import LayerPlan


def training_flag() -> Buffer:
    """1 in a step, whose begin sets it, as it does `first` and `last`; 0 in an evaluation."""
    return Buffer("training", (), Interval(0, 1), "input", doc="a step is under way")


def no_training(name: str, flag: Buffer) -> Map:
    """What a step ends with: whatever follows without the begin of another is an evaluation."""
    return Map(name, flag, (), Const(0), doc="no step is under way")


class Dropout:
    """Dropout of a hidden layer's outputs `out`, of which `plan.keep` 256ths are kept. `flag`: of
    `training_flag`, or None where batches are learned from on their own and steps evaluate."""

    def __init__(self, plan: LayerPlan, out: Buffer, flag: Buffer | None) -> None:
        self.plan, self.out, self.flag = plan, out, flag
        doc = f"which units of layer {plan.number} rest"
        self.chance = Buffer(f"chance{plan.number}", (plan.fan_out,), UINT16, doc=doc)

    def _kept(self, unit: Var, value: Load) -> Expr:
        return sel(self.chance[unit] >> 8 < Const(self.plan.keep), value, 0)

    def forward(self) -> list[Map]:
        """Draw who rests, and let them rest; or, without training, scale all outputs."""
        o, n = Var("o", self.plan.fan_out), self.plan.number
        scaled = rounded_shift(self.out[o] * self.plan.keep, 8)
        keep = Map(f"keep{n}", self.out, (o,), scaled, doc="none rests, all weigh less")
        if self.flag is None:
            return [keep]
        train = self.flag()
        return [
            *(replace(m, when=train) for m in self.rest()),
            replace(keep, when=eq(train, 0)),
        ]

    def rest(self) -> list[Map]:
        """Draw who rests, and let them rest."""
        o, n = Var("o", self.plan.fan_out), self.plan.number
        kept = self._kept(o, self.out[o])
        return [
            Map(f"draw_chance{n}", self.chance, (o,), Draw(), doc="a number a unit"),
            Map(f"drop{n}", self.out, (o,), kept, doc="some units rest"),
        ]

    def backward(self, delta: Buffer) -> list[Map]:
        """No gradient for those who rest; nothing to do where an output of 0 has none anyway."""
        p, j = self.plan, Var("j", self.plan.fan_out)
        assert p.activation is not None
        assert p.output is not None
        any_gradient = Buffer("g", (), INT16)()
        if ACTIVATIONS[p.activation].backward(any_gradient, Const(0), p.output) == Const(0):
            return []
        doc = "no gradient for units at rest"
        return [Map(f"drop_delta{p.number}", delta, (j,), self._kept(j, delta[j]), doc=doc)]
