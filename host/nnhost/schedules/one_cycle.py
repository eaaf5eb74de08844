"""One cycle: up from lr / 25 to lr in the share `rise` of the training, then down to lr / 10000,
both by half a cosine (Smith and Topin, 2019)."""

from __future__ import annotations

from nnhost.schedules.base import STAGES, Course, Schedule, Stage, staircase
from nnhost.schedules.cosine import fall

FIRST, LAST = 1 / 25, 1 / 10000


def _stages(course: Course) -> list[Stage]:
    top = course.rise * course.epochs
    up = max(1, min(STAGES - 1, round(course.rise * STAGES)))
    low = max(course.low, LAST)
    return [
        *staircase(0, top, up, lambda t: max(course.low, fall(FIRST, 1 - t))),
        *staircase(top, course.epochs, STAGES - up, lambda t: fall(low, t)),
    ]


ONE_CYCLE = Schedule("one-cycle", _stages)
