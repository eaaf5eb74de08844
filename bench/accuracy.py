"""Accuracy of training in integers against float32: measures docs/accuracy.md and writes it.

Both start from the same weights and visit the same rows in the same order with the same learning
rate. A seed changes the split, the weights and the order. Exit code 1 if a difference is too large.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.progress import Progress

from nnhost.curvature import Curvature
from nnhost.data import Dataset, load
from nnhost.lower import lower
from nnhost.native import NativeEngine
from nnhost.plan import PRESETS, make_plan
from nnhost.project import Project, load_project
from nnhost.reference import Reference
from nnhost.simulator import Simulator
from nnhost.train import visits

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "accuracy.md"
#: A mean difference of more points than this, and than two standard errors, is a fault.
LIMIT = 0.5


@dataclass(frozen=True)
class Case:
    """A project (an example's folder with overrides), measured over seeds 1 to `seeds`."""

    table: str
    net: str
    training: str
    seeds: int
    example: str
    overrides: tuple[str, ...]

    def project(self, preset: str) -> Project:
        """The project in a preset."""
        return load_project(ROOT / "examples" / self.example,
                            [*self.overrides, f"net.preset={preset}"])  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A case in a preset. `float32` and `integer` are means over the seeds, `difference` is the
    mean of integer less float32 and `error` its standard error; points, or RMSE."""

    table: str
    net: str
    training: str
    preset: str
    seeds: int
    float32: float
    integer: float
    difference: float
    error: float

    @property
    def faulty(self) -> bool:
        """Whether the integers are too far from float32."""
        return self.table in (NETS, KINDS) and abs(self.difference) > max(LIMIT, 2 * self.error)


class Twins:
    """A project trained twice: in integers, and in float32 from the same weights."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.plan = make_plan(project, load(project.data, 1, project.root))
        program = lower(self.plan)
        self.program = program
        self.engine, self.simulator = NativeEngine(self.plan, program), Simulator(program)
        self.reference = Reference(self.plan, np.float32)

    def train(self, seed: int, tick: Callable[[], None]) -> Dataset:
        """Train both; the data they were trained on. `tick` is called once an epoch."""
        data = load(self.project.data, seed, self.project.root)
        samples = self.plan.samples(data.x_train, data.y_train)
        epochs = self.project.train.epochs
        self.engine.reset(seed)
        self.simulator.set_state(self.engine.state())
        self.reference = Reference(self.plan, np.float32)
        self.reference.load(self.simulator.memory)

        keys, done = self.project.train, 0
        curvature = None
        if self.plan.layers[0].curvature:
            curvature = Curvature(self.plan, self.program, samples, keys.kfac_every, keys.damping)

        def new_order() -> None:
            """Trains the integers for an epoch, which leaves its visiting order in the state."""
            nonlocal done
            self.reference.epoch()
            end = done + self.plan.rows
            while done < end:
                steps = end - done
                if curvature:
                    steps = min(steps, curvature.every - done % curvature.every)
                    if curvature.due(done + 1):
                        self.engine.set_state(curvature.refreshed(self.engine.state()))
                self.engine.train(samples, epochs, steps)
                done += steps
            self.simulator.set_state(self.engine.state())
            tick()

        random = np.random.default_rng(seed)
        x = data.x_train.astype(np.float32)
        for v in visits(self.plan, new_order, self.simulator.pick, epochs):
            if curvature and curvature.due(v.step):
                rows = curvature.rows
                self.reference.refresh(x[rows], data.y_train[rows], keys.damping)
            self.reference.rest(random)
            self.reference.step(x[v.row], data.y_train[v.row], v.first, v.last)
        self.reference.masks = None
        return data

    def accuracies(self, data: Dataset) -> tuple[float, float]:
        """Percent right of the held-out rows (of all, where none are), integers and float32."""
        held_out = len(data.x_test) > 0
        x, y = (data.x_test, data.y_test) if held_out else (data.x_train, data.y_train)
        integers = self.engine.evaluate(self.plan.samples(x, y))[1]
        return 100 * float(np.mean(integers == y)), 100 * float(
            np.mean(self.reference.predict(x) == y)
        )

    def learned(self, data: Dataset) -> tuple[float, float]:
        """100 where no answer is wrong, else 0."""
        whole, real = self.accuracies(data)
        return 100.0 * (whole == 100), 100.0 * (real == 100)

    def errors(self, data: Dataset) -> tuple[float, float]:
        """Root mean square errors of the held-out targets in their own unit."""
        assert data.target_scaling is not None
        samples = self.plan.samples(data.x_test, data.y_test)
        last = self.plan.layers[-1]
        unit = 2.0 ** -(last.seen_fraction + last.input.fraction)
        outputs = []
        for x, target in zip(samples.x, samples.target, strict=True):
            self.simulator.evaluate(x, target)
            outputs.append(self.simulator.memory["logits"] * unit)
        whole, real = (
            float(np.sqrt(np.mean(((found - data.y_test) / data.target_scaling.factor) ** 2)))
            for found in (np.array(outputs), self.reference.predict(data.x_test))
        )
        return whole, real


# ---- what is measured ---------------------------------------------------------------------------

NETS, KINDS, SINE, XOR = "nets", "kinds", "sine", "xor"
MEASURES = {
    NETS: Twins.accuracies, KINDS: Twins.accuracies, SINE: Twins.errors, XOR: Twins.learned,
}  # fmt: skip


def trainings() -> Iterable[tuple[str, tuple[str, ...]]]:
    """The optimizers: what to call them, and their overrides."""
    for words, optimizer, batch, lr in (
        ("SGD", "sgd", 1, 1 / 32),
        ("momentum 0.9", "momentum", 1, 1 / 256),
        ("momentum 0.9, batch 16", "momentum", 16, 1 / 32),
    ):
        yield (
            f"{words}, lr 1/{round(1 / lr)}",
            (f"train.optimizer={optimizer}", f"train.batch={batch}", f"train.lr={lr}"),
        )


def cases(folder: Path) -> list[Case]:
    """All that is measured; data made for it go to `folder`."""
    found = []
    for source, net, epochs, seeds in (
        ("iris", "4-8-3", 20, 40),
        ("wine", "13-8-3", 20, 40),
        ("breast_cancer", "30-8-2", 10, 30),
        ("digits", "64-16-10", 6, 30),
    ):
        hidden = net.split("-")[1]
        for words, overrides in trainings():
            found.append(Case(NETS, f"{source} {net}, {epochs} epochs", words, seeds, "iris", (
                f"data.source={source}", f"net.hidden=[{hidden}]", f"train.epochs={epochs}",
                *overrides,
            )))  # fmt: skip
    for activation, init in (
        ("linear", "glorot"), ("relu", "he"), ("leaky-relu", "he"), ("sigmoid", "glorot"),
        ("tanh", "glorot"),
    ):  # fmt: skip
        for loss, lr in (
            ("softmax-cross-entropy", 1 / 32), ("binary-cross-entropy", 1 / 8), ("mse", 1 / 16),
        ):  # fmt: skip
            found.append(Case(KINDS, activation, loss, 25, "iris", (
                f"net.activation={activation}", f"net.init={init}", f"net.loss={loss}",
                f"train.lr={lr}",
            )))  # fmt: skip
    sine = folder / "sine.csv"
    sine.write_text("x,y\n" + "".join(
        f"{x:.9f},{math.sin(x):.9f}\n" for x in np.linspace(-math.pi, math.pi, 300)
    ))  # fmt: skip
    found.append(Case(SINE, "sin(x), 1-16-1 tanh, 1000 epochs", "SGD, lr 1/64", 2, "iris", (
        f"data.source={sine}", "net.hidden=[16]", "net.activation=tanh", "net.init=glorot",
        "net.loss=mse", "train.lr=0.015625", "train.epochs=1000",
    )))  # fmt: skip
    for words, overrides in (
        ("as in examples/xor", ()),
        ("momentum 0.9, lr 1/64", ("train.optimizer=momentum", "train.lr=0.015625")),
    ):
        found.append(Case(XOR, "xor 2-4-1 tanh", words, 50, "xor", overrides))
    return found


def measure(
    case: Case,
    preset: str,
    tick: Callable[[], None] = lambda: None,
    enough: Callable[[Result], bool] = lambda result: True,
) -> Result:
    """Train a case in a preset over all its seeds, and while that is not `enough`, over as many
    again. `tick` is called once an epoch."""
    twins = Twins(case.project(preset))
    pairs: list[tuple[float, float]] = []
    while True:
        for _ in range(case.seeds):
            pairs.append(MEASURES[case.table](twins, twins.train(len(pairs) + 1, tick)))
        result = summary(case, preset, pairs)
        if enough(result):
            return result


def summary(case: Case, preset: str, pairs: Sequence[tuple[float, float]]) -> Result:
    """What (integer, float32) of each seed say together."""
    found = np.array(pairs)
    differences = found[:, 0] - found[:, 1]
    error = differences.std(ddof=1) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.nan
    integer, real = found.mean(axis=0)
    return Result(
        case.table, case.net, case.training, preset, len(pairs), float(real), float(integer),
        float(differences.mean()), float(error),
    )  # fmt: skip


# ---- the page -----------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a markdown table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)] + [""]


def page(results: Sequence[Result]) -> str:
    """docs/accuracy.md."""

    def rows(name: str, cell: Callable[[Result], str], real: str) -> Iterable[Sequence[str]]:
        for at in range(0, len(results), len(PRESETS)):
            some = results[at : at + len(PRESETS)]
            first = some[0]
            if first.table == name:
                float32 = np.mean([r.float32 for r in some])
                yield [first.net, first.training, str(first.seeds), real.format(float32),
                       *map(cell, some)]  # fmt: skip

    def points(r: Result) -> str:
        return f"{r.difference:+.2f} ± {r.error:.2f}"

    presets = list(PRESETS)
    worst = max((r for r in results if r.table == NETS), key=lambda r: abs(r.difference))
    return "\n".join([
        "# Accuracy against float32",
        "",
        "`make accuracy` measures these tables and writes this page. Each net is trained twice:",
        "in the integers of [semantics.md](semantics.md), and in float32 by an independent",
        "reference (`nnhost/reference.py`), from the same weights, over the same rows in the same",
        "order, with the same learning rate. A seed changes the split, the weights and the order.",
        "Accuracy is that of the held-out fifth, in percent; differences are integer less float32,",
        "paired by seed, in percentage points: mean ± standard error.",
        "",
        "## Data sets and optimizers",
        "",
        "ReLU, softmax and cross-entropy. The largest mean difference is "
        f"{worst.difference:+.2f} points; {LIMIT} are allowed.",
        "",
        *table(["net", "training", "seeds", "float32", *presets], rows(NETS, points, "{:.2f}")),
        "## Activations and losses",
        "",
        "iris 4-8-3, 20 epochs, plain SGD.",
        "",
        *table(["activation", "loss", "seeds", "float32", *presets], rows(KINDS, points, "{:.2f}")),
        "## Regression",
        "",
        "Root mean square error on held-out points, in units of the sine: regression wants q16.",
        "",
        *table(["net", "training", "seeds", "float32", *presets],
               rows(SINE, lambda r: f"{r.integer:.4f}", "{:.4f}")),
        "## XOR",
        "",
        "Percent of the seeds after which no answer is wrong.",
        "",
        *table(["net", "training", "seeds", "float32", *presets],
               rows(XOR, lambda r: f"{r.integer:.0f}", "{:.0f}")),
    ])  # fmt: skip


def main() -> int:
    """Measure, write the page, and print it or the figures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures, one object a line")
    options = parser.parse_args()
    results = []
    with TemporaryDirectory() as folder, Progress(console=Console(stderr=True)) as progress:
        todo = cases(Path(folder))
        epochs = [case.seeds * case.project("q8").train.epochs for case in todo]
        task = progress.add_task("", total=len(PRESETS) * sum(epochs))
        for case in todo:
            for preset in PRESETS:
                progress.update(task, description=f"{case.net}, {case.training}, {preset}")
                results.append(measure(case, preset, lambda: progress.advance(task)))
                if options.json:
                    print(json.dumps(asdict(results[-1])), flush=True)
    text = page(results)
    PAGE.write_text(text)
    if not options.json:
        print(text, end="")
    return int(any(r.faulty for r in results))


if __name__ == "__main__":
    sys.exit(main())
