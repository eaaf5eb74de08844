"""Checksums that host and board compare: CRC-16/CCITT-FALSE over memory."""

from __future__ import annotations

from binascii import crc_hqx

#: The training state is compared in this many slices, one a step, in rotation.
SLICES = 32


def crc16(data: bytes, start: int = 0xFFFF) -> int:
    """CRC of ``data``: polynomial 0x1021, most significant bit first, no final inversion.

    ``start`` is the CRC of what came before, so a checksum can be taken in parts.
    """
    return crc_hqx(data, start)


def state_digest(state: bytes) -> int:
    """Digest of the whole training state, as ``VERIFY`` and ``HELLO`` report it."""
    return crc16(state)


def slice_digest(state: bytes, step: int) -> int:
    """Digest of the slice that the report of training step ``step`` (1 for the first) carries.

    ``state`` is the whole state after that step. Small states leave the last slices empty.
    """
    length = -(-len(state) // SLICES)
    begin = step % SLICES * length
    return crc16(state[begin : begin + length])


def trace_digest(trace: bytes) -> int:
    """Digest of a forward pass: its hidden activations, then its logits."""
    return crc16(trace)
