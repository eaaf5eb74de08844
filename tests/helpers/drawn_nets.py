"""Random nets for property tests: every layer, loss, optimizer, preset and edge that nnhost has."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nnhost.activations import ACTIVATIONS
from nnhost.data import Dataset, Scaling
from nnhost.errors import UsageError
from nnhost.generate import Network
from nnhost.initializers import INITIALIZERS
from nnhost.ir import Draw, Program
from nnhost.layers.dense import INVERSE
from nnhost.losses import LOSSES
from nnhost.lower import lower
from nnhost.optimizers import OPTIMIZERS
from nnhost.plan import PRESETS, make_plan
from nnhost.project import BoardSpec, BuildSpec, DataSpec, NetSpec, Project, TrainSpec
from nnhost.schedules import SCHEDULES


def _inputs(rng: random.Random, rows: int, width: int, kind: str) -> np.ndarray:
    """Inputs of a kind, among them zeros and values at and beyond the format's ends."""
    edges = [0.0, 1.0, 2.0] if kind == "range" else [0.0, -5.0, 5.0]
    low, high = (0.0, 1.0) if kind == "range" else (-3.0, 3.0)

    def value() -> float:
        return rng.choice(edges) if rng.random() < 0.3 else rng.uniform(low, high)

    return np.array([[value() for _ in range(width)] for _ in range(rows)])


def _schedule(rng: random.Random) -> dict[str, Any]:
    """Keys of a schedule; none in half of the nets."""
    if rng.random() < 0.5:
        return {}
    return {
        "schedule": rng.choice(sorted(SCHEDULES)),
        "warmup": rng.choice([0.0, 0.5, 0.9]),
        "lr_min": rng.choice([0.0, 2.0**-10]),
        "decay": rng.choice([None, 0.5, 0.9]),
        "decay_every": rng.choice([None, 1]),
        "cycle_growth": rng.choice([1, 2]),
        "rise": rng.choice([0.3, 0.7]),
        "patience": rng.choice([0, 1]),
    }


def _class_weights(rng: random.Random, classes: int) -> tuple[float, ...]:
    """None in half of the nets."""
    if rng.random() < 0.5:
        return ()
    return (*(rng.choice([0.0, 0.3, 1.0, rng.uniform(0, 3)]) for _ in range(classes - 1)), 1.5)


def _optimizer(rng: random.Random, more: random.Random) -> str:
    """The first three as they have always been drawn, so that known seeds keep their nets."""
    drawn = rng.choice(["momentum", "nesterov", "sgd"])
    return more.choice([*[drawn] * 3, "kfac"])


def _with_factors(program: Program, more: random.Random) -> Program:
    """In half of the nets K-FAC's inverse factors are no identity: they are drawn on the chip."""
    if more.random() < 0.5:
        return program
    init = []
    for m in program.sections["init"]:
        if INVERSE in m.dst.name:
            bits = m.dst.interval.hi.bit_length()
            m = replace(m, expr=(Draw() - 32768) >> (15 - bits))
        init.append(m)
    return replace(program, sections=program.sections | {"init": init})


def _adaptive(rng: random.Random) -> dict[str, Any]:
    """Keys of an adaptive optimizer; none in most nets."""
    if rng.random() < 0.6:
        return {}
    return {
        "optimizer": rng.choice(sorted(n for n, o in OPTIMIZERS.items() if o.adaptive)),
        "lr": 2.0 ** rng.uniform(-14, -2),
        "beta1": rng.choice([0.0, 0.5, 0.9, 0.99]),
        "beta2": rng.choice([0.0, 0.9, 0.999, 0.9999]),
        "rho": rng.choice([0.0, 0.9, 0.99]),
        "epsilon": 2.0 ** rng.uniform(-20, 2),
    }


def _together(project: Project, late: random.Random) -> Project:
    """What whole batches may have as well: clipping by the norm, and batch normalisation with
    dropout and adaptive optimizers."""
    net, train = project.net, project.train
    if train.batch == 1:
        return project
    if late.random() < 0.3:
        train = replace(train, clip_norm=2.0 ** late.uniform(-8, 4))
    if net.batch_norm:
        if late.random() < 0.5:
            net = replace(net, dropout=())
        if len(net.hidden) < 3:  # their code fits an 8051's 64 KB
            train = replace(train, **_adaptive(late))
    return replace(project, net=net, train=train)


def _attempt(rng: random.Random, more: random.Random, late: random.Random) -> Network:
    loss = rng.choice(sorted(LOSSES))
    regression = LOSSES[loss].real_targets and rng.random() < 0.4
    hidden = tuple(rng.randint(1, 12) for _ in range(rng.choice([0, 1, 1, 2, 3])))
    rows, width = rng.randint(2, 9), rng.choice([1, 2, 3, 5, 8, 13, 17, 33])
    kind = rng.choice(["range", "z-score"])
    x = _inputs(rng, rows, width, kind)
    classes: tuple[str, ...] = ()
    if regression:
        y: np.ndarray = np.array(
            [[rng.uniform(-5, 5) for _ in range(rng.randint(1, 3))]] * rows
        ) * np.linspace(-1, 1, rows).reshape(-1, 1)
    else:
        classes = tuple(str(c) for c in range(rng.choice([2, 2, 3, 6])))
        y = np.array([rng.randrange(len(classes)) for _ in range(rows)])
    project = Project(
        Path(),
        NetSpec(
            hidden,
            tuple(rng.choice(sorted(ACTIVATIONS)) for _ in hidden),
            loss,
            rng.choice(sorted(PRESETS)),
            rng.choice(sorted(INITIALIZERS)),
            dropout=more.choice([(), (), tuple(more.choice([0.0, 0.2, 0.5]) for _ in hidden)]),
        ),
        TrainSpec(
            _optimizer(rng, more),
            2.0 ** rng.uniform(-10, 1),
            rng.choice([0.0, 0.5, 0.9, 0.99]),
            rng.choice([1, 1, 2, 3, 0]),
            rng.choice([1, 2, 3]),
            rng.randint(1, 65535),
            clip_value=rng.choice([0.0, 0.0, 2.0 ** rng.uniform(-8, 2)]),
            l1=rng.choice([0.0, 0.0, 2.0 ** rng.uniform(-16, -4)]),
            l2=rng.choice([0.0, 0.0, 2.0 ** rng.uniform(-16, -2)]),
            **_schedule(rng),
            class_weights=() if regression else _class_weights(more, len(classes)),
            label_smoothing=rng.choice([0.0, 0.1, 0.5]) if LOSSES[loss].smooths else 0.0,
        ),
        DataSpec("drawn", 0.0, "none", "flash", None),
        BoardSpec("host"),
        BuildSpec("auto"),
    )
    if hidden and project.train.batch != 1 and rng.random() < 0.4:
        project = replace(project, net=replace(project.net, batch_norm=True))
    if not project.net.batch_norm:
        project = replace(project, train=replace(project.train, **_adaptive(more)))
    if project.train.batch == 1 and more.random() < 0.3:
        most = 2.0 ** more.uniform(-10, 4)
        project = replace(project, train=replace(project.train, clip_norm=most))
    project = _together(project, late)
    none = Scaling(kind, np.zeros(width), np.ones(width))
    empty = x[:0]
    dataset = Dataset(
        "drawn", "regression" if regression else "classification", kind, x, y, empty, y[:0],
        classes, tuple(f"x{i}" for i in range(width)), none, None,
    )  # fmt: skip
    plan = make_plan(project, dataset)
    program = _with_factors(lower(plan), more)
    return Network(project, plan, program, plan.samples(x, y), plan.samples(empty, y[:0]))


def draw(seed: int) -> Network:
    """The net of a seed: the same on every machine. Refused ones are drawn again."""
    rng, more, late = random.Random(seed), random.Random(-1 - seed), random.Random(seed + (1 << 32))
    while True:
        try:
            return _attempt(rng, more, late)
        except UsageError:
            continue


def first_rows(network: Network, rows: int) -> Network:
    """The same training on the first rows alone."""
    train = network.train
    part = replace(train, x=train.x[:rows], target=train.target[:rows])
    plan = replace(network.plan, rows=rows)
    return Network(network.project, plan, lower(plan), part, network.test)


def describe(network: Network) -> str:
    """A line that tells a drawn net."""
    plan = network.plan
    return (
        f"{'-'.join(map(str, plan.sizes))} {network.project.net} {network.project.train}"
        f" rows {plan.rows}"
    )
