"""The generated sources of a board: the net, its configuration and, stand-alone, its data.

`sources` gives the texts, reproducible to the byte: no dates, no paths. PlatformIO calls this
module (``python -m nnhost.generate --project DIR --board NAME``) before it compiles.
"""

from __future__ import annotations

import argparse
import re
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnhost.augment import Augmentation
from nnhost.boards import Board
from nnhost.boards import get as get_board
from nnhost.checkpoints import Checkpoints, checkpoints
from nnhost.data import Dataset, load
from nnhost.emit_c import Function, c_name, declaration, literal, loop, sections, table_definition
from nnhost.emit_lanes import LaneFunction
from nnhost.emit_native import NativeFunction
from nnhost.emit_planes import in_planes, tables
from nnhost.errors import CapacityError, NnhostError
from nnhost.faults import injected
from nnhost.ir import C_TYPES, Buffer, Interval, Program, Var, c_type
from nnhost.kernels import RULES
from nnhost.kernels.mcs51_asm import pass_file
from nnhost.kernels.planes import Planes
from nnhost.kernels.rules import Rules
from nnhost.link.generate import messages_header
from nnhost.lower import fingerprint, lower
from nnhost.memory import IN_PLANES, MemoryPlan, make_memory, placed
from nnhost.plan import Plan, Samples, make_plan
from nnhost.probe import COUNTER, GUARD, SECTIONS, guard_function, probed
from nnhost.project import Project, load_project
from nnhost.train import Visit

#: Sections that only a board which trains by itself (or the native engine) runs.
SCHEDULED = ("pick", "report")
#: Bytes of external RAM that an 8051's core takes, at most, beside payloads.
CORE_XDATA = 64
#: Bytes of a segment, at most; its size has 16 bits.
SEGMENT = 0xFFFE


@dataclass(frozen=True)
class Target:
    """What the generated C must know of the board. `internal`: bytes of idata for buffers, None
    where there is one RAM; `schedule`: whether the board finds its own rows; `kernels`: the
    instruction set whose kernels are used, "" for portable C alone; `writer` writes the Maps;
    `external`: bytes of xdata that the core leaves if the instruction set has passes, else 0;
    `watchdog`: ms, or 0; `health`: whether the port tells where a fault struck and what is in
    flash; `checkpoints`: those that the board makes by itself, if any."""

    name: str
    payload: int
    answer: int
    baud: int
    clock: int
    internal: int | None
    standalone: bool
    schedule: bool
    kernels: str = ""
    writer: type[Function] = Function
    external: int = 0
    window: int = 1
    watchdog: int = 0
    health: bool = False
    checkpoints: Checkpoints | None = None

    @classmethod
    def of(cls, board: Board, *, standalone: bool, kernels: bool = True) -> Target:
        """A board, with its training rows in flash if `standalone`."""
        used = board.kernels if kernels and board.kernels in RULES else ""
        external = board.ram["xram"].size if used == "mcs51" else 0
        return cls(
            board.name, board.payload, board.answer, board.baud, board.clock, board.internal,
            standalone, standalone, used, LaneFunction if used == "mve" else Function,
            external=max(0, external - board.window * board.payload - board.answer - CORE_XDATA),
            window=board.window,
            watchdog=board.watchdog, health=board.family == "cortex-m",
        )  # fmt: skip

    @property
    def rules(self) -> Rules:
        """The rules of its kernels."""
        return RULES.get(self.kernels, ())

    def memory(self, program: Program) -> MemoryPlan:
        """Where its memories hold the buffers of a Program."""
        return make_memory(program, self.internal, self.rules, self.external)

    @classmethod
    def native(cls) -> Target:
        """The computer that runs nnhost, without a link: the native engine."""
        return cls("native", 64, 64, 0, 0, None, False, True, "native", NativeFunction)


@dataclass(frozen=True)
class Network:
    """A project made ready: its data, plan, Program and samples."""

    project: Project
    plan: Plan
    program: Program
    train: Samples
    test: Samples
    validation: Samples | None = None
    """Held out of the training rows; None where none are."""
    augmentation: Augmentation | None = None

    def sample(self, visit: Visit) -> Samples:
        """The one training sample that a step gets."""
        if self.augmentation is None:
            return self.train[visit.row : visit.row + 1]
        return self.augmentation.row(self.train, visit.row, visit.epoch)

    def judged(self, row: int, prediction: int) -> bool | None:
        """Online: whether a training row was predicted rightly before it was learned, None for
        real targets. Otherwise None."""
        if not self.online or self.plan.task == "regression":
            return None
        return prediction == int(self.train.target[row])

    def samples(self, epoch: int) -> Samples:
        """All training samples as an epoch, from 1 on, shows them."""
        if self.augmentation is None:
            return self.train
        return self.augmentation.all(self.train, epoch)

    @property
    def standalone(self) -> bool:
        """Whether the board trains by itself, from rows in its flash."""
        return self.project.data.delivery == "flash"

    @property
    def online(self) -> bool:
        """Whether samples come in the order of the source, once."""
        return self.project.train.online

    @property
    def fingerprint(self) -> int:
        """The 32 bits by which a board and the host know that they mean the same training."""
        number = fingerprint(self.program)
        if self.standalone:
            train = self.project.train
            number = zlib.crc32(f"{train.seed},{train.epochs}".encode(), number)
            for row in range(len(self.train)):
                number = zlib.crc32(self.train.bytes(row), number)
        build = self.project.build
        if build.inject or build.probe:  # never taken for the firmware that trains
            number = zlib.crc32(f"{build.inject},{build.probe}".encode(), number)
        return number

    @cached_property
    def training(self) -> int:
        """32 bits that name the training: the program, and what the host decides."""
        train, batch = self.project.train, self.plan.batch
        settings = f"{fingerprint(self.program)},{train.seed},{batch},{self.project.data.augment}"
        if train.early_stopping:
            settings += f",{train.early_stopping},{train.min_delta}"
        return zlib.crc32(self.train.block(), zlib.crc32(settings.encode()))

    def target(self, board: Board) -> Target:
        """The board, as the project has its firmware built."""
        kernels = self.project.build.kernels != "portable"
        return Target.of(board, standalone=self.standalone, kernels=kernels)

    def checkpoints(self, board: Board) -> Checkpoints | None:
        """Those that the board makes by itself, None for none. Raises `CapacityError` if it has no
        room for them."""
        train, state = self.project.train, sum(b.bytes for b in self.program.state)
        return checkpoints(board, train.checkpoint_every, train.epochs * self.plan.rows, state)

    def on_board(self, target: Target) -> Program:
        """The Program that a target's firmware is made from: with a fault, or with a probe, if the
        project wants one."""
        build = self.project.build
        program = injected(self.program, build.inject) if build.inject else self.program
        return probed(program, target.memory(program)) if build.probe else program


def prepare(project: Project) -> Network:
    """Read the data, plan the net and lower it. Raises `NnhostError` for the user's mistakes."""
    data = load_data(project)
    plan = make_plan(project, data)
    return network_of(project, data, plan, lower(plan))


def load_data(project: Project) -> Dataset:
    """The project's data, in the order in which they are learned online, if they are."""
    train = project.train
    return load(project.data, train.seed, project.root, in_order=train.online)


def network_of(project: Project, data: Dataset, plan: Plan, program: Program) -> Network:
    """A project whose net has been lowered before."""
    train = plan.samples(data.x_train, data.y_train)
    test = plan.samples(data.x_test, data.y_test)
    held = plan.samples(data.x_validation, data.y_validation) if len(data.x_validation) else None
    augmentation = Augmentation.of(
        project.data.augment, data.shape, plan.n_inputs, plan.layers[0].input, project.train.seed
    )
    return Network(project, plan, program, train, test, held, augmentation)


def board_sources(network: Network, board: Board) -> dict[str, str]:
    """All generated files of a network on a board."""
    target = replace(network.target(board), checkpoints=network.checkpoints(board))
    program = network.on_board(target)
    if network.standalone:
        taken = len(network.train) * row_bytes(network.train)
        if taken > board.flash.size:
            raise CapacityError(
                f"{board.name}: the training rows take {taken:,} bytes,"
                f" and its flash has {board.flash.size:,}",
                help='set delivery = "stream" in [data], or use fewer rows',
            )
    files = sources(network.plan, program, target, network)
    files["nn_messages.h"] = messages_header()
    return files


def sources(
    plan: Plan, program: Program, target: Target, network: Network | None = None
) -> dict[str, str]:
    """The configuration and the C of a net on a target; with its training rows, if the board trains
    the `network` by itself."""
    memory = target.memory(program)
    net = net_file(plan, program, target, memory)
    number = network.fingerprint if network else fingerprint(program)
    train = network.project.train if network else None
    epochs, seed = (train.epochs, train.seed) if train else (1, 1)
    files = {
        "nn_config.h": config_file(plan, program, target, _called(net), memory.planes),
        "nn_program.h": program_file(target, number, epochs, seed),
        "nn_net.h": header_file(plan, program, target, memory.planes),
        "nn_net.c": net,
    }
    if memory.planes:
        files["nn_passes.c"] = passes_file(plan, program, target, memory)
    if network and network.standalone:
        files["nn_data.c"] = data_file(network, program, target, memory)
    return files


def _title(name: str, target: Target, about: list[str]) -> list[str]:
    head = [
        "/*",
        f" * {name}, generated by `nnhost build --board {target.name}`: changes here are lost.",
    ]
    return [*head, *([" *"] if about else []), *(f" * {line}" for line in about), " */"]


def _called(net: str) -> list[str]:
    """The kernels that nn_net.c calls: the others are not compiled."""
    return sorted(set(re.findall(r"\bnn_kernel_\w+(?=\()", net)))


def config_file(
    plan: Plan,
    program: Program,
    target: Target,
    kernels: list[str],
    planes: Planes | None,
) -> str:
    """nn_config.h: numbers that the firmware's core is compiled with."""
    parts = program.state, program.sample, program.trace
    state, sample, trace = (sum(b.bytes for b in buffers) for buffers in parts)
    defines = [
        ("NN_BOARD", f'"{target.name}"', "name in HELLO"),
        ("NN_PAYLOAD", f"{target.payload}U", "most bytes in a request's payload"),
        ("NN_ANSWER", f"{target.answer}U", "and in an answer's"),
        ("NN_WINDOW", f"{target.window}U", "requests taken before the first is answered"),
        ("NN_BAUD", f"{target.baud}UL", "of the UART"),
        ("NN_CLOCK_HZ", f"{target.clock}UL", "of the chip"),
        ("NN_STATE_BYTES", f"{state}U", "weights, slots, order, generator"),
        ("NN_SAMPLE_BYTES", f"{sample}U", "inputs and target"),
        ("NN_TRACE_BYTES", f"{trace}U", "activations and logits"),
        ("NN_KERNELS", str(int(bool(target.kernels))), "uses the tuned kernels"),
        ("NN_STANDALONE", "1" if target.standalone else "0", "trains by itself from reset"),
        ("NN_BOUNDED_SAMPLE", str(int(bool(_bounded(program.sample)))), "has nn_sound_sample"),
        ("NN_BOUNDED_STATE", str(int(bool(_bounded(program.state)))), "has nn_sound_state"),
        ("NN_ROWS", f"{plan.rows}U", "training rows"),
        ("NN_BATCH", f"{plan.batch}U", "rows a batch"),
        *((name.upper(), "1", "is called") for name in kernels),
    ]
    if target.watchdog:
        defines.append(("NN_WATCHDOG_MS", f"{target.watchdog}UL", "that a request may take"))
    if target.health:
        defines.append(("NN_HEALTH", "1", "tells where a fault struck, and what is in flash"))
    if planes:
        defines += [
            ("NN_PLANES", f"{planes.planes}", "of parameters and slots"),
            ("NN_PLANES_BYTES", f"{planes.bytes}U", "external RAM that they take, from 0"),
            ("NN_PLANES_SIZE", f"{planes.size}", "bytes of a page of theirs"),
            ("NN_PLANES_UPPER", f"acc.{planes.size.bit_length() - 1 & 7}", "set for upper bytes"),
        ]
    if target.checkpoints:
        store = target.checkpoints.store
        defines += [
            ("NN_CHECKPOINT", f"{target.checkpoints.every}U", "steps between two checkpoints"),
            ("NN_STORE_ORIGIN", f"0x{store.origin:X}UL", "of the first slot"),
            ("NN_STORE_SLOT", f"{store.slot}UL", "bytes of each of the two"),
            ("NN_STORE_PAGE", f"{store.page}UL", "bytes that are erased at once"),
        ]
    return _defines("nn_config.h", target, [], defines)


def program_file(target: Target, number: int, epochs: int, seed: int) -> str:
    """nn_program.h: what may change while the net stays; the net's C does not include it."""
    about = ["What other data, seeds and lengths of the same training change."]
    defines = [
        ("NN_PROGRAM", f"0x{number:08X}UL", "fingerprint of the training"),
        ("NN_EPOCHS", f"{epochs}U", "of stand-alone training"),
        ("NN_SEED", f"{seed}U", "of weights and visiting order"),
    ]
    return _defines("nn_program.h", target, about, defines)


def _defines(
    name: str, target: Target, about: list[str], defines: Sequence[tuple[str, str, str]]
) -> str:
    """A header of macros: name, value and meaning."""
    guard = name.upper().replace(".", "_")
    return "\n".join([
        *_title(name, target, about),
        f"#ifndef {guard}", f"#define {guard}", "",
        *(f"#define {macro} {value} /* {meaning} */" for macro, value, meaning in defines),
        "", "#endif", "",
    ])  # fmt: skip


def _segments(program: Program, planes: Planes | None) -> list[tuple[str, str, list[str], str]]:
    """Lists of segments: name, the macro of their number, C of each, and what they are."""
    state: list[str] = []
    if planes:
        size = sum(b.bytes for b in planes.buffers)
        state.append(f"    {{(uint8_t *)0, {size}U}}, /* in planes */")
    state += _pieces(program.state[len(planes.buffers) if planes else 0 :])
    sample, trace = _pieces(program.sample), _pieces(program.trace)
    return [
        ("nn_state_map", "NN_STATE_SEGMENTS", state, "the training state"),
        ("nn_sample_map", "NN_SAMPLE_SEGMENTS", sample, "a sample: inputs, then target"),
        ("nn_trace_map", "NN_TRACE_SEGMENTS", trace, "activations, then logits"),
    ]


def _pieces(buffers: Iterable[Buffer]) -> list[str]:
    """Buffers as segments; a large one is several."""
    rows = []
    for b in buffers:
        for at in range(0, b.bytes, SEGMENT):
            begin = f"(uint8_t *)&{c_name(b)}" + (f" + {at}U" if at else "")
            rows.append(f"    {{{begin}, {min(SEGMENT, b.bytes - at)}U}},")
    return rows


def header_file(plan: Plan, program: Program, target: Target, planes: Planes | None) -> str:
    """nn_net.h: what the generated net offers the core."""
    functions = [
        ("void nn_init(void);", "draws the weights"),
        ("void nn_epoch(void);", "draws the visiting order of an epoch"),
        ("void nn_forward(void);", "inputs to outputs and prediction"),
        ("void nn_measure(void);", "loss, and its gradient at the outputs"),
        ("void nn_backward(void);", "gradients at the hidden layers"),
        ("void nn_update(void);", "gradients into the weights"),
        ("void nn_set_batch(uint8_t first, uint8_t last);", "the sample's place in its batch"),
        ("uint32_t nn_report_loss(void);", f"of the sample, in {plan.loss_scale:.6g}"),
        ("uint16_t nn_report_prediction(void);", "predicted class"),
    ]
    if _bounded(program.sample):
        functions.append(("uint8_t nn_sound_sample(void);", "1 if a sample is within its bounds"))
    if _bounded(program.state):
        functions.append(("uint8_t nn_sound_state(void);", "1 if the state is within its bounds"))
    if target.schedule:
        functions += [
            ("void nn_pick(void);", "position to row"),
            ("void nn_set_position(uint16_t position);", "place in the epoch"),
            ("uint16_t nn_get_row(void);", "the row picked; from NN_ROWS on: none"),
            ("uint32_t nn_report_milli(void);", "loss in thousandths"),
        ]
    if target.standalone:
        functions.append(("void nn_load_row(uint16_t row);", "a training row from flash"))
    lines = [
        *_title("nn_net.h", target, []),
        "#ifndef NN_NET_H", "#define NN_NET_H", "",
        '#include "nn_config.h"', '#include "nn_types.h"', "",
    ]  # fmt: skip
    for declared, about in functions:
        lines += [f"/* {about[0].upper()}{about[1:]}. */", declared]
    lines.append("")
    for name, count, rows, about in _segments(program, planes):
        lines += [
            f"/* {about[0].upper()}{about[1:]}. */",
            f"#define {count} {len(rows)}U",
            f"extern const NN_CODE nn_segment_t {name}[{count}];",
        ]
    return "\n".join([*lines, "", "#endif", ""])


def _about(plan: Plan, program: Program) -> list[str]:
    sizes = "-".join(str(n) for n in plan.sizes)
    m, s = plan.layers[0].rate
    lines = [
        f"A {sizes} net, preset {plan.preset.name}, {plan.loss.name}, {plan.optimizer}, batch"
        f" {plan.batch}.",
        f"Learning rate {plan.learning_rate:g}; the update's factor is {m} * 2^-{s}.",
        "A number stands for itself times 2^-f:",
    ]
    for p in plan.layers:
        kind = p.activation or plan.loss.name
        lines.append(
            f"  layer {p.number}: inputs {p.input.interval.lo}..{p.input.interval.hi}"
            f" f={p.input.fraction}; weights int16 f={p.weight_fraction}"
            f" (0 is {p.offset}), seen >> {p.seen_shift};"
            f" gradient f={p.delta_fraction}; {kind}"
        )
    return [*lines, "Comments after a name give the interval that is proven for its values."]


def net_file(plan: Plan, program: Program, target: Target, memory: MemoryPlan) -> str:
    """nn_net.c: buffers, tables and the arithmetic."""
    left = memory.program.sections
    kept = {k: v for k, v in left.items() if target.schedule or k not in SCHEDULED}
    part = Program(kept, program.state, program.sample, program.trace)
    planes = memory.planes
    includes = ["nn_kernel.h"] * bool(target.kernels) + ["nn_planes.h"] * bool(planes)
    lines = [
        *_title("nn_net.c", target, _about(plan, program)),
        '#include "nn_net.h"', "",
        *(f'#include "{name}"' for name in [*includes, "nn_prng.h"]), "",
    ]  # fmt: skip
    known = {*program.state, *program.sample, *program.trace}
    known |= {b for p in memory.passes.values() for b in (*p.inside, *p.outside, *p.other)}
    for b in placed(part):
        if memory.space.get(b, IN_PLANES) == IN_PLANES:
            continue
        lo, hi = b.interval
        doc = f"{b.doc}, {lo}..{hi}" if b.doc else f"{lo}..{hi}"
        shared = "" if b in known else "static "
        space = memory.space[b] + (f" NN_AT(0x{memory.at[b]:04X})" if b in memory.at else "")
        lines.append(f"{shared}{declaration(b, space)}; /* {doc} */")
    lines.append("")
    for b in part.buffers:
        if b.role == "table":
            lines += table_definition(b, "" if b in known else "static ")
    if planes:
        lines += tables(planes)
    for name, count, rows, _ in _segments(program, planes):
        lines += [f"const NN_CODE nn_segment_t {name}[{count}] = {{", *rows, "};", ""]
    lines += [f"void {p.kernel}(void);" for p in memory.passes.values() if p.kernel]
    lines += [""] * bool(memory.passes)
    guards = {}
    if COUNTER in program.state:
        guards = dict.fromkeys(SECTIONS, f"{GUARD}()")
        lines += guard_function()
    lines += sections(
        part, target.rules, memory.space.__getitem__, memory.stacked,
        in_planes(planes) if planes else target.writer,
        {name: p.calls for name, p in memory.passes.items()}, guards,
    )  # fmt: skip
    lines += _sound("nn_sound_sample", program.sample)
    lines += _sound("nn_sound_state", program.state)
    lines += _accessors(plan, program, target)
    return "\n".join(lines).rstrip() + "\n"


def _bounded(buffers: Iterable[Buffer]) -> list[Buffer]:
    """Those that a host writes and whose type holds more than the values that they may have."""
    return [b for b in buffers if b.role != "temp" and b.interval != C_TYPES[b.c_type]]


def _sound(name: str, buffers: Iterable[Buffer]) -> list[str]:
    """The function that tells whether what a host has written is within the proven bounds, on which
    the arithmetic, and with it the memory, relies. None where the types see to that."""
    lines = [f"uint8_t {name}(void) {{"]
    bounded = _bounded(buffers)
    for b in bounded:
        held = C_TYPES[b.c_type]
        code = c_name(b) + "".join(f"[i{at}]" if n > 1 else "[0]" for at, n in enumerate(b.shape))
        least = [f"{code} < {literal(b.interval.lo, b.c_type)}"] * (b.interval.lo > held.lo)
        most = [f"{code} > {literal(b.interval.hi, b.c_type)}"] * (b.interval.hi < held.hi)
        outside = [*least, *most]
        condition = outside[0] if len(outside) == 1 else f"({') || ('.join(outside)})"
        inner = [f"if ({condition}) {{", "    return 0U;", "}"]
        for at, extent in reversed(list(enumerate(b.shape))):
            inner = loop(Var(f"i{at}", extent), inner)
        lines += [f"    {line}" for line in inner]
    return [*lines, "    return 1U;", "}", ""] if bounded else []


def passes_file(plan: Plan, program: Program, target: Target, memory: MemoryPlan) -> str:
    """nn_passes.c: what an 8051 computes in assembly, written for this net."""
    assert memory.planes is not None
    space = memory.space.__getitem__
    lines = pass_file(memory.passes.values(), memory.planes, space, memory.window)
    return "\n".join([*_title("nn_passes.c", target, _about(plan, program)), *lines, ""])


def _accessors(plan: Plan, program: Program, target: Target) -> list[str]:
    names = {b.name for b in program.buffers}
    batched = "first" in names
    batch = ["nn_first = first;", "nn_last = last;"] if batched else ["(void)first;", "(void)last;"]
    batch += ["nn_training = 1U;"] * ("training" in names)
    functions = [
        ("void nn_set_batch(uint8_t first, uint8_t last)", batch),
        ("uint32_t nn_report_loss(void)", ["return (uint32_t)nn_loss;"]),
        ("uint16_t nn_report_prediction(void)", ["return nn_prediction;"]),
    ]
    if target.schedule:
        kind = c_type(Interval(0, (1 << plan.order_bits) - 1))
        functions += [
            ("void nn_set_position(uint16_t position)", [f"nn_position = ({kind})position;"]),
            ("uint16_t nn_get_row(void)", ["return nn_row;"]),
            ("uint32_t nn_report_milli(void)", ["nn_report();", "return (uint32_t)nn_milli;"]),
        ]
    lines: list[str] = []
    for head, body in functions:
        lines += [f"{head} {{", *(f"    {s}" for s in body), "}", ""]
    return lines


# ---- data in flash ------------------------------------------------------------------------------


def _groups(samples: Samples) -> tuple[list[NDArray[Any]], list[int], list[int]]:
    """Inputs and targets of all rows, the least value of each and the bits that all need."""
    groups = [samples.x, samples.target.reshape(len(samples), -1)]
    least = [int(g.min()) for g in groups]
    widths = [(int(g.max()) - low).bit_length() for g, low in zip(groups, least, strict=True)]
    return groups, least, widths


def row_bytes(samples: Samples) -> int:
    """Bytes of a row as `packed_rows` packs it."""
    groups, _, widths = _groups(samples)
    bits: int = sum(g.shape[1] * width for g, width in zip(groups, widths, strict=True))
    return max(1, -(-bits // 8))


def packed_rows(samples: Samples) -> tuple[list[int], list[int], NDArray[np.uint8]]:
    """Rows as bit strings: per group the least value and a width in bits, then (N, bytes).

    Inputs share one width and offset, as do targets. A value is written low bit first.
    """
    groups, least, widths = _groups(samples)
    bits = []
    for group, low, width in zip(groups, least, widths, strict=True):
        values = (group.astype(np.int32) - low).astype(np.uint16)[:, :, None]
        found = values >> np.arange(width, dtype=np.uint16) & 1
        bits.append(found.astype(np.uint8).reshape(len(samples), group.shape[1] * width))
    joined = np.concatenate(bits, axis=1)
    rows = np.zeros((len(samples), row_bytes(samples)), np.uint8)
    packed = np.packbits(joined, axis=1, bitorder="little")
    rows[:, : packed.shape[1]] = packed
    return least, widths, rows


def data_file(network: Network, program: Program, target: Target, memory: MemoryPlan) -> str:
    """nn_data.c: the training rows, in as few bits a value as they need, and their unpacking."""
    samples = network.train
    least, widths, rows = packed_rows(samples)
    x, goal = program.sample
    space = memory.space
    stride = len(rows[0])
    targets = goal.size
    lines = [
        *_title("nn_data.c", target, [
            f"{len(rows)} training rows of {stride} bytes: {x.size} inputs of {widths[0]} bits, "
            f"then {targets} of {widths[1]} bits to learn.",
        ]),
        '#include "nn_net.h"', "",
        f"extern {declaration(x, space[x])};",
        f"extern {declaration(goal, space[goal])};", "",
        f"static const NN_CODE uint8_t rows[NN_ROWS][{stride}] = {{",
    ]  # fmt: skip
    for row in rows:
        values = [f"{b}," for b in row]
        for i in range(0, len(values), 20):
            head = "    {" if i == 0 else "     "
            tail = "}," if i + 20 >= len(values) else ""
            lines.append(
                head + " ".join(values[i : i + 20]).removesuffix("," if tail else "") + tail
            )
    lines += [
        "};", "",
        "static const NN_CODE uint8_t *next; /* byte that holds the next bit */",
        "static uint8_t used;                /* bits of it already taken */", "",
        "static uint16_t take(uint8_t width) {",
        "    uint16_t value = 0U;",
        "    uint8_t bit;",
        "    for (bit = 0U; bit < width; bit++) {",
        "        if (((uint8_t)(*next >> used) & 1U) != 0U) {",
        "            value |= (uint16_t)(1U << bit);",
        "        }",
        "        used++;",
        "        if (used == 8U) {",
        "            used = 0U;",
        "            next++;",
        "        }",
        "    }",
        "    return value;",
        "}", "",
        "void nn_load_row(uint16_t row) {",
        "    uint16_t i;",
        "    next = rows[row];",
        "    used = 0U;",
        f"    for (i = 0U; i < {x.size}U; i++) {{",
        f"        nn_x[i] = {_unpacked(x, widths[0], least[0])};",
        "    }",
    ]  # fmt: skip
    value = _unpacked(goal, widths[1], least[1])
    if goal.shape:
        lines += [f"    for (i = 0U; i < {targets}U; i++) {{", f"        nn_target[i] = {value};",
                  "    }"]  # fmt: skip
    else:
        lines.append(f"    nn_target = {value};")
    return "\n".join([*lines, "}", ""])


def _unpacked(buffer: Buffer, width: int, least: int) -> str:
    """C for one value: the bits taken, plus the least value."""
    if least == 0:
        return f"({buffer.c_type})take({width}U)"
    return f"({buffer.c_type})((int32_t)take({width}U) + {literal(least, 'int32_t')})"


def main(arguments: list[str] | None = None) -> int:
    """Write the sources of a project's board to ``<project>/build/<board>/``."""
    parser = argparse.ArgumentParser(prog="python -m nnhost.generate", description=main.__doc__)
    parser.add_argument("--project", type=Path, default=Path("."))
    parser.add_argument("--board", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    try:
        project = load_project(options.project, options.set)
        files = board_sources(prepare(project), get_board(options.board))
    except NnhostError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    write(files, project.root / "build" / options.board)
    return 0


def write(files: dict[str, str], folder: Path) -> None:
    """Write what has changed, so that nothing is compiled twice; drop what is no longer made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in folder.glob("nn_*.[ch]"):
        if path.name not in files:
            path.unlink()


if __name__ == "__main__":
    sys.exit(main())
