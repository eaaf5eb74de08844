"""The memory plan: where each buffer of a Program lives on a board.

Only the 8051 has more than one RAM. There, scalars and the small buffers that a step reads most
often go to the internal RAM (idata), as far as the board grants it; the rest goes to the external
one (xdata). Elsewhere everything is plain RAM. Tables are constants in flash.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnhost.ir import Buffer, Expr, Load, Map, Program, Reduce, children

#: Owned by the firmware's core, which declares them itself.
CORE_OWNED = ("prng_state",)


@dataclass(frozen=True)
class MemoryPlan:
    """`space`: the C qualifier of each buffer ("" where there is one RAM). `used`: bytes a space
    ("idata" and "xdata" on an 8051, else "ram"), of the net's own buffers alone. `stacked`: names
    of Maps whose local variables go to the stack."""

    space: dict[Buffer, str]
    used: dict[str, int]
    stacked: frozenset[str]


#: On the 8051 the locals of a function have fixed addresses, and only leaf functions share them.
#: The few Maps with the largest shares of a step's work keep that; the others use the stack, or
#: iram would run out.
FIXED_LOCALS, FIXED_SHARE = 4, 0.1
STEP = ("forward", "measure", "backward", "update")


def loads(m: Map) -> dict[Buffer, int]:
    """How often one run of a Map touches each buffer, without the skips."""
    found: dict[Buffer, int] = {}

    def visit(e: Expr, times: int) -> None:
        if isinstance(e, Load):
            found[e.buffer] = found.get(e.buffer, 0) + times
        if isinstance(e, Reduce):
            visit(e.init, times)
            visit(e.body, times * e.var.extent)
            return
        for child in children(e):
            visit(child, times)

    points = 1
    for var in m.index:
        points *= var.extent
    visit(m.expr, points)
    found[m.dst] = found.get(m.dst, 0) + points
    return found


def placed(program: Program) -> list[Buffer]:
    """The buffers that the generated C declares in RAM."""
    return [b for b in program.buffers if b.role != "table" and b.name not in CORE_OWNED]


def make_memory(program: Program, internal: int | None) -> MemoryPlan:
    """Place all buffers; `internal` is the idata budget in bytes, None where RAM is one."""
    buffers = placed(program)
    if internal is None:
        used = {"ram": sum(b.bytes for b in buffers)}
        return MemoryPlan(dict.fromkeys(buffers, ""), used, frozenset())
    heat: dict[Buffer, int] = {}
    work: dict[str, int] = {}
    for section in STEP:
        for m in program.sections[section]:
            touched = loads(m)
            work[m.name] = sum(touched.values())
            for buffer, times in touched.items():
                heat[buffer] = heat.get(buffer, 0) + times
    least = FIXED_SHARE * sum(work.values())
    busiest = sorted((n for n in work if work[n] >= least), key=lambda n: (-work[n], n))
    busiest = busiest[:FIXED_LOCALS]
    space = dict.fromkeys(buffers, "NN_XDATA")
    left = internal
    for buffer in sorted(buffers, key=lambda b: (-heat.get(b, 0) / b.bytes, b.name)):
        if buffer.bytes <= left and heat.get(buffer, 0):
            space[buffer] = "NN_IDATA"
            left -= buffer.bytes
    used = {
        "idata": internal - left,
        "xdata": sum(b.bytes for b in buffers if space[b] == "NN_XDATA"),
    }
    stacked = frozenset(m.name for m in program.maps() if m.name not in busiest)
    return MemoryPlan(space, used, stacked)
