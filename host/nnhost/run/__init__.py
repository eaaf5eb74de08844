"""Powering boards on: virtual ones in their simulators, real ones behind serial ports."""

from __future__ import annotations

from nnhost.run.boards import flash, flash_image, open_board
from nnhost.run.serial_port import Seen, open_serial, serial_ports

__all__ = ["Seen", "flash", "flash_image", "open_board", "open_serial", "serial_ports"]
