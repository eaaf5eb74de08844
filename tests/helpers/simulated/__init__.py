"""A host, a board and the line between them in one process, on a clock of their own.

The board is the firmware's core and a generated net, compiled for this computer; the host is the
product's own `Twin`. Nothing sleeps: time is what the bytes on the line take. What goes wrong is
drawn from a seed, so that a failure can be had again.
"""

from __future__ import annotations

import ctypes
import heapq
import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from helpers.damage import ACCIDENT, ACCIDENTS, Chance, damaged
from nnhost import boards
from nnhost.clock import Clock
from nnhost.errors import LostError
from nnhost.generate import Network, board_sources, write
from nnhost.paths import firmware_dir

BAUD = 115200
COMPUTING = 0.002  # seconds that the board takes for a request
BOOTING = 0.02  # after its supply has come back, deaf meanwhile
LATENCY = 0.001  # until the host hears of what has arrived

NAME = "host"


def compile_board(network: Network, folder: Path, window: int, payload: int = 32) -> Path:
    """The firmware of a net as a library. With the least payload, larger samples need parts."""
    board = replace(boards.get(NAME), payload=payload, answer=32, window=window)
    write(board_sources(network, board), folder)
    core = firmware_dir() / "core"
    port = Path(__file__).parent
    library = folder / "board.so"
    subprocess.run(
        ["gcc", "-std=gnu99", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-Dmain=nn_main",
         "-Wl,-Bsymbolic", f"-I{folder}", f"-I{core}", *core.glob("*.c"), *folder.glob("*.c"),
         *port.glob("*.c"), "-o", library],
        check=True,
    )  # fmt: skip
    return library


class Board:
    """The firmware. Each has memory of its own: the loader gives one a file."""

    def __init__(self, library: Path) -> None:
        copy = library.with_name(f"board.{id(self)}.so")
        shutil.copyfile(library, copy)
        self._lib = ctypes.CDLL(str(copy))
        copy.unlink()
        self._answer = ctypes.create_string_buffer(1024)
        self.steps_made = 0
        """training steps carried out, those that were lost in a restart included"""
        self.power()

    def power(self) -> None:
        """What a brown-out does: all is forgotten."""
        self._lib.board_power()

    def feed(self, data: bytes) -> tuple[int, bytes]:
        """How many bytes the board reads before it answers, and the answer."""
        before = self._lib.board_steps()
        read = self._lib.board_feed(data, len(data))
        self.steps_made += self._lib.board_steps() == before + 1
        size = self._lib.board_answer(self._answer)
        return read, self._answer.raw[:size]


class World:
    """A board, and the line to it. `connect` is what a `Twin` asks for.

    A board without `room` is deaf while it computes and answers; else its port keeps so many bytes
    meanwhile. `at_frame` is called with the number of each request that the host sends, from 1,
    before it is on its way.
    """

    def __init__(
        self,
        library: Path,
        chance: Chance | None = None,
        *,
        room: int = 0,
        baud: int = BAUD,
        step_seconds: float = COMPUTING,
    ) -> None:
        self.board = Board(library)
        self._room = room
        self._byte = 10 / baud  # seconds on the line
        self._step_seconds = step_seconds
        self.chance = chance or Chance(0)
        self.now = 0.0
        self.clock = Clock(lambda: self.now, self._sleep)
        self.frames = 0
        self.at_frame: Callable[[int], None] = lambda number: None
        self.answer_cut = False  # the board's supply fails while it answers next
        self._busy = 0.0  # until then the board computes, and answers
        self._deaf = 0.0  # until then its port receives nothing
        self._sent = 0.0  # until then the host's last bytes are on their way
        self._plugged = 0.0  # from then on there is a port
        self._events: list[tuple[float, int, bool, bytes]] = []
        self._waiting: deque[tuple[float, bytes]] = deque()  # when they began to come, bytes
        self._count = 0
        self._past: dict[bool, list[bytes]] = {True: [], False: []}
        self._line: _Line | None = None

    def connect(self) -> _Line:
        """A line to the board. Raises `LostError` while the cable is out."""
        if self.now < self._plugged:
            raise LostError("there is no port")
        self._line = _Line(self)
        return self._line

    def restart(self) -> None:
        """The supply fails for a moment."""
        self.board.power()
        self._busy = self.now
        self._off()
        self._keep(lambda to_board, data: to_board)  # it says no more
        self._post(self._busy, True, b"")

    def unplug(self, seconds: float = 0.5) -> None:
        """The cable is out for some time; what is under way on it is lost."""
        self._plugged = self.now + seconds
        self._keep(lambda to_board, data: data == b"")
        self._line = None

    def _sleep(self, seconds: float) -> None:
        self._run(self.now + seconds, None)

    # ---- the line ----

    def check(self, line: _Line) -> None:
        if line is not self._line:
            raise LostError("the line is dead")

    def write(self, line: _Line, data: bytes) -> None:
        self.check(line)
        if len(data) > 1:
            self.frames += 1
            self.at_frame(self.frames)
            self.check(line)
        begin = max(self.now, self._sent)
        for late, part in self._damage(data, True):
            self._post(begin + late, True, part)
            begin += len(part) * self._byte
        self._sent = begin

    def read(self, line: _Line, timeout: float) -> bytes:
        self.check(line)
        return self._run(self.now + timeout, line)

    def _post(self, when: float, to_board: bool, data: bytes) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, to_board, data))

    def _keep(self, which: Callable[[bool, bytes], bool]) -> None:
        self._events = [event for event in self._events if which(*event[2:])]
        heapq.heapify(self._events)

    def _run(self, until: float, line: _Line | None) -> bytes:
        """Let time go on, until then or until the host of that line hears something."""
        while self._events and self._events[0][0] <= until:
            when, _, to_board, data = heapq.heappop(self._events)
            self.now = max(self.now, when)
            if to_board:
                self._hear(data)
            elif line is not None:
                return data
        self.now = max(self.now, until)
        return b""

    def _hear(self, data: bytes) -> None:
        """Bytes that begin to arrive at the board now; none: it has time for those in its port."""
        if data:
            self._waiting.append((self.now, data))
        if self.now < self._busy:
            self._lose_what_exceeds()
            return
        while self._waiting:
            begin, data = self._waiting.popleft()
            deaf = min(len(data), max(0, -int(-(self._deaf - begin) // self._byte)))
            begin, data = begin + deaf * self._byte, data[deaf:]
            before = self.board.steps_made
            read, answer = self.board.feed(data)
            begin += read * self._byte
            if data[read:]:
                self._waiting.appendleft((begin, data[read:]))
            if answer:
                self._answer(max(self.now, begin), answer, self.board.steps_made != before)
                return

    def _lose_what_exceeds(self) -> None:
        excess = sum(len(data) for _, data in self._waiting) - self._room
        if self._room and excess > 0:
            begin, data = self._waiting.pop()
            self._waiting.append((begin, data[:-excess]))

    def _answer(self, time: float, answer: bytes, stepped: bool) -> None:
        """What the board says to what it has read at that time."""
        begin = time + (self._step_seconds if stepped else COMPUTING)
        self._busy = begin + len(answer) * self._byte
        if not self._room:
            self._deaf = self._busy
        if self.answer_cut:
            self.answer_cut = False
            answer = answer[: self.chance.below(len(answer))]
            self.board.power()
            self._off()
        self._post(self._busy, True, b"")
        for late, part in self._damage(answer, False):
            begin += len(part) * self._byte
            self._post(begin + late + LATENCY, False, part)

    def _off(self) -> None:
        """The supply fails, or has failed at the end of what the board does now."""
        self._busy = max(self.now, self._busy) + BOOTING
        self._deaf = self._busy
        self._waiting.clear()

    # ---- what goes wrong ----

    def _damage(self, data: bytes, to_board: bool) -> list[tuple[float, bytes]]:
        """What becomes of a frame: parts that arrive, each so much later than it should."""
        chance = self.chance
        if len(data) <= 1 or self.frames == 1 or not chance.strikes():
            return [(0.0, data)]
        if chance.accidents and chance.below(ACCIDENT) == 0:
            kind = chance.pick(ACCIDENTS)
            if kind == "unplug":
                self.unplug()
                return []
            if kind == "reset":
                self.restart()
                return []
            self.answer_cut = True
            return [(0.0, data)]
        return damaged(chance, data, self._past[to_board])


class _Line:
    """The host's end."""

    def __init__(self, world: World) -> None:
        self._world = world

    def read(self, timeout: float) -> bytes:
        return self._world.read(self, timeout)

    def write(self, data: bytes) -> None:
        self._world.write(self, data)

    def close(self) -> None:
        pass
