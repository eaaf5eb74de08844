"""What the examples of techniques claim, for more seeds than their pages show."""

from __future__ import annotations

import pytest

from nnhost import load_project, simulate_many
from nnhost.paths import examples_dir
from nnhost.spread import with_seeds

SEEDS = 4


def accuracies(example: str, *settings: str) -> list[float]:
    """On test rows, one a seed."""
    projects = with_seeds(load_project(examples_dir() / example, settings), SEEDS)
    return [float(result.test_accuracy or 0) for result in simulate_many(projects)]


def test_sigmoids_vanish() -> None:
    assert max(accuracies("vanishing")) < 0.2


@pytest.mark.parametrize("cure", ["net.batch_norm=true", "net.activation=relu"])
def test_the_cures_of_vanishing(cure: str) -> None:
    assert min(accuracies("vanishing", cure)) > 0.9


def test_a_fast_net_explodes() -> None:
    assert max(accuracies("exploding")) < 0.2


@pytest.mark.parametrize("cure", ["train.clip_value=0.1", "train.clip_norm=2"])
def test_the_cures_of_exploding(cure: str) -> None:
    assert min(accuracies("exploding", cure)) > 0.9


@pytest.mark.parametrize("cure", ["train.early_stopping=3", "net.dropout=0.7", "train.l2=0.06"])
def test_the_cures_of_overfitting(cure: str) -> None:
    """The mean of the seeds is better by 2 points at least; by heart, all rows can be learned."""
    plain, cured = accuracies("overfitting"), accuracies("overfitting", cure)
    assert sum(cured) / SEEDS > sum(plain) / SEEDS + 0.02
