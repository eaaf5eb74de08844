"""Many trainings at once end where each would end alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nnhost.errors import UsageError
from nnhost.outcome import Score
from nnhost.paths import examples_dir
from nnhost.project import load_project
from nnhost.simulation import simulate
from nnhost.spread import Study, simulate_many, spreads, sweep, with_seeds


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_each_ends_as_it_would_alone(engine: str) -> None:
    """Other seeds, which split the data anew, and other nets, in turns on the same threads."""
    projects = []
    for setting in ("train.lr=0.01", "train.batch=8", "net.preset=q16", "net.hidden=[5, 4]"):
        projects += with_seeds(load_project(examples_dir() / "iris", [setting]), 3)
    told = {}
    results = simulate_many(projects, engine, steps=250, on_result=told.__setitem__)
    alone = [simulate(project, "numpy", steps=250) for project in projects]
    assert [r.digest for r in results] == [r.digest for r in alone]
    assert [r.test for r in results] == [r.test for r in alone]
    assert [told[at] for at in range(len(projects))] == results
    assert len({r.digest for r in results}) == len(projects)


def test_the_first_mistake_ends_it() -> None:
    project = load_project(examples_dir() / "iris", [])
    worse = replace(project, train=replace(project.train, batch=10_000))
    with pytest.raises(UsageError, match="batch = 10000"):
        simulate_many([project, worse, project], steps=10)


def test_seeds_are_counted_from_the_projects_own() -> None:
    project = load_project(examples_dir() / "iris", ["train.seed=65533"])
    assert [p.train.seed for p in with_seeds(project, 3)] == [65533, 65534, 65535]
    with pytest.raises(UsageError, match="4 seeds from 65533 on go beyond 65535"):
        with_seeds(project, 4)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("train.lr=0.1", ["train.lr=0.1"]),
        ("train.lr=0.1,0.2", ["train.lr=0.1", "train.lr=0.2"]),
        ("net.hidden=[16],[8,8],[]", ["net.hidden=[16]", "net.hidden=[8,8]", "net.hidden=[]"]),
    ],
)
def test_what_is_swept(text: str, settings: list[str]) -> None:
    assert sweep(text) == settings


@pytest.mark.parametrize("text", ["train.lr", "train.lr="])
def test_a_sweep_wants_values(text: str) -> None:
    with pytest.raises(UsageError, match="cannot sweep"):
        sweep(text)


def test_the_spread_of_the_figures() -> None:
    result = simulate(load_project(examples_dir() / "iris", []), "native", steps=10)
    results = [
        replace(result, train=Score(loss, right), test=None)
        for loss, right in ((0.5, 0.7), (0.25, 0.9), (0.75, 0.8))
    ]
    right, loss = spreads(results)
    assert (right.name, right.worst, right.best, right.best_run) == ("train_accuracy", 0.7, 0.9, 1)
    assert (right.mean, right.std) == pytest.approx((0.8, 0.1))
    assert (loss.name, loss.worst, loss.best, loss.best_run) == ("train_loss", 0.75, 0.25, 1)
    assert [s.std for s in spreads(results[:1])] == [0, 0]
    event = Study("train.lr=1", (5, 6, 7), tuple(results)).event()
    assert event["train_loss"]["best_seed"] == 6
    assert (event["set"], event["runs"]) == ("train.lr=1", 3)
