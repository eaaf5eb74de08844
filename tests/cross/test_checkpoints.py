"""Boards that train by themselves and lose power: they go on from the checkpoint in their store."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nnhost import simulate
from nnhost.boards import BOARDS
from nnhost.build import build, platformio_ini
from nnhost.generate import prepare
from nnhost.link import TextDone, TextResumed, TextStep, read_text, state_digest
from nnhost.paths import firmware_dir
from nnhost.project import Project, create_project, load_project
from nnhost.run import flash, open_board
from nnhost.run.store import STORE
from nnhost.simulation import rehearse
from nnhost.simulator import Simulator
from nnhost.twin import Twin

EVERY = 7
STEPS = 240
#: Batches that no checkpoint ends with, slots, and a rate that falls: all of it must come back.
OVERRIDES = [
    "data.delivery=flash", f"train.checkpoint_every={EVERY}", "train.epochs=2", "train.batch=4",
    "train.optimizer=momentum", "train.schedule=exponential",
]  # fmt: skip
#: After which step, of each start, power fails.
CUTS = (3, 21, 118, 230)


def project_on(root: Path, name: str) -> Project:
    """iris in `root`, on a board that the platform in the tree builds even if it is a real one."""
    ini = re.sub(
        r"\[env:(\S+)\]\nplatform = .*\nboard = .*\nboard_build.*",
        r"[env:\1]\nextends = virtual\nboard = \1",
        platformio_ini(str(firmware_dir())),
    )
    create_project(root, "iris", name, ini)
    return load_project(root, OVERRIDES)


def digest_of(project: Project) -> int:
    """The digest of the state at the end of the training, undisturbed."""
    network = prepare(project)
    simulator = Simulator(network.program)
    simulator.reset(project.train.seed)
    for _ in rehearse(simulator, network, STEPS):
        pass
    return state_digest(simulator.state())


def run_until(project: Project, name: str, step: int) -> tuple[int, int]:
    """Power the board on, and off with SIGKILL once it has printed the step: the checkpoint that it
    has gone on from, and the digest that it has come to, 0 if it has not."""
    line = open_board(project.root, BOARDS[name])
    resumed = 0
    try:
        for told in read_text(line, 20):
            if isinstance(told, TextResumed):
                resumed = told.step
            if isinstance(told, TextDone):
                return resumed, told.digest
            if isinstance(told, TextStep) and told.step >= step:
                break
    finally:
        line.close()
    return resumed, 0


@pytest.mark.parametrize(
    "name",
    [b.name for b in BOARDS.values() if b.store and not b.official]
    if "NNHOST_FULL_MATRIX" in os.environ
    else ["simstc8", "qemu-m3"],
)
def test_a_board_without_power_goes_on(name: str, tmp_path: Path) -> None:
    project = project_on(tmp_path / "a project", name)
    flash(project, BOARDS[name])
    store = tmp_path / "a project" / ".nnhost" / name / STORE
    assert not list(store.parent.glob(f"{STORE}*"))

    least, wanted = 0, digest_of(project)
    for cut in CUTS:
        resumed, digest = run_until(project, name, cut)
        assert digest in (0, wanted)  # a fast one may end before it is killed
        assert resumed >= least
        assert resumed % EVERY == 0 or resumed == STEPS
        least = max(resumed, cut - cut % EVERY - EVERY)
    resumed, digest = run_until(project, name, STEPS + 1)
    assert least <= resumed
    assert digest == wanted

    # What has been trained is there at once at the next start, and compared.
    assert run_until(project, name, STEPS + 1) == (STEPS, digest)
    goes_on: list[int] = []
    with Twin(
        prepare(project), name, lambda: open_board(project.root, BOARDS[name]), tmp_path,
        on_resume=lambda step, _: goes_on.append(step),
    ) as twin:  # fmt: skip
        result = twin.train()
    assert goes_on == [STEPS]
    assert result.exact
    assert result.digest == simulate(project, engine="native").digest

    # Once it has been flashed again it begins anew.
    flash(project, BOARDS[name])
    assert run_until(project, name, 30)[0] == 0


@pytest.mark.parametrize("name", ["host"])
def test_killing_the_host_kills_no_checkpoint(name: str, tmp_path: Path) -> None:
    project = project_on(tmp_path / "project", name)
    (project.root / "nn.toml").write_text(
        re.sub(r"(?m)^delivery.*$", "", project.path.read_text())
        .replace("[train]", f"[train]\ncheckpoint_every = {EVERY}")
        .replace("[data]", '[data]\ndelivery = "flash"')
    )
    project = load_project(project.root, ["train.epochs=2"])
    flash(project, BOARDS[name])
    command = [sys.executable, "-m", "nnhost", "-C", str(project.root), "watch", "--json"]
    command += ["--set", "train.epochs=2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as watch:
        assert watch.stdout is not None
        for line in watch.stdout:
            if b'"step": 60,' in line:
                break
        os.kill(watch.pid, signal.SIGKILL)
    resumed, digest = run_until(project, name, STEPS + 1)
    assert resumed >= 60 - 60 % EVERY - EVERY
    assert digest == digest_of(project)


def test_the_flash_of_a_microbit(tmp_path: Path) -> None:
    """The very image of the real board; QEMU has the nRF51's flash controller, whose pages outlast
    a reset of the chip, though not QEMU."""
    project = project_on(tmp_path / "project", "microbit")
    image = build(project, BOARDS["microbit"]).image.resolve()
    here, there = socket.socketpair()
    command = ["qemu-system-arm", "-M", "microbit", "-kernel", str(image), "-nodefaults"]
    command += ["-display", "none", "-monitor", "stdio", "-chardev"]
    command += [f"socket,id=uart,fd={there.fileno()}", "-serial", "chardev:uart"]
    cuts, starts, resumed = [30, 100, 150], 0, []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=(there.fileno(),)
    ) as qemu:
        there.close()
        here.settimeout(20)
        assert qemu.stdin is not None
        try:
            for line in here.makefile("rb"):
                starts += b"program:" in line  # half a line may stand before it
                if found := re.match(rb"resumed:(\d+)", line):
                    resumed.append(int(found[1]))
                found = re.match(rb"(?:step|done):(\d+)", line)
                if found is None or starts < 4 - len(cuts):
                    continue  # of before the reset
                if cuts and int(found[1]) >= cuts[0]:
                    cuts.pop(0)
                    qemu.stdin.write(b"system_reset\n")
                    qemu.stdin.flush()
                elif line.startswith(b"done"):
                    break
        finally:
            qemu.kill()
            here.close()
    assert len(resumed) == 3
    assert resumed == sorted(resumed)
    assert int(line[-5:], 16) == digest_of(project)
