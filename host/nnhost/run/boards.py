"""Flashing a virtual board, and opening the line to any board.

The folder <project>/.nnhost/<board>/ stands for a virtual board's chip: what is flashed lies in it,
with flash.json that tells its digest, and its store if the firmware makes checkpoints.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from time import monotonic

from nnhost import saved
from nnhost.boards import Board
from nnhost.build import Built, build, keeps, upload
from nnhost.cost import check_watchdog, cost
from nnhost.errors import DeviceError, LostError
from nnhost.files import write_atomically
from nnhost.generate import prepare
from nnhost.link.frames import Frame, encode
from nnhost.link.messages import Hello
from nnhost.link.session import Session
from nnhost.link.transport import Transport
from nnhost.machine.thumb import image_digest
from nnhost.project import Project
from nnhost.run.serial_port import Seen, open_serial
from nnhost.run.store import STORE, drop_store
from nnhost.run.virtual import power_on

#: Seconds within which a board must give a sign of life after it was flashed.
_BOOT = 10.0
#: Bytes of State.health where there is any.
_HEALTH = 6


def board_folder(root: Path, board: Board) -> Path:
    """Where a virtual board keeps what is flashed on it."""
    return root / ".nnhost" / board.name


def open_board(
    root: Path,
    board: Board,
    port: str | None = None,
    *,
    counting: bool = False,
    seen: Seen | None = None,
) -> Transport:
    """Power a virtual board on with what is flashed on it, `counting` or not (see `power_on`), or
    open the port of a real one; again on the port where what was `seen` there is now.

    Raises `DeviceError` if nothing is flashed or the port cannot be had.
    """
    if board.official:
        return open_serial(board, port, seen)
    for need in board.missing_tools():
        raise DeviceError(f"{board.name} needs {need.name}, which is missing", help=need.cure)
    image, store = _flashed(root, board)
    claim = _claimed(root, board)
    try:
        line = power_on(board, image, counting=counting, store=store)
    except DeviceError:
        os.close(claim)
        raise
    line.hold(claim)
    return line


def _claimed(root: Path, board: Board) -> int:
    """A lock on the board's folder, which ends with this program. Raises `DeviceError` if another
    program uses the board."""
    lock = os.open(board_folder(root, board) / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        user = os.read(lock, 20).decode("ascii", "replace").strip()
        os.close(lock)
        raise DeviceError(
            f"{board.name} is in use by nnhost (pid {user})", help="close that program"
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def flash(project: Project, board: Board, port: str | None = None) -> Built:
    """Build, then put the firmware on the board; on `port`, if it is a real one.

    A real board is asked afterwards what it runs, if it can be: `Built.unproven` says why not.
    Raises `NnhostError` as `build` does, and `DeviceError` if the board cannot be flashed, or runs
    something else.
    """
    if board.official:
        image = build(project, board).image
        check_watchdog(board, cost(prepare(project), board, image))
        built = upload(project, board, port)
        if project.data.delivery == "flash":
            return replace(built, unproven="it trains by itself")
        try:  # an 8051 is flashed through the port of its link
            line = open_serial(board, port if board.family == "mcs51" else None)
        except DeviceError as error:
            return replace(built, unproven=error.message)
        prove(board, built, line)
        return built
    built = build(project, board)
    flash_image(project.root, board, built.image)
    return built


def prove(board: Board, built: Built, line: Transport) -> None:
    """See that the board at the end of the line runs what was built, and, where it can tell, that
    all of it is in its flash. Raises `DeviceError` if not."""
    with Session(line) as session:
        try:
            session.hello(_BOOT)
        except LostError as error:
            raise DeviceError(
                f"{board.name} is flashed but says nothing for {_BOOT:.0f} seconds",
                help=f"reset it, and check the serial line ({board.runner.wiring}); {error.help}",
            ) from None
        session.expect(built.program, board.name)
        health = session.verify().health
    if len(health) >= _HEALTH:
        told, right = int.from_bytes(health[4:6], "little"), image_digest(built.image.read_bytes())
        if told != right:
            raise DeviceError(
                f"the flash of {board.name} has digest {told:04X}, the image {right:04X}",
                help="flash it again; if that does not help, its flash is worn or damaged",
            )


def flash_image(root: Path, board: Board, image: Path) -> None:
    """Flash a virtual board, and see that it starts. Raises `DeviceError` if it does not, or if
    another program uses the board: what it has learned would be lost."""
    folder = board_folder(root, board)
    firmware = image.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    claim = _claimed(root, board)
    try:
        _put(root, board, firmware)
    finally:
        os.close(claim)


def _put(root: Path, board: Board, firmware: bytes) -> None:
    folder = board_folder(root, board)
    stored = folder / board.image_name
    write_atomically(stored, firmware)
    stored.chmod(0o755)  # the host's firmware is a program
    record = {"image": stored.name, "sha256": _digest(firmware), "store": keeps(root, board)}
    write_atomically(folder / "flash.json", json.dumps(record).encode())
    saved.drop(folder)
    store = folder / STORE if record["store"] else None
    drop_store(folder)
    line = power_on(board, stored, store=store)
    try:
        _await_life(board, line)
    finally:
        line.close()
        drop_store(folder)  # the first training begins at its first step


def _await_life(board: Board, line: Transport) -> None:
    """Greets the board until it says anything: an answer, or the text of stand-alone training."""
    greeting = encode(Frame(Hello.NUMBER, 1, 0, Hello().pack()))
    deadline = monotonic() + _BOOT
    while monotonic() < deadline:
        line.write(greeting)
        if line.read(1.0):
            return
    raise DeviceError(f"{board.name} is flashed but says nothing for {_BOOT:.0f} seconds")


def _flashed(root: Path, board: Board) -> tuple[Path, Path | None]:
    """The image, and the file that is the board's store if the firmware makes checkpoints."""
    folder = board_folder(root, board)
    cure = f"nnhost flash --board {board.name}"
    try:
        record = json.loads((folder / "flash.json").read_text(encoding="utf-8"))
        image = folder / str(record["image"])
        digest = _digest(image.read_bytes())
    except (OSError, ValueError, KeyError):
        raise DeviceError(f"nothing is flashed on {board.name}", help=cure) from None
    if digest != record["sha256"]:
        raise DeviceError(f"what is flashed on {board.name} has been damaged", help=cure)
    return image, folder / STORE if record.get("store") else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
