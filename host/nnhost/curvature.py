"""The host's part of K-FAC: the inverse factors of a layer's curvature, from the net's integers.

Some rows of the training set go through the net as it stands, in the integers of its own Program,
all rows at once. A is the sum of a a^T over a layer's inputs a, G that of delta delta^T over its
deltas, for every class in proportion to how far the net believes in it (Fisher's information, not
the gradients met; Kunstner, Hennig and Balles, 2019, say why that matters). Both are exact. They
are damped in proportion to their mean eigenvalues (Martens and Grosse, 2015, section 6.3) and
inverted by elementary operations in a fixed order, so that every machine finds the same bits.
Scaled to leave the length of mean inputs and deltas as it is, they go with any learning rate.

Nothing is remembered: the weights alone tell the factors, so training can go on from any state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnhost.fixed import Format
from nnhost.generate import Network
from nnhost.ir import Buffer, Const, Expr, Load, Map, Op, Program, Reduce, Var, substitute
from nnhost.layers.dense import INVERSE
from nnhost.plan import Plan, Samples
from nnhost.simulator import Integers, Simulator, pack, unpack

Real = NDArray[np.float64]

#: Rows that tell the curvature, at most, and how many go through the net at once.
ROWS, AT_ONCE = 256, 32
#: What the beliefs of a row add up to.
ONE = 1 << 15


class Curvature:
    """The inverse factors of a net at any of its weights, found anew `every` so many steps."""

    def __init__(
        self, plan: Plan, program: Program, samples: Samples, every: int, damping: float
    ) -> None:
        self.every = every
        self._plan, self._state, self._samples = plan, program.state, samples
        self._damping = damping
        curved = [p.curvature for p in plan.layers if p.curvature]
        self._formats = [form for c in curved for form in (c.inputs, c.outputs)]
        self.buffers = tuple(b for b in program.state if INVERSE in b.name)
        """What a refresh writes, layer by layer for inputs and outputs: neighbours in the state."""
        self.begin = sum(b.bytes for b in program.state[: program.state.index(self.buffers[0])])
        """Where they begin in the state, in bytes."""
        self.end = self.begin + sum(b.bytes for b in self.buffers)
        """Where they end."""
        self._sources = ["x", *(b.name for b in program.trace[:-1])]
        count = min(plan.rows, AT_ONCE)
        total = count * (min(plan.rows, ROWS) // count)
        self.rows = np.arange(total) * plan.rows // total
        """Those that tell the curvature."""
        self._many_rows = self.rows.reshape(-1, count)
        self._many = Simulator(over_rows(program, count))
        # The chance of a unit to rest is read, though none is drawn.
        self._many.memory |= {
            b.name: np.zeros(b.shape, np.int64) for b in self._many.program.buffers
        }

    def due(self, step: int) -> bool:
        """Whether the factors change before a step, counted from 1."""
        return step > 1 and (step - 1) % self.every == 0

    def refresh(self, memory: dict[str, Any]) -> None:
        """Write the inverse factors of a simulator's weights into its memory."""
        factors = [np.zeros(b.shape, np.int64) for b in self.buffers]
        for inputs, deltas, weights in self._passes(memory):
            for a, x in zip(factors[0::2], inputs, strict=True):
                a += x.T @ x
            for g, of_classes in zip(factors[1::2], deltas, strict=True):
                for d, w in zip(of_classes, weights, strict=True):
                    g += (d.T * w) @ d
        for b, factor, form in zip(self.buffers, factors, self._formats, strict=True):
            memory[b.name] = inverted(factor, self._damping, form)

    def refreshed(self, state: bytes) -> bytes:
        """A state with the inverse factors of its weights."""
        memory = unpack(self._state, state)
        self.refresh(memory)
        return b"".join(pack(b, memory[b.name]) for b in self._state)

    def _passes(
        self, memory: Mapping[str, Any]
    ) -> Iterator[tuple[list[Integers], list[list[Integers]], list[Integers]]]:
        """Of some rows: inputs (rows, n + 1) of each layer; for each layer and class the deltas
        (rows, K); and how far each class is believed in, (rows,). A real target is believed."""
        plan, many, layers = self._plan, self._many, self._plan.layers
        many.memory |= {b.name: memory[b.name] for b in self._state}
        for rows in self._many_rows:
            many.memory["x"] = self._samples.x[rows].astype(np.int64)
            many.run("forward")
            inputs = [
                np.column_stack([many.memory[source], np.full(len(rows), 1 << p.input.fraction)])
                for source, p in zip(self._sources, layers, strict=True)
            ]
            targets = [np.full(len(rows), c) for c in range(max(2, len(plan.classes)))]
            if plan.task == "regression":
                targets = [self._samples.target[rows]]
            deltas: list[list[Integers]] = [[] for _ in layers]
            losses = []
            for target in targets:
                many.memory["target"] = target
                many.run("measure")
                many.run("backward")
                losses.append(many.memory["loss"])
                for p, found in zip(layers, deltas, strict=True):
                    found.append(many.memory[f"delta{p.number}"])
            yield inputs, deltas, beliefs(losses, plan.loss.scale(1))


def curvature_of(network: Network) -> Curvature | None:
    """The curvature where the optimizer wants it."""
    if network.plan.layers[0].curvature is None:
        return None
    train = network.project.train
    return Curvature(network.plan, network.program, network.train, train.kfac_every, train.damping)


def beliefs(losses: list[Integers], unit: float) -> list[Integers]:
    """exp(-loss), of each row ONE together but for rounding, for the losses (rows,) of each class
    in multiples of `unit`: the classes' probabilities, as the loss takes them."""
    least = np.min(losses, axis=0)
    powers = [
        np.floor(ONE * np.exp(-unit * (found - least)) + 0.5).astype(np.int64) for found in losses
    ]
    mass = np.sum(powers, axis=0)
    return [ONE * power // mass for power in powers]


def inverted(factor: Integers, damping: float, form: Format) -> Integers:
    """The damped inverse of a factor, (n, n) and not negative, in its format.

    With M of mean eigenvalue 1, it is c (M + damping I)^-1 where c leaves tr(M) as it is, or is
    smaller, so that nothing saturates. The identity if the factor is 0.
    """
    n = len(factor)
    size = math.fsum(np.diagonal(factor).tolist()) / n
    if not size:
        return np.eye(n, dtype=np.int64) << form.fraction
    inverse = factor / size + damping * np.eye(n)
    for k in range(n):  # Gauss and Jordan; positive definite, so that no pivot is sought
        pivot = inverse[k, k]
        row = inverse[k] / pivot
        column = inverse[:, k].copy()
        inverse -= column[:, None] * row
        inverse[:, k] = -column / pivot
        inverse[k] = row
        inverse[k, k] = 1 / pivot
    # The trace of N M N, where N = (M + damping I)^-1 and so M N = I - damping N.
    trace = math.fsum(np.diagonal(inverse).tolist())
    left = trace - damping * math.fsum(np.ravel(inverse * inverse).tolist())
    most = (form.interval.hi * 2.0**-form.fraction) / float(np.max(np.abs(inverse)))
    return form.quantise(inverse * min(math.sqrt(n / left), most))


def over_rows(program: Program, rows: int) -> Program:
    """What a Program computes of a sample, for many at once: all but its state has rows. Nothing
    is trained meanwhile, so that dropout lets no unit rest."""
    row = Var("row", rows)
    shared = set(program.state)
    known: dict[Buffer, Buffer] = {}

    def lifted(b: Buffer) -> Buffer:
        if b in shared or b.role == "table":
            return b
        return known.setdefault(b, replace(b, shape=(rows, *b.shape)))

    def expression(e: Expr) -> Expr:
        match e:
            case Load(buffer, index):
                found = lifted(buffer)
                inside = tuple(expression(i) for i in index)
                return Load(found, inside if found is buffer else (row, *inside))
            case Op(name, args):
                return Op(name, tuple(expression(a) for a in args))
            case Reduce(name, var, body, init):
                return Reduce(name, var, expression(body), expression(init))
        return e

    training = next((b() for b in program.buffers if b.name == "training"), Const(0))

    def wanted(m: Map) -> bool:
        return m.when is None or substitute(m.when, training, Const(0)) == Const(1)

    sections = {
        name: [
            Map(m.name, lifted(m.dst), (row, *m.index), expression(m.expr), doc=m.doc)
            for m in program.sections[name]
            if wanted(m)
        ]
        for name in ("forward", "measure", "backward")
    }
    sample = tuple(lifted(b) for b in program.sample)
    return Program({"init": [], **sections}, program.state, sample)
