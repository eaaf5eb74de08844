"""Each kernel of a Cortex-M against its Maps, in QEMU: every tail, every end, every shift."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from nnhost import boards
from nnhost.emit_c import Function, c_name, declaration, sections, table_definition
from nnhost.emit_lanes import LaneFunction
from nnhost.ir import (
    INT8,
    INT16,
    UINT8,
    UINT16,
    Buffer,
    Const,
    Draw,
    Interval,
    Map,
    Program,
    Var,
    interval,
    total,
)
from nnhost.kernels import RULES
from nnhost.kernels.rules import Rules, wanted_spaces
from nnhost.layers.dense import Step, noise, spread
from nnhost.link.generate import messages_header
from nnhost.lower import PRNG_STATE
from nnhost.optimizers import OPTIMIZERS
from nnhost.paths import firmware_dir
from nnhost.simulator import Simulator

BOARDS = {name: boards.get(name) for name in ("qemu-m0", "qemu-m4", "qemu-m55")}
if "NNHOST_FULL_MATRIX" in os.environ:  # these have the kernels of the M4
    BOARDS |= {name: boards.get(name) for name in ("qemu-m7", "qemu-m33")}
#: QEMU's only M3 with room for all lengths.
BOARDS["M3"] = replace(
    boards.get("qemu-m7"),
    cpu="cortex-m3",
    kernels="thumb2",
    runner=boards.Runner("qemu", machine="mps2-an385"),
)
LENGTHS = (*range(1, 18), 24, 33)
ROWS = (1, 2, 3, 4, 5, 8, 9)
TRIALS = 3
ONE = Const(1)
ALONE = "__attribute__((noinline))"

#: Not inlined into the trials: these would take longer to compile than the kernels.
MAIN = """
#include "nn_port.h"

__attribute__((noinline)) static void put(const void *from, uint16_t size) {
    const uint8_t *at = from;
    for (; size != 0U; size--, at++) {
        nn_port_write((uint8_t)"0123456789abcdef"[*at >> 4]);
        nn_port_write((uint8_t)"0123456789abcdef"[*at & 15U]);
    }
    nn_port_write('\\n');
}

__attribute__((noinline)) static void get(void *to, const void *from, uint16_t size) {
    uint8_t *const at = to;
    for (uint16_t i = 0U; i < size; i++) {
        at[i] = ((const uint8_t *)from)[i];
    }
}
"""


def buffers(maps: list[Map]) -> list[Buffer]:
    """All that a section reads or writes."""
    return list(Program({"s": maps}).buffers)


def sums(name: str, x: Interval, seen: int, *, across: bool) -> Iterator[list[Map]]:
    """All sums of a layer or of its backward pass, of every length."""
    for n, rows in zip(LENGTHS, cycle(ROWS)):
        shape = (n, rows) if across else (rows, n)
        weight = Buffer(f"{name}w{n}", shape, INT16)
        o, j = Var("o", rows), Var("j", n)
        place = weight[j, o] if across else weight[o, j]
        sum_ = total(j, (place >> seen) * Buffer(f"{name}x{n}", (n,), x)[j])
        yield [Map(f"{name}{n}", Buffer(f"{name}out{n}", (rows,), interval(sum_)), (o,), sum_)]


def steps(
    name: str,
    optimizer: str,
    x: Interval,
    shift: int,
    extra: int = 0,
    momentum: int = 0,
    batch: bool = False,
) -> Iterator[list[Map]]:
    """Weights and biases of every length, changed by an optimizer with a sample, which is a batch
    or in one. (Where there is one column, its index has vanished from the Maps.)"""
    for n, rows in zip(LENGTHS[1:], cycle(ROWS)):
        o, j = Var("o", rows), Var("j", n)
        draws = Buffer(f"{name}draws{n}", (rows, 2), UINT16)
        factor = Buffer(f"{name}factor{n}", (rows,), INT16)
        inputs = Buffer(f"{name}x{n}", (n,), x)
        maps = []
        first = Buffer(f"{name}first{n}", (), Interval(0, 1))() if batch else ONE
        for kind, shape, index, column, value in (
            ("w", (rows, n), (o, j), j, inputs[j]),
            ("b", (rows,), (o,), n, 1 << (x.hi.bit_length() - 1)),
        ):
            weight = Buffer(f"{name}{kind}{n}", shape, INT16)
            held = momentum or batch
            slots = (Buffer(f"{name}{kind}slot{n}", shape, INT16),) if held else ()
            random = noise(draws[o, 1], spread(column, shift), shift)
            step = Step(factor[o], value, random, shift, extra, momentum)
            maps += OPTIMIZERS[optimizer].update(step.of(weight, slots, index, first, ONE))
        yield [replace(m, when=None) for m in maps]


def random_numbers(name: str) -> Iterator[list[Map]]:
    """Draws of a layer."""
    for rows in (1, 2, 7, 8, 9, 16, 33):
        to = Buffer(f"{name}to{rows}", (rows, 2), UINT16)
        yield [Map(f"{name}{rows}", to, (Var("o", rows), Var("q", 2)), Draw())]


def unsigned(bits: int) -> Interval:
    return Interval(0, (1 << bits) - 1)


def signed(bits: int) -> Interval:
    return Interval(-(1 << bits), (1 << bits) - 1)


#: A kernel, the type of its inputs, and what is special about it.
GROUPS = {
    "sums": lambda: [
        *sums("a", UINT8, 8, across=False),
        *sums("b", INT8, 8, across=False),
        *sums("c", unsigned(9), 0, across=False),
        *sums("d", signed(9), 0, across=False),
    ],
    "across": lambda: [
        *sums("a", INT8, 8, across=True),
        *sums("b", signed(9), 0, across=True),
    ],
    "update": lambda: [
        *steps("a", "sgd", UINT8, 8),
        *steps("b", "sgd", INT8, 8),
        *steps("c", "sgd", unsigned(9), 16),
        *steps("d", "sgd", signed(11), 12),
    ],
    "momentum": lambda: [
        *steps("a", "momentum", unsigned(9), 12, 0, 3686),
        *steps("b", "momentum", unsigned(9), 12, 1, 3686),
        *steps("c", "momentum", signed(8), 13, 2, 8191),
        *steps("d", "momentum", signed(14), 15, 6, 16385),
    ],
    "momentum of bytes": lambda: [
        *steps("a", "momentum", UINT8, 8, 0, 230),
        *steps("b", "momentum", UINT8, 8, 2, 255),
        *steps("c", "momentum", INT8, 8, 4, 230),
        *steps("d", "momentum", unsigned(14), 9, 1, 100),
    ],
    "batches": lambda: [
        *steps("a", "sgd", UINT8, 8, 4, batch=True),
        *steps("b", "sgd", signed(11), 12, 2, batch=True),
        *steps("c", "sgd", unsigned(9), 16, batch=True),
        *steps("d", "momentum", UINT8, 8, 2, 230, batch=True),
        *steps("e", "momentum", signed(9), 13, 0, 8191, batch=True),
    ],
    "draw": lambda: [*random_numbers("a")],
}


def drawn(buffer: Buffer, rng: np.random.Generator, trial: int) -> np.ndarray:
    """Elements: anywhere, at the ends or zero, or in runs of zeros."""
    lo, hi = buffer.interval
    anywhere = rng.integers(lo, hi + 1, buffer.shape)
    ends = rng.choice([v for v in (lo, lo + 1, -1, 0, 1, hi - 1, hi) if lo <= v <= hi],
                      buffer.shape)  # fmt: skip
    zeros = np.where(rng.random(buffer.shape) < 0.7, 0, anywhere)
    return (anywhere, ends, zeros)[trial % 3]


def array(values: np.ndarray, buffer: Buffer) -> str:
    """Initial values in C."""
    data = values.astype(f"<{'u' if buffer.interval.lo >= 0 else 'i'}4").tobytes()
    size = buffer.bytes // buffer.size
    kept = b"".join(data[4 * i : 4 * i + size] for i in range(buffer.size))
    return ", ".join(str(b) for b in kept)


def program_text(
    groups: list[list[Map]], rules: Rules, writer: type[Function] = Function
) -> tuple[str, list[str], Program]:
    """nn_net.c of sections s0, s1, ..., and their declarations."""
    named = {f"s{i}": maps for i, maps in enumerate(groups)}
    sample = (Buffer("x", (1,), UINT8, "input"), Buffer("target", (), UINT8, "input"))
    program = Program({"init": []} | named, (PRNG_STATE,), sample)
    space = wanted_spaces(list(program.maps()), rules)
    declared = [
        f"static {declaration(b, space.get(b, ''))};"
        for b in program.buffers
        if b not in (PRNG_STATE, *sample) and b.role != "table"
    ]
    declared += [line for b in program.buffers if b.role == "table" for line in table_definition(b)]
    lines = sections(Program(named), rules, lambda b: space.get(b, ""), writer=writer)
    return "\n".join(lines), declared, program


def run_on(board: boards.Board, text: str, folder: Path) -> list[str]:
    """Compile main.c for a board, run it, return its lines."""
    firmware = firmware_dir()
    (folder / "main.c").write_text(text)
    (folder / "nn_config.h").write_text(
        f"#define NN_CLOCK_HZ {board.clock}UL\n#define NN_BAUD {board.baud}UL\n"
        f"#define NN_WATCHDOG_MS {board.watchdog}UL\n#define NN_PAYLOAD {board.payload}U\n"
    )
    (folder / "nn_messages.h").write_text(messages_header())
    parts = [firmware / "core", *(firmware / "ports" / p for p in board.ports)]
    record = json.loads((firmware / "boards" / f"{board.name}.json").read_text())["nnhost"]
    memories = (("FLASH", board.flash), ("RAM", board.ram["ram"]))
    command = [
        "arm-none-eabi-gcc", "-mthumb", f"-mcpu={board.cpu}", "-std=c99", "-ffreestanding",
        *board.flags, "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffunction-sections",
        *(f"-D{key}={value}" for key, value in record.get("defines", {}).items()),
        *(f"-I{d}" for d in (folder, *parts, firmware / "kernels" / board.kernels)),
        "main.c", str(firmware / "core" / "nn_prng.c"),
        *(str(f) for d in parts[1:] for f in sorted(d.glob("*.c"))),
        "-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections",
        *(f"-Wl,--defsym=NN_{s}_ORIGIN={m.origin},--defsym=NN_{s}_SIZE={m.size}"
          for s, m in memories),
        f"-T{firmware / 'ports' / 'cortex-m' / 'nn_cortex_m.ld'}", "-o", "firmware.elf",
    ]  # fmt: skip
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-2000:]
    lines = ["-serial", "null"] * board.runner.uart + ["-serial", "file:out.txt"]
    subprocess.run(
        ["qemu-system-arm", "-M", board.runner.machine, "-nodefaults", "-display", "none",
         "-monitor", "none", "-no-reboot", "-kernel", "firmware.elf", *lines],
        cwd=folder, stdin=subprocess.DEVNULL, timeout=60, check=True,
    )  # fmt: skip
    return (folder / "out.txt").read_text().splitlines()


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("name", BOARDS)
def test_a_kernel_computes_what_its_maps_mean(name: str, group: str, tmp_path: Path) -> None:
    board = BOARDS[name]
    groups = GROUPS[group]()
    # A Cortex-M0 has no room for all of their buffers at once.
    parts = 3 if board.ram["ram"].size < 65536 else 1
    for part in range(parts):
        # What no kernel of vectors does is done in lanes.
        lanes = board.kernels == "mve"
        text = compare(board, groups[part::parts], tmp_path, LaneFunction if lanes else Function)
        done = re.findall(r"nn_kernel_\w+\(|dlstp", text)
        assert len(done) >= len(groups[part::parts]) * (0.5 if lanes else 1)


def compare(
    board: boards.Board,
    groups: list[list[Map]],
    folder: Path,
    writer: type[Function] = Function,
) -> str:
    """Run sections on a board and in the simulator, with the same numbers in all their buffers.
    Returns their C."""
    text, declared, program = program_text(groups, RULES[board.kernels], writer)
    simulator = Simulator(program)
    rng = np.random.default_rng(7)
    body, given, wanted = [], [], []
    calls = []
    for trial in range(TRIALS):
        for i, maps in enumerate(groups):
            used = [b for b in buffers(maps) if b.role != "table"]
            body.append(f"{ALONE} static void trial{len(calls)}(void) {{")
            calls.append(f"trial{len(calls)}();")
            for b in used:
                values = drawn(b, rng, trial)
                simulator.memory[b.name] = values.copy() if b.shape else int(values)
                known = f"in{len(given)}"
                given.append(f"static const uint8_t {known}[] = {{{array(values, b)}}};")
                body.append(f"get(&{c_name(b)}, {known}, {b.bytes}U);")
            if any(m.expr == Draw() for m in maps):
                simulator.memory["prng_state"] = 1 + trial * 4711
                body.append(f"nn_prng_seed({1 + trial * 4711}U);")
            simulator.run(f"s{i}")
            body.append(f"nn_s{i}();")
            for b in used:
                wanted.append(array(np.asarray(simulator.memory[b.name]), b))
                body.append(f"put(&{c_name(b)}, {b.bytes}U); /* {b.name} */")
            body.append("}")
    source = [
        '#include "nn_kernel.h"', '#include "nn_prng.h"', *declared, *given,
        # As in the firmware, each with a stack frame of its own.
        re.sub(r"^(static )?void nn_", f"{ALONE} static void nn_", text, flags=re.M),
        MAIN, *body, "int main(void) {", "nn_port_init();", "nn_prng_seed(1U);", *calls,
        "nn_port_reset();", "return 0;", "}",
    ]  # fmt: skip
    lines = run_on(board, "\n".join(source), folder)
    assert len(lines) == len(wanted)
    names = [line.split("/* ")[1] for line in body if line.startswith("put(")]
    for line, right, about in zip(lines, wanted, names, strict=True):
        assert line == "".join(f"{int(b):02x}" for b in right.split(", ")), about
    return text


@pytest.mark.parametrize(
    ("optimizer", "x", "shift", "momentum", "kernel"),
    [
        ("momentum", unsigned(11), 12, 2049, "nn_kernel_momentum"),
        ("momentum", unsigned(12), 12, 2049, "nn_kernel_momentum_wide"),
        ("momentum", unsigned(11), 12, 2048, "nn_kernel_momentum_wide"),
        ("sgd", unsigned(12), 12, 0, "nn_kernel_update"),
        ("sgd", unsigned(13), 12, 0, None),
        ("sgd", signed(12), 12, 0, None),
    ],
)
def test_the_rules_know_where_sums_and_steps_do_not_fit(
    optimizer: str, x: Interval, shift: int, momentum: int, kernel: str | None
) -> None:
    maps = next(steps("a", optimizer, x, shift, 1, momentum))
    text, *_ = program_text([maps], RULES["dsp"])
    called = set(re.findall(r"nn_kernel_\w+(?=\()", text)) - {"nn_kernel_momentum_biases"}
    assert called == ({kernel} if kernel else set())
