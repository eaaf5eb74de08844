"""Serial ports, with a pseudo-terminal for a board."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial
from serial.tools import list_ports

from nnhost.boards import BOARDS
from nnhost.errors import DeviceError
from nnhost.run import Seen, open_board, open_serial, serial_ports

from .conftest import receive

BOARD = BOARDS["stc89c52rc"]


class Terminal:
    """The board's end of a line; `port` is the host's."""

    def __init__(self) -> None:
        self.end, host = pty.openpty()
        tty.setraw(host)
        self.port = os.ttyname(host)
        os.close(host)

    def unplug(self) -> None:
        if self.end >= 0:
            os.close(self.end)
        self.end = -1


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.unplug()


def plugged(monkeypatch: pytest.MonkeyPatch, *ports: tuple[str, int | None, int | None]) -> None:
    found = [
        SimpleNamespace(device=name, vid=vid, pid=pid, serial_number=None, location=f"1-{at}")
        for at, (name, vid, pid) in enumerate(ports)
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: found)


def test_bytes_pass_both_ways(terminal: Terminal) -> None:
    every = bytes(range(256))
    line = open_serial(BOARD, terminal.port)
    line.write(every)
    assert os.read(terminal.end, 1000) == every
    os.write(terminal.end, every)
    assert receive(line, 256) == every
    assert line.read(0.05) == b""
    line.close()


def test_the_only_port_is_taken(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(monkeypatch, ("/dev/ttyS0", None, None), (terminal.port, 0x1A86, 0x7523))
    line = open_board(Path("."), BOARD)
    line.write(b"x")
    assert os.read(terminal.end, 10) == b"x"
    line.close()


def test_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(monkeypatch, ("/dev/ttyS0", None, None))
    with pytest.raises(DeviceError, match="no serial port leads to stc89c52rc") as caught:
        open_serial(BOARD)
    assert "P3.0" in caught.value.help
    assert caught.value.exit_code == 3


def test_several_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(monkeypatch, ("/dev/ttyUSB1", 0x1A86, 0x7523), ("/dev/ttyUSB0", 0x10C4, 0xEA60))
    with pytest.raises(DeviceError, match="/dev/ttyUSB0, /dev/ttyUSB1") as caught:
        open_serial(BOARD)
    assert "--port" in caught.value.help


def test_a_board_with_a_port_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(monkeypatch, ("/dev/ttyUSB0", 0x1A86, 0x7523), ("/dev/ttyACM0", 0x0D28, 0x0204))
    assert serial_ports(BOARDS["microbit"]) == ["/dev/ttyACM0"]
    assert serial_ports(BOARD) == ["/dev/ttyACM0", "/dev/ttyUSB0"]


def test_a_port_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match="there is no port /dev/ttyUSB77"):
        open_serial(BOARD, "/dev/ttyUSB77")


def test_a_port_in_use(terminal: Terminal) -> None:
    hold = "import serial, sys; s = serial.Serial(sys.argv[1], exclusive=True); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, terminal.port],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(DeviceError, match=rf"in use by python.* \(pid {other.pid}\)"):
            open_serial(BOARD, terminal.port)
        other.communicate(b"\n")
    open_serial(BOARD, terminal.port).close()


def test_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(DeviceError, match="no permission to open /dev/ttyUSB0") as caught:
        open_serial(BOARD, "/dev/ttyUSB0")
    assert "sudo usermod -aG dialout $USER" in caught.value.help


def test_a_board_that_comes_back_on_another_port(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another device may have taken the port that it had."""
    other = Terminal()

    def plug(**serial_numbers: str) -> None:
        ports = {"here": terminal.port, "there": other.port}
        found = [
            SimpleNamespace(device=ports[at], vid=1, pid=2, serial_number=number, location="1-1")
            for at, number in serial_numbers.items()
        ]
        monkeypatch.setattr(list_ports, "comports", lambda: found)

    seen = Seen()
    plug(here="A", there="B")
    first = terminal.port
    open_serial(BOARD, first, seen).close()
    plug(here="B", there="A")
    line = open_serial(BOARD, first, seen)
    line.write(b"x")
    assert os.read(other.end, 10) == b"x"
    line.close()
    plug(here="B")
    with pytest.raises(DeviceError, match="USB port is gone"):
        open_serial(BOARD, first, seen)
    other.unplug()


def test_a_port_that_vanishes(terminal: Terminal) -> None:
    line = open_serial(BOARD, terminal.port)
    port = terminal.port
    terminal.unplug()
    with pytest.raises(DeviceError, match=f"stc89c52rc on {port} is gone") as caught:
        line.read(5.0)
    assert caught.value.exit_code == 3
    with pytest.raises(DeviceError, match="is gone"):
        line.write(b"?")
    line.close()
