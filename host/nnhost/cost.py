"""What a training step and a forward pass cost on a board, found without running it.

The firmware that was built is read on this computer, instruction by instruction (`nnhost.machine`),
with the samples of the training: on an 8051 all that it computes, on a Cortex-M what decides where
it goes, the net's numbers being the simulator's. bench/cost.md compares the figures with counts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from nnhost.boards import Board, objdump
from nnhost.curvature import curvature_of
from nnhost.emit_c import c_name
from nnhost.errors import CapacityError, NnhostError
from nnhost.files import write_atomically
from nnhost.generate import Network, Target
from nnhost.ir import Buffer
from nnhost.link.digest import STEPS_A_SLICE
from nnhost.machine.mcs51 import Mcs51
from nnhost.machine.thumb import Thumb
from nnhost.simulation import rehearse
from nnhost.simulator import Simulator
from nnhost.train import Visit

#: Steps that are looked at, from the first on: all of them on an 8051, so many of them on a
#: Cortex-M, but no more than take so many cycles or instructions: a few seconds.
STEPS, SAMPLED, MOST_CYCLES, MOST_INSTRUCTIONS = 100, 32, 30_000_000, 3_000_000
#: Forward passes that are looked at.
PASSES = 32
#: What the link does beside them while the board's clock runs: the report, the clock itself.
_AROUND = {"mcs51": (126, 7), "cortex-m": (40, 6)}
#: Clocks of a machine cycle.
_CLOCKS = 12
#: And of an instruction of a Cortex-M, at most, on the average: slow flash included.
_CLOCKS_AN_INSTRUCTION = 4
#: The longest step, which closes a batch or opens an epoch, in means.
_LONGEST = 4

_State = dict[Buffer, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]


@dataclass(frozen=True)
class Cost:
    """`per_step`: mean of the first training steps, from the sample complete to the report ready,
    and `forward`: of a forward pass; in `unit`, machine cycles of a 12-clock 8051 ("cycles") or
    instructions of a Cortex-M. `steps_per_s`: without the link, at the board's clock; None where
    the chip takes another time for an instruction."""

    unit: str
    per_step: int
    forward: int
    steps_per_s: float | None


def check_watchdog(board: Board, found: Cost | None) -> None:
    """Raise `CapacityError` if a training step may take longer than the board's watchdog allows."""
    if found is None or not board.watchdog:
        return
    clocks = _CLOCKS if found.unit == "cycles" else _CLOCKS_AN_INSTRUCTION
    seconds = found.per_step * clocks / board.clock
    if _LONGEST * seconds * 1000 > board.watchdog:
        raise CapacityError(
            f"{board.name}: a training step of {seconds:.1f} s, perhaps longer now and then, "
            f"is too long for its watchdog, which allows {board.watchdog / 1000:.0f} s",
            help="make the net smaller, or take a faster board (nnhost boards)",
        )


def cost(network: Network, board: Board, image: Path) -> Cost | None:
    """The cost of a network in the firmware `image` of a board; None where it cannot be found, as
    for a process. It is kept beside the image."""
    if board.family not in _AROUND or not image.exists():
        return None
    kept = image.with_name("cost.json")
    made_from = sha256(image.read_bytes() + str(network.fingerprint).encode()).hexdigest()
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
        per_step, forward = found[made_from]
    except (OSError, ValueError, KeyError, TypeError):
        try:
            per_step, forward = _read(network, board, image)
        except NnhostError:
            return None
        write_atomically(kept, json.dumps({made_from: [per_step, forward]}).encode())
    cycles = board.family == "mcs51"
    rate = board.clock / _CLOCKS / per_step if cycles and "stc8" not in board.ports else None
    return Cost("cycles" if cycles else "instructions", per_step, forward, rate and round(rate, 1))


def _read(network: Network, board: Board, image: Path) -> tuple[int, int]:
    """Of a training step and of a forward pass."""
    look = _mcs51 if board.family == "mcs51" else _cortex_m
    step, forward = look(network, board, image)
    more_a_step, more_a_pass = _AROUND[board.family]
    return round(step + more_a_step), round(forward + more_a_pass)


def _mcs51(network: Network, board: Board, image: Path) -> tuple[float, float]:
    """Means of steps and forward passes, all computed from the reset on."""
    machine = Mcs51(image)
    wanted = network.project.build.kernels != "portable"
    space = Target.of(board, standalone=False, kernels=wanted).memory(network.program).space
    x, target = network.program.sample
    simulator, curvature = Simulator(network.program), curvature_of(network)
    last = machine.symbol("nn_train_step_PARM_2")

    def put(buffer: Buffer, values: object) -> None:
        memory = machine.outside if space[buffer] == "NN_XDATA" else machine.inside
        _put(memory, machine.symbol(c_name(buffer)), buffer, values)

    machine.call("nn_train_reset", network.project.train.seed)
    spent = made = 0
    for visit, _ in rehearse(simulator, network, _length(network)):
        sample = network.sample(visit)
        put(x, sample.x[0])
        put(target, sample.target[0])
        for buffer in curvature.buffers if curvature and curvature.due(visit.step) else ():
            put(buffer, simulator.memory[buffer.name])
        if visit.opens:
            spent += machine.call("nn_epoch")
        machine.inside[last] = visit.last
        spent += machine.call("nn_train_step", visit.first)
        spent += _digests(machine, visit.step)
        made += 1
        if spent > MOST_CYCLES:
            break
    passes = 0
    rows = network.train.x[:PASSES]
    for row in rows:
        put(x, row)
        passes += machine.call("nn_forward")
    return spent / made, passes / len(rows)


def _cortex_m(network: Network, board: Board, image: Path) -> tuple[float, float]:
    """Means of some steps: each begins with the simulator's state before it, and finds in all other
    buffers what they hold after it."""
    machine = Thumb(image, board.ram["ram"], objdump(), vectors=board.kernels == "mve")
    buffers = [
        b
        for b in network.program.buffers
        if (b.role in ("state", "temp") or b in network.program.sample)
        and c_name(b) in machine.symbols
    ]
    for b in buffers:
        begin = machine.place(c_name(b))
        machine.kept[begin : begin + b.bytes] = b"\1" * b.bytes
    simulator = Simulator(network.program)
    spent = passes = made = 0
    for visit, before in _sampled(simulator, network):
        for b in buffers:
            values = before[b] if b.role == "state" else simulator.memory[b.name]
            if values is not None:  # of a batch that has not ended yet
                _put(machine.memory, machine.place(c_name(b)), b, values)
        spent += machine.call("nn_train_step", visit.first, visit.last)
        spent += _digests(machine, visit.step)
        passes += machine.call("nn_forward")
        made += 1
        if spent > MOST_INSTRUCTIONS:
            break
    return spent / made, passes / made


def _sampled(simulator: Simulator, network: Network) -> Iterator[tuple[Visit, _State]]:
    """Steps of a rehearsal, evenly spread over places in a batch and between digests, with the
    state before each."""
    steps = _length(network)
    stride = max(1, steps // SAMPLED)
    while math.gcd(stride, network.plan.batch * STEPS_A_SLICE) > 1:
        stride += 1
    before: _State = {}
    for visit, _ in rehearse(simulator, network, steps):
        if visit.step % stride == 0 and before:
            yield visit, before
        before = {b: np.array(simulator.memory[b.name]) for b in network.program.state}


def _length(network: Network) -> int:
    return min(STEPS, network.plan.rows * network.project.train.epochs)


def _digests(machine: Mcs51 | Thumb, step: int) -> int:
    """The digests that follow some steps, unless the firmware trains by itself."""
    if step % STEPS_A_SLICE or "nn_digest_slice" not in machine.symbols:
        return 0
    return machine.call("nn_digest_trace") + machine.call("nn_digest_slice", step)


def _put(memory: bytearray, begin: int, buffer: Buffer, values: object) -> None:
    """Put the numbers of a buffer where its C array begins."""
    kind = f"<{buffer.c_type[0]}{buffer.bytes // buffer.size}"
    memory[begin : begin + buffer.bytes] = np.asarray(values).astype(kind).tobytes()
