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

from nnhost.fixed import saturate
from nnhost.ir import (
    INT8,
    INT16,
    INT32,
    UINT8,
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
    sel,
    total,
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


# ---- the 8051 -----------------------------------------------------------------------------------


def _scalar(name: str, bounds: Interval) -> Hole:
    return Hole(name, (), bounds)


#: The longest loop of an 8051 kernel, whose counter is a byte. Sums of so many products of bytes
#: fit 24 bits.
_LONGEST = 255
_WIDE, _WORD, _BYTE = _scalar("wide", INT32), _scalar("word", INT16), _scalar("byte", UINT8)
_ROW, _COLUMN = Var("row", _LONGEST), Var("column", _LONGEST)


def _matrix(name: str) -> Hole:
    """int16 in external RAM."""
    return Hole(name, (_LONGEST, _LONGEST), INT16, space="NN_XDATA")


def _vector(name: str, bounds: Interval) -> Hole:
    """Bytes in internal RAM."""
    return Hole(name, (_LONGEST,), bounds, space="NN_IDATA")


SATURATE = Rule("nn_kernel_saturate", saturate(_WIDE()), (_WIDE,), "int16_t")
MULTIPLY = Rule("nn_kernel_multiply", _WORD() * _BYTE(), (_WORD, _BYTE), "int32_t")

_WEIGHT, _VELOCITY, _SLOT = _matrix("weight"), _matrix("velocity"), _matrix("slot")
_X = {"u8": _vector("x", UINT8), "s8": _vector("x", INT8)}
_FACTOR, _DITHER = _scalar("factor", INT16), _scalar("dither", UINT8)
_DECAY, _FIRST = _scalar("decay", UINT8), _scalar("first", Interval(0, 1))


def _dot(kind: str, weight: Load, strided: Hole | None = None) -> LoopRule:
    """The sum of the weights' upper bytes times inputs."""
    pattern = total(_COLUMN, (weight >> 8) * _X[kind][_COLUMN])
    return LoopRule(
        f"nn_kernel_dot_{kind}",
        pattern,
        _COLUMN,
        (_WEIGHT, _X[kind]),
        strided=strided,
        least=4 if kind == "u8" else 1,
    )


#: Noise that moves by 157 from column to column.
_NOISE = (_DITHER() + _COLUMN * 157) & 255


def _step(kind: str) -> Expr:
    """Factor times input."""
    return (_FACTOR() * _X[kind][_COLUMN] + _NOISE) >> 8


def _update(kind: str) -> LoopRule:
    """A row of weights less the step."""
    place = _WEIGHT[_ROW, _COLUMN]
    return LoopRule(
        f"nn_kernel_update_{kind}",
        saturate(place - _step(kind)),
        _COLUMN,
        (_WEIGHT, _X[kind], _FACTOR, _DITHER),
        place,
    )


def _gather(kind: str) -> LoopRule:
    """A row of slots, which a batch begins at zero, less the step."""
    place = _SLOT[_ROW, _COLUMN]
    return LoopRule(
        f"nn_kernel_gather_{kind}",
        saturate(sel(_FIRST(), 0, place) - _step(kind)),
        _COLUMN,
        (_SLOT, _X[kind], _FACTOR, _DITHER, _FIRST),
        place,
    )


def _velocity(kind: str) -> LoopRule:
    """A row of velocities that decay, less the step."""
    place = _VELOCITY[_ROW, _COLUMN]
    return LoopRule(
        f"nn_kernel_velocity_{kind}",
        saturate(((place * _DECAY() + _NOISE) >> 8) - _step(kind)),
        _COLUMN,
        (_VELOCITY, _X[kind], _FACTOR, _DITHER, _DECAY),
        place,
    )


#: A row of weights plus its velocities.
_ADD = LoopRule(
    "nn_kernel_add",
    saturate(_WEIGHT[_ROW, _COLUMN] + _VELOCITY[_ROW, _COLUMN]),
    _COLUMN,
    (_WEIGHT, _VELOCITY),
    _WEIGHT[_ROW, _COLUMN],
)

#: Instruction set -> its rules, the first match wins. Folders of firmware/kernels have these names.
RULES: dict[str, Rules] = {
    "mcs51": (
        SATURATE,
        MULTIPLY,
        _dot("u8", _WEIGHT[_ROW, _COLUMN]),
        _dot("s8", _WEIGHT[_ROW, _COLUMN], _WEIGHT),
        _dot("s8", _WEIGHT[_COLUMN, _ROW], _WEIGHT),
        _update("u8"),
        _update("s8"),
        _gather("u8"),
        _gather("s8"),
        _velocity("u8"),
        _velocity("s8"),
        _ADD,
    )
}
