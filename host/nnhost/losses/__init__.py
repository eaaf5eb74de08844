"""Losses: one file each, registered here by the name nn.toml uses."""

from __future__ import annotations

from nnhost.losses import binary_cross_entropy, huber, mae, mse, softmax_cross_entropy
from nnhost.losses.base import Loss

LOSSES: dict[str, Loss] = {
    "softmax-cross-entropy": softmax_cross_entropy.SOFTMAX_CROSS_ENTROPY,
    "mse": mse.MSE,
    "mae": mae.MAE,
    "huber": huber.HUBER,
    "binary-cross-entropy": binary_cross_entropy.BINARY_CROSS_ENTROPY,
}

__all__ = ["LOSSES", "Loss"]
