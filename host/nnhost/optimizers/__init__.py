"""Optimizers: one file each, registered here by the name nn.toml uses."""

from __future__ import annotations

from nnhost.optimizers import adagrad, adam, adamw, kfac, momentum, nesterov, rmsprop, sgd
from nnhost.optimizers.adaptive import Moments, forgetting
from nnhost.optimizers.base import Optimizer, Parameter

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": sgd.SGD,
    "momentum": momentum.MOMENTUM,
    "nesterov": nesterov.NESTEROV,
    "adagrad": adagrad.ADAGRAD,
    "rmsprop": rmsprop.RMSPROP,
    "adam": adam.ADAM,
    "adamw": adamw.ADAMW,
    "kfac": kfac.KFAC,
}

__all__ = ["OPTIMIZERS", "Moments", "Optimizer", "Parameter", "forgetting"]
