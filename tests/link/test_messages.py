from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from nnhost.link import messages
from nnhost.link.digest import SLICES, STEPS_A_SLICE, crc16, slice_digest, state_digest
from nnhost.link.frames import Frame, decode, encode
from nnhost.link.generate import messages_header
from nnhost.link.messages import ANSWERS, REQUESTS, Cause, Flag, Objection, Reason

PROTOCOL = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
ABI = messages.abi()
SIZES = {"B": "u8", "H": "u16", "I": "u32"}


def table_row(kind):
    fields = [f"{SIZES[letter]} {name}" for name, letter in kind.LAYOUT.numbers.items()]
    fields += [kind.LAYOUT.rest] if kind.LAYOUT.rest else []
    answer = re.search(r"-> (\w+)", kind.__doc__)
    cells = (
        f"0x{kind.NUMBER:02X} {kind.__name__.upper()}",
        ", ".join(fields),
        answer[1].upper() if answer else "",
    )
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def test_the_document_lists_the_declared_messages():
    rows = [line for line in PROTOCOL.splitlines() if line.startswith("| 0x")]
    assert rows == [table_row(kind) for kind in (*REQUESTS, *ANSWERS)]
    for value in (*Flag, *Reason, *Cause, *Objection):
        assert f"{value.name} {int(value)}" in PROTOCOL


def test_the_document_holds_the_vectors():
    frames = [
        (0, messages.Hello()),
        (0, messages.Welcome(ABI, 0xC0FFEE42, 48, 32, 41, 103, 0, 0x1D0F, 1, 1, b"test-board")),
        (1, messages.Step(1, 7, bytes([0, 0, 128, 255, 2]))),
        (1, messages.Report(100000, 9)),
        (2, messages.Audit(100000, 9, 0xBEEF, 0xFFFF)),
        (3, messages.Nak(1)),
    ]
    lines = re.findall(r"^    (00(?: [0-9a-f]{2})+ 00)$", PROTOCOL, re.MULTILINE)
    assert len(lines) == len(frames)
    for line, (sequence, message) in zip(lines, frames, strict=True):
        frame = Frame(message.NUMBER, 0x1234, sequence, message.pack())
        assert encode(frame).hex(" ") == line
        assert decode(bytes.fromhex(line)[1:-1]) == frame
    assert f"0x{ABI:04X}" in PROTOCOL


def test_requests_are_numbered_without_gaps_and_no_number_twice():
    assert [kind.NUMBER for kind in REQUESTS] == list(range(1, len(REQUESTS) + 1))
    numbers = [kind.NUMBER for kind in (*REQUESTS, *ANSWERS)]
    assert len(set(numbers)) == len(numbers)
    declared = {kind for kind in vars(messages).values() if isinstance(kind, type)}
    assert {*REQUESTS, *ANSWERS} == {
        kind for kind in declared if issubclass(kind, messages.Message) and "NUMBER" in vars(kind)
    }


@pytest.mark.parametrize("kind", [*REQUESTS, *ANSWERS], ids=lambda kind: kind.__name__)
def test_what_is_packed_is_unpacked(kind):
    layout = kind.LAYOUT
    largest = {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFFFFFF}
    values = [largest[letter] - at for at, letter in enumerate(layout.numbers.values())]
    message = kind(*values, *([b"\0rest\0"] if layout.rest else []))
    payload = message.pack()
    assert kind.unpack(payload) == message
    assert len(payload) == layout.size + (6 if layout.rest else 0)
    if layout.size:
        with pytest.raises(struct.error):
            kind.unpack(payload[: layout.size - 1])


def test_every_message_fits_the_least_payload():
    for kind in (*REQUESTS, *ANSWERS):
        assert kind.LAYOUT.size < messages.PAYLOAD_LEAST


def test_the_hash_follows_the_dictionary(monkeypatch):
    before = messages.abi()
    messages.abi.cache_clear()
    monkeypatch.setattr(messages.Step, "NUMBER", 0x44)
    after = messages.abi()
    messages.abi.cache_clear()
    assert before != after


def test_the_header_gives_offsets():
    header = messages_header()
    for line in (
        "#define NN_MSG_STEP 0x04U",
        "#define NN_MSG_STEP_FLAGS 2U /* uint8_t */",
        "#define NN_MSG_STEP_SIZE 3U /* then data, to the end */",
        "#define NN_FLAG_EPOCH 4U",
        f"#define NN_ABI 0x{messages.abi():04X}U",
    ):
        assert line in header.splitlines()


def test_digests():
    assert crc16(b"123456789") == 0x29B1
    assert crc16(b"6789", crc16(b"12345")) == 0x29B1
    assert state_digest(b"") == 0xFFFF
    for size in (1, 31, 32, 33, 103, 4700):
        state = bytes(range(256)) * 19
        state = state[:size]
        length = -(-size // SLICES)
        slices = [state[at : at + length] for at in range(0, SLICES * length, length)]
        assert b"".join(slices) == state
        for step in (*range(1, SLICES + 9), 2**32 - 1):
            assert slice_digest(state, step) == crc16(slices[step // STEPS_A_SLICE % SLICES])
