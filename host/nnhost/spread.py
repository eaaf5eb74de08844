"""Many trainings of one net at once: from other seeds, or with other settings.

Each ends in the bits of `simulate`. What they share is done once: the data are read, equal nets
lowered and compiled; then as many train at the same time as there are processors.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock, local

import numpy as np

from nnhost.ending import Ending
from nnhost.errors import UsageError, quote
from nnhost.generate import load_data, network_of
from nnhost.ir import Program
from nnhost.lower import lower
from nnhost.native import NativeEngine
from nnhost.outcome import Result, length
from nnhost.plan import Plan, make_plan
from nnhost.project import Project
from nnhost.simulation import simulate, train_native

LAST_SEED = 65535

OnResult = Callable[[int, Result], None]


@dataclass(frozen=True)
class Spread:
    """How one figure differs over several trainings. `std` is the sample's standard deviation,
    0 for a single one; `best` the best value and `best_run` the place of its training, from 0."""

    name: str
    mean: float
    std: float
    worst: float
    best: float
    best_run: int


@dataclass(frozen=True)
class Study:
    """The trainings with one setting (KEY=VALUE, or "" for nn.toml's own), a seed each."""

    setting: str
    seeds: tuple[int, ...]
    results: tuple[Result, ...]

    def event(self) -> dict[str, object]:
        """The object that `--json` prints."""
        figures = {
            s.name: {"mean": s.mean, "std": s.std, "worst": s.worst, "best": s.best,
                     "best_seed": self.seeds[s.best_run]}
            for s in spreads(self.results)
        }  # fmt: skip
        return {"event": "spread", "set": self.setting, "runs": len(self.results), **figures}

    def losses(self) -> list[float]:
        """The mean loss of each step that all have made."""
        steps = min(result.steps for result in self.results)
        losses = [result.losses[:steps] for result in self.results]
        mean: list[float] = np.mean(losses, axis=0).tolist()
        return mean


#: The figures of a Result, and whether more is better.
FIGURES = {
    "test_accuracy": True, "validation_accuracy": True, "train_accuracy": True,
    "test_loss": False, "validation_loss": False, "train_loss": False,
}  # fmt: skip


def sweep(text: str) -> list[str]:
    """The settings of KEY=VALUE,VALUE...; commas between brackets belong to a value.

    Raises `UsageError`.
    """
    key, equals, values = text.partition("=")
    if not equals or not values:
        raise UsageError(f"cannot sweep {quote(text)}", help="e.g. --sweep train.lr=0.01,0.02,0.04")
    return [f"{key}={value}" for value in re.split(r",(?![^\[]*\])", values)]


def with_seeds(project: Project, count: int) -> list[Project]:
    """The project with `count` seeds, from its own on. Raises `UsageError` beyond the last."""
    first = project.train.seed
    if first + count - 1 > LAST_SEED:
        raise UsageError(
            f"{count} seeds from {first} on go beyond {LAST_SEED}",
            help="set a smaller [train] seed, or ask for fewer",
        )
    return [
        replace(project, train=replace(project.train, seed=seed))
        for seed in range(first, first + count)
    ]


def simulate_many(
    projects: Sequence[Project],
    engine: str = "native",
    epochs: int | None = None,
    steps: int | None = None,
    on_result: OnResult = lambda at, result: None,
) -> list[Result]:
    """`simulate` each of the projects, several at a time; the results in the projects' order.

    `on_result` is called with a project's place and its result as soon as that is there.
    Raises `NnhostError` for the user's mistakes.
    """
    workers = min(os.cpu_count() or 1, max(1, len(projects)))
    pool: Executor
    if engine == "native":  # the library runs without Python's lock
        pool, work = ThreadPoolExecutor(workers), partial(_Natives().train, epochs, steps)
    else:
        pool = ProcessPoolExecutor(workers)
        work = partial(_simulate, engine, epochs, steps)
    results: dict[int, Result] = {}
    with pool:
        under_way = {pool.submit(work, project): at for at, project in enumerate(projects)}
        try:
            for done in as_completed(under_way):
                at = under_way[done]
                results[at] = done.result()
                on_result(at, results[at])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [results[at] for at in range(len(projects))]


def spreads(results: Sequence[Result]) -> Iterator[Spread]:
    """The spread of each figure that all results have."""
    for name, rising in FIGURES.items():
        values = [getattr(result, name) for result in results]
        if values and None not in values:
            order = np.argsort(values, kind="stable")
            best = int(np.argmax(values) if rising else order[0])
            worst = int(order[0] if rising else np.argmax(values))
            std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            yield Spread(name, float(np.mean(values)), std, values[worst], values[best], best)


def _simulate(engine: str, epochs: int | None, steps: int | None, project: Project) -> Result:
    return simulate(project, engine, epochs, steps)


class _Natives:
    """Native engines: one a thread and plan, since each has the state of one training."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._programs: dict[Plan, Program] = {}
        self._own = local()

    def train(self, epochs: int | None, steps: int | None, project: Project) -> Result:
        """Train a project on an engine of this thread."""
        data = load_data(project)
        plan = make_plan(project, data)
        engines: dict[Plan, NativeEngine] = self._own.__dict__.setdefault("engines", {})
        with self._lock:  # what is compiled for one thread is there for the next
            if plan not in self._programs:
                self._programs[plan] = lower(plan)
            program = self._programs[plan]
            if plan not in engines:
                engines[plan] = NativeEngine(plan, program)
        network = network_of(project, data, plan, program)
        total = length(network, epochs, steps)
        return train_native(engines[plan], network, total, Ending(network, steps))
