"""Passes: Maps that an 8051 computes as a whole, over weights in planes.

`find` recognises them by patterns, as `nnhost.kernels.rules` does for loops; `nnhost.kernels.
mcs51_asm` writes the assembly of each for its sizes. A Map that also computes something else keeps
that as a rest in C, which reads what the pass has left in a buffer of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from nnhost.fixed import saturate
from nnhost.ir import (
    INT8,
    INT16,
    UINT8,
    UINT16,
    Buffer,
    Const,
    Draw,
    Expr,
    Interval,
    Load,
    Map,
    Program,
    Reduce,
    Var,
    c_type,
    clamp,
    interval,
    rounded_shift,
    sel,
    substitute,
    total,
    walk,
)
from nnhost.kernels.planes import BLOCK, LONGEST, Matrix
from nnhost.kernels.rules import Found, Hole, match
from nnhost.layers.dense import row_factor

#: The sections of a training step.
STEP = ("forward", "measure", "backward", "update")


@dataclass(frozen=True)
class Pass:
    """`kernel`: the function to call, None where an earlier pass has done this Map's work. `rest`:
    what remains to be done in C after the call."""

    name: str
    matrix: Matrix
    kernel: str | None
    rest: Map | None

    @property
    def calls(self) -> list[str]:
        """The functions that do the Map's work."""
        own = [f"nn_map_{self.name}"] if self.rest else []
        return [self.kernel, *own] if self.kernel else own

    @property
    def inside(self) -> tuple[Buffer, ...]:
        """What the pass wants in internal RAM."""
        return ()

    @property
    def outside(self) -> tuple[Buffer, ...]:
        """What it wants in external RAM."""
        return ()

    @property
    def other(self) -> tuple[Buffer, ...]:
        """What may be anywhere."""
        return ()


@dataclass(frozen=True)
class Sums(Pass):
    """The sums of a layer: `result` = sum of seen weights times `source`, and the seen bias times
    `one`. With a `shift`, it is shifted right, rounded, and clamped to the 8 bits of `result`."""

    source: Buffer
    one: int
    result: Buffer
    shift: int | None

    @property
    def inside(self) -> tuple[Buffer, ...]:
        """See `Pass.inside`."""
        return (self.source,)

    @property
    def other(self) -> tuple[Buffer, ...]:
        """See `Pass.other`."""
        return (self.result,)


@dataclass(frozen=True)
class Gradient(Pass):
    """`result` = seen weights, transposed, times `seen`: in 32 bits or, in 16 bits, shifted
    right by a `shift` that is not positive, and saturated; 0 where `gate` is 0."""

    seen: Buffer
    result: Buffer
    shift: int | None
    gate: Buffer | None

    @property
    def inside(self) -> tuple[Buffer, ...]:
        """See `Pass.inside`."""
        return (self.seen, self.gate) if self.gate else (self.seen,)

    @property
    def other(self) -> tuple[Buffer, ...]:
        """See `Pass.other`."""
        return (self.result,)


@dataclass(frozen=True)
class Factors:
    """How a step finds the factor of a row by itself: (delta * rate + dither) >> shift, with one
    random number for the dither and one for that of the row's weights."""

    delta: Buffer
    rate: Expr
    shift: int


@dataclass(frozen=True)
class Step(Pass):
    """Weights and biases less the step of SGD: `source` or `one` times the row's factor, which
    is drawn by `drawn`, or lies in `factor` with its random numbers in `draws`."""

    source: Buffer
    one: int
    factor: Buffer
    draws: Buffer
    drawn: Factors | None = None

    @property
    def inside(self) -> tuple[Buffer, ...]:
        """See `Pass.inside`."""
        return (self.source,)

    @property
    def outside(self) -> tuple[Buffer, ...]:
        """See `Pass.outside`."""
        return (self.drawn.delta,) if self.drawn else (self.factor, self.draws)

    @property
    def other(self) -> tuple[Buffer, ...]:
        """See `Pass.other`."""
        rate = self.drawn.rate if self.drawn else None
        return (rate.buffer,) if isinstance(rate, Load) else ()


_ROW, _COLUMN = Var("row", LONGEST), Var("column", LONGEST)
_WEIGHT = Hole("weight", (LONGEST, LONGEST), INT16)
_BIAS = Hole("bias", (LONGEST,), INT16)
_ONE = Hole("one", (), Interval(1, 255))
_FACTOR = Hole("factor", (LONGEST,), INT16)
_DRAWS = Hole("draws", (LONGEST, 2), UINT16)
_OFFSET = Hole("offset", (), UINT16)
_DELTA = Hole("delta", (LONGEST,), INT16)
_RATE = Hole("rate", (), UINT8)
_SEEN = Hole("seen", (LONGEST,), INT8)
_X = (Hole("x", (LONGEST,), UINT8), Hole("x", (LONGEST,), INT8))
_SHORT = Var("row", BLOCK)


def _sums(x: Hole) -> Expr:
    start = (_BIAS[_ROW] >> 8) * _ONE()
    return total(_COLUMN, (_WEIGHT[_ROW, _COLUMN] >> 8) * x[_COLUMN], start)


def _gradient() -> Expr:
    return total(_ROW, (_WEIGHT[_ROW, _COLUMN] >> 8) * _SEEN[_ROW])


def _stepped(place: Load, x: Expr, column: Expr) -> Expr:
    noise = ((_DRAWS[_ROW, 1] >> 8) + column) & 255
    return saturate(place - ((_FACTOR[_ROW] * x + noise) >> 8))


def find(program: Program) -> dict[str, Pass]:
    """The passes of a Program, by the names of its Maps. There are none unless passes do all that
    a step does with parameters, and the state begins with these."""
    passes: dict[str, Pass] = {}
    matrices: dict[Buffer, Matrix] = {}
    for m in program.sections["forward"]:
        for found, e, x in _sums_in(m):
            weight, bias = found.arrays[_WEIGHT].buffer, found.arrays[_BIAS].buffer
            matrices[weight] = Matrix(weight, bias)
            passes[m.name] = _sums_pass(m, e, matrices[weight], found.arrays[x].buffer, _one(found))
    kept = [b for matrix in matrices.values() for b in matrix.buffers]
    if kept != list(program.state[: len(kept)]):
        return {}
    for m in program.sections["backward"]:
        for found, e in _gradients_in(m):
            matrix = matrices.get(found.arrays[_WEIGHT].buffer)
            if matrix is not None:
                passes[m.name] = _gradient_pass(m, e, matrix, found)
    update = program.sections["update"]
    for at, (first, second) in enumerate(pairwise(update)):
        matrix = matrices.get(first.dst)
        step = matrix and _step_pass(first, second, matrix)
        if step and matrix:
            covered = [second]
            drawn = _factors(update[at - 2 : at], step)
            alone = [m for m in program.maps() if {step.factor, step.draws} & set(buffers(m))]
            if drawn and alone == update[at - 2 : at + 2]:
                step = replace(step, drawn=drawn)
                covered += update[at - 2 : at]
            passes[first.name] = step
            passes |= {m.name: Pass(m.name, matrix, None, None) for m in covered}
    planes = {b for matrix in matrices.values() for b in matrix.buffers}
    touched = (m for name in STEP for m in program.sections[name] if planes & set(buffers(m)))
    return passes if all(m.name in passes for m in touched) else {}


def applied(program: Program, passes: dict[str, Pass]) -> Program:
    """The Program with the rest of each Map in its place, where there is one."""
    sections = {
        name: [(m.name in passes and passes[m.name].rest) or m for m in maps]
        for name, maps in program.sections.items()
    }
    return Program(sections, program.state, program.sample, program.trace)


def needed(program: Program, passes: Mapping[str, Pass]) -> frozenset[Buffer]:
    """The buffers that are there when passes have done their part."""
    found = {*program.state, *program.sample, *program.trace}
    for m in program.maps():
        p = passes.get(m.name)
        found.update(buffers(m) if p is None or p.rest else ())
        found.update((*p.inside, *p.outside, *p.other) if p else ())
    return frozenset(found)


def buffers(m: Map) -> Iterator[Buffer]:
    """What a Map reads or writes."""
    yield m.dst
    for root in m.roots():
        yield from (n.buffer for n in walk(root) if isinstance(n, Load))


def _one(found: Found) -> int:
    one = found.scalars[_ONE]
    assert isinstance(one, Const)
    return one.value


def _sums_in(m: Map) -> Iterator[tuple[Found, Reduce, Hole]]:
    """The sum over a layer's inputs in a Map over its outputs, if there is one."""
    for e in dict.fromkeys(walk(m.expr)):
        for x in _X:
            found = Found()
            if (
                isinstance(e, Reduce)
                and match(_sums(x), e, found)
                and m.index == (found.indices[_ROW],)
            ):
                yield found, e, x
                return


def _gradients_in(m: Map) -> Iterator[tuple[Found, Reduce]]:
    for e in dict.fromkeys(walk(m.expr)):
        found = Found()
        if (
            isinstance(e, Reduce)
            and match(_gradient(), e, found)
            and m.index == (found.indices[_COLUMN],)
        ):
            yield found, e
            return


def _result(m: Map, part: Expr, name: str) -> tuple[Buffer, Map | None]:
    """Where a pass puts the values of `part`, and what is left of the Map."""
    if part == m.expr and (m.dst.c_type == c_type(interval(part))):
        return m.dst, None
    result = Buffer(name, m.dst.shape, interval(part), doc=f"for {m.dst.name}")
    expr = substitute(m.expr, part, result[m.index])
    return result, Map(m.name, m.dst, m.index, expr, m.when, m.doc)


def _sums_pass(m: Map, e: Reduce, matrix: Matrix, source: Buffer, one: int) -> Sums:
    nodes = set(walk(m.expr))
    part: Expr = e
    shift = None
    for bits in range(1, 11):
        for bounds in (UINT8, INT8):
            clamped = clamp(rounded_shift(e, bits), bounds)
            if clamped in nodes and interval(clamped) == bounds:
                part, shift = clamped, bits
    result, rest = _result(m, part, f"sums_{m.name}")
    return Sums(m.name, matrix, f"nn_pass_{m.name}", rest, source, one, result, shift)


def _gradient_pass(m: Map, e: Reduce, matrix: Matrix, found: Found) -> Gradient:
    nodes = set(walk(m.expr))
    part: Expr = e
    shift, gate = None, None
    kernel, seen = f"nn_pass_{m.name}", found.arrays[_SEEN].buffer
    if e.var.extent <= BLOCK:
        for bits in range(-4, 1):
            moved = saturate(rounded_shift(e, bits))
            if moved in nodes and interval(moved) == INT16:
                part, shift = moved, bits
            for a in (n for n in nodes if isinstance(n, Load) and n.buffer.interval == UINT8):
                if m.expr == saturate(sel(a > Const(0), rounded_shift(e, bits), 0)):
                    part, shift, gate = m.expr, bits, a.buffer
    result, rest = _result(m, part, f"sums_{m.name}")
    return Gradient(m.name, matrix, kernel, rest, seen, result, shift, gate)


def _factors(maps: list[Map], step: Step) -> Factors | None:
    """How two Maps draw the numbers of a step, and find its factors."""
    if len(maps) < 2 or maps[0].dst is not step.draws or maps[1].dst is not step.factor:
        return None
    for shift in range(8, 17):
        found = Found()
        pattern = row_factor(_DELTA[_ROW], _DRAWS[_ROW, 0], _RATE(), shift)
        if maps[0].expr == Draw() and match(pattern, maps[1].expr, found):
            rate = found.scalars[_RATE]
            if isinstance(rate, Const) or (isinstance(rate, Load) and not rate.buffer.shape):
                return Factors(found.arrays[_DELTA].buffer, rate, shift)
    return None


def _step_pass(first: Map, second: Map, matrix: Matrix) -> Step | None:
    """The pass that changes weights by one Map and biases by the next."""
    for x in _X:
        found = Found()
        weights = _stepped(_WEIGHT[_ROW, _COLUMN], x[_COLUMN], _COLUMN * 157)
        biases = _stepped(_BIAS[_ROW], _ONE(), _OFFSET())
        if (
            second.dst is matrix.bias
            and match(weights, first.expr, found)
            and first.place == found.arrays[_WEIGHT]
            and match(biases, second.expr, found)
            and second.place == found.arrays[_BIAS]
            and found.scalars[_OFFSET] == Const(matrix.weight.shape[1] * 157)
        ):
            return Step(
                first.name, matrix, f"nn_pass_{first.name}", None, found.arrays[x].buffer,
                _one(found), found.arrays[_FACTOR].buffer, found.arrays[_DRAWS].buffer,
            )  # fmt: skip
    return None
