"""Virtual boards that are powered off while they train, and hosts that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nnhost import simulate, virtual_board
from nnhost.boards import get
from nnhost.build import platformio_ini
from nnhost.errors import LostError
from nnhost.link import Transport
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import create_project, load_project
from nnhost.run import boards as runner

#: What a powered board hears until its supply fails.
REQUESTS = (3, 30, 101, 250)


class Failing:
    """A line to a board whose supply fails at a request."""

    def __init__(self, transport: Transport, requests: int) -> None:
        self._transport = transport
        self._left = requests

    def read(self, timeout: float) -> bytes:
        return self._transport.read(timeout)

    def write(self, data: bytes) -> None:
        self._left -= len(data) > 1
        if self._left <= 0:
            self._transport.close()
            raise LostError("the board is off")
        self._transport.write(data)

    def close(self) -> None:
        self._transport.close()


@pytest.mark.parametrize("name", ["simstc8", "qemu-m3"])
def test_training_goes_on_exact(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = list(REQUESTS)
    original = runner.open_board

    def open_board(*where: Any, **how: Any) -> Failing:
        return Failing(original(*where, **how), left.pop(0) if left else 10**9)

    monkeypatch.setattr("nnhost.apart.open_board", open_board)
    project = load_project(examples_dir() / "iris", ["train.epochs=3"])

    with virtual_board(project, name) as board:
        result = board.train()

    assert left == []
    assert result.exact
    assert result.digest == simulate(project, engine="native").digest
    assert result.link is not None
    assert result.link.lost == len(REQUESTS)


#: Of a board: the run's settings, and the steps at which its host is killed.
KILLED = {
    "simstc8": (["train.online=true", "data.test=0.0"], (90, 50)),
    "qemu-m3": (["train.early_stopping=2", "data.validation=0.2", "train.lr=0.3"], (400, 1)),
}


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_host_goes_on_exact(name: str, tmp_path: Path) -> None:
    """With kill -9, which powers a virtual board off too."""
    settings, kills = KILLED[name]
    root = tmp_path / "project"
    create_project(root, "iris", name, platformio_ini(str(firmware_dir())))
    text = (root / "nn.toml").read_text()
    if "train.online=true" in settings:
        text = "".join(line for line in text.splitlines(True) if not line.startswith("epochs"))
    (root / "nn.toml").write_text(text)
    project = load_project(root, settings)
    runner.flash(project, get(name))
    command = [sys.executable, "-m", "nnhost", "-C", str(root), "watch", "--json", "--resume"]
    command += [part for setting in settings for part in ("--set", setting)]

    for steps in kills:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as watch:
            assert watch.stdout is not None
            made = 0
            for line in watch.stdout:
                made += b'"event": "step"' in line
                if made == steps:
                    break
            os.kill(watch.pid, signal.SIGKILL)
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    result, reference = json.loads(done.stdout.splitlines()[-1]), simulate(project).event()
    own = ("seconds", "exact", "link")
    assert {k: v for k, v in result.items() if k not in own} == {
        k: v for k, v in reference.items() if k not in own
    }
    assert result["exact"] is True
