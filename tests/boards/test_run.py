"""Lines to virtual boards: their lives, their deaths, and what is flashed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest
from serial.tools import list_ports

from nnhost import saved
from nnhost.boards import BOARDS, Board
from nnhost.build import Built
from nnhost.errors import DeviceError
from nnhost.paths import examples_dir
from nnhost.project import load_project
from nnhost.run import boards as run_boards
from nnhost.run import flash_image, open_board
from nnhost.run import line as run_line
from nnhost.run.boards import board_folder, flash
from nnhost.run.virtual import power_on

from .conftest import greeting, receive, running

#: One board behind each kind of runner.
EACH_RUNNER = ["simstc8", "qemu-m3", "host"]

#: Powers boards on, says so, then waits. At Ctrl-C it says whether they still answer.
HOLDER = """
import signal, sys, time
from pathlib import Path
from nnhost.boards import get
from nnhost.run.virtual import power_on

def await_byte(line, byte):
    while byte not in line.read(10):
        pass

signal.signal(signal.SIGINT, signal.default_int_handler)
lines = [power_on(get(name), Path(image)) for name, image in zip(sys.argv[1::2], sys.argv[2::2])]
for line in lines:
    await_byte(line, b"\\n")
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    for line in lines:
        line.write(b"?")
        await_byte(line, b"?")
    print("all answer", flush=True)
"""

Holder = Callable[[], tuple[subprocess.Popen[str], list[int]]]


def wait_until(condition: Callable[[], bool], patience: float = 10.0) -> float:
    """Seconds until it held."""
    began = monotonic()
    while not condition():
        assert monotonic() - began < patience
        sleep(0.02)
    return monotonic() - began


@pytest.fixture
def holder(echo: Callable[[Board], Built], tmp_path: Path) -> Holder:
    """Starts a process that holds a board of each kind; the process, and those of its boards."""

    def start() -> tuple[subprocess.Popen[str], list[int]]:
        arguments = []
        for name in EACH_RUNNER:
            image = tmp_path / f"{name}-{BOARDS[name].image_name}"
            image.write_bytes(echo(BOARDS[name]).image.read_bytes())
            image.chmod(0o755)
            arguments += [name, str(image)]
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, *arguments],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        held = [pid for pid in running(str(tmp_path)) if pid != process.pid]
        assert len(held) >= len(EACH_RUNNER)
        return process, held

    return start


def alive(pids: list[int]) -> bool:
    return any(pid in running("") for pid in pids)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_boards_die_with_the_program_that_holds_them(how: signal.Signals, holder: Holder) -> None:
    process, held = holder()
    with process:
        process.send_signal(how)
    wait_until(lambda: not alive(held), 5.0)


def test_boards_survive_ctrl_c(holder: Holder) -> None:
    process, held = holder()
    with process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.stdout is not None
        assert process.stdout.readline() == "all answer\n"
    wait_until(lambda: not alive(held), 5.0)


@pytest.mark.parametrize("name", EACH_RUNNER)
def test_closing_is_quick_and_final(name: str, echo: Callable[[Board], Built]) -> None:
    board = BOARDS[name]
    image = echo(board).image
    before = os.listdir("/proc/self/fd")
    line = power_on(board, image)
    receive(line, len(greeting(board)))
    began = monotonic()
    line.close()
    assert monotonic() - began < 1.0
    assert running(str(image)) == []
    assert len(os.listdir("/proc/self/fd")) == len(before)
    line.close()
    with pytest.raises(DeviceError, match="closed"):
        line.read(0)
    with pytest.raises(DeviceError, match="closed"):
        line.write(b"?")


def test_a_forgotten_line_is_closed(echo: Callable[[Board], Built]) -> None:
    board = BOARDS["simstc8"]
    line = power_on(board, echo(board).image)
    assert running(str(echo(board).image)) != []
    del line
    assert running(str(echo(board).image)) == []


@pytest.mark.parametrize("name", EACH_RUNNER)
def test_a_board_that_dies_is_told(name: str, echo: Callable[[Board], Built]) -> None:
    board = BOARDS[name]
    line = power_on(board, echo(board).image)
    receive(line, len(greeting(board)))
    for pid in running(str(echo(board).image)):
        if b"/bin/sh" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    with pytest.raises(DeviceError, match=f"{name} is gone") as caught:
        line.read(5.0)
    assert caught.value.exit_code == 3
    line.close()


def test_a_simulator_that_refuses_the_image_says_why(tmp_path: Path) -> None:
    image = tmp_path / "firmware.elf"
    image.write_text("no program")
    line = power_on(BOARDS["qemu-m3"], image)
    with pytest.raises(DeviceError, match="qemu-m3 is gone: qemu: fatal: Lockup"):
        line.read(10.0)
    line.close()


def test_a_board_that_takes_nothing(
    echo: Callable[[Board], Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_line, "_PATIENCE", 0.2)
    board = BOARDS["simstc8"]
    line = power_on(board, echo(board).image)
    receive(line, len(greeting(board)))
    line.write(b"W\xff\xff")
    with pytest.raises(DeviceError, match="takes no more bytes"):
        line.write(bytes(1_000_000))
    line.close()


def test_silence_is_no_bytes_after_the_time(echo: Callable[[Board], Built]) -> None:
    board = BOARDS["host"]
    line = power_on(board, echo(board).image)
    receive(line, len(greeting(board)))
    began = monotonic()
    assert line.read(0.2) == b""
    assert 0.15 < monotonic() - began < 1.0
    line.close()


@pytest.mark.parametrize("name", EACH_RUNNER)
def test_flashing_and_opening(name: str, echo: Callable[[Board], Built], tmp_path: Path) -> None:
    board = BOARDS[name]
    folder = board_folder(tmp_path, board)
    folder.mkdir(parents=True)
    (folder / saved.NAME).write_bytes(b"what an earlier firmware learned")
    (folder / "difference-7.json").write_text("evidence")
    flash_image(tmp_path, board, echo(board).image)
    assert not (folder / saved.NAME).exists()
    assert (folder / "difference-7.json").exists()
    assert running(str(tmp_path)) == []
    line = open_board(tmp_path, board)
    assert receive(line, len(greeting(board))) == greeting(board)
    line.close()


def test_a_board_has_one_host(echo: Callable[[Board], Built], tmp_path: Path) -> None:
    board = BOARDS["host"]
    flash_image(tmp_path, board, echo(board).image)
    line = open_board(tmp_path, board)
    with pytest.raises(DeviceError, match=rf"host is in use by nnhost \(pid {os.getpid()}\)"):
        open_board(tmp_path, board)
    learned = board_folder(tmp_path, board) / saved.NAME
    learned.write_bytes(b"what the first one's run has learned")
    with pytest.raises(DeviceError, match="host is in use by nnhost"):
        flash_image(tmp_path, board, echo(board).image)
    assert learned.exists()
    line.close()
    flash_image(tmp_path, board, echo(board).image)
    open_board(tmp_path, board).close()


def test_nothing_flashed(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="nothing is flashed on simstc8") as caught:
        open_board(tmp_path, BOARDS["simstc8"])
    assert caught.value.help == "nnhost flash --board simstc8"
    assert caught.value.exit_code == 3


def test_a_damaged_image(echo: Callable[[Board], Built], tmp_path: Path) -> None:
    board = BOARDS["host"]
    flash_image(tmp_path, board, echo(board).image)
    with (board_folder(tmp_path, board) / board.image_name).open("ab") as image:
        image.write(b"\0")
    with pytest.raises(DeviceError, match="damaged"):
        open_board(tmp_path, board)


def test_an_image_that_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_boards, "_BOOT", 1.0)
    image = tmp_path / "idle.hex"
    image.write_text(":0200000080FE80\n:00000001FF\n")  # sjmp to itself
    with pytest.raises(DeviceError, match="says nothing"):
        flash_image(tmp_path, BOARDS["sim8052"], image)
    assert running(str(tmp_path)) == []


def test_a_missing_simulator(
    echo: Callable[[Board], Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = BOARDS["simstc8"]
    flash_image(tmp_path, board, echo(board).image)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="simstc8 needs ") as caught:
        open_board(tmp_path, board)
    assert caught.value.help.startswith("sudo apt-get install ")


@pytest.mark.parametrize(
    ("delivery", "why"), [("flash", "it trains by itself"), ("stream", "no serial port leads to")]
)
def test_a_real_board_that_cannot_be_asked_what_it_runs(
    delivery: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = Built(tmp_path / "firmware.elf", 1, 1, 1, {}, {})
    monkeypatch.setattr(run_boards, "build", lambda *_: built)
    monkeypatch.setattr(run_boards, "upload", lambda *_: built)
    monkeypatch.setattr(list_ports, "comports", list)
    project = load_project(examples_dir() / "iris", [f'data.delivery="{delivery}"'])
    assert why in flash(project, BOARDS["disco-f100rb"]).unproven
