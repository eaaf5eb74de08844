"""The memory plan: where each buffer of a Program lives on a board.

Only the 8051 has more than one RAM. There, scalars and the small buffers that a step reads most
often go to the internal RAM (idata), as far as the board grants it; the rest goes to the external
one (xdata). Elsewhere everything is plain RAM. Tables are constants in flash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
)
from nnhost.kernels.mcs51_passes import STEP, Pass, applied, find, needed
from nnhost.kernels.planes import PAGE, Planes, narrow, place
from nnhost.kernels.rules import Rules, Space, row_kernel, sum_kernel, wanted_spaces

#: In place of a C qualifier: the buffer is no array, but lies in planes.
IN_PLANES = "planes"
#: Bytes of idata through which passes look at longer inputs.
WINDOW = 32
#: Owned by the firmware's core, which declares them itself.
CORE_OWNED = ("prng_state",)


@dataclass(frozen=True)
class MemoryPlan:
    """`space`: the C qualifier of each buffer ("" where there is one RAM). `used`: bytes a space
    ("idata" and "xdata" on an 8051, else "ram"), of the net's own buffers alone. `stacked`: names
    of Maps whose local variables go to the stack. `program`: what is left for C to compute after
    the `passes`, which are there if parameters lie in `planes`, from external address 0; they look
    at inputs in external RAM through a `window` of so many bytes of idata. `at`: external addresses
    of buffers that fill what planes leave free."""

    space: dict[Buffer, str]
    used: dict[str, int]
    stacked: frozenset[str]
    program: Program
    planes: Planes | None = None
    passes: Mapping[str, Pass] = field(default_factory=dict)
    window: int = 0
    at: Mapping[Buffer, int] = field(default_factory=dict)


#: On the 8051 the locals of a function have fixed addresses, and only leaf functions share them.
#: The Maps that do most of the work keep that, as far as this many bytes go; the others use the
#: stack, which is slower and takes more code.
FIXED_LOCALS = 64
#: What a loop keeps while it calls a kernel: its counter and a 32-bit value.
KEPT_FOR_CALL = 5


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


def local_bytes(m: Map, rules: Rules, space: Space) -> int:
    """Bytes that SDCC may take for the locals of a Map, from its 32-bit operations and loops."""
    if row_kernel(rules, m, space):
        return KEPT_FOR_CALL
    kept = 0
    summed = False
    wide = set()
    below: list[Expr] = [m.expr]
    seen: set[Expr] = set()
    while below:
        e = below.pop()
        if e in seen:
            continue
        seen.add(e)
        if sum_kernel(rules, e, space):
            assert isinstance(e, Reduce)
            kept = KEPT_FOR_CALL
            below.append(e.init)
            continue
        if isinstance(e, Op) and type_bytes(c_type(interval(e), *map(interval, e.args))) == 4:
            wide.add(e)
        if isinstance(e, Reduce):
            summed = not m.index
        below += children(e)
    many = len(wide)
    # Products that are not kernels keep their factors longer.
    inner = 3 if rules else 4
    # Of a scalar's sum, the terms as well as the sum are kept.
    single = 4 * many if summed else many
    return kept + (single, (5 * many + 1) // 2, inner * many)[len(m.index)]


def placed(program: Program) -> list[Buffer]:
    """The buffers that the generated C declares in RAM."""
    return [b for b in program.buffers if b.role != "table" and b.name not in CORE_OWNED]


def make_memory(
    program: Program, internal: int | None, rules: Rules = (), external: int = 0
) -> MemoryPlan:
    """Place all buffers; `internal` is the idata budget in bytes, None where RAM is one. What the
    kernels of `rules` take from the internal RAM goes there first. An 8051 keeps its parameters in
    planes where that fits into `external` bytes, which the core has left; 0 if it has no passes."""
    if internal is None:
        buffers = placed(program)
        wanted = wanted_spaces([m for name in STEP for m in program.sections[name]], rules)
        used = {"ram": sum(b.bytes for b in buffers)}
        space = {b: wanted.get(b, "") for b in buffers}
        return MemoryPlan(space, used, frozenset(), program)
    if external and (passes := find(program)):
        inside = {b for p in passes.values() for b in p.inside}
        window = 0 if sum(b.bytes for b in inside) <= internal else WINDOW
        left = internal - window
        planes = place(tuple(dict.fromkeys(p.matrix for p in passes.values())))
        if external < PAGE:
            planes = narrow(planes)
        memory = _two_memories(applied(program, passes), left, rules, passes, window, planes)
        if left >= 0 and memory.used["xdata"] <= external:
            return memory
    return _two_memories(program, internal, rules)


def _two_memories(
    program: Program,
    internal: int,
    rules: Rules,
    passes: Mapping[str, Pass] | None = None,
    window: int = 0,
    planes: Planes | None = None,
) -> MemoryPlan:
    there = needed(program, passes or {})
    buffers = [b for b in placed(program) if b in there]
    heat: dict[Buffer, int] = {}
    work: dict[str, int] = {}
    for section in STEP:
        for m in program.sections[section]:
            touched = loads(m)
            work[m.name] = sum(touched.values())
            for buffer, times in touched.items():
                heat[buffer] = heat.get(buffer, 0) + times
    wanted = wanted_spaces([m for name in STEP for m in program.sections[name]], rules)
    for p in passes.values() if passes else ():
        wanted |= dict.fromkeys(p.inside, "NN_IDATA") | dict.fromkeys(p.outside, "NN_XDATA")
    if planes:
        wanted |= dict.fromkeys(planes.buffers, IN_PLANES)
    space = {b: IN_PLANES if wanted.get(b) == IN_PLANES else "NN_XDATA" for b in buffers}
    left = internal

    def rank(b: Buffer) -> tuple[bool, float, str]:
        return (wanted.get(b) != "NN_IDATA", -heat.get(b, 0) / b.bytes, b.name)

    for buffer in sorted(buffers, key=rank):
        welcome = wanted.get(buffer, "NN_IDATA") == "NN_IDATA"
        if buffer.bytes <= left and heat.get(buffer, 0) and welcome:
            space[buffer] = "NN_IDATA"
            left -= buffer.bytes
    stacked = []
    fixed = planes.scratch if planes else 0
    for m in sorted(program.maps(), key=lambda m: (-work.get(m.name, 0), m.name)):
        if passes and m.name in passes and passes[m.name].rest is None:
            continue
        fixed += local_bytes(m, rules, space.__getitem__)
        if fixed > FIXED_LOCALS:
            stacked.append(m.name)
    outside = [b for b in buffers if space[b] == "NN_XDATA"]
    at = _filled(planes.holes, outside) if planes else {}
    used = {
        "idata": internal - left + window,
        "xdata": sum(b.bytes for b in outside if b not in at) + (planes.bytes if planes else 0),
    }
    stacks = frozenset(stacked)
    return MemoryPlan(space, used, stacks, program, planes, passes or {}, window, at)


def _filled(holes: list[tuple[int, int]], buffers: list[Buffer]) -> dict[Buffer, int]:
    """Addresses of buffers in holes of memory, the largest first."""
    at: dict[Buffer, int] = {}
    for begin, size in holes:
        for buffer in sorted(buffers, key=lambda b: (-b.bytes, b.name)):
            if buffer not in at and buffer.bytes <= size:
                at[buffer] = begin
                begin, size = begin + buffer.bytes, size - buffer.bytes
    return at
