"""Each member of the repertoire in integers against float32: measures docs/repertoire-accuracy.md.

As bench/accuracy.py, with one key of nn.toml changed at a time. Name members, nets or a number of
seeds to measure some of them; then the page is left as it is. What was measured is kept, so an
interrupted run goes on. Exit code 1 if a difference is too large.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from accuracy import NETS, PRESETS, ROOT, Case, Result, measure, table
from rich.console import Console
from rich.progress import Progress

from nnhost.data import load
from nnhost.lower import fingerprint, lower
from nnhost.optimizers import OPTIMIZERS
from nnhost.plan import make_plan
from nnhost.schedules import SCHEDULES

PAGE = ROOT / "docs" / "repertoire-accuracy.md"
KEPT = ROOT / "build" / "repertoire.jsonl"
#: Seeds a cell, and the most where the difference is larger than LIMIT points.
SEEDS, MOST_SEEDS = 10, 160
LIMIT = 0.3
#: Among so many cells, one or two differ by three standard errors by chance.
ERRORS = 3
#: Data set, hidden layer, epochs.
DATA = (("iris", 8, 20), ("wine", 8, 20), ("breast_cancer", 8, 10), ("digits", 16, 6))


@dataclass(frozen=True)
class Member:
    """What is measured: its family, its name, and the keys of nn.toml that choose it."""

    family: str
    name: str
    keys: tuple[str, ...]
    hopeless: tuple[str, ...] = ()
    """data sets that it does not learn in float32 either"""
    known: tuple[str, ...] = ()
    """data sets and presets for whose differences docs/repertoire.md has the reason and the cure"""


#: Units that do not die of the large first residuals of linear outputs.
TANH = ("net.activation=tanh", "net.init=glorot")
ADAPTIVE = [name for name, optimizer in OPTIMIZERS.items() if optimizer.adaptive]
MEMBERS = (
    Member("activation", "hard-sigmoid", ("net.activation=hard-sigmoid", "net.init=glorot")),
    Member("activation", "hard-tanh", ("net.activation=hard-tanh", "net.init=glorot")),
    Member("loss", "mae", ("net.loss=mae", *TANH), hopeless=("digits",)),
    Member("loss", "huber", ("net.loss=huber", "train.lr=0.125", *TANH), known=("digits q8",)),
    Member("loss", "label smoothing 0.1", ("train.label_smoothing=0.1",)),
    Member("optimizer", "momentum", ("train.optimizer=momentum", "train.lr=0.00390625")),
    Member("optimizer", "nesterov", ("train.optimizer=nesterov", "train.lr=0.00390625")),
    *(
        Member("optimizer", name, (f"train.optimizer={name}", f"train.lr={OPTIMIZERS[name].lr}"))
        for name in ADAPTIVE
    ),
    *(
        Member(
            "optimizer",
            f"{name}, batch 16",
            (f"train.optimizer={name}", "train.batch=16", f"train.lr={4 * OPTIMIZERS[name].lr}"),
        )
        for name in ADAPTIVE
    ),
    Member("optimizer", "kfac", ("train.optimizer=kfac", "train.kfac_every=200")),
    Member(
        "optimizer",
        "adam, batch_norm",
        ("train.optimizer=adam", "train.lr=0.008", "train.batch=16", "net.batch_norm=true"),
    ),
    Member(
        "dropout",
        "dropout 0.25, batch_norm",
        ("net.dropout=0.25", "net.batch_norm=true", "train.batch=16", "train.lr=0.25"),
    ),
    Member(
        "clipping",
        "clip_norm, batch 16",
        ("train.clip_norm=0.3", "train.batch=16", "train.lr=0.25"),
    ),
    Member("dropout", "dropout 0.25", ("net.dropout=0.25",)),
    Member("class weights", "balanced", ("train.class_weights=balanced",)),
    Member("clipping", "clip_value", ("train.clip_value=1.0",)),
    Member("clipping", "clip_norm", ("train.clip_norm=1.0",)),
    Member(
        "normalisation", "batch_norm", ("net.batch_norm=true", "train.batch=16", "train.lr=0.25")
    ),
    Member("weight decay", "l2", ("train.l2=0.003",)),
    Member("weight decay", "l1", ("train.l1=0.0003",)),
    Member("weight decay", "elastic", ("train.l1=0.0002", "train.l2=0.002")),
    *(
        Member("schedule", name, (f"train.schedule={name}", "train.lr=0.0625", "train.warmup=0.5"))
        for name in SCHEDULES
    ),
)


def case(member: Member, source: str, width: int, epochs: int, seeds: int) -> Case:
    """A member on a data set."""
    overrides = (f"data.source={source}", f"net.hidden=[{width}]", f"train.epochs={epochs}")
    net = f"{source}, {epochs} epochs"
    return Case(NETS, net, member.name, seeds, "iris", (*overrides, *member.keys))


def measured(
    member: Member, data: tuple[str, int, int], preset: str, seeds: int, most: int
) -> Result:
    """A member on a data set in a preset: more seeds where a few do not say that it is near."""
    return measure(case(member, *data, seeds), preset, enough=lambda result: enough(result, most))


def enough(result: Result, most: int) -> bool:
    """Whether no more seeds are needed."""
    return result.seeds >= most or abs(result.difference) <= LIMIT


def cell(result: Result) -> str:
    """The difference, its standard error, and the number of seeds; bold if it is large."""
    text = f"{result.difference:+.2f} ± {result.error:.2f} ({result.seeds})"
    return f"**{text}**" if abs(result.difference) > LIMIT else text


def page(results: Sequence[tuple[Member, Result]]) -> str:
    """docs/repertoire-accuracy.md."""
    rows = []
    for at in range(0, len(results), len(PRESETS)):
        member = results[at][0]
        some = [r for _, r in results[at : at + len(PRESETS)]]
        rows.append([
            member.family, member.name, some[0].net,
            f"{sum(r.float32 for r in some) / len(some):.2f}",
            *map(cell, some),
        ])  # fmt: skip
    return "\n".join([
        "# The repertoire against float32",
        "",
        "`make repertoire` measures this table and writes this page, in the manner of",
        f"[accuracy](accuracy.md): {SEEDS} seeds a cell, and up to {MOST_SEEDS} where these differ",
        f"by more than {LIMIT} points; their number is in brackets. One hidden layer of 8 units",
        "(digits: 16), plain SGD with lr 1/32 and batch 1 where the member does not say otherwise.",
        "",
        *judgement(results),
        "",
        *table(["family", "member", "data", "float32", *PRESETS], rows),
        "Losses of the residual have hidden layers of tanh: of digits, the first residuals of ten",
        "linear outputs leave so many ReLUs dead for ever that float32 ends at 65 to 85 % and each",
        "rounding decides which. The absolute error of one-hot targets does not learn digits in",
        "float32 either, 12 to 71 % by the seed: all errors weigh alike (Zhang and Sabuncu, 2018).",
        "",
    ])  # fmt: skip


def judgement(results: Sequence[tuple[Member, Result]]) -> list[str]:
    """What the cells say together, and of each difference that is large what to think of it."""
    large = [(m, r) for m, r in results if abs(r.difference) > LIMIT]
    mean = sum(r.difference for _, r in results) / len(results)
    lines = [
        f"{len(results) - len(large)} of {len(results)} cells are within {LIMIT} points, the mean"
        f" of all is {mean:+.3f}. Seeds that",
        "end as soon as the mean is small favour small means: the standard error tells what one"
        " says.",
    ]
    for member, result in large:
        if abs(result.difference) <= ERRORS * result.error:
            verdict = f"no more than {ERRORS} standard errors"
        elif result.difference > 0:
            verdict = "integers are better"
        elif is_known(member, result):
            verdict = "the reason and the cure are in [repertoire](repertoire.md)"
        else:
            verdict = "not explained"
        lines.append(f"{member.name}, {result.net}, {result.preset}, in bold: {verdict}.")
    return lines


def is_known(member: Member, result: Result) -> bool:
    """Whether docs/repertoire.md has the reason."""
    return f"{result.net.split(',')[0]} {result.preset}" in member.known


def faulty(member: Member, result: Result) -> bool:
    """Whether integers are worse, it is no accident, and nothing explains it."""
    worse = -result.difference > max(LIMIT, ERRORS * result.error)
    return worse and not is_known(member, result)


class Kept:
    """Cells that were measured before, so that an interrupted run goes on: a line of JSON each,
    found by what was measured and by the training program's fingerprint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.cells: dict[str, Result] = {}
        for line in lines:
            cell = json.loads(line)
            self.cells[cell["key"]] = Result(**cell["result"])

    @staticmethod
    def key(member: Member, data: tuple[str, int, int], preset: str, seeds: int) -> str:
        """What the cell is of."""
        project = case(member, *data, seeds).project(preset)
        plan = make_plan(project, load(project.data, 1, project.root))
        return f"{fingerprint(lower(plan)):08X} {member.keys} {data} {seeds}"

    def add(self, key: str, result: Result) -> None:
        """Keep one more."""
        self.cells[key] = result
        with self.path.open("a") as file:
            file.write(json.dumps({"key": key, "result": asdict(result)}) + "\n")


def main() -> int:
    """Measure, and write the page or print the figures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--member", action="append", help="a member's name (repeatable)")
    parser.add_argument("--data", action="append", help="a data set's name (repeatable)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds a cell")
    parser.add_argument("--most", type=int, default=MOST_SEEDS, help="seeds of a cell that differs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="cells at once")
    options = parser.parse_args()
    members = [m for m in MEMBERS if not options.member or m.name in options.member]
    data = [d for d in DATA if not options.data or d[0] in options.data]
    todo = [
        (m, d, p, options.seeds)
        for m in members for d in data for p in PRESETS if d[0] not in m.hopeless
    ]  # fmt: skip
    kept = Kept(KEPT)
    keys = [Kept.key(*cell) for cell in todo]
    with (
        Progress(console=Console(stderr=True)) as progress,
        ProcessPoolExecutor(options.jobs) as pool,
    ):
        task = progress.add_task("", total=len(todo))
        running = {}
        for key, cell in zip(keys, todo, strict=True):
            if key in kept.cells and enough(kept.cells[key], options.most):
                progress.advance(task)
            else:
                running[pool.submit(measured, *cell, options.most)] = (key, cell)
        for future in as_completed(running):
            key, (member, (source, _, _), preset, _) = running[future]
            kept.add(key, future.result())
            progress.update(task, advance=1, description=f"{member.name}, {source}, {preset}")
    results = [(cell[0], kept.cells[key]) for key, cell in zip(keys, todo, strict=True)]
    text = page(results)
    whole = (list(MEMBERS), list(DATA), SEEDS, MOST_SEEDS)
    if (members, data, options.seeds, options.most) == whole:
        PAGE.write_text(text)
    print(text, end="")
    return int(any(faulty(*r) for r in results))


if __name__ == "__main__":
    sys.exit(main())
