"""The learning rate as it is."""

from __future__ import annotations

from nnhost.schedules.base import Course, Schedule, Stage


def _stages(course: Course) -> list[Stage]:
    return [Stage(course.epochs, 1.0)]


CONSTANT = Schedule("constant", _stages)
