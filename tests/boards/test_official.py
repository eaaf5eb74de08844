"""The real boards' environments of platformio.ini, as they are, on stand-ins for the platforms
that they name. It is nnhost's script that must hold its own among another builder's settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nnhost.boards import BOARDS, Board
from nnhost.build import Built, compile_firmware, platformio_ini
from nnhost.errors import NnhostError
from nnhost.run.virtual import power_on

from .conftest import counted, greeting, make_project, receive

STAND_IN = Path(__file__).parent / "stand_in"


def install(root: Path, board: Board) -> None:
    """Put the stand-in where PlatformIO keeps the platforms it has downloaded."""
    assert board.official
    platform = root / ".pio" / "platforms" / board.official.platform
    shutil.copytree(STAND_IN, platform)
    name = board.official.platform
    manifest = {"name": name, "title": name, "version": "1.0.0", "packages": {}}
    (platform / "platform.json").write_text(json.dumps(manifest))
    (platform / "boards").mkdir()
    build: dict[str, object] = {"cpu": board.cpu, "f_cpu": "1000000L", "mcu": "", "variant": ""}
    if board.family == "mcs51":
        iram, xram = (board.ram[space].size for space in ("iram", "xram"))
        sizes = {"size_iram": iram, "size_xram": xram, "size_code": board.flash.size}
        build |= {"cpu": "mcs51", **sizes}
    else:
        build |= {"ldscript": "theirs.ld"}
    upload = {"maximum_size": board.flash.size, "maximum_ram_size": 1 << 20}
    record = {"name": board.title, "vendor": "", "url": "", "build": build, "upload": upload}
    (platform / "boards" / f"{board.official.board}.json").write_text(json.dumps(record))


@pytest.mark.parametrize(("real", "model"), [("stc89c52rc", "sim89c52"), ("microbit", "qemu-m0")])
def test_a_real_environment(
    real: str, model: str, echo: Callable[[Board], Built], tmp_path: Path
) -> None:
    echo(BOARDS[model])  # brings SCons, which a registry would
    board = BOARDS[real]
    root = make_project(tmp_path / "a project")
    (root / "platformio.ini").write_text(platformio_ini("firmware"))
    install(root, board)

    built = compile_firmware(root, board, ["--target", "upload"])
    log = built.image.parents[2] / "pio.log"
    assert (root / "uploaded").exists(), log.read_text()
    line = power_on(BOARDS[model], built.image)
    assert receive(line, len(greeting(board))) == greeting(board)
    line.write(counted(b"E", 256) + bytes(range(256)))
    assert receive(line, 256) == bytes(range(256))
    line.close()

    memory = "xram" if board.family == "mcs51" else "ram"
    memory_c = root / "firmware" / "core" / "nn_a_memory.c"
    text = memory_c.read_text()
    memory_c.write_text(text.replace("outside[SIZE]", f"outside[{board.limits[memory] + 1}]"))
    with pytest.raises(NnhostError, match=rf"bytes of {memory}, \d+ more than there are"):
        compile_firmware(root, board)
