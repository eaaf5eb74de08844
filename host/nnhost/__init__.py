"""Small fixed-point neural networks that train on microcontrollers, proven bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnhost.api import load_project, simulate, simulate_many, virtual_board

__version__ = "0.1.0"
__all__ = ["__version__", "load_project", "simulate", "simulate_many", "virtual_board"]


def __getattr__(name: str) -> object:
    """The functions of `nnhost.api`, imported when they are first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nnhost import api

    return getattr(api, name)
