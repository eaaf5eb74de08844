"""What a learning-rate schedule says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Stages that a curve is cut into: its staircase is as fine as one that moves once an epoch for 32.
STAGES = 32


@dataclass(frozen=True)
class Stage:
    """The learning rate until `until`, in epochs since the schedule's start, is `share` of lr."""

    until: float
    share: float


@dataclass(frozen=True)
class Course:
    """What a schedule goes by. `epochs`: its length, the warm-up left out. `low`: the least share
    of lr. The others are the keys of [train] by their names, None where nn.toml leaves the choice
    to the schedule."""

    epochs: float
    low: float
    decay: float | None
    decay_every: int | None
    cycle: int
    cycle_growth: int
    rise: float
    patience: int


@dataclass(frozen=True)
class Schedule:
    """`stages(course)`: the learning rate, stage after stage; the last one never ends.

    `adaptive`: the loss decides when a stage ends, and `until` means nothing.
    """

    name: str
    stages: Callable[[Course], list[Stage]]
    adaptive: bool = False


def staircase(start: float, end: float, count: int, share: Callable[[float], float]) -> list[Stage]:
    """`count` equal stages from `start` to `end`; `share`, of the way 0..1, at their middles."""
    width = (end - start) / count
    return [Stage(start + (i + 1) * width, share((i + 0.5) / count)) for i in range(count)]
