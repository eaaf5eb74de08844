"""Trainings that end before their last epoch, and the states that they leave."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from nnhost.ending import Ending
from nnhost.errors import UsageError
from nnhost.generate import prepare
from nnhost.outcome import EpochEnd, Score
from nnhost.paths import examples_dir
from nnhost.project import load_project
from nnhost.simulation import simulate
from nnhost.spread import simulate_many, with_seeds
from nnhost.twin import Twin
from nnhost.view import ending_text

from .conftest import FakeBoard

EARLY = ["train.early_stopping=2", "data.validation=0.2", "train.epochs=30", "train.lr=0.3"]


@pytest.fixture(scope="module")
def early():
    return load_project(examples_dir() / "iris", EARLY)


@pytest.fixture
def iris():
    def with_keys(**train):
        project = load_project(examples_dir() / "iris", ["data.validation=0.2"])
        return replace(project, train=replace(project.train, **train))

    return with_keys


def _same(thing):
    return thing


def losses_of(project, validation, clock=lambda: 0.0):
    """What an ending makes of these validation losses, an epoch each; the states are its number."""
    network = replace(prepare(project), plan=replace(prepare(project).plan, rows=1))
    ending = Ending(network, clock=clock)
    ending.begin()
    for epoch, loss in enumerate(validation, 1):
        score, state = Score(loss, None), bytes([epoch])
        if ending.reached([1 / epoch] * epoch, partial(_same, score), partial(_same, state)):
            break
    return ending


@pytest.mark.parametrize(
    ("patience", "min_delta", "epochs", "best"),
    [(1, 0.0, 3, 2), (2, 0.0, 4, 2), (3, 0.0, 8, 5), (2, 0.15, 4, 2), (0, 0.0, 8, None)],
)
def test_patience_counts_epochs_without_a_lower_loss(iris, patience, min_delta, epochs, best):
    losses = [0.9, 0.5, 0.5, 0.6, 0.4, 0.7, 0.8, 0.9]
    ending = losses_of(iris(early_stopping=patience, min_delta=min_delta), losses)
    assert [e.epoch for e in ending.epochs] == list(range(1, epochs + 1))
    assert (ending.best.epoch if ending.best else None) == best
    assert ending.best_state == (bytes([best]) if best else b"")
    assert ending.reason == ("early_stopping" if epochs < 8 or patience == 3 else "")


def test_an_epoch_below_stop_loss_is_the_last(iris):
    ending = losses_of(iris(stop_loss=0.3), [1.0] * 8)
    assert (len(ending.epochs), ending.reason) == (4, "stop_loss")  # the 4th has a loss of 1 / 4


def test_time_is_counted_from_the_begin(iris):
    times = iter([100.0, 103.0, 109.9, 110.0, 111.0])
    ending = losses_of(iris(max_time=10.0), [1.0] * 4, lambda: next(times))
    assert (len(ending.epochs), ending.reason) == (3, "max_time")


def test_both_engines_stop_early_and_keep_the_best_state(early):
    numpy, native = simulate(early), simulate(early, engine="native")
    assert numpy.ended_by == native.ended_by == "early_stopping"
    assert (numpy.digest, numpy.looked_at, numpy.best) == (
        native.digest, native.looked_at, native.best,
    )  # fmt: skip
    best = numpy.best
    assert numpy.epochs == best.epoch + 2
    assert numpy.validation == min((e.validation for e in numpy.looked_at), key=lambda s: s.loss)
    plain = replace(early, train=replace(early.train, early_stopping=0))
    until_then = simulate(plain, epochs=best.epoch)
    assert (until_then.digest, until_then.test) == (numpy.digest, numpy.test)
    assert until_then.validation == best.validation


@pytest.mark.parametrize("compare", [True, False])
def test_a_board_gets_its_best_state_back(early, tmp_path, compare):
    network = prepare(early)
    board = FakeBoard(network)
    told = []
    with Twin(network, "host", lambda: board, tmp_path, compare=compare) as twin:
        result = twin.train(on_epoch=told.append)
    wanted = simulate(early)
    assert (result.digest, result.ended_by) == (wanted.digest, wanted.ended_by)
    assert (result.test, result.looked_at) == (wanted.test, tuple(told))
    assert board.simulator.state() == result.state
    assert board.step_count == result.kept_step == wanted.best.step < result.steps
    assert not result.stopped


def test_an_interrupted_training_keeps_its_last_state(early, tmp_path):
    board = FakeBoard(prepare(early))
    told = []
    with Twin(board.network, "host", lambda: board, tmp_path) as twin:
        result = twin.train(on_epoch=told.append, stopping=lambda: len(told) == 6)
    assert result.stopped
    assert result.best is None
    assert board.step_count == result.steps


def test_so_many_steps_are_so_many(early):
    result = simulate(early, engine="native", steps=2000)
    assert (result.steps, result.ended_by, result.looked_at) == (2000, "", ())


def test_max_steps_is_the_most(early):
    project = replace(early, train=replace(early.train, max_steps=100))
    assert simulate(project, engine="native").steps == 100
    assert simulate(project, engine="native", steps=120).steps == 120


def test_many_trainings_end_each_in_its_time(early):
    projects = with_seeds(early, 3)
    results = simulate_many(projects)
    assert [r.digest for r in results] == [simulate(p, engine="native").digest for p in projects]
    assert len({r.steps for r in results}) > 1


def test_what_is_told_of_an_ending(early):
    result = simulate(early, engine="native")
    assert ending_text(result) == (
        "early stopping at epoch 7; "
        "epoch 5 had the lowest validation loss, and its weights are kept"
    )
    event = result.event()
    assert (event["ended_by"], event["best_epoch"]) == ("early_stopping", 5)
    assert event["validation_loss"] == result.best.validation.loss
    end = EpochEnd(3, 30, 0.5, Score(0.25, 0.9))
    assert end.event() == {
        "event": "epoch", "epoch": 3, "step": 30, "loss": 0.5,
        "validation_loss": 0.25, "validation_accuracy": 0.9,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.early_stopping=2"], "early_stopping needs rows to look at"),
        (["data.delivery=flash", "data.validation=0.1"], "validation is the host's part"),
        (["data.delivery=flash", "train.max_time=1"], "max_time is the host's part"),
    ],
)
def test_what_cannot_be_together_is_refused(overrides, message):
    with pytest.raises(UsageError, match=message):
        load_project(examples_dir() / "iris", overrides)


def test_a_share_that_holds_nothing_out_is_refused():
    project = load_project(examples_dir() / "iris", ["data.validation=0.001"])
    with pytest.raises(UsageError, match="of 120 training rows is none"):
        prepare(project)


def test_validation_rows_are_neither_trained_nor_tested():
    plain, held = (
        prepare(load_project(examples_dir() / "iris", [f"data.validation={share}"]))
        for share in (0, 0.25)
    )
    assert plain.validation is None
    assert (len(held.train), len(held.validation), len(held.test)) == (90, 30, len(plain.test))
    assert len(set(held.validation.target.tolist())) == 3
