"""Kernels of the 8051 against the patterns of their rules, in uCsim.

The vectors come from the rules themselves: arguments are drawn for the holes, within their
intervals and at their ends, and a small reading of the pattern says what must come out.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from math import prod
from pathlib import Path

import pytest

from nnhost import boards
from nnhost.generate import board_sources, prepare
from nnhost.ir import Const, Draw, Expr, Interval, Load, Op, Reduce, Var, type_bytes, walk
from nnhost.kernels.mcs51 import MULTIPLY, SATURATE
from nnhost.kernels.mcs51_outputs import RULES
from nnhost.kernels.rules import Hole, LoopRule, Rule
from nnhost.losses.softmax_cross_entropy import EXP
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import load_project

KERNELS = firmware_dir() / "kernels" / "mcs51"
CORE = firmware_dir() / "core"
TESTED = (*RULES, MULTIPLY, SATURATE)
#: A rule for scalars is one for a loop of one round, about which the kernel is told nothing.
SCALARS = {r.kernel for r in TESTED if isinstance(r, Rule)}
LOOPS = [
    r if isinstance(r, LoopRule) else LoopRule(r.kernel, r.pattern, Var("i", 1), r.holes)
    for r in TESTED
]
#: External RAM: arrays stand in the first part, where a page ends; results are written behind.
AREA, OUT = 0x0100, 0x4000
#: Array types by space; tables are in code.
POINTER = {"NN_XDATA": "__xdata", "NN_IDATA": "__idata"}

HARNESS = """
#include "nn_kernel.h"
#include "nn_prng.h"

static const __code uint8_t cases[] = {%(cases)s};
%(table)s
static __idata uint8_t inside[64];
static const __code uint8_t *in;
static __xdata uint32_t argument[12];
static __xdata uint32_t result;
static __xdata uint16_t start, count, i, k;
static __xdata uint8_t within;

static uint16_t word(void) {
    const uint8_t low = *in++;
    return low | ((uint16_t)*in++ << 8);
}

void finished(void) {}

void main(void) {
    __xdata uint8_t *to = (__xdata uint8_t *)%(out)dU;
    in = cases;
    for (k = 0; k < %(many)dU; k++) {
        for (i = 0; i < %(arguments)dU; i++) {
            argument[i] = word();
            argument[i] |= (uint32_t)word() << 16;
        }
        nn_prng_state = word();
        start = word();
        count = word();
        within = *in++;
        for (i = 0; i < count; i++) {
            ((__xdata uint8_t *)0)[start + i] = *in++;
        }
        for (i = 0; i < within; i++) {
            inside[i] = *in++;
        }
        result = 0;
        %(call)s;
        for (i = 0; i < count; i++) {
            *to++ = ((__xdata uint8_t *)0)[start + i];
        }
        for (i = 0; i < within; i++) {
            *to++ = inside[i];
        }
        *to++ = (uint8_t)result;
        *to++ = (uint8_t)(result >> 8);
        *to++ = (uint8_t)(result >> 16);
        *to++ = (uint8_t)(result >> 24);
        *to++ = (uint8_t)nn_prng_state;
        *to++ = (uint8_t)(nn_prng_state >> 8);
    }
    finished();
    for (;;) {
    }
}
"""


@dataclass
class Case:
    """One call for a rule: what the holes hold, the rounds of the outer loop (1 if there is none)
    and of the inner, the generator's state, and where the arrays begin."""

    rule: LoopRule
    rows: int
    n: int
    scalars: dict[Hole, int]
    arrays: dict[Hole, list[int]]
    state: int
    at: int
    places: dict[Hole, int] = field(default_factory=dict)

    @property
    def roots(self) -> tuple[Expr, ...]:
        """The trees of the rule."""
        rule = self.rule
        return tuple(e for e in (rule.dst, rule.pattern, *(rule.then or ())) if e is not None)

    def index(self, hole: Hole) -> tuple[Expr, ...]:
        """How the rule reaches an array's elements."""
        loads = (e for root in self.roots for e in walk(root) if isinstance(e, Load))
        return next(load.index for load in loads if load.buffer is hole)

    def shape(self, hole: Hole) -> tuple[int, ...]:
        """How much of an array the loops reach; all of a dimension that they do not run over."""
        extents = {self.rule.outer: self.rows, self.rule.loop: self.n}
        dimensions = zip(self.index(hole), hole.shape, strict=True)
        return tuple(extents.get(i, n) if isinstance(i, Var) else n for i, n in dimensions)

    def memory(self, space: str) -> bytes:
        """The arrays of a space, with bytes between them that no kernel may change."""
        text = bytearray()
        for hole, values in self.arrays.items():
            if hole.space == space:
                text += b"\xa5" * 3
                self.places[hole] = len(text)
                text += b"".join(_bytes(v, type_bytes(hole.c_type)) for v in values)
        return bytes(text + b"\xa5" * 3)


def _bytes(value: int, size: int) -> bytes:
    return (value & (256**size - 1)).to_bytes(size, "little")


# ---- what must come out -------------------------------------------------------------------------

OPERATORS: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a // b,
    "and": lambda a, b: a & b,
    "shl": lambda a, b: a << b,
    "shr": lambda a, b: a >> b,
    "min": min,
    "max": max,
    "lt": lambda a, b: int(a < b),
    "eq": lambda a, b: int(a == b),
}


def value(e: Expr, case: Case, at: dict[Var, int]) -> int:
    """What an expression is at a point."""
    match e:
        case Const(number):
            return number
        case Var():
            return at[e]
        case Draw():
            x = case.state
            x = (x ^ (x << 7)) & 65535
            x = x ^ (x >> 9)
            case.state = (x ^ (x << 8)) & 65535
            return case.state
        case Load(Hole() as hole, ()):
            return case.scalars[hole]
        case Load(Hole() as hole, index):
            place = 0
            for i, extent in zip(index, case.shape(hole), strict=True):
                place = place * extent + value(i, case, at)
            return case.arrays[hole][place]
        case Op("sel", (c, a, b)):
            return value(a if value(c, case, at) else b, case, at)
        case Op(name, (a, b)):
            return OPERATORS[name](value(a, case, at), value(b, case, at))
        case Reduce(name, var, body, init):
            each = [value(body, case, {**at, var: i}) for i in range(case.n)]
            return {"sum": sum, "min": min, "max": max}[name](each) + (
                value(init, case, at) if name == "sum" else 0
            )
    raise TypeError(e)


def expected(case: Case) -> int:
    """Runs the rule's pattern on the case's arrays; the value of a reduction."""
    rule = case.rule
    if rule.dst is None:
        return value(rule.pattern, case, {})
    extents = {rule.outer: case.rows, rule.loop: case.n}
    for dst, pattern in ((rule.dst, rule.pattern), *((rule.then,) if rule.then else ())):
        index = [i for i in dst.index if isinstance(i, Var)]
        to = case.arrays[dst.buffer]
        for i, point in enumerate(product(*(range(extents[v]) for v in index))):
            to[i] = value(pattern, case, dict(zip(index, point, strict=True)))
    return 0


# ---- cases --------------------------------------------------------------------------------------


def _drawn(rng: random.Random, bounds: Interval, edge: float) -> int:
    lo, hi = bounds
    if rng.random() < edge:
        return rng.choice([q for q in (lo, lo + 1, -1, 0, 1, hi - 1, hi) if lo <= q <= hi])
    size = rng.choice([hi, hi, 1 << rng.randrange(1, 31)])
    return rng.randint(max(lo, -size), max(lo, min(hi, size)))


def cases(rule: LoopRule, longest: int) -> Iterator[Case]:
    """Every length up to 17, and longer ones; drawn, and at the intervals' ends."""
    rng = random.Random(_about(rule))
    inside = any(h.space == "NN_IDATA" for h in rule.holes)
    lengths = [*range(1, 18), 40, min(longest, 50) if inside else longest]
    for n in [1] * 300 if rule.kernel in SCALARS else lengths:
        rows = 1 if rule.outer is None else rng.randint(1, 9)
        n = min(n, rule.loop.extent)
        edge = rng.choice([0.1, 0.5, 0.9])
        scalars = {h: _drawn(rng, h.interval, edge) for h in rule.holes if not h.shape}
        at = AREA + 256 - rng.randrange(40)
        case = Case(rule, rows, n, scalars, {}, rng.randint(1, 65535), at)
        for h in rule.holes:
            if h.space == "NN_CODE":
                case.arrays[h] = list(EXP.values)
            elif h.shape:
                size = prod(case.shape(h))
                case.arrays[h] = [_drawn(rng, h.interval, edge) for _ in range(size)]
        likely(case, rng)
        yield case


def likely(case: Case, rng: random.Random) -> None:
    """Draws what would hardly be met by chance."""
    rule = case.rule
    holes = {h.name: h for h in rule.holes}
    if "logits" in holes and "top" in holes and rng.random() < 0.8:
        logits = case.arrays[holes["logits"]]
        shift = 8 - (rule.numbers[0].bit_length() - 1) if rule.numbers else 4
        top = case.scalars[holes["top"]] // 2
        logits[:] = [top - rng.randint(-9, 300 << shift) for _ in logits]
        case.scalars[holes["top"]] = max(logits) if rng.random() < 0.8 else rng.choice(logits)
    if "wanted" in holes and rng.random() < 0.8:
        case.scalars[holes["wanted"]] = rng.choice(case.arrays[holes["logits"]])
    if "mass" in holes and rng.random() < 0.7:
        gaps, mass = case.arrays[holes["gap"]], holes["mass"]
        gaps[:] = [min(255, int(rng.expovariate(1 / 30))) for _ in gaps]
        whole = sum(EXP.values[g] for g in gaps)
        near = whole + rng.choice([0, 0, 0, 1, -1, 32768 - whole])
        case.scalars[mass] = max(mass.interval.lo, min(mass.interval.hi, near))
    if "target" in holes and rng.random() < 0.9:
        case.scalars[holes["target"]] = rng.randrange(case.n)


def arguments(case: Case) -> list[int]:
    """Addresses and values, in the order of the call."""
    rule = case.rule
    case.memory("NN_IDATA")
    case.memory("NN_XDATA")
    given = []
    for h in rule.holes:
        if not h.shape:
            given.append(case.scalars[h])
        elif h.space == "NN_XDATA":
            last = case.index(h)[-1]
            begin = last.value * type_bytes(h.c_type) if isinstance(last, Const) else 0
            given.append(case.at + case.places[h] + begin)
        else:
            given.append(case.places.get(h, 0))
    if rule.kernel not in SCALARS:
        given += [case.rows, case.n] if rule.outer else [case.n]
    stride = [2 * rule.strided.shape[1]] if rule.strided else []
    return [*given, *stride, *rule.numbers]


def call(rule: LoopRule) -> str:
    """The C of the call, with its arguments from the array."""
    given = []
    for i, h in enumerate(rule.holes):
        word = f"argument[{i}]"
        if not h.shape:
            given.append(f"({h.c_type}){word}")
        elif h.space == "NN_XDATA":
            given.append(f"({h.c_type} __xdata *)(uint16_t){word}")
        elif h.space == "NN_IDATA":
            given.append(f"({h.c_type} __idata *)(inside + (uint8_t){word})")
        else:
            given.append("table")
    loops = 0 if rule.kernel in SCALARS else len(rule.loops)
    rest = loops + (rule.strided is not None) + len(rule.numbers)
    given += [f"argument[{len(rule.holes) + i}]" for i in range(rest)]
    text = f"{rule.kernel}({', '.join(given)})"
    return text if rule.dst else f"result = (uint32_t)(int32_t){text}"


@cache
def objects(folder: Path) -> tuple[str, ...]:
    """All kernels of this module, compiled once."""
    names = sorted({r.kernel for r in LOOPS})
    config = "".join(f"#define {name.upper()} 1\n" for name in names)
    (folder / "nn_config.h").write_text(config)
    for file in [*(KERNELS / f"{n}.c" for n in names), CORE / "nn_prng.c"]:
        compiled(folder, str(file))
    return (*(f"{n}.rel" for n in names), "nn_prng.rel")


def compiled(folder: Path, file: str) -> None:
    includes = [f"-I{d}" for d in (folder, KERNELS, CORE)]
    _tool(["sdcc", "-mmcs51", "--std-c99", "--Werror", *includes, "-c", file], folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


def run(folder: Path, given: list[Case]) -> list[tuple[bytes, bytes, int, int]]:
    """Call the kernel on the target: both memories, the result and the generator's state."""
    rule = given[0].rule
    data = bytearray()
    for case in given:
        outside, inside = case.memory("NN_XDATA"), case.memory("NN_IDATA")
        for number in arguments(case):
            data += _bytes(number, 4)
        data += b"".join(_bytes(q, 2) for q in (case.state, case.at, len(outside)))
        data += bytes([len(inside)]) + outside + inside
    others = objects(folder)
    table = f"static const __code uint16_t table[] = {{{','.join(map(str, EXP.values))}}};"
    text = HARNESS % {
        "cases": ",".join(map(str, data)), "many": len(given), "call": call(rule), "out": OUT,
        "arguments": len(arguments(given[0])),
        "table": table if "table" in call(rule) else "",
    }  # fmt: skip
    (folder / "main.c").write_text(text)
    compiled(folder, "main.c")
    _tool(["sdcc", "-mmcs51", "--xram-loc", "0x3000", "--iram-size", "256", "main.rel", *others,
           "-o", "main.ihx"], folder)  # fmt: skip
    found = re.search(r"C:\s+([0-9A-F]+)\s+_finished", (folder / "main.map").read_text())
    assert found is not None
    sizes = [(len(c.memory("NN_XDATA")), len(c.memory("NN_IDATA"))) for c in given]
    end = OUT + sum(a + b + 6 for a, b in sizes)
    script = f"break 0x{found[1]}\nrun\ndump xram {OUT} {end + 7}\nquit\n"
    out = _tool(["s51", "-b", "-q", "-t", "C52", "main.ihx"], folder, script)
    # A row may be shorter: the simulator begins a new one where code has a symbol.
    rows = re.findall(r"^0x[0-9a-f]{4} +((?:[0-9a-f]{2} )+)", out, re.MULTILINE)
    memory = bytes.fromhex("".join(rows))
    assert len(memory) >= end - OUT
    results, place = [], 0
    for outside, inside in sizes:
        cut = memory[place : place + outside + inside + 6]
        place += len(cut)
        number = int.from_bytes(cut[-6:-2], "little", signed=True)
        state = int.from_bytes(cut[-2:], "little")
        results.append((cut[:outside], cut[outside:-6], number, state))
    return results


def _tool(command: list[str], folder: Path, text: str = "") -> str:
    done = subprocess.run(
        command, cwd=folder, input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-500:]}{done.stderr[-1000:]}"
    return done.stdout


def _about(rule: LoopRule) -> str:
    return "-".join([rule.kernel.removeprefix("nn_kernel_"), *map(str, rule.numbers)])


@pytest.mark.parametrize("kernel", dict.fromkeys(r.kernel for r in LOOPS))
def test_a_kernel_computes_the_patterns_of_its_rules(kernel: str, folder: Path) -> None:
    rules = [r for r in LOOPS if r.kernel == kernel]
    given = [case for rule in rules for case in cases(rule, 255 if rule == rules[-1] else 20)]
    got = run(folder, given)
    for case, (outside, inside, result, state) in zip(given, got, strict=True):
        about = f"{_about(case.rule)}, {case.rows} times {case.n}: {case.scalars}, {case.arrays}"
        wanted = expected(case)
        assert outside == case.memory("NN_XDATA"), about
        assert inside == case.memory("NN_IDATA"), about
        assert (result, state) == (wanted, case.state), about


@pytest.mark.parametrize(
    ("example", "settings", "kernels"),
    [
        ("digits", [], {"draw", "narrow", "largest", "find", "gap", "mass", "share"}),
        ("digits", ["net.preset=q16"], {"draw", "factor", "largest", "find", "mass", "share"}),
        ("xor", [], {"draw", "narrow"}),  # the passes do the rest
        ("xor", ["train.l2=0.01"], {"draw", "narrow"}),
        ("xor", ["train.l2=0.5"], {"draw", "factor", "narrow", "rows", "slope"}),  # too strong
        ("xor", ["train.l2=0.5", "train.lr=0.00001"], {"draw", "narrow"}),
        ("xor", ["train.clip_value=1.0"], {"draw", "narrow"}),
        ("xor", ["build.kernels=portable"], set()),
    ],
)
def test_a_net_calls_the_kernels_it_can(
    example: str, settings: list[str], kernels: set[str]
) -> None:
    network = prepare(load_project(examples_dir() / example, settings))
    board = network.project.board.name
    text = board_sources(network, boards.get(board))["nn_net.c"]
    names = {r.kernel for r in RULES if f"{r.kernel}(" in text}
    assert {n.removeprefix("nn_kernel_") for n in names} == kernels
