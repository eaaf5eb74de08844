"""Activation functions: one file each, registered here by the name nn.toml uses."""

from __future__ import annotations

from nnhost.activations import hard_sigmoid, hard_tanh, leaky_relu, linear, relu, sigmoid, tanh
from nnhost.activations.base import Activation

ACTIVATIONS: dict[str, Activation] = {
    "linear": linear.LINEAR,
    "relu": relu.RELU,
    "leaky-relu": leaky_relu.LEAKY_RELU,
    "hard-sigmoid": hard_sigmoid.HARD_SIGMOID,
    "hard-tanh": hard_tanh.HARD_TANH,
    "sigmoid": sigmoid.SIGMOID,
    "tanh": tanh.TANH,
}

__all__ = ["ACTIVATIONS", "Activation"]
