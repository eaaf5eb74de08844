"""Training on a board while it is watched, compared and, at the end, kept."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from nnhost import saved
from nnhost.boards import Board
from nnhost.generate import Network, prepare
from nnhost.meter import Run
from nnhost.outcome import Progress, Result, length
from nnhost.project import Project
from nnhost.run.boards import board_folder, open_board
from nnhost.simulation import simulate_network
from nnhost.twin import Twin
from nnhost.view import View


def watch(
    project: Project,
    board: Board,
    view: View,
    *,
    port: str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    compare: bool = True,
) -> Result:
    """Train the project's net on a board that has been flashed, and keep what it has learned.

    The first Ctrl-C ends the run with the step under way, a second one at once.
    Raises `NnhostError`, among them `DeviceError` and `DifferenceError`.
    """
    network = prepare(project)
    total = length(network, epochs, steps)
    folder = board_folder(project.root, board)

    def on_step(progress: Progress) -> None:
        if progress.step == 1:
            saved.drop(folder)  # the board has just been reset
        view.step(progress)

    with (
        interrupts(view.stop) as stopping,
        Twin(
            network,
            board.name,
            lambda: open_board(project.root, board, port),
            folder,
            compare=compare,
        ) as twin,
        view,
    ):
        claim = "as simulated" if network.standalone else "bit-exact"
        view.begin(Run(
            title(network), board.name, network.plan.rows, total, claim, lambda: twin.counters
        ))  # fmt: skip
        result = twin.train(
            epochs,
            steps,
            on_step=on_step,
            on_score=view.score,
            on_epoch=view.epoch,
            stopping=stopping,
        )
        if result.state:
            at = result.kept_step
            kept = saved.Saved(network.fingerprint, at, result.state, result.losses)
            saved.save(folder, kept)
        view.end(result)
    return result


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
    name = Path(network.project.data.source).name
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
