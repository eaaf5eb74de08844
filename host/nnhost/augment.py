"""Augmentation: every epoch shows each training sample a little changed.

The host changes a sample before it goes out, in integers and by numbers that depend on the seed,
the epoch and the row alone: board, twin and engines see the same, on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnhost.data import splitmix64
from nnhost.errors import UsageError
from nnhost.fixed import Format, nearest
from nnhost.initializers import NORMAL
from nnhost.plan import Samples
from nnhost.project import AugmentSpec

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

#: Rows that are changed at a time: of 784 inputs, 6 MB in each of a few arrays.
_BLOCK = 1024
#: Fraction bits of a sample's factor, and of the noise's standard deviation.
_FACTOR_BITS, _NOISE_BITS = 15, 8
#: NORMAL has 13 fraction bits.
_NORMAL_BITS = 13
#: A row's random numbers, by their place: the others are for the noise of its inputs.
_DOWN, _RIGHT, _FLIP, _FACTOR, _FIRST_NOISE = range(5)


@dataclass(frozen=True)
class Augmentation:
    """What [data] augment asks for. `shape`: rows, columns and perhaps channels of an image, which
    `shift` and `flip` move; `format`: of the inputs; `seed`: of the training."""

    spec: AugmentSpec
    shape: tuple[int, ...]
    format: Format
    seed: int

    @classmethod
    def of(
        cls, spec: AugmentSpec, shape: tuple[int, ...], inputs: int, format: Format, seed: int
    ) -> Augmentation | None:
        """None where nothing is asked for. Raises `UsageError` for images of unknown shape."""
        if spec == AugmentSpec():
            return None
        if shape and math.prod(shape) != inputs:
            raise UsageError(
                f"[data] shape = {list(shape)} has {math.prod(shape)} numbers, a sample {inputs}",
                help="it is [rows, columns], or [rows, columns, channels]",
            )
        if (spec.shift or spec.flip) and not shape:
            raise UsageError(
                "[data] augment: shift and flip want images, and the shape of these is not known",
                help="say it: shape = [rows, columns] in [data]",
            )
        return cls(spec, shape, format, seed)

    def row(self, samples: Samples, row: int, epoch: int) -> Samples:
        """One sample (as 1 row) as `epoch`, from 1 on, shows it."""
        return self._changed(samples[row : row + 1], np.array([row]), epoch)

    def all(self, samples: Samples, epoch: int) -> Samples:
        """All samples as `epoch` shows them."""
        blocks = [
            self._changed(samples[at : at + _BLOCK], np.arange(at, min(at + _BLOCK, n)), epoch).x
            for n in (len(samples),)
            for at in range(0, n, _BLOCK)
        ]
        return replace(samples, x=np.concatenate(blocks))

    def _changed(self, samples: Samples, rows: NDArray[Any], epoch: int) -> Samples:
        key = splitmix64(np.array([self.seed << 32 | epoch], np.uint64))
        keys = splitmix64(key ^ rows.astype(np.uint64))[:, None]
        spec, x = self.spec, samples.x.astype(np.int64)
        if spec.shift or spec.flip:
            x = self._moved(x, keys)
        if spec.scale:
            most = nearest(spec.scale * 2**_FACTOR_BITS)
            factor = 2**_FACTOR_BITS + self._within(keys, _FACTOR, most)
            x = (x * factor + 2 ** (_FACTOR_BITS - 1)) >> _FACTOR_BITS
        if spec.noise:
            x = x + self._noise(keys, x.shape[1])
        lo, hi = self.format.interval
        return replace(samples, x=np.clip(x, lo, hi).astype(samples.x.dtype))

    def _moved(self, x: Integers, keys: Words) -> Integers:
        """Images, moved and mirrored; what comes in from outside is 0."""
        height, width = self.shape[:2]
        images = x.reshape(len(x), height, width, -1)
        down, right = (self._within(keys, at, self.spec.shift) for at in (_DOWN, _RIGHT))
        i, j = np.arange(height) - down, np.arange(width) - right
        inside = ((i >= 0) & (i < height))[:, :, None] & ((j >= 0) & (j < width))[:, None, :]
        if self.spec.flip:
            mirrored = (_numbers(keys, [_FLIP]) >> np.uint64(63)).astype(bool)
            j = np.where(mirrored, width - 1 - j, j)
        i, j = np.clip(i, 0, height - 1), np.clip(j, 0, width - 1)
        at = np.arange(len(x))[:, None, None]
        moved = images[at, i[:, :, None], j[:, None, :]] * inside[..., None]
        changed: Integers = moved.reshape(x.shape)
        return changed

    def _within(self, keys: Words, at: int, most: int) -> Integers:
        """A whole number from -most to most for each row, all of them as likely: (N, 1)."""
        upper = _numbers(keys, [at]) >> np.uint64(32)
        return ((upper * np.uint64(2 * most + 1)) >> np.uint64(32)).astype(np.int64) - most

    def _noise(self, keys: Words, inputs: int) -> Integers:
        """Normal noise, rounded stochastically, so that even small one is there: (N, n)."""
        deviation = nearest(self.spec.noise * 2 ** (self.format.fraction + _NOISE_BITS))
        bits = _NOISE_BITS + _NORMAL_BITS
        numbers = _numbers(keys, range(_FIRST_NOISE, _FIRST_NOISE + inputs))
        normal = np.array(NORMAL.values, np.int64)[(numbers >> np.uint64(56)).astype(np.int64)]
        dither = (numbers & np.uint64(2**bits - 1)).astype(np.int64)
        noise: Integers = (normal * deviation + dither) >> bits
        return noise


def _numbers(keys: Words, places: Sequence[int]) -> Words:
    """The random numbers at these places of each row's sequence: (N, places)."""
    return splitmix64(keys + np.array(places, np.uint64))
