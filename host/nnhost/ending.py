"""When training ends before its last epoch, and which of its states it leaves.

Early stopping as in Prechelt (1998): once `early_stopping` epochs in a row have not lowered the
loss on the validation set by more than `min_delta`, training ends, and the state after the best
epoch is taken back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import monotonic

import numpy as np

from nnhost.errors import UsageError
from nnhost.generate import Network
from nnhost.outcome import EpochEnd, Score
from nnhost.saved import Past

OnEpoch = Callable[[EpochEnd], None]


def _ignore(end: EpochEnd) -> None:
    pass


class Ending:
    """The conditions of [train] under which a training ends.

    `begin` when it begins, or goes on. After each step, or several within an epoch, ask `reached`.
    `reason` then says which key has ended the training, "" for none; `epochs` what was seen at the
    end of each; `best` is the epoch whose state, `best_state`, is to be left, None for the last
    step's. A training of so many `steps` has no conditions.
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
        self._looks: list[tuple[float, float]] = []
        self.reason = ""
        self.epochs: list[EpochEnd] = []
        self.best: EpochEnd | None = None
        self.best_state = b""

    @property
    def looks(self) -> bool:
        """Whether it must be asked after each epoch at least."""
        return self._validates or self._stop_loss > 0 or self._max_time > 0

    def begin(self, past: Past | None = None, losses: Sequence[float] = ()) -> None:
        """The time counts from here; from its `past` on, after steps that had these `losses`,
        where a training goes on. Raises `UsageError` if its epochs were not looked at."""
        past = past or Past()
        self._began = self._clock() - past.seconds
        epochs = len(losses) // self._rows
        if self._validates and not epochs - 1 <= len(past.looks) <= epochs:
            raise UsageError(
                "the validation set was not looked at after each epoch of the run saved",
                help="give --steps again, or begin anew without --resume",
            )
        if self._validates:
            scores: list[Score | None] = [
                Score(loss, None if math.isnan(a) else a) for loss, a in past.looks.tolist()
            ]
        else:
            scores = [None] * (epochs if self._stop_loss else 0)
        for epoch, score in enumerate(scores, 1):
            self.reason = ""
            self._look(losses[: epoch * self._rows], score, lambda: past.best_state)

    @property
    def past(self) -> Past:
        """What it has seen so far."""
        looks = np.array(self._looks).reshape(-1, 2)
        return Past(self._clock() - self._began, looks, self.best_state)

    def reached(
        self,
        losses: Sequence[float],
        validate: Callable[[], Score | None],
        state: Callable[[], bytes],
    ) -> bool:
        """Whether training ends here, after the steps that had these losses. `validate` tells how
        the net does on the validation set, None if it was interrupted; `state` is the net's."""
        due = len(losses) == (len(self.epochs) + 1) * self._rows
        if due and (self._validates or self._stop_loss):
            score = validate() if self._validates else None
            if score or not self._validates:
                self._on_epoch(self._look(losses, score, state))
        if not self.reason and 0 < self._max_time <= self._clock() - self._began:
            self.reason = "max_time"
        return self.reason != ""

    def _look(
        self, losses: Sequence[float], score: Score | None, state: Callable[[], bytes]
    ) -> EpochEnd:
        epoch, loss = len(losses) // self._rows, sum(losses[-self._rows :]) / self._rows
        lowest = self.best.validation if self.best else None
        better = score is not None and (
            lowest is None or score.loss < lowest.loss - self._min_delta
        )
        end = EpochEnd(epoch, len(losses), loss, score)
        self.epochs.append(end)
        if score is not None:
            accuracy = math.nan if score.accuracy is None else score.accuracy
            self._looks.append((score.loss, accuracy))
        if self._patience and better:
            self.best, self.best_state = end, state()
        if self._patience and self.best and epoch - self.best.epoch >= self._patience:
            self.reason = "early_stopping"
        elif loss < self._stop_loss:
            self.reason = "stop_loss"
        return end
