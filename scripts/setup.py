"""Everything nnhost needs, made or installed: what `make setup` runs.

Makes the virtual environment .venv and installs, with apt and only when missing, the compilers and
simulators of the boards. What cannot be installed is named together with the command that would do
it, and the rest goes on. The standard library alone, so that the system's python3 can run this.

    python3 scripts/setup.py [--tests]      --tests adds the tools that only the tests need
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = str(Path(sys.executable).resolve())  # not that of an active .venv, which may be cleared
OLDEST = (3, 10)
LOCK = "requirements.lock"


@dataclass(frozen=True)
class Tool:
    """A program, or a file that a compiler must find, and the Debian packages that bring it."""

    name: str
    packages: tuple[str, ...]
    serves: str
    works: Callable[[], bool]


def _program(name: str, packages: str, serves: str) -> Tool:
    return Tool(name, tuple(packages.split()), serves, lambda: shutil.which(name) is not None)


def _library(compiler: str, file: str, package: str, serves: str) -> Tool:
    def works() -> bool:
        if shutil.which(compiler) is None:
            return False
        command = [compiler, f"-print-file-name={file}"]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return os.path.isabs(found.strip())  # the bare name comes back when it is not there

    return Tool(f"{compiler}'s {file}", (package,), serves, works)


def _venv_works() -> bool:
    command = [PYTHON, "-c", "import ensurepip, venv"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


ARM = "Cortex-M boards"
HOST = "the host board and the native engine"
TOOLS = (
    Tool("python3 -m venv", ("python3-venv",), "everything", _venv_works),
    _program("sdcc", "sdcc sdcc-libraries", "8051 boards"),
    _program("s51", "sdcc-ucsim", "virtual 8051 boards"),
    _program("arm-none-eabi-gcc", "gcc-arm-none-eabi", ARM),
    _library("arm-none-eabi-gcc", "libc.a", "libnewlib-arm-none-eabi", ARM),
    _program("qemu-system-arm", "qemu-system-arm", "virtual Cortex-M boards"),
    _program("gcc", "gcc", HOST),
    _library("gcc", "crt1.o", "libc6-dev", HOST),
)
TEST_TOOLS = (
    _program("clang-format", "clang-format", "the tests"),
    _program("cppcheck", "cppcheck", "the tests"),
)


def main(arguments: Sequence[str]) -> int:
    """Set up; 0 unless nnhost itself cannot run."""
    if set(arguments) - {"--tests"}:
        print(__doc__, file=sys.stderr)
        return 2
    install_tools(TOOLS + TEST_TOOLS if "--tests" in arguments else TOOLS)
    return 0 if make_environment() else 1


def install_tools(tools: Sequence[Tool]) -> list[Tool]:
    """Install what is missing as far as that is possible; what is missing still."""
    missing = [tool for tool in tools if not tool.works()]
    if not missing:
        return []
    rights = _rights()
    if shutil.which("apt-get") is not None and rights is not None:
        say(f"installing {' '.join(_packages(missing))}")
        _install(missing, rights)
        missing = [tool for tool in missing if not tool.works()]
    for tool in missing:
        say(f"missing: {tool.name}, for {tool.serves}")
    if missing:
        sudo = "" if os.geteuid() == 0 else "sudo "
        packages = " ".join(_packages(missing))
        say(f"install: {sudo}apt-get install --no-install-recommends {packages}")
        say("going on with what is there")
    return missing


def _rights() -> list[str] | None:
    """What to put before apt-get: nothing as root, sudo if it can be used, None if neither."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    free = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    return ["sudo"] if free or os.isatty(0) else None


def _install(tools: Sequence[Tool], rights: Sequence[str]) -> None:
    # "env" since sudo drops the variables of its caller.
    apt = [*rights, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    apt += ["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]
    install = [*apt, "install", "-y", "--no-install-recommends"]
    packages = _packages(tools)
    # Without package lists, or with stale ones, the first try fails: fetch them only then.
    if _run([*install, *packages], quiet=True):
        return
    _run([*apt, "update"])
    if not _run([*install, *packages]):
        for tool in tools:  # one package that is nowhere to be had must not keep out the others
            _run([*install, *tool.packages])


def _packages(tools: Sequence[Tool]) -> list[str]:
    return [package for tool in tools for package in tool.packages]


def make_environment() -> bool:
    """The virtual environment with nnhost, editable, and the developers' tools; False if not."""
    if sys.version_info < OLDEST:
        say(f"Python 3.10 or later is needed, this is {sys.version.split()[0]}")
        say("choose another one: make setup PYTHON=python3.12")
        return False
    # An environment does not survive a move of its folder or a change of the Python beneath it.
    texts = [(ROOT / name).read_text("utf-8") for name in ("pyproject.toml", LOCK)]
    parts = [sys.version, PYTHON, str(ROOT), *texts]
    wanted = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    stamp = VENV / "nnhost-setup"
    python = VENV / "bin" / "python"
    if stamp.exists() and stamp.read_text("utf-8") == wanted and _runs(python):
        return True
    say("making .venv")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    made = _run([PYTHON, "-m", "venv", "--clear", str(VENV)])
    # What is downloaded must have the lock's digests; nnhost itself is built with what is there.
    locked = made and _run([*install, "--require-hashes", "--requirement", str(ROOT / LOCK)])
    if locked and _run([*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]):
        stamp.write_text(wanted, "utf-8")
        return True
    say("nnhost could not be installed, for the reason above; pip needs its package index")
    return False


def _runs(python: Path) -> bool:
    command = [str(python), "-c", "import nnhost"]
    return python.exists() and subprocess.run(command, check=False).returncode == 0


def _run(command: Sequence[str], *, quiet: bool = False) -> bool:
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, stdout=output, stderr=output, check=False).returncode == 0


def say(text: str) -> None:
    """One line to the user."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
