"""Firmware that goes wrong: what the board does about it, and what the host tells.

The mischief is put into the generated C, where `nn_backward` begins.
"""

from __future__ import annotations

import re
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nnhost.boards import get
from nnhost.build import Built, compile_firmware, platformio_ini
from nnhost.errors import DeviceError
from nnhost.generate import board_sources, prepare
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import Project, load_project
from nnhost.run.boards import flash_image, open_board, prove
from nnhost.run.virtual import power_on
from nnhost.simulation import simulate
from nnhost.twin import Twin

STUMBLES = 19  # the steps that are made before
RUNS_OUT = 29
AT = f"if ((nn_train_steps == {STUMBLES}U) && (nn_port_cause() != NN_CAUSE_%s)) {{ %s }}"
HANG = AT % ("WATCHDOG", "for (;;) { }")
TRAP = AT % ("FAULT", "__builtin_trap();")
DEEP = AT % ("FAULT", "(void)deep(1U);")
RESET = AT % ("SOFTWARE", "nn_port_reset();")
OVERRUN = f"if (nn_train_steps == {RUNS_OUT}U) {{ %s = 0U; }}"
LAST = {"mcs51": "*(NN_IDATA uint8_t *)0xFFU", "cortex-m": "nn_stack[0]"}
DECLARED = """
#include "nn_messages.h"
#include "nn_port.h"
#include "nn_train.h"
extern uint32_t nn_stack[];
"""
#: Calls itself until the stack has run out of memory.
ENDLESS = """
static uint32_t deep(volatile uint32_t x) { return (x != 0U) ? deep(x) + x : x; }
"""


def board_with(
    mischief: str, name: str, folder: Path, declared: str = DECLARED
) -> tuple[Project, Built]:
    """The iris project with a board of that name flashed."""
    (folder / "nn.toml").write_text((examples_dir() / "iris" / "nn.toml").read_text())
    (folder / "platformio.ini").write_text(platformio_ini(str(firmware_dir())))
    project, board = load_project(folder), get(name)
    files = board_sources(prepare(project), board)
    begin = "void nn_backward(void) {\n"
    code = files["nn_net.c"].replace(begin, f"{begin}    {mischief}\n")
    includes = code.rindex("#include")
    end = code.index("\n", includes) + 1
    files["nn_net.c"] = code[:end] + declared + code[end:]
    built = compile_firmware(folder, board, files=files)
    flash_image(folder, board, built.image)
    return project, built


def damaged(image: Path) -> Path:
    """An image in which a bit is wrong where nobody looks: in the vector of an exception that does
    not exist."""
    elf = bytearray(image.read_bytes())
    (headers,) = struct.unpack_from("<I", elf, 28)
    (code,) = struct.unpack_from("<I", elf, headers + 4)
    elf[code + 4 * 8] ^= 1
    wrong = image.with_name("damaged.elf")
    wrong.write_bytes(elf)
    return wrong


def train(project: Project, name: str, steps: int, told: list[str]) -> str | None:
    """The digest of the state at the end; `told` is what a person reads meanwhile.

    Time goes by instructions, so that a watchdog does not wait for seconds."""
    with Twin(
        prepare(project), name, lambda: open_board(project.root, get(name), counting=True),
        project.root, on_resume=lambda step, why: told.append(f"{why}: {step}"),
    ) as twin:  # fmt: skip
        return twin.train(steps=steps, score=False).digest


def test_a_host_that_takes_its_time_is_not_what_a_watchdog_is_for(tmp_path: Path) -> None:
    (tmp_path / "nn.toml").write_text((examples_dir() / "iris" / "nn.toml").read_text())
    (tmp_path / "platformio.ini").write_text(platformio_ini(str(firmware_dir())))
    project, board = load_project(tmp_path), replace(get("qemu-m7"), watchdog=100)
    network = prepare(project)
    built = compile_firmware(tmp_path, board, files=board_sources(network, board))
    flash_image(tmp_path, board, built.image)

    told: list[str] = []
    with Twin(
        network, board.name, lambda: open_board(tmp_path, board, counting=True), tmp_path,
        on_resume=lambda step, why: told.append(why),
    ) as twin:  # fmt: skip
        for steps in range(1, 9):
            twin.train(steps=steps, score=False)
            time.sleep(0.07 * (steps % 4))
    assert not told


@pytest.mark.parametrize(
    ("name", "mischief", "cause"),
    [
        ("qemu-m7", HANG, "its watchdog: a request took too long, at 0x[0-9a-f]{8}"),
        ("qemu-m3", TRAP, "a hard fault, at 0x08[0-9a-f]{6}"),
        ("qemu-m0", DEEP, "a hard fault"),
        ("simstc8", RESET, "it was asked to"),
    ],
    ids=["hangs", "traps", "overflows", "resets"],
)
def test_a_board_that_stumbles_says_why_and_goes_on_exact_until_its_stack_runs_out(
    name: str, mischief: str, cause: str, tmp_path: Path
) -> None:
    declared = DECLARED + ENDLESS * (mischief == DEEP)
    more = OVERRUN % LAST[get(name).family]
    project, built = board_with(f"{mischief} {more}", name, tmp_path, declared)

    told: list[str] = []
    assert train(project, name, RUNS_OUT, told) == simulate(project, steps=RUNS_OUT).digest
    assert len(told) == 1
    assert re.fullmatch(f"the board has restarted: {cause}: {STUMBLES}", told[0]), told

    with pytest.raises(DeviceError, match="refused STEP: its stack has run out") as raised:
        train(project, name, RUNS_OUT + 2, told)
    assert "switch it off" in raised.value.help
    assert len(told) == 2

    board = get(name)
    prove(board, built, power_on(board, built.image))
    if board.family == "cortex-m":
        with pytest.raises(DeviceError, match=f"the flash of {name} has digest"):
            prove(board, built, power_on(board, damaged(built.image)))
    with pytest.raises(DeviceError, match="runs program"):
        prove(board, replace(built, program=1), power_on(board, built.image))
