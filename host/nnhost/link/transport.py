"""What carries the link's bytes: a serial port, a simulator's pipes."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """A line to a board, in both directions. The boards' runners implement it."""

    def read(self, timeout: float) -> bytes:
        """What has arrived, at least one byte; ``b""`` if nothing does within ``timeout`` seconds.

        Raises ``LostError`` when the other side is gone.
        """

    def write(self, data: bytes) -> None:
        """Sends all of ``data``. Raises ``LostError`` when the other side is gone."""

    def close(self) -> None:
        """Gives the line back; more than once does no harm."""
