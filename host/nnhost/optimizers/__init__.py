"""Optimizers: one file each, registered here by the name nn.toml uses."""

from __future__ import annotations

from nnhost.optimizers import kfac, momentum, nesterov, sgd
from nnhost.optimizers.base import Optimizer, Parameter

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": sgd.SGD,
    "momentum": momentum.MOMENTUM,
    "nesterov": nesterov.NESTEROV,
    "kfac": kfac.KFAC,
}

__all__ = ["OPTIMIZERS", "Optimizer", "Parameter"]
