from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from nnhost.errors import UsageError
from nnhost.generate import prepare
from nnhost.project import load_project
from nnhost.simulation import simulate
from nnhost.simulator import Simulator


def test_both_engines_end_in_the_same_state(project):
    numpy, native = simulate(project), simulate(project, engine="native")
    assert numpy.state == native.state
    assert np.array_equal(numpy.losses, native.losses)
    for name in ("loss", "train_loss", "train_accuracy", "digest", "epochs", "exact"):
        assert getattr(numpy, name) == getattr(native, name)
    assert (numpy.steps, numpy.epochs, numpy.exact) == (120, 30, None)
    assert numpy.digest == hashlib.sha256(numpy.state).hexdigest()[:16]
    assert numpy.loss == pytest.approx(numpy.losses[-4:].mean())


def test_a_part_of_the_state_is_cut_out_of_the_whole(project):
    simulator = Simulator(prepare(project).program)
    state = simulator.state()
    for begin in range(len(state) + 1):
        for end in range(begin, len(state) + 1):
            assert simulator.part_of_state(begin, end) == state[begin:end]


def test_it_learns_xor(project):
    result = simulate(project, engine="native", epochs=200)
    assert result.train_accuracy == 1.0
    assert result.train_loss < 0.2 < result.losses[:4].mean()
    assert result.test_accuracy is None  # nothing is held out
    assert result.test_loss is None


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_every_step_is_told(project, engine):
    told = []
    result = simulate(project, engine=engine, steps=10, on_step=told.append)
    assert [(p.step, p.epoch, p.exact) for p in told] == [
        (n, (n - 1) // 4 + 1, None) for n in range(1, 11)
    ]
    assert [p.loss for p in told] == list(result.losses)
    assert result.steps == 10
    assert result.epochs == 2
    assert result.loss == pytest.approx(result.losses[-4:].mean())


def test_fewer_steps_than_an_epoch(project):
    result = simulate(project, steps=3)
    assert result.epochs == 0
    assert result.loss == pytest.approx(result.losses.mean())


def test_more_steps_than_nn_toml_plans(project):
    longer = simulate(replace(project, train=replace(project.train, epochs=50)))
    assert simulate(project, steps=200).digest == longer.digest


def test_regression_has_losses_but_no_accuracy(tmp_path):
    rows = "\n".join(f"{x / 20},{x * x / 400 + 0.03}" for x in range(-20, 21))
    (tmp_path / "curve.csv").write_text(f"x,y\n{rows}\n")
    (tmp_path / "nn.toml").write_text(
        '[net]\nhidden=[6]\nactivation="tanh"\nloss="mse"\n[train]\nepochs=20\n'
        '[data]\nsource="curve.csv"\n[board]\nname="host"\n'
    )
    result = simulate(load_project(tmp_path))
    assert result.train_accuracy is result.test_accuracy is None
    assert 0 < result.train_loss < 0.5
    assert 0 < result.test_loss < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 1, "steps": 1}, "both epochs and steps"),
        ({"epochs": 0}, "0 epochs"),
        ({"steps": -1}, "-1 steps"),
        ({"steps": 4 * 65535 + 1}, "65535 epochs"),
        ({"engine": "abacus"}, 'unknown engine "abacus"'),
    ],
)
def test_what_cannot_be_asked_for(project, arguments, message):
    with pytest.raises(UsageError, match=message):
        simulate(project, **arguments)


def test_the_done_object(project):
    event = json.loads(json.dumps(simulate(project, steps=5).event()))
    assert event.keys() == {
        "event", "steps", "epochs", "loss", "train_accuracy", "test_accuracy", "train_loss",
        "test_loss", "exact", "digest", "seconds", "stopped",
    }  # fmt: skip
    assert (event["event"], event["steps"], event["exact"]) == ("done", 5, None)
    assert event["stopped"] is False


def test_accuracy_counts_right_classes(project):
    """Against a count by hand, on a set that is held out."""
    project = replace(project, data=replace(project.data, source="iris", test=0.3))
    project = replace(project, net=replace(project.net, loss="softmax-cross-entropy"))
    result = simulate(project, epochs=3)
    network = prepare(project)
    simulator = Simulator(network.program)
    simulator.set_state(result.state)
    right = sum(
        simulator.evaluate(x, t).prediction == t
        for x, t in zip(network.test.x, network.test.target, strict=True)
    )
    assert result.test_accuracy == right / len(network.test)
