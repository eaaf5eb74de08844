"""Malformed frames, their checksums right, on a board that is training: rejected, and no harm done.

`make fuzz` sends NNHOST_MALFORMED of them to each board; a failure names the seed and the number.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from nnhost.bisect import Course, _flags
from nnhost.boards import get
from nnhost.build import platformio_ini
from nnhost.generate import prepare
from nnhost.link import Session, messages, state_digest
from nnhost.link.frames import DELIMITER, Frame, FrameError, _checksum, decode, encode
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import load_project
from nnhost.run.boards import flash, open_board

FRAMES = int(os.environ.get("NNHOST_MALFORMED", 80))
SEED = 1
STEPS = 20


def answer_to(session: Session, frame: bytes) -> Frame:
    """What the board says to a frame that is no request of the session's."""
    line = session._transport
    line.write(frame)
    heard = b""
    while heard.strip(DELIMITER) == b"" or not heard.endswith(DELIMITER):
        more = line.read(5.0)
        assert more, "the board is silent"
        heard += more
    return decode(heard.strip(DELIMITER))


def sealed(body: bytes) -> bytes:
    return DELIMITER + body + _checksum(body) + DELIMITER


def unsound(rng: random.Random, session: Session, size: int) -> bytes:
    """A frame whose checksum is right, and whose length, COBS, session or number is wrong."""
    number = session._sequence + 1 & 0xFFFF
    kind = rng.randint(2, len(messages.REQUESTS))
    good = encode(Frame(kind, session._session, number, rng.randbytes(rng.randrange(size))))
    body = bytearray(good.strip(DELIMITER)[:-3])
    match rng.randrange(4):
        case 0:  # the length, which is never encoded
            body[1] = body[1] % 255 + 1
        case 1:  # a COBS chain that leaves the frame
            body[0] = rng.randint(len(body) + 1, 255)
        case 2:
            other = session._session % 0xFFFF + 1
            return encode(Frame(kind, other, number, rng.randbytes(3)))
        case _:
            far = number + rng.randint(1, 0xFFFD) & 0xFFFF
            return encode(Frame(kind, session._session, far, rng.randbytes(3)))
    return sealed(bytes(body))


@cache
def kind_of(number: int) -> type[messages.Message]:
    """A message of this type on the wire, whose payload is any bytes."""

    @dataclass(frozen=True)
    class Odd(messages.Message, number=number):
        payload: messages.Rest

    return Odd


def odd(number: int, payload: bytes) -> messages.Message:
    """A message of any type, with any payload."""
    return kind_of(number).unpack(payload)


def impossible(rng: random.Random, session: Session, step: int) -> messages.Message:
    """A request of the session's that cannot be carried out."""
    state, sample = session.welcome.state_bytes, session.welcome.sample_bytes
    noise = rng.randbytes(rng.randint(1, 8))
    far = rng.choice((state, state + 1, 0xFFFF, 0xFFFFFFFF)).to_bytes(4, "little")
    wrong_step = (step + rng.choice((0, 2, 3, -1)) & 0xFFFF).to_bytes(2, "little")
    beyond = rng.choice((sample, sample + 1, 0xFFFF)).to_bytes(2, "little")
    too_long = rng.randbytes(sample + rng.randint(1, 8))
    kind = messages
    return rng.choice((
        odd(rng.randint(len(messages.REQUESTS) + 1, 0x7F), noise),
        odd(kind.Step.NUMBER, wrong_step + b"\7" + noise),
        odd(kind.Step.NUMBER, (step + 1 & 0xFFFF).to_bytes(2, "little") + b"\7" + too_long),
        odd(kind.Step.NUMBER, noise[:2]),
        odd(kind.Sample.NUMBER, beyond + noise),
        odd(kind.Evaluate.NUMBER, too_long),
        odd(kind.Write.NUMBER, far + noise),
        odd(kind.Write.NUMBER, noise[:3]),
        odd(kind.Read.NUMBER, far + b"\x10"),
        odd(kind.Read.NUMBER, b"\0\0\0\0" + rng.choice((b"\0", b"\xff"))),
        odd(kind.Resume.NUMBER, noise[:3]),
    ))  # fmt: skip


@pytest.mark.parametrize("name", ["simstc8", "qemu-m3"])
def test_malformed_frames_do_no_harm(name: str, tmp_path: Path) -> None:
    (tmp_path / "nn.toml").write_text((examples_dir() / "iris" / "nn.toml").read_text())
    (tmp_path / "platformio.ini").write_text(platformio_ini(str(firmware_dir())))
    board, project = get(name), load_project(tmp_path)
    network = prepare(project)
    flash(project, board)
    course = Course(network, STEPS)
    rng = random.Random(SEED)
    rejected = 0
    with Session(open_board(project.root, board)) as session:
        session.hello()
        session.reset(project.train.seed)
        for step in range(1, STEPS + 1):
            for _ in range(FRAMES // STEPS):
                place = f"seed {SEED}, frame {rejected + 1}"
                if rng.random() < 0.5:
                    try:
                        found = answer_to(session, unsound(rng, session, 20))
                    except FrameError:
                        pytest.fail(f"{place}: an answer is damaged")
                    assert found.type == messages.Nak.NUMBER, place
                else:
                    found = session._exchange(impossible(rng, session, step - 1))
                    assert found.type == messages.Error.NUMBER, place
                rejected += 1
            assert session.verify().crc == state_digest(course.state(step - 1))
            visit = course.visit(step)
            report = session.step(step, _flags(visit), course.sample(visit))
            assert report == course.reports[step - 1]
        assert session.read_state() == course.state(STEPS)
    assert rejected == FRAMES // STEPS * STEPS
