"""What programs use, above all tests of projects: `from nnhost import virtual_board`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nnhost.apart import apart
from nnhost.boards import get
from nnhost.errors import UsageError
from nnhost.project import Project, load_project
from nnhost.simulation import simulate
from nnhost.spread import simulate_many
from nnhost.twin import Twin

__all__ = ["load_project", "simulate", "simulate_many", "virtual_board"]


@contextmanager
def virtual_board(project: Project, board: str | None = None) -> Iterator[Twin]:
    """The project's net on a virtual board: built, flashed and powered on while the context lasts.

    `board` is the project's own unless named. What the project has built and flashed is left
    alone. A test that trains the project in the current folder on an 8051::

        from nnhost import load_project, virtual_board

        def test_it_learns_on_the_chip():
            with virtual_board(load_project("."), "simstc8") as board:
                result = board.train(epochs=1)
            assert result.exact
            assert result.test_accuracy > 0.9

    `train` returns a `Result` and raises `DifferenceError` at the first difference from the
    simulator. Raises `NnhostError` if the net does not fit the board or a tool is missing.
    """
    record = get(board or project.board.name)
    if record.kind != "virtual":
        raise UsageError(f"{record.name} is a real board", help="nnhost boards lists the virtual")
    with apart(project, record) as (twin, _):
        yield twin
