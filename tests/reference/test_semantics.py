"""The simulator computes what docs/semantics.md says, to the bit."""

from __future__ import annotations

import pytest
from reference.by_hand import Net
from reference.nets import ROWS, dataset, plan

from nnhost.activations import ACTIVATIONS
from nnhost.data import Dataset
from nnhost.initializers import INITIALIZERS
from nnhost.losses import LOSSES
from nnhost.lower import lower
from nnhost.optimizers import OPTIMIZERS
from nnhost.plan import PRESETS, Plan
from nnhost.simulator import Simulator

TRAININGS = [("sgd", 1), ("sgd", 5), ("momentum", 1), ("momentum", 5)]
SIZES = [[2, 2], [3, 5, 4], [5], []]


def test_all_optimizers_are_compared() -> None:
    assert {name for name, _ in TRAININGS} == set(OPTIMIZERS)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_steps_by_hand(activation: str, loss: str, preset: str) -> None:
    """An epoch with each optimizer, over the hidden layers, inits, kinds of data, rates."""
    tasks = [("classification", 2), ("classification", 3)]
    real = LOSSES[loss].real_targets
    tasks += [("regression", 1), ("regression", 2)] if real else []
    inits = list(INITIALIZERS)
    for seed, (optimizer, batch) in enumerate(TRAININGS * 2):
        task, outputs = tasks[seed % len(tasks)]
        kind, lr = ("range", "z-score")[seed % 2], (0.3, 0.04, 0.001)[seed % 3]
        init, shape = inits[seed % len(inits)], SIZES[seed % len(SIZES)]
        data = dataset(seed, 4, outputs, task, kind)
        smoothing = (0.0, 0.15)[seed // 2 % 2] if LOSSES[loss].smooths else 0.0
        made = plan(data, preset, loss, shape, activation, optimizer=optimizer, batch=batch,
                    lr=lr, init=init, label_smoothing=smoothing)  # fmt: skip
        lone = outputs == 2 and task == "classification" and loss != "softmax-cross-entropy"
        net = Net([4, *shape, 1 if lone else outputs], activation, loss, preset, init, optimizer,
                  0.9, lr, batch, ROWS, kind, task == "regression", smoothing)  # fmt: skip
        compare(net, made, data, seed)


def compare(net: Net, made: Plan, data: Dataset, seed: int) -> None:
    """Step both through an epoch and compare all that a board reports."""
    simulator = Simulator(lower(made))
    samples = made.samples(data.x_train, data.y_train)
    simulator.reset(seed)
    net.reset(seed)
    assert simulator.state() == net.state()
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
