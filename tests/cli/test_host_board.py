"""The whole way, on the board that is a process of this computer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from nnhost import load_project, simulate, virtual_board
from nnhost.errors import UsageError


def nnhost(*arguments, **options):
    command = [sys.executable, "-m", "nnhost", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, **options
    )


def events(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A digits project, flashed on host."""
    folder = tmp_path_factory.mktemp("digits")
    assert nnhost("new", folder, "--template", "digits", "--board", "host").returncode == 0
    done = nnhost("-C", folder, "flash", "--json")
    assert done.returncode == 0, done.stderr
    assert events(done)[-1]["event"] == "flashed"
    return folder


def test_build(folder):
    done = nnhost("-C", folder, "build", "--json")
    (built,) = events(done)
    keys = {"event", "board", "image", "program", "flash", "flash_limit", "ram", "ram_limit"}
    assert built.keys() >= keys
    assert (built["event"], built["board"]) == ("built", "host")
    assert 0 < built["flash"] <= built["flash_limit"]
    assert built["ram"].keys() == built["ram_limit"].keys()


def test_watch_then_pull(folder):
    done = nnhost("-C", folder, "watch", "--steps", "150", "--json")
    assert done.returncode == 0, done.stderr
    *steps, last = events(done)
    assert len(steps) == 150
    assert all(step["exact"] for step in steps)
    here = simulate(load_project(folder), engine="native", steps=150)
    assert last["digest"] == here.digest
    assert last["train_accuracy"] == here.train_accuracy
    assert last["test_accuracy"] == here.test_accuracy
    assert last["exact"] is True
    done = nnhost("-C", folder, "pull", "-o", folder / "w.npz")
    assert done.returncode == 0, done.stderr
    with np.load(folder / "w.npz", allow_pickle=False) as file:
        assert str(file["digest"]) == last["digest"]
        assert file["weight1"].shape == (16, 64)
        assert len(file["losses"]) == 150


def test_a_state_beyond_64_kb(folder):
    """Its offsets on the link take more than 16 bits, and its largest tensor several segments."""
    project = load_project(folder, ["net.hidden=[560]", "train.epochs=1"])
    with virtual_board(project, "host") as board:
        result = board.train(steps=6, score=False)
        assert board.state() == result.state
    assert len(result.state) > 0xFFFF
    assert result.exact
    assert result.digest == simulate(project, engine="native", steps=6).digest


def test_ctrl_c(folder):
    """As a terminal sends it: to the whole group of processes."""
    command = [sys.executable, "-m", "nnhost", "-C", str(folder), "watch", "--epochs", "500"]
    with subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        for _ in range(40):
            process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        *_, last = process.stdout.readlines()
        assert process.wait(30) == 130
    done = json.loads(last)
    assert (done["event"], done["stopped"], done["exact"]) == ("done", True, True)
    assert done["steps"] >= 40
    assert nnhost("-C", folder, "pull", "-o", folder / "stopped.npz").returncode == 0
    with np.load(folder / "stopped.npz") as file:
        assert int(file["step"]) == done["steps"]
        assert str(file["digest"]) == done["digest"]


def test_a_reader_that_leaves(folder):
    command = [sys.executable, "-m", "nnhost", "-C", str(folder), "watch", "--epochs", "500"]
    with subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(30) == 1
    assert "error" not in err
    assert "Traceback" not in err


def test_another_nn_toml_than_flashed(folder):
    done = nnhost("-C", folder, "watch", "--set", "net.hidden=[8]")
    assert done.returncode == 3
    assert (
        "flash --board host --set 'net.hidden=[8]'\n" in done.stderr
    )  # the board's, with this net


def test_verify_leaves_the_flashed_board_alone(folder):
    before = {
        p: p.stat().st_mtime_ns
        for name in (".nnhost", ".pio", "build")
        for p in (folder / name).rglob("*")
    }
    done = nnhost("-C", folder, "verify", "--steps", "20", "--set", "net.hidden=[4]", "--json")
    assert done.returncode == 0, done.stderr
    verdict, last = events(done)
    assert (verdict["outcome"], verdict["steps"]) == ("exact", 20)
    project = load_project(folder, ["net.hidden=[4]"])
    assert verdict["digest"] == simulate(project, steps=20).digest
    assert last["exact"] is True
    assert before == {
        p: p.stat().st_mtime_ns
        for name in (".nnhost", ".pio", "build")
        for p in (folder / name).rglob("*")
    }


def test_a_virtual_board_in_a_test(folder):
    """As the README shows it."""
    with virtual_board(load_project(folder)) as board:
        result = board.train(steps=300)
        assert result.exact
        assert result.losses[-50:].mean() < result.losses[:50].mean()
        assert result.test_accuracy > 0.5
        assert board.evaluate("test") == result.test
        assert board.state() == result.state
    assert result.digest == simulate(load_project(folder), steps=300).digest


def test_data_beside_nn_toml(tmp_path):
    """A path in nn.toml is relative to the project, wherever the board is built."""
    rows = "\n".join(f"{x},{1 - x},{'ab'[int(x > 0.5)]}" for x in np.linspace(0, 1, 30).round(3))
    (tmp_path / "mine.csv").write_text(f"p,q,label\n{rows}\n")
    (tmp_path / "nn.toml").write_text(
        '[net]\nhidden = []\n[data]\nsource = "mine.csv"\n[board]\nname = "host"\n'
    )
    with virtual_board(load_project(tmp_path)) as board:
        assert board.train(epochs=2).exact


def test_a_board_that_is_not_virtual(folder):
    with (
        pytest.raises(UsageError, match="microbit is a real board"),
        virtual_board(load_project(folder), "microbit"),
    ):
        pass


def test_a_net_that_does_not_fit(folder):
    done = nnhost("-C", folder, "verify", "sim89c52", "host", "--steps", "5", "--json")
    assert done.returncode == 0
    verdicts = {v["board"]: v for v in events(done)[:-1]}
    assert verdicts["host"]["outcome"] == "exact"
    assert verdicts["sim89c52"]["outcome"] == "refused"
    assert "more than there are" in verdicts["sim89c52"]["message"]


def test_names_of_the_package():
    """`simulate` is the function, whatever has been imported before."""
    code = (
        "import nnhost.simulator, nnhost.twin\nfrom nnhost import load_project, simulate\n"
        "assert callable(simulate) and callable(load_project)\n"
        "import sys, nnhost\ntry: nnhost.nonsense\nexcept AttributeError: pass\nelse: sys.exit(1)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_the_package_is_light():
    code = "import sys, nnhost; sys.exit('numpy' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
