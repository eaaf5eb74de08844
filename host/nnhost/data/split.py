"""Which rows are held out, and in which order the others are stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1


def split(strata: NDArray[np.int64], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Row numbers for training and for testing, both in an order drawn from `seed`.

    Of each stratum, the rows with the same number in `strata`, `share` is held out, rounded half
    up, but at least one row stays for training. The same on every machine and NumPy version.
    """
    order = sorted(range(len(strata)), key=lambda row: _splitmix64(seed << 32 | row))
    held = {
        stratum: min(int(count * share + 0.5), count - 1)
        for stratum, count in enumerate(np.bincount(strata).tolist())
    }
    train, test = [], []
    for row in order:
        stratum = int(strata[row])
        if held[stratum] > 0:
            held[stratum] -= 1
            test.append(row)
        else:
            train.append(row)
    return train, test


def _splitmix64(number: int) -> int:
    """One step of the generator splitmix64: a bijection, so no two rows are equal."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & _MASK
    return number ^ number >> 31
