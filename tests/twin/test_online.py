"""[train] online: every sample once, in the order of the source, tested before it is learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnhost.errors import UsageError
from nnhost.generate import prepare
from nnhost.meter import Meter, Run
from nnhost.outcome import Progress
from nnhost.project import load_project
from nnhost.simulation import simulate
from nnhost.simulator import Simulator
from nnhost.spread import simulate_many
from nnhost.twin import Twin
from nnhost.view import known_text

from .conftest import FakeBoard

NET = """
[net]
hidden = [4]
[train]
online = true
batch = 3
lr = 0.1
[data]
source = "stream.csv"
[board]
name = "host"
"""


@pytest.fixture
def project(tmp_path: Path):
    rng = np.random.default_rng(1)
    rows = [(x, y, int(x + y > 0)) for x, y in rng.normal(0, 1, (50, 2)).round(3)]
    lines = "".join(f"{x},{y},{kind}\n" for x, y, kind in rows)
    (tmp_path / "stream.csv").write_text("a,b,kind\n" + lines)
    (tmp_path / "nn.toml").write_text(NET)
    return load_project(tmp_path)


def test_rows_stay_in_their_order_and_none_is_held_out(project):
    network = prepare(project)
    assert len(network.train) == 50
    assert len(network.test) == 0
    lines = (project.root / "stream.csv").read_text().splitlines()[1:]
    assert network.train.target.tolist() == [int(line[-1]) for line in lines]


def test_each_sample_is_tested_and_then_learned(project):
    network = prepare(project)
    simulator = Simulator(network.program)
    simulator.reset(1)
    right, losses = [], []
    for row, (x, target) in enumerate(zip(network.train.x, network.train.target, strict=True)):
        before = simulator.evaluate(x, target)
        right.append(before.prediction == target)
        losses.append(before.loss * network.plan.loss_scale)
        simulator.step(x, target, row % 3 == 0, row % 3 == 2 or row == 49)
    told = []
    result = simulate(project, on_step=told.append)
    assert result.state == simulator.state()
    assert result.prequential.accuracy == np.mean(right)
    assert result.prequential.loss == result.loss == pytest.approx(np.mean(losses))
    assert (result.steps, result.epochs) == (50, 1)


def test_both_engines_and_a_board_agree(project, tmp_path):
    numpy, native = simulate(project), simulate(project, "native")
    board = FakeBoard(prepare(project))
    told = []
    with Twin(board.network, "host", lambda: board, tmp_path / "evidence") as twin:
        result = twin.train(on_step=told.append)
    assert numpy.digest == native.digest == result.digest
    assert numpy.prequential == native.prequential == result.prequential
    assert np.mean([p.right for p in told]) == result.prequential.accuracy
    assert result.exact
    order = board.simulator.memory["order"]
    assert not order.any()  # none was drawn


def test_many_at_once(project):
    assert simulate_many([project])[0].digest == simulate(project).digest


def test_what_programs_read(project):
    event = simulate(project, "native").event()
    assert 0 < event["prequential_accuracy"] < 1
    assert event["prequential_loss"] == event["loss"]
    assert Progress(1, 1, 0.5, None, True).event()["right"] is True
    assert "right" not in Progress(1, 1, 0.5, None).event()


def test_what_people_read_while_it_runs():
    meter = Meter(Run("a net", "a board", 300, 300))
    for step in range(1, 251):
        meter.add(Progress(step, 1, 0.5, None, step > 100))
    assert known_text(meter) == "loss 0.5000, 75.0 % known before"  # of the last 200


def test_there_are_no_more_steps_than_samples(project):
    assert simulate(project, steps=1000).steps == 50
    assert simulate(project, epochs=1).steps == 50
    assert simulate(project, steps=7).steps == 7


def test_online_there_is_one_epoch(project):
    with pytest.raises(UsageError, match="cannot train for 3 epochs: with online"):
        simulate(project, epochs=3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs=2", "every sample comes once"),
        ("data.test=0.2", "test holds samples out"),
        ("data.validation=0.2", "validation holds samples out"),
        ("train.schedule=plateau", "plateau compares epochs"),
        ("data.delivery=flash", "online is the host's part"),
        ("train.online=1", "online must be true or false"),
    ],
)
def test_what_online_excludes(project, override, message):
    with pytest.raises(UsageError, match=message):
        load_project(project.root, [override])
