"""A board without a chip: the link's messages, answered by a simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnhost.errors import LostError
from nnhost.generate import Network, prepare
from nnhost.link import messages, slice_digest, state_digest, trace_digest
from nnhost.link.frames import Frame, FrameError, decode, encode
from nnhost.project import Project, load_project
from nnhost.simulation import rehearse
from nnhost.simulator import Simulator, unpack
from nnhost.twin import Twin

XOR = """
[net]
hidden = [4]
activation = "tanh"
loss = "binary-cross-entropy"
init = "glorot"
[train]
lr = 0.25
epochs = 30
seed = 3
[data]
source = "xor"
test = 0
[board]
name = "host"
"""


def arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file. It is closed: one that is left open fails whichever test runs as
    the garbage collector finds it."""
    with np.load(path) as file:
        return dict(file)


class FakeBoard:
    """A Transport with a board behind it. Its memory is a simulator's; faults are put in by hand.

    `faults`: what happens in a training step, by its number: a function that may spoil the
    board's memory and returns the fields of the report that are false. `misjudged`: the
    evaluations whose prediction is false, counted from 1.
    """

    def __init__(self, network: Network, name: str = "host") -> None:
        self.network, self.name = network, name
        self.simulator = Simulator(network.program)
        self.simulator.reset(network.project.train.seed)
        self.program = network.fingerprint
        self.step_count = 0
        self.session = 0
        self.buffer = bytearray(self.sample_bytes)
        self.partial = self.out = self.kept = b""
        self.last = (0, 0)
        self.closed = False
        self.faults: dict[int, Callable[[FakeBoard], dict[str, int]]] = {}
        self.misjudged: set[int] = set()
        self.evaluated = 0
        self.spent = 2**32 - 5000
        self.asked: list[str] = []
        self.cause = 0
        self.window = 1

    @property
    def sample_bytes(self) -> int:
        return len(self.network.train.bytes(0))

    # ---- Transport ----

    def read(self, timeout: float) -> bytes:
        if self.closed:
            raise LostError("the board is gone")
        data, self.out = self.out, b""
        return data

    def write(self, data: bytes) -> None:
        if self.closed:
            raise LostError("the board is gone")
        *blocks, self.partial = (self.partial + data).split(b"\0")
        for block in filter(None, blocks):
            try:
                frame = decode(block)
            except FrameError:
                self.object(messages.Objection.CORRUPT)
                continue
            number = (frame.session, frame.sequence)
            if frame.type == messages.Hello.NUMBER:
                self.session = frame.session
            elif frame.session != self.session:
                self.object(messages.Objection.SESSION)
                continue
            if number != self.last:  # else the answer kept
                answer = self.answer(frame)
                self.last = number
                self.kept = encode(Frame(answer.NUMBER, *number, answer.pack()))
            self.out += self.kept

    def object(self, reason: messages.Objection) -> None:
        nak = messages.Nak(reason)
        self.out += encode(Frame(nak.NUMBER, self.session, 0, nak.pack()))

    def close(self) -> None:
        self.closed = True

    # ---- the firmware ----

    def answer(self, frame: Frame) -> messages.Message:
        kind = next(m for m in messages.REQUESTS if frame.type == m.NUMBER)
        request = kind.unpack(frame.payload)
        self.asked.append(kind.__name__)
        handler: Callable[[messages.Message], messages.Message]
        handler = getattr(self, f"on_{kind.__name__.lower()}")
        return handler(request)

    def load(self, offset: int, data: bytes) -> tuple[object, object]:
        self.buffer[offset : offset + len(data)] = data
        values = unpack(self.network.program.sample, bytes(self.buffer))
        return values["x"], values["target"]

    def on_hello(self, _: messages.Hello) -> messages.Message:
        state = self.simulator.state()
        return messages.Welcome(
            messages.abi(), self.program, 64, 64, self.sample_bytes, len(state), self.step_count,
            state_digest(state), self.window, self.cause, self.name.encode(),
        )  # fmt: skip

    def on_reset(self, request: messages.Reset) -> messages.Message:
        self.simulator.reset(request.seed)
        self.step_count = 0
        return messages.Done()

    def on_sample(self, request: messages.Sample) -> messages.Message:
        self.load(request.offset, request.data)
        return messages.Done()

    def on_step(self, request: messages.Step) -> messages.Message:
        x, target = self.load(self.sample_bytes - len(request.data), request.data)
        if request.step != self.step_count + 1 & 0xFFFF:
            return messages.Error(messages.Reason.STEP)
        if request.flags & messages.Flag.EPOCH:
            self.simulator.epoch()
        first, last = request.flags & messages.Flag.FIRST, request.flags & messages.Flag.LAST
        step = self.simulator.step(x, target, bool(first), bool(last))
        self.spent += (1000 + self.step_count + 1) * bool(request.flags & messages.Flag.COUNT)
        self.step_count += 1
        fault = self.faults.get(self.step_count)
        lie = fault(self) if fault else {}
        if not request.flags & messages.Flag.DIGEST:
            return replace(messages.Report(step.loss, step.prediction), **lie)
        part = slice_digest(self.simulator.state(), self.step_count)
        honest = messages.Audit(step.loss, step.prediction, trace_digest(step.trace), part)
        return replace(honest, **lie)

    def on_evaluate(self, request: messages.Evaluate) -> messages.Message:
        sample = self.load(self.sample_bytes - len(request.data), request.data)
        step = self.simulator.evaluate(*sample)
        self.spent += 300
        self.evaluated += 1
        wrong = self.evaluated in self.misjudged
        return messages.Evaluation(step.loss, step.prediction + wrong, trace_digest(step.trace))

    def on_read(self, request: messages.Read) -> messages.Message:
        end = request.offset + request.length
        return messages.Chunk(self.simulator.state()[request.offset : end])

    def on_write(self, request: messages.Write) -> messages.Message:
        state = self.simulator.state()
        end = request.offset + len(request.data)
        self.simulator.set_state(state[: request.offset] + request.data + state[end:])
        return messages.Done()

    def on_resume(self, request: messages.Resume) -> messages.Message:
        self.step_count = request.step
        return messages.Done()

    def on_verify(self, _: messages.Verify) -> messages.Message:
        return messages.State(
            self.step_count, state_digest(self.simulator.state()), 0, 0, 0, self.spent % 2**32, 29
        )


class TextBoard(FakeBoard):
    """A board that trains by itself when it is powered on; `edit` spoils what it prints."""

    def __init__(self, network: Network, edit: Callable[[list[str]], list[str]] = list) -> None:
        super().__init__(network)
        lines = []
        total = network.plan.rows * network.project.train.epochs
        for visit, _ in rehearse(self.simulator, network, total):
            self.simulator.run("report")
            milli = self.simulator.memory["milli"]
            lines.append(f"step:{visit.step}\tloss:{milli // 1000}.{milli % 1000:03d}\n")
        lines.append(f"done:{total}\tdigest:{state_digest(self.simulator.state()):04X}\n")
        self.step_count = total
        self.out = "".join(edit(lines)).encode()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "nn.toml").write_text(XOR)
    return load_project(tmp_path)


@pytest.fixture
def network(project: Project) -> Network:
    return prepare(project)


@pytest.fixture
def board(network: Network) -> FakeBoard:
    return FakeBoard(network)


@pytest.fixture
def twin(network: Network, board: FakeBoard, tmp_path: Path) -> Twin:
    return Twin(network, "host", lambda: board, tmp_path / "evidence")


def flip(tensor: str, *index: int) -> Callable[[FakeBoard], dict[str, int]]:
    """A fault: one bit of the state turns over."""

    def fault(board: FakeBoard) -> dict[str, int]:
        values = board.simulator.memory[tensor].copy()
        values[index] ^= 1
        board.simulator.memory[tensor] = values
        return {}

    return fault
