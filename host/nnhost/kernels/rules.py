"""Rules of an instruction set: shapes of expressions that it has a better way to compute.

A pattern is an expression with holes, built by the functions that lowering uses, so that the two
cannot drift apart. It matches where the proven intervals, types and memory spaces fit its holes.
The kernel it calls is a C function of firmware/kernels/<instruction set>/. A rule is admitted when
its kernel passes its vectors on the target and is measured to gain (bench/kernels.md); without
rules (``--set build.kernels=portable``) the plain C computes the same bits.

There are three kinds. A `Rule` replaces an expression over scalars. A `LoopRule` replaces a loop:
the whole of a sum, or the innermost loop of a Map whose expression has the shape of the pattern.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nnhost.ir import (
    Buffer,
    Const,
    Expr,
    Load,
    Map,
    Op,
    Reduce,
    Var,
    free,
    interval,
    walk,
)

#: Operators whose operands may change places.
_COMMUTATIVE = ("add", "mul", "min", "max", "and")


@dataclass(frozen=True, eq=False)
class Hole(Buffer):
    """An unknown of a pattern. A scalar stands for any expression within its interval; an array
    for a buffer of its element type, as many dimensions and its space."""

    role: str = "hole"
    space: str = ""


@dataclass(frozen=True)
class Rule:
    """``kernel(holes...)`` computes `pattern`; `result` is the C type that it returns."""

    kernel: str
    pattern: Expr
    holes: tuple[Hole, ...]
    result: str


@dataclass(frozen=True)
class LoopRule:
    """``kernel(holes..., n)`` runs over `loop`, whose extent is the longest that it takes; below
    `least` the call is not worth it.

    A `pattern` that is a sum is computed, in int32_t; any other is what a Map puts into `dst`,
    the pattern's own element. An array is passed by the address of its element at the loop's
    start; of the one `strided`, the bytes from one element to the next follow n.
    """

    kernel: str
    pattern: Expr
    loop: Var
    holes: tuple[Hole, ...]
    dst: Load | None = None
    strided: Hole | None = None
    least: int = 1


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
    match pattern, e:
        case Load(Hole(shape=()) as hole, ()), _:
            lo, hi = interval(e)
            fits = hole.interval.lo <= lo and hi <= hole.interval.hi
            return fits and found.scalars.setdefault(hole, e) == e
        case Load(Hole() as hole, at), Load(buffer, index) if len(at) == len(index):
            return (
                buffer.role != "table"
                and buffer.c_type == hole.c_type
                and (space is None or space(buffer) == hole.space)
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
            for order in (operands, operands[::-1])[: 2 if name in _COMMUTATIVE else 1]:
                trial = found.copy()
                if all(match(p, q, trial, space) for p, q in zip(expected, order, strict=True)):
                    found.take(trial)
                    return True
            return False
    return pattern == e


def match_sum(rule: LoopRule, e: Expr, space: Space | None = None) -> Found | None:
    """What the unknowns of a rule for sums stand for in `e`, its start left out."""
    if not isinstance(e, Reduce) or not isinstance(rule.pattern, Reduce):
        return None
    return _loop_match(rule, Reduce(e.op, e.var, e.body, Const(0)), e.var, space)


def match_row(rule: LoopRule, m: Map, space: Space | None = None) -> Found | None:
    """What the unknowns of a rule for rows stand for in the innermost loop of `m`."""
    if rule.dst is None or not m.index:
        return None
    found = Found()
    if not match(rule.dst, m.place, found, space):
        return None
    return _loop_match(rule, m.expr, m.index[-1], space, found)


def _loop_match(
    rule: LoopRule, e: Expr, var: Var, space: Space | None, found: Found | None = None
) -> Found | None:
    found = found or Found()
    if (
        var.extent < rule.least
        or not match(rule.pattern, e, found, space)
        or found.indices.get(rule.loop) != var
    ):
        return None
    # All but the loop's own index must stand still while it runs.
    still = [*found.scalars.values(), *(i for v, i in found.indices.items() if v != rule.loop)]
    return None if any(var in free(s) for s in still) else found


def row_kernel(rules: Rules, m: Map, space: Space | None = None) -> tuple[LoopRule, Found] | None:
    """The first rule that computes the innermost loop of `m`, and what its unknowns stand for."""
    for rule in rules:
        if isinstance(rule, LoopRule) and (found := match_row(rule, m, space)):
            return rule, found
    return None


def sum_kernel(rules: Rules, e: Expr, space: Space | None = None) -> tuple[LoopRule, Found] | None:
    """The first rule that computes the sum `e`, its start left out."""
    for rule in rules:
        if isinstance(rule, LoopRule) and (found := match_sum(rule, e, space)):
            return rule, found
    return None


def wanted_spaces(maps: list[Map], rules: Rules) -> dict[Buffer, str]:
    """The spaces in which kernels would take the buffers of these Maps."""
    wanted: dict[Buffer, str] = {}
    for m in maps:
        for kernel in (row_kernel(rules, m), *(sum_kernel(rules, e) for e in walk(m.expr))):
            for hole, load in (kernel[1].arrays if kernel else {}).items():
                assert isinstance(hole, Hole)
                wanted.setdefault(load.buffer, hole.space)
    return wanted
