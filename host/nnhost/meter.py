"""The figures of a training run under way: rate, time left, running mean, curve."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from nnhost.curve import Curve
from nnhost.link import Counters
from nnhost.outcome import Progress


def no_counters() -> Counters | None:
    """Of a run without a link."""
    return None


@dataclass(frozen=True)
class Run:
    """A training run that is about to begin.

    `claim`: what is true of a step that was compared and found equal; empty where nothing is.
    `losses`: of the steps that were made before, shape (steps,).
    """

    net: str
    place: str
    rows: int
    total: int
    claim: str = ""
    counters: Callable[[], Counters | None] = no_counters
    losses: Sequence[float] = ()

    @property
    def epochs(self) -> int:
        """Epochs begun when the run is over."""
        return -(-self.total // self.rows)


class Meter:
    """The figures of a run under way, from its steps as they come."""

    def __init__(self, run: Run, clock: Callable[[], float] = monotonic) -> None:
        self.run = run
        self.step = 0
        self.epoch = 1
        self.exact: bool | None = None
        self.curve = Curve(run.total)
        self.epoch_loss = 0.0
        """mean of the last epoch that has ended"""
        self.made_before = len(run.losses)
        """steps of an earlier run"""
        self._clock = clock
        self._marks = deque([(clock(), len(run.losses))], maxlen=21)
        self._right: deque[bool] = deque(maxlen=200)
        self._recent: deque[float] = deque(maxlen=max(1, min(run.rows, 200)))
        self._epoch_sum = 0.0
        if run.losses:
            made = len(run.losses)
            self.add(Progress(made, -(-made // run.rows), run.losses[-1], None), run.losses)

    def resume(self, step: int) -> None:
        """The run goes on after this step, which a board that kept it made in an earlier run."""
        if self.step == 0:
            self.made_before = step

    def add(self, progress: Progress, losses: Sequence[float] = ()) -> bool:
        """Take a step in, or all those of `losses`; tells whether an epoch ended meanwhile."""
        losses = losses or (progress.loss,)
        self.step, self.epoch, self.exact = progress.step, progress.epoch, progress.exact
        self._recent.extend(losses[-200:])
        if progress.right is not None:
            self._right.append(progress.right)
        self.curve.extend(losses)
        now = self._clock()
        if now - self._marks[-1][0] >= 0.5:
            self._marks.append((now, self.step))
        rows = self.run.rows
        ended = len(losses) - self.step % rows  # before this many an epoch ends
        if ended <= 0:
            self._epoch_sum += sum(losses)
            return False
        before = self._epoch_sum if ended < rows else 0.0
        self.epoch_loss = (before + sum(losses[max(0, ended - rows) : ended])) / rows
        self._epoch_sum = sum(losses[ended:])
        return True

    @property
    def loss(self) -> float:
        """Mean of the last epoch's steps, or of the last 200."""
        return sum(self._recent) / len(self._recent) if self._recent else 0.0

    @property
    def accuracy(self) -> float | None:
        """Online: share of the last 200 samples that were known before they were learned."""
        return sum(self._right) / len(self._right) if self._right else None

    @property
    def rate(self) -> float:
        """Steps a second, over the last ten seconds."""
        then, step = self._marks[0]
        elapsed = self._clock() - then
        return (self.step - step) / elapsed if elapsed > 0 else 0.0

    @property
    def left(self) -> str:
        """The time that the rest will take."""
        return clock_time((self.run.total - self.step) / self.rate) if self.rate else "--:--"


def clock_time(seconds: float) -> str:
    """75.0 is 1:15."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(number: int, thing: str) -> str:
    """1 step, 2,400 steps."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """75.0 is 1:15 min, 7.5 is 7.5 s, 0.04 is 40 ms."""
    if seconds >= 60:
        return f"{clock_time(seconds)} min"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def rate_text(rate: float) -> str:
    """Three digits at least: 31.2 steps/s, 5,120 steps/s."""
    return f"{rate:,.0f} steps/s" if rate >= 100 else f"{rate:.1f} steps/s"
