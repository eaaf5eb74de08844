"""Passes: Maps that an 8051 computes as a whole, over weights in planes.

`find` recognises them by patterns, as `nnhost.kernels.rules` does for loops; `nnhost.kernels.
mcs51_asm` writes the assembly of each for its sizes. A Map that also computes something else keeps
that as a rest in C, which reads what the pass has left in a buffer of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from nnhost.activations import ACTIVATIONS
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
    Op,
    Program,
    Reduce,
    Var,
    c_type,
    clamp,
    interval,
    maximum,
    minimum,
    op,
    rounded_shift,
    sel,
    substitute,
    total,
    type_bytes,
    walk,
)
from nnhost.kernels.planes import BLOCK, LONGEST, Matrix
from nnhost.kernels.rules import Found, Hole, match
from nnhost.layers.dense import noise, row_factor, spread

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
    `one`. With a `shift`, it is shifted right, rounded, and clamped to the 8 bits of `result`; or
    to those of an int8, where the `table` begins at -128."""

    source: Buffer
    one: int
    result: Buffer
    shift: int | None
    table: Buffer | None = None

    @property
    def inside(self) -> tuple[Buffer, ...]:
        """See `Pass.inside`."""
        return (self.source,)

    @property
    def other(self) -> tuple[Buffer, ...]:
        """See `Pass.other`."""
        return (self.result, self.table) if self.table else (self.result,)


@dataclass(frozen=True)
class Gradient(Pass):
    """`result` = seen weights, transposed, times `seen`: in 32 bits or, in 16 bits, shifted
    right by a `shift` that is not positive, and saturated; 0 where `gate` is 0, or times the
    slope of a `curve` whose values `gate` has."""

    seen: Buffer
    result: Buffer
    shift: int | None
    gate: Buffer | None
    curve: str = ""

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
class Decay:
    """What the weights lose before a step, be it by "l2" or "l1": `factor` * 2^-`shift` of them, or
    of their last bit."""

    kind: str
    factor: int
    shift: int


@dataclass(frozen=True)
class Step(Pass):
    """Weights and biases less the step of SGD: `source` or `one` times the row's factor, which
    is drawn by `drawn`, or lies in `factor` with its random numbers in `draws`. The product is
    within -`clip`..`clip`; None for any. Before the step weights decay."""

    source: Buffer
    one: int
    factor: Buffer
    draws: Buffer
    drawn: Factors | None
    clip: int | None
    decays: tuple[Decay, ...] = ()

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


@dataclass(frozen=True)
class Velocity(Pass):
    """Slots and then weights. A slot becomes (slot * decay - p + noise) >> 8, where p is `source`
    or `one` times the row's factor; in a batch that is not at its `first` row it is less
    (p + noise) >> 8, and so it is, from 0, where there is no decay. At the `last` row the weight
    gets the slot without its `extra` bits. None: every row is the first and the last. `ahead`: the
    weight gets what the same step would make of that slot. p is within -`clip`..`clip`, as is, in
    a batch, what the weight gets, extra bits included; None for any. Before a `last` row weights
    decay.
    """

    source: Buffer
    one: int
    factor: Buffer
    draws: Buffer
    drawn: Factors | None
    decay: int | None
    extra: int
    first: Buffer | None
    last: Buffer | None
    ahead: bool = False
    clip: int | None = None
    decays: tuple[Decay, ...] = ()

    @property
    def inside(self) -> tuple[Buffer, ...]:
        """See `Pass.inside`."""
        return (self.source,)

    @property
    def outside(self) -> tuple[Buffer, ...]:
        """See `Pass.outside`."""
        assert self.drawn is not None
        return (self.drawn.delta,)

    @property
    def other(self) -> tuple[Buffer, ...]:
        """See `Pass.other`."""
        assert self.drawn is not None
        rate = self.drawn.rate
        scalars = (self.first, self.last, rate.buffer if isinstance(rate, Load) else None)
        return tuple(b for b in scalars if b)


_ROW, _COLUMN = Var("row", LONGEST), Var("column", LONGEST)
_WEIGHT = Hole("weight", (LONGEST, LONGEST), INT16)
_BIAS = Hole("bias", (LONGEST,), INT16)
_SLOT = Hole("slot", (LONGEST, LONGEST), INT16)
_BIAS_SLOT = Hole("bias_slot", (LONGEST,), INT16)
_DECAY = Hole("decay", (), UINT8)
_FIRST = Hole("first", (), Interval(0, 1))
_ONE = Hole("one", (), Interval(1, 255))
_FACTOR = Hole("factor", (LONGEST,), INT16)
_DRAWS = Hole("draws", (LONGEST, 2), UINT16)
_OFFSET = Hole("offset", (), UINT16)
_DELTA = Hole("delta", (LONGEST,), INT16)
_RATE = Hole("rate", (), UINT8)
_TAKEN = Hole("taken", (), UINT8)
_MOST = Hole("most", (), Interval(1, 1 << 30))
_LEAST = Hole("least", (), Interval(-(1 << 30), -1))
_SEEN = Hole("seen", (LONGEST,), INT8)
_X = (Hole("x", (LONGEST,), UINT8), Hole("x", (LONGEST,), INT8))
_SHORT = Var("row", BLOCK)
#: Curves whose slope a pass finds, and the magnitude bits of their values that it knows: those of
#: values with 7 bits of fraction.
_CURVES = {"tanh": 7, "sigmoid": 8}


def _sums(x: Hole) -> Expr:
    start = (_BIAS[_ROW] >> 8) * _ONE()
    return total(_COLUMN, (_WEIGHT[_ROW, _COLUMN] >> 8) * x[_COLUMN], start)


def _gradient() -> Expr:
    return total(_ROW, (_WEIGHT[_ROW, _COLUMN] >> 8) * _SEEN[_ROW])


def _noise(column: Expr) -> Expr:
    return ((_DRAWS[_ROW, 1] >> 8) + column) & 255


def _step(x: Expr, column: Expr) -> Expr:
    return (_FACTOR[_ROW] * x + _noise(column)) >> 8


def _limited(x: Expr) -> Expr:
    """Clipped."""
    return minimum(maximum(x, _LEAST()), _MOST())


def _stepped(place: Load, x: Expr, column: Expr) -> Expr:
    """SGD."""
    return saturate(place - _step(x, column))


def _stepped_less(place: Load, x: Expr, column: Expr) -> Expr:
    """SGD with clipped gradients."""
    return saturate(place - ((_limited(_FACTOR[_ROW] * x) + _noise(column)) >> 8))


def _moved(slot: Load, x: Expr, column: Expr) -> Expr:
    """Momentum where each row is a batch."""
    return saturate((slot * _DECAY() - _FACTOR[_ROW] * x + _noise(column)) >> 8)


def _moved_less(slot: Load, x: Expr, column: Expr) -> Expr:
    """The same with clipped gradients."""
    return saturate((slot * _DECAY() - _limited(_FACTOR[_ROW] * x) + _noise(column)) >> 8)


def _moved_in_batch(slot: Load, x: Expr, column: Expr) -> Expr:
    """Momentum."""
    decayed = (slot * _DECAY() - _FACTOR[_ROW] * x + _noise(column)) >> 8
    return saturate(sel(_FIRST(), decayed, slot - _step(x, column)))


def _gathered(slot: Load, x: Expr, column: Expr) -> Expr:
    """SGD over a batch."""
    return saturate(sel(_FIRST(), 0, slot) - _step(x, column))


def _applied(place: Load, slot: Expr, column: Expr, extra: int) -> Expr:
    """A weight with its slot."""
    noise = _noise(column) >> (8 - extra)
    return saturate(place + ((slot + noise) >> extra if extra else slot))


def _decayed(kind: str, shift: int) -> Expr:
    """A weight after one decay."""
    weight, bits = _WEIGHT[_ROW, _COLUMN], min(16, shift)
    real = weight - 128
    random = noise(_DRAWS[_ROW, 1], spread(_COLUMN, bits), bits) << (shift - bits)
    if kind == "l2":
        return saturate(weight - ((real * _TAKEN() + random) >> shift))
    most = (random + _TAKEN()) >> shift
    return saturate(weight - minimum(maximum(real, 0 - most), most))


#: The shifts with which a pass computes a decay.
_DECAYS = {"l2": range(16, 30), "l1": range(3, 17)}


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
    update = program.sections["update"]
    for at, m in enumerate(update):
        before = update[at - 1].dst
        if m.dst in matrices and before in program.state and before not in matrices:
            slots = (update[at - 1].dst, update[at + 1].dst)
            matrices[m.dst] = replace(matrices[m.dst], slots=slots)
    kept = [b for matrix in matrices.values() for b in (matrix.weight, matrix.bias)]
    kept += [b for matrix in matrices.values() for b in matrix.slots or ()]
    if kept != list(program.state[: len(kept)]):
        return {}
    for name, p in passes.items():
        passes[name] = replace(p, matrix=matrices[p.matrix.weight])
    for m in program.sections["backward"]:
        for found, e in _gradients_in(m):
            weight = found.arrays[_WEIGHT].buffer
            if weight in matrices:
                passes[m.name] = _gradient_pass(m, e, matrices[weight], found)
    for at, m in enumerate(update):
        for matrix in matrices.values():
            begins = m.dst in matrix.buffers and m.name not in passes
            found_pass = _update_pass(program, at, matrix) if begins else None
            if found_pass is not None:
                covered, p = found_pass
                passes |= {c.name: Pass(c.name, matrix, None, None) for c in covered}
                passes[p.name] = p
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
    for e in walk(m.expr):
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
    for e in walk(m.expr):
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
    kernel = f"nn_pass_{m.name}"
    match m.expr:
        case Load(Buffer(role="table") as values, (at,)) if shift and at == part + 128:
            if type_bytes(values.c_type) == 1:
                return Sums(m.name, matrix, kernel, None, source, one, m.dst, shift, values)
    result, rest = _result(m, part, f"sums_{m.name}")
    return Sums(m.name, matrix, kernel, rest, source, one, result, shift)


def _gradient_pass(m: Map, e: Reduce, matrix: Matrix, found: Found) -> Gradient:
    nodes = set(walk(m.expr))
    part: Expr = e
    shift, gate, curve = None, None, ""
    kernel, seen = f"nn_pass_{m.name}", found.arrays[_SEEN].buffer
    if e.var.extent <= BLOCK:
        for bits in range(-4, 1):
            moved = saturate(rounded_shift(e, bits))
            if moved in nodes and interval(moved) == INT16:
                part, shift = moved, bits
            for a in (n for n in nodes if isinstance(n, Load) and n.buffer.interval == UINT8):
                if m.expr == saturate(sel(a > Const(0), rounded_shift(e, bits), 0)):
                    part, shift, gate = m.expr, bits, a.buffer
            for name, a in product(_CURVES, (n for n in nodes if isinstance(n, Load))):
                kind, form = ACTIVATIONS[name], ACTIVATIONS[name].format(_CURVES[name])
                if a.buffer.interval != form.interval:
                    continue
                if m.expr == saturate(kind.backward(rounded_shift(e, bits), a, form)):
                    part, shift, gate, curve = m.expr, bits, a.buffer, name
    result, rest = _result(m, part, f"sums_{m.name}")
    return Gradient(m.name, matrix, kernel, rest, seen, result, shift, gate, curve)


def _update_pass(program: Program, at: int, matrix: Matrix) -> tuple[list[Map], Pass] | None:
    """The pass that begins with a Map of the update, and all Maps that it does the work of."""
    update = program.sections["update"]
    decays = _decays(update[at : at + len(_DECAYS)], matrix)
    begin = at + len(decays)
    maps = update[begin : begin + (4 if matrix.slots else 2)]
    p = _velocity_pass(maps, matrix) if matrix.slots else _step_pass(maps, matrix)
    if p is None or any(d.draws is not p.draws or d.when != maps[-1].when for d in decays):
        return None
    drawing = update[max(0, at - 2) : at]
    drawn = _factors(drawing, p)
    all_maps = [*drawing, *update[at:begin], *maps]
    readers = (m for m in program.maps() if {p.factor, p.draws} & set(buffers(m)))
    p = replace(p, decays=tuple(d.decay for d in decays))
    if drawn and all(m in all_maps for m in readers):
        return all_maps, replace(p, drawn=drawn)
    return None if matrix.slots else (update[at : begin + len(maps)], p)


@dataclass(frozen=True)
class _Decaying:
    """A decay, the random numbers that it reads, and the condition on which it is made."""

    decay: Decay
    draws: Buffer
    when: Expr | None


def _decays(maps: list[Map], matrix: Matrix) -> list[_Decaying]:
    """The decays with which Maps begin."""
    found: list[_Decaying] = []
    for m in maps:
        here = [d for kind in _DECAYS if m.dst is matrix.weight and (d := _decay(m, kind))]
        if not here:
            break
        found += here
    return found


def _decay(m: Map, kind: str) -> _Decaying | None:
    for shift in _DECAYS[kind]:
        found = Found()
        if _all_match([(_WEIGHT[_ROW, _COLUMN], _decayed(kind, shift))], [m], found):
            factor = found.scalars[_TAKEN]
            if isinstance(factor, Const):
                decay = Decay(kind, factor.value, shift)
                return _Decaying(decay, found.arrays[_DRAWS].buffer, m.when)
    return None


def _factors(maps: list[Map], p: Step | Velocity) -> Factors | None:
    """How two Maps draw the numbers of an update, and find its factors."""
    if len(maps) < 2 or maps[0].dst is not p.draws or maps[1].dst is not p.factor:
        return None
    for shift in range(8, 17):
        found = Found()
        pattern = row_factor(_DELTA[_ROW], _DRAWS[_ROW, 0], _RATE(), shift)
        if maps[0].expr == Draw() and match(pattern, maps[1].expr, found):
            rate = found.scalars[_RATE]
            if isinstance(rate, Const) or (isinstance(rate, Load) and not rate.buffer.shape):
                return Factors(found.arrays[_DELTA].buffer, rate, shift)
    return None


def _last_column(matrix: Matrix, found: Found) -> bool:
    """Whether the biases take the noise of the column after the inputs."""
    return found.scalars[_OFFSET] == Const(matrix.weight.shape[1] * 157)


def _clip(found: Found) -> int | None:
    """The largest magnitude of what is clipped, None for any."""
    most = found.scalars.get(_MOST)
    return most.value if isinstance(most, Const) else None


def _even(found: Found) -> bool:
    """Whether what is clipped is clipped by a constant, on both sides alike."""
    most = _clip(found)
    return found.scalars.get(_LEAST) == (None if most is None else Const(-most)) and (
        most is not None or _MOST not in found.scalars
    )


def _step_pass(maps: list[Map], matrix: Matrix) -> Step | None:
    """SGD without slots: weights, then biases. A clip that only larger products reach is left out
    of a Map."""
    weight, bias, kinds = _WEIGHT[_ROW, _COLUMN], _BIAS[_ROW], (_stepped, _stepped_less)
    for x in _X:
        found = Found()
        patterns: list[tuple[Expr, ...]] = [
            (weight, *(kind(weight, x[_COLUMN], _COLUMN * 157) for kind in kinds)),
            (bias, *(kind(bias, _ONE(), _OFFSET()) for kind in kinds)),
        ]
        if _all_match(patterns, maps, found) and _last_column(matrix, found) and _even(found):
            first = maps[0].name
            return Step(
                first, matrix, f"nn_pass_{first}", None, found.arrays[x].buffer, _one(found),
                found.arrays[_FACTOR].buffer, found.arrays[_DRAWS].buffer, None, _clip(found),
            )  # fmt: skip
    return None


def _velocity_pass(maps: list[Map], matrix: Matrix) -> Velocity | None:
    """Slots of weights, weights, slots of biases, biases."""
    weight, bias = _WEIGHT[_ROW, _COLUMN], _BIAS[_ROW]
    slot, bias_slot = _SLOT[_ROW, _COLUMN], _BIAS_SLOT[_ROW]
    both = (_moved, _moved_less)
    kinds = ((both, False), ((_moved_in_batch,), False), ((_gathered,), False), (both, True))
    for x, extra, (kind, ahead) in product(_X, range(7), kinds):
        found = Found()
        moved = [k(slot, x[_COLUMN], _COLUMN * 157) for k in kind]
        bias_moved = [k(bias_slot, _ONE(), _OFFSET()) for k in kind]
        given: list[Expr] = [slot]
        bias_given: list[Expr] = [bias_slot]
        if ahead:
            given = [e for m in moved for e in _clamped(m)]
            bias_given = [e for m in bias_moved for e in _clamped(m)]
        elif kind == (_gathered,):
            given, bias_given = [slot, _limited(slot)], [bias_slot, _limited(bias_slot)]
        patterns: list[tuple[Expr, ...]] = [
            (slot, *moved),
            (weight, *(_applied(weight, v, _COLUMN * 157, extra) for v in given)),
            (bias_slot, *bias_moved),
            (bias, *(_applied(bias, v, _OFFSET(), extra) for v in bias_given)),
        ]
        if not _all_match(patterns, maps, found) or not _last_column(matrix, found):
            continue
        if not _even(found):
            continue
        decay = found.scalars.get(_DECAY, Const(0))
        scalars = (found.scalars.get(_FIRST), maps[1].when)
        first, last = (s.buffer if isinstance(s, Load) else None for s in scalars)
        if isinstance(decay, Const) and maps[1].when == maps[3].when and (not first) == (not last):
            name = maps[0].name
            return Velocity(
                name, matrix, f"nn_pass_{name}", None, found.arrays[x].buffer, _one(found),
                found.arrays[_FACTOR].buffer, found.arrays[_DRAWS].buffer, None,
                None if kind == (_gathered,) else decay.value, extra, first, last, ahead,
                _clip(found),
            )  # fmt: skip
    return None


def _all_match(patterns: list[tuple[Expr, ...]], maps: list[Map], found: Found) -> bool:
    """Whether Maps write what one of the patterns for each says, to the place before these."""
    return len(maps) == len(patterns) and all(
        match(place, m.place, found)
        and any(match(p, m.expr, found) for pattern in given for p in _clamped(pattern))
        for (place, *given), m in zip(patterns, maps, strict=True)
    )


def _clamped(pattern: Expr) -> list[Expr]:
    """A saturated expression, also without the ends that a proof may have left out."""
    match pattern:
        case Op("min", (Op("max", (inner, least)), most)):
            return [pattern, inner, op("max", inner, least), op("min", inner, most)]
    return [pattern]
