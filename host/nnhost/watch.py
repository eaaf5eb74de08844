"""Training on a board while it is watched, compared and, at the end, kept."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from nnhost import saved
from nnhost.boards import Board
from nnhost.clock import REAL, Clock
from nnhost.errors import UsageError
from nnhost.generate import Network, prepare
from nnhost.meter import Run
from nnhost.outcome import Progress, Result, length
from nnhost.project import Project
from nnhost.run.boards import board_folder, open_board
from nnhost.run.serial_port import Seen
from nnhost.simulation import simulate_network
from nnhost.twin import Twin
from nnhost.view import View

#: Seconds between two times that a run under way is saved, at least.
SAVE_PACE = 1.0


def watch(
    project: Project,
    board: Board,
    view: View,
    *,
    port: str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    compare: bool = True,
    resume: bool = False,
    clock: Clock = REAL,
) -> Result:
    """Train the project's net on a board that has been flashed, and keep what it has learned.

    What it has learned is saved every second or so. `resume` goes on with a run that has not come
    to its end, or begins one if there is none.

    The first Ctrl-C ends the run with the step under way, a second one at once.
    Raises `NnhostError`, among them `DeviceError` and `DifferenceError`.
    """
    network = prepare(project)
    total = length(network, epochs, steps)
    folder = board_folder(project.root, board)
    start = _start(network, folder, total) if resume else None
    saved_at = clock.now()
    unsaved: saved.Saved | None = None
    seen = Seen()

    def on_checkpoint(checkpoint: saved.Saved) -> None:
        nonlocal unsaved, saved_at
        unsaved = checkpoint
        if clock.now() - saved_at >= SAVE_PACE:
            saved.save(folder, checkpoint)
            unsaved, saved_at = None, clock.now()

    def on_step(progress: Progress) -> None:
        if progress.step == 1:
            saved.drop(folder)  # the board has just been reset
        view.step(progress)

    with (
        interrupts(view.stop) as stopping,
        Twin(
            network,
            board.name,
            lambda: open_board(project.root, board, port, seen=seen),
            folder,
            compare=compare,
            on_resume=view.resume,
            on_note=view.tell,
            clock=clock,
        ) as twin,
        view,
    ):
        claim = "as simulated" if network.standalone else "bit-exact"
        view.begin(Run(
            title(network), board.name, network.plan.rows, total, claim, lambda: twin.counters,
            start.losses.tolist() if start else (),
        ))  # fmt: skip
        if resume and saved.damaged(folder):
            view.tell(f"{folder / saved.NAME} is damaged: the one saved before is taken")
        result = twin.train(
            epochs,
            steps,
            on_step=on_step,
            on_score=view.score,
            on_epoch=view.epoch,
            on_checkpoint=on_checkpoint,
            stopping=stopping,
            resume=start,
        )
        if unsaved is not None:
            saved.save(folder, unsaved)
        view.end(result)
    return result


def _start(network: Network, folder: Path, total: int) -> saved.Saved | None:
    """What was saved of an earlier run; None if nothing was.

    Raises `UsageError` where it cannot be gone on with.
    """
    found = saved.load(folder)
    again = "nnhost watch, without --resume, begins anew"
    if network.standalone and network.project.train.checkpoint_every:
        return None  # the board goes on by itself
    if network.standalone:
        raise UsageError(
            "a board that trains by itself goes on only if it makes checkpoints",
            help=f"set checkpoint_every in [train] and flash again; {again}",
        )
    if found is None:
        if saved.damaged(folder):
            raise UsageError(f"{folder / saved.NAME} is damaged, and none is before it", help=again)
        return None
    if found.program != network.fingerprint:
        raise UsageError(
            f"the run saved is of program {found.program:08X}, "
            f"the project is {network.fingerprint:08X}",
            help=f"put nn.toml back as it was; {again}",
        )
    if found.training != network.training:
        raise UsageError(
            "the run saved had another seed, batch, early_stopping, min_delta or other samples",
            help=f"put nn.toml and the data back as they were; {again}",
        )
    if found.step > total:
        raise UsageError(
            f"the run saved is at step {found.step}, behind step {total}",
            help=f"train for more steps; {again}",
        )
    return found


def watch_simulation(
    project: Project,
    engine: str,
    view: View,
    *,
    epochs: int | None = None,
    steps: int | None = None,
) -> Result:
    """The same training on this computer."""
    network = prepare(project)
    total = length(network, epochs, steps)
    with view:
        view.begin(Run(title(network), f"the {engine} simulator", network.plan.rows, total))
        result = simulate_network(network, engine, epochs, steps, view.step, view.epoch)
        view.end(result)
    return result


def title(network: Network) -> str:
    """The net in a few words: digits 64-16-10, q8, sgd."""
    plan = network.plan
    sizes = "-".join(map(str, plan.sizes))
    name = (network.project.root / network.project.data.source).resolve().name
    return f"{name} {sizes}, {plan.preset.name}, {plan.optimizer}"


@contextmanager
def interrupts(told: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C has been pressed; `told` is called when it is, and a second one interrupts."""
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        told()

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
