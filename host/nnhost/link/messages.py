"""The messages of the link: the one declaration that host, firmware and documents share.

A message is a frozen dataclass whose fields are annotated with their form on the wire. Numbers
travel with their low byte first; a last field of type ``Rest`` takes what is left of the payload.
Requests are numbered from 1 without gaps; their answers have the top bit set.

``python -m nnhost.link.generate`` writes the C header; ``abi()`` changes whenever the dictionary
does, and seeds every frame's checksum, so that a board never mistakes another version's frames.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import cache
from typing import Annotated, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from nnhost.link.digest import crc16

#: Part of the dictionary: raised when frames or rules change though no message does.
REVISION = 4

#: Every board takes and sends at least this many bytes of payload, and none more than the most.
PAYLOAD_LEAST = 32
PAYLOAD_MOST = 240

#: No board is sent more requests than this before it has answered the first.
WINDOW_MOST = 2

#: Length, type, session and sequence number.
HEADER_BYTES = 6

U8 = Annotated[int, "B"]
U16 = Annotated[int, "H"]
U32 = Annotated[int, "I"]
Rest = Annotated[bytes, ""]

M = TypeVar("M", bound="Message")


class Flag(IntFlag):
    """Flags of a training step."""

    FIRST = 1
    """opens a batch: gradients start from zero"""
    LAST = 2
    """closes a batch: weights are updated"""
    EPOCH = 4
    """opens an epoch: the board draws the epoch's visiting order"""
    COUNT = 8
    """the board's clock counts the step: see State"""
    DIGEST = 16
    """the answer is an Audit: a report with digests"""


class Reason(IntEnum):
    """Why a board refused a request that reached it whole."""

    UNKNOWN = 1
    """no such message"""
    RANGE = 2
    """offset or length outside the sample or the state"""
    STEP = 3
    """not the step that follows the board's last"""
    STANDALONE = 4
    """the board trains by itself, on the data in its flash"""
    STACK = 5
    """the stack has reached its end: what has been computed since may be wrong"""


class Cause(IntEnum):
    """Why a board started last."""

    UNKNOWN = 0
    """the chip does not tell"""
    POWER = 1
    """its supply came back"""
    SOFTWARE = 2
    """it was asked to: Restart"""
    WATCHDOG = 3
    """a request took longer than its watchdog allows"""
    PIN = 4
    """its reset line"""
    FAULT = 5
    """an exception that the firmware does not expect"""


class Objection(IntEnum):
    """Why a board did not take a frame as its next request."""

    CORRUPT = 1
    """length or checksum is wrong"""
    SESSION = 2
    """not the session that said HELLO last"""
    SEQUENCE = 3
    """not the next number"""


@dataclass(frozen=True)
class Layout:
    """Where a message's fields stand in its payload: numbers first, then the rest, if any."""

    packer: struct.Struct
    numbers: dict[str, str]  # name -> letter of the struct module
    rest: str

    @property
    def size(self) -> int:
        """Bytes of the payload without the rest."""
        return self.packer.size

    @property
    def offsets(self) -> dict[str, int]:
        """The first byte of each number in the payload."""
        at = 0
        offsets = {}
        for name, letter in self.numbers.items():
            offsets[name] = at
            at += struct.calcsize("<" + letter)
        return offsets


class Message:
    """Base of all messages; ``number`` is the message's type on the wire."""

    NUMBER: ClassVar[int]
    LAYOUT: ClassVar[Layout]

    def __init_subclass__(cls, number: int) -> None:
        hints = get_type_hints(cls, include_extras=True).items()
        fields = {name: get_args(hint)[1] for name, hint in hints if get_origin(hint) is Annotated}
        numbers = {name: letter for name, letter in fields.items() if letter}
        rest = next((name for name, letter in fields.items() if not letter), "")
        cls.NUMBER = number
        cls.LAYOUT = Layout(struct.Struct("<" + "".join(numbers.values())), numbers, rest)

    def pack(self) -> bytes:
        """The payload's bytes. Raises ``struct.error`` for a value out of its field's range."""
        layout = self.LAYOUT
        numbers = layout.packer.pack(*(getattr(self, name) for name in layout.numbers))
        rest: bytes = getattr(self, layout.rest) if layout.rest else b""
        return numbers + rest

    @classmethod
    def unpack(cls: type[M], payload: bytes) -> M:
        """The message of these bytes. Raises ``struct.error`` if there are too few or too many."""
        layout = cls.LAYOUT
        make: Callable[..., M] = cls
        if layout.rest:
            return make(*layout.packer.unpack(payload[: layout.size]), payload[layout.size :])
        return make(*layout.packer.unpack(payload))


# Requests and their answers.


@dataclass(frozen=True)
class Hello(Message, number=0x01):
    """Opens a session. Understood by every version, whatever its dictionary. -> Welcome"""


@dataclass(frozen=True)
class Welcome(Message, number=0x81):
    """What the board is, and where it stands. ``abi`` comes first in every version."""

    abi: U16  # hash of the message dictionary
    program: U32  # hash of the training program
    payload: U8  # most bytes of payload it takes
    answer: U8  # most bytes of payload it sends
    sample_bytes: U16  # a sample, with its target
    state_bytes: U32  # the training state
    step: U32  # training steps since the reset
    crc: U16  # digest of the state
    window: U8  # requests that it may be sent before it has answered the first
    cause: U8  # Cause of its last start
    board: Rest  # the board's name, ASCII


@dataclass(frozen=True)
class Reset(Message, number=0x02):
    """Draws new weights from the seed, 1 .. 65535, and goes to step 0. -> Done"""

    seed: U16


@dataclass(frozen=True)
class Sample(Message, number=0x03):
    """A part of the next sample, but its last: those come with Step or Evaluate. -> Done"""

    offset: U16
    data: Rest


@dataclass(frozen=True)
class Step(Message, number=0x04):
    """The last bytes of a sample, and one training step on it. -> Report"""

    step: U16  # the board's step + 1, modulo 65536
    flags: U8  # Flag
    data: Rest


@dataclass(frozen=True)
class Report(Message, number=0x84):
    """The outcome of a training step."""

    loss: U32  # in the program's unit
    prediction: U16  # index of the largest output


@dataclass(frozen=True)
class Audit(Report, number=0x94):
    """The same for a step with Flag.DIGEST, whose bit is in its number: with digests."""

    trace: U16  # of the hidden activations and logits
    slice: U16  # of a part of the state after the step


@dataclass(frozen=True)
class Evaluate(Message, number=0x05):
    """The last bytes of a sample, and a forward pass that trains nothing. -> Evaluation"""

    data: Rest


@dataclass(frozen=True)
class Evaluation(Message, number=0x85):
    """The outcome of a forward pass, in the units of Report."""

    loss: U32
    prediction: U16
    trace: U16


@dataclass(frozen=True)
class Read(Message, number=0x06):
    """Asks for a part of the training state. -> Chunk"""

    offset: U32
    length: U8


@dataclass(frozen=True)
class Chunk(Message, number=0x86):
    """A part of the training state."""

    data: Rest


@dataclass(frozen=True)
class Write(Message, number=0x07):
    """Overwrites a part of the training state. -> Done"""

    offset: U32
    data: Rest


@dataclass(frozen=True)
class Resume(Message, number=0x08):
    """Sets the step counter, after the state of that step has been written. -> Done"""

    step: U32


@dataclass(frozen=True)
class Verify(Message, number=0x09):
    """Asks where the board stands. -> State"""


@dataclass(frozen=True)
class State(Message, number=0x89):
    """Where the board stands, and its counters since it started (modulo 65536)."""

    step: U32
    crc: U16  # digest of the state
    executed: U16  # requests carried out
    corrupt: U16  # frames that failed a check
    repeated: U16  # requests seen again and answered from memory
    spent: U32  # by its clock, in steps counted and Evaluate's forward passes (modulo 2^32)
    stack: U16  # most bytes of it in use since the start
    health: Rest = b""  # U32 where FAULT or WATCHDOG struck, U16 digest of the image; or nothing


@dataclass(frozen=True)
class Restart(Message, number=0x0A):
    """Resets the chip, once the answer is sent. -> Done"""


@dataclass(frozen=True)
class Done(Message, number=0x80):
    """The request has been carried out."""


@dataclass(frozen=True)
class Nak(Message, number=0xFE):
    """Not an answer: the frame was not taken. Carries the sequence number that is expected."""

    reason: U8  # Objection


@dataclass(frozen=True)
class Error(Message, number=0xFF):
    """The request was understood and refused."""

    reason: U8  # Reason


REQUESTS: tuple[type[Message], ...] = (
    Hello, Reset, Sample, Step, Evaluate, Read, Write, Resume, Verify, Restart,
)  # fmt: skip
ANSWERS: tuple[type[Message], ...] = (
    Done, Welcome, Report, Audit, Evaluation, Chunk, State, Nak, Error,
)  # fmt: skip


@cache
def abi() -> int:
    """The hash of the dictionary, 16 bits."""
    lines = [f"revision {REVISION}"]
    for kind in (*REQUESTS, *ANSWERS):
        layout = kind.LAYOUT
        fields = [f"{name}:{letter}" for name, letter in layout.numbers.items()]
        lines.append(" ".join([kind.__name__, str(kind.NUMBER), *fields, layout.rest]))
    for values in (Flag, Reason, Cause, Objection):
        lines.extend(f"{values.__name__} {value.name} {int(value)}" for value in values)
    return crc16("\n".join(lines).encode())
