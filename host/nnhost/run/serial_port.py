"""Serial ports: finding the one that leads to a board, and opening it for us alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import serial
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from nnhost.boards import Board
from nnhost.errors import DeviceError
from nnhost.run.line import Line


@dataclass
class Seen:
    """What was at the end of a cable: a board whose cable was out may come back on another port.

    `usb`: vendor, product, and serial number or, for want of one, the socket it was in.
    """

    usb: tuple[int, int, str] | None = None


def serial_ports(board: Board) -> list[str]:
    """The USB serial ports, or, if the board has one of its own, those of that kind."""
    ports = [port for port in list_ports.comports() if port.vid is not None]
    own = [p for p in ports if f"{p.vid:04X}:{p.pid:04X}" == board.runner.usb]
    return sorted(port.device for port in own or ports)


def open_serial(board: Board, port: str | None = None, seen: Seen | None = None) -> Line:
    """The line to a real board, on `port` or on the only port there is; later on whichever port
    leads to what was `seen` there first.

    Raises `DeviceError` if there is none, if there are several, or if it cannot be had.
    """
    port = _port_of(seen) or port or _only_port(board)
    try:
        device = serial.Serial(port, board.baud, timeout=0, exclusive=True)
    except (OSError, ValueError) as error:
        raise _refusal(port, error) from None
    device.reset_input_buffer()
    if seen is not None and seen.usb is None:
        seen.usb = next((_usb(p) for p in list_ports.comports() if p.device == port), None)
    descriptor = device.fileno()

    def epitaph() -> str:
        return "" if os.path.exists(port) else "it was unplugged"

    return Line(f"{board.name} on {port}", descriptor, descriptor, device.close, epitaph)


def _usb(port: ListPortInfo) -> tuple[int, int, str] | None:
    place = port.serial_number or port.location
    return (port.vid, port.pid, place) if port.vid is not None and place else None


def _port_of(seen: Seen | None) -> str | None:
    """The port on which that is now; None if nothing was seen."""
    if seen is None or seen.usb is None:
        return None
    for port in list_ports.comports():
        if _usb(port) == seen.usb:
            return str(port.device)
    raise DeviceError("the board's USB port is gone", help="plug it in again, anywhere")


def _only_port(board: Board) -> str:
    ports = serial_ports(board)
    if len(ports) == 1:
        return ports[0]
    if ports:
        raise DeviceError(
            f"{board.name} may be on any of {', '.join(ports)}", help="choose one with --port"
        )
    raise DeviceError(
        f"no serial port leads to {board.name}",
        help=f"connect it ({board.runner.wiring}), or name its port with --port",
    )


def _refusal(port: str, error: OSError | ValueError) -> DeviceError:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EACCES, errno.EPERM):
        return DeviceError(
            f"no permission to open {port}",
            help="sudo usermod -aG dialout $USER, then log out and in again",
        )
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(error):
        users = ", ".join(_users(port))
        return DeviceError(
            f"{port} is in use" + (f" by {users}" if users else ""), help="close that program"
        )
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return DeviceError(
            f"there is no port {port}",
            help="plug the board in; `ls /dev/ttyUSB* /dev/ttyACM*` shows what is there",
        )
    return DeviceError(f"cannot open {port}: {error}")


def _users(port: str) -> Iterator[str]:
    """Name and number of the processes that hold the port, as far as we may look."""
    target = os.path.realpath(port)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            held = any(os.path.realpath(fd) == target for fd in (process / "fd").iterdir())
            if held and process.name != str(os.getpid()):
                yield f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
