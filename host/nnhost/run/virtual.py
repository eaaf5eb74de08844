"""Virtual boards: a firmware image in uCsim, in QEMU, or as a process.

None outlives the program that powered it on, not even if that is killed.
"""

from __future__ import annotations

import math
import os
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from nnhost.boards import Board
from nnhost.errors import DeviceError
from nnhost.run.line import Line
from nnhost.run.store import INTERFACE, bring_up, changes_of, ucsim_memory

#: Runs "$@" until it ends or standard input does, that is, until whoever holds the other end of
#: that pipe closes it or dies. A background command has no standard input of its own: hence FD.
_LEASH = """\
exec FD<&0
"$@" <&FD FD<&- &
child=$!
{ read -r _ <&FD; kill -9 $child; } &
wait $child
kill $!
"""

#: The UART looks at its input at each instruction while the receiver is on (else only every few
#: tenths of a second), and takes no byte before the one before it has been read.
_UCSIM_UART = b"expr uart0_check_often=1\nexpr uart0_flowctrl=1\n"


def power_on(
    board: Board, image: Path, *, counting: bool = False, store: Path | None = None
) -> Line:
    """Start a virtual board on a firmware image, `counting` so that the board's clock counts what
    `clock_units` says, which is slower in QEMU. The file `store` is what the board keeps without
    power, for a firmware that makes checkpoints. Raises `DeviceError` if it cannot be started."""
    if board.runner.type == "qemu":
        return _qemu(board, image.resolve(), counting, store)
    return {"ucsim": _ucsim, "process": _process}[board.runner.type](board, image.resolve(), store)


def clock_units(board: Board, counts: int) -> float:
    """What so many counts of the board's clock are in `Board.unit`. In QEMU, whose time goes on by
    2^shift ns an instruction, some counts are one."""
    if board.runner.type == "qemu":
        return counts * 1e9 / board.runner.timer / (1 << _shift(board))
    return counts


def _shift(board: Board) -> int:
    """Of QEMU's time, so that an instruction takes at least four counts of the board's clock."""
    return math.ceil(math.log2(4e9 / board.runner.timer))


def _ucsim(board: Board, image: Path, store: Path | None) -> Line:
    to_board, writer = os.pipe()
    reader, from_board = os.pipe()
    settings = os.memfd_create("settings")
    os.write(settings, _UCSIM_UART)
    changes: tuple[int, ...] = ()
    if store is not None:
        assert board.store
        os.write(settings, ucsim_memory(board.store, bring_up(board.store, store)))
        changes = (os.open(changes_of(store), os.O_RDWR | os.O_CREAT, 0o644),)
    command = ["s51", "-b", "-q", "-t", board.runner.cpu, "-X", str(board.clock)]
    command += ["-S", f"uart=0,in=/dev/fd/{to_board},out=/dev/fd/{from_board}"]
    command += [f"-Iif=xram[{INTERFACE}],out=/dev/fd/{file}" for file in changes]
    command += ["-C", f"/dev/fd/{settings}", "-g", str(image)]
    return _leashed(board, command, (to_board, from_board, settings, *changes), reader, writer)


def _qemu(board: Board, image: Path, counting: bool, store: Path | None) -> Line:
    here, there = socket.socketpair()
    command = ["qemu-system-arm", "-M", board.runner.machine, "-kernel", str(image)]
    command += ["-nodefaults", "-display", "none", "-monitor", "none"]
    command += ["-chardev", f"socket,id=uart,fd={there.fileno()}"]
    command += ["-serial", "null"] * board.runner.uart + ["-serial", "chardev:uart"]
    if counting:
        command += ["-icount", f"shift={_shift(board)}"]
    if store is not None:
        command += ["-semihosting-config", "enable=on,target=native"]
    line = here.detach()
    return _leashed(board, command, (there.detach(),), line, line, store)


def _process(board: Board, image: Path, store: Path | None) -> Line:
    """Needs no leash: the firmware ends at the end of its input, or when nobody reads it."""
    to_board, writer = os.pipe()
    reader, from_board = os.pipe()
    log = tempfile.TemporaryFile()  # noqa: SIM115, the line closes it
    process = _start(board, [str(image)], (), to_board, from_board, log, store)
    os.close(to_board)
    os.close(from_board)
    return _line(board, process, log, reader, writer)


def _leashed(
    board: Board,
    command: Sequence[str],
    theirs: Sequence[int],
    reader: int,
    writer: int,
    store: Path | None = None,
) -> Line:
    """The line to a simulator that inherits `theirs`, finds the file `store` and prints to a
    log."""
    log = tempfile.TemporaryFile()  # noqa: SIM115, the line closes it
    free = next(fd for fd in range(3, 10) if fd not in theirs)
    leash = ["/bin/sh", "-c", _LEASH.replace("FD", str(free)), "leash", *command]
    process = _start(board, leash, theirs, subprocess.PIPE, log, log, store)
    for descriptor in theirs:
        os.close(descriptor)
    return _line(board, process, log, reader, writer)


def _start(
    board: Board,
    command: Sequence[str],
    theirs: Sequence[int],
    stdin: int,
    stdout: int | IO[bytes],
    stderr: IO[bytes],
    store: Path | None,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=theirs,
            cwd=store.parent if store else None,
            start_new_session=True,  # Ctrl-C is for this program to handle
        )
    except OSError as error:
        raise DeviceError(f"cannot power {board.name} on: {error.strerror}: {command[0]}") from None


def _line(
    board: Board, process: subprocess.Popen[bytes], log: IO[bytes], reader: int, writer: int
) -> Line:
    def end() -> None:
        if process.stdin is None:
            process.kill()
        else:
            process.stdin.close()
        process.wait()
        log.close()
        for descriptor in {reader, writer}:
            os.close(descriptor)

    def epitaph() -> str:
        log.seek(0)
        lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        causes = [line for line in lines if "fatal" in line or "rror" in line]
        return (causes or lines[-1:] or [""])[0].strip()

    return Line(board.name, reader, writer, end, epitaph)
