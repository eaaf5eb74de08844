"""The data set as training sees it: numbers in, classes or targets out, a part held out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnhost.data.samples import encode_labels
from nnhost.data.scaling import Scaling, fit_inputs, fit_z_scores
from nnhost.data.sources import TRUTH_TABLES, read
from nnhost.data.split import split
from nnhost.errors import NnhostError, UsageError
from nnhost.project import DataSpec


@dataclass(frozen=True, eq=False)
class Dataset:
    """Scaled samples. N training rows, n features, K targets; test and
    validation rows likewise."""

    name: str
    task: str
    """classification or regression."""
    kind: str
    """The inputs' range: "range" is 0 to 1, "z-score" roughly -4 to 4."""
    x_train: NDArray[np.float64]
    """(N, n)."""
    y_train: NDArray[Any]
    """(N,) int64 class indices, or (N, K) float64 targets as z-scores."""
    x_test: NDArray[np.float64]
    y_test: NDArray[Any]
    classes: tuple[str, ...]
    """One name per class; empty for regression."""
    features: tuple[str, ...]
    """One name per input."""
    input_scaling: Scaling
    """How raw inputs became x_train."""
    target_scaling: Scaling | None
    """How raw targets became y_train; None for classification."""
    x_validation: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    y_validation: NDArray[Any] = field(default_factory=lambda: np.empty(0, np.int64))
    shape: tuple[int, ...] = ()
    """Rows, columns and perhaps channels, if the inputs are an image's; () if that is not known."""


def load(spec: DataSpec, seed: int, root: Path, *, in_order: bool = False) -> Dataset:
    """Read `spec.source`, relative to `root`, split it by `seed` and scale it.

    The split is stratified by class, or that of the source if it has one; every scale is fitted on
    the training rows alone. A truth table such as xor is never taken apart: its test rows, if any,
    are its training rows, and so are its validation rows. `in_order`: training rows stay in the
    order of the source, and none of them is held out.
    Raises NnhostError.
    """
    samples = read(spec.source, spec.label, root)
    y, classes = encode_labels(samples)
    strata = y if classes else np.zeros(len(y), np.int64)
    validation: list[int] = []
    if in_order:
        train = list(range(len(strata) - samples.held))
        test = list(range(len(train), len(strata)))
    elif spec.source in TRUTH_TABLES:
        train, _ = split(strata, 0.0, seed)
        test = train if spec.test > 0 else []
        validation = train if spec.validation > 0 else []
    else:
        own = len(strata) - samples.held
        train, test = split(strata[:own], 0.0 if samples.held else spec.test, seed)
        test = [*test, *range(own, len(strata))]
        if spec.validation > 0:
            left, held = split(strata[train], spec.validation, seed)
            train, validation = [train[i] for i in left], [train[i] for i in held]
    if spec.validation > 0 and not validation:
        raise UsageError(
            f"[data] validation = {spec.validation:g} of {len(train)} training rows is none",
            help="set a larger share",
        )

    inputs = fit_inputs(samples.x[train], spec.scale)
    targets = None
    if not classes:
        targets = fit_z_scores(y[train])
        if not np.all(targets.factor):
            raise NnhostError(
                f"{samples.source}: all training targets are the same",
                help="label in [data] names another column",
            )
        y = targets.apply(y)
    return Dataset(
        name=samples.source,
        task="classification" if classes else "regression",
        kind=inputs.kind,
        x_train=inputs.apply(samples.x[train]),
        y_train=y[train],
        x_test=inputs.apply(samples.x[test]),
        y_test=y[test],
        classes=classes,
        features=samples.features,
        input_scaling=inputs,
        target_scaling=targets,
        x_validation=inputs.apply(samples.x[validation]),
        y_validation=y[validation],
        shape=spec.shape or samples.shape,
    )
