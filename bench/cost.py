"""How far `nnhost build` is off when it says what a training step and a forward pass cost.

    python bench/cost.py [--net NAME]... [--board B]...

A dozen nets on a board of each family: what `build` finds in the firmware, and what the board
counts in as many training steps (`nnhost bench`). Writes bench/cost.md if all are asked for; the
exit code is 1 where a figure is off by more than 5 %.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from nnhost import bench, boards
from nnhost.build import build, platformio_ini
from nnhost.cost import STEPS, cost
from nnhost.errors import CapacityError
from nnhost.generate import prepare
from nnhost.paths import firmware_dir
from nnhost.project import create_project, load_project

PAGE = Path(__file__).with_name("cost.md")
BOARDS = ("sim8052", "qemu-m0", "qemu-m3", "qemu-m4", "qemu-m7", "qemu-m33", "qemu-m55")
MOMENTUM = ("train.optimizer=momentum", "train.lr=0.00390625")
#: Name -> example and settings: both presets, most optimizers, sizes that kernels cut up.
NETS: dict[str, tuple[str, ...]] = {
    "xor 2-4-1 q8 SGD": ("xor",),
    "iris 4-7-3 q8 SGD tanh": ("iris", "net.hidden=[7]", 'net.activation="tanh"'),
    "iris 4-12-3 q8 SGD leaky-relu, batch 4": (
        "iris", "net.hidden=[12]", 'net.activation="leaky-relu"', "train.batch=4",
    ),
    "iris 4-14-3 q16 SGD sigmoid": (
        "iris", "net.hidden=[14]", 'net.activation="sigmoid"', "net.preset=q16",
    ),
    "wine 13-10-3 q16 momentum": (
        "iris", "data.source=wine", "net.hidden=[10]", "net.preset=q16", *MOMENTUM,
    ),
    "breast_cancer 30-9-2 q8 momentum": (
        "iris", "data.source=breast_cancer", "net.hidden=[9]", *MOMENTUM,
    ),
    "iris 4-8-6-3 q8 nesterov, l2": (
        "iris", "net.hidden=[8,6]", "train.optimizer=nesterov", "train.lr=0.00390625",
        "train.l2=0.001",
    ),
    "digits 64-16-10 q8 SGD": ("digits",),
    "digits 64-13-10 q8 momentum": ("digits", "net.hidden=[13]", *MOMENTUM),
    "digits 64-18-10 q16 SGD": ("digits", "net.hidden=[18]", "net.preset=q16"),
    "iris 4-8-3 q8 SGD, dropout": ("iris", "net.dropout=0.25"),
    "iris 4-8-3 q16 SGD, batch norm, batch 8": (
        "iris", "net.preset=q16", "net.batch_norm=true", "train.batch=8",
    ),
    "iris 4-8-3 q8 Adam": ("iris", "train.optimizer=adam", "train.lr=0.00390625"),
    "iris 4-8-3 q8 K-FAC": ("iris", "train.optimizer=kfac"),
}  # fmt: skip
BOUND = 0.05

HEAD = f"""# What `nnhost build` says of the cost, and what boards count

    make cost

Machine cycles of an 8051, instructions of a Cortex-M: a training step, mean of the first {STEPS},
digests included, and a forward pass. "said" is what `build` prints; "counted" is what the board
counts (`nnhost bench`).
"""


def off(said: int, counted: int) -> float:
    """How far a figure is off, relative."""
    return said / counted - 1


def compare(name: str, board: boards.Board) -> tuple[str, float] | None:
    """The row of a net on a board, and the larger error; None where it does not fit."""
    example, *settings = NETS[name]
    with TemporaryDirectory() as folder:
        root = Path(folder) / "net"
        create_project(root, example, None, platformio_ini(str(firmware_dir())))
        project = load_project(root, settings)
        try:
            said = cost(prepare(project), board, build(project, board).image)
        except CapacityError:
            return None
        (counted,) = bench.bench(project, [board], STEPS)
    if said is None or counted.message:
        raise SystemExit(f"{name} on {board.name}: {counted.message or 'no cost'}")
    step, forward = off(said.per_step, counted.per_step), off(said.forward, counted.forward)
    row = (
        f"| {board.name} | {name} | {said.per_step:,} | {counted.per_step:,} | {step:+.1%}"
        f" | {said.forward:,} | {counted.forward:,} | {forward:+.1%} |"
    )
    return row, max(abs(step), abs(forward))


def main() -> int:
    """Compare and perhaps write the page; the exit code."""
    parser = argparse.ArgumentParser(description="How far the cost that build says is off.")
    parser.add_argument("--net", action="append", choices=list(NETS), help="only this net")
    parser.add_argument("--board", action="append", choices=BOARDS, help="only this board")
    given = parser.parse_args()
    lines = ["| board | net | step: said | counted | off | forward: said | counted | off |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    worst = 0.0
    for board in map(boards.get, given.board or BOARDS):
        for name in given.net or NETS:
            found = compare(name, board)
            if found is None:
                print(f"{name} does not fit {board.name}", file=sys.stderr)
                continue
            lines.append(found[0])
            worst = max(worst, found[1])
            print(found[0], flush=True)
    print(f"off by {worst:.1%} at most")
    if not given.net and not given.board:
        text = [HEAD, *lines, "", f"Off by {worst:.1%} at most."]
        PAGE.write_text("\n".join(text) + "\n", encoding="utf-8")
    return int(worst > BOUND)


if __name__ == "__main__":
    sys.exit(main())
