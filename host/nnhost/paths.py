"""Where the files that are not Python lie, in an installed wheel and in a checkout alike."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def firmware_dir() -> Path:
    """The C sources, board records and PlatformIO platform."""
    return _shipped("firmware")


def examples_dir() -> Path:
    """The example projects, one folder each; `nnhost new` copies them."""
    return _shipped("examples")


def _shipped(name: str) -> Path:
    """`name` inside the package, where a wheel puts it, else at the root of the checkout."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parents[1] / name
