"""Rules of an instruction set: shapes of expressions that it has a better way to compute.

A pattern is an expression with holes, built by the functions that lowering uses, so that the two
cannot drift apart. It matches where the proven intervals, types and memory spaces fit its holes.
The kernel it calls is a C function of firmware/kernels/<instruction set>/. A rule is admitted when
its kernel passes its vectors on the target and is measured to gain (bench/kernels.md); without
rules (``--set build.kernels=portable``) the plain C computes the same bits.

A `Rule` replaces an expression over scalars. A `LoopRule` replaces a loop: the whole of a sum, or
the innermost loop of a Map whose expression has the shape of the pattern. It may take the loop
around it as well: all sums of a Map at once, or all rows of a matrix; and two Maps that follow each
other, of which the second reads what the first has written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nnhost.ir import (
    Buffer,
    Const,
    Expr,
    Interval,
    Load,
    Map,
    Op,
    Reduce,
    Var,
    free,
    interval,
    walk,
)

#: A space that is no place of its own: buffers there are aligned, for kernels that read words.
ALIGNED = "NN_ALIGNED"
#: Operators whose operands may change places.
_COMMUTATIVE = ("add", "mul", "min", "max", "and")


@dataclass(frozen=True, eq=False)
class Hole(Buffer):
    """An unknown of a pattern. A scalar stands for any expression within its interval; an array
    for a buffer of its element type, as many dimensions and its space. An array with `types` takes
    each of those within its interval, and the kernel is told which. A table, whose values are
    within the interval too, has the space NN_CODE."""

    role: str = "hole"
    space: str = ""
    types: tuple[str, ...] = ()

    def takes(self, buffer: Buffer) -> bool:
        """Whether the elements of `buffer` are what this array stands for."""
        if (buffer.role == "table") != (self.space == "NN_CODE"):
            return False
        if buffer.role != "table" and not self.types:
            return buffer.c_type == self.c_type
        return buffer.c_type in (self.types or (self.c_type,)) and self.holds(buffer.interval)

    def holds(self, values: Interval) -> bool:
        """Whether its interval contains `values`."""
        return self.interval.lo <= values.lo and values.hi <= self.interval.hi


@dataclass(frozen=True)
class Rule:
    """``kernel(holes...)`` computes `pattern`; `result` is the C type that it returns."""

    kernel: str
    pattern: Expr
    holes: tuple[Hole, ...]
    result: str


@dataclass(frozen=True)
class LoopRule:
    """``kernel(holes..., n, numbers...)`` runs over `loop`, whose extent is the longest that it
    takes; below `least` the call is not worth it.

    A `pattern` that is a reduction is computed, in `result`; any other is what a Map puts into
    `dst`, the pattern's own element. An array is passed by the address of its element at the loop's
    start; of the one `strided`, the bytes from one element to the next follow n. `numbers` are the
    constants that the pattern was built with.

    With `outer` the kernel runs over that loop of the Map too, whose extent comes before n; arrays
    then have no elements but those that the loops reach. A sum is computed for each of its
    rounds: ``kernel(sums, holes..., rounds, n, numbers...)``. `then` is the element and pattern of
    a second Map. With `room`, so many int16_t for each of n elements, that the kernel may use, come
    before the holes; n is rounded up to whole vectors of eight if it is more than one.
    """

    kernel: str
    pattern: Expr
    loop: Var
    holes: tuple[Hole, ...]
    dst: Load | None = None
    strided: Hole | None = None
    least: int = 1
    result: str = "int32_t"
    outer: Var | None = None
    numbers: tuple[int, ...] = ()
    then: tuple[Load, Expr] | None = None
    room: int = 0

    @property
    def loops(self) -> tuple[Var, ...]:
        """The loops that the kernel runs, from the outermost."""
        return (self.loop,) if self.outer is None else (self.outer, self.loop)


Rules = tuple[Rule | LoopRule, ...]


@dataclass
class Found:
    """What a pattern's unknowns stand for: scalars an expression, arrays an element as it is
    indexed, and the indices of the pattern an expression each."""

    scalars: dict[Buffer, Expr] = field(default_factory=dict)
    arrays: dict[Buffer, Load] = field(default_factory=dict)
    indices: dict[Var, Expr] = field(default_factory=dict)

    def copy(self) -> Found:
        """Independent of this one."""
        return Found(dict(self.scalars), dict(self.arrays), dict(self.indices))

    def take(self, other: Found) -> None:
        """Become `other`."""
        self.scalars, self.arrays, self.indices = other.scalars, other.arrays, other.indices


#: Where a buffer lives: its C qualifier.
Space = Callable[[Buffer], str]


def match(pattern: Expr, e: Expr, found: Found, space: Space | None = None) -> bool:
    """Whether `e` has the shape of `pattern`; binds its holes and indices in `found`.

    `space` None leaves open where the buffers live.
    """
    if _differs(pattern, e):
        return False
    match pattern, e:
        case Load(Hole(shape=()) as hole, ()), _:
            return hole.holds(interval(e)) and found.scalars.setdefault(hole, e) == e
        case Load(Hole() as hole, at), Load(buffer, index) if len(at) == len(index):
            return (
                hole.takes(buffer)
                # What lies between the elements that a fixed index picks.
                and all(
                    m == n
                    for i, m, n in zip(at, hole.shape, buffer.shape, strict=True)
                    if isinstance(i, Const)
                )
                and (space is None or buffer.role == "table" or space(buffer) == hole.space)
                and found.arrays.setdefault(hole, e) == e
                and all(match(p, q, found, space) for p, q in zip(at, index, strict=True))
            )
        case Var(), _:
            if isinstance(e, Var) and e.extent > pattern.extent:
                return False
            return found.indices.setdefault(pattern, e) == e
        case Reduce(name, var, body, init), Reduce(other, index, given, start) if name == other:
            return (
                match(var, index, found)
                and match(body, given, found, space)
                and match(init, start, found, space)
            )
        case Op(name, expected), Op(other, operands) if name == other:
            swaps = name in _COMMUTATIVE
            if not swaps and isinstance(expected[-1], Const) and expected[-1] != operands[-1]:
                return False
            for order in (operands, operands[::-1])[: 2 if swaps else 1]:
                trial = found.copy()
                if all(match(p, q, trial, space) for p, q in zip(expected, order, strict=True)):
                    found.take(trial)
                    return True
            return False
    return pattern == e


def _differs(pattern: Expr, e: Expr) -> bool:
    """Whether a look at the uppermost operators is enough: for most patterns it is."""
    return isinstance(pattern, Op) and not (isinstance(e, Op) and e.op == pattern.op)


def _without_clamp(pattern: Expr, e: Expr) -> Expr:
    """The pattern without the outer bounds that `e` is within anyway: `op` has left those out."""
    match pattern:
        case Op("min" | "max" as name, (inner, Const(bound) as last)):
            if isinstance(e, Op) and e.op == name and e.args[-1] == last:
                return Op(name, (_without_clamp(inner, e.args[0]), last))
            lo, hi = interval(e)
            if hi <= bound if name == "min" else lo >= bound:
                return _without_clamp(inner, e)
    return pattern


def match_sum(rule: LoopRule, e: Expr, space: Space | None = None) -> Found | None:
    """What the unknowns of a rule for reductions stand for in `e`, a sum's start left out."""
    if not isinstance(e, Reduce) or not isinstance(rule.pattern, Reduce):
        return None
    found = Found()
    if not match(rule.pattern, Reduce(e.op, e.var, e.body, rule.pattern.init), found, space):
        return None
    return found if found.indices.get(rule.loop) == e.var and _runs(rule, found) else None


def match_row(
    rule: LoopRule, m: Map, space: Space | None = None, then: Map | None = None
) -> Found | None:
    """What the unknowns of a rule for rows stand for in the innermost loops of `m`, and of the Map
    that follows it if the rule is for two."""
    if rule.dst is None or len(rule.dst.index) != len(m.place.index):
        return None
    inner = m.index[len(m.index) - len(rule.loops) :]
    found = Found()
    shapes = [(rule.dst, rule.pattern, m)]
    if rule.then is not None:
        if then is None or m.when != then.when:
            return None
        shapes.append((*rule.then, then))
    for dst, pattern, written in shapes:
        shape = _without_clamp(pattern, written.expr)
        if _differs(shape, written.expr) or not match(dst, written.place, found, space):
            return None
        if not match(shape, written.expr, found, space):
            return None
    fits = tuple(found.indices.get(loop) for loop in rule.loops) == inner
    return found if fits and _runs(rule, found) else None


def _runs(rule: LoopRule, found: Found) -> bool:
    """Whether a kernel can run the loops that its own stand for."""
    loops = [found.indices.get(loop) for loop in rule.loops]
    extents = [v.extent for v in loops if isinstance(v, Var)]
    if len(extents) < len(loops) or extents[-1] < rule.least:
        return False
    # All but the loops' own indices must stand still while they run.
    still = [*found.scalars.values(), *(i for v, i in found.indices.items() if v not in rule.loops)]
    if any(v in free(s) for s in still for v in loops):
        return False
    return rule.outer is None or all(
        i.extent == n
        for load in found.arrays.values()
        for i, n in zip(load.index, load.buffer.shape, strict=True)
        if isinstance(i, Var)
    )


def row_kernel(
    rules: Rules, m: Map, space: Space | None = None, then: Map | None = None
) -> tuple[LoopRule, Found] | None:
    """The first rule that computes the innermost loops of `m` (and all of `then`, if given, in the
    same call), and what its unknowns stand for."""
    for rule in rules:
        if isinstance(rule, LoopRule) and (rule.then is None) == (then is None):
            found = match_row(rule, m, space, then)
            if found:
                return rule, found
    return None


def together(maps: list[Map], rules: Rules, space: Space | None = None) -> list[tuple[Map, ...]]:
    """Maps in order, those two in one that a kernel computes in one call."""
    groups: list[tuple[Map, ...]] = []
    left = list(maps)
    while left:
        size = 2 if len(left) > 1 and row_kernel(rules, left[0], space, left[1]) else 1
        groups.append(tuple(left[:size]))
        del left[:size]
    return groups


def sum_kernel(
    rules: Rules, e: Expr, space: Space | None = None, within: Map | None = None
) -> tuple[LoopRule, Found] | None:
    """The first rule that computes the sum `e`, its start left out. All sums of a Map at once are
    computed where that Map is `within`, and has no other loop."""
    if not isinstance(e, Reduce):
        return None
    for rule in rules:
        if not isinstance(rule, LoopRule) or (rule.outer and within is None):
            continue
        if found := match_sum(rule, e, space):
            if rule.outer is None:
                return rule, found
            assert within is not None
            reads = {load.buffer for load in found.arrays.values()}
            if within.index == (found.indices[rule.outer],) and within.dst not in reads:
                return rule, found
    return None


def wanted_spaces(maps: list[Map], rules: Rules) -> dict[Buffer, str]:
    """The spaces in which kernels would take the buffers of these Maps."""
    wanted: dict[Buffer, str] = {}
    for m, *then in together(maps, rules):
        row = row_kernel(rules, m, None, *then)
        for kernel in (row, *(sum_kernel(rules, e, None, m) for e in walk(m.expr))):
            for hole, load in (kernel[1].arrays if kernel else {}).items():
                assert isinstance(hole, Hole)
                if load.buffer.role != "table":
                    wanted.setdefault(load.buffer, hole.space)
    return wanted
