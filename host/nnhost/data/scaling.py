"""Linear scaling of inputs and targets, fitted on the training rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FLAT = 1e-30
"""A column whose values span no more than this is constant."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """scaled = (raw - offset) * factor, column by column; a constant column becomes 0."""

    kind: str
    """"range": 0 to 1, values beyond are clipped; "z-score": roughly -4 to 4."""
    offset: NDArray[np.float64]
    factor: NDArray[np.float64]

    def apply(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scale rows (N, n)."""
        scaled = (raw - self.offset) * self.factor
        return np.clip(scaled, 0.0, 1.0) if self.kind == "range" else scaled


def fit_inputs(x: NDArray[np.float64], scale: str) -> Scaling:
    """Fit `scale` (auto, range, z-score or none) to the training rows (N, n).

    auto takes range for images and z-score for the rest.
    """
    if scale == "none":
        kind = "range" if x.min() >= 0 and x.max() <= 1 else "z-score"
        return Scaling(kind, np.zeros(x.shape[1]), np.ones(x.shape[1]))
    image = _is_image(x)
    if scale == "z-score" or (scale == "auto" and not image):
        return fit_z_scores(x)
    low = np.zeros(x.shape[1]) if image else x.min(axis=0)
    span = np.full(x.shape[1], x.max()) if image else x.max(axis=0) - low
    return Scaling("range", low, _inverse(span))


def fit_z_scores(values: NDArray[np.float64]) -> Scaling:
    """Each column (N, n) to mean 0 and standard deviation 1."""
    low = values.min(axis=0)
    span = values.max(axis=0) - low
    # On 0 to 1 no square overflows or vanishes; fsum rounds once, so every machine gets this sum.
    unit = (values - low) * _inverse(span)
    mean = _mean(unit)
    deviation = np.sqrt(_mean((unit - mean) ** 2))
    return Scaling("z-score", low + mean * span, _inverse(deviation) * _inverse(span))


def _is_image(x: NDArray[np.float64]) -> bool:
    """Whether the columns are pixels: whole numbers up to 255 that share one scale.

    They share it when at least half of the columns that vary reach half of the largest value.
    """
    high = np.sort(x.max(axis=0)[x.max(axis=0) > x.min(axis=0)])
    return bool(
        len(high)
        and x.min() >= 0
        and x.max() <= 255
        and np.all(x == np.floor(x))
        and 2 * high[(len(high) - 1) // 2] >= x.max()
    )


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([math.fsum(column) for column in values.T]) / len(values)


def _inverse(span: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / span, and 0 for a constant column."""
    return np.divide(1.0, span, out=np.zeros_like(span), where=span > _FLAT)
