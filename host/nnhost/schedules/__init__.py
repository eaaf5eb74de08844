"""Learning-rate schedules: one file each, registered here by the name nn.toml uses."""

from __future__ import annotations

from nnhost.schedules import (
    constant,
    cosine,
    exponential,
    one_cycle,
    plateau,
    step,
    warm_restarts,
)
from nnhost.schedules.base import Course, Schedule, Stage, staircase

SCHEDULES: dict[str, Schedule] = {
    "constant": constant.CONSTANT,
    "step": step.STEP,
    "exponential": exponential.EXPONENTIAL,
    "cosine": cosine.COSINE,
    "warm-restarts": warm_restarts.WARM_RESTARTS,
    "one-cycle": one_cycle.ONE_CYCLE,
    "plateau": plateau.PLATEAU,
}

__all__ = ["SCHEDULES", "Course", "Schedule", "Stage", "staircase"]
