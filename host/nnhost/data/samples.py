"""What every reader returns: numbers, and labels still as the file has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnhost.errors import NnhostError, quote

MAX_CLASSES = 256
LARGEST = 1e30
"""Numbers beyond this are taken for mistakes; squares and sums of the rest stay finite."""


@dataclass(frozen=True, eq=False)
class Samples:
    """N rows as read from `source`, every number finite."""

    source: str
    x: NDArray[Any]
    """(N, n), float64, or uint8 for images."""
    labels: NDArray[Any]
    """(N,) text or float64, or (N, K) float64 targets."""
    features: tuple[str, ...]
    held: int = 0
    """The last so many rows are for testing, as the source has them; 0: none is."""
    shape: tuple[int, ...] = ()
    """Of an image: rows, columns and perhaps channels; () where the source does not tell."""


def missing(place: str) -> NnhostError:
    """The error for a cell without a value."""
    return NnhostError(f"{place} is missing", help="fill it in, or delete the row")


def check_numbers(values: NDArray[np.float64], place: Callable[[int, int], str]) -> None:
    """Refuse NaN, infinities and absurdly large numbers; `place` names a row and column."""
    wrong = np.argwhere(~(np.abs(values) <= LARGEST))
    if len(wrong):
        row, column = map(int, wrong[0])
        if np.isnan(values[row, column]):
            raise missing(place(row, column))
        raise NnhostError(
            f"{place(row, column)} is {values[row, column]:g}", help="numbers may reach to 1e30"
        )


def encode_labels(samples: Samples) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Class indices (N,) int64 with the classes' names, or targets (N, K) float64 with none.

    Text and whole numbers are classes, in sorted order; other numbers are targets to approximate.
    Raises NnhostError when there is nothing to learn.
    """
    source, labels = samples.source, samples.labels
    numeric = labels.dtype.kind == "f"
    if labels.ndim == 2 or (numeric and np.any(labels != np.floor(labels))):
        return labels.reshape(len(labels), -1), ()
    values, indices = np.unique(labels, return_inverse=True)
    names = tuple(f"{value:.0f}" if numeric else str(value) for value in values)
    if len(names) == 1:
        raise NnhostError(
            f"{source}: every row is of class {quote(names[0])}",
            help="two classes at least are needed; label in [data] names another column",
        )
    if len(names) > MAX_CLASSES:
        raise NnhostError(
            f"{source}: {len(names)} classes, and {MAX_CLASSES} are the most there can be",
            help="label in [data] names another column; for regression write the targets "
            "with a fraction, whole numbers are classes",
        )
    return indices.astype(np.int64), names
