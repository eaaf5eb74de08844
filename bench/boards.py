"""What a training step costs on every virtual board: one table, with its history.

    python bench/boards.py [--record] [--net NAME]... [--board B]...

Measures each net on each board for 100 steps, as `nnhost bench` does, and compares the figures with
the last that bench/history.csv records. They are counts, so that they must be equal where the
compilers are the same; the exit code is 1 where one is not. With --record those that differ are
added to the history, and bench/boards.md is written anew.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

from nnhost import bench
from nnhost.boards import BOARDS, Board
from nnhost.paths import examples_dir
from nnhost.project import load_project

HERE = Path(__file__).resolve().parent
HISTORY, PAGE = HERE / "history.csv", HERE / "boards.md"
STEPS = 100

#: With a learning rate at which the nets learn.
MOMENTUM = ("train.optimizer=momentum", "train.lr=0.00390625")
#: Name -> example and settings.
NETS: dict[str, tuple[str, ...]] = {
    "xor q8 SGD": ("xor",),
    "iris q8 SGD": ("iris",),
    "iris q16 momentum": ("iris", "net.preset=q16", *MOMENTUM),
    "digits q8 SGD": ("digits",),
    "digits q8 momentum": ("digits", *MOMENTUM),
    "digits q16 SGD": ("digits", "net.preset=q16"),
    "digits q16 momentum": ("digits", "net.preset=q16", *MOMENTUM),
}
#: sim8052 differs from simstc8 in the size of its memory alone.
MEASURED = [b for b in BOARDS.values() if b.kind == "virtual" and b.unit and b.name != "sim8052"]
KEY = ("net", "board", "compiler")
FIGURES = ("per_step", "unit", "forward", "code", "ram", "stack")
COLUMNS = ("date", *KEY, *FIGURES)
#: QEMU's clock counts whole instructions but for a remainder that depends on when a byte comes.
SLACK = {"instructions": 1}
#: There a byte is stored by an interrupt, which may find the stack at any height.
STACK_SLACK = {"instructions": 64}

HEAD = f"""# What a training step costs on the virtual boards

    make bench

Means of the first {STEPS} training steps, batch 1, counted by the boards (`nnhost bench`):
machine cycles in uCsim, instructions in QEMU, from the sample complete to the report ready, digests
included. "forward" is a forward pass alone. Code, RAM and the most of the stack in use are bytes of
the whole firmware; the RAM of a Cortex-M includes 1,024 bytes for the stack. A net that is missing
does not fit; the stack of a Cortex-M depends on where an interrupt strikes. `history.csv` keeps
what the figures were.
"""


def compiler(board: Board) -> str:
    """Name and version of the board's compiler."""
    said = subprocess.run(
        [board.toolchain, "--version"], capture_output=True, text=True, check=True
    )
    found = re.search(r"\b\d+\.\d+\.\d+\b", said.stdout)
    return f"{board.toolchain} {found[0] if found else '?'}"


def rows(nets: list[str], boards: list[Board]) -> list[dict[str, str]]:
    """The figures of today, as they stand in the history. Says on stderr what goes on."""
    compilers = {board.name: compiler(board) for board in boards}
    found = []
    for net in nets:
        example, *settings = NETS[net]
        project = load_project(examples_dir() / example, settings)
        print(f"{net} ...", file=sys.stderr, flush=True)
        for cost in bench.bench(project, boards, STEPS):
            if cost.failed:
                raise SystemExit(f"{net} on {cost.board}: {cost.message}")
            if cost.refused:
                continue
            values = (date.today(), net, cost.board, compilers[cost.board])
            values += tuple(getattr(cost, name) for name in FIGURES)
            found.append(dict(zip(COLUMNS, map(str, values), strict=True)))
    return sorted(found, key=lambda row: (list(NETS).index(row["net"]), _place(row["board"])))


def _place(board: str) -> int:
    return list(BOARDS).index(board)


def recorded() -> dict[tuple[str, ...], dict[str, str]]:
    """The last figures of each net, board and compiler."""
    if not HISTORY.exists():
        return {}
    with HISTORY.open(newline="", encoding="utf-8") as file:
        return {tuple(row[k] for k in KEY): row for row in csv.DictReader(file)}


def differs(row: dict[str, str], last: dict[str, str]) -> bool:
    """Whether a figure is another one than it was."""
    unit = row["unit"]
    slack = {"per_step": SLACK, "forward": SLACK, "stack": STACK_SLACK}
    return unit != last["unit"] or any(
        abs(int(row[name]) - int(last[name])) > slack.get(name, {}).get(unit, 0)
        for name in FIGURES
        if name != "unit"
    )


def record(changed: list[dict[str, str]]) -> None:
    """Add to the history, and write the page from the last of all."""
    begun = HISTORY.exists()
    with HISTORY.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not begun:
            writer.writeheader()
        writer.writerows(changed)
    lines = [HEAD]
    last = recorded().values()
    for net in NETS:
        lines += [f"## {net}", "", "| board | a step | unit | forward | code | RAM | stack |"]
        lines.append("|---|---|---|---|---|---|---|")
        for row in sorted((r for r in last if r["net"] == net), key=lambda r: _place(r["board"])):
            a_step, unit, *others = (row[name] for name in FIGURES)
            cells = [row["board"], f"{int(a_step):,}", unit, *(f"{int(n):,}" for n in others)]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def main() -> int:
    """Measure, compare and perhaps record; the exit code."""
    parser = argparse.ArgumentParser(description="What a training step costs on the boards.")
    parser.add_argument("--record", action="store_true", help="keep the figures that differ")
    parser.add_argument("--net", action="append", choices=list(NETS), help="only this net")
    parser.add_argument("--board", action="append", help="only this board")
    given = parser.parse_args()
    boards = [b for b in MEASURED if given.board is None or b.name in given.board]
    measured = rows(given.net or list(NETS), boards)
    last = recorded()
    changed = []
    for row in measured:
        before = last.get(tuple(row[k] for k in KEY))
        if before is None or differs(row, before):
            changed.append(row)
        figures = " ".join(f"{name} {row[name]}" for name in FIGURES)
        was = " ".join(f"{name} {before[name]}" for name in FIGURES) if before else "not recorded"
        print(
            f"{row['net']}, {row['board']}: {figures}" + (f" (was {was})" if row in changed else "")
        )
    if given.record:
        record(changed)
        return 0
    # Of a compiler that has not been recorded nothing can be said.
    changed = [row for row in changed if tuple(row[k] for k in KEY) in last]
    if changed:
        print(f"error: {len(changed)} figures differ from {HISTORY.name}", file=sys.stderr)
        print("help: if that is meant: python bench/boards.py --record", file=sys.stderr)
    return int(bool(changed))


if __name__ == "__main__":
    sys.exit(main())
