"""The wire between a host and a virtual board, on which frames are damaged by seed.

The board is another process and takes its own time: a seed draws the same faults again, though
not always into the same frames.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable

from helpers.damage import ACCIDENT, ACCIDENTS, Chance, damaged
from nnhost.clock import Clock
from nnhost.errors import LostError
from nnhost.link import Transport
from nnhost.link.frames import decode
from nnhost.link.messages import Hello

#: So many times as fast as the clock on the wall goes the host's: it waits for what is lost.
SPEED = 5.0

CLOCK = Clock(lambda: SPEED * time.monotonic(), lambda seconds: time.sleep(seconds / SPEED))


class BadWire:
    """`connect` is what a `Twin` on CLOCK asks for; `power_on` powers the board on."""

    def __init__(self, power_on: Callable[[], Transport], chance: Chance) -> None:
        self.chance = chance
        self.restarts = 0
        self._power_on = power_on
        self._board = power_on()
        self._greeted = False
        self._plugged = 0.0  # from then on there is a port
        self._answer_cut = False  # the board's supply fails while it answers next
        self._partial = b""  # of an answer
        self._events: list[tuple[float, int, bool, bytes]] = []
        self._count = 0
        self._past: dict[bool, list[bytes]] = {True: [], False: []}
        self._end: _End | None = None

    def connect(self) -> _End:
        """The host's end. Raises `LostError` while the cable is out."""
        if CLOCK.now() < self._plugged:
            raise LostError("there is no port")
        self._end = _End(self)
        return self._end

    def close(self) -> None:
        """Power the board off."""
        self._board.close()

    def check(self, end: _End) -> None:
        if end is not self._end:
            raise LostError("the line is dead")

    def write(self, end: _End, data: bytes) -> None:
        self.check(end)
        if len(data) > 1 and decode(data.strip(b"\0")).type != Hello.NUMBER:
            self._greeted = True
        self._post(data, True)
        self.check(end)
        self._deliver()

    def read(self, end: _End, timeout: float) -> bytes:
        until = CLOCK.now() + timeout
        while True:
            self.check(end)
            if heard := self._deliver():
                return heard
            now = CLOCK.now()
            if now >= until:
                return b""
            wake = min(until, self._events[0][0]) if self._events else until
            self._partial += self._board.read(max(0.0, wake - now) / SPEED)
            *frames, self._partial = self._partial.split(b"\0")
            for frame in filter(None, frames):
                self._post(b"\0" + frame + b"\0", False)

    def _deliver(self) -> bytes:
        """What is due goes to the board; what of it is due at the host."""
        heard = b""
        while self._events and self._events[0][0] <= CLOCK.now():
            _, _, to_board, data = heapq.heappop(self._events)
            if to_board:
                self._board.write(data)
            else:
                heard += data
        return heard

    def _post(self, data: bytes, to_board: bool) -> None:
        for late, part in self._damage(data, to_board):
            self._count += 1
            heapq.heappush(self._events, (CLOCK.now() + late, self._count, to_board, part))

    def _damage(self, data: bytes, to_board: bool) -> list[tuple[float, bytes]]:
        """What becomes of a frame: parts that arrive, each so much later than it should."""
        chance = self.chance
        if self._answer_cut and not to_board:
            self._answer_cut = False
            self._restart()
            return [(0.0, data[: chance.below(len(data))])]
        if len(data) <= 1 or not self._greeted or not chance.strikes():
            return [(0.0, data)]
        if chance.accidents and chance.below(ACCIDENT) == 0:
            kind = chance.pick(ACCIDENTS)
            if kind == "unplug":
                self._plugged = CLOCK.now() + 0.5
                self._events, self._end = [], None
                return []
            if kind == "reset":
                self._restart()
                return []
            self._answer_cut = True
            return [(0.0, data)]
        return damaged(chance, data, self._past[to_board])

    def _restart(self) -> None:
        """The supply fails for a moment: the board says no more of what it was about to."""
        self.restarts += 1
        self._events = [event for event in self._events if event[2]]
        self._partial = b""
        self._board.close()
        self._board = self._power_on()


class _End:
    """The host's end."""

    def __init__(self, wire: BadWire) -> None:
        self._wire = wire

    def read(self, timeout: float) -> bytes:
        return self._wire.read(self, timeout)

    def write(self, data: bytes) -> None:
        self._wire.write(self, data)

    def close(self) -> None:
        pass
