"""Which rows are held out, and in which order the others are stored."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


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
    numbers = np.fromiter(rows, np.uint64)
    order = np.argsort(splitmix64(numbers | np.uint64(stream << 32)))
    shuffled: list[int] = numbers[order].tolist()
    return shuffled


def splitmix64(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One step of the generator splitmix64, modulo 2^64: a bijection, so no two are equal."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ numbers >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ numbers >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return numbers ^ numbers >> np.uint64(31)
