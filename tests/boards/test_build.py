"""Building: what fits, what does not and by how much, what is missing, several at once."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from nnhost import build as building
from nnhost import saved
from nnhost.apart import apart
from nnhost.boards import BOARDS, Board
from nnhost.build import Built, build, check_needs, compile_firmware, platformio_ini
from nnhost.errors import DeviceError, NnhostError
from nnhost.link import Session
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import create_project, load_project
from nnhost.run import flash, open_board
from nnhost.run.boards import board_folder
from nnhost.run.virtual import power_on
from nnhost.simulation import simulate
from nnhost.view import View
from nnhost.watch import watch

from .conftest import counted, greeting, make_project, receive

Broken = Callable[[str], Path]


def overflow(root: Path, board: str) -> tuple[str, int, int]:
    """Memory, bytes needed and bytes too many, from the refusal to build."""
    with pytest.raises(NnhostError) as caught:
        compile_firmware(root, BOARDS[board])
    assert caught.value.exit_code == 1
    assert "larger board" in caught.value.help
    found = re.fullmatch(
        rf"{board}: the firmware needs (\d+) bytes of (\w+), (\d+) more than there are",
        caught.value.message,
    )
    assert found, caught.value.message
    return found[2], int(found[1]), int(found[3])


def test_the_sizes_are_the_linkers(echo: Callable[[Board], Built]) -> None:
    arm = echo(BOARDS["qemu-m3"])
    report = subprocess.run(
        ["arm-none-eabi-size", arm.image], capture_output=True, text=True, check=True
    )
    text, data, bss = (int(word) for word in report.stdout.splitlines()[1].split()[:3])
    assert (arm.flash, arm.ram) == (text + data, {"ram": data + bss})
    assert (arm.flash_limit, arm.ram_limit) == (128 * 1024, {"ram": 8 * 1024})

    small = echo(BOARDS["sim89c52"])
    report_8051 = small.image.with_suffix(".mem").read_text()
    assert re.search(rf"ROM/EPROM/FLASH .* {small.flash} +8192", report_8051)
    assert small.ram["xram"] == 40
    free = re.search(r"with (\d+) bytes available", report_8051)
    assert free
    assert small.ram["iram"] == 256 - int(free[1]) + 32
    assert small.ram_limit == {"iram": 256, "xram": 256}
    assert small.program == 0xEC400001


@pytest.mark.parametrize(
    ("board", "memory", "declaration", "size"),
    [
        ("sim89c52", "xram", "static NN_XDATA uint8_t more[{}];", 300),
        ("sim89c52", "flash", "static const NN_CODE uint8_t more[{}] = {{1U}};", 9000),
        ("sim89c52", "iram", "static NN_IDATA uint8_t more[{}];", 220),
        ("sim89c52", "iram", "static NN_IDATA uint8_t more[{}];", 180),  # links, with a tiny stack
        ("qemu-m3", "ram", "static uint8_t more[{}];", 8000),
        ("qemu-m3", "flash", "static const uint8_t more[{}] = {{1U}};", 200000),
    ],
)
def test_overflows_are_counted(
    board: str,
    memory: str,
    declaration: str,
    size: int,
    broken_project: Broken,
    echo: Callable[[Board], Built],
) -> None:
    """What is too much is the size of what was added, less what was free."""
    kind = "uint8_t more_at(uint8_t i)"
    access = "more[i]++; return more[i];" if memory != "flash" else "return more[i];"
    root = broken_project(
        f'#include "nn_types.h"\n{declaration.format(size)}\n{kind};\n{kind} {{ {access} }}\n'
    )
    main = root / "firmware" / "core" / "nn_main.c"
    use = f"int main(void) {{\n    extern {kind};\n    (void)more_at(0U);\n"
    main.write_text(main.read_text().replace("int main(void) {", use))
    found, need, over = overflow(root, board)
    assert found == memory
    fits = echo(BOARDS[board])
    used, limit = {"flash": fits.flash, **fits.ram}[memory], BOARDS[board].limits[memory]
    assert need == limit + over
    slack = 140 if memory == "flash" else 8  # code that reaches it; alignment; saved registers
    assert used + size <= need <= used + size + slack


def test_a_full_memory_fits_to_the_byte(broken_project: Broken) -> None:
    """SDCC's own check lets a byte beyond the end of xram pass."""
    source = '#include "nn_types.h"\nNN_XDATA uint8_t more[{}];\n'
    root = broken_project(source.format(256 - 40))
    assert compile_firmware(root, BOARDS["sim89c52"]).ram["xram"] == 256
    (root / "firmware" / "core" / "nn_more.c").write_text(source.format(257 - 40))
    assert overflow(root, "sim89c52") == ("xram", 257, 1)


@pytest.mark.parametrize(
    ("board", "source", "line"),
    [
        ("simstc8", "int broken(", r"nn_more\.c:\d+: .*error"),
        ("simstc8", "void missing(void); void call(void) { missing(); }", "_missing"),
        ("host", "int nearly(long wide) { return wide; }", r"nn_more\.c:1:\d+: error: conversion"),
    ],
)
def test_what_does_not_compile_is_told_in_a_line(
    board: str, source: str, line: str, broken_project: Broken
) -> None:
    root = broken_project(source + "\n")
    with pytest.raises(NnhostError, match=line) as caught:
        compile_firmware(root, BOARDS[board])
    assert "does not compile" in caught.value.message
    assert "\n" not in caught.value.message
    log = Path(caught.value.help.removeprefix("the whole output is in "))
    assert re.search(line, log.read_text())


def test_boards_are_built_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a project and under a user to whom PlatformIO is new."""
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))
    root = make_project(tmp_path / "project")
    names = ["simstc8", "host", "qemu-m0", "host"]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda name: compile_firmware(root, BOARDS[name]), names))
    assert [one.image.exists() for one in made] == [True] * 4
    assert made[1] == made[3]


def test_needs_are_checked_before(
    echo_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = BOARDS["simstc8"]
    check_needs(echo_project, board)

    (tmp_path / "nn.toml").touch()
    check_needs(tmp_path, board)  # an nn.toml is a project: the rest is written
    written = (tmp_path / "platformio.ini").read_text()
    assert written == platformio_ini(str(firmware_dir()))
    (tmp_path / "platformio.ini").write_text("[nnhost\n")
    with pytest.raises(NnhostError, match=r"platformio\.ini cannot be read: "):
        check_needs(tmp_path, board)
    (tmp_path / "platformio.ini").write_text(platformio_ini("/nowhere/firmware"))
    with pytest.raises(NnhostError, match="/nowhere/firmware") as caught:
        check_needs(tmp_path, board)
    assert f"firmware = {firmware_dir()}" in caught.value.help

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NnhostError, match="simstc8 needs sdcc, which is missing") as caught:
        check_needs(echo_project, board)
    assert caught.value.help == "sudo apt-get install sdcc sdcc-libraries"
    monkeypatch.undo()

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NnhostError, match="needs platformio") as caught:
        check_needs(echo_project, board)
    assert caught.value.help == f"{sys.executable} -m pip install platformio"


def test_no_download_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real board's platform would come from the registry, which is out of reach here."""
    monkeypatch.setattr(building, "_REGISTRY", ("127.0.0.1", 1))
    monkeypatch.setattr("urllib.request.getproxies", dict)
    root = make_project(tmp_path / "project")
    (root / "platformio.ini").write_text(platformio_ini("firmware"))
    began = monotonic()
    with pytest.raises(NnhostError, match="needs ststm32 of PlatformIO's registry") as caught:
        compile_firmware(root, BOARDS["disco-f100rb"])
    assert monotonic() - began < 10
    assert "pio pkg install" in caught.value.help


@pytest.mark.parametrize(
    ("real", "model"),
    [
        ("stc89c52rc", "sim89c52"),
        ("stc8a8k64", None),  # uCsim has no STC8
        ("microbit", "qemu-m0"),
        ("disco-f100rb", "qemu-m3"),
        ("netduino-plus-2", "qemu-m4"),
    ],
)
def test_the_firmware_of_real_boards(
    real: str, model: str | None, echo: Callable[[Board], Built]
) -> None:
    """Built by the platform in the tree; the very image then runs on the model of the board."""
    board = BOARDS[real]
    built = echo(board)
    assert built.flash <= board.flash.size
    if model is not None:
        assert BOARDS[model].limits == board.limits
        line = power_on(BOARDS[model], built.image)
        assert receive(line, len(greeting(board))) == greeting(board)
        line.write(counted(b"E", 256) + bytes(range(256)))
        assert receive(line, 256) == bytes(range(256))
        line.close()


# ---- with a net ---------------------------------------------------------------------------------


@pytest.fixture
def xor_project(tmp_path: Path) -> Path:
    root = tmp_path / "xor"
    shutil.copytree(examples_dir() / "xor", root)
    (root / "platformio.ini").write_text(platformio_ini(str(firmware_dir())))
    return root


def test_flash_puts_the_net_on_the_board(xor_project: Path) -> None:
    project, board = load_project(xor_project, ["net.hidden=[3]"]), BOARDS["sim89c52"]
    built = flash(project, board)
    with Session(open_board(xor_project, board)) as session:
        session.hello()
        session.expect(built.program, "sim89c52")
    assert built.flash <= 8192
    assert built.ram["iram"] <= 256
    assert built.ram["xram"] <= 256
    assert build(project, board) == built


def test_digits_do_not_fit_a_small_chip(xor_project: Path) -> None:
    project = load_project(xor_project, ["data.source=digits", "net.hidden=[16]"])
    with pytest.raises(NnhostError, match=r"sim89c52: .* bytes of xram, \d+ more than there are"):
        build(project, BOARDS["sim89c52"])


def test_pio_by_hand(xor_project: Path) -> None:
    """`pio run` generates, builds and uploads without nnhost's command line."""
    environment = os.environ | {
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
    }

    def pio(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "platformio", *arguments],
            cwd=xor_project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    done = pio("run", "-e", "host", "-t", "upload")
    assert done.returncode == 0, done.stdout + done.stderr
    line = open_board(xor_project, BOARDS["host"])
    Session(line).hello()
    line.close()

    toml = xor_project / "nn.toml"
    toml.write_text(toml.read_text().replace("[net]", "[net]\nhiden = [4]"))
    failed = pio("run", "-e", "host")
    assert failed.returncode == 1
    assert re.search(r"^error: .*hiden", failed.stderr, re.M), failed.stderr

    config = json.loads(pio("project", "config", "--json-output").stdout)
    environments = {section.removeprefix("env:") for section, _ in config if "env:" in section}
    assert environments == set(BOARDS)


#: What shells, configparser and SCons might take for more than letters.
ODD = 'it\'s "mine", naïve 中 (1) `id`;& %s #x'


def test_a_path_may_hold_anything(tmp_path: Path) -> None:
    root = make_project(tmp_path / ODD)
    board = BOARDS["host"]
    assert compile_firmware(root, board, ["--target", "upload"]).image.exists()
    assert (root / ".nnhost" / "host" / "flash.json").exists()


def test_a_net_is_trained_wherever_it_lies(tmp_path: Path) -> None:
    root, board = tmp_path / ODD, BOARDS["qemu-m3"]
    create_project(root, "xor", board.name, platformio_ini(str(firmware_dir())))
    project = load_project(root)
    flash(project, board)
    assert watch(project, board, View(), steps=40).digest == simulate(project, steps=40).digest
    assert saved.load(board_folder(root, board)) is not None


def test_a_path_with_a_dollar_is_refused(tmp_path: Path) -> None:
    root = make_project(tmp_path / "$HOME")
    with pytest.raises(NnhostError, match="takes what follows the \\$ for a variable"):
        check_needs(root, BOARDS["host"])


def test_help_names_no_folder_that_is_gone(
    xor_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_REGISTRY", ("127.0.0.1", 1))
    monkeypatch.setattr("urllib.request.getproxies", dict)
    project = load_project(xor_project, [])
    with (
        pytest.raises(NnhostError, match="nordicnrf51") as caught,
        apart(project, BOARDS["microbit"]),
    ):
        pass
    assert f"--project-dir {xor_project} " in caught.value.help
    assert (xor_project / ".pio" / "platforms").is_dir()

    monkeypatch.setenv("PLATFORMIO_BUILD_FLAGS", "-Dmain=+")
    with (
        pytest.raises(NnhostError, match="does not compile") as caught,
        apart(project, BOARDS["host"]),
    ):
        pass
    log = caught.value.help.removeprefix("the whole output is in ")
    assert Path(log).is_relative_to(xor_project)
    assert Path(log).exists()


def test_a_failed_upload_is_a_device_error(
    echo_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator vanishes between the check and the upload."""
    monkeypatch.setattr(Board, "missing_tools", lambda self: [])
    programs = echo_project / "only sdcc"
    programs.mkdir(exist_ok=True)
    for program in ("sdcc", "sdcpp", "sdas8051", "sdld", "sh"):
        path = shutil.which(program)
        if path and not (programs / program).exists():
            (programs / program).symlink_to(path)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(DeviceError, match="s51") as caught:
        compile_firmware(echo_project, BOARDS["simstc8"], ["--target", "upload"])
    assert caught.value.exit_code == 3


def compiled(root: Path, board: str) -> dict[str, int]:
    """When each object of the firmware was made, by its name."""
    folder = root / ".pio" / "nnhost" / board / "build"
    return {path.stem: path.stat().st_mtime_ns for path in folder.rglob("*.o")}


def test_what_has_not_changed_is_not_made_again(
    xor_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = BOARDS["host"]
    data = xor_project / "data.csv"
    data.write_text("a,b,y\n" + "".join(f"{i % 3},{i % 5},{i % 2}\n" for i in range(12)))
    settings = ["data.source=data.csv", "data.delivery=flash", "data.test=0"]
    first = build(load_project(xor_project, settings), board)
    before = compiled(xor_project, "host")
    assert before.keys() >= {"nn_net", "nn_data", "nn_link", "nn_train"}

    with monkeypatch.context() as patch:  # nothing at all: PlatformIO is not even called
        patch.setattr(building, "_run_pio", None)
        assert build(load_project(xor_project, settings), board) == first

    data.write_text(data.read_text().replace("2,2,0", "1,2,0"))
    second = build(load_project(xor_project, settings), board)
    after = compiled(xor_project, "host")
    assert {name for name in after if after[name] != before[name]} == {
        "nn_data", "nn_link", "nn_main", "nn_store",
    }  # fmt: skip
    assert second.program != first.program

    first.image.unlink()
    assert build(load_project(xor_project, settings), board) == second


@pytest.fixture(scope="module")
def own_firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a firmware of its own, built for the host."""
    root = tmp_path_factory.mktemp("own") / "xor"
    shutil.copytree(examples_dir() / "xor", root)
    shutil.copytree(firmware_dir(), root / "own")
    (root / "platformio.ini").write_text(platformio_ini("own"))
    build(load_project(root), BOARDS["host"])
    return root


@pytest.mark.parametrize("change", ["core", "record", "compiler", "environment", "settings"])
def test_platformio_is_called_if_anything_has_changed(
    change: str, own_firmware: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    xor_project = tmp_path / "moved"
    shutil.copytree(own_firmware, xor_project, symlinks=True)
    firmware, ini = xor_project / "own", xor_project / "platformio.ini"
    project, board = load_project(xor_project, []), BOARDS["host"]
    called = []
    done = building._Output(0, [])
    monkeypatch.setattr(building, "_run_pio", lambda *a: called.append(a) or done)
    build(project, board)
    assert not called
    if change == "core":
        file = firmware / "core" / "nn_crc.h"
        file.write_text(file.read_text() + "\n")
    elif change == "record":
        file = firmware / "boards" / "host.json"
        file.write_text(file.read_text().replace("-O2", "-O1"))
    elif change == "compiler":
        tools = xor_project / "tools"
        tools.mkdir()
        shutil.copy(shutil.which("gcc") or "", tools / "gcc")
        monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    elif change == "environment":
        monkeypatch.setenv("PLATFORMIO_BUILD_FLAGS", "-DNN_OTHER")
    else:
        ini.write_text(platformio_ini("own") + "build_flags = -DNN_OTHER\n")
    build(project, board)
    assert len(called) == 1
    build(project, board)
    assert len(called) == (2 if change == "settings" else 1)
