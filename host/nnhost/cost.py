"""What a training step costs before anything is built: cycles, from the Program alone.

Every node of an expression runs once for each combination of the loop indices it depends on, since
the emitted C moves it that far out. Each kind of operation has a price by its width. Terms that a
zero skips are taken to be half of all. The figure is an estimate, a fifth off or more: nnhost bench
counts, and bench/boards.md has counts to compare it with.
"""

from __future__ import annotations

from collections.abc import Mapping

from nnhost.ir import (
    Buffer,
    Const,
    Draw,
    Expr,
    Load,
    Map,
    Op,
    Program,
    Reduce,
    Var,
    c_type,
    children,
    free,
    interval,
    skips,
    type_bytes,
)
from nnhost.kernels import RULES
from nnhost.kernels.mcs51_passes import STEP, Gradient, Pass, Step, Sums, Velocity
from nnhost.kernels.planes import BLOCK
from nnhost.kernels.rules import Rules, row_kernel, sum_kernel

#: Share of the points and terms with a zero in them, as ReLU nets on images show it.
ZEROS = 0.5
#: Share of the rows of a layer that have a factor.
ROWS = 0.6

_KINDS = {
    "add": "add", "sub": "add", "and": "add", "mul": "mul", "div": "div", "shl": "shift",
    "shr": "shift", "min": "choose", "max": "choose", "sel": "choose", "lt": "choose",
    "eq": "choose",
}  # fmt: skip

#: Prices for widths of 1, 2 and 4 bytes: machine cycles of an 8051, instructions of a Cortex-M.
PRICES: dict[str, dict[str, tuple[float, float, float]]] = {
    "mcs51": {
        "load": (9, 17, 30), "add": (4, 9, 22), "mul": (12, 45, 150), "div": (20, 250, 1100),
        "shift": (6, 12, 45), "choose": (8, 16, 40), "loop": (8, 8, 8), "draw": (60, 60, 60),
    },
    "cortex-m": {
        "load": (1, 1, 1), "add": (1, 1, 1), "mul": (1, 1, 1), "div": (12, 12, 12),
        "shift": (1, 1, 1), "choose": (2, 2, 2), "loop": (2, 2, 2), "draw": (12, 12, 12),
    },
}  # fmt: skip

#: A call of a kernel that runs a loop, in machine cycles, and one round of it, half of the inputs
#: being zero.
CALL = 60
ROUND = {
    "nn_kernel_dot_u8": 19, "nn_kernel_dot_s8": 23, "nn_kernel_update_u8": 26,
    "nn_kernel_update_s8": 38, "nn_kernel_gather_u8": 30, "nn_kernel_gather_s8": 42,
    "nn_kernel_add": 38, "nn_kernel_draw": 23, "nn_kernel_factor": 110, "nn_kernel_narrow": 17,
    "nn_kernel_largest": 36, "nn_kernel_find": 17, "nn_kernel_gap": 77, "nn_kernel_mass": 41,
    "nn_kernel_share": 180, "nn_kernel_squares": 111, "nn_kernel_rows": 90,
}  # fmt: skip


def step_cycles(
    program: Program, family: str, *, kernels: bool = True, passes: Mapping[str, Pass] | None = None
) -> int | None:
    """Cycles (8051: machine cycles; Cortex-M: instructions) of one training step, without the
    link; None for a family without prices, or whose kernels have none. `kernels`: those of the
    family are used; `passes`: what an 8051 computes by them."""
    prices = PRICES.get(family)
    if prices is None or (kernels and family not in RULES):
        return None
    rules = RULES.get(family, ()) if kernels else ()
    total = 0.0
    for m in (m for name in STEP for m in program.sections[name]):
        done = passes.get(m.name) if passes else None
        left = done.rest if done else m
        total += _pass_cost(done) if done else 0.0
        total += _map_cost(left, prices, rules) if left else 0.0
    return round(total)


def _pass_cost(p: Pass) -> float:
    """Machine cycles of a pass, from the loops that bench/kernels.md counts."""
    outputs, inputs = p.matrix.weight.shape
    blocks = -(-outputs // BLOCK)
    match p:
        case Sums():
            active, signed = _active(p.source, inputs)
            column = 13 + 10 * signed
            ends = outputs * (18 + (35 if p.shift else 32)) + 60 * blocks
            return active * (outputs * (16.3 + signed) + column * blocks) + (
                9 * (inputs - active) * blocks + ends
            )
        case Gradient():
            used = inputs * (1 - ZEROS if p.gate else 1.0)
            return used * (outputs * 24 + 75 * blocks) + (inputs - used) * 40 + 150 * blocks
        case Step():
            active, signed = _active(p.source, inputs)
            rows = outputs * ROWS
            drawn = 130 * rows + 47 * (outputs - rows)
            columns = (27 + 10 * signed) * (active + 1) + 12 * (inputs - active)
            return drawn + columns * blocks + 34 * rows * (active + 1)
        case Velocity():
            active, _ = _active(p.source, inputs)
            # Not all rows of a batch are its first or last.
            slots = (45 if p.first is None else 25) * inputs
            return outputs * (130 + slots + 15 * active)
    return 0.0


def _active(source: Buffer, inputs: int) -> tuple[float, int]:
    """How many inputs are not 0, and whether they have a sign."""
    signed = source.interval.lo < 0
    return inputs * (1.0 if signed else 1 - ZEROS), int(signed)


def _points(variables: frozenset[Var]) -> int:
    product = 1
    for v in variables:
        product *= v.extent
    return product


def _map_cost(m: Map, prices: dict[str, tuple[float, float, float]], rules: Rules) -> float:
    if (kernel := row_kernel(rules, m)) is not None:
        inner = len(m.index) - len(kernel[0].loops)
        rows, rounds = (_points(frozenset(part)) for part in (m.index[:inner], m.index[inner:]))
        # A row whose factor is zero is skipped, as a zero input is.
        skipped = inner and any(free(n) <= {*m.index[:inner]} for n in skips(m))
        return rows * (ZEROS if skipped else 1.0) * (CALL + rounds * ROUND[kernel[0].kernel])
    seen: set[Expr] = set()

    def width(e: Expr) -> int:
        return {1: 0, 2: 1, 4: 2}[type_bytes(c_type(interval(e)))]

    def visit(e: Expr, density: float) -> float:
        if e in seen or isinstance(e, Const | Var):
            return 0.0
        seen.add(e)
        times = density * _points(free(e))
        match e:
            case Reduce(_, var, _, init) if (kernel := sum_kernel(rules, e)) is not None:
                cost = CALL + var.extent * ROUND[kernel[0].kernel]
                return times * cost + visit(init, density)
            case Reduce(_, var, body, init):
                rounds = density * _points(free(e) | {var})
                inside = density * (ZEROS if _skips_terms(body) else 1.0)
                add = prices["add"][width(e)] * rounds * inside / density
                return prices["loop"][0] * rounds + add + visit(body, inside) + visit(init, density)
            case Draw():
                return prices["draw"][1] * _points(frozenset(m.index))
            case Load(_, index):
                return prices["load"][width(e)] * times + sum(visit(i, density) for i in index)
            case Op(name, args):
                widest = max(width(a) for a in (e, *args))
                price = prices[_KINDS[name]][widest]
                return price * times + sum(visit(a, density) for a in args)
        return sum(visit(c, density) for c in children(e))

    density = ZEROS ** min(2, len(skips(m)))
    points = _points(frozenset(m.index))
    store = prices["load"][{1: 0, 2: 1, 4: 2}[type_bytes(m.dst.c_type)]] * points * density
    return visit(m.expr, density) + store + prices["loop"][0] * points


def _skips_terms(body: Expr) -> bool:
    """Whether the emitted loop passes over terms with a zero byte in them."""
    if not isinstance(body, Op) or body.op != "mul":
        return False
    return any(isinstance(a, Load) and type_bytes(a.buffer.c_type) == 1 for a in body.args)
