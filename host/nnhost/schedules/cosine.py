"""Cosine annealing: half a cosine from lr down to lr_min (Loshchilov and Hutter, 2017)."""

from __future__ import annotations

import math

from nnhost.schedules.base import STAGES, Course, Schedule, Stage, staircase


def fall(low: float, t: float) -> float:
    """From 1 at t = 0 to `low` at t = 1."""
    return low + (1 - low) * (1 + math.cos(math.pi * t)) / 2


def _stages(course: Course) -> list[Stage]:
    return staircase(0, course.epochs, STAGES, lambda t: fall(course.low, t))


COSINE = Schedule("cosine", _stages)
