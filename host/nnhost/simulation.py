"""Training without a board, to the bits of one."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from time import monotonic

import numpy as np

from nnhost.curvature import curvature_of
from nnhost.ending import Ending, OnEpoch
from nnhost.errors import UsageError
from nnhost.generate import Network, prepare
from nnhost.native import NativeEngine
from nnhost.outcome import Progress, Result, Score, length, prequential
from nnhost.plan import Samples
from nnhost.project import Project
from nnhost.simulator import Simulator, Step
from nnhost.train import Visit, visits, visits_in_order

#: The native engine makes about this many steps between two reports, in whole epochs.
_STRIDE = 8192

OnStep = Callable[[Progress], None]
#: Is told the last of some steps and the losses of all of them.
OnSteps = Callable[[Progress, Sequence[float]], None]


def _ignore(last: Progress, losses: Sequence[float]) -> None:
    pass


def simulate(
    project: Project,
    engine: str = "numpy",
    epochs: int | None = None,
    steps: int | None = None,
    on_step: OnStep | None = None,
) -> Result:
    """Train the project's net on this computer; the state at the end is the board's, to the bit.

    Trains for `epochs`, or for `steps` training steps of one sample each, or as nn.toml says.
    `engine` is "numpy", the reference, or "native", the C that a board runs, compiled for this
    computer: some hundred times as fast. `on_step` is called after every step.
    Raises `NnhostError` for the user's mistakes.
    """
    network = prepare(project)
    rows = network.plan.rows

    def tell(last: Progress, losses: Sequence[float]) -> None:
        if on_step is not None:
            for step, loss in enumerate(losses, last.step - len(losses) + 1):
                on_step(Progress(step, -(-step // rows), loss, None))

    return simulate_network(network, engine, epochs, steps, tell)


def simulate_network(
    network: Network,
    engine: str,
    epochs: int | None,
    steps: int | None,
    on_steps: OnSteps,
    on_epoch: OnEpoch = lambda end: None,
) -> Result:
    """`simulate` for a project that has been prepared."""
    if engine not in _ENGINES:
        raise UsageError(f'unknown engine "{engine}"', help=f"choose {' or '.join(_ENGINES)}")
    ending = Ending(network, steps, on_epoch)
    return _ENGINES[engine](network, length(network, epochs, steps), on_steps, ending)


def schedule(simulator: Simulator, network: Network, total: int, done: int = 0) -> Iterator[Visit]:
    """The steps to make from the simulator's reset on, or from the state after `done` steps, which
    it must have been given; it must have made one before the next. The inverse factors of K-FAC are
    those that the step needs."""
    if done == 0:
        simulator.reset(network.project.train.seed)
    epochs = -(-total // network.plan.rows)
    steps = visits(network.plan, simulator.epoch, simulator.pick, epochs, done)
    if network.online:
        steps = islice(visits_in_order(network.plan), done, None)
    curvature = curvature_of(network)
    for visit in islice(steps, total - done):
        if curvature and curvature.due(visit.step):
            curvature.refresh(simulator.memory)
        yield visit


def make(simulator: Simulator, network: Network, visit: Visit) -> Step:
    """Let the simulator make a step."""
    sample = network.sample(visit)
    return simulator.step(sample.x[0], sample.target[0], visit.first, visit.last)


def rehearse(
    simulator: Simulator, network: Network, total: int, done: int = 0
) -> Iterator[tuple[Visit, Step]]:
    """Train the simulator as `schedule` says; yields each step once it has been made."""
    for visit in schedule(simulator, network, total, done):
        yield visit, make(simulator, network, visit)


def _numpy(network: Network, total: int, on_steps: OnSteps, ending: Ending) -> Result:
    plan = network.plan
    simulator = Simulator(network.program)
    losses = array("d")
    right: list[bool | None] = []

    def score(samples: Samples | None) -> Score | None:
        if samples is None:
            return None
        steps = [
            simulator.evaluate(x, target)
            for x, target in zip(samples.x, samples.target, strict=True)
        ]
        return Score.of(plan, samples, [s.loss for s in steps], [s.prediction for s in steps])

    began = monotonic()
    ending.begin()
    for visit, step in rehearse(simulator, network, total):
        losses.append(step.loss * plan.loss_scale)
        right.append(network.judged(visit.row, step.prediction))
        on_steps(Progress(visit.step, visit.epoch, losses[-1], None, right[-1]), losses[-1:])
        if ending.reached(losses, lambda: score(network.validation), simulator.state):
            break
    seconds = monotonic() - began
    if ending.best:
        simulator.set_state(ending.best_state)
    scores = score(network.train), score(network.test)
    return _result(network, losses, right, scores, seconds, simulator.state(), ending)


def _result(
    network: Network,
    losses: array[float],
    right: Sequence[bool | None],
    scores: tuple[Score | None, Score | None],
    seconds: float,
    state: bytes,
    ending: Ending,
) -> Result:
    return Result(
        len(losses),
        network.plan.rows,
        np.array(losses),
        *scores,
        None,
        seconds,
        state,
        ended_by=ending.reason,
        looked_at=tuple(ending.epochs),
        best=ending.best,
        prequential=prequential(losses, right) if network.online else None,
    )


def _native(network: Network, total: int, on_steps: OnSteps, ending: Ending) -> Result:
    engine = NativeEngine(network.plan, network.program)
    return train_native(engine, network, total, ending, on_steps)


def train_native(
    engine: NativeEngine,
    network: Network,
    total: int,
    ending: Ending,
    on_steps: OnSteps = _ignore,
) -> Result:
    """Train `total` steps from a reset, or up to its `ending`, on an engine of the plan."""
    plan = network.plan
    engine.reset(network.project.train.seed)
    epochs = -(-total // plan.rows)
    losses = array("d")
    right: list[bool | None] = []

    def score(samples: Samples | None) -> Score | None:
        if samples is None:
            return None
        found, predictions = engine.evaluate(samples)
        return Score.of(plan, samples, found.tolist(), predictions.tolist())

    began = monotonic()
    ending.begin()
    curvature = curvature_of(network)
    alike = network.augmentation is None and not ending.looks
    stretch = plan.rows * (max(1, _STRIDE // plan.rows) if alike else 1)
    while len(losses) < total:
        stride = min(stretch - len(losses) % stretch, total - len(losses))
        if curvature:
            stride = min(stride, curvature.every - len(losses) % curvature.every)
            if curvature.due(len(losses) + 1):
                engine.set_state(curvature.refreshed(engine.state()))
        samples = network.samples(len(losses) // plan.rows + 1)
        if network.online:
            found, told = engine.follow(samples[len(losses) : len(losses) + stride])
            for row, prediction in enumerate(told.tolist(), len(losses)):
                right.append(network.judged(row, prediction))
        else:
            found = engine.train(samples, epochs, stride)
        losses.extend((found * plan.loss_scale).tolist())
        step = len(losses)
        on_steps(Progress(step, -(-step // plan.rows), losses[-1], None), losses[-stride:])
        if ending.reached(losses, lambda: score(network.validation), engine.state):
            break
    seconds = monotonic() - began
    if ending.best:
        engine.set_state(ending.best_state)
    scores = score(network.train), score(network.test)
    return _result(network, losses, right, scores, seconds, engine.state(), ending)


_ENGINES = {"numpy": _numpy, "native": _native}
