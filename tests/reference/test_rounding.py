"""A training step in integers is the reference's step, but for rounding; wrong trees are not.

Of the nets of `test_steps_differ_by_rounding_alone` every second by default, in turns; all of them
with ``make verify`` (NNHOST_FULL_MATRIX=1).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reference.bounds import MaySaturate, batch_bounds, step_bounds, tensor_slots
from reference.nets import dataset, plan

from nnhost.activations import ACTIVATIONS
from nnhost.curvature import Curvature
from nnhost.data import Dataset
from nnhost.ir import Const, Expr, Program, maximum, total, wrap
from nnhost.layers.dense import INVERSE, Dense
from nnhost.losses import LOSSES
from nnhost.losses.base import Outputs
from nnhost.lower import lower
from nnhost.optimizers import OPTIMIZERS, Parameter
from nnhost.plan import NORM_OPTIMIZERS, PRESETS, Plan
from nnhost.reference import Reference
from nnhost.simulator import Simulator

OPTIMIZER_CASES = [("sgd", 1), ("sgd", 3), ("momentum", 3), ("nesterov", 1), ("nesterov", 3),
                   ("kfac", 1), ("kfac", 3)]  # fmt: skip
PLAIN = tuple(name for name in NORM_OPTIMIZERS if not OPTIMIZERS[name].adaptive)
FULL = "NNHOST_FULL_MATRIX" in os.environ
ADAPTIVE_CASES = [(n, b) for n, o in OPTIMIZERS.items() if o.adaptive for b in (1, 3)]


class Different(Exception):
    """The step differs from the reference's by more than rounding explains."""


def nets(
    preset: str, loss: str, activation: str, seed: int,
    optimizers: list[tuple[str, int]] = OPTIMIZER_CASES, **train: Any,
) -> Iterator[tuple[Plan, Dataset]]:  # fmt: skip
    """Plans with both input kinds and tasks, one and several outputs and layers, and optimizers."""
    tasks = [("classification", 3), ("classification", 2)]
    tasks += [("regression", 2)] if LOSSES[loss].real_targets else []
    smoothing = itertools.cycle((0.0, 0.2) if LOSSES[loss].smooths else (0.0,))
    clips = itertools.cycle((0.0, 0.05, 1000.0))
    decays = itertools.cycle(({}, {"l2": 0.02}, {"l1": 0.01}, {"l1": 0.02, "l2": 0.01}))
    schedules = itertools.cycle(("constant", "one-cycle", "exponential"))
    dropout = itertools.cycle((0.0, 0.0, 0.4))
    weights = itertools.cycle(((), (1.5, 0.25, 3.0)))
    shapes = itertools.cycle((("z-score", [4]), ("range", [6, 4])))
    for (task, outputs), (optimizer, batch) in itertools.product(tasks, optimizers):
        kind, hidden = next(shapes)
        data = dataset(seed, 5, outputs, task, kind)
        share = next(dropout)
        made = plan(data, preset, loss, hidden, activation, optimizer=optimizer, batch=batch,
                    dropout=(share,) * len(hidden) if share else (),
                    class_weights=next(weights)[:outputs] if task == "classification" else (),
                    label_smoothing=next(smoothing), schedule=next(schedules),
                    clip_value=next(clips), **next(decays), **train)  # fmt: skip
        yield made, data


def compare_steps(made: Plan, data: Dataset, start: int = 4) -> int:
    """Train on the data's rows and compare all steps from `start` on, each from equal weights.

    Returns how many were compared: those where nothing can saturate. Raises Different.
    """
    simulator, reference = Simulator(lower(made)), Reference(made)
    simulator.reset(7)
    turn(made, simulator)
    samples = made.samples(data.x_train, data.y_train)
    compared = 0
    for i in range(len(samples)):
        first, last = i % made.batch == 0, (i + 1) % made.batch == 0
        x = made.layers[0].input.real(samples.x[i])
        y = samples.target[i]
        if made.task == "regression":
            y = y * 2.0**-made.target_fraction
        reference.load(simulator.memory)
        step = simulator.step(samples.x[i], samples.target[i], first, last)
        if i < start:
            continue
        if made.drops:
            reference.masks = [
                (simulator.memory[f"chance{p.number}"] >> 8 < p.keep).astype(float)
                for p in made.layers[:-1]
            ]
        try:
            bounds = step_bounds(reference, x, y, first, last)
        except MaySaturate:
            continue
        p = reference.backward(x, y)
        reference.step(x, y, first, last)
        after = Reference(made)
        after.load(simulator.memory)
        near("loss", step.loss * made.loss_scale, p.loss, bounds.loss)
        for k, layer in enumerate(made.layers):
            delta = simulator.memory[f"delta{k + 1}"] * 2.0**-layer.delta_fraction
            scale = made.loss.gradient_scale(made.n_outputs)
            near(f"delta {k + 1}", delta, p.deltas[k] / scale, bounds.deltas[k])
            pairs = [(after.weights, reference.weights, bounds.weights),
                     (after.biases, reference.biases, bounds.biases)]  # fmt: skip
            pairs += [
                (after.slots[slot], reference.slots[slot], bounds.slots[slot])
                for name in made.slots
                for slot in (name, f"bias_{name}")
            ]
            for found, expected, allowed in pairs:
                near(f"update {k + 1}", found[k], expected[k], allowed[k])
        compared += 1
    return compared


def turn(made: Plan, simulator: Simulator) -> None:
    """Any inverse factors for K-FAC, which need not be symmetric to be multiplied with."""
    random = np.random.default_rng(5)
    for p in made.layers:
        if p.curvature:
            for side, form in (("input", p.curvature.inputs), ("output", p.curvature.outputs)):
                name = f"{side}{INVERSE}{p.number}"
                shape = simulator.memory[name].shape
                simulator.memory[name] = form.quantise(random.normal(0, 0.5, shape))


def compare_batches(made: Plan, data: Dataset, program: Program | None = None) -> int:
    """`compare_steps` for nets with batch normalisation, where the last steps of batches learn."""
    simulator, reference = Simulator(program or lower(made)), Reference(made)
    simulator.reset(7)
    samples = made.samples(data.x_train, data.y_train)
    xs = made.layers[0].input.real(samples.x)
    ys = samples.target * (2.0**-made.target_fraction if made.task == "regression" else 1)
    for p in made.layers[:-1]:
        # Wide sums have small roots, which enlarge little of what is rounded.
        wide = 4 * (simulator.memory[f"weight{p.number}"] - p.offset) + p.offset
        simulator.memory[f"weight{p.number}"] = np.clip(wide, -32000, 32000)
    kept: list[int] = []
    compared = 0
    for i in range(len(samples)):
        place, last = i % made.batch, (i + 1) % made.batch == 0 or i + 1 == len(samples)
        kept[place : place + 1] = [i]
        reference.load(simulator.memory)
        bounds = None
        simulator.step(samples.x[i], samples.target[i], place == 0, last)
        if last:
            x, y = xs[kept], [ys[k] for k in kept]
            if made.drops:
                reference.masks = [
                    (simulator.memory[f"batch_chance{p.number}"] >> 8 < p.keep).astype(float)
                    for p in made.layers[:-1]
                ]
            p = reference.backward_batch(x, y)
            with suppress(MaySaturate):
                bounds = batch_bounds(reference, x, y)
        reference.step(xs[i], ys[i], place == 0, last)
        if bounds is None:
            continue
        after = Reference(made)
        after.load(simulator.memory)
        scale = made.loss.gradient_scale(made.n_outputs)
        for k, layer in enumerate(made.layers):
            delta = simulator.memory[f"batch_delta{k + 1}"] * 2.0**-layer.delta_fraction
            near(f"delta {k + 1}", delta, p.deltas[k] / scale, bounds.deltas[k])
            found, expected = (
                [r.weights[k], r.biases[k], *(norm.gamma for norm in r.norms[k : k + 1])]
                for r in (after, reference)
            )
            for at, (w, weight) in enumerate(zip(found, expected, strict=True)):
                near(f"update {k + 1}", w, weight, bounds.stored[k][at])
                for slot in made.slots:
                    held, wanted = (tensor_slots(r, k, at)[slot] for r in (after, reference))
                    near(f"{slot} {k + 1}", held, wanted, bounds.slots[k][at][slot])
        for k, (norm, other) in enumerate(zip(after.norms, reference.norms, strict=True)):
            near(f"mean {k + 1}", norm.mean, other.mean, bounds.means[k])
            near(f"variance {k + 1}", norm.variance, other.variance, bounds.variances[k])
        compared += 1
    return compared


def near(what: str, found: object, expected: object, allowed: object) -> None:
    excess = np.abs(np.asarray(found) - np.asarray(expected)) - np.asarray(allowed)
    if excess.max() > 0:
        raise Different(f"{what}: {found} for {expected} +- {allowed}")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_steps_differ_by_rounding_alone(activation: str, loss: str, preset: str) -> None:
    turn = list(ACTIVATIONS).index(activation) + list(LOSSES).index(loss)
    turn += list(PRESETS).index(preset)
    compared = [
        compare_steps(made, data)
        for at, (made, data) in enumerate(nets(preset, loss, activation, seed=3))
        if FULL or (at + turn) % 2 == 0
    ]
    assert sum(compared) >= 2 * len(compared), "too many steps may saturate to show anything"


def normalised_nets(preset: str, activation: str) -> Iterator[tuple[Plan, Dataset]]:
    """As `nets`, over losses and optimizers, with batches of which some end early."""
    start = list(ACTIVATIONS).index(activation) + list(PRESETS).index(preset)
    losses = list(LOSSES)[start % len(LOSSES) :] + list(LOSSES)
    cases = zip(losses, PLAIN * 2, strict=False)
    decays, dropout = itertools.cycle((0.0, 0.02)), itertools.cycle((0.0, 0.0, 0.3))
    for seed, (loss, optimizer) in enumerate(cases):
        real = LOSSES[loss].real_targets and seed % 2 == 1
        # Behind two layers, worst cases leave little to compare.
        kind, hidden = ("z-score", "range")[seed // 2 % 2], [6, 4] if seed % 4 == 3 else [4]
        data = dataset(seed, 5, 3, "regression" if real else "classification", kind)
        share = next(dropout)
        made = plan(data, preset, loss, hidden, activation, optimizer=optimizer,
                    dropout=(share,) * len(hidden) if share else (),
                    batch=(4, 5, 12)[seed % 3], batch_norm=True, l2=next(decays))  # fmt: skip
        yield made, data


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_normalised_batches_differ_by_rounding_alone(activation: str, preset: str) -> None:
    compared = [compare_batches(made, data) for made, data in normalised_nets(preset, activation)]
    assert sum(compared) * 2 >= len(compared), "too many batches may saturate to show anything"


def adaptive_batches(optimizer: str, preset: str, losses: tuple[str, ...]) -> int:
    """How many normalised batches of an adaptive optimizer were compared."""
    compared = 0
    for seed, loss in enumerate(losses):
        data = dataset(seed, 5, 3, "classification", ("z-score", "range")[seed % 2])
        made = plan(data, preset, loss, [4], "tanh", optimizer=optimizer, batch=(4, 5)[seed % 2],
                    lr=2.0**-10, epsilon=0.125, batch_norm=True, l2=(0.0, 0.02)[seed % 2],
                    dropout=((), (0.3,))[seed % 2])  # fmt: skip
        compared += compare_batches(made, data)
    return compared


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("optimizer", [n for n in NORM_OPTIMIZERS if n not in PLAIN])
def test_normalised_adaptive_batches_differ_by_rounding_alone(optimizer: str, preset: str) -> None:
    entropies = ("softmax-cross-entropy", "binary-cross-entropy")
    assert adaptive_batches(optimizer, preset, entropies) >= 2, "too many batches may saturate"


def test_a_wrong_adaptive_batch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer("adam", ADAPTIVE_MUTATIONS["averages too slow"])(monkeypatch)
    with pytest.raises(Different):
        adaptive_batches("adam", "q16", ("softmax-cross-entropy",))


#: What is computed wrongly, in a layer, if this is left out.
NORMALISED = (
    "mean", "variance", "batch_normal", "beta_slope", "gamma_slope", "gain", "normal_batch_delta",
    "batch_factor", "beta_factor", "gamma_factor", "follow_running_mean", "follow_running_variance",
)  # fmt: skip


@pytest.mark.parametrize("name", NORMALISED)
def test_a_wrong_normalisation_is_found(name: str) -> None:
    def without(made: Plan) -> Program:
        program = lower(made)
        (wrong,) = (m for m in program.maps() if m.name == f"{name}1")
        zero = replace(wrong, expr=Const(0))
        sections = {
            section: [zero if m is wrong else m for m in maps]
            for section, maps in program.sections.items()
        }
        return replace(program, sections=sections)

    def compare_all() -> None:
        for made, data in normalised_nets("q16", "sigmoid"):
            compare_batches(made, data, without(made))

    with pytest.raises(Different):
        compare_all()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("loss", ["softmax-cross-entropy", "mse"])
def test_adaptive_steps_differ_by_rounding_alone(loss: str, preset: str) -> None:
    activation, lr = {"q8": ("tanh", 0.005), "q16": ("relu", 0.001)}[preset]
    drawn = nets(preset, loss, activation, 3, ADAPTIVE_CASES, lr=lr)
    compared = [compare_steps(made, data) for made, data in drawn]
    assert sum(compared) >= len(compared), "too many steps may saturate to show anything"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("most", [0.003, 0.1, 5.0])
def test_clipped_gradients_are_as_long_as_they_may_be(most: float, loss: str, preset: str) -> None:
    """The deltas of a step against those of the same net without, and the norm in real numbers."""
    data = dataset(5, 5, 3, "classification", "z-score")
    memories = []
    for limit in (0.0, most):
        made = plan(data, preset, loss, [6, 4], "tanh", clip_norm=limit)
        samples, simulator = made.samples(data.x_train, data.y_train), Simulator(lower(made))
        simulator.reset(7)
        simulator.step(samples.x[0], samples.target[0], first=True, last=True)
        memories.append(simulator.memory)
    whole, clipped = memories
    square, scale = 0.0, made.loss.gradient_scale(made.n_outputs)
    inputs = [whole["x"], whole["activation1"], whole["activation2"]]
    for p, x in zip(made.layers, inputs, strict=True):
        delta = whole[f"delta{p.number}"] * 2.0**-p.delta_fraction * scale
        a = p.input.real(np.asarray(x))
        square += (delta @ delta) * (a @ a + 1)
    left = min(1.0, most / np.sqrt(square))
    assert (left < 0.9) == (most < 1)
    for p in made.layers:
        delta = whole[f"delta{p.number}"]
        # Of the share: the 8 bits of a factor, of a square near 1, and deltas that are rounded.
        allowed = 1 + np.abs(delta) * left * 2.0**-6
        near(f"delta {p.number}", clipped[f"delta{p.number}"], delta * left, allowed)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "kfac", "adam"])
@pytest.mark.parametrize("most", [0.02, 0.2, 50.0])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_gathered_gradients_are_as_long_as_they_may_be(
    batch_norm: bool, most: float, optimizer: str, preset: str
) -> None:
    """What is left of a batch's, against the norm of what its slots stand for."""
    if batch_norm and optimizer not in NORM_OPTIMIZERS:
        return
    data = dataset(5, 5, 3, "classification", "z-score")
    made = plan(data, preset, "mse", [6, 4], "tanh", optimizer=optimizer, clip_norm=most, batch=4,
                batch_norm=batch_norm, schedule="cosine", epochs=2)  # fmt: skip
    samples, simulator = made.samples(data.x_train, data.y_train), Simulator(lower(made))
    simulator.reset(7)
    shares = []
    for i in range(8):
        stage = int(simulator.memory.get("stage", 0))
        simulator.step(samples.x[i], samples.target[i], i % 4 == 0, i % 4 == 3)
        if i % 4 < 3:
            continue
        numbers = [
            p.real_slot(made.slots[-1], simulator.memory[f"{kind}{made.slots[-1]}{p.number}"])
            for p in made.layers
            for kind in ("", "bias_", *(["gamma_"] if p.batch_norm else []))
        ]
        square = sum(float((g * g).sum()) for g in numbers)
        reference = Reference(made)
        reference.stage = stage
        rate = 1.0 if reference.optimizer.adaptive else reference.learning_rate
        share = min(1.0, most * rate / np.sqrt(square)) if square else 1.0
        shares.append(share)
        # Half of a last bit of each number (the largest has `bits`), the root, the limit's 15 bits.
        count = sum(g.size for g in numbers)
        allowed = share * (2.0**-11 + np.sqrt(count) * 2.0**-made.batch_clip.bits) + 2.0**-13
        near("share", simulator.memory["left"] * 2.0**-15, share, allowed)
    assert (min(shares) < 0.9) == (most < 1)


# ---- the bounds are tight enough to find mistakes -----------------------------------------------

Mutation = Callable[[pytest.MonkeyPatch], None]


def without_derivative(name: str) -> Mutation:
    wrong = replace(ACTIVATIONS[name], backward=lambda g, a, out: g)
    return lambda patch: patch.setitem(ACTIVATIONS, name, wrong)


def optimizer(name: str, change: Callable[[Parameter], Parameter]) -> Mutation:
    right = OPTIMIZERS[name]
    wrong = replace(right, update=lambda p: right.update(change(p)))
    return lambda patch: patch.setitem(OPTIMIZERS, name, wrong)


def sums(make: Callable[[Dense], Expr]) -> Mutation:
    return lambda patch: patch.setattr(Dense, "sums", make)


def forgotten_bias(dense: Dense) -> Expr:
    o, j = dense.rows, dense.columns
    return total(j, dense.seen(dense.weight[o, j]) * dense.source[j])


def doubled_bias(dense: Dense) -> Expr:
    o, j = dense.rows, dense.columns
    bias = dense.seen(dense.bias[o]) * (2 << dense.plan.input.fraction)
    return total(j, dense.seen(dense.weight[o, j]) * dense.source[j], bias)


def mirrored_inputs(dense: Dense) -> Expr:
    o, j = dense.rows, dense.columns
    bias = dense.seen(dense.bias[o]) * (1 << dense.plan.input.fraction)
    other = dense.plan.fan_in - 1 - j
    return total(j, dense.seen(dense.weight[o, j]) * dense.source[other], bias)


def target_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outputs, "wanted", lambda outputs, k: Const(0))


def factors_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dense, "_turned", lambda dense: [])


def negated_decay(p: Parameter) -> Parameter:
    return replace(p, decayed=lambda v: p.decayed(0 - v))


def eternal(p: Parameter) -> Parameter:
    return replace(p, decayed=lambda v: v - p.step)


def standing(p: Parameter) -> Parameter:
    return replace(p, kept=lambda v: v * 0)


def uphill(p: Parameter) -> Parameter:
    return replace(p, step=0 - p.step, decayed=lambda v: 0 - p.decayed(0 - v))


def never_first(p: Parameter) -> Parameter:
    return replace(p, first=Const(0))


def rootless(p: Parameter) -> Parameter:
    assert p.moments is not None
    right = p.moments.change
    return replace(p, moments=replace(p.moments, change=lambda m, v: right(m, maximum(v, 50000))))


def slower(p: Parameter) -> Parameter:
    assert p.moments is not None
    shares = tuple(maximum(wrap(s) >> 1, 1) for s in p.moments.shares)
    return replace(p, moments=replace(p.moments, shares=shares))


def without_decay(p: Parameter) -> Parameter:
    assert p.moments is not None
    return replace(p, moments=replace(p.moments, with_decay=lambda g: g))


ADAPTIVE_MUTATIONS = {
    "uphill": lambda p: replace(p, step=0 - p.step),
    "without root": rootless,
    "averages too slow": slower,
    "decay forgotten": without_decay,
    "batches never emptied": never_first,
}


@pytest.mark.parametrize("name", ADAPTIVE_MUTATIONS)
def test_a_wrong_adaptive_step_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer("adam", ADAPTIVE_MUTATIONS[name])(monkeypatch)

    def compare_all() -> None:
        for made, data in nets("q16", "mse", "tanh", 3, [("adam", 1), ("adam", 3)], lr=0.02):
            compare_steps(made, data)

    with pytest.raises(Different):
        compare_all()


SATURATING = ("tanh", "sigmoid")
MUTATIONS: dict[str, tuple[str, Mutation]] = {
    **{f"{n} without its derivative": (n, without_derivative(n)) for n in ("relu", *SATURATING)},
    "leaky ReLU without its derivative": ("leaky-relu", without_derivative("leaky-relu")),
    "bias forgotten": ("tanh", sums(forgotten_bias)),
    "bias doubled": ("tanh", sums(doubled_bias)),
    "inputs mirrored": ("relu", sums(mirrored_inputs)),
    "target ignored": ("linear", target_ignored),
    "SGD uphill": ("relu", optimizer("sgd", uphill)),
    "momentum uphill": ("relu", optimizer("momentum", uphill)),
    "momentum of the wrong sign": ("tanh", optimizer("momentum", negated_decay)),
    "Nesterov uphill": ("relu", optimizer("nesterov", uphill)),
    "Nesterov without looking ahead": ("tanh", optimizer("nesterov", standing)),
    "momentum without friction": ("tanh", optimizer("momentum", eternal)),
    "batches never emptied": ("tanh", optimizer("sgd", never_first)),
    "K-FAC uphill": ("relu", optimizer("kfac", uphill)),
    "K-FAC without its factors": ("relu", factors_forgotten),
}


def find(preset: str, activation: str, change: Callable[[Plan], Plan]) -> None:
    for loss in LOSSES:
        for made, data in nets(preset, loss, activation, seed=3):
            compare_steps(change(made), data)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_tree_is_found(name: str, preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    activation, mutate = MUTATIONS[name]
    mutate(monkeypatch)
    with pytest.raises(Different):
        find(preset, activation, lambda made: made)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_doubled_learning_rate_is_found(number: int, preset: str) -> None:
    def change(made: Plan) -> Plan:
        layers = tuple(
            replace(p, row_shift=p.row_shift - 1) if p.number == number else p for p in made.layers
        )
        return replace(made, layers=layers)

    with pytest.raises(Different):
        find(preset, "tanh", change)


@pytest.mark.parametrize("loss", ["softmax-cross-entropy", "binary-cross-entropy", "mse"])
def test_inverse_factors_are_those_of_real_numbers(loss: str) -> None:
    """What the host finds in the net's integers, against the reference's at the same weights."""
    for task in ("classification", *(["regression"] if LOSSES[loss].real_targets else [])):
        data = dataset(3, 5, 3, task, "z-score")
        made = plan(data, "q16", loss, [4], "tanh", optimizer="kfac")
        simulator, reference = Simulator(lower(made)), Reference(made)
        simulator.reset(7)
        samples = made.samples(data.x_train, data.y_train)
        curvature = Curvature(made, simulator.program, samples, 100, 0.1)
        curvature.refresh(simulator.memory)
        reference.load(simulator.memory)
        found = reference.inverses
        reference.refresh(data.x_train[curvature.rows], data.y_train[curvature.rows], 0.1)
        for pair, wanted in zip(found, reference.inverses, strict=True):
            for inverse, real in zip(pair, wanted, strict=True):
                # Within 1 / damping of what the factor is off by, which has 10 bits or more.
                np.testing.assert_allclose(inverse, real, atol=2.0**-10 / 0.1 * np.abs(real).max())
