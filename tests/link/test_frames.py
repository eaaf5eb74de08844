from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnhost.link import Session
from nnhost.link.frames import LARGEST, Frame, FrameError, _checksum, decode, encode

frames = st.builds(
    Frame,
    type=st.integers(1, 255),
    session=st.integers(0, 0xFFFF),
    sequence=st.integers(0, 0xFFFF),
    payload=st.one_of(
        st.binary(max_size=240),
        st.integers(0, 240).map(bytes),
        st.integers(0, 240).map(lambda size: b"\1" * size),
    ),
)


@given(frames)
def test_a_frame_survives(frame):
    data = encode(frame)
    assert data[0] == data[-1] == 0
    assert 0 not in data[1:-1]
    assert len(data) == len(frame.payload) + 12
    assert len(data) - 2 <= LARGEST
    assert decode(data[1:-1]) == frame


def test_a_payload_too_long_is_refused():
    with pytest.raises(ValueError, match="241"):
        encode(Frame(1, 1, 1, bytes(241)))


def sound(block: bytes) -> bool:
    try:
        decode(block)
    except FrameError:
        return False
    return True


@given(frames, st.randoms(use_true_random=False))
def test_damage_is_noticed(frame, chance):
    """Every flipped bit, every cut, and each pair that two zeros flipped into the block make."""
    block = encode(frame)[1:-1]
    for at in range(len(block)):
        assert not sound(block[:at])
        assert not sound(block[at + 1 :])
        bit = 1 << chance.randrange(8)
        assert not sound(block[:at] + bytes([block[at] ^ bit]) + block[at + 1 :])
        assert not sound(block[:at] + block[at + 1 :])
    for end in (b"\1", b"\x80", b"\1\1", block):
        assert not sound(block + end)


@pytest.mark.parametrize("data", [b"", b"\1" * 9, b"\1" * 300, bytes(12)])
def test_noise_is_no_frame(data):
    assert not sound(data)


def test_the_board_survives_noise(line, model):
    """Random bytes, and frames whose checksum is right but whose inside is not."""
    chance = random.Random(8)
    for _ in range(300):
        line.write(chance.randbytes(chance.randrange(200)))
        block = bytearray(encode(Frame(chance.randrange(1, 256), 0, 0, chance.randbytes(20))))
        block[chance.randrange(1, len(block) - 1)] = chance.randrange(1, 256)
        line.write(bytes(block))
        line.read(0)
    line.write(b"\0")
    while line.read(0.1):
        pass
    session = Session(line, reply_timeout=0.5)
    assert session.hello().crc == session.verify().crc
    assert session.read_state() == model.state()
    assert session.verify().corrupt >= 300


def test_the_inside_of_sound_frames_is_checked(line, model):
    """Wrong COBS and wrong lengths under a right checksum, on both sides."""
    session = Session(line)
    session.hello()
    good = encode(Frame(9, 0x1234, 0x5678, b"payload"))[1:-4]
    assert good[:2] == bytes([14, 13])
    for at, value in ((0, 1), (0, 13), (0, 15), (0, 255), (1, 12), (1, 14), (1, 255)):
        body = bytearray(good)
        body[at] = value
        assert not sound(bytes(body) + _checksum(bytes(body)))
        before = session.verify().corrupt
        line.write(b"\0" + bytes(body) + _checksum(bytes(body)) + b"\0")
        answer = line.read(1)
        assert decode(answer.strip(b"\0")).type == 0xFE
        assert session.verify().corrupt == before + 1
    assert session.read_state() == model.state()


@pytest.mark.parametrize("payload", [bytes(n) for n in (0, 1, 2)])
def test_the_board_refuses_unknown_and_short_requests(line, session, payload):
    for kind in (4, 11, 0x7F, 0x81, 0xFF):
        session._sequence += 1
        line.write(encode(Frame(kind, session._session, session._sequence, payload)))
        answer = decode(line.read(1).strip(b"\0"))
        assert (answer.type, answer.payload) == (0xFF, b"\2" if kind == 4 else b"\1")
    session.verify()


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (3, (40).to_bytes(2, "little") + b"ab"),
        (3, (42).to_bytes(2, "little")),
        (3, b"\xff\xffabcdefgh"),
        (6, b"\0\0\0"),
        (6, b"\0\0\x21"),
        (6, b"\x66\0\2"),
        (6, b"\xff\xff\2"),
        (7, b"\x66\0ab"),
        (7, b"\xff\xff" + bytes(30)),
    ],
)
def test_the_board_stays_inside_its_memory(line, session, model, kind, payload):
    session._sequence += 1
    line.write(encode(Frame(kind, session._session, session._sequence, payload)))
    answer = decode(line.read(1).strip(b"\0"))
    assert (answer.type, answer.payload) == (0xFF, b"\2")
    assert session.read_state() == model.state()


def test_a_board_without_a_session_does_nothing(line):
    for session in (0, 1):
        line.write(encode(Frame(9, session, 1, b"")))
        answer = decode(line.read(1).strip(b"\0"))
        assert (answer.type, answer.session, answer.payload) == (0xFE, 0, b"\2")
