"""A test board (tests/link/board) as a process, lines to it that fail, and a model of its net."""

from __future__ import annotations

import os
import random
import select
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nnhost.errors import DeviceError
from nnhost.link import Session, Transport, crc16
from nnhost.link.generate import messages_header

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "firmware" / "core"
BOARD = Path(__file__).parent / "board"

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


class ProcessLine:
    """A Transport to the firmware, running as a process behind two pipes."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def read(self, timeout: float) -> bytes:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            return b""
        data = os.read(self.process.stdout.fileno(), 4096)
        if not data:
            raise DeviceError(f"the board ended with status {self.process.wait()}")
        return data

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(data)
        except BrokenPipeError as error:
            raise DeviceError("the board ended") from error

    def power_cycle(self) -> None:
        """What a brown-out does: all is forgotten, the line stays."""
        self.process.kill()
        self._end()
        self._start()

    def close(self) -> None:
        """Closes the pipes; the board then ends, with status 0 unless a sanitizer objected."""
        assert self._end() == 0

    def _end(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        status = self.process.wait(10)
        self.process.stdout.close()
        return status


@dataclass
class FaultyLine:
    """A Transport that damages what passes, with ``rate`` faults a byte, by seed.

    Bits flip, bytes vanish or appear, and what is written or read at once, a frame or a part of
    one, is cut short, lost, or passed twice.
    """

    line: Transport
    seed: int
    rate: float
    faults: int = 0
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def read(self, timeout: float) -> bytes:
        data = self.line.read(timeout)
        return self._damage(data) if data else data

    def write(self, data: bytes) -> None:
        self.line.write(self._damage(data))

    def close(self) -> None:
        self.line.close()

    def _damage(self, data: bytes) -> bytes:
        if self.chance.random() < (1 - self.rate) ** len(data):
            return data
        self.faults += 1
        at = self.chance.randrange(len(data))
        kind = self.chance.choice(("flip", "burst", "drop", "cut", "lose", "twice", "insert"))
        if kind == "flip":
            return data[:at] + bytes([data[at] ^ 1 << self.chance.randrange(8)]) + data[at + 1 :]
        if kind == "burst":
            return data[:at] + self.chance.randbytes(len(data[at : at + 4])) + data[at + 4 :]
        if kind == "drop":
            return data[:at] + data[at + 1 :]
        if kind == "cut":
            return data[:at]
        if kind == "twice":
            return data + data
        if kind == "insert":
            return data[:at] + self.chance.randbytes(3) + data[at:]
        return b""


def xorshift(x: int) -> int:
    x ^= x << 7 & 0xFFFF
    x ^= x >> 9
    return x ^ (x << 8 & 0xFFFF)


class Model:
    """What tests/link/board/nn_net.c must have computed."""

    def __init__(self, seed: int = 7) -> None:
        self.prng, self.order, self.steps = seed, 0, 0
        self.weights = bytearray()
        for _ in range(99):
            self.prng = xorshift(self.prng)
            self.weights.append(self.prng & 0xFF)

    def state(self) -> bytes:
        return (
            bytes(self.weights) + self.prng.to_bytes(2, "little") + self.order.to_bytes(2, "little")
        )

    def next_order(self) -> int:
        """The order that the next epoch will have."""
        return xorshift(self.prng)

    def forward(self, sample: bytes) -> tuple[int, int, int]:
        """Loss, prediction and trace."""
        total = 1
        for x, w in zip(sample[:37], self.weights[:37], strict=True):
            total = total * 5 + (x ^ w) & 0xFF
        hidden = bytes(total + i * self.weights[i] & 0xFF for i in range(3))
        logits = bytes(hidden[0] ^ i * 17 for i in range(4))
        self.hidden = hidden[0]
        loss = logits[0] << 16 | sample[37] << 8 | sample[40]
        return loss, logits[1] * 257 & 0xFFFF, crc16(hidden + logits)

    def step(self, flags: int, sample: bytes) -> tuple[int, int, int]:
        if flags & 4:
            self.prng = self.order = xorshift(self.prng)
        outcome = self.forward(sample)
        carry = ((flags & 1) * 2 + (flags >> 1 & 1)) * 3 + self.hidden & 0xFF
        for i in range(99):
            carry = carry * 7 + self.weights[i] + i & 0xFF
            self.weights[i] ^= carry
        self.steps += 1
        return outcome


def compile_board(folder: Path, *options: str) -> Path:
    (folder / "nn_messages.h").write_text(messages_header())
    program = folder / "board"
    command = ["gcc", "-std=c99", "-D_POSIX_C_SOURCE=200809L", "-g", *WARNINGS, *SANITIZERS]
    includes = [f"-I{folder}", f"-I{BOARD}", f"-I{CORE}"]
    sources = [*CORE.glob("*.c"), *BOARD.glob("*.c")]
    subprocess.run([*command, *options, *includes, *sources, "-o", program], check=True)
    return program


@pytest.fixture(scope="session")
def board_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_board(tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="session")
def wide_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_board(tmp_path_factory.mktemp("wide"), "-DNN_PAYLOAD=240U", "-DNN_ANSWER=240U")


@pytest.fixture(scope="session")
def ahead_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_board(tmp_path_factory.mktemp("ahead"), "-DNN_WINDOW=2U")


@pytest.fixture(scope="session")
def standalone_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_board(tmp_path_factory.mktemp("standalone"), "-DNN_STANDALONE=1")


@pytest.fixture
def process_line() -> Iterator[Callable[[Path], ProcessLine]]:
    """Powers boards; they must have ended well when the test has."""
    lines: list[ProcessLine] = []

    def power(program: Path) -> ProcessLine:
        lines.append(ProcessLine(program))
        return lines[-1]

    yield power
    for line in lines:
        line.close()


@pytest.fixture
def line(board_program: Path, process_line: Callable[[Path], ProcessLine]) -> ProcessLine:
    return process_line(board_program)


@pytest.fixture
def session(line: ProcessLine) -> Session:
    session = Session(line)
    session.hello()
    return session


@pytest.fixture
def faulty_line() -> type[FaultyLine]:
    return FaultyLine


@pytest.fixture
def model() -> Model:
    return Model()
