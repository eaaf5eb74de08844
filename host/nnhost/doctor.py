"""What nnhost needs, what of it is there, and the exact command that brings the rest."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnhost.boards import BOARDS, COMPILERS, PACKAGES, SIMULATORS, Board, Need
from nnhost.boards import get as get_board
from nnhost.build import check_needs
from nnhost.errors import NnhostError
from nnhost.project import Project


@dataclass(frozen=True)
class Check:
    """Something looked at. `needed`: the project's board cannot work without it."""

    name: str
    ok: bool
    detail: str
    cure: str
    needed: bool


def checks(project: Project | None) -> list[Check]:
    """Look at everything, with an eye to the board of `project`, if there is one."""
    board = get_board(project.board.name) if project else None
    found = [*_packages(), *_tools(board)]
    if project and board:
        found.append(_folder(project.root, board))
    return found


def _packages() -> Iterator[Check]:
    for need in PACKAGES.values():
        try:
            version = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            yield _missing(need, "builds the firmware of every board", needed=True)
        else:
            yield Check(need.name, True, version, "", needed=True)


def _tools(board: Board | None) -> Iterator[Check]:
    for need in [*COMPILERS.values(), *SIMULATORS.values()]:
        users = [b for b in BOARDS.values() if need in b.tools]
        needed = board in users
        if not shutil.which(need.name):
            names = ", ".join(user.name for user in users)
            yield _missing(need, f"without it no {names}", needed)
        elif need is COMPILERS["cortex-m"] and not _has_newlib(need.name):
            yield _missing(need, "its C library, newlib, is missing", needed)
        else:
            yield Check(need.name, True, _version(need.name), "", needed)


def _folder(root: Path, board: Board) -> Check:
    name = f"{board.name} in {root}"
    try:
        check_needs(root, board)
    except NnhostError as error:
        return Check(name, False, error.message, error.help, needed=True)
    if board.official and not board.has_platform(root):
        return Check(
            name, False, f"PlatformIO's {board.official.platform} is downloaded at the first build",
            f"pio pkg install --project-dir {shlex.quote(str(root))} --environment {board.name}",
            needed=False,
        )  # fmt: skip
    return Check(name, True, "can be built", "", needed=True)


def _missing(need: Need, detail: str, needed: bool) -> Check:
    return Check(need.name, False, detail, need.cure, needed)


def _has_newlib(compiler: str) -> bool:
    return Path(_output(compiler, "-print-file-name=nano.specs").strip()).is_absolute()


def _version(program: str) -> str:
    """The first number with points in what the program says of itself."""
    option = "-v" if program in ("sdcc", "s51") else "--version"
    said = _output(program, option)
    found = re.search(r"\b\d+\.\d+\.\d+\b", said) or re.search(r"\b\d+\.\d+\b", said)
    return found[0] if found else "installed"


def _output(*command: str) -> str:
    process = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=10
    )
    return process.stdout or process.stderr
