"""Parameters in planes: where they lie, and passes over them against the simulator, in uCsim.

A firmware makes one training step from each of many states: drawn ones, and ones whose numbers
stand at the ends of their formats. Layers have every number of inputs and outputs about a block.
"""

from __future__ import annotations

import random
import re
import subprocess
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from helpers.bare_boards import compiled

from nnhost import boards
from nnhost.data import Dataset, Scaling
from nnhost.generate import Network, board_sources, write
from nnhost.ir import INT16, Buffer
from nnhost.kernels.mcs51_decays import Bounds, far
from nnhost.kernels.mcs51_passes import Decay, Step, Velocity, find
from nnhost.kernels.planes import PAGE, Matrix, Planes, narrow, place
from nnhost.link import crc16
from nnhost.lower import lower
from nnhost.paths import firmware_dir
from nnhost.plan import make_plan
from nnhost.project import BoardSpec, BuildSpec, DataSpec, NetSpec, Project, TrainSpec
from nnhost.simulator import Simulator, pack

CORE = firmware_dir() / "core"
KERNELS = firmware_dir() / "kernels" / "mcs51"
OUT = 0x8000
MAIN = """
#include "nn_map.h"
#include "nn_net.h"

static const __code uint8_t cases[] = {%(cases)s};
static const __code uint8_t *in;

static __xdata uint8_t part[7]; /* so that segments begin within a part */

static void put(const NN_CODE nn_segment_t *map, uint16_t size) {
    nn_map_open(map, 0U);
    while (size != 0U) {
        uint8_t some;
        for (some = 0U; (some < 7U) && (size != 0U); some++) {
            part[some] = *in;
            in++;
            size--;
        }
        nn_map_put(part, some);
    }
}

void finished(void) {}

void main(void) {
    __xdata uint8_t *to = (__xdata uint8_t *)%(out)dU;
    uint8_t many;
    in = cases;
    for (many = 0U; many < %(many)dU; many++) {
        uint16_t i;
        uint8_t first = *in++;
        uint8_t last = *in++;
        put(nn_state_map, NN_STATE_BYTES);
        put(nn_sample_map, NN_SAMPLE_BYTES);
        nn_set_batch(first, last);
        nn_forward();
        nn_measure();
        nn_backward();
        nn_update();
        nn_map_open(nn_state_map, 0U);
        for (i = 0U; i < NN_STATE_BYTES; i++) {
            *to++ = nn_map_get();
        }
        nn_map_open(nn_state_map, 1U);
        i = nn_map_crc(NN_STATE_BYTES - 1U);
        *to++ = (uint8_t)i;
        *to++ = (uint8_t)(i >> 8);
    }
    finished();
    for (;;) {
    }
}
"""


def matrix(outputs: int, inputs: int, slots: bool = False) -> Matrix:
    """A layer's buffers."""
    shapes = ((outputs, inputs), (outputs,)) * (2 if slots else 1)
    w, b, *more = (Buffer(f"b{i}", shape, INT16, "state") for i, shape in enumerate(shapes))
    return Matrix(w, b, (more[0], more[1]) if slots else None)


@pytest.mark.parametrize("seed", range(20))
def test_every_number_has_two_bytes_of_its_own_and_the_spans_lead_to_them(seed: int) -> None:
    rng = random.Random(seed)
    slots = rng.random() < 0.5
    layers = tuple(
        matrix(rng.randint(1, 40), rng.choice((1, 2, 7, 16, 64, 255)), slots)
        for _ in range(rng.randint(1, 3))
    )
    check_places(place(layers))


@pytest.mark.parametrize("seed", range(20))
def test_so_it_is_where_planes_are_small(seed: int) -> None:
    rng = random.Random(seed)
    inputs, outputs = rng.randint(1, 5), rng.randint(1, 5)
    slots = rng.random() < 0.5
    planes = narrow(place((matrix(outputs, inputs, slots), matrix(2, outputs, slots))))
    assert planes.planes * planes.size <= PAGE
    check_places(planes)


def test_what_takes_more_than_a_page_keeps_its_planes() -> None:
    for layers in (matrix(9, 7, slots=True),), (matrix(16, 16),):
        assert narrow(place(layers)) == place(layers)
    assert narrow(place((matrix(9, 7),))).bytes == 128 + 72


def check_places(planes: Planes) -> None:
    """Spans lead to two bytes of its own for every number, and blocks are whole."""
    places = []
    up = planes.size % PAGE or PAGE
    for buffer, span in planes.spans():
        in_buffer = []
        for row in range(span.rows):
            page, low, here = span.page, span.low + row, span.first
            for _ in range(span.columns):
                assert low < PAGE
                in_buffer += [page * PAGE + low, page * PAGE + low + up]
                low, here = low + span.stride, here - 1
                if here == 0:
                    page, low, here = page + planes.planes, row, span.each
        assert len(in_buffer) == 2 * span.rows * span.columns, buffer
        places += in_buffer
    assert len(places) == sum(b.bytes for b in planes.buffers)
    assert len(set(places)) == len(places)
    assert max(places) < planes.bytes
    free = {place + i for place, size in planes.holes for i in range(size)}
    assert not free & set(places)
    assert not free or max(free) < planes.bytes
    for blocks in planes.blocks.values():
        for block in blocks:
            columns = [c for run in block.runs for c in range(run.first, run.first + run.count)]
            assert columns == list(range(len(columns)))
            assert all(run.low + run.count * block.rows <= planes.size for run in block.runs)


def network(sizes: tuple[int, ...], kind: str, **train: object) -> Network:
    """A net of these sizes on made-up data; `kind` as in `Dataset`."""
    settings: dict[str, object] = {
        "activation": "relu", "loss": "softmax-cross-entropy", "optimizer": "sgd", "lr": 0.1,
        "momentum": 0.9, "batch": 1,
    } | train  # fmt: skip
    hidden = sizes[1:-1]
    more = {key: float(str(settings.get(key, 0))) for key in ("clip_value", "l1", "l2")}
    project = Project(
        Path(),
        NetSpec(hidden, (str(settings["activation"]),) * len(hidden), str(settings["loss"]), "q8",
                "uniform"),
        TrainSpec(str(settings["optimizer"]), float(str(settings["lr"])),
                  float(str(settings["momentum"])), int(str(settings["batch"])), 1, 1, **more),
        DataSpec("drawn", 0.0, "none", "stream", None), BoardSpec("sim8052"), BuildSpec("auto"),
    )  # fmt: skip
    x = np.zeros((8, sizes[0]))
    y = np.arange(8) % sizes[-1]
    classes = tuple(map(str, range(sizes[-1])))
    scaling = Scaling(kind, np.zeros(sizes[0]), np.ones(sizes[0]))
    names = tuple(f"x{i}" for i in range(sizes[0]))
    dataset = Dataset(
        "drawn", "classification", kind, x, y, x[:0], y[:0], classes, names, scaling, None
    )
    plan = make_plan(project, dataset)
    samples, empty = plan.samples(x, y), plan.samples(x[:0], y[:0])
    return Network(project, plan, lower(plan), samples, empty)


def run(
    net: Network, given: list[tuple[bytes, bytes]], folder: Path, xram: int = 0x8000
) -> list[bytes]:
    """The states after a step from each given state and sample, and the checksums behind them, on a
    board with so much external RAM."""
    board = boards.get("sim8052")
    board = replace(
        board, internal=64, payload=32, answer=32, ram=board.ram | {"xram": boards.Memory(0, xram)}
    )
    files = board_sources(net, board)
    assert "nn_passes.c" in files
    write(files, folder)
    data = [byte for state, sample in given for byte in (*state, *sample)]
    # Short lines: SDCC loses numbers of very long ones.
    cases = ",\n".join(map(str, data))
    text = MAIN % {"cases": cases, "many": len(given), "out": OUT}
    (folder / "main.c").write_text(text)
    core = [CORE / f"nn_{name}.c" for name in ("map", "crc", "prng")]
    sources = [folder / "main.c", *sorted(folder.glob("nn_*.c")), *core, *KERNELS.glob("*.c")]
    command = ["sdcc", "-mmcs51", "--std-c99", "--Werror"]
    objects = compiled(command, (CORE, KERNELS), sources, folder, ".rel")
    begin = re.search(r"NN_PLANES_BYTES (\d+)", files["nn_config.h"])
    assert begin is not None
    tool(["sdcc", "-mmcs51", "--xram-loc", begin[1], "--iram-size", "256", *objects,
          "-o", "main.ihx"], folder)  # fmt: skip
    found = re.search(r"C:\s+([0-9A-F]+)\s+_finished", (folder / "main.map").read_text())
    assert found is not None
    size = sum(b.bytes for b in net.program.state) + 2
    script = f"break 0x{found[1]}\nrun\ndump xram {OUT} {OUT + len(given) * size + 7}\nquit\n"
    out = tool(["s51", "-b", "-q", "-t", "C52", "main.ihx"], folder, script)
    # A row may be shorter: the simulator begins a new one where code has a symbol.
    rows = re.findall(r"^0x[0-9a-f]{4} +((?:[0-9a-f]{2} )+)", out, re.MULTILINE)
    memory = bytes.fromhex("".join(rows))
    return [memory[i * size : (i + 1) * size] for i in range(len(given))]


def tool(command: list[str], folder: Path, text: str = "") -> str:
    """What a tool prints; it must not fail."""
    done = subprocess.run(
        command, cwd=folder, input=text, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-500:]}{done.stderr[-1000:]}"
    return done.stdout


ENDS = (-32768, -32767, -256, -129, -128, -1, 0, 1, 127, 128, 255, 256, 32766, 32767)


def case(net: Network, rng: random.Random) -> tuple[int, int, dict[str, object]]:
    """Whether a batch begins and ends, and numbers for the state and a sample, of which a share
    that differs from case to case stands at the ends."""
    edge, spread = rng.choice((0.0, 0.1, 0.5, 1.0)), rng.choice((60, 600, 9000, 32768))

    def number(b: Buffer) -> int:
        lo, hi = b.interval
        if rng.random() < edge:
            return rng.choice([lo, hi, *(e for e in ENDS if lo <= e <= hi)])
        if rng.random() < 0.3:
            return max(lo, 0)
        return rng.randint(max(lo, -spread), min(hi, spread))

    values: dict[str, object] = {}
    for b in (*net.program.state, *net.program.sample):
        numbers = [number(b) for _ in range(b.size)]
        values[b.name] = np.array(numbers).reshape(b.shape) if b.shape else numbers[0]
    values["prng_state"] = rng.randint(1, 65535)
    return rng.randint(0, 1), rng.randint(0, 1), values


def check(net: Network, many: int, folder: Path, seed: int = 1, xram: int = 0x8000) -> None:
    """Steps from `many` cases on the chip and in the simulator."""
    rng = random.Random(seed)
    simulator = Simulator(net.program)
    given, wanted = [], []
    for _ in range(many):
        first, last, values = case(net, rng)
        state, sample = (
            b"".join(pack(b, values[b.name]) for b in buffers)
            for buffers in (net.program.state, net.program.sample)
        )
        given.append((bytes((first, last)) + state, sample))
        simulator.reset(1)
        simulator.set_state(state)
        x, target = (values[b.name] for b in net.program.sample)
        simulator.step(x, target, bool(first), bool(last))
        wanted.append(simulator.state())
    for i, (got, state) in enumerate(zip(run(net, given, folder, xram), wanted, strict=True)):
        assert got[:-2] == state, i
        assert int.from_bytes(got[-2:], "little") == crc16(state[1:]), i


@pytest.mark.parametrize("size", range(2, 18))
def test_layers_of_every_size_step_as_the_simulator_does(size: int, tmp_path: Path) -> None:
    kind = ("range", "z-score")[size % 2]
    sizes = (size, 19 - size, max(2, size % 7))
    net = network(sizes, kind, lr=(0.01, 0.3, 2.0)[size % 3])
    check(net, 24, tmp_path)


@pytest.mark.parametrize(
    ("sizes", "kind", "settings"),
    [
        ((40, 9, 3), "range", {"activation": "tanh"}),
        ((40, 9, 3), "z-score", {"activation": "linear"}),
        ((5, 36, 20), "range", {"activation": "leaky-relu"}),
        ((33, 20, 2), "range", {"activation": "sigmoid", "loss": "binary-cross-entropy"}),
        ((9, 5, 6, 4), "z-score", {"loss": "mse"}),
        ((60, 2), "range", {"lr": 1e-4}),
        ((13, 9, 4), "range", {"lr": 0.125}),
        ((6, 12, 4), "z-score", {"lr": 0.03125, "optimizer": "momentum"}),
        ((90, 20, 3), "range", {}),
        ((70, 40, 20), "z-score", {"activation": "tanh", "optimizer": "momentum"}),
        ((7, 17, 4), "range", {"optimizer": "momentum"}),
        ((17, 6, 3), "z-score", {"optimizer": "momentum", "lr": 1e-3, "activation": "tanh"}),
        ((20, 9, 5), "range", {"optimizer": "momentum", "lr": 1e-4, "momentum": 0.99}),
        ((6, 12, 4), "z-score", {"lr": 0.03125, "optimizer": "nesterov"}),
        ((20, 18, 5), "range", {"optimizer": "nesterov", "lr": 1e-4, "momentum": 0.99}),
        ((13, 8, 3), "range", {"optimizer": "momentum", "batch": 4, "lr": 0.01}),
        ((12, 18, 3), "z-score", {"optimizer": "momentum", "batch": 2, "momentum": 0.45}),
        ((13, 8, 3), "range", {"batch": 4}),
        ((9, 5, 3), "z-score", {"batch": 8, "lr": 1e-3, "activation": "linear"}),
    ],
)
def test_other_nets_too(
    sizes: tuple[int, ...], kind: str, settings: dict[str, object], tmp_path: Path
) -> None:
    net = network(sizes, kind, **settings)
    # As many as the chip's memories hold.
    check(net, min(12, 30000 // sum(b.bytes for b in net.program.state)), tmp_path)


@pytest.mark.parametrize(
    ("sizes", "kind", "settings"),
    [
        ((2, 4, 1), "z-score", {"activation": "tanh", "loss": "binary-cross-entropy"}),
        ((3, 4, 2), "range", {"lr": 2.0}),
        ((2, 4, 2), "z-score", {"activation": "sigmoid", "optimizer": "momentum"}),
        ((4, 3, 2), "range", {"optimizer": "momentum", "batch": 3}),
    ],
)
def test_small_boards_too(
    sizes: tuple[int, ...], kind: str, settings: dict[str, object], tmp_path: Path
) -> None:
    net = network(sizes, kind, **settings)
    check(net, 24, tmp_path, xram=PAGE)
    assert "NN_PLANES_SIZE 256" not in (tmp_path / "nn_config.h").read_text()


@pytest.mark.parametrize(
    ("sizes", "kind", "settings"),
    [
        ((9, 17, 3), "range", {"l2": 1e-3}),
        ((9, 7, 3), "range", {"l1": 1e-3, "clip_value": 0.1}),
        ((20, 6, 3), "z-score", {"l1": 2e-3, "l2": 5e-3, "lr": 0.5, "clip_value": 1.0}),
        ((3, 6, 3), "z-score", {"clip_value": 0.01}),
        ((6, 17, 4), "z-score", {"l1": 0.1, "l2": 1e-4, "optimizer": "momentum", "lr": 0.03}),
        ((8, 9, 3), "range", {"l1": 1e-4, "l2": 1e-5, "optimizer": "momentum", "batch": 4}),
    ],
)
def test_weights_decay_and_gradients_are_clipped_as_the_simulator_has_it(
    sizes: tuple[int, ...], kind: str, settings: dict[str, object], tmp_path: Path
) -> None:
    net = network(sizes, kind, **settings)
    for p in find(net.program).values():
        if isinstance(p, Step | Velocity):
            assert [d.kind for d in p.decays] == [key for key in ("l2", "l1") if key in settings]
            assert (p.clip is not None) == ("clip_value" in settings)
    check(net, min(12, 30000 // sum(b.bytes for b in net.program.state)), tmp_path)


@pytest.mark.parametrize("shift", range(16, 30))
def test_upper_bytes_tell_of_no_weight_that_loses_something(shift: int) -> None:
    """All upper bytes of a weight, of its noise, and carries, with the lower bytes at their ends;
    R and N are the numbers of the definition."""
    u, upper, carry = np.ogrid[0:256, 0:256, 0:2]
    for factor in (16, 77, 128, 200, 255):
        b, near = Bounds.of(factor, shift), far(Decay("l2", factor, shift))
        short = (upper - carry) & 255
        taken = (u * b.factor) >> 8
        noise = ((short + (taken > b.least & 255)) & 255) >> b.bits
        kept = ((b.least - taken + noise) & 255) < b.most
        kept |= (near <= short) & (short < 256 - near)
        assert kept.any() or shift < 19
        for low, below in product((-128, 0, 127), (0, 128, 255)):
            given = 65535 - (256 * upper + below)
            lost = (((256 * (u - 128) + low) * factor >> (shift - 16)) + given) >> 16
            assert not (kept & (lost != 0)).any(), factor


def test_what_is_a_pass() -> None:
    passes = find(network((20, 9, 3), "range").program)
    names = ["forward1", "forward2", "backward2", "update_weight2", "update_weight1"]
    assert [p.name for p in passes.values() if p.kernel] == names
    assert all(p.rest is None for p in passes.values())
    slots = find(network((20, 9, 3), "range", optimizer="momentum").program)
    assert "nn_pass_velocity_weight1" in [p.kernel for p in slots.values()]
    for curve in "tanh", "sigmoid":
        curved = find(network((20, 9, 3), "range", activation=curve).program)
        assert all(p.rest is None for p in curved.values())
    leaky = find(network((20, 9, 3), "range", activation="leaky-relu").program)
    assert [p.name for p in leaky.values() if p.rest] == ["forward1", "backward2"]
    for sizes in ((256, 9, 3), (1, 9, 3)):
        assert find(network(sizes, "range").program) == {}
