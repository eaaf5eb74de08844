"""The boards' records, what is told of them, and the doctor."""

from __future__ import annotations

import configparser
import json
from pathlib import Path

import pytest

from nnhost.boards import BOARDS, COMPILERS, SIMULATORS, get
from nnhost.build import platformio_ini
from nnhost.doctor import checks
from nnhost.errors import UsageError
from nnhost.link.messages import PAYLOAD_LEAST, PAYLOAD_MOST, WINDOW_MOST
from nnhost.paths import firmware_dir
from nnhost.project import load_project

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", BOARDS)
def test_a_record_holds_together(name: str) -> None:
    board = BOARDS[name]
    assert board.kind in ("virtual", "real")
    assert board.status in ("simulated", "built", "hardware-tested")
    assert (board.kind == "real") == (board.official is not None)
    assert (board.kind == "real") == (board.runner.type == "serial")
    assert (board.status == "simulated") == (board.kind == "virtual")
    assert PAYLOAD_LEAST <= board.answer <= board.payload <= PAYLOAD_MOST
    assert board.window == (1 if board.family == "mcs51" else WINDOW_MOST)
    assert len(name.encode("ascii")) <= 16  # as HELLO carries it
    for port in board.ports:
        assert list((firmware_dir() / "ports" / port).glob("*.c"))
    if board.store:
        assert board.store.flash <= board.flash.size
        assert board.store.page % 64 == 0
        if board.official and board.store.flash:
            assert board.store.flash == 2 * board.store.slot
            begin = board.flash.origin + board.flash.size - board.store.flash
            assert board.store.origin == (begin if board.family == "cortex-m" else 0)
    if board.family == "mcs51":
        assert set(board.ram) == {"iram", "xram"}
        assert board.internal is not None
        assert board.internal < board.ram["iram"].size
    else:
        assert set(board.ram) == {"ram"}
        assert board.internal is None
    if board.baud:
        # A UART tells bits apart as long as the two ends differ by less than 2 percent or so.
        unit = {"8052": 32, "stc8": 4}.get(board.ports[-1], 1)
        if "nrf51" not in board.ports:
            divisor = round(board.clock / (unit * board.baud))
            assert abs(board.clock / (unit * divisor) / board.baud - 1) < 0.02


def test_every_port_has_a_board() -> None:
    folders = {folder.name for folder in (firmware_dir() / "ports").iterdir()}
    stores = [board.store.ports for board in BOARDS.values() if board.store]
    ports = [*stores, *(board.ports for board in BOARDS.values())]
    assert folders == {port for folder in ports for port in folder}


@pytest.mark.parametrize("name", BOARDS)
def test_what_is_told_of_a_board(name: str, tmp_path: Path) -> None:
    if official := BOARDS[name].official:
        assert BOARDS[name].as_json(tmp_path)["ready"] is False
        (tmp_path / ".pio" / "platforms" / official.platform).mkdir(parents=True)
    told = json.loads(json.dumps(BOARDS[name].as_json(tmp_path)))
    assert told["name"] == name
    assert told["flash"] >= 8192
    assert all(size >= 256 for size in told["ram"].values())
    assert told["ready"] is True
    assert told["missing"] == []
    assert set(told) == {
        "name", "kind", "cpu", "flash", "ram", "clock", "toolchain", "ready", "missing", "status",
    }  # fmt: skip


def test_a_board_without_its_tools_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told = BOARDS["simstc8"].as_json()
    assert told["ready"] is False
    assert told["missing"] == ["sdcc", "s51"]


def test_the_nearest_name_is_suggested() -> None:
    assert get("simstc8").name == "simstc8"
    with pytest.raises(UsageError, match='no board "simstc9"') as caught:
        get("simstc9")
    assert caught.value.help == "did you mean simstc8?"
    with pytest.raises(UsageError) as caught:
        get("x")
    assert "simstc8" in caught.value.help


def test_the_root_is_a_project() -> None:
    text = (ROOT / "platformio.ini").read_text()
    assert text == platformio_ini("firmware")
    for example in sorted((ROOT / "examples").iterdir()):
        assert (example / "platformio.ini").read_text() == platformio_ini("../../firmware")
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(text)
    assert {name for name in settings if name.startswith("env:")} == {f"env:{b}" for b in BOARDS}


def test_the_doctor_sees_what_is_there() -> None:
    found = checks(load_project(ROOT))
    assert all(check.ok for check in found)
    assert all(check.detail for check in found)
    needed = {check.name for check in found if check.needed}
    assert {"platformio", "scons", "sdcc", "s51"} <= needed
    assert "qemu-system-arm" not in needed


def test_the_doctor_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {check.name: check for check in checks(load_project(ROOT))}
    for need in (*COMPILERS.values(), *SIMULATORS.values()):
        assert not found[need.name].ok
        assert found[need.name].cure.startswith("sudo apt-get install ")
    assert found["sdcc"].needed
    assert not found["gcc"].needed
    assert "simstc8" in found["sdcc"].detail
    assert all(not check.needed for check in checks(None) if check.name == "sdcc")


def test_a_compiler_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "arm-none-eabi-gcc"
    compiler.write_text("#!/bin/sh\necho nano.specs\n")  # what gcc says of a file it cannot find
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = {check.name: check for check in checks(None)}
    assert not found["arm-none-eabi-gcc"].ok
    assert "libnewlib" in found["arm-none-eabi-gcc"].cure


def amount(size: int) -> str:
    for unit, name in ((1 << 20, "MB"), (1 << 10, "KB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


@pytest.mark.parametrize("name", BOARDS)
def test_the_page_about_boards_says_the_same(name: str) -> None:
    board = BOARDS[name]
    ram = {space: amount(memory.size) for space, memory in board.ram.items()}
    row = [
        name,
        board.title,
        f"{board.clock / 1e6:g} MHz" if board.clock else "",
        amount(board.flash.size),
        ", ".join(size if space == "ram" else f"{size} {space}" for space, size in ram.items()),
        f"{board.baud} baud" if board.baud else "",
        board.status,
    ]
    page = (ROOT / "docs" / "boards.md").read_text()
    assert f"| {' | '.join(row)} |".replace("|  |", "| |") in page
