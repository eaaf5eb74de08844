"""The lines a board prints while it trains by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nnhost.errors import DeviceError
from nnhost.link.transport import Transport

_PROGRAM = re.compile(rb"program:([0-9A-F]{8})\r?")
_RESUMED = re.compile(rb"resumed:(\d{1,10})\r?")
_STEP = re.compile(rb"step:(\d{1,10})\tloss:(\d{1,10})\.(\d{3})\r?")
_DONE = re.compile(rb"done:(\d{1,10})\tdigest:([0-9A-F]{4})\r?")
#: No line is longer; what has no end is noise.
_LONGEST = 64


@dataclass(frozen=True)
class TextProgram:
    """The hash of the program that is going to train."""

    program: int


@dataclass(frozen=True)
class TextResumed:
    """Training goes on from a checkpoint: the step that it was made after."""

    step: int


@dataclass(frozen=True)
class TextStep:
    """A training step: its number and its loss in thousandths, rounded as the board rounds."""

    step: int
    loss_milli: int


@dataclass(frozen=True)
class TextDone:
    """The end of training: the steps made and the digest of the state."""

    steps: int
    digest: int


Text = TextProgram | TextResumed | TextStep | TextDone


def read_text(transport: Transport, timeout: float = 30.0) -> Iterator[Text]:
    """Yields what the board prints, to the ``TextDone`` that ends it; then it serves the link.

    Lines that are nothing of that kind (the rest of one that was cut, noise) are passed over.
    Raises ``DeviceError`` after ``timeout`` seconds of silence.
    """
    tail = b""
    while True:
        data = transport.read(timeout)
        if not data:
            raise DeviceError(
                f"the board has printed nothing for {timeout:g} seconds",
                help="reset it: it trains once, from reset",
            )
        *lines, tail = (tail + data).split(b"\n")
        tail = tail[-_LONGEST:]
        for line in lines:
            if program := _PROGRAM.fullmatch(line):
                yield TextProgram(int(program[1], 16))
            elif resumed := _RESUMED.fullmatch(line):
                yield TextResumed(int(resumed[1]))
            elif step := _STEP.fullmatch(line):
                yield TextStep(int(step[1]), int(step[2]) * 1000 + int(step[3]))
            elif done := _DONE.fullmatch(line):
                yield TextDone(int(done[1]), int(done[2], 16))
                return
