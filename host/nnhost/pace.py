"""The pace of training: the learning rate of every update, stage after stage.

A schedule's curve is cut into stages when the net is planned. The board counts its updates, or
compares the losses of its epochs, and looks the rate of the current stage up in a table. Count
and stage are part of the training state.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from nnhost.errors import UsageError
from nnhost.fixed import nearest
from nnhost.ir import (
    INT32,
    Buffer,
    Const,
    Expr,
    Interval,
    Map,
    minimum,
    sel,
    table,
)
from nnhost.project import TrainSpec
from nnhost.schedules import SCHEDULES, Course, Stage, staircase

#: More fraction bits of the update's factor than without a schedule, so that low rates keep some.
FINER = 7
#: Stages of the warm-up.
WARM_STAGES = 8
#: The stage fits a byte.
MAX_STAGES = 255
#: A loss has to fall by more than this share, as a shift, or it stands still.
THRESHOLD = 13


@dataclass(frozen=True)
class Pace:
    """`rates`: the update's factor m in each stage. `until`: updates after which the first stages
    end, one after the other. What follows them ends after more than `patience` epochs in which the
    loss stood still; without patience (None) there is one stage more than `until` has entries."""

    rates: tuple[int, ...]
    until: tuple[int, ...]
    patience: int | None


def make_pace(train: TrainSpec, updates: int, rate: float) -> Pace | None:
    """The pace of `train` with `updates` an epoch; `rate`: the update's factor at the full
    learning rate. None where it never changes. Raises UsageError."""
    if train.schedule == "constant" and not train.warmup:
        return None
    if train.lr_min > train.lr:
        raise UsageError(
            f"[train] lr_min = {train.lr_min:g} is above lr = {train.lr:g}",
            help=f"set lr_min to at most {train.lr:g}",
        )
    if train.warmup >= train.epochs:
        raise UsageError(
            f"[train] warmup = {train.warmup:g} leaves nothing of the {train.epochs} epochs",
            help=f"set warmup below {train.epochs}",
        )
    schedule = SCHEDULES[train.schedule]
    course = Course(
        train.epochs - train.warmup, train.lr_min / train.lr, train.decay, train.decay_every,
        train.cycle, train.cycle_growth, train.rise, train.patience,
    )  # fmt: skip
    stages = schedule.stages(course)
    timed = [] if schedule.adaptive else [
        replace(s, until=s.until + train.warmup) for s in stages
    ]  # fmt: skip
    if train.warmup:
        timed = staircase(0, train.warmup, WARM_STAGES, lambda t: t) + timed
    rates, until = _merged(timed, updates, rate)
    if schedule.adaptive:
        rates += [nearest(rate * s.share) for s in stages]
    else:
        until = until[:-1]
    if len(rates) > MAX_STAGES:
        raise UsageError(
            f"schedule {train.schedule} has {len(rates)} stages, and room for {MAX_STAGES}",
            help="raise decay_every, cycle or cycle_growth in [train]",
        )
    return Pace(tuple(rates), tuple(until), train.patience if schedule.adaptive else None)


def _merged(stages: list[Stage], updates: int, rate: float) -> tuple[list[int], list[int]]:
    """Rates and ends in updates, without stages that are over before they begin or change
    nothing."""
    rates: list[int] = []
    until: list[int] = []
    for stage in stages:
        end = nearest(stage.until * updates)
        if end <= (until[-1] if until else 0):
            continue
        if rates and rates[-1] == nearest(rate * stage.share):
            until[-1] = end
            continue
        rates.append(nearest(rate * stage.share))
        until.append(end)
    return rates, until


@dataclass(frozen=True)
class Paced:
    """What a paced Program needs: its `stage` and other `state`; and Maps for the sections init,
    update (at its end) and epoch (at its start)."""

    stage: Buffer
    state: tuple[Buffer, ...]
    init: list[Map]
    update: list[Map]
    epoch: list[Map]
    tables: dict[str, Buffer] = field(default_factory=dict)

    def chosen(self, name: str, factors: tuple[int, ...]) -> Expr:
        """The factor of the current stage, from a table of that name."""
        doc = "an update's factor, a stage each"
        return self.tables.setdefault(name, table(name, list(factors), doc))[self.stage()]


def lower_pace(pace: Pace, loss: Expr, last: Expr) -> Paced:
    """The Maps of a pace. `loss`: of a sample, in 256ths; `last`: 1 as an update is made."""
    end = len(pace.rates) - 1
    stage = Buffer("stage", (), Interval(0, end), "state", doc="stage of the schedule")
    begin = Map("init_stage", stage, (), Const(0), doc="the first")
    paced = Paced(stage, (stage,), [begin], [], [])
    if pace.until:
        paced = _timed(pace, paced, stage, last)
    return paced if pace.patience is None else _adaptive(pace, paced, stage, loss)


def _timed(pace: Pace, paced: Paced, stage: Buffer, last: Expr) -> Paced:
    count = len(pace.until)
    until = table("until", list(pace.until), "updates after which a stage ends")
    updates = Buffer("updates", (), Interval(0, pace.until[-1]), "state",
                     doc="updates made, at most to the end of the last timed stage")  # fmt: skip
    over = sel(stage() < Const(count), until[minimum(stage(), count - 1)] < updates() + 1, 0)
    return replace(
        paced,
        state=(updates, *paced.state),
        init=[Map("init_updates", updates, (), Const(0), doc="none yet"), *paced.init],
        update=[
            Map("count_update", updates, (), minimum(updates() + 1, pace.until[-1]), last,
                "updates made"),
            Map("next_stage", stage, (), minimum(stage() + over, len(pace.rates) - 1), last,
                "the stage after as many updates"),
        ],
    )  # fmt: skip


def _adaptive(pace: Pace, paced: Paced, stage: Buffer, loss: Expr) -> Paced:
    assert pace.patience is not None
    # One bit less than the best one has: the worst sum is still better than none.
    most = INT32.hi >> 1
    total = Buffer("epoch_loss", (), Interval(0, most), "state",
                   doc="sum of the epoch's losses, in 256ths")  # fmt: skip
    best = Buffer("best_loss", (), Interval(0, INT32.hi), "state", doc="least sum of an epoch")
    waited = Buffer("waited", (), Interval(0, pace.patience + 1), "state",
                    doc="epochs that were no better")  # fmt: skip
    better = total() < best() - (best() >> THRESHOLD)
    warm = len(pace.until)
    worse = minimum(waited() + 1, pace.patience + 1)
    tired = Const(pace.patience) < waited()
    end = len(pace.rates) - 1
    return replace(
        paced,
        state=(*paced.state, total, best, waited),
        init=[
            *paced.init,
            Map("init_epoch_loss", total, (), Const(most), doc="the worst"),
            Map("init_best_loss", best, (), Const(INT32.hi), doc="worse than the worst"),
            Map("init_waited", waited, (), Const(0), doc="none"),
        ],
        update=[
            Map("sum_loss", total, (), minimum(total() + loss, most),
                doc="loss of the epoch so far"),
            *paced.update,
        ],
        epoch=[
            Map("wait", waited, (), sel(better, 0, sel(stage() < Const(warm), 0, worse)),
                doc="epochs that were no better"),
            Map("best_loss", best, (), sel(better, total(), best()), doc="least sum of an epoch"),
            Map("lower_rate", stage, (), minimum(stage() + tired, end), doc="patience is over"),
            Map("wait_again", waited, (), sel(tired, 0, waited()), doc="from the new rate on"),
            Map("init_sum", total, (), Const(0), doc="nothing yet"),
        ],
    )  # fmt: skip
