"""When training ends before its last epoch, and which of its states it leaves.

Early stopping as in Prechelt (1998): once `early_stopping` epochs in a row have not lowered the
loss on the validation set by more than `min_delta`, training ends, and the state after the best
epoch is taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from nnhost.generate import Network
from nnhost.outcome import EpochEnd, Score

OnEpoch = Callable[[EpochEnd], None]


def _ignore(end: EpochEnd) -> None:
    pass


class Ending:
    """The conditions of [train] under which a training ends.

    `begin` when it begins. After each step, or several within an epoch, ask `reached`. `reason`
    then says which key has ended the training, "" for none; `epochs` what was seen at the end of
    each; `best` is the epoch whose state, `best_state`, is to be left, None for the last step's. A
    training of so many `steps` has no conditions.
    """

    def __init__(
        self,
        network: Network,
        steps: int | None = None,
        on_epoch: OnEpoch = _ignore,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        train = network.project.train
        free = steps is not None
        self._patience = 0 if free else train.early_stopping
        self._min_delta = train.min_delta
        self._stop_loss = 0.0 if free else train.stop_loss
        self._max_time = 0.0 if free else train.max_time
        self._rows = network.plan.rows
        self._validates = not free and bool(network.validation)
        self._on_epoch = on_epoch
        self._clock = clock
        self._began = 0.0
        self.reason = ""
        self.epochs: list[EpochEnd] = []
        self.best: EpochEnd | None = None
        self.best_state = b""

    @property
    def looks(self) -> bool:
        """Whether it must be asked after each epoch at least."""
        return self._validates or self._stop_loss > 0 or self._max_time > 0

    def begin(self) -> None:
        """The time counts from here."""
        self._began = self._clock()

    def reached(
        self,
        losses: Sequence[float],
        validate: Callable[[], Score | None],
        state: Callable[[], bytes],
    ) -> bool:
        """Whether training ends here, after the steps that had these losses. `validate` tells how
        the net does on the validation set, None where nobody knows; `state` is the net's."""
        if (self._validates or self._stop_loss) and len(losses) % self._rows == 0:
            self._look(losses, validate() if self._validates else None, state)
        if not self.reason and 0 < self._max_time <= self._clock() - self._began:
            self.reason = "max_time"
        return self.reason != ""

    def _look(
        self, losses: Sequence[float], score: Score | None, state: Callable[[], bytes]
    ) -> None:
        epoch, loss = len(losses) // self._rows, sum(losses[-self._rows :]) / self._rows
        lowest = self.best.validation if self.best else None
        better = score is not None and (
            lowest is None or score.loss < lowest.loss - self._min_delta
        )
        end = EpochEnd(epoch, len(losses), loss, score)
        self.epochs.append(end)
        if self._patience and better:
            self.best, self.best_state = end, state()
        if self._patience and self.best and epoch - self.best.epoch >= self._patience:
            self.reason = "early_stopping"
        elif loss < self._stop_loss:
            self.reason = "stop_loss"
        self._on_epoch(end)
