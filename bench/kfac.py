"""K-FAC against the best plain SGD: epochs until the loss is low, and the same on a board.

Prints the table of docs/repertoire.md. Both optimizers are tuned alike: every learning rate and
batch of one grid trains from several seeds on the native engine, and what counts is the median of
the epochs until the mean loss of the last epoch's steps is at most the target. K-FAC's best setting
then trains on the board from the first seed, compared at every step. Exit code 1 if K-FAC needs
more than half the epochs, or the board differs.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import product

import numpy as np
from accuracy import table
from rich.console import Console
from rich.progress import Progress

from nnhost.boards import get
from nnhost.outcome import Result
from nnhost.paths import examples_dir
from nnhost.project import Project, load_project
from nnhost.spread import simulate_many, with_seeds
from nnhost.verify import verify

#: K-FAC needs at most this share of SGD's epochs.
WANTED = 0.5


@dataclass(frozen=True)
class Case:
    """An example on a board, in a preset; the loss to reach within so many epochs of SGD, half as
    many of K-FAC; seeds a setting, and K-FAC's steps between two inversions."""

    example: str
    board: str
    preset: str
    target: float
    epochs: int
    seeds: int
    every: int


CASES = (
    Case("iris", "simstc8", "q16", 0.03, 60, 5, 40),
    Case("digits", "qemu-m4", "q16", 0.03, 20, 3, 200),
)
RATES = tuple(f"train.lr={2.0**-k}" for k in range(2, 7))
BATCHES = ("train.batch=1", "train.batch=4")


@dataclass(frozen=True)
class Best:
    """The setting with the fewest epochs: its project, their median, and the first seed's steps."""

    project: Project
    setting: str
    epochs: float
    steps: int


def reached(result: Result, target: float) -> float:
    """Epochs until the mean loss of as many steps as an epoch has is at most the target."""
    sums = np.cumsum([0.0, *result.losses])
    means = (sums[result.rows :] - sums[: -result.rows]) / result.rows
    found = np.flatnonzero(means <= target)
    return float(found[0]) / result.rows + 1 if len(found) else np.inf


def best(case: Case, optimizer: str, progress: Progress) -> Best:
    """The best setting of an optimizer."""
    settings = list(product(RATES, BATCHES))
    task = progress.add_task(f"{case.example}, {optimizer}", total=len(settings))
    found: list[Best] = []
    for setting in settings:
        keys = [f"train.optimizer={optimizer}", f"net.preset={case.preset}"]
        epochs = case.epochs if optimizer == "sgd" else case.epochs // 2
        keys += [f"train.epochs={epochs}", f"train.kfac_every={case.every}", *setting]
        project = load_project(examples_dir() / case.example, keys)
        results = simulate_many(with_seeds(project, case.seeds))
        needed = [reached(result, case.target) for result in results]
        name = ", ".join(key.split(".", 1)[1] for key in setting)
        steps = round(min(needed[0], epochs) * results[0].rows)
        found.append(Best(project, name, float(np.median(needed)), steps))
        progress.advance(task)
    return min(found, key=lambda b: b.epochs)


def main() -> int:
    """Tune both, train the best on the board, print the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--example", action="append", help="iris or digits (repeatable)")
    options = parser.parse_args()
    rows = []
    good = True
    with Progress(console=Console(stderr=True)) as progress:
        for case in CASES:
            if options.example and case.example not in options.example:
                continue
            sgd, kfac = (best(case, name, progress) for name in ("sgd", "kfac"))
            (verdict,) = verify(kfac.project, [get(case.board)], kfac.steps)
            good &= kfac.epochs <= WANTED * sgd.epochs and verdict.outcome == "exact"
            rows.append([
                f"{case.example}, {case.board}", f"{case.target:g}",
                f"{sgd.epochs:.1f} ({sgd.setting})", f"{kfac.epochs:.1f} ({kfac.setting})",
                f"{sgd.epochs / kfac.epochs:.1f}", f"{kfac.steps} steps {verdict.outcome}",
            ])  # fmt: skip
    head = ["net, board", "loss", "epochs of sgd", "of kfac", "ratio", "on the board"]
    print("\n".join(table(head, rows)))
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
