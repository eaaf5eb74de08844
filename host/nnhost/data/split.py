"""Which rows are held out, and in which order the others are stored."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1


def split(strata: NDArray[np.int64], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Row numbers for training and for testing, both in an order drawn from `seed` (16 bits).

    Of each stratum, the rows with the same number in `strata`, `share` is held out, rounded half
    up, but at least one row stays for training. The same on every machine and NumPy version.
    """
    quota = [min(int(count * share + 0.5), count - 1) for count in np.bincount(strata).tolist()]
    train, test = [], []
    for row in _shuffled(range(len(strata)), seed):
        stratum = int(strata[row])
        if quota[stratum] > 0:
            quota[stratum] -= 1
            test.append(row)
        else:
            train.append(row)
    # The rows left over begin with the class whose quota was full first: draw their order anew.
    return _shuffled(train, seed | 1 << 16), test


def _shuffled(rows: Iterable[int], stream: int) -> list[int]:
    return sorted(rows, key=lambda row: _splitmix64(stream << 32 | row))


def _splitmix64(number: int) -> int:
    """One step of the generator splitmix64: a bijection, so no two rows are equal."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & _MASK
    return number ^ number >> 31
