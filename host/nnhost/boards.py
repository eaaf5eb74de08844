"""The boards: one record each in firmware/boards, read into frozen dataclasses.

A record is a PlatformIO board manifest with a section "nnhost"; docs/boards.md explains its keys.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnhost.errors import UsageError, quote
from nnhost.paths import firmware_dir


@dataclass(frozen=True)
class Need:
    """Something a board cannot do without: its name, and the command that installs it."""

    name: str
    cure: str


def _debian(name: str, packages: str) -> Need:
    return Need(name, f"sudo apt-get install {packages}")


#: The compiler of each family.
COMPILERS: Mapping[str, Need] = {
    "mcs51": _debian("sdcc", "sdcc sdcc-libraries"),
    "cortex-m": _debian("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi"),
    "host": _debian("gcc", "gcc libc6-dev"),
}

#: The simulator behind each kind of runner.
SIMULATORS: Mapping[str, Need] = {
    "ucsim": _debian("s51", "sdcc-ucsim"),
    "qemu": _debian("qemu-system-arm", "qemu-system-arm"),
}

#: The Python packages that build firmware, by the name they are imported by.
PACKAGES: Mapping[str, Need] = {
    "platformio": Need("platformio", f"{sys.executable} -m pip install platformio"),
    "SCons": Need("scons", f"{sys.executable} -m pip install scons"),
}


@dataclass(frozen=True)
class Memory:
    """A memory: where it begins (0 where the linker knows) and its size in bytes."""

    origin: int
    size: int


@dataclass(frozen=True)
class Runner:
    """How a board is powered on and spoken to.

    `type` is ucsim, qemu, process or serial; the other fields belong to one of them.
    """

    type: str
    cpu: str = ""
    """uCsim's name of the CPU"""
    machine: str = ""
    """QEMU's name of the machine"""
    uart: int = 0
    """which of that machine's serial ports the firmware uses"""
    timer: int = 0
    """Hz of the timer behind its nn_port_clock, in that machine"""
    wiring: str = ""
    """where a real board's serial port is"""
    usb: str = ""
    """VID:PID of a real board's own USB port"""


@dataclass(frozen=True)
class Official:
    """What PlatformIO's registry calls a real board."""

    platform: str
    board: str


@dataclass(frozen=True)
class Store:
    """Memory that keeps checkpoints without power: two slots of `pages` pages of `page` bytes."""

    ports: tuple[str, ...]
    """folders of firmware/ports that write it"""
    page: int
    pages: int
    origin: int = 0
    """where the chip sees the first slot; 0 where a file is behind it"""
    endurance: int = 0
    """how often a page can be erased; 0 for any"""
    flash: int = 0
    """bytes at the end of the flash that it takes from the firmware"""

    @property
    def slot(self) -> int:
        """Bytes of a slot."""
        return self.page * self.pages


@dataclass(frozen=True)
class Board:
    """A board as its record describes it."""

    name: str
    title: str
    kind: str
    """virtual or real"""
    status: str
    """simulated, built or hardware-tested: how far it has been tried"""
    family: str
    """mcs51, cortex-m or host"""
    cpu: str
    kernels: str
    """folder of firmware/kernels for its instruction set; "" if there is none"""
    ports: tuple[str, ...]
    """folders of firmware/ports that drive it"""
    clock: int
    """Hz; 0 on the host"""
    baud: int
    watchdog: int
    """ms that a request may take before the chip resets itself; 0 where nothing does"""
    payload: int
    """most bytes in the payload of a request on the link"""
    answer: int
    """and in that of an answer"""
    window: int
    """requests that it takes before it has answered the first"""
    internal: int | None
    """bytes of idata for the net's buffers; None where there is one RAM"""
    flash: Memory
    ram: Mapping[str, Memory]
    """by memory space: iram and xram, or ram"""
    flags: tuple[str, ...]
    """the compiler's, beside those of the family"""
    runner: Runner
    official: Official | None
    """None for virtual boards"""
    store: Store | None = None
    """None where nothing lasts without power but what is flashed"""

    @property
    def unit(self) -> str | None:
        """What the port's clock measures: "cycles" of the chip (machine cycles of an 8051 with 12
        clocks each), "instructions" where QEMU counts time by them, None of a process."""
        return {"process": None, "qemu": "instructions"}.get(self.runner.type, "cycles")

    @property
    def toolchain(self) -> str:
        """The compiler's name."""
        return COMPILERS[self.family].name

    @property
    def image_name(self) -> str:
        """The file name of the firmware."""
        return "firmware.hex" if self.family == "mcs51" else "firmware.elf"

    @property
    def limits(self) -> dict[str, int]:
        """Size in bytes of each memory, "flash" among them."""
        return {"flash": self.flash.size, **{space: m.size for space, m in self.ram.items()}}

    @property
    def tools(self) -> list[Need]:
        """The programs it needs on PATH. For real boards, PlatformIO downloads them."""
        if self.official:
            return []
        simulator = SIMULATORS.get(self.runner.type)
        return [COMPILERS[self.family], *([simulator] if simulator else [])]

    def missing_tools(self) -> list[Need]:
        """Those of its tools that are not there."""
        return [need for need in self.tools if shutil.which(need.name) is None]

    def has_platform(self, root: Path) -> bool:
        """Whether PlatformIO has what a real board needs, for the project in `root`."""
        folder = root / ".pio" / "platforms"
        return self.official is not None and (folder / self.official.platform).is_dir()

    def as_json(self, root: Path = Path()) -> dict[str, object]:
        """The object that `nnhost boards --json` prints, for the project in `root`."""
        missing = [need.name for need in missing_packages() + self.missing_tools()]
        if self.official and not self.has_platform(root):
            missing.append(f"PlatformIO's {self.official.platform}, downloaded at the first build")
        return {
            "name": self.name,
            "kind": self.kind,
            "cpu": self.cpu,
            "flash": self.flash.size,
            "ram": {space: memory.size for space, memory in self.ram.items()},
            "clock": self.clock,
            "toolchain": self.toolchain,
            "ready": not missing,
            "missing": missing,
            "status": self.status,
        }


def objdump() -> str:
    """The program that lists the instructions of a Cortex-M: on PATH, or PlatformIO's own."""
    folder = Path(os.environ.get("PLATFORMIO_CORE_DIR", Path.home() / ".platformio"))
    places = [os.environ.get("PATH", ""), str(folder / "packages/toolchain-gccarmnoneeabi/bin")]
    return shutil.which("arm-none-eabi-objdump", path=os.pathsep.join(places)) or ""


def missing_packages() -> list[Need]:
    """The Python packages for building that this interpreter cannot import."""
    return [need for name, need in PACKAGES.items() if importlib.util.find_spec(name) is None]


def get(name: str) -> Board:
    """The board of that name. Raises `UsageError` that names the nearest."""
    if name in BOARDS:
        return BOARDS[name]
    near = difflib.get_close_matches(name, BOARDS, n=1, cutoff=0.5)
    cure = f"did you mean {near[0]}?" if near else f"there are {', '.join(BOARDS)}"
    raise UsageError(f"there is no board {quote(name)}", help=cure)


def _memory(record: Mapping[str, Any]) -> Memory:
    return Memory(int(record.get("origin", "0"), 0), record["size"])


def _store(record: Mapping[str, Any]) -> Store:
    origin = int(record.get("origin", "0"), 0)
    return Store(**{**record, "ports": tuple(record["ports"]), "origin": origin})


def _read(path: Path) -> Board:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    record = manifest["nnhost"]
    memories = {space: _memory(memory) for space, memory in record["memories"].items()}
    return Board(
        name=path.stem,
        title=manifest["name"],
        kind=record["kind"],
        status=record["status"],
        family=record["family"],
        cpu=record["cpu"],
        kernels=record.get("kernels", ""),
        ports=tuple(record["ports"]),
        clock=record["clock"],
        baud=record["baud"],
        watchdog=record.get("watchdog", 0),
        payload=record["payload"],
        answer=record["answer"],
        window=record.get("window", 1),
        internal=record.get("internal"),
        flash=memories.pop("flash"),
        ram=memories,
        flags=tuple(record["flags"]),
        runner=Runner(**record["runner"]),
        official=Official(**record["official"]) if "official" in record else None,
        store=_store(record["store"]) if "store" in record else None,
    )


def _order(board: Board) -> tuple[bool, int, int, int]:
    """Virtual boards first; then by family, CPU and size."""
    digits = "".join(filter(str.isdigit, board.cpu))
    size = sum(board.limits.values())
    return board.kind == "real", list(COMPILERS).index(board.family), int(digits or 0), size


#: All boards by name: virtual before real, small before large.
BOARDS: dict[str, Board] = {
    board.name: board
    for board in sorted(map(_read, (firmware_dir() / "boards").glob("*.json")), key=_order)
}
