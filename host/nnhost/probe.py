"""Firmware that can be looked into: `[build] probe`, which `nnhost bisect` uses.

It counts down before each computation of a step and leaves out what comes after 0, and its state
has the counter and the buffers that a step writes behind those of training. So a host that knows
only how to READ, WRITE and STEP can stop it anywhere, and see everything.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnhost.ir import UINT16, Buffer, Map, Program
from nnhost.kernels.mcs51_passes import STEP
from nnhost.kernels.rules import Rules, together
from nnhost.memory import MemoryPlan

#: How many computations of a step are still to be made. The last number of the state.
COUNTER = Buffer("probe", (), UINT16, "state", doc="computations still to be made")
#: What a step runs, in order; the first where it opens an epoch.
SECTIONS = ("epoch", *STEP)
#: The C function that tells whether a computation is made.
GUARD = "nn_probed"


@dataclass(frozen=True)
class Computation:
    """What a firmware computes at once: some Maps, or, on an 8051, a `kernel` in assembly that does
    the work of several (None in C)."""

    section: str
    maps: tuple[Map, ...]
    kernel: str | None = None


def computations(memory: MemoryPlan, program: Program, rules: Rules) -> list[Computation]:
    """All computations of a step that opens an epoch, in the order in which a target makes them."""
    space = memory.space.__getitem__
    found: list[Computation] = []
    for section in SECTIONS:
        by_name = {m.name: m for m in program.sections[section]}
        waiting: tuple[Map, ...] = ()
        for group in together(memory.program.sections[section], rules, space):
            p = memory.passes.get(group[0].name)
            maps = tuple(by_name[m.name] for m in group)
            if p is not None and not p.calls:
                # Another's work: of the pass before, or of the one that is still to come.
                last = found[-1] if found else None
                same = last and last.section == section and last.kernel
                if last and same and memory.passes[last.maps[-1].name].matrix == p.matrix:
                    found[-1] = Computation(section, (*last.maps, *maps), last.kernel)
                else:
                    waiting += maps
                continue
            kernel = p.kernel if p else None
            found.append(Computation(section, (*waiting, *maps), kernel))
            waiting = ()
    return found


def probed(program: Program, memory: MemoryPlan) -> Program:
    """The Program whose state is all that a step writes, and the counter."""
    there = dict.fromkeys(m.dst for name in SECTIONS for m in program.sections[name])
    more = [b for b in there if b in memory.space and b not in program.state]
    state = (*program.state, *more, COUNTER)
    return Program(program.sections, state, program.sample, program.trace)


def guard_function() -> list[str]:
    """The C that counts down."""
    return [
        f"static uint8_t {GUARD}(void) {{",
        "    if (nn_probe == 0U) {",
        "        return 0U;",
        "    }",
        "    nn_probe--;",
        "    return 1U;",
        "}",
        "",
    ]
