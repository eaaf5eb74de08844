"""The simulator computes what docs/semantics.md says, to the bit.

Of the nets of `test_steps_by_hand` every second by default, in turns, so that each optimizer meets
every activation, loss and preset; all of them with ``make verify`` (NNHOST_FULL_MATRIX=1).
"""

from __future__ import annotations

import os

import pytest
from reference.by_hand import Course, Net
from reference.nets import ROWS, dataset, plan

from nnhost.activations import ACTIVATIONS
from nnhost.curvature import Curvature
from nnhost.data import Dataset
from nnhost.initializers import INITIALIZERS
from nnhost.losses import LOSSES
from nnhost.lower import lower
from nnhost.optimizers import OPTIMIZERS
from nnhost.plan import NORM_OPTIMIZERS, PRESETS, Plan
from nnhost.schedules import SCHEDULES
from nnhost.simulator import Simulator

TRAININGS = [
    ("sgd", 1), ("sgd", 5), ("momentum", 1), ("momentum", 5), ("nesterov", 1), ("nesterov", 5),
    ("kfac", 1), ("kfac", 5),
]  # fmt: skip
ADAPTIVE = {
    "adagrad": (), "rmsprop": ("rho",), "adam": ("beta1", "beta2"), "adamw": ("beta1", "beta2"),
}  # fmt: skip
SIZES = [[2, 2], [3, 5, 4], [5], []]
FULL = "NNHOST_FULL_MATRIX" in os.environ


def test_all_optimizers_are_compared() -> None:
    assert {name for name, _ in TRAININGS} | set(ADAPTIVE) == set(OPTIMIZERS)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_steps_by_hand(activation: str, loss: str, preset: str) -> None:
    """An epoch with each optimizer, over the hidden layers, inits, kinds of data, rates."""
    tasks = [("classification", 2), ("classification", 3)]
    real = LOSSES[loss].real_targets
    tasks += [("regression", 1), ("regression", 2)] if real else []
    inits = list(INITIALIZERS)
    turn = list(ACTIVATIONS).index(activation) + list(LOSSES).index(loss)
    turn += list(PRESETS).index(preset)
    for seed, (optimizer, batch) in enumerate(TRAININGS * 2):
        if not FULL and (seed + seed // 2 + turn) % 2:
            continue
        task, outputs = tasks[seed % len(tasks)]
        kind, lr = ("range", "z-score")[seed % 2], (0.3, 0.04, 0.001)[seed % 3]
        init, shape = inits[seed % len(inits)], SIZES[seed % len(SIZES)]
        data = dataset(seed, 4, outputs, task, kind)
        smoothing = (0.0, 0.15)[seed // 2 % 2] if LOSSES[loss].smooths else 0.0
        l1, l2 = (0.0, 0.003, 0.02)[seed // 2 % 3], (0.0, 0.05)[seed // 3 % 2]
        clip = (0.0, 0.04)[seed // len(TRAININGS)]
        dropout = (0.0, 0.3)[seed % 5 % 2]
        weights = (3.0, 0.0, 1.7)[:outputs] if seed % 3 == 1 and task != "regression" else ()
        made = plan(data, preset, loss, shape, activation, optimizer=optimizer, batch=batch,
                    dropout=(dropout,) * len(shape) if dropout else (), class_weights=weights,
                    lr=lr, init=init, label_smoothing=smoothing, l1=l1, l2=l2,
                    clip_value=clip)  # fmt: skip
        lone = outputs == 2 and task == "classification" and loss != "softmax-cross-entropy"
        net = Net([4, *shape, 1 if lone else outputs], activation, loss, preset, init, optimizer,
                  0.9, lr, batch, ROWS, kind, task == "regression", smoothing,
                  l1=l1, l2=l2, clip=clip, dropout=dropout, weights=weights)  # fmt: skip
        compare(net, made, data, seed)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("optimizer", ADAPTIVE)
def test_adaptive_steps_by_hand(optimizer: str, preset: str) -> None:
    """Two epochs of each, over losses, activations, batches, schedules, decays and clips."""
    losses, activations = list(LOSSES), list(ACTIVATIONS)
    for seed in range(6):
        loss, activation = losses[seed % len(losses)], activations[seed % len(activations)]
        task = "regression" if LOSSES[loss].real_targets and seed % 2 else "classification"
        kind, batch = ("range", "z-score")[seed % 2], (1, 5, 1, 12)[seed % 4]
        lr, shape = (0.004, 0.25, 1e-5)[seed % 3], SIZES[seed % len(SIZES)]
        keys = {
            "l1": (0.0, 0.003)[seed % 2], "l2": (0.02, 0.0, 0.5)[seed % 3],
            "epsilon": (1e-4, 1e-9, 0.1)[seed // 2 % 3],
        }  # fmt: skip
        clip, betas = (0.0, 0.03)[seed // 2 % 2], ((0.9, 0.999), (0.5, 0.97), (0.0, 0.9))[seed % 3]
        named = dict(zip(ADAPTIVE[optimizer], betas[-len(ADAPTIVE[optimizer]) :], strict=False))
        course = Course("one-cycle", 2, warmup=0.5) if seed % 3 == 1 else None
        data = dataset(seed, 4, 3, task, kind)
        made = plan(data, preset, loss, shape, activation, optimizer=optimizer, batch=batch, lr=lr,
                    clip_value=clip, epochs=2, **keys, **named,
                    **({"schedule": "one-cycle", "warmup": 0.5} if course else {}))  # fmt: skip
        net = Net([4, *shape, 3], activation, loss, preset, "glorot", optimizer, 0.9, lr, batch,
                  ROWS, kind, task == "regression", course=course, clip=clip,
                  betas=tuple(named.values()), **keys)  # fmt: skip
        compare(net, made, data, seed, epochs=2)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_clipping_by_the_norm_by_hand(optimizer: str, preset: str) -> None:
    """An epoch of each optimizer, over losses, activations, limits and batches."""
    losses, activations = list(LOSSES), list(ACTIVATIONS)
    betas = dict.fromkeys(ADAPTIVE.get(optimizer, ()), 0.9)
    start = list(OPTIMIZERS).index(optimizer)
    for seed in range(start, start + 4):
        loss, activation = losses[seed % len(losses)], activations[seed % len(activations)]
        batch = (1, 5, 1, 4)[seed % 4]
        most, shape = (1.0, 0.2, 0.01, 30.0)[seed % 4], SIZES[seed % len(SIZES)]
        weights = (1.0, 2.0, 0.5) if seed % 2 else ()
        clip = (0.0, 0.3)[seed // 2 % 2]
        course = Course("cosine", 2) if seed % 3 == 2 else None
        data = dataset(seed, 4, 3, "classification", "z-score")
        made = plan(data, preset, loss, shape, activation, optimizer=optimizer, lr=0.03,
                    batch=batch, clip_norm=most, clip_value=clip, class_weights=weights, epochs=2,
                    schedule="cosine" if course else "constant", **betas)  # fmt: skip
        net = Net([4, *shape, 3], activation, loss, preset, "glorot", optimizer, 0.9, 0.03, batch,
                  ROWS, "z-score", real=False, course=course, clip=clip, clip_norm=most,
                  weights=weights, betas=tuple(betas.values()))  # fmt: skip
        compare(net, made, data, seed)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_batch_norm_by_hand(activation: str, preset: str) -> None:
    """An epoch with each optimizer and loss, over batches, of which some end early, rates, clips
    and shares of units that rest."""
    losses = list(LOSSES)
    optimizers = NORM_OPTIMIZERS
    start = list(ACTIVATIONS).index(activation)
    for seed in range(start, start + len(optimizers)):
        loss, optimizer = losses[seed % len(losses)], optimizers[seed % len(optimizers)]
        real = LOSSES[loss].real_targets and seed % 2 == 1
        task, batch = "regression" if real else "classification", (5, 4, 12, 2)[seed % 4]
        kind, shape = ("range", "z-score")[seed % 2], ([3], [4, 3])[seed % 2]
        lr, clip, l1 = (0.3, 0.01)[seed % 2], (0.0, 0.04)[seed // 2 % 2], (0.0, 0.003)[seed % 2]
        data = dataset(seed, 4, 3, task, kind)
        course = Course("cosine", 2) if seed % 3 == 2 else None
        weights = () if real or seed % 3 == 1 else (1.0, 2.0, 0.5)
        dropout, most = (0.0, 0.3)[seed % 2], (0.0, 0.0, 0.5)[seed % 3]
        betas = dict.fromkeys(ADAPTIVE.get(optimizer, ()), 0.9)
        made = plan(data, preset, loss, shape, activation, optimizer=optimizer, batch=batch, lr=lr,
                    clip_value=clip, l1=l1, epochs=2, batch_norm=True, class_weights=weights,
                    dropout=(dropout,) * len(shape) if dropout else (), clip_norm=most,
                    schedule="cosine" if course else "constant", **betas)  # fmt: skip
        net = Net([4, *shape, 3], activation, loss, preset, "glorot", optimizer, 0.9, lr, batch,
                  ROWS, kind, real, course=course, clip=clip, l1=l1, norm=True, dropout=dropout,
                  weights=weights, clip_norm=most, betas=tuple(betas.values()))  # fmt: skip
        compare(net, made, data, seed)


COURSES = [
    {},
    {"warmup": 1.5, "lr_min": 0.01},
    {"decay": 0.3, "decay_every": 2, "cycle": 2, "cycle_growth": 1, "rise": 0.7, "patience": 0},
    {"warmup": 0.2, "lr_min": 0.005, "decay": 0.9, "cycle": 3, "patience": 1},
]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_by_hand(schedule: str, preset: str) -> None:
    """Seven epochs with each schedule, over losses, optimizers, batches and keys."""
    losses = list(LOSSES)
    for seed, keys in enumerate(COURSES * 2):
        if schedule == "constant" and "warmup" not in keys:
            continue
        optimizer, batch = TRAININGS[seed % len(TRAININGS)]
        loss = losses[seed % len(losses)]
        data = dataset(seed, 4, 3, "classification", "z-score")
        lr = (0.25, 0.03)[seed // 2 % 2]
        l1, l2 = (0.0, 0.01)[seed % 2], (0.0, 0.1)[seed // 2 % 2]
        clip = (0.0, 0.02, 0.3)[seed % 3]
        made = plan(data, preset, loss, [3], "tanh", optimizer=optimizer, batch=batch, lr=lr,
                    epochs=7, schedule=schedule, l1=l1, l2=l2, clip_value=clip,
                    **keys)  # fmt: skip
        net = Net([4, 3, 3], "tanh", loss, preset, "glorot", optimizer, 0.9, lr, batch, ROWS,
                  "z-score", real=False, course=Course(schedule, 7, **keys),
                  l1=l1, l2=l2, clip=clip)  # fmt: skip
        compare(net, made, data, seed, epochs=7)


def compare(net: Net, made: Plan, data: Dataset, seed: int, epochs: int = 1) -> None:
    """Step both through epochs and compare all that a board reports."""
    simulator = Simulator(lower(made))
    simulator.reset(seed)
    net.reset(seed)
    assert simulator.state() == net.state()
    for _ in range(epochs):
        compare_epoch(net, made, simulator, data)
    if made.optimizer == "kfac":
        samples, damping = made.samples(data.x_train, data.y_train), (0.1, 0.01)[seed % 2]
        Curvature(made, simulator.program, samples, 100, damping).refresh(simulator.memory)
        rows = [net.quantised(x) for x in data.x_train.tolist()]
        targets = samples.target.tolist()
        net.refresh(list(zip(rows, targets, strict=True)), len(made.classes), damping)
        assert simulator.state() == net.state()
        compare_epoch(net, made, simulator, data)


def compare_epoch(net: Net, made: Plan, simulator: Simulator, data: Dataset) -> None:
    samples = made.samples(data.x_train, data.y_train)
    simulator.epoch()
    rows = [r for r in map(simulator.pick, range(2**made.order_bits)) if r < ROWS]
    assert rows == list(net.epoch())
    for i, row in enumerate(rows):
        first, last = i % net.B == 0, (i + 1) % net.B == 0 or i + 1 == ROWS
        x = net.quantised(data.x_train[row].tolist())
        y = samples.target[row].tolist()
        step = simulator.step(samples.x[row], samples.target[row], first, last)
        simulator.run("report")
        logits = net.forward(x)
        loss, milli = net.measure(y)
        assert simulator.memory["logits"].tolist() == logits
        assert (step.loss, simulator.memory["milli"]) == (loss, milli)
        assert step.prediction == net.prediction()
        net.backward()
        net.update(first, last)
        assert simulator.state() == net.state()
    simulator.evaluate(samples.x[0], samples.target[0])
    logits = net.forward(net.quantised(data.x_train[0].tolist()), training=False)
    assert simulator.memory["logits"].tolist() == logits
