from __future__ import annotations

import pytest

from nnhost.errors import DeviceError
from nnhost.link import (
    Session,
    TextDone,
    TextProgram,
    TextResumed,
    TextStep,
    read_text,
    state_digest,
)

ROWS, ORDER_SIZE, EPOCHS, BATCH = 5, 8, 3, 2


def sample(row: int) -> bytes:
    return bytes(row * 31 + i & 0xFF for i in range(37)) + bytes(row + i for i in range(4))


def test_a_board_trains_by_itself_then_serves(standalone_program, model, process_line):
    line = process_line(standalone_program)
    heard = list(read_text(line, 10))

    expected = []
    for _ in range(EPOCHS):
        order = None
        visited = 0
        for position in range(ORDER_SIZE):
            flags = 0
            if order is None:
                flags = 4
                order = model.next_order()
            row = (position ^ order) & ORDER_SIZE - 1
            if row >= ROWS:
                continue
            visited += 1
            flags |= (visited % BATCH == 1) | (visited % BATCH == 0 or visited == ROWS) << 1
            loss, _, _ = model.step(flags & 3 | (4 if visited == 1 else 0), sample(row))
            expected.append(TextStep(model.steps, loss & 0x1FFF))
    assert heard[0] == TextProgram(0xC0FFEE42)
    assert heard[1:-1] == expected
    assert heard[-1] == TextDone(15, state_digest(model.state()))

    session = Session(line)
    welcome = session.hello()
    assert (welcome.step, welcome.crc) == (15, state_digest(model.state()))
    assert session.read_state() == model.state()
    loss, prediction, _ = model.forward(sample(3))
    evaluation = session.evaluate(sample(3))
    assert (evaluation.loss, evaluation.prediction) == (loss, prediction)
    for refused in (lambda: session.reset(1), lambda: session.step(16, 3, sample(0))):
        with pytest.raises(DeviceError, match="trains by itself"):
            refused()
    assert session.read_state() == model.state()


class Chunks:
    def __init__(self, *chunks):
        self.chunks = list(chunks)

    def read(self, timeout):
        return self.chunks.pop(0) if self.chunks else b""


def test_text_in_pieces_with_noise():
    line = Chunks(
        b"7\tloss:0.1",  # the end of a line that began before we listened
        b"00\nstep:8\tlo",
        b"ss:12.045\r\n\nstep:9\tloss:0.5\nstep:4294967295\tloss:4294967.295\n",
        b"done:10\tdigest:0",
        b"9AF\nrest",
    )
    assert list(read_text(line)) == [
        TextStep(8, 12045),
        TextStep(4294967295, 4294967295),
        TextDone(10, 0x09AF),
    ]


def test_silence_is_an_error():
    with pytest.raises(DeviceError, match="nothing for 5 seconds"):
        list(read_text(Chunks(b"step:1\tloss:0.5\n"), 5))


def test_a_board_tells_from_where_it_goes_on():
    line = Chunks(
        b"program:0000C0DE\r\nresumed:120\nresumed:x\n",
        b"step:121\tloss:0.500\ndone:121\tdigest:00FF\n",
    )
    assert list(read_text(line)) == [
        TextProgram(0xC0DE),
        TextResumed(120),
        TextStep(121, 500),
        TextDone(121, 0xFF),
    ]
