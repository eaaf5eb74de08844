"""A board set apart: built, flashed and powered on apart from what the project has flashed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from nnhost.boards import Board
from nnhost.build import flash, platformio_ini
from nnhost.data import SHIPPED
from nnhost.generate import prepare
from nnhost.paths import firmware_dir
from nnhost.project import Project
from nnhost.run.boards import board_folder, open_board
from nnhost.twin import Twin


@contextmanager
def apart(project: Project, board: Board, port: str | None = None) -> Iterator[Twin]:
    """The project's net on a board, in a folder that lives as long as the context.

    Only the evidence of a difference goes to the project's own folder.
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
        flash(moved, board, port)
        with Twin(
            prepare(moved),
            board.name,
            lambda: open_board(root, board, port),
            board_folder(project.root, board),
        ) as twin:
            yield twin
