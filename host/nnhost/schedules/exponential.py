"""Exponential decay: lr * decay^t after t epochs; by default lr / 100 is left at the end."""

from __future__ import annotations

from nnhost.schedules.base import STAGES, Course, Schedule, Stage, staircase


def _stages(course: Course) -> list[Stage]:
    left = 0.01 if course.decay is None else course.decay**course.epochs
    return staircase(0, course.epochs, STAGES, lambda t: max(course.low, left**t))


EXPONENTIAL = Schedule("exponential", _stages)
