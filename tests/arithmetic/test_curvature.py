"""The host's part of K-FAC: damped inverses, and when they change."""

from __future__ import annotations

import numpy as np
import pytest

from nnhost import simulate
from nnhost.curvature import beliefs, curvature_of, inverted
from nnhost.fixed import Format, signed
from nnhost.generate import prepare
from nnhost.paths import examples_dir
from nnhost.project import load_project
from nnhost.simulator import Simulator

FORM = Format(signed(15), 11)


def factor(n: int) -> np.ndarray:
    """Positive, with eigenvalues far apart."""
    x = np.random.default_rng(1).integers(-300, 300, (2 * n, n)) >> np.arange(n) % 8
    return x.T @ x


@pytest.mark.parametrize("n", [1, 2, 9, 33])
@pytest.mark.parametrize("damping", [0.03, 0.3])
def test_a_factor_is_damped_inverted_and_scaled(n: int, damping: float) -> None:
    found = inverted(factor(n), damping, FORM) * 2.0**-FORM.fraction
    unit = factor(n) * n / np.trace(factor(n))
    inverse = np.linalg.inv(unit + damping * np.eye(n))
    scale = np.sqrt(n / np.trace(inverse @ unit @ inverse))
    most = 32767 * 2.0**-FORM.fraction / np.abs(inverse).max()
    assert np.abs(found - min(scale, most) * inverse).max() <= 2.0**-12 * (1 + 1e-6)
    if scale < most:  # a mean input keeps its length
        assert np.trace(found @ unit @ found) == pytest.approx(n, rel=0.01)


def test_a_large_inverse_is_made_smaller_as_a_whole() -> None:
    found = inverted(np.diag([10**8, 1, 1]), 1e-4, FORM)
    assert found.max() == 32767
    assert found[0, 0] == pytest.approx(32767e-4 / 3, abs=1)


def test_nothing_to_invert_is_the_identity() -> None:
    assert np.array_equal(inverted(np.zeros((3, 3), np.int64), 0.1, FORM), 2048 * np.eye(3))


def test_beliefs_are_the_probabilities_of_softmax() -> None:
    logits = np.array([[0.0, 1.0, -2.0]])
    chance = np.exp(logits) / np.exp(logits).sum()
    losses = [np.round(-256 * np.log(chance[:, k])).astype(np.int64) for k in range(3)]
    assert np.abs(np.array(beliefs(losses, 2.0**-8)).T - 32768 * chance).max() < 32768 / 256


@pytest.mark.parametrize(
    "settings",
    [
        ["train.kfac_every=7"],
        ["train.kfac_every=200", "train.batch=16", "net.preset=q16"],
        ["train.kfac_every=120", "net.dropout=0.2", "train.damping=0.01"],
        ["net.loss=mse", "net.activation=tanh", "train.kfac_every=50"],
        ["data.validation=0.2", "train.early_stopping=2", "train.kfac_every=70", "train.lr=0.2"],
    ],
)
def test_both_engines_end_in_the_same_state(settings: list[str]) -> None:
    overrides = ["train.optimizer=kfac", "train.epochs=4", *settings]
    project = load_project(examples_dir() / "iris", overrides)
    numpy, native = simulate(project), simulate(project, engine="native")
    assert numpy.state == native.state
    assert np.array_equal(numpy.losses, native.losses)


def test_the_weights_alone_tell_the_factors() -> None:
    network = prepare(load_project(examples_dir() / "iris", ["train.optimizer=kfac"]))
    curvature, simulator = curvature_of(network), Simulator(network.program)
    assert curvature is not None
    assert [step for step in range(1, 302) if curvature.due(step)] == [101, 201, 301]
    simulator.reset(5)
    before = simulator.state()
    after = curvature.refreshed(before)
    assert after == curvature.refreshed(after) != before
    begin, end = curvature.begin, curvature.end
    assert (after[:begin], after[end:]) == (before[:begin], before[end:])
    curvature.refresh(simulator.memory)
    assert simulator.state() == after


def test_other_optimizers_have_no_curvature() -> None:
    assert curvature_of(prepare(load_project(examples_dir() / "iris"))) is None


def test_it_needs_half_the_epochs_of_sgd() -> None:
    """bench/kfac.py has the whole table; here both have one rate, which is good for either."""
    both = ["train.lr=0.125", "train.kfac_every=40"]
    sgd = load_project(examples_dir() / "iris", both)
    kfac = load_project(examples_dir() / "iris", [*both, "train.optimizer=kfac"])
    half = simulate(kfac, engine="native", epochs=10).train_loss
    whole = simulate(sgd, engine="native", epochs=20).train_loss
    assert half is not None
    assert whole is not None
    assert half < whole
