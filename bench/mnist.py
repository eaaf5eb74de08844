"""MNIST on the full training set, with the project of examples/mnist: python bench/mnist.py FOLDER

Trains five seeds in the native engine and puts what they reach into the example's README. Then
qemu-m7 trains the first steps of the first seed's run, compared with the simulator. The exit code
is 1 if a seed stays below what is wanted; a difference ends the run.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from nnhost import load_project, simulate_many, virtual_board
from nnhost.outcome import Progress, Result
from nnhost.spread import with_seeds

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "mnist"
SEEDS = 5
WANTED = 0.98
BOARD, STEPS = "qemu-m7", 2000
TABLE = re.compile(r"^\| seed \|.*?\n\n", re.M | re.S)


def row(seed: int, result: Result) -> str:
    """A line of the table."""
    assert result.best is not None
    assert result.validation_accuracy is not None
    assert result.test_accuracy is not None
    shares = [
        f"{100 * share:.2f} %" for share in (result.validation_accuracy, result.test_accuracy)
    ]
    return f"| {seed} | {result.best.epoch} | {' | '.join(shares)} | `{result.digest}` |"


def table(results: list[Result]) -> str:
    """What each seed reached."""
    lines = [
        "| seed | epoch kept | validation | test, 10,000 images | digest |",
        "|---|---|---|---|---|",
    ]
    return "\n".join(
        [*lines, *(row(seed, result) for seed, result in enumerate(results, 1)), "", ""]
    )


def main(folder: str) -> int:
    """Train, write and compare; the exit code."""
    project = load_project(EXAMPLE, [f"data.source={Path(folder).resolve()}"])

    def tell(at: int, result: Result) -> None:
        print(row(at + 1, result), flush=True)

    print(f"{SEEDS} seeds, {project.train.epochs} epochs each: some minutes", flush=True)
    results = simulate_many(with_seeds(project, SEEDS), on_result=tell)
    page = EXAMPLE / "README.md"
    page.write_text(TABLE.sub(lambda _: table(results), page.read_text(), count=1))

    def step(progress: Progress) -> None:
        if progress.step % 100 == 0:
            print(f"{BOARD}: {progress.step} of {STEPS} steps exact", flush=True)

    with virtual_board(project, BOARD) as board:
        board.train(steps=STEPS, score=False, on_step=step)
    return int(any((result.test_accuracy or 0) < WANTED for result in results))


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or [str(EXAMPLE / "data")])))
