"""What training costs on boards, counted by the boards themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from threading import Event

from nnhost.apart import apart, side_by_side
from nnhost.boards import Board
from nnhost.errors import CapacityError, DeviceError, NnhostError, UsageError
from nnhost.generate import prepare
from nnhost.outcome import Progress
from nnhost.project import Project
from nnhost.run.virtual import clock_units

#: The board's counter has 32 bits: it is asked after so many steps, before it can have gone round.
_ASK = 64
#: No step takes more: a SysTick goes round twice.
_LONGEST = 2**25
#: Forward passes that are counted.
_PASSES = 32

OnStep = Callable[[str, int], None]


@dataclass(frozen=True)
class Cost:
    """What the project's net costs on a board.

    `per_step`: mean of a training step, from the sample complete to the report ready, in `unit`
    (machine cycles of an 8051, cycles of a real Cortex-M, instructions in QEMU); `forward`: of a
    forward pass. `code`, `ram`: bytes of the firmware. `stack`: most bytes of it in use.
    `steps_per_s`: of the wall clock, with the link. `message` says why a board was refused or
    failed, and then there are no figures.
    """

    board: str
    net: str
    preset: str
    optimizer: str
    steps: int
    per_step: int = 0
    unit: str | None = None
    forward: int = 0
    code: int = 0
    ram: int = 0
    stack: int = 0
    steps_per_s: float = 0.0
    refused: bool = False
    message: str = ""
    help: str = ""

    @property
    def failed(self) -> bool:
        """Whether there is a fault to look for: the net fits, and was not measured."""
        return bool(self.message) and not self.refused

    def event(self) -> dict[str, object]:
        """The object that `--json` prints."""
        figures = ("per_step", "unit", "forward", "code", "ram", "stack", "steps_per_s")
        missing = dict.fromkeys(figures) if self.message else {}
        return {"event": "bench", **vars(self), **missing}


def bench(
    project: Project,
    boards: Iterable[Board],
    steps: int | None = None,
    port: str | None = None,
    on_cost: Callable[[Cost], None] = lambda cost: None,
    on_step: OnStep = lambda board, step: None,
) -> list[Cost]:
    """Train the project's net on each board, streamed and compared with the simulator, for `steps`
    steps or an epoch, and count. `port`: of a real board. Leaves alone what the project has built
    and flashed.

    Raises `UsageError` for a board that cannot count.
    """
    chosen = list(boards)
    for board in chosen:
        if board.unit is None:
            raise UsageError(
                f"{board.name} is a process, which counts no cycles",
                help="nnhost bench --board all measures all that can",
            )
    streamed = replace(project, data=replace(project.data, delivery="stream"))
    wanted = steps or prepare(streamed).plan.rows

    def work(board: Board, stopped: Event) -> Cost:
        return _measure(streamed, board, wanted, port, stopped, on_step)

    return side_by_side(chosen, work, on_cost)


def _measure(
    project: Project,
    board: Board,
    steps: int,
    port: str | None,
    stopped: Event,
    on_step: OnStep,
) -> Cost:
    plan = prepare(project).plan
    sizes = "-".join(map(str, plan.sizes))
    cost = Cost(board.name, sizes, plan.preset.name, plan.optimizer, steps)
    try:
        with apart(project, board, port, counting=True) as (twin, built):
            counted = 0
            last = twin.position().spent

            def ask() -> None:
                nonlocal counted, last
                now = twin.position().spent
                if (now - last) % 2**32 > _ASK * _LONGEST:
                    raise DeviceError(
                        f"{board.name} has restarted, and what it had counted is lost",
                        help="nnhost watch says why a board restarts",
                    )
                counted += (now - last) % 2**32
                last = now

            def step(progress: Progress) -> None:
                if progress.step % _ASK == 0:
                    ask()
                on_step(board.name, progress.step)

            result = twin.train(steps=steps, score=False, stopping=stopped.is_set, on_step=step)
            ask()
            trained, counted = counted, 0
            passes = min(_PASSES, plan.rows)
            twin.evaluate("train", passes)
            ask()
            return replace(
                cost,
                per_step=round(clock_units(board, trained) / result.steps),
                unit=board.unit,
                forward=round(clock_units(board, counted) / passes),
                code=built.flash,
                ram=sum(built.ram.values()),
                stack=twin.position().stack,
                steps_per_s=round(result.steps / result.seconds, 1),
            )
    except NnhostError as error:
        refused = isinstance(error, CapacityError)
        return replace(cost, refused=refused, message=error.message, help=error.help)
