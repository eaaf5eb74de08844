"""Checksums that host and board compare: CRC-16/CCITT-FALSE over memory."""

from __future__ import annotations

from binascii import crc_hqx

#: The training state is compared in this many slices, in rotation ...
SLICES = 256
#: ... one in so many steps: a digest at each would take a seventh of a short step of an 8051.
STEPS_A_SLICE = 16


def crc16(data: bytes, start: int = 0xFFFF) -> int:
    """CRC of ``data``: polynomial 0x1021, most significant bit first, no final inversion.

    ``start`` is the CRC of what came before, so a checksum can be taken in parts.
    """
    return crc_hqx(data, start)


def state_digest(state: bytes) -> int:
    """Digest of the whole training state, as ``VERIFY`` and ``HELLO`` report it."""
    return crc16(state)


def slice_bounds(size: int, step: int) -> tuple[int, int]:
    """First byte of the slice that the report of training step ``step`` (1 for the first) carries,
    and the one behind its last, in a state of ``size`` bytes.

    Small states leave the last slices empty.
    """
    length = -(-size // SLICES)
    begin = min(step // STEPS_A_SLICE % SLICES * length, size)
    return begin, min(begin + length, size)


def slice_digest(state: bytes, step: int) -> int:
    """Digest of that slice; ``state`` is the whole state after the step."""
    begin, end = slice_bounds(len(state), step)
    return crc16(state[begin:end])


def trace_digest(trace: bytes) -> int:
    """Digest of a forward pass: its hidden activations, then its logits."""
    return crc16(trace)
