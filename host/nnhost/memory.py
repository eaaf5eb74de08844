"""The memory plan: where each buffer of a Program lives on a board.

Only the 8051 has more than one RAM. There, scalars and the small buffers that a step reads most
often go to the internal RAM (idata), as far as the board grants it; the rest goes to the external
one (xdata). Elsewhere everything is plain RAM. Tables are constants in flash.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnhost.ir import (
    Buffer,
    Expr,
    Load,
    Map,
    Op,
    Program,
    Reduce,
    c_type,
    children,
    interval,
    type_bytes,
    walk,
)

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
#: The Maps that do most of the work keep that, as far as this many bytes go; the others use the
#: stack, which is slower and takes more code.
FIXED_LOCALS = 75
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


def local_bytes(m: Map) -> int:
    """Bytes that SDCC may take for the locals of a Map, from its 32-bit operations and loops."""
    wide = sum(
        type_bytes(c_type(interval(n), *map(interval, n.args))) == 4
        for n in set(walk(m.expr))
        if isinstance(n, Op)
    )
    return (wide, (8 * wide + 4) // 5, 3 * wide)[len(m.index)]


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
    stacked = []
    fixed = 0
    for m in sorted(program.maps(), key=lambda m: (-work.get(m.name, 0), m.name)):
        fixed += local_bytes(m)
        if fixed > FIXED_LOCALS:
            stacked.append(m.name)
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
    return MemoryPlan(space, used, frozenset(stacked))
