"""The reference's gradients are those of its own loss, by central differences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from reference.nets import dataset, plan

from nnhost import layers
from nnhost.activations import ACTIVATIONS
from nnhost.losses import LOSSES
from nnhost.optimizers import OPTIMIZERS
from nnhost.optimizers.base import SQUARE
from nnhost.reference import Reference

H = 1e-5
TASKS = [
    *(("classification", loss, k) for loss in LOSSES for k in (2, 3)),
    *(("regression", name, 2) for name, loss in LOSSES.items() if loss.real_targets),
]
#: Where the derivative of an activation or of a loss jumps.
KINKS = {
    "relu": [0], "leaky-relu": [0], "hard-tanh": [-1, 1], "hard-sigmoid": [-2, 2], "mae": [0],
}  # fmt: skip


def no_kink(name: str, values: np.ndarray) -> None:
    for kink in KINKS.get(name, ()):
        assert np.abs(values - kink).min() > 100 * H, "a kink is too near"


@pytest.mark.parametrize("dropout", [(), (0.4, 0.4)])
@pytest.mark.parametrize(("task", "loss", "outputs"), TASKS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients(
    activation: str, task: str, loss: str, outputs: int, dropout: tuple[float, ...]
) -> None:
    """With dropout, of the net without the units at rest."""
    data = dataset(1, 4, outputs, task, "z-score")
    smoothing = 0.1 if LOSSES[loss].smooths else 0.0
    weights = (0.6, 2.0, 1.4)[:outputs] if task == "classification" else ()
    net = Reference(
        plan(
            data, "q16", loss, [5, 4], activation, label_smoothing=smoothing, class_weights=weights,
            dropout=dropout,
        )
    )  # fmt: skip
    random = np.random.default_rng(2)
    if dropout:
        net.masks = [np.array([1.0, 0, 1, 1, 0]), np.array([0.0, 1, 1, 1])]
    for w, b in zip(net.weights, net.biases, strict=True):
        w[:], b[:] = random.normal(0, 0.7, w.shape), random.normal(0, 0.3, b.shape)
    x, y = data.x_train[3], data.y_train[3]
    found = net.backward(x, y)
    unit = net.plan.top_weight  # of the gradients: the rate has it
    no_kink(activation, np.concatenate(found.sums[:-1]))
    no_kink(loss, found.sums[-1] - net.target(y))
    for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        for stored, gradient in (
            (w, np.outer(found.deltas[i], found.inputs[i])),
            (b, found.deltas[i]),
        ):
            for at in np.ndindex(stored.shape):
                kept = stored[at]
                stored[at] = kept + H
                more = net.backward(x, y).loss
                stored[at] = kept - H
                less = net.backward(x, y).loss
                stored[at] = kept
                slope = unit * gradient[at]
                assert (more - less) / (2 * H) == pytest.approx(slope, abs=1e-8, rel=1e-6)


@pytest.mark.parametrize(("task", "loss", "outputs"), TASKS[::3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_of_a_normalised_batch(
    activation: str, task: str, loss: str, outputs: int
) -> None:
    """Of the summed loss of a batch, whose statistics move with every weight; units rest in some
    of its rows."""
    data = dataset(1, 4, outputs, task, "z-score")
    made = plan(data, "q16", loss, [5, 4], activation, batch=6, batch_norm=True,
                dropout=(0.3, 0.3))  # fmt: skip
    net = Reference(made)
    random = np.random.default_rng(4)
    net.rest(np.random.default_rng(8))
    assert net.masks
    assert not all(mask.all() for mask in net.masks)
    for tensor in (*net.weights, *net.biases, *(norm.gamma for norm in net.norms)):
        tensor[:] = random.normal(0, 0.7, tensor.shape)
    x, y = data.x_train[:6], list(data.y_train[:6])
    p = net.backward_batch(x, y)
    for i, norm in enumerate(net.norms):
        no_kink(activation, norm.gamma * p.normals[i] + net.biases[i])
    for z, target in zip(p.sums[-1], y, strict=True):
        no_kink(loss, z - net.target(target))
    shifts = [*p.slopes, p.deltas[-1]]
    pairs = [(w, d.T @ a) for w, d, a in zip(net.weights, p.deltas, p.inputs, strict=True)]
    pairs += [(b, d.sum(axis=0)) for b, d in zip(net.biases, shifts, strict=True)]
    pairs += [
        (norm.gamma, (d * n).sum(axis=0))
        for norm, d, n in zip(net.norms, p.slopes, p.normals, strict=True)
    ]
    for stored, gradient in pairs:
        for at in np.ndindex(stored.shape):
            kept = stored[at]
            stored[at] = kept + H
            more = net.backward_batch(x, y).losses.sum()
            stored[at] = kept - H
            less = net.backward_batch(x, y).losses.sum()
            stored[at] = kept
            assert (more - less) / (2 * H) == pytest.approx(gradient[at], abs=1e-7, rel=1e-5)


def draw_weights(net: Reference) -> list[np.ndarray]:
    """Give a net weights away from 0, the same each time; a copy of them."""
    random = np.random.default_rng(3)
    for w in net.weights:
        w[:] = random.choice([-1, 1], w.shape) * random.uniform(0.1, 2, w.shape)
    return [w.copy() for w in net.weights]


@pytest.mark.parametrize(
    ("key", "penalty"),
    [("l2", lambda w: w**2 / 2), ("l1", np.abs)],
)
def test_decay_is_the_gradient_of_its_penalty(
    key: str, penalty: Callable[[np.ndarray], np.ndarray]
) -> None:
    """What a step takes from the weights beside the step without it; factors keep 8 bits."""
    data, strength, lr = dataset(1, 4, 3, "classification", "z-score"), 0.02, 0.0625
    nets = [
        Reference(plan(data, "q16", "mse", [5], "tanh", lr=lr, **keys))
        for keys in ({}, {key: strength})
    ]
    before, _ = (draw_weights(net) for net in nets)
    for net in nets:
        net.step(data.x_train[0], data.y_train[0])
    for w, plain, decayed in zip(before, nets[0].weights, nets[1].weights, strict=True):
        slope = strength * (penalty(w + H) - penalty(w - H)) / (2 * H)
        np.testing.assert_allclose(decayed - plain, -lr * slope, rtol=2.0**-8)
    for plain, decayed in zip(nets[0].biases, nets[1].biases, strict=True):
        assert np.array_equal(plain, decayed)


@pytest.mark.parametrize("optimizer", [n for n, o in OPTIMIZERS.items() if not o.decoupled])
@pytest.mark.parametrize(("key", "penalty"), [("l2", lambda w: w**2 / 2), ("l1", np.abs)])
def test_decay_is_a_part_of_an_adaptive_gradient(
    key: str, penalty: Callable[[np.ndarray], np.ndarray], optimizer: str
) -> None:
    """The first average of Adam and the first sums of squares are those of both gradients."""
    data, strength = dataset(1, 4, 3, "classification", "z-score"), 0.02
    nets = [
        Reference(plan(data, "q16", "mse", [5], "tanh", optimizer=optimizer, **keys))
        for keys in ({}, {key: strength})
    ]
    before, _ = (draw_weights(net) for net in nets)
    sample = data.x_train[0], data.y_train[0]
    p = nets[0].backward(*sample)
    for net in nets:
        net.step(*sample)
    newest = 1.0 if nets[0].optimizer.corrected else 1 - nets[0].plan.averages[0]
    for i, w in enumerate(before):
        slope = strength * (penalty(w + H) - penalty(w - H)) / (2 * H)
        gradient = np.outer(p.deltas[i], p.inputs[i])
        for net, g in zip(nets, (gradient, gradient + slope), strict=True):
            np.testing.assert_allclose(net.slots[SQUARE][i], newest * g**2, atol=2.0**-12)
    for one, other in zip(*(net.slots[f"bias_{SQUARE}"] for net in nets), strict=True):
        assert np.array_equal(one, other)


def test_every_layer_is_compared() -> None:
    """Those that have gradients of their own: a newcomer wants a test here."""
    assert {path.stem for path in Path(layers.__file__).parent.glob("*.py")} == {
        "__init__", "dense", "dropout", "batch_norm",
        "batches", "clip",  # no gradient: a batch, and what is left of it (test_rounding)
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_precision_is_kept(activation: str, loss: str, dtype: type) -> None:
    data = dataset(1, 4, 3, "classification", "z-score")
    net = Reference(plan(data, "q16", loss, [5], activation), dtype)
    net.step(data.x_train[0], data.y_train[0])
    p = net.backward(data.x_train[0].astype(dtype), data.y_train[0])
    arrays = [*p.inputs, *p.sums, *p.deltas, *net.weights, *net.biases, *net.slots["velocity"]]
    assert {a.dtype for a in arrays} == {np.dtype(dtype)}


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_right(loss: str) -> None:
    """Values worked out by hand from the definitions."""
    z, t = np.array([1.0, -2.0, 0.5]), np.array([0.0, 0.0, 1.0])
    expected = {
        "softmax-cross-entropy": np.log(np.e + np.exp(-2) + np.exp(0.5)) - 0.5,
        "binary-cross-entropy": -np.mean(np.log([1 - 1 / (1 + np.exp(-1)), 1 - 1 / (1 + np.exp(2)),
                                                 1 / (1 + np.exp(-0.5))])),
        "mse": (1 + 4 + 0.25) / 3,
        "mae": (1 + 2 + 0.5) / 3,
        "huber": (0.5 + 1.5 + 0.125) / 3,
    }  # fmt: skip
    assert LOSSES[loss].real(z, t)[0] == pytest.approx(expected[loss], rel=1e-12)


def test_smoothed_labels_spread_a_share_over_all_classes() -> None:
    """Worked out by hand: 0.3 of the 1 spread over three classes."""
    data = dataset(1, 4, 3, "classification", "z-score")
    net = Reference(plan(data, "q16", "softmax-cross-entropy", [], [], label_smoothing=0.3))
    np.testing.assert_allclose(net.target(1), [0.1, 0.8, 0.1], atol=2.0**-14)
    assert net.target(1).sum() == 1
    assert net.backward(data.x_train[0], 1).loss == pytest.approx(np.log(3))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_right(name: str) -> None:
    z = np.array([-3.0, -0.25, 0.0, 2.0])
    expected = {
        "linear": z,
        "relu": [0, 0, 0, 2],
        "leaky-relu": [-3 / 8, -1 / 32, 0, 2],
        "hard-sigmoid": [0, 7 / 16, 1 / 2, 1],
        "hard-tanh": [-1, -1 / 4, 0, 1],
        "sigmoid": 1 / (1 + np.exp(-z)),
        "tanh": np.sinh(z) / np.cosh(z),
    }
    np.testing.assert_allclose(ACTIVATIONS[name].real(z), expected[name], atol=1e-15)


def test_momentum_is_polyak() -> None:
    """Two batches of two rows: v decays once a batch and moves the weight at its end."""
    data = dataset(1, 1, 1, "regression", "z-score")
    p = plan(data, "q16", "mse", [], [], optimizer="momentum", batch=2, lr=0.5)
    net = Reference(p)
    beta, rate = p.momentum, 0.5 / 2
    assert beta == pytest.approx(0.9, abs=2**-9)
    w = v = 0.0
    for rows in ((0, 1), (2, 3)):
        slope = sum(
            2 * (w * data.x_train[i, 0] + float(net.biases[0][0]) - data.y_train[i, 0])
            * data.x_train[i, 0] for i in rows
        )  # fmt: skip
        v = beta * v - rate * slope
        w += v
        for i in rows:
            net.step(data.x_train[i], data.y_train[i], i == rows[0], i == rows[1])
    assert net.weights[0][0, 0] == pytest.approx(w, rel=1e-12)


@pytest.mark.parametrize("batch", [1, 2])
def test_nesterov_looks_ahead(batch: int) -> None:
    """As published: the gradient at w + beta * v; what the net keeps is that place."""
    data = dataset(1, 1, 1, "regression", "z-score")
    p = plan(data, "q16", "mse", [], [], optimizer="nesterov", batch=batch, lr=0.5)
    net = Reference(p)
    beta, rate = p.layers[0].momentum / 2 ** p.layers[0].product_shift, 0.5 / batch
    w, v = np.zeros(2), np.zeros(2)  # weight and bias
    x = np.stack([data.x_train[:, 0], np.ones(len(data.x_train))], axis=1)
    for at in range(0, 6, batch):
        rows = range(at, at + batch)
        there = w + beta * v
        slope = sum(2 * (there @ x[i] - data.y_train[i, 0]) * x[i] for i in rows)
        v = beta * v - rate * slope
        w = w + v
        for i in rows:
            net.step(data.x_train[i], data.y_train[i], i == rows[0], i == rows[-1])
    kept = [net.weights[0][0, 0], net.biases[0][0]]
    assert kept == pytest.approx(w + beta * v, rel=1e-12)


def test_adam_is_that_of_kingma_and_ba() -> None:
    """As published, with averages that start at 0 and a correction of their bias."""
    data = dataset(1, 1, 1, "regression", "z-score")
    p = plan(data, "q16", "mse", [], [], optimizer="adam", lr=0.125, beta1=0.8, beta2=0.95)
    net = Reference(p)
    w, m, v = np.zeros(2), np.zeros(2), np.zeros(2)  # weight and bias
    for t in range(1, 7):
        x = np.array([data.x_train[t, 0], 1.0])
        g = 2 * (w @ x - data.y_train[t, 0]) * x
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
        w = w - 0.125 * (m / (1 - 0.8**t)) / np.sqrt(v / (1 - 0.95**t))
        net.step(data.x_train[t], data.y_train[t])
    assert [net.weights[0][0, 0], net.biases[0][0]] == pytest.approx(w, rel=1e-12)


@pytest.mark.parametrize("lr", [0.3, 0.1, 0.013])
def test_learning_rate_is_near_what_was_asked(lr: float) -> None:
    data = dataset(1, 4, 3, "classification", "z-score")
    for loss in LOSSES:
        p = plan(data, "q16", loss, [5], "tanh", lr=lr, batch=3)
        assert Reference(p).rate * 3 == pytest.approx(lr, rel=2**-8)
