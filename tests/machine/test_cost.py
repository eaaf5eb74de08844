"""What `nnhost build` says of the cost, against what boards count; `make cost` has more nets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from nnhost import bench, boards, build, cost, project
from nnhost.emit_c import c_name
from nnhost.errors import CapacityError
from nnhost.generate import Network, Target, prepare
from nnhost.link.messages import State
from nnhost.machine import UnknownCode, thumb
from nnhost.machine.mcs51 import Mcs51
from nnhost.machine.thumb import Thumb
from nnhost.paths import firmware_dir
from nnhost.simulation import rehearse
from nnhost.simulator import Simulator
from nnhost.twin import Twin

Made = Callable[..., tuple[Network, Path]]
MOMENTUM = ("net.preset=q16", "train.optimizer=momentum", "train.lr=0.00390625")
#: Name -> template and settings.
NETS: dict[str, tuple[str, ...]] = {
    "iris q8 SGD": ("iris",),
    "iris q16 momentum": ("iris", *MOMENTUM),
    "digits q8 momentum": ("digits", "train.optimizer=momentum", "train.lr=0.00390625"),
}
SAID = [
    ("iris q16 momentum", "simstc8"),
    ("iris q8 SGD", "qemu-m0"),
    ("digits q8 momentum", "qemu-m4"),
    ("iris q16 momentum", "qemu-m55"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Builds a net for a board, as `nnhost build` does; real boards with the compilers here."""

    @cache
    def make(template: str, *settings: str, board: str) -> tuple[Network, Path]:
        root = tmp_path_factory.mktemp("net") / "net"
        ini = build.platformio_ini(str(firmware_dir()))
        for real in (b for b in boards.BOARDS.values() if b.official):
            assert real.official
            ini = ini.replace(
                f"[env:{real.name}]\nplatform = {real.official.platform}\n"
                f"board = {real.official.board}\nboard_build.f_cpu = {real.clock}L",
                f"[env:{real.name}]\nextends = virtual\nboard = {real.name}",
            )
        project.create_project(root, template, None, ini)
        loaded = project.load_project(root, list(settings))
        return prepare(loaded), build.build(loaded, boards.get(board)).image

    return make


def said(net: tuple[str, ...], board: str, made: Made) -> cost.Cost:
    network, image = made(*net, board=board)
    found = cost.cost(network, boards.get(board), image)
    assert found is not None
    return found


@pytest.mark.parametrize(("net", "board"), SAID)
def test_what_is_said_is_within_5_percent_of_what_is_counted(
    net: str, board: str, made: Made
) -> None:
    found = said(NETS[net], board, made)
    network, _ = made(*NETS[net], board=board)
    (counted,) = bench.bench(network.project, [boards.get(board)], cost.STEPS)
    assert (found.per_step, found.forward) == pytest.approx(
        (counted.per_step, counted.forward), rel=0.05
    )
    assert found.unit == counted.unit


def test_a_board_that_restarts_while_it_counts_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, made: Made
) -> None:
    network, _ = made("iris", board="simstc8")
    position = Twin.position

    def restarted(twin: Twin) -> State:
        state = position(twin)
        return replace(state, spent=10**6 // (1 + state.step))

    monkeypatch.setattr(Twin, "position", restarted)
    (cost,) = bench.bench(network.project, [boards.get("simstc8")], 2)
    assert cost.failed
    assert "restarted" in cost.message


@pytest.mark.parametrize("board", ["simstc8", "qemu-m0", "qemu-m4"])
def test_a_step_of_a_board_that_trains_by_itself_costs_the_same(board: str, made: Made) -> None:
    streamed = said(("iris",), board, made)
    alone = said(("iris", "data.delivery=flash"), board, made)
    assert alone.per_step == pytest.approx(streamed.per_step, rel=0.05)


@pytest.mark.parametrize(
    ("real", "virtual"), [("stc89c52rc", "sim89c52"), ("disco-f100rb", "qemu-m3")]
)
def test_a_real_board_costs_what_its_virtual_one_does(real: str, virtual: str, made: Made) -> None:
    found = said(("xor",), real, made)
    assert found == said(("xor",), virtual, made)
    cycles = virtual == "sim89c52"
    assert found.unit == ("cycles" if cycles else "instructions")
    rate = round(11_059_200 / 12 / found.per_step, 1)
    assert found.steps_per_s == (rate if cycles else None)


@pytest.mark.parametrize("net", ["digits q8 momentum", "iris q16 momentum"])
def test_an_8051_that_is_read_computes_the_bits_of_the_simulator(net: str, made: Made) -> None:
    """Planes and passes; plain C with 32 bits."""
    network, image = made(*NETS[net], board="simstc8")
    machine = Mcs51(image)
    program, board = network.program, boards.get("simstc8")
    space = Target.of(board, standalone=False).memory(program).space
    x, target = program.sample
    machine.call("nn_train_reset", network.project.train.seed)
    simulator = Simulator(program)
    for visit, _ in rehearse(simulator, network, 30):
        row = visit.row
        for b, values in ((x, network.train.x[row]), (target, network.train.target[row])):
            memory = machine.outside if space[b] == "NN_XDATA" else machine.inside
            cost._put(memory, machine.symbol(c_name(b)), b, values)
        if visit.opens:
            machine.call("nn_epoch")
        machine.inside[machine.symbol("nn_train_step_PARM_2")] = visit.last
        machine.call("nn_train_step", visit.first)
        for b in program.trace:
            memory = machine.outside if space[b] == "NN_XDATA" else machine.inside
            begin = machine.symbol(c_name(b))
            kind = f"<{b.c_type[0]}{b.bytes // b.size}"
            found = np.frombuffer(bytes(memory[begin : begin + b.bytes]), kind)
            assert found.tolist() == np.ravel(simulator.memory[b.name]).tolist(), visit.step


def test_the_figures_are_kept_beside_the_image(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = made("xor", board="qemu-m0")
    board = boards.get("qemu-m0")
    first = cost.cost(network, board, image)
    assert first is not None

    def never(*_: object) -> tuple[int, int]:
        raise UnknownCode("read again")

    monkeypatch.setattr(cost, "_read", never)
    assert cost.cost(network, board, image) == first
    image.with_name("cost.json").write_text("[]")
    assert cost.cost(network, board, image) is None


def test_nothing_is_said_of_what_cannot_be_read(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, image = made("xor", board="qemu-m0")
    monkeypatch.setattr(cost, "objdump", lambda: "")
    assert cost.cost(network, boards.get("qemu-m0"), image) is None
    assert cost.cost(network, boards.get("host"), image) is None
    assert cost.cost(network, boards.get("qemu-m0"), image.with_name("none")) is None


def test_a_function_that_does_not_end_is_given_up(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, image = made("xor", board="qemu-m0")
    monkeypatch.setattr(thumb, "_PATIENCE", 100_000)
    machine = Thumb(image, boards.get("qemu-m0").ram["ram"], boards.objdump())
    with pytest.raises(UnknownCode, match="main does not come to an end"):
        machine.call("main")
    assert network.program


@pytest.mark.parametrize(
    ("name", "unit", "least"),
    [
        ("disco-f100rb", "instructions", 5_000_000),  # 4 clocks each, at 8 MHz: 2.5 s of 10
        ("stc8a8k64", "cycles", 2_000_000),  # 12 clocks each, at 24 MHz: 1 s of 4
        ("stc89c52rc", "cycles", 2_073_600),  # at 11.0592 MHz: 2.25 s of 9
    ],
)
def test_a_step_too_long_for_the_watchdog_is_refused(name: str, unit: str, least: int) -> None:
    board = boards.get(name)
    cost.check_watchdog(board, cost.Cost(unit, least, 1, None))
    with pytest.raises(CapacityError, match="too long for its watchdog"):
        cost.check_watchdog(board, cost.Cost(unit, least + 1, 1, None))
    cost.check_watchdog(boards.get("sim8052"), cost.Cost(unit, 10**9, 1, None))
