"""Step decay: lr times `decay` every `decay_every` epochs (by default 0.1, every third of them)."""

from __future__ import annotations

import math

from nnhost.schedules.base import Course, Schedule, Stage


def _stages(course: Course) -> list[Stage]:
    decay = 0.1 if course.decay is None else course.decay
    every = course.decay_every or max(1, math.ceil(course.epochs / 3))
    count = max(1, math.ceil(course.epochs / every))
    return [Stage((i + 1) * every, max(course.low, decay**i)) for i in range(count)]


STEP = Schedule("step", _stages)
