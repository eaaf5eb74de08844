"""Stand-alone firmware compiled and run without PlatformIO: a second or so a net.

The sources are the product's own: core, ports and the generated net, with the training rows in
flash. What is the same for all nets is compiled once. What the board prints is compared with the
simulator.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from nnhost import boards
from nnhost.generate import Network, board_sources, write
from nnhost.kernels import RULES
from nnhost.link.digest import state_digest
from nnhost.paths import firmware_dir
from nnhost.simulator import Simulator
from nnhost.train import visits

#: A change to the text of nn_net.c, by which the tests break one reading.
Edit = Callable[[str], str]


def _as_is(text: str) -> str:
    return text


@dataclass(frozen=True)
class Trained:
    """What stand-alone training leaves: a loss in thousandths per step, and the state's digest."""

    losses: tuple[int, ...]
    digest: int


def expected(network: Network, *, checked: bool = False) -> Trained:
    """The same training in the simulator; `checked` also verifies every proven interval."""
    simulator = Simulator(network.program, checked=checked)
    train = network.project.train
    simulator.reset(train.seed)
    losses = []
    for v in visits(network.plan, simulator.epoch, simulator.pick, train.epochs):
        samples = network.train
        simulator.step(samples.x[v.row], samples.target[v.row], v.first, v.last)
        simulator.run("report")
        losses.append(int(simulator.memory["milli"]))
    return Trained(tuple(losses), state_digest(simulator.state()))


def parse(text: str) -> Trained:
    """The lines that a stand-alone board prints."""
    losses: list[int] = []
    for line in text.splitlines():
        fields = dict(part.split(":", 1) for part in line.split("\t"))
        if "program" in fields:
            continue
        if "done" in fields:
            assert int(fields["done"]) == len(losses)
            return Trained(tuple(losses), int(fields["digest"], 16))
        assert int(fields["step"]) == len(losses) + 1
        losses.append(int(fields["loss"].replace(".", "")))
    raise AssertionError(f"no end after {len(losses)} steps: {text[-200:]!r}")


def _run(command: list[str], cwd: Path, **options: object) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, (
        f"{' '.join(command[:1])}: {done.stdout[-500:]} {done.stderr[-1500:]}"
    )
    return str(done.stdout)


@cache
def _objects() -> Path:
    """Where objects are that several firmwares share."""
    folder = TemporaryDirectory(prefix="nnhost-objects-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def _read_from(source: Path, folders: tuple[Path, ...]) -> tuple[str, frozenset[str]]:
    """The texts of the firmware that a C file includes, with its own, and the names of the
    generated headers among them."""
    texts: dict[Path, str] = {}
    generated = set()
    left = [source]
    while left:
        path = left.pop()
        if path in texts:
            continue
        texts[path] = path.read_text()
        for name in re.findall(r'^ *# *include "(.+)"', texts[path], re.M):
            found = [d / name for d in (path.parent, *folders) if (d / name).exists()]
            left += found[:1]
            generated |= set() if found else {name}
    return "".join(texts.values()), frozenset(generated)


def _configured(config: str, text: str) -> list[str]:
    """The lines of nn_config.h that define what a text mentions."""
    words = set(re.findall(r"\w+", text))
    return [line for line in re.findall(r"^#define .*", config, re.M) if line.split()[1] in words]


def compiled(
    command: list[str], folders: tuple[Path, ...], files: list[Path], folder: Path, ending: str
) -> list[str]:
    """Objects of these files, of which those that a net changes lie in its `folder`."""
    made = []
    for file in files:
        text, headers = _read_from(file, folders) if file.parent != folder else ("", {file.name})
        target = folder / f"{file.stem}{ending}"
        if headers <= {"nn_config.h", "nn_messages.h"}:
            config = _configured((folder / "nn_config.h").read_text(), text)
            given = (command, text, config, (folder / "nn_messages.h").read_text())
            key = hashlib.sha256(repr(given).encode()).hexdigest()
            target = _objects() / f"{file.stem}-{key}{ending}"
        if target.parent == folder or not target.exists():
            includes = [f"-I{d}" for d in (folder, *folders)]
            _run([*command, *includes, "-c", str(file), "-o", str(target)], folder)
        made.append(str(target))
    return made


def _sources(
    network: Network, board: boards.Board, folder: Path, edit: Edit, *more: Path
) -> tuple[tuple[Path, ...], list[Path]]:
    """Write the generated files, nn_net.c edited; return the other folders to include from and C
    files, those of `more` folders among them."""
    files_by_name = board_sources(network, board)
    write(files_by_name | {"nn_net.c": edit(files_by_name["nn_net.c"])}, folder)
    firmware = firmware_dir()
    folders = [firmware / "core", *(firmware / "ports" / p for p in board.ports), *more]
    if board.kernels in RULES:
        folders.append(firmware / "kernels" / board.kernels)
    called = files_by_name["nn_config.h"]
    called += called.replace("GATHER", "UPDATE")  # the one goes on in the other
    files = [
        p
        for d in (*folders, folder)
        for p in sorted(d.glob("*.c"))
        # A kernel that is not called compiles to nothing, slowly.
        if not p.stem.startswith("nn_kernel_") or f" {p.stem.upper()} " in called
    ]
    files.sort(key=lambda path: path.name != "nn_main.c")
    return tuple(folders), files


def host(network: Network, folder: Path, edit: Edit = _as_is) -> Trained:
    """On this computer, under the sanitizers and all warnings."""
    firmware = compile_host(network, folder, edit)
    return parse(_run([str(firmware)], folder, stdin=subprocess.DEVNULL))


def compile_host(network: Network, folder: Path, edit: Edit = _as_is, *more: Path) -> Path:
    """The program of that, with the C in `more` folders."""
    folders, files = _sources(network, boards.get("host"), folder, edit, *more)
    command = ["gcc", "-std=gnu99", "-O0", "-Wall", "-Wextra", "-Wconversion", "-Werror",
               "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]  # fmt: skip
    objects = compiled(command, folders, files, folder, ".o")
    _run([*command, *objects, "-o", "firmware"], folder)
    return folder / "firmware"


def mcs51(network: Network, folder: Path, edit: Edit = _as_is) -> Trained:
    """On an 8052 with all of its memory, in uCsim."""
    board = replace(boards.get("sim8052"), internal=64)
    folders, files = _sources(network, board, folder, edit)
    model = ["-mmcs51", "--model-small"]
    objects = compiled(["sdcc", *model, "--std-c11"], folders, files, folder, ".rel")
    found = re.search(r"NN_PLANES_BYTES (\d+)", (folder / "nn_config.h").read_text())
    begin = found[1] if found else "0"
    limits = ["--iram-size", "256", "--xram-loc", begin]
    _run(["sdcc", *model, *limits, *objects, "-o", "firmware.ihx"], folder)
    # Every line has come out when the board begins to listen.
    script = f"break 0x{_address(folder, '_nn_link_serve')}\nrun\nquit\n"
    _run(["s51", "-b", "-q", "-t", "C52", "-S", "uart=0,in=/dev/null,out=uart.txt",
          "firmware.ihx"], folder, input=script)  # fmt: skip
    return parse((folder / "uart.txt").read_bytes().decode("ascii"))


def _address(folder: Path, symbol: str) -> str:
    for line in (folder / "firmware.map").read_text().splitlines():
        fields = line.split()
        if symbol in fields[1:]:
            return fields[fields.index(symbol) - 1]
    raise AssertionError(f"no {symbol} in the map")


def cortex_m(network: Network, folder: Path, name: str, edit: Edit = _as_is) -> Trained:
    """On a Cortex-M board, in QEMU."""
    board = boards.get(name)
    folders, files = _sources(network, board, folder, edit)
    command = ["arm-none-eabi-gcc", "-mthumb", f"-mcpu={board.cpu}", "-std=gnu11"]
    command += ["-ffreestanding", *board.flags]
    record = json.loads((firmware_dir() / "boards" / f"{name}.json").read_text())["nnhost"]
    command += [f"-D{key}={value}" for key, value in record.get("defines", {}).items()]
    script = firmware_dir() / "ports" / "cortex-m" / "nn_cortex_m.ld"
    symbols = [
        f"-Wl,--defsym=NN_{space}_ORIGIN={memory.origin},--defsym=NN_{space}_SIZE={memory.size}"
        for space, memory in (("FLASH", board.flash), ("RAM", board.ram["ram"]))
    ]
    objects = compiled(command, folders, files, folder, ".o")
    _run([*command, *objects, "-nostartfiles", "--specs=nano.specs", *symbols, f"-T{script}",
          "-o", "firmware.elf"], folder)  # fmt: skip
    lines = ["-serial", "null"] * board.runner.uart + ["-serial", "stdio"]
    process = subprocess.Popen(
        ["qemu-system-arm", "-M", board.runner.machine, "-nodefaults", "-display", "none",
         "-monitor", "none", "-no-reboot", "-kernel", "firmware.elf", *lines],
        cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    # A board that falls silent must fail the test, not hold it up.
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        return parse("".join(_until_done(iter(process.stdout.readline, ""))))
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def _until_done(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line.startswith("done:"):
            return
