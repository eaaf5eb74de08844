"""A project whose firmware is tests/boards/echo in place of the core and a net."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from nnhost.boards import BOARDS, Board
from nnhost.build import Built, compile_firmware, platformio_ini
from nnhost.link import Transport
from nnhost.link.generate import messages_header
from nnhost.paths import firmware_dir

ECHO = Path(__file__).parent / "echo"
VIRTUAL = [name for name, board in BOARDS.items() if not board.official]


def make_project(root: Path, core: Path = ECHO) -> Path:
    """A project in `root` whose real boards, too, are built by the platform in the tree."""
    firmware = root / "firmware"
    firmware.mkdir(parents=True)
    for part in ("boards", "platform", "ports", "scripts"):
        (firmware / part).symlink_to(firmware_dir() / part)
    shutil.copytree(core, firmware / "core")
    for header in ("nn_port.h", "nn_types.h"):
        shutil.copy(firmware_dir() / "core" / header, firmware / "core")
    ini = re.sub(
        r"\[env:(\S+)\]\nplatform = .*\nboard = .*\nboard_build.*",
        r"[env:\1]\nextends = virtual\nboard = \1",
        platformio_ini("firmware"),
    )
    (root / "platformio.ini").write_text(ini)
    for board in BOARDS.values():
        generated = root / "build" / board.name
        generated.mkdir(parents=True)
        (generated / "nn_config.h").write_text(
            f'#define NN_BOARD "{board.name}"\n'
            f"#define NN_BAUD {board.baud}UL\n"
            f"#define NN_CLOCK_HZ {board.clock}UL\n"
            f"#define NN_PAYLOAD {board.payload}U\n"
            f"#define NN_KERNELS 0\n"
            f"#define NN_WATCHDOG_MS {board.watchdog}UL\n"
            f"#define NN_HEALTH {int(board.family == 'cortex-m')}\n"
        )
        (generated / "nn_messages.h").write_text(messages_header())
        (generated / "nn_program.h").write_text("#define NN_PROGRAM 0xEC400001UL\n")
    return root


@pytest.fixture(scope="session")
def echo_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("echo") / "a project")


@pytest.fixture(scope="session")
def echo(echo_project: Path) -> Callable[[Board], Built]:
    """The echo firmware of a board."""
    made: dict[str, Built] = {}

    def build(board: Board) -> Built:
        if board.name not in made:
            made[board.name] = compile_firmware(echo_project, board)
        return made[board.name]

    return build


@pytest.fixture
def broken_project(tmp_path: Path) -> Callable[[str], Path]:
    """A project with a further C file of the given text."""

    def make(text: str) -> Path:
        root = make_project(tmp_path / "project")
        (root / "firmware" / "core" / "nn_more.c").write_text(text)
        return root

    return make


def receive(line: Transport, count: int, patience: float = 10.0) -> bytes:
    """`count` bytes, or what came of them in time."""
    data, deadline = b"", monotonic() + patience
    while len(data) < count and monotonic() < deadline:
        data += line.read(deadline - monotonic())
    return data


def greeting(board: Board) -> bytes:
    return b"HELLO " + board.name.encode() + b"\n"


def counted(command: bytes, count: int) -> bytes:
    return command + count.to_bytes(2, "little")


def running(text: str) -> list[int]:
    """The processes with `text` in their command lines, this one apart."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in command and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found
