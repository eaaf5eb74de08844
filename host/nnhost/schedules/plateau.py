"""Reduce on plateau: lr times `decay` (by default 0.1) once the mean training loss of an epoch has
not fallen for more than `patience` epochs."""

from __future__ import annotations

from nnhost.schedules.base import Course, Schedule, Stage

#: Below this share of lr nothing is learned any more.
LEAST = 2.0**-14


def _stages(course: Course) -> list[Stage]:
    decay = 0.1 if course.decay is None else course.decay
    shares = [1.0]
    while shares[-1] > max(course.low, LEAST):
        shares.append(max(course.low, LEAST, shares[-1] * decay))
    return [Stage(0, share) for share in shares]


PLATEAU = Schedule("plateau", _stages, adaptive=True)
