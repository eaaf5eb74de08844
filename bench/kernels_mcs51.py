"""Machine cycles of a training step on an 8051, with its kernels and without, counted in uCsim.

    python bench/kernels_mcs51.py [--samples N] [--board B] [--flag FLAG] [EXAMPLE [KEY=VALUE]...]

Compiles the generated net and a main function that trains on the first samples, breaks at the start
of every section, and prints a table: the average of the samples, and bytes of code without the
rows. Besides plain C and all there is, each net is measured without passes, as on a board that has
no room for them, and with all kernels but one.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from nnhost import boards
from nnhost.generate import Network, board_sources, prepare, write
from nnhost.kernels import RULES
from nnhost.kernels.rules import LoopRule
from nnhost.lower import lower
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import load_project

SECTIONS = ("forward", "measure", "backward", "update")
NETS: tuple[tuple[str, ...], ...] = (
    ("digits",),
    ("digits", "train.optimizer=momentum"),
    ("digits", "train.batch=8"),
    ("iris",),
    ("iris", "train.optimizer=momentum"),
    ("iris", "train.batch=8"),
    ("xor",),
)
MAIN = """
#include "nn_net.h"
#include "nn_program.h"
#include "nn_train.h"

void bench_done(void) {}

void main(void) {
    uint16_t row;
    nn_train_reset(NN_SEED);
    for (row = 0U; row < NN_ROWS; row++) {
        nn_load_row(row);
        nn_train_step((row % NN_BATCH == 0U) ? 1U : 0U,
                      ((row % NN_BATCH == NN_BATCH - 1U) || (row == NN_ROWS - 1U)) ? 1U : 0U);
        bench_done();
    }
    for (;;) {
    }
}
"""


@dataclass(frozen=True)
class Count:
    """Machine cycles per step, of each section and in all, and bytes of code without the rows."""

    sections: dict[str, float]
    step: float
    code: int


def _run(command: list[str], folder: Path, text: str = "") -> str:
    done = subprocess.run(
        command, cwd=folder, input=text, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def measure(network: Network, board: boards.Board, folder: Path) -> Count:
    """Compile and count; raises SystemExit with the tool's words where it fails."""
    firmware = firmware_dir()
    kernels = firmware / "kernels" / "mcs51"
    write(board_sources(network, board), folder)
    (folder / "main.c").write_text(MAIN)
    includes = [f"-I{d}" for d in (folder, firmware / "core", kernels)]
    core = [firmware / "core" / f"nn_{name}.c" for name in ("prng", "train", "crc")]
    generated = sorted(folder.glob("nn_*.c"))
    files = [folder / "main.c", *generated, *sorted(kernels.glob("*.c")), *core]
    for file in files:
        _run(["sdcc", "-mmcs51", "--std-c99", *board.flags, *includes, "-c", str(file)], folder)
    objects = [f"{file.stem}.rel" for file in files]
    planes = re.search(r"NN_PLANES_BYTES (\d+)", (folder / "nn_config.h").read_text())
    begin = planes[1] if planes else "0"
    _run(["sdcc", "-mmcs51", "--xram-loc", begin, *objects, "-o", "bench.ihx"], folder)
    listing = (folder / "bench.map").read_text()
    places = {
        found[2]: int(found[1], 16) for found in re.finditer(r"C:\s+([0-9A-F]+)\s+_(\w+)", listing)
    }
    stops = ["nn_train_step", *(f"nn_{s}" for s in SECTIONS), "bench_done"]
    script = [f"break 0x{places[name]:x}" for name in stops]
    script += ["run", "state"] * (len(stops) * len(network.train))
    out = _run(["s51", "-b", "-q", "-t", "C52", "bench.ihx"], folder, "\n".join([*script, "quit"]))
    ticks = [int(t) // 12 for t in re.findall(r"Total time since last reset=.*\((\d+) clks\)", out)]
    assert len(ticks) == len(stops) * len(network.train), out[-500:]
    steps = [ticks[i : i + len(stops)] for i in range(0, len(ticks), len(stops))]
    size = len(steps)
    sections = {
        name: sum(s[i + 2] - s[i + 1] for s in steps) / size for i, name in enumerate(SECTIONS)
    }
    total = sum(s[-1] - s[0] for s in steps) / size
    # Long lists of symbols name their area again on the next page.
    areas = dict(re.findall(r"^(CSEG|CONST|GSINIT|HOME)\s+\w+\s+([0-9A-F]+) =", listing, re.M))
    code = sum(int(size, 16) for size in areas.values())
    rows = (folder / "nn_data.c").read_text()
    stride = int(re.search(r"rows\[NN_ROWS\]\[(\d+)\]", rows)[1])  # type: ignore[index]
    return Count(sections, total, code - stride * size)


def first_samples(network: Network, count: int) -> Network:
    """The same training on the first rows alone."""
    rows = min(count, len(network.train))
    train = replace(network.train, x=network.train.x[:rows], target=network.train.target[:rows])
    plan = replace(network.plan, rows=rows)
    return replace(network, plan=plan, program=lower(plan), train=train)


@dataclass(frozen=True)
class Net:
    """An example with settings, on a board, trained on so many samples."""

    example: str
    settings: list[str]
    board: boards.Board
    samples: int

    def row(self, about: str, kernels: str = "auto") -> str:
        """Print the table's row of this net; returns nn_net.c."""
        overrides = [*self.settings, f"build.kernels={kernels}", "data.delivery=flash"]
        network = prepare(load_project(examples_dir() / self.example, overrides))
        with TemporaryDirectory() as folder:
            count = measure(first_samples(network, self.samples), self.board, Path(folder))
            text = (Path(folder) / "nn_net.c").read_text()
        cells = " | ".join(f"{count.sections[s]:,.0f}" for s in SECTIONS)
        name = " ".join([self.example, *self.settings])
        print(f"| {name} | {about} | {count.step:,.0f} | {cells} | {count.code:,} |", flush=True)
        return text


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--board", default="simstc8")
    parser.add_argument("--flag", default="--opt-code-speed")
    parser.add_argument("net", nargs="*", help="an example and settings, such as train.batch=8")
    options = parser.parse_args()
    board = replace(boards.get(options.board), flags=(options.flag,))
    print("| net | kernels | step |", " | ".join(SECTIONS), "| code |")
    print("|---|---|---|" + "---|" * len(SECTIONS) + "---|")
    # Without external RAM, as far as the memory plan knows: no planes, and no passes.
    small = replace(board, ram=board.ram | {"xram": boards.Memory(0, 0)})
    rules = RULES["mcs51"]
    loops = dict.fromkeys(r.kernel for r in rules if isinstance(r, LoopRule))
    for example, *settings in (tuple(options.net),) if options.net else NETS:
        told: set[tuple[str, int]] = set()
        Net(example, settings, board, options.samples).row("none", "portable")
        for about, chip in ("all", board), ("no passes", small):
            net = Net(example, settings, chip, options.samples)
            text = net.row(about)
            for kernel in loops:
                calls = (kernel, text.count(f"{kernel}("))
                if not calls[1] or calls in told:
                    continue
                told.add(calls)
                RULES["mcs51"] = tuple(r for r in rules if r.kernel != kernel)
                net.row(f"{about} but {kernel.removeprefix('nn_kernel_')}")
            RULES["mcs51"] = rules
    return 0


if __name__ == "__main__":
    sys.exit(main())
