"""Linear scaling of inputs and targets, fitted on the training rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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

    def apply(self, raw: NDArray[Any]) -> NDArray[np.float64]:
        """Scale rows (N, n) of numbers."""
        scaled: NDArray[np.float64] = raw - self.offset
        scaled *= self.factor
        return np.clip(scaled, 0.0, 1.0, out=scaled) if self.kind == "range" else scaled


def fit_inputs(x: NDArray[Any], scale: str) -> Scaling:
    """Fit `scale` (auto, range, z-score or none) to the training rows (N, n), uint8 or float64.

    auto takes range for images and z-score for the rest.
    """
    if scale == "none":
        kind = "range" if x.min() >= 0 and x.max() <= 1 else "z-score"
        return Scaling(kind, np.zeros(x.shape[1]), np.ones(x.shape[1]))
    image = _is_image(x)
    if scale == "z-score" or (scale == "auto" and not image):
        return fit_z_scores(x)
    low = np.zeros(x.shape[1]) if image else x.min(axis=0).astype(np.float64)
    span = np.full(x.shape[1], float(x.max())) if image else x.max(axis=0) - low
    return Scaling("range", low, _inverse(span))


def fit_z_scores(values: NDArray[Any]) -> Scaling:
    """Each column (N, n) to mean 0 and standard deviation 1."""
    low = values.min(axis=0).astype(np.float64)
    span = values.max(axis=0) - low
    # On 0 to 1 no square overflows or vanishes; fsum rounds once, so every machine gets this sum.
    unit = (values - low) * _inverse(span)
    mean = _mean(unit)
    deviation = np.sqrt(_mean((unit - mean) ** 2))
    return Scaling("z-score", low + mean * span, _inverse(deviation) * _inverse(span))


def _is_image(x: NDArray[Any]) -> bool:
    """Whether the columns are pixels: whole numbers up to 255 that share one scale.

    They share it when at least half of the columns that vary reach half of the largest value.
    """
    low, high = x.min(axis=0), x.max(axis=0)
    varied = np.sort(high[high > low])
    return bool(
        len(varied)
        and low.min() >= 0
        and high.max() <= 255
        and (x.dtype == np.uint8 or np.all(x == np.floor(x)))
        and 2.0 * varied[(len(varied) - 1) // 2] >= high.max()
    )


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([math.fsum(column) for column in values.T]) / len(values)


def _inverse(span: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / span, and 0 for a constant column."""
    return np.divide(1.0, span, out=np.zeros_like(span), where=span > _FLAT)
