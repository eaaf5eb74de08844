"""Loops in the lanes of a Cortex-M55: expressions of all shapes, drawn at random, in QEMU."""

from __future__ import annotations

import random
from itertools import count
from pathlib import Path

import pytest

from nnhost import boards
from nnhost.emit_lanes import LaneFunction
from nnhost.fixed import saturate
from nnhost.ir import (
    C_TYPES,
    INT16,
    INT32,
    Buffer,
    Const,
    Expr,
    Interval,
    Map,
    Reduce,
    Var,
    c_type,
    clamp,
    eq,
    interval,
    largest,
    length,
    maximum,
    minimum,
    rounded_shift,
    sel,
    smallest,
    table,
    total,
)

from .test_cortex_m import compare

BOARD = boards.get("qemu-m55")
LENGTHS = (*range(4, 18), 33)
#: Programs of so many Maps each.
SEEDS, MAPS = range(2), 60


class Drawn:
    """Draws Maps over buffers of their own."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.numbers = count()

    def buffer(self, shape: tuple[int, ...], kind: Interval | None = None) -> Buffer:
        lo, hi = kind or C_TYPES[self.rng.choice(list(C_TYPES))]
        narrower = self.rng.randint(0, 12)
        kept = Interval(lo, hi) if kind else Interval(lo >> narrower, max(hi >> narrower, 1))
        return Buffer(f"b{next(self.numbers)}", shape, kept)

    def leaf(self, index: tuple[Var, ...]) -> Expr:
        var = index[-1]
        outer = index[0] if len(index) > 1 else None
        match self.rng.randrange(9):
            case 0:
                return Const(self.rng.choice((0, 1, -1, 3, 255, 256, -129, 70000)))
            case 1:
                return var
            case 2:
                return self.buffer(())()
            case 3:
                width = self.rng.randint(1, 4)
                return self.buffer((var.extent, width))[var, self.rng.randrange(width)]
            case 4:
                values = [self.rng.randint(-300, 300) for _ in range(32)]
                given = table(f"picked{next(self.numbers)}", values)
                return given[self.expression(index, 1) & 31]
            case 5 if outer:
                return self.buffer((outer.extent,))[outer]
            case 6 if outer:
                return self.buffer((outer.extent, var.extent))[outer, var]
        return self.buffer((var.extent,))[var]

    def expression(self, index: tuple[Var, ...], depth: int) -> Expr:
        """One whose interval is proven."""
        while True:
            try:
                e = self.node(index, depth)
                interval(e)
                return e
            except ValueError:
                continue

    def node(self, index: tuple[Var, ...], depth: int) -> Expr:
        if depth == 0 or self.rng.random() < 0.1:
            return self.leaf(index)
        a, b = (self.expression(index, depth - 1) for _ in range(2))
        if a == b:
            raise ValueError("a comparison of a value with itself is a warning")
        bits = self.rng.randint(1, 15)
        match self.rng.randrange(16):
            case 0:
                return a + b
            case 1:
                return a - b
            case 2:
                return a * b
            case 3:
                return a * self.buffer((), INT16)() + b
            case 4:
                return b - a * self.rng.choice((3, 8, -5))
            case 5:
                return a >> bits
            case 6:
                return rounded_shift(a, bits)
            case 7:
                return minimum(a, b)
            case 8:
                return maximum(a, b)
            case 9:
                return saturate(a)
            case 10:
                return sel(a < b, self.expression(index, 1), b)
            case 11:
                return sel(eq(a, b), a, self.expression(index, 1)) + (a < b)
            case 12:
                return (a & ((1 << bits) - 1)) << self.rng.randint(0, 3)
            case 13:
                return length(maximum(a, 0)) + (b >> minimum(maximum(a, 0), 31))
            case 14:
                return maximum(a, 0) // (self.buffer((), Interval(0, 70000))() + 1)
        return clamp(a, Interval(-bits, 1 << bits)) - maximum(0, a)

    def map(self, number: int) -> Map:
        n = LENGTHS[number % len(LENGTHS)]
        var = Var("j", n)
        kind = number % 4
        index = (Var("o", 3), var) if kind == 1 else (var,)
        e = self.expression(index, self.rng.randint(1, 4))
        if kind == 2:
            over: Reduce | None = None
            while over is None:
                try:
                    over = self.rng.choice((total, largest, smallest))(var, e)
                    interval(over)
                except ValueError:
                    e, over = e >> 8, None
            return Map(f"m{number}", Buffer(f"out{number}", (), interval(over)), (), over)
        if kind == 3:  # in place
            dst = Buffer(f"out{number}", (n,), INT16)
            e = saturate(clamp(e, Interval(-(1 << 20), 1 << 20)) + dst[var])
        else:
            dst = Buffer(f"out{number}", tuple(v.extent for v in index), interval(e))
        return Map(f"m{number}", dst, index, e)


@pytest.mark.parametrize("seed", SEEDS)
def test_lanes_compute_what_a_map_means(seed: int, tmp_path: Path) -> None:
    drawn = Drawn(seed)
    groups = []
    while len(groups) < MAPS:
        m = drawn.map(len(groups))
        if all(i.hi <= INT32.hi or c_type(i) == "uint32_t" for i in (interval(m.expr),)):
            groups.append([m])
    text = compare(BOARD, groups, tmp_path, LaneFunction)
    assert text.count("dlstp") > MAPS // 2
