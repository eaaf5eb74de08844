"""Boards set apart: built, flashed and trained apart from what the project has flashed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TypeVar

from nnhost.boards import Board
from nnhost.build import Built, build_log, platformio_ini
from nnhost.data import SHIPPED
from nnhost.errors import NnhostError
from nnhost.files import write_atomically
from nnhost.generate import prepare
from nnhost.paths import firmware_dir
from nnhost.project import Project
from nnhost.run.boards import board_folder, flash, open_board
from nnhost.twin import Twin

#: Boards that are built and trained at the same time.
_WORKERS = 2

T = TypeVar("T")


def side_by_side(
    boards: Iterable[Board], work: Callable[[Board, Event], T], on_done: Callable[[T], None]
) -> list[T]:
    """`work` on every board, a few at the same time; `on_done` is called as soon as one is done.

    Work is given an event that is set when it must come to an end: Ctrl-C, or an exception.
    """
    stopped = Event()
    with ThreadPoolExecutor(_WORKERS) as pool:
        under_way = [pool.submit(work, board, stopped) for board in boards]
        try:
            for done in as_completed(under_way):
                on_done(done.result())
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [done.result() for done in under_way]


def _share_platforms(lasting: Path, root: Path, board: Board) -> None:
    """What PlatformIO downloads for a real board stays with the project."""
    if board.official:
        platforms = lasting.resolve() / ".pio" / "platforms"
        platforms.mkdir(parents=True, exist_ok=True)
        (root / ".pio").mkdir()
        (root / ".pio" / "platforms").symlink_to(platforms)


@contextmanager
def _lasting_help(lasting: Path, root: Path, board: Board) -> Iterator[None]:
    """Errors name the project's folder, to which PlatformIO's output is saved, not one that is
    gone when they are read."""
    try:
        yield
    except NnhostError as error:
        log = build_log(root, board)
        kept = board_folder(lasting, board) / log.name
        if str(log) in error.help:
            write_atomically(kept, log.read_bytes())
        error.help = error.help.replace(str(log), str(kept)).replace(str(root), str(lasting))
        raise


@contextmanager
def flashed_apart(
    project: Project, board: Board, port: str | None = None
) -> Iterator[tuple[Project, Built]]:
    """The project's net flashed on a board, in a project of its own that lives as long as the
    context, and what the firmware takes.

    Raises `NnhostError` if the firmware cannot be built or does not fit, `DeviceError` if the
    board cannot be flashed.
    """
    source = project.data.source
    if source not in SHIPPED:
        source = str((project.root / Path(source).expanduser()).resolve())
    with TemporaryDirectory(prefix="nnhost-") as folder:
        root = Path(folder)
        moved = replace(project, root=root, data=replace(project.data, source=source))
        (root / "platformio.ini").write_text(platformio_ini(str(firmware_dir())))
        _share_platforms(project.root, root, board)
        with _lasting_help(project.root, root, board):
            built = flash(moved, board, port)
        yield moved, built


@contextmanager
def apart(
    project: Project, board: Board, port: str | None = None, *, counting: bool = False
) -> Iterator[tuple[Twin, Built]]:
    """The project's net on a board, as `flashed_apart` makes it; `counting` as `power_on` does.

    Only the evidence of a difference goes to the project's own folder.
    """
    with (
        flashed_apart(project, board, port) as (moved, built),
        Twin(
            prepare(moved),
            board.name,
            lambda: open_board(moved.root, board, port, counting=counting),
            board_folder(project.root, board),
            counting=counting,
        ) as twin,
    ):
        yield twin, built
