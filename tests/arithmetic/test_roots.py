"""Reciprocal square roots in integers, against real numbers."""

from __future__ import annotations

import math
import random

from nnhost.ir import UINT32, Buffer, Map, Program
from nnhost.roots import reciprocal_root, root_shift
from nnhost.simulator import Simulator

X = Buffer("x", (), UINT32, "input")
SHIFT_MAP = Map("shift", Buffer("shift", (), UINT32), (), root_shift(X()))
ROOT_MAP = Map("root", Buffer("root", (), UINT32), (), reciprocal_root(X(), root_shift(X())))


SIMULATOR = Simulator(
    Program({"init": [], "find": [SHIFT_MAP, ROOT_MAP]}, sample=(X, X)), checked=True
)


def roots(x: int) -> tuple[int, int]:
    SIMULATOR.memory["x"] = x
    SIMULATOR.run("find")
    return SIMULATOR.memory["root"], SIMULATOR.memory["shift"]


def test_reciprocal_roots() -> None:
    rng = random.Random(1)
    ends = [x for k in range(32) for x in (2**k - 1, 2**k, 2**k + 1) if x]
    for x in [
        *range(1, 300),
        *ends,
        2**32 - 1,
        *(int(2 ** rng.uniform(0, 32)) for _ in range(999)),
    ]:
        root, shift = roots(x)
        assert 4**shift <= x < 4 ** (shift + 1)
        assert 16384 <= root <= 32767
        assert abs(root * 2.0 ** -(15 + shift) * math.sqrt(x) - 1) < 2.0**-11


def test_the_root_of_nothing_is_that_of_one() -> None:
    assert roots(0) == roots(1) == (32767, 0)
