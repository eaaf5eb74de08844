"""Instructions of a training step on a Cortex-M, with its kernels and without, counted in QEMU.

    python bench/kernels_cortex_m.py [--board B]... [--without KERNEL]... [EXAMPLE [KEY=VALUE]...]

Compiles the generated net and a main function that trains for an epoch and reads a timer about
every section. Under ``-icount`` an instruction takes a fixed time, so that ticks are instructions.
Prints a table: the average of the steps, and bytes of code without the rows.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from nnhost import boards
from nnhost.generate import Network, board_sources, prepare, write
from nnhost.kernels import RULES
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import load_project

SECTIONS = ("forward", "measure", "backward", "update")
BOARDS = ("qemu-m0", "qemu-m3", "qemu-m4", "qemu-m7", "qemu-m33", "qemu-m55")
MOMENTUM = ("net.preset=q16", "train.optimizer=momentum", "train.lr=0.00390625")
NETS: tuple[tuple[str, ...], ...] = (
    ("digits", *MOMENTUM),
    ("digits",),
    ("digits", *MOMENTUM, "train.batch=16"),
    ("digits", "train.batch=16"),
    ("iris",),
)
#: An instruction takes 2^8 ns: longer than a tick of the slowest timer.
SHIFT = 8
MAIN = """
#include "nn_net.h"
#include "nn_port.h"
#include "nn_program.h"
#include "nn_train.h"

#define SECTIONS 4

static uint32_t spent[SECTIONS];

static void count(uint8_t section, void (*run)(void)) {
    nn_port_clock_start();
    run();
    spent[section] += nn_port_clock_stop();
}

static void nothing(void) {}

static void write(uint32_t value) {
    uint8_t i;
    for (i = 0U; i < 8U; i++) {
        nn_port_write((uint8_t)"0123456789ABCDEF"[value >> 28]);
        value <<= 4;
    }
    nn_port_write((uint8_t)'\\n');
}

int main(void) {
    uint16_t position = 0U;
    uint16_t visited = 0U;
    uint8_t i;
    nn_port_init();
    nn_port_listen(1U); /* no watchdog */
    count(0U, nothing);
    write(spent[0]);
    spent[0] = 0U;
    nn_train_reset(NN_SEED);
    nn_epoch();
    while (visited < NN_ROWS) {
        nn_set_position(position);
        nn_pick();
        position++;
        if (nn_get_row() < NN_ROWS) {
            nn_load_row(nn_get_row());
            visited++;
            nn_set_batch((uint8_t)((visited - 1U) % NN_BATCH == 0U),
                         (uint8_t)((visited % NN_BATCH == 0U) || (visited == NN_ROWS)));
            count(0U, nn_forward);
            count(1U, nn_measure);
            count(2U, nn_backward);
            count(3U, nn_update);
        }
    }
    for (i = 0U; i < SECTIONS; i++) {
        write(spent[i]);
    }
    nn_port_reset();
    return 0;
}
"""


@dataclass(frozen=True)
class Count:
    """Instructions per step, section by section, and bytes of code without the rows."""

    sections: tuple[float, ...]
    code: int


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(network: Network, board: boards.Board, folder: Path) -> int:
    """Compile firmware.elf; returns the bytes of code without the rows."""
    firmware = firmware_dir()
    write(board_sources(network, board), folder)
    (folder / "main.c").write_text(MAIN)
    folders = [folder, firmware / "core", *(firmware / "ports" / p for p in board.ports)]
    if board.kernels:
        folders.append(firmware / "kernels" / board.kernels)
    files = [*folder.glob("*.c"), firmware / "core" / "nn_prng.c", firmware / "core" / "nn_train.c",
             *(f for d in folders[2:] for f in sorted(d.glob("*.c")))]  # fmt: skip
    record = json.loads((firmware / "boards" / f"{board.name}.json").read_text())["nnhost"]
    flags = ["-mthumb", f"-mcpu={board.cpu}", "-std=c99", "-ffreestanding", *board.flags,
             "-Wall", "-Wextra", "-Wconversion", "-Werror",
             "-ffunction-sections", "-fdata-sections",
             *(f"-D{key}={value}" for key, value in record.get("defines", {}).items()),
             *(f"-I{d}" for d in folders)]  # fmt: skip
    symbols = [
        f"-Wl,--defsym=NN_{space}_ORIGIN={memory.origin},--defsym=NN_{space}_SIZE={memory.size}"
        for space, memory in (("FLASH", board.flash), ("RAM", board.ram["ram"]))
    ]
    script = firmware / "ports" / "cortex-m" / "nn_cortex_m.ld"
    _run(["arm-none-eabi-gcc", *flags, *map(str, files), "-nostartfiles", "--specs=nano.specs",
          "-Wl,--gc-sections", *symbols, f"-T{script}", "-o", "firmware.elf"], folder)  # fmt: skip
    sizes = _run(["arm-none-eabi-size", "-A", "firmware.elf"], folder)
    text = sum(int(n) for n in re.findall(r"^\.(?:text|data)\s+(\d+)", sizes, re.M))
    rows = re.search(r"rows\[NN_ROWS\]\[(\d+)\]", (folder / "nn_data.c").read_text())
    assert rows
    return text - len(network.train) * int(rows[1])


def measure(network: Network, board: boards.Board, folder: Path) -> Count:
    """Compile and count; raises SystemExit with the tool's words where it fails."""
    code = build(network, board, folder)
    machine = board.runner.machine
    lines = ["-serial", "null"] * board.runner.uart + ["-serial", "file:out.txt"]
    _run(["qemu-system-arm", "-M", machine, "-nodefaults", "-display", "none", "-monitor", "none",
          "-no-reboot", "-icount", f"shift={SHIFT}", "-kernel", "firmware.elf", *lines],
         folder)  # fmt: skip
    ticks = [int(line, 16) for line in (folder / "out.txt").read_text().split()]
    idle, *spent = (t * 1e9 / (board.runner.timer * 2**SHIFT) for t in ticks)
    steps = len(network.train)
    return Count(tuple(s / steps - idle for s in spent), code)


def row(net: tuple[str, ...], board: boards.Board, about: str, kernels: str = "auto") -> str:
    """Print the table's row of a net; returns nn_net.c."""
    example, *settings = net
    overrides = [*settings, f"build.kernels={kernels}", "data.delivery=flash", "train.epochs=1"]
    network = prepare(load_project(examples_dir() / example, overrides))
    with TemporaryDirectory() as folder:
        count = measure(network, board, Path(folder))
        text = (Path(folder) / "nn_net.c").read_text()
    cells = " | ".join(f"{n:,.0f}" for n in (sum(count.sections), *count.sections))
    print(f"| {board.name} | {' '.join(net)} | {about} | {cells} | {count.code:,} |", flush=True)
    return text


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", action="append", choices=BOARDS)
    parser.add_argument("--each", action="store_true", help="also all kernels but one")
    parser.add_argument("net", nargs="*", help="an example and settings, such as train.batch=8")
    options = parser.parse_args()
    print("| board | net | kernels | step |", " | ".join(SECTIONS), "| code |")
    print("|---|---|---|---|" + "---|" * len(SECTIONS) + "---|")
    for net in (tuple(options.net),) if options.net else NETS:
        for board in map(boards.get, options.board or BOARDS):
            row(net, board, "none", "portable")
            if board.kernels not in RULES:
                continue
            text = row(net, board, "all")
            rules = RULES[board.kernels]
            names = dict.fromkeys(re.findall(r"\bnn_kernel_\w+(?=\()", text))
            for kernel in names if options.each else ():
                RULES[board.kernels] = tuple(r for r in rules if r.kernel != kernel)
                row(net, board, f"all but {kernel.removeprefix('nn_kernel_')}")
            RULES[board.kernels] = rules
    return 0


if __name__ == "__main__":
    sys.exit(main())
