"""Small nets and random data for the comparisons with the floating-point reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnhost.data.dataset import Dataset
from nnhost.data.scaling import Scaling
from nnhost.plan import Plan, make_plan
from nnhost.project import BoardSpec, BuildSpec, DataSpec, NetSpec, Project, TrainSpec

ROWS = 12


def dataset(seed: int, inputs: int, outputs: int, task: str, kind: str) -> Dataset:
    """ROWS random rows within the input format; `outputs` is the number of classes or targets."""
    random = np.random.default_rng(seed)
    low, high = (0.0, 1.0) if kind == "range" else (-0.75, 0.75)
    x = random.uniform(low, high, (ROWS, inputs))
    regression = task == "regression"
    y = random.uniform(-0.5, 0.5, (ROWS, outputs)) if regression else np.arange(ROWS) % outputs
    classes = () if regression else tuple(str(k) for k in range(outputs))
    scaling = Scaling(kind, np.zeros(inputs), np.ones(inputs))
    names = tuple(str(j) for j in range(inputs))
    return Dataset("drawn", task, kind, x, y, x, y, classes, names, scaling, None)


def plan(
    data: Dataset,
    preset: str,
    loss: str,
    hidden: Sequence[int],
    activation: str | Sequence[str],
    *,
    optimizer: str = "sgd",
    batch: int = 1,
    lr: float = 0.0625,
    init: str = "glorot",
    epochs: int = 1,
    dropout: tuple[float, ...] = (),
    batch_norm: bool = False,
    **train: Any,
) -> Plan:
    """The plan of a net on `data`; momentum is 0.9. `train`: more keys of [train]."""
    names = (activation,) * len(hidden) if isinstance(activation, str) else tuple(activation)
    project = Project(
        Path(),
        NetSpec(tuple(hidden), names, loss, preset, init, dropout, batch_norm),
        TrainSpec(optimizer, lr, 0.9, batch, epochs, 1, **train),
        DataSpec("drawn", 0.0, "none", "stream", None),
        BoardSpec("host"),
        BuildSpec("auto"),
    )
    return make_plan(project, data)
