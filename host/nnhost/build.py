"""Building and flashing firmware through PlatformIO, run as a subprocess.

Nobody waits for a download that cannot come: what PlatformIO needs is checked before it is called,
and it is stopped if it turns to its registry in vain. What fails is told in one line.
"""

from __future__ import annotations

import configparser
import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nnhost.boards import BOARDS, PACKAGES, Board, missing_packages
from nnhost.errors import CapacityError, DeviceError, NnhostError
from nnhost.files import write_atomically
from nnhost.generate import board_sources, prepare, write
from nnhost.paths import firmware_dir
from nnhost.project import Project

_REGISTRY = ("api.registry.platformio.org", 443)
_PATIENCE = 2.0  # seconds for the registry to accept a connection

_DOWNLOAD = re.compile(r"^\w+ Manager: Installing (?!symlink:)(\S+)")
_OURS = re.compile(r"^(error|help): (.*)")  # lines of the generator, size.py and nnhost.run.flash
_LD_FULL = re.compile(r"region `(\w+)' overflowed by (\d+) bytes")
_SDLD_FULL = re.compile(r"\?ASlink-Error-(Insufficient|Could not get)")
_OVERFULL = re.compile(r"\d+ more than there are")
#: Endings of the files that a firmware is made from.
_SOURCES = (".c", ".h", ".ld", ".py", ".json")
_COMPILER = re.compile(r"error:|error \d+:|undefined reference|Undefined Global")


@dataclass(frozen=True)
class Built:
    """A firmware that fits its board. Sizes and limits in bytes, RAM by memory space."""

    image: Path
    program: int
    """the number that the board and the host must agree on (see generate.Network.fingerprint)"""
    flash: int
    flash_limit: int
    ram: dict[str, int]
    ram_limit: dict[str, int]
    unproven: str = ""
    """why a real board that was flashed could not be asked what it runs"""


def build(project: Project, board: Board) -> Built:
    """Generate the net's C, compile it with the firmware, and check that it fits the board.

    Raises `NnhostError` if something that PlatformIO needs is missing, if the net cannot be
    planned or if the C does not compile, and `CapacityError` if a memory overflows.
    """
    check_needs(project.root, board)
    return compile_firmware(project.root, board, files=board_sources(prepare(project), board))


def upload(project: Project, board: Board, port: str | None = None) -> Built:
    """Build, then have PlatformIO put the firmware on the board; on `port`, if it is a real one.

    Raises `NnhostError` as `build` does, and `DeviceError` if the upload fails.
    """
    check_needs(project.root, board)
    files = board_sources(prepare(project), board)
    arguments = ["--target", "upload"]
    if port:
        arguments += ["--upload-port", port]
    return compile_firmware(project.root, board, arguments, files)


def check_needs(root: Path, board: Board) -> None:
    """Raise `NnhostError` if building for the board in the project `root` cannot work."""
    for need in [*missing_packages(), *board.missing_tools()]:
        raise NnhostError(f"{board.name} needs {need.name}, which is missing", help=need.cure)
    for path in (root.resolve(), _firmware(root).resolve()):
        if "$" in str(path):
            raise NnhostError(
                f"{path}: PlatformIO takes what follows the $ for a variable",
                help="move it to a folder without a $ in its path",
            )


def _firmware(root: Path) -> Path:
    """The firmware's folder, as platformio.ini names it; one is written where there is none."""
    settings = configparser.ConfigParser(interpolation=None)
    if not (root / "platformio.ini").exists():
        text = platformio_ini(str(firmware_dir()))
        write_atomically(root / "platformio.ini", text.encode())
    try:
        settings.read(root / "platformio.ini", encoding="utf-8")
    except configparser.Error as error:
        reason = str(error).splitlines()[0]
        raise NnhostError(f"{root / 'platformio.ini'} cannot be read: {reason}") from None
    firmware = root / settings.get("nnhost", "firmware", fallback="")
    if not (firmware / "platform").is_dir():
        raise NnhostError(
            f"{root / 'platformio.ini'}: {firmware} is not nnhost's firmware",
            help=f"write in its section [nnhost]: firmware = {firmware_dir()}",
        )
    return firmware


def compile_firmware(
    root: Path, board: Board, arguments: Sequence[str] = (), files: Mapping[str, str] | None = None
) -> Built:
    """Have PlatformIO make the firmware from `root`/build/<board>, once `files` are written there;
    with further arguments for `pio run`. Without, it is not called if it has nothing to do."""
    with _alone(root, board):
        if files is not None:
            write(dict(files), root / "build" / board.name)
        made_from = _inputs(root, board)
        receipt = _workspace(root, board) / "made.json"
        fresh = made_from and _receipt(root, board, made_from) == _read(receipt)
        if arguments or not fresh:
            output = _run_pio(root, board, arguments)
            if output.code != 0:
                raise _failure(root, board, output)
            write_atomically(receipt, _receipt(root, board, made_from))
        return _built(root, board)


def platformio_ini(firmware: str) -> str:
    """The text of a project's platformio.ini; `firmware` is the path of nnhost's firmware folder,
    absolute or relative to the project."""
    lines = [
        "; One environment for each board of nnhost: pio run -e simstc8 [-t upload | -t train]",
        "",
        "[nnhost]",
        f"firmware = {firmware}",
        "",
        "[platformio]",
        "src_dir = ${nnhost.firmware}",
        "boards_dir = ${nnhost.firmware}/boards",
        "platforms_dir = ${platformio.workspace_dir}/platforms",
        "default_envs = simstc8",
        "",
        "[env]",
        "extra_scripts = pre:${nnhost.firmware}/scripts/firmware.py",
        "build_src_filter = -<*>  ; the script chooses",
        "lib_ldf_mode = off",
        "",
        "; Virtual boards. The platform lies in the firmware's folder; nothing is downloaded.",
        "[virtual]",
        "platform = symlink://${nnhost.firmware}/platform",
    ]
    for board in BOARDS.values():
        if not board.official:
            lines += ["", f"[env:{board.name}]", "extends = virtual", f"board = {board.name}"]
    lines += ["", "; Real boards. PlatformIO downloads their platforms and uploaders at first use."]
    for board in BOARDS.values():
        if board.official:
            lines += ["", f"[env:{board.name}]", f"platform = {board.official.platform}"]
            lines += [f"board = {board.official.board}", f"board_build.f_cpu = {board.clock}L"]
    return "\n".join([*lines, ""])


# ---- what a firmware is made from ----------------------------------------------------------------


def _inputs(root: Path, board: Board) -> str:
    """A digest of all that the firmware is made from; "" where PlatformIO alone can tell, because
    the compiler or the settings are the user's own."""
    ini = (root / "platformio.ini").read_text(encoding="utf-8")
    firmware = _firmware(root)
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(ini)
    compiler = shutil.which(board.toolchain)
    named = settings.get("nnhost", "firmware", fallback="")
    if board.official or compiler is None or ini != platformio_ini(named):
        return ""
    program = Path(compiler).resolve()
    about = program.stat()
    outside = {name: value for name, value in os.environ.items() if name.startswith("PLATFORMIO_")}
    tools = [importlib.metadata.version(need.name) for need in PACKAGES.values()]
    tools += [str(program), str(about.st_size), str(about.st_mtime_ns)]
    digest = hashlib.sha256(repr((tools, sorted(outside.items()))).encode())
    folders = [firmware / "core", firmware / "platform", firmware / "scripts"]
    ports = [*board.ports, *(board.store.ports if board.store else ())]
    folders += [firmware / "ports" / port for port in ports]
    folders += [firmware / "kernels" / board.kernels] if board.kernels else []
    files = [firmware / "boards" / f"{board.name}.json"]
    for folder in (*folders, root / "build" / board.name):
        files += [path for path in sorted(folder.rglob("*")) if path.suffix in _SOURCES]
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _receipt(root: Path, board: Board, made_from: str) -> bytes:
    """What was made from what: the inputs, the image and its sizes. Nothing where that is open."""
    image = _image(root, board)
    made = [_read(image), _read(image.with_name("sizes.json"))]
    if not made_from or not all(made):
        return b"{}"
    digests = [hashlib.sha256(content).hexdigest() for content in made]
    return json.dumps({"from": made_from, "image": digests[0], "sizes": digests[1]}).encode()


def _read(path: Path) -> bytes:
    """The file's bytes; none where there is no file."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


# ---- PlatformIO ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Output:
    """How a run of PlatformIO ended, and what it printed."""

    code: int
    lines: list[str]


def _workspace(root: Path, board: Board) -> Path:
    """Each board has a workspace of its own, so that several can be built at the same time."""
    return root / ".pio" / "nnhost" / board.name


def build_log(root: Path, board: Board) -> Path:
    """Where PlatformIO's output goes."""
    return _workspace(root, board) / "pio.log"


def _image(root: Path, board: Board) -> Path:
    return _workspace(root, board) / "build" / board.name / board.image_name


@contextmanager
def _alone(root: Path, board: Board) -> Iterator[None]:
    """Waits until nobody else builds this board of this project."""
    workspace = _workspace(root, board)
    workspace.mkdir(parents=True, exist_ok=True)
    with (workspace / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _first_alone() -> Iterator[None]:
    """Lets PlatformIO's first run under a user go alone, because it makes folders that another one
    at the same time trips over. Its core folder notes the version that has run."""
    core = Path(os.environ.get("PLATFORMIO_CORE_DIR") or Path.home() / ".platformio")
    core.mkdir(parents=True, exist_ok=True)
    version = importlib.metadata.version("platformio")
    with (core / "nnhost.lock").open("a+") as note:
        fcntl.flock(note, fcntl.LOCK_EX)
        note.seek(0)
        if note.read() != version:
            yield
            note.truncate(0)
            note.write(version)
            return
    yield


def _run_pio(root: Path, board: Board, arguments: Sequence[str]) -> _Output:
    """Run `pio run`; its output goes to pio.log in the workspace, and for a real board's upload
    also to stderr, as it asks there for the power to be switched."""
    workspace = _workspace(root, board)
    workspace.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "NNHOST_GENERATED": "1",
        "PLATFORMIO_WORKSPACE_DIR": str(workspace.resolve()),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PYTHONUNBUFFERED": "1",
    }
    if board.official:  # downloaded once for all boards
        environment["PLATFORMIO_PLATFORMS_DIR"] = str((root / ".pio" / "platforms").resolve())
    command = [sys.executable, "-m", "platformio", "run"]
    command += ["--project-dir", str(root), "--environment", board.name, *arguments]
    lines = []
    with (
        _first_alone(),
        build_log(root, board).open("w", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                log.write(line)
                lines.append(line.rstrip())
                if board.official and arguments:
                    print(line, end="", file=sys.stderr, flush=True)
                if (download := _DOWNLOAD.match(line)) and not _registry_answers():
                    raise NnhostError(
                        f"{board.name} needs {download[1]} of PlatformIO's registry, "
                        "which cannot be reached",
                        help="connect to the internet once: "
                        f"pio pkg install --project-dir {root} --environment {board.name}",
                    )
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return _Output(process.returncode, lines)


def _registry_answers() -> bool:
    """Whether a download has a chance. With a proxy, only trying can tell."""
    if urllib.request.getproxies():
        return True
    answers: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection(_REGISTRY, timeout=_PATIENCE).close()
            answers.append(True)
        except OSError:
            pass

    # In a thread, because looking the name up heeds no timeout.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return bool(answers)


def _program(generated: Path) -> int:
    config = (generated / "nn_program.h").read_text(encoding="utf-8")
    found = re.search(r"^#define NN_PROGRAM (0x\w+?)UL", config, re.M)
    return int(found[1], 16) if found else 0


def keeps(root: Path, board: Board) -> bool:
    """Whether the firmware made last for the board makes checkpoints in its store."""
    return b"NN_CHECKPOINT" in _read(root / "build" / board.name / "nn_config.h")


def _limits(root: Path, board: Board) -> dict[str, int]:
    """The board's limits, less the flash that its store takes if the firmware uses it."""
    taken = board.store.flash if board.store and keeps(root, board) else 0
    return board.limits | {"flash": board.flash.size - taken}


def _built(root: Path, board: Board) -> Built:
    image = _image(root, board)
    ram = json.loads(image.with_name("sizes.json").read_text(encoding="utf-8"))
    return Built(
        image=image,
        program=_program(root / "build" / board.name),
        flash=ram.pop("flash"),
        flash_limit=_limits(root, board)["flash"],
        ram=ram,
        ram_limit={space: memory.size for space, memory in board.ram.items()},
    )


def _failure(root: Path, board: Board, output: _Output) -> NnhostError:
    """The cause of a failed run, from its output."""
    text = "\n".join(output.lines)
    upload = re.search(r"\*\*\* \[upload\]", text) is not None
    lines = output.lines
    if _SDLD_FULL.search(text):
        lines = _size_report(root, board)
    elif full := _LD_FULL.search(text):
        memory, over = full[1].lower(), int(full[2])
        limit = _limits(root, board)[memory]
        lines = [
            f"error: {board.name}: the firmware needs {limit + over} bytes of {memory}, "
            f"{over} more than there are",
            "help: make the net smaller, or take a larger board (nnhost boards)",
        ]

    ours = [found for found in map(_OURS.match, lines) if found]
    if ours:
        errors = [found[2] for found in ours if found[1] == "error"]
        name = f"{board.name}: "
        message = "; ".join([*errors[:1], *(e.removeprefix(name) for e in errors[1:])])
        cure = "; ".join(found[2] for found in ours if found[1] == "help")
        kind = CapacityError if _OVERFULL.search(message) else NnhostError
        return (DeviceError if upload else kind)(message, help=cure)

    log = f"the whole output is in {build_log(root, board)}"
    if upload:
        return DeviceError(f"{board.name} could not be flashed: {_last(output)}", help=log)
    for line in output.lines:
        if _COMPILER.search(line):
            return NnhostError(f"{board.name}: the firmware does not compile: {line}", help=log)
    return NnhostError(f"{board.name}: PlatformIO failed: {_last(output)}", help=log)


def _size_report(root: Path, board: Board) -> list[str]:
    """What size.py says of an 8051's firmware that its linker could not fit in."""
    firmware = _firmware(root)
    command = [sys.executable, str(firmware / "scripts" / "size.py")]
    command += [str(firmware / "boards" / f"{board.name}.json"), str(_image(root, board))]
    command.append(str(board.flash.size - _limits(root, board)["flash"]))
    report = subprocess.run(command, capture_output=True, text=True, check=False)
    return report.stderr.splitlines()


def _last(output: _Output) -> str:
    """The last line that speaks of an error, or else the last one."""
    lines = [line for line in output.lines if line]
    errors = [line for line in lines if "rror" in line and not line.startswith("***")]
    return (errors or lines or [f"exit code {output.code}"])[-1]
