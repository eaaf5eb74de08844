"""Each member of the repertoire in integers against float32: measures docs/repertoire-accuracy.md.

As bench/accuracy.py, with one key of nn.toml changed at a time. Name members, nets or a number of
seeds to measure some of them; then the page is left as it is. Exit code 1 if a difference is too
large.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accuracy import NETS, PRESETS, Case, Result, measure, table
from rich.console import Console
from rich.progress import Progress

from nnhost.optimizers import OPTIMIZERS
from nnhost.schedules import SCHEDULES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "repertoire-accuracy.md"
SEEDS = 10
#: Data set, hidden layer, epochs.
DATA = (("iris", 8, 20), ("wine", 8, 20), ("breast_cancer", 8, 10), ("digits", 16, 6))


@dataclass(frozen=True)
class Member:
    """What is measured: its family, its name, and the keys of nn.toml that choose it."""

    family: str
    name: str
    keys: tuple[str, ...]


ADAPTIVE = [name for name, optimizer in OPTIMIZERS.items() if optimizer.adaptive]
MEMBERS = (
    Member("activation", "hard-sigmoid", ("net.activation=hard-sigmoid", "net.init=glorot")),
    Member("activation", "hard-tanh", ("net.activation=hard-tanh", "net.init=glorot")),
    Member("loss", "mae", ("net.loss=mae",)),
    Member("loss", "huber", ("net.loss=huber", "train.lr=0.125")),
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


def page(results: Sequence[tuple[Member, Result]]) -> str:
    """docs/repertoire-accuracy.md."""
    rows = []
    for at in range(0, len(results), len(PRESETS)):
        member = results[at][0]
        some = [r for _, r in results[at : at + len(PRESETS)]]
        rows.append([
            member.family, member.name, some[0].net,
            f"{sum(r.float32 for r in some) / len(some):.2f}",
            *(f"{r.difference:+.2f} ± {r.error:.2f}" for r in some),
        ])  # fmt: skip
    return "\n".join([
        "# The repertoire against float32",
        "",
        "`make repertoire` measures this table and writes this page, in the manner of",
        f"[accuracy](accuracy.md): {SEEDS} seeds a cell, one hidden layer of 8 units (digits: 16),",
        "plain SGD with lr 1/32 and batch 1 where the member does not say otherwise.",
        "",
        *table(["family", "member", "data", "float32", *PRESETS], rows),
    ])  # fmt: skip


def main() -> int:
    """Measure, and write the page or print the figures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--member", action="append", help="a member's name (repeatable)")
    parser.add_argument("--data", action="append", help="a data set's name (repeatable)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds a cell")
    options = parser.parse_args()
    members = [m for m in MEMBERS if not options.member or m.name in options.member]
    data = [d for d in DATA if not options.data or d[0] in options.data]
    results: list[tuple[Member, Result]] = []
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(members) * len(data) * len(PRESETS))
        for member in members:
            for source, width, epochs in data:
                for preset in PRESETS:
                    progress.update(task, description=f"{member.name}, {source}, {preset}")
                    some = case(member, source, width, epochs, options.seeds)
                    results.append((member, measure(some, preset)))
                    progress.advance(task)
    text = page(results)
    if (members, data, options.seeds) == (list(MEMBERS), list(DATA), SEEDS):
        PAGE.write_text(text)
    print(text, end="")
    return int(any(r.faulty for _, r in results))


if __name__ == "__main__":
    sys.exit(main())
