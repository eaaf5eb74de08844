"""Faults put into firmware on purpose are found: the step, the Map, the tensor and the element.

What is to be found is computed here by another way: the simulator of the faulty Program against
that of the right one. `make faults` tries all of them, `make test` a few.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from nnhost.bisect import bisect, replay
from nnhost.boards import get
from nnhost.build import platformio_ini
from nnhost.cli import main
from nnhost.errors import DeviceError, UsageError
from nnhost.faults import injected
from nnhost.generate import Network, prepare
from nnhost.ir import Program
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import Project, load_project
from nnhost.run.boards import flash
from nnhost.simulation import make, schedule
from nnhost.simulator import Simulator
from nnhost.train import Visit

STEP = ("epoch", "forward", "measure", "backward", "update")
LIMIT = 60.0  # seconds
STEPS = 300

NETS = {
    "plain": [],
    "momentum": [
        'net.preset="q16"', 'net.activation="tanh"', "net.hidden=[6]",
        'train.optimizer="momentum"', "train.lr=0.004", "train.batch=4",
    ],
    "deep": [
        "net.hidden=[5,4]", 'net.activation=["leaky-relu","sigmoid"]', 'net.loss="mse"',
        'train.optimizer="nesterov"', "train.lr=0.5", "train.l2=0.01",
    ],
    "wild": ['net.preset="q16"', "net.hidden=[5]", "train.lr=1.0"],
}  # fmt: skip
#: The first of each board is tried by `make test`.
FAULTS = [
    ("simstc8", "plain", "shift delta_out"),
    ("simstc8", "plain", "shift forward1"),  # within a pass in assembly
    ("simstc8", "plain", "shift factor2"),
    ("simstc8", "plain", "stuck weight1[2, 1] bit 13 at 0"),
    ("simstc8", "plain", "cast mass"),
    ("simstc8", "momentum", "shift update_weight2"),
    ("simstc8", "momentum", "shift gap"),
    ("simstc8", "deep", "saturation backward3"),
    ("simstc8", "wild", "saturation backward2"),
    ("simstc8", "wild", "cast update_bias1"),
    ("qemu-m0", "wild", "saturation update_weight2"),
    ("qemu-m0", "plain", "shift see_delta2"),
    ("qemu-m0", "plain", "saturation forward1"),
    ("qemu-m0", "plain", "stuck weight2[1, 3] bit 12 at 1"),
    ("qemu-m0", "momentum", "shift delta_out"),
    ("qemu-m0", "momentum", "cast velocity_weight1"),
    ("qemu-m0", "momentum", "stuck bias2[1] bit 8 at 0"),
    ("qemu-m0", "deep", "shift l2_weight2"),
    ("qemu-m0", "deep", "saturation update_bias1"),
    ("qemu-m0", "wild", "cast see_delta2"),
    ("qemu-m4", "momentum", "stuck weight1[3, 2] bit 6 at 1"),
    ("qemu-m4", "plain", "shift update_weight1"),
    ("qemu-m4", "plain", "cast factor1"),
    ("qemu-m4", "plain", "stuck bias1[4] bit 3 at 1"),
    ("qemu-m4", "momentum", "shift update_bias2"),
    ("qemu-m4", "deep", "cast see_delta3"),
    ("qemu-m4", "deep", "shift loss"),
    ("qemu-m4", "deep", "shift velocity_bias2"),
    ("qemu-m4", "wild", "saturation gap"),
    ("qemu-m4", "wild", "cast delta_out"),
]
TRIED = FAULTS if os.environ.get("NNHOST_ALL_FAULTS") else FAULTS[::10]


@dataclass(frozen=True)
class Truth:
    step: int
    map: str
    tensor: str
    index: tuple[int, ...]
    value: int
    expected: int


def truth(network: Network, fault: str) -> Truth | None:
    """The first step that differs, made from a right state; in it the first Map."""
    wrong_program = injected(network.program, fault)
    course, wrong = Simulator(network.program), Simulator(wrong_program)
    before = course.state()
    for visit in schedule(course, network, STEPS):
        # The order of an epoch is drawn before its first step; it is of the step for a board.
        if visit.step == 1:
            course.reset(network.project.train.seed)
            before = course.state()
            course.epoch()
        wrong.set_state(before)
        if visit.opens:
            wrong.epoch()
        outcome, expected = make(wrong, network, visit), make(course, network, visit)
        if outcome != expected or wrong.state() != course.state():
            return _first(network, wrong_program, visit, before)
        before = course.state()
    return None


def _first(network: Network, wrong_program: Program, visit: Visit, before: bytes) -> Truth:
    memories = []
    for program in (network.program, wrong_program):
        maps = [m for s in STEP for m in program.sections[s] if visit.opens or s != "epoch"]
        sections = {"init": program.sections["init"]} | {m.name: [m] for m in maps}
        simulator = Simulator(Program(sections, program.state, program.sample, program.trace))
        simulator.set_state(before)
        simulator.memory |= {
            "x": network.train.x[visit.row], "target": network.train.target[visit.row],
            "first": int(visit.first), "last": int(visit.last),
        }  # fmt: skip
        if not network.program.sample[1].shape:
            simulator.memory["target"] = int(network.train.target[visit.row])
        memories.append((simulator, maps))
    (right, maps), (wrong, _) = memories
    for m in maps:
        for simulator in (right, wrong):
            simulator.run(m.name)
        ours, theirs = (np.asarray(s.memory.get(m.dst.name, 0)) for s in (right, wrong))
        if (ours != theirs).any():
            index = tuple(int(i) for i in np.argwhere(ours != theirs)[0])
            return Truth(
                visit.step, m.name, m.dst.name, index, int(theirs[index]), int(ours[index])
            )
    raise AssertionError("the step differs and no Map does")


def project_with(folder: Path, net: str, fault: str = "", board: str = "simstc8") -> Project:
    """Iris with the settings of a net, and a fault."""
    if not (folder / "nn.toml").exists():
        (folder / "nn.toml").write_text((examples_dir() / "iris" / "nn.toml").read_text())
        (folder / "platformio.ini").write_text(platformio_ini(str(firmware_dir())))
    extra = [f"build.inject={json.dumps(fault)}"] if fault else []
    return load_project(folder, [*NETS[net], *extra, f'board.name="{board}"'])


@pytest.mark.parametrize(("name", "net", "fault"), TRIED)
def test_a_fault_is_found(name: str, net: str, fault: str, tmp_path: Path) -> None:
    board, project = get(name), project_with(tmp_path, net, fault, name)
    expected = truth(prepare(project), fault)
    assert expected, "this fault changes nothing"
    flash(project, board)

    began = monotonic()
    found = bisect(project, board, steps=STEPS)
    took = monotonic() - began

    assert found
    finding, report = found
    seen = (finding.step, finding.map, finding.tensor, finding.index)
    assert seen == (expected.step, expected.map, expected.tensor, expected.index)
    assert (finding.value, finding.expected) == (expected.value, expected.expected)
    assert finding.map in finding.maps
    assert finding.code
    assert finding.operands or "random" in finding.expression
    assert replay(project, report) == finding
    assert took < LIMIT
    print(f"{name} {net} {fault}: step {finding.step}, {finding.place}, {took:.1f} s")


def test_a_right_board_does_not_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = project_with(tmp_path, "plain", board="host")
    flash(project, get("host"))

    with pytest.raises(SystemExit) as ended:
        main(["-C", str(tmp_path), "--json", "bisect", "--board", "host", "--steps", "40"])

    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == {
        "event": "bisect", "board": "host", "exact": True,
    }  # fmt: skip


def test_faulty_firmware_is_never_taken_for_good(tmp_path: Path) -> None:
    board = get("host")
    flash(project_with(tmp_path, "plain", "shift forward1", "host"), board)

    with pytest.raises(DeviceError, match="the board runs program"):
        bisect(project_with(tmp_path, "plain", board="host"), board)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("bend forward1", "there is no fault"),
        ("shift nowhere", "there is no Map"),
        ("saturation epoch", "has no saturation"),
        ("stuck weight1[99, 0] bit 3 at 1", "no update writes"),
        ("stuck weight1[0, 0] bit 15 at 1", "no update writes"),
        ("stuck loss[0] bit 1 at 1", "no update writes"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(fault: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        injected(prepare(project_with(tmp_path, "plain")).program, fault)


def test_a_report_is_of_its_project(tmp_path: Path) -> None:
    project = project_with(tmp_path, "plain", "shift forward1", "host")
    flash(project, get("host"))
    found = bisect(project, get("host"), steps=2)
    assert found
    (tmp_path / "bad.npz").write_bytes(found[1].read_bytes()[:-40])

    with pytest.raises(UsageError, match="the report is of program"):
        replay(project_with(tmp_path, "wild"), found[1])
    with pytest.raises(UsageError, match="no report"):
        replay(project, tmp_path / "bad.npz")
    with pytest.raises(UsageError, match="no report"):
        replay(project, tmp_path / "none.npz")
