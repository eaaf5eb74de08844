"""The time that waits are measured in: this computer's, or a simulated one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """`now`: seconds that never run backwards; `sleep`: lets so many seconds pass."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


#: This computer's.
REAL = Clock()
