"""Faults put into a firmware on purpose, to see that they are found: `[build] inject`.

A fault is a Program in which one Map computes something else. The board's C is written from it,
the simulator keeps the right one; so a fault is in portable C, in a kernel or in a pass in
assembly, wherever the Map is computed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from nnhost.errors import UsageError, nearest, quote
from nnhost.ir import (
    INT16,
    BoundError,
    Const,
    Expr,
    Interval,
    Map,
    Op,
    Program,
    Reduce,
    c_type,
    check,
    clamp,
    eq,
    interval,
    sel,
    substitute,
    type_bytes,
    walk,
)

_STUCK = re.compile(r"stuck (\w+)\[([\d, ]+)\] bit (\d+) at ([01])")
_HELP = (
    'for example "shift forward1", "saturation backward1", "cast factor1" or '
    '"stuck weight1[0, 3] bit 12 at 1"'
)


def _wrapped(x: Expr, bits: int, *, signed: bool) -> Expr:
    """The lowest bits of x, as a two's complement number or as an unsigned one."""
    low = x & ((1 << bits) - 1)
    return sel(low < 1 << (bits - 1), low, low - (1 << bits)) if signed else low


def _shifts(e: Expr) -> Iterator[tuple[Expr, Expr]]:
    """A shift to the right by one bit too few."""
    for n in walk(e):
        match n:
            case Op("shr", (x, Const(bits))):
                yield n, x >> (bits - 1)


def _saturations(e: Expr) -> Iterator[tuple[Expr, Expr]]:
    """What should be saturated wraps around."""
    for n in walk(e):
        match n:
            case Op("min", (Op("max", (x, Const(lo))), Const(hi))):
                bits = max(hi, -lo - 1).bit_length() + (lo < 0)
                yield n, _wrapped(x, bits, signed=lo < 0)


def _casts(e: Expr) -> Iterator[tuple[Expr, Expr]]:
    """What should be computed in 32 bits is computed in 16, as where a compiler drops a cast."""
    for n in walk(e):
        summed = isinstance(n, Reduce) or (isinstance(n, Op) and n.op in ("mul", "add", "sub"))
        if summed and type_bytes(c_type(interval(n))) == 4:
            yield n, _wrapped(n, 16, signed=True)


_KINDS: dict[str, Callable[[Expr], Iterator[tuple[Expr, Expr]]]] = {
    "shift": _shifts,
    "saturation": _saturations,
    "cast": _casts,
}


def injected(program: Program, fault: str) -> Program:
    """The Program with a fault; its Maps keep their names. Raises `UsageError` if it cannot be."""
    if stuck := _STUCK.fullmatch(fault):
        index = tuple(int(i) for i in stuck[2].split(","))
        return _stuck(program, stuck[1], index, int(stuck[3]), int(stuck[4]))
    kind, _, name = fault.partition(" ")
    if kind not in _KINDS:
        raise UsageError(f"inject: there is no fault {quote(fault)}", help=_HELP)
    right = next((m for m in program.maps() if m.name == name), None)
    if right is None:
        raise UsageError(
            f"inject: there is no Map {quote(name)}",
            help=nearest(name, [m.name for m in program.maps()]),
        )
    for old, new in _KINDS[kind](right.expr):
        wrong = _proven(right, partial(substitute, right.expr, old, new))
        if wrong is not None:
            return _with(program, right, wrong)
    raise UsageError(f"inject: the Map {name} has no {kind} that could be wrong", help=_HELP)


def _stuck(program: Program, tensor: str, index: tuple[int, ...], bit: int, value: int) -> Program:
    """A bit of a parameter that has the same value after each of its updates."""
    maps = [m for m in program.sections["update"] if m.dst.name == tensor]
    shape = maps[-1].dst.shape if maps else ()
    inside = len(index) == len(shape) and all(i < n for i, n in zip(index, shape, strict=True))
    if not maps or not inside or maps[-1].dst.interval != INT16 or bit > 14:
        raise UsageError(
            f"inject: no update writes bit {bit} of {tensor}[{', '.join(map(str, index))}]",
            help=_HELP,
        )
    m = maps[-1]
    here: Expr = Const(1)
    for var, i in zip(m.index, index, strict=True):
        here = here * eq(var, i)
    held = m.expr - INT16.lo  # all bits but that of the sign are the same
    kept = (held & ((1 << bit) - 1)) + ((held >> (bit + 1)) << (bit + 1))
    forced = clamp(kept + (value << bit) + INT16.lo, INT16)
    wrong = _proven(m, lambda: sel(here, forced, m.expr))
    assert wrong is not None
    return _with(program, m, wrong)


def _proven(m: Map, make: Callable[[], Expr]) -> Map | None:
    """The Map with another expression, kept within the interval of its buffer; None where no type
    holds what it computes."""
    try:
        wrong = replace(m, expr=clamp(make(), Interval(*m.dst.interval)))
        check(wrong)
    except (BoundError, ValueError):
        return None
    return wrong


def _with(program: Program, right: Map, wrong: Map) -> Program:
    sections = {
        name: [wrong if m is right else m for m in maps] for name, maps in program.sections.items()
    }
    return Program(sections, program.state, program.sample, program.trace)
