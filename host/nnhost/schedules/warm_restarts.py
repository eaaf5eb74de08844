"""Cosine annealing with warm restarts (SGDR; Loshchilov and Hutter, 2017).

The first fall from lr to lr_min takes `cycle` epochs, each further one `cycle_growth` times as
many as that before it. The last is cut off where the training ends.
"""

from __future__ import annotations

from nnhost.schedules.base import STAGES, Course, Schedule, Stage, staircase
from nnhost.schedules.cosine import fall

#: Stages of a cycle where there are many cycles.
LEAST = 4


def _stages(course: Course) -> list[Stage]:
    cycles, start, length = [], 0.0, float(course.cycle)
    while start < course.epochs:
        cycles.append((start, start + length))
        start, length = start + length, length * course.cycle_growth
    count = max(LEAST, STAGES // len(cycles))
    stages: list[Stage] = []
    for begin, end in cycles:
        stages += staircase(begin, end, count, lambda t: fall(course.low, t))
    while len(stages) > 1 and stages[-2].until >= course.epochs:
        stages.pop()
    return stages


WARM_RESTARTS = Schedule("warm-restarts", _stages)
