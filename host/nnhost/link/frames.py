"""Frames: how a message becomes bytes on a line that may lose and corrupt them.

``00 | COBS(length type session16 sequence16 payload) | three bytes of CRC | 00``: no zero occurs
between the delimiters, so a receiver is in step again at the next zero, whatever happened before.
The checksum is that of the encoded bytes: nothing is decoded before it has been checked.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnhost.link.digest import crc16
from nnhost.link.messages import HEADER_BYTES, PAYLOAD_MOST, Hello, Welcome, abi

DELIMITER = b"\0"
_CRC_BYTES = 3
_TYPE_AT = 2  # never encoded: length and type are not zero
_SMALLEST = 1 + HEADER_BYTES + _CRC_BYTES

#: A run of bytes longer than this without a delimiter is not a frame.
LARGEST = _SMALLEST + PAYLOAD_MOST


class FrameError(ValueError):
    """These bytes are not a sound frame."""


@dataclass(frozen=True)
class Frame:
    """A message under way: its type, its session (1 .. 65535), its number in it, its payload."""

    type: int
    session: int
    sequence: int
    payload: bytes


def encode(frame: Frame) -> bytes:
    """The frame's bytes, delimiters included. The payload holds at most ``PAYLOAD_MOST`` bytes."""
    if len(frame.payload) > PAYLOAD_MOST:
        raise ValueError(f"a payload of {len(frame.payload)} bytes; {PAYLOAD_MOST} are the most")
    header = bytes([HEADER_BYTES + len(frame.payload), frame.type])
    numbers = frame.session.to_bytes(2, "little") + frame.sequence.to_bytes(2, "little")
    parts = (header + numbers + frame.payload).split(b"\0")
    body = b"".join(bytes([len(part) + 1]) + part for part in parts)
    return DELIMITER + body + _checksum(body) + DELIMITER


def decode(block: bytes) -> Frame:
    """The frame of the bytes between two delimiters. Raises ``FrameError``."""
    if not _SMALLEST <= len(block) <= LARGEST or 0 in block:
        raise FrameError(f"{len(block)} bytes are no frame")
    body = block[:-_CRC_BYTES]
    if block[-_CRC_BYTES:] != _checksum(body):
        raise FrameError("wrong checksum")
    data = bytearray(body)
    at = 0
    while at < len(data):
        code, data[at] = data[at], 0
        at += code
    if at != len(data) or data[1] != len(data) - 1:
        raise FrameError("wrong length")
    session = int.from_bytes(data[3:5], "little")
    sequence = int.from_bytes(data[5:7], "little")
    return Frame(data[_TYPE_AT], session, sequence, bytes(data[7:]))


def _checksum(body: bytes) -> bytes:
    """The CRC of the encoded bytes, seven bits a byte from the lowest on, none of them zero."""
    plain = body[_TYPE_AT] in (Hello.NUMBER, Welcome.NUMBER)
    crc = crc16(body) if plain else crc16(body, abi())
    return bytes(0x80 | (crc >> shift & 0x7F) for shift in (0, 7, 14))
