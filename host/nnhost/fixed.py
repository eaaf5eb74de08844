"""Fixed-point numbers: formats, rounding, saturation and tables, as expressions and as numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnhost.ir import INT16, Buffer, Expr, Interval, clamp, rounded_shift, table


@dataclass(frozen=True)
class Format:
    """A Q-format: integers in `interval` that stand for integer * 2^-fraction."""

    interval: Interval
    fraction: int

    def quantise(self, real: NDArray[np.float64]) -> NDArray[np.int64]:
        """Nearest integers, halves up, saturated; the shape is kept."""
        scaled = np.floor(real * 2.0**self.fraction + 0.5)
        return np.clip(scaled, *self.interval).astype(np.int64)

    def real(self, integers: NDArray[np.int64]) -> NDArray[np.float64]:
        """What integers of this format stand for."""
        return integers.astype(np.float64) * 2.0**-self.fraction

    def __str__(self) -> str:
        lo, hi = self.interval
        step = 2.0**-self.fraction
        return f"{lo}..{hi} x 2^-{self.fraction} ({lo * step:g}..{hi * step:g})"


def unsigned(bits: int) -> Interval:
    """unsigned(8) is uint8."""
    return Interval(0, 2**bits - 1)


def signed(bits: int) -> Interval:
    """Two's complement with `bits` magnitude bits: signed(7) is int8."""
    return Interval(-(2**bits), 2**bits - 1)


def saturate(x: Expr) -> Expr:
    """Clamp to int16."""
    return clamp(x, INT16)


def ratio(x: float) -> tuple[int, int]:
    """(m, s) with x ~ m * 2^-s and m in 128..255: eight significant bits."""
    s = 7 - math.floor(math.log2(x))
    m = round(x * 2.0**s)
    return (128, s - 1) if m == 256 else (m, s)


def nearest(x: float) -> int:
    """The nearest integer, halves up."""
    return math.floor(x + 0.5)


#: Between table entries of the wide preset, as bits of the position.
INTERPOLATION_BITS = 6


def lookup(values: Buffer, x: Expr, fraction: int, table_fraction: int, fine: bool) -> Expr:
    """``values`` at x, whose format has `fraction` bits, for a table of 256 steps about zero.

    Step i of the table stands at (i - 128) * 2^-table_fraction. Coarse takes the entry at the
    rounded position; fine interpolates linearly, for which the table has a 257th entry.
    """
    if not fine:
        position = clamp(rounded_shift(x, fraction - table_fraction), signed(7))
        return values[position + 128]
    bits = INTERPOLATION_BITS
    position = clamp(rounded_shift(x, fraction - table_fraction - bits), signed(7 + bits))
    at = position + (128 << bits)
    low = values[at >> bits]
    rise = values[(at >> bits) + 1] - low
    return clamp(low + ((rise * (at & ((1 << bits) - 1))) >> bits), values.interval)


def curve(name: str, values: list[int], doc: str) -> Buffer:
    """A table for `lookup`; one object a name and content, so that layers share it in memory."""
    key = (name, tuple(values))
    if key not in _CURVES:
        _CURVES[key] = table(name, values, doc)
    return _CURVES[key]


_CURVES: dict[tuple[str, tuple[int, ...]], Buffer] = {}

#: exp(-i/16) * 2^15, i = 0..255.
EXP = table("exp", [nearest(32768 * math.exp(-i / 16)) for i in range(256)], "exp(-i/16) * 2^15")
#: ln(1 + i/128) * 2^8, i = 0..127.
LN = table("ln", [nearest(256 * math.log(1 + i / 128)) for i in range(128)], "ln(1+i/128) * 2^8")
