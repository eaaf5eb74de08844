"""The same training on several boards, each compared with the simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from threading import Event

from nnhost.apart import apart, side_by_side
from nnhost.boards import BOARDS, Board, get
from nnhost.errors import CapacityError, DifferenceError, NnhostError
from nnhost.generate import prepare
from nnhost.outcome import Result
from nnhost.project import Project


@dataclass(frozen=True)
class Verdict:
    """How a board did.

    `outcome`: "exact"; "refused", for a net that its memory cannot hold; "differs"; or "failed".
    `message` and `help` say why, as the error would. `digest` is that of the state at the end.
    """

    board: str
    outcome: str
    steps: int = 0
    digest: str | None = None
    seconds: float = 0.0
    message: str = ""
    help: str = ""

    def event(self) -> dict[str, object]:
        """The object that `--json` prints."""
        return {"event": "verified", **vars(self)}


def choose(names: Iterable[str]) -> list[Board]:
    """The boards of these names, each once; "all" stands for the virtual ones."""
    chosen: dict[str, Board] = {}
    for name in names:
        if name == "all":
            chosen |= {n: board for n, board in BOARDS.items() if board.kind == "virtual"}
        else:
            chosen[name] = get(name)
    return list(chosen.values())


def verify(
    project: Project,
    boards: Iterable[Board],
    steps: int,
    port: str | None = None,
    on_verdict: Callable[[Verdict], None] = lambda verdict: None,
) -> list[Verdict]:
    """Build, flash and train the project's net on each board, for `steps` steps.

    Leaves alone what the project has built and flashed. A board that trains by itself makes as
    many epochs as the steps need. `on_verdict` is called as soon as a board is done.
    """
    if project.data.delivery == "flash":
        rows = prepare(project).plan.rows
        epochs = -(-steps // rows)
        project, steps = (
            replace(project, train=replace(project.train, epochs=epochs)),
            epochs * rows,
        )

    def work(board: Board, stopped: Event) -> Verdict:
        return _verify(project, board, steps, port, stopped)

    return side_by_side(boards, work, on_verdict)


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """4 if a board differs, 1 if one failed or none could hold the net, else 0."""
    outcomes = {verdict.outcome for verdict in verdicts}
    if "differs" in outcomes:
        return DifferenceError.exit_code
    return int("failed" in outcomes or "exact" not in outcomes)


def _verify(
    project: Project, board: Board, steps: int, port: str | None, stopped: Event
) -> Verdict:
    try:
        with apart(project, board, port) as (twin, _):
            result: Result = twin.train(steps=steps, score=False, stopping=stopped.is_set)
    except CapacityError as error:
        return Verdict(board.name, "refused", message=error.message, help=error.help)
    except DifferenceError as error:
        return Verdict(board.name, "differs", message=error.message, help=error.help)
    except NnhostError as error:
        return Verdict(board.name, "failed", message=error.message, help=error.help)
    return Verdict(board.name, "exact", result.steps, result.digest, round(result.seconds, 3))
