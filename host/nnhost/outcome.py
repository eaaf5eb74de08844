"""What training reports, whoever trains: every step, and a `Result` at the end."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from nnhost.errors import UsageError
from nnhost.generate import Network
from nnhost.link import Counters
from nnhost.plan import Plan, Samples

MOST_EPOCHS = 65535


@dataclass(frozen=True)
class Progress:
    """A training step that has been made.

    `step` and `epoch` count from 1; `loss` is a real number. `right`, online: whether the sample
    was classified rightly before it was learned. `exact` tells whether everything the
    board has reported through this step is what the simulator computes, None if nothing compares.
    """

    step: int
    epoch: int
    loss: float
    exact: bool | None
    right: bool | None = None

    def event(self) -> dict[str, object]:
        """The object that `--json` prints."""
        told = asdict(self)
        if self.right is None:
            del told["right"]
        return {"event": "step", **told}


@dataclass(frozen=True)
class Score:
    """How a net does on a set: mean loss, and the share of right classes (None: regression)."""

    loss: float
    accuracy: float | None

    @classmethod
    def of(
        cls, plan: Plan, samples: Samples, losses: Sequence[int], predictions: Sequence[int]
    ) -> Score | None:
        """The score of integer losses and predicted classes, shapes (N,); None where N is 0."""
        if len(samples) == 0:
            return None
        loss = float(np.mean(losses, dtype=np.float64)) * plan.loss_scale
        if plan.task == "regression":
            return cls(loss, None)
        return cls(loss, float(np.mean(np.asarray(predictions) == samples.target)))


@dataclass(frozen=True)
class EpochEnd:
    """The end of an epoch that was looked at: `loss` is the mean of its steps, `validation` how the
    net does on the validation set after `step` steps, None where there is no such set."""

    epoch: int
    step: int
    loss: float
    validation: Score | None

    def event(self) -> dict[str, object]:
        """The object that `--json` prints."""
        return {
            "event": "epoch", "epoch": self.epoch, "step": self.step, "loss": self.loss,
            **_score("validation", self.validation),
        }  # fmt: skip


def _score(name: str, score: Score | None) -> dict[str, object]:
    if score is None:
        return {}
    return {f"{name}_loss": score.loss, f"{name}_accuracy": score.accuracy}


def prequential(losses: Sequence[float], right: Sequence[bool | None]) -> Score | None:
    """The score of samples that were each tested and then learned (Dawid, 1984); None of none."""
    if not losses:
        return None
    known = [r for r in right if r is not None]
    return Score(float(np.mean(losses)), float(np.mean(known)) if known else None)


@dataclass(frozen=True, eq=False)
class Result:
    """A training run that has ended.

    `losses`: float64, shape (steps,). `train`, `test`: how the trained net does on the whole sets;
    None where there is nothing to test, or when the run was stopped. `exact`: True when a board
    was compared with the simulator throughout, None when nothing was compared (a difference is
    raised, not returned). `seconds` of training. `state`: weights, biases, the optimizer's
    slots, order and generator, as the board keeps them; empty where it could not be read.
    `ended_by`: the key of [train] that ended it before its last epoch, "" for none. `looked_at`:
    the epochs that were looked at; `best`: the one of them whose state this is, None if it is that
    after the last step. `prequential`, online: how each sample was met before it was learned.
    """

    steps: int
    rows: int
    losses: NDArray[np.float64]
    train: Score | None
    test: Score | None
    exact: bool | None
    seconds: float
    state: bytes
    stopped: bool = False
    link: Counters | None = None
    ended_by: str = ""
    looked_at: tuple[EpochEnd, ...] = ()
    best: EpochEnd | None = None
    prequential: Score | None = None

    @property
    def kept_step(self) -> int:
        """The step after which the net had this state."""
        return self.best.step if self.best else self.steps

    @property
    def validation(self) -> Score | None:
        """How this state does on the validation set, where that was looked at."""
        return next((e.validation for e in self.looked_at if e.step == self.kept_step), None)

    @property
    def validation_loss(self) -> float | None:
        """Mean loss of the trained net on the validation set."""
        return self.validation.loss if self.validation else None

    @property
    def validation_accuracy(self) -> float | None:
        """Share of the validation set that the trained net classifies rightly, 0 to 1."""
        return self.validation.accuracy if self.validation else None

    @property
    def epochs(self) -> int:
        """Epochs completed."""
        return self.steps // self.rows

    @property
    def loss(self) -> float:
        """Mean loss of the last epoch's steps, or of all if there are fewer."""
        return float(self.losses[-self.rows :].mean()) if self.steps else math.nan

    @property
    def train_loss(self) -> float | None:
        """Mean loss of the trained net on the training set."""
        return self.train.loss if self.train else None

    @property
    def test_loss(self) -> float | None:
        """Mean loss of the trained net on the held-out set."""
        return self.test.loss if self.test else None

    @property
    def train_accuracy(self) -> float | None:
        """Share of the training set that the trained net classifies rightly, 0 to 1."""
        return self.train.accuracy if self.train else None

    @property
    def test_accuracy(self) -> float | None:
        """Share of the held-out set that the trained net classifies rightly, 0 to 1."""
        return self.test.accuracy if self.test else None

    @property
    def digest(self) -> str | None:
        """Names the state: equal digests are equal states. None where it could not be read."""
        return digest(self.state) if self.state else None

    def event(self) -> dict[str, object]:
        """The object that `--json` prints."""
        names = ("train_accuracy", "test_accuracy", "train_loss", "test_loss", "exact", "digest")
        return {
            "event": "done",
            "steps": self.steps,
            "epochs": self.epochs,
            "loss": self.loss if self.steps else None,
            **{name: getattr(self, name) for name in names},
            "seconds": round(self.seconds, 3),
            "stopped": self.stopped,
            **({"ended_by": self.ended_by} if self.ended_by else {}),
            **({"best_epoch": self.best.epoch} if self.best else {}),
            **_score("validation", self.validation),
            **_score("prequential", self.prequential),
            **({"link": asdict(self.link)} if self.link else {}),
        }


def digest(state: bytes) -> str:
    """The first 16 hexadecimal digits of the state's SHA-256."""
    return hashlib.sha256(state).hexdigest()[:16]


def length(network: Network, epochs: int | None, steps: int | None) -> int:
    """How many steps to train: of `epochs` epochs, else `steps`, else as nn.toml says. `max_steps`
    of nn.toml holds but for `steps`. Online there is one for each row, at most.

    Raises `UsageError` for both at once, for numbers below 1, for more epochs than one online, and
    for more than a board counts.
    """
    rows = network.plan.rows
    if epochs is not None and steps is not None:
        raise UsageError("both epochs and steps are given", help="choose one of them")
    for name, number in (("epochs", epochs), ("steps", steps)):
        if number is not None and number < 1:
            raise UsageError(f"cannot train for {number} {name}", help="1 is the least")
    if network.online and epochs is not None and epochs > 1:
        raise UsageError(
            f"cannot train for {epochs} epochs: with online = true every sample comes once",
            help="leave the epochs out, or online",
        )
    planned, most = network.project.train.epochs, network.project.train.max_steps
    total = steps if steps is not None else (epochs or planned) * rows
    if steps is None and most:
        total = min(total, most)
    if network.online:
        total = min(total, rows)
    if total > MOST_EPOCHS * rows:
        raise UsageError(
            f"{total} steps are more than {MOST_EPOCHS} epochs", help="train for fewer"
        )
    if network.standalone and total != planned * rows:
        raise UsageError(
            f"the board trains by itself, for {planned} epochs as it was built",
            help='set epochs in [train] and flash again, or set delivery = "stream" in [data]',
        )
    return total
