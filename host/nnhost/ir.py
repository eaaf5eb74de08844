"""The one description of the arithmetic: expressions over integers, and Maps over named buffers.

Every value is a mathematical integer with a proven interval. Nothing wraps around: C only has to
choose types that are wide enough, and numpy only has to compute in 64 bits. Six nodes are enough
for all of training: `Const`, `Var`, `Load`, `Op`, `Reduce` and `Draw`. A `Map` writes one buffer:
``dst[index] = expr`` for every point of its index. A `Program` is a few named lists of Maps.

Two other modules read a Program: `simulate` (numpy) and `emit_c` (what the chip runs). Neither
knows layers, losses or optimizers, and neither knows the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import NamedTuple


class Interval(NamedTuple):
    """All integers from `lo` to `hi`, both included."""

    lo: int
    hi: int

    @property
    def largest(self) -> int:
        """The largest magnitude."""
        return max(abs(self.lo), abs(self.hi))


class BoundError(ValueError):
    """An interval that no type of the target holds; `where` names the Map or buffer."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(f"{where}: {reason}" if where else reason)
        self.reason, self.where = reason, where


INT8, INT16, INT32 = (Interval(-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (8, 16, 32))
UINT8, UINT16, UINT32 = (Interval(0, 2**n - 1) for n in (8, 16, 32))

#: From narrow to wide. There is no 64-bit type: SDCC cannot multiply one.
C_TYPES = {
    "uint8_t": UINT8,
    "int8_t": INT8,
    "uint16_t": UINT16,
    "int16_t": INT16,
    "uint32_t": UINT32,
    "int32_t": INT32,
}


def c_type(*intervals: Interval) -> str:
    """The narrowest C type that holds all the intervals; raises `BoundError` if none does."""
    lo, hi = min(i.lo for i in intervals), max(i.hi for i in intervals)
    for name, held in C_TYPES.items():
        if held.lo <= lo and hi <= held.hi:
            return name
    raise BoundError(f"values from {lo} to {hi} fit no 32-bit type")


def type_bytes(name: str) -> int:
    """Size in bytes of a C type of `C_TYPES`."""
    return C_TYPES[name].largest.bit_length() // 8 if name[0] == "u" else type_bytes("u" + name)


# ---- buffers ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Buffer:
    """A named array of integers in `interval`, row-major; `shape` () is a scalar.

    `role` is state (kept between steps, part of the digest), input (set by the caller), temp
    (written before it is read in every step) or table (constant, `values` row-major).
    """

    name: str
    shape: tuple[int, ...]
    interval: Interval
    role: str = "temp"
    values: tuple[int, ...] = ()
    doc: str = ""

    def __getitem__(self, index: Operand | tuple[Operand, ...]) -> Load:
        items = index if isinstance(index, tuple) else (index,)
        return Load(self, tuple(wrap(i) for i in items))

    def __call__(self) -> Load:
        """The value of a scalar."""
        return Load(self, ())

    @cached_property
    def c_type(self) -> str:
        """C type of an element."""
        return c_type(self.interval)

    @cached_property
    def size(self) -> int:
        """Number of elements."""
        product = 1
        for n in self.shape:
            product *= n
        return product

    @cached_property
    def bytes(self) -> int:
        """Size in the memory of a board."""
        return self.size * type_bytes(self.c_type)


def table(name: str, values: list[int], doc: str = "") -> Buffer:
    """A constant one-dimensional table with the interval of its own values."""
    return Buffer(
        name, (len(values),), Interval(min(values), max(values)), "table", tuple(values), doc
    )


# ---- expressions --------------------------------------------------------------------------------


class Expr:
    """Base of the six nodes. Operators build simplified trees; see `op`."""

    def __add__(self, other: Operand) -> Expr:
        return op("add", self, other)

    def __radd__(self, other: Operand) -> Expr:
        return op("add", other, self)

    def __sub__(self, other: Operand) -> Expr:
        return op("sub", self, other)

    def __rsub__(self, other: Operand) -> Expr:
        return op("sub", other, self)

    def __mul__(self, other: Operand) -> Expr:
        return op("mul", self, other)

    def __rmul__(self, other: Operand) -> Expr:
        return op("mul", self, other)

    def __floordiv__(self, other: Operand) -> Expr:
        return op("div", self, other)

    def __and__(self, other: Operand) -> Expr:
        return op("and", self, other)

    def __lshift__(self, other: Operand) -> Expr:
        return op("shl", self, other)

    def __rshift__(self, other: Operand) -> Expr:
        return op("shr", self, other)

    def __lt__(self, other: Operand) -> Expr:
        return op("lt", self, other)

    def __gt__(self, other: Operand) -> Expr:
        return op("lt", other, self)


Operand = Expr | int


@dataclass(frozen=True)
class Const(Expr):
    """An integer."""

    value: int


@dataclass(frozen=True)
class Var(Expr):
    """A loop index: 0 <= name < extent."""

    name: str
    extent: int


@dataclass(frozen=True)
class Load(Expr):
    """An element of a buffer; a table looked up at a computed index is one too."""

    buffer: Buffer
    index: tuple[Expr, ...]


@dataclass(frozen=True)
class Op(Expr):
    """An operator of `OPS` on its arguments."""

    op: str
    args: tuple[Expr, ...]

    @cached_property
    def _hash(self) -> int:
        return hash((self.op, self.args))

    def __hash__(self) -> int:  # trees share their branches: each is hashed once
        return self._hash


@dataclass(frozen=True)
class Reduce(Expr):
    """sum, max or min of `body` over `var`; a sum starts at `init`. The order never matters."""

    op: str
    var: Var
    body: Expr
    init: Expr


@dataclass(frozen=True)
class Draw(Expr):
    """The next 16 bits of the random stream. At most one a Map, drawn in row-major order."""


@dataclass(frozen=True)
class Map:
    """``dst[index] = expr`` for every point of `index`, when the condition `when` is not zero.

    `expr` may read `dst` only at `index`, so that the points are independent. With `row`, a scalar,
    it writes one row: ``dst[row, index] = expr``.
    """

    name: str
    dst: Buffer
    index: tuple[Var, ...]
    expr: Expr
    when: Expr | None = None
    doc: str = ""
    row: Expr | None = None

    @cached_property
    def place(self) -> Load:
        """The element of `dst` that a point writes."""
        return Load(self.dst, self.index if self.row is None else (self.row, *self.index))

    def roots(self) -> tuple[Expr, ...]:
        """The trees of this Map."""
        return tuple(e for e in (self.expr, self.when, self.row) if e is not None)


@dataclass(frozen=True)
class Program:
    """Named sections of Maps, and the buffers that the outside world reads or writes, in order."""

    sections: dict[str, list[Map]]
    state: tuple[Buffer, ...] = ()
    sample: tuple[Buffer, ...] = ()
    trace: tuple[Buffer, ...] = ()
    buffers: tuple[Buffer, ...] = field(init=False)

    def __post_init__(self) -> None:
        found: dict[Buffer, None] = dict.fromkeys((*self.state, *self.sample, *self.trace))
        for item in self.maps():
            check(item)
            found.setdefault(item.dst)
            for root in item.roots():
                found.update((n.buffer, None) for n in walk(root) if isinstance(n, Load))
        names = [b.name for b in found]
        if clash := {n for n in names if names.count(n) > 1}:
            raise ValueError(f"two buffers are called {sorted(clash)}")
        object.__setattr__(self, "buffers", tuple(found))

    def maps(self) -> Iterator[Map]:
        """All Maps, section after section."""
        for section in self.sections.values():
            yield from section


# ---- operators and their intervals --------------------------------------------------------------


def _products(a: Interval, b: Interval) -> Interval:
    corners = [x * y for x in a for y in b]
    return Interval(min(corners), max(corners))


def _shifted_right(a: Interval, n: Interval) -> Interval:
    return Interval(min(a.lo >> n.lo, a.lo >> n.hi), max(a.hi >> n.lo, a.hi >> n.hi))


#: Interval of the result from the intervals of the arguments. `lt` and `eq` give 0 or 1; `div` is
#: of non-negatives by positives; `shl` of non-negatives (C99 leaves the rest undefined); `shr` is
#: arithmetic; `and` needs one non-negative side; `sel(c, a, b)` is a if c else b; `len` is the
#: length in binary of a non-negative.
OPS: dict[str, Callable[..., Interval]] = {
    "add": lambda a, b: Interval(a.lo + b.lo, a.hi + b.hi),
    "sub": lambda a, b: Interval(a.lo - b.hi, a.hi - b.lo),
    "mul": _products,
    "div": lambda a, b: Interval(a.lo // b.hi, a.hi // b.lo),
    "and": lambda a, b: Interval(0, min(i.hi for i in (a, b) if i.lo >= 0)),
    "shl": lambda a, n: Interval(a.lo << n.lo, a.hi << n.hi),
    "shr": _shifted_right,
    "min": lambda a, b: Interval(min(a.lo, b.lo), min(a.hi, b.hi)),
    "max": lambda a, b: Interval(max(a.lo, b.lo), max(a.hi, b.hi)),
    "lt": lambda a, b: Interval(int(a.hi < b.lo), int(a.lo < b.hi)),
    "eq": lambda a, b: Interval(int(a == b and a.lo == a.hi), int(a.lo <= b.hi and b.lo <= a.hi)),
    "sel": lambda c, a, b: Interval(min(a.lo, b.lo), max(a.hi, b.hi)),
    "len": lambda a: Interval(a.lo.bit_length(), a.hi.bit_length()),
}


@cache
def interval(e: Expr) -> Interval:
    """The proven interval of an expression; raises `BoundError` where the proof fails."""
    match e:
        case Const(value):
            return Interval(value, value)
        case Var(_, extent):
            return Interval(0, extent - 1)
        case Draw():
            return UINT16
        case Load(buffer, index):
            if len(index) != len(buffer.shape):
                raise BoundError(f"{len(index)} indices for {buffer.shape}", buffer.name)
            for i, n in zip(index, buffer.shape, strict=True):
                lo, hi = interval(i)
                if lo < 0 or hi >= n:
                    raise BoundError(f"index from {lo} to {hi} in a dimension of {n}", buffer.name)
            return buffer.interval
        case Op(name, args):
            given = [interval(a) for a in args]
            if name in ("shl", "div", "len") and given[0].lo < 0:
                raise BoundError(f"{name} of a value down to {given[0].lo}")
            if name in ("shl", "shr") and (given[1].lo < 0 or given[1].hi > 31):
                raise BoundError(f"shift by {given[1].lo} to {given[1].hi} bits")
            if name == "div" and given[1].lo <= 0:
                raise BoundError(f"division by a value down to {given[1].lo}")
            result = OPS[name](*given)
            if name == "mul" and args[0] == args[1]:  # a square
                result = Interval(max(0, result.lo), result.hi)
            c_type(result, *given)
            return result
        case Reduce("sum", var, body, init):
            each, start = interval(body), interval(init)
            # Holds every partial sum in every order: kernels may add as they like.
            result = Interval(
                start.lo + min(0, var.extent * each.lo), start.hi + max(0, var.extent * each.hi)
            )
            c_type(result)
            return result
        case Reduce(_, _, body, _):
            return interval(body)
    raise TypeError(e)


def wrap(x: Operand) -> Expr:
    """An integer as an expression."""
    return x if isinstance(x, Expr) else Const(int(x))


def op(name: str, *operands: Operand) -> Expr:
    """Build ``name(operands)``, leaving out what the intervals prove to be needless."""
    args = tuple(wrap(x) for x in operands)
    first, last = args[0], args[-1]
    a, b = interval(first), interval(last)
    if name == "sel":
        if a == (1, 1) or args[1] == args[2]:
            return args[1]
        if a == (0, 0):
            return args[2]
        return Op(name, args)
    if name in ("add", "sub", "shl", "shr") and last == Const(0):
        return first
    if name == "add" and first == Const(0):
        return last
    if name == "mul":
        if isinstance(first, Const):
            first, last = last, first
            args = (first, last)
        if last == Const(1):
            return first
    if name == "min" and (a.hi <= b.lo or b.hi <= a.lo):
        return first if a.hi <= b.lo else last
    if name == "max" and (a.lo >= b.hi or b.lo >= a.hi):
        return first if a.lo >= b.hi else last
    built = Op(name, args)
    lo, hi = interval(built)
    return Const(lo) if lo == hi else built


def sel(condition: Operand, a: Operand, b: Operand) -> Expr:
    """`a` where `condition` is 1, `b` where it is 0."""
    return op("sel", condition, a, b)


def eq(a: Operand, b: Operand) -> Expr:
    """1 where a equals b, else 0."""
    return op("eq", a, b)


def length(a: Operand) -> Expr:
    """The number of binary digits of a, which is not negative; 0 has none."""
    return op("len", a)


def minimum(a: Operand, b: Operand) -> Expr:
    """The smaller of the two."""
    return op("min", a, b)


def maximum(a: Operand, b: Operand) -> Expr:
    """The larger of the two."""
    return op("max", a, b)


def clamp(x: Operand, bounds: Interval) -> Expr:
    """Saturate to an interval."""
    return op("min", op("max", x, bounds.lo), bounds.hi)


def rounded_shift(x: Expr, bits: int) -> Expr:
    """x * 2^-bits rounded half up: (x + 2^(bits-1)) >> bits; negative `bits` multiply."""
    if bits < 0:
        return x * (1 << -bits)
    return (x + ((1 << bits) >> 1)) >> bits


def total(var: Var, body: Expr, init: Operand = 0) -> Reduce:
    """`init` plus the sum of `body` over `var`."""
    return Reduce("sum", var, body, wrap(init))


def largest(var: Var, body: Expr) -> Reduce:
    """The largest `body` over `var`."""
    return Reduce("max", var, body, Const(interval(body).lo))


def smallest(var: Var, body: Expr) -> Reduce:
    """The smallest `body` over `var`."""
    return Reduce("min", var, body, Const(interval(body).hi))


# ---- looking into trees -------------------------------------------------------------------------


def children(e: Expr) -> tuple[Expr, ...]:
    """The expressions directly below a node."""
    match e:
        case Load(_, index):
            return index
        case Op(_, args):
            return args
        case Reduce(_, _, body, init):
            return (body, init)
    return ()


def walk(e: Expr) -> Iterator[Expr]:
    """The node and all below it, each once however many branches share it, parents first."""
    seen: set[Expr] = set()
    left = [e]
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            yield node
            left += reversed(children(node))


@cache
def free(e: Expr) -> frozenset[Var]:
    """The loop indices that the value of `e` depends on."""
    if isinstance(e, Var):
        return frozenset((e,))
    inside: frozenset[Var] = frozenset().union(*(free(c) for c in children(e)))
    return inside - {e.var} if isinstance(e, Reduce) else inside


@cache
def draws(e: Expr) -> bool:
    """Whether the value comes from the random stream."""
    return isinstance(e, Draw) or any(draws(c) for c in children(e))


def substitute(e: Expr, old: Expr, new: Expr) -> Expr:
    """`e` with `new` for `old`, simplified again."""
    done = {old: new}  # branches that are shared are gone through once

    def rebuilt(e: Expr) -> Expr:
        match e:
            case Load(buffer, index):
                return Load(buffer, tuple(map(replaced, index)))
            case Op(name, args):
                given = tuple(map(replaced, args))
                same = all(a is b for a, b in zip(given, args, strict=True))
                return e if same else op(name, *given)
            case Reduce(name, var, body, init):
                body, init = replaced(body), replaced(init)
                return init if name == "sum" and body == Const(0) else Reduce(name, var, body, init)
        return e

    def replaced(e: Expr) -> Expr:
        if e not in done:
            done[e] = rebuilt(e)
        return done[e]

    return replaced(e)


def check(m: Map) -> None:
    """Prove a Map: it fits its buffer, its points are independent, it draws at most once."""
    try:
        lo, hi = interval(m.expr)
        interval(m.place)
        if m.when is not None:
            interval(m.when)
    except BoundError as error:
        raise BoundError(error.reason, error.where or m.name) from None
    if lo < m.dst.interval.lo or hi > m.dst.interval.hi:
        raise BoundError(f"values from {lo} to {hi} do not fit {m.dst.name}", m.name)
    nodes = set(walk(m.expr))
    if sum(isinstance(n, Draw) for n in nodes) > 1:
        raise ValueError(f"{m.name} draws twice a point")
    for n in nodes:
        if isinstance(n, Load) and n.buffer is m.dst and n != m.place:
            raise ValueError(f"{m.name} reads {m.dst.name} at another point")


@cache
def skips(m: Map) -> Mapping[Load, Expr | None]:
    """Loads whose being zero leaves `dst` as it is (None) or makes it constant (the constant).

    Proven by substitution, so skipping the computation is exact, never an approximation.
    """
    found: dict[Load, Expr | None] = {}
    for n in walk(m.expr):
        if not isinstance(n, Load) or n.buffer is m.dst or n.buffer.role == "table":
            continue
        if not n.buffer.shape or not free(n) <= set(m.index) or draws(m.expr):
            continue
        lo, hi = interval(n)
        if lo <= 0 <= hi:
            rest = substitute(m.expr, n, Const(0))
            if rest == m.place:
                found[n] = None
            elif isinstance(rest, Const):
                found[n] = rest
    return found
