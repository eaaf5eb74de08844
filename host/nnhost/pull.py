"""The trained weights, from the board into a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnhost import saved
from nnhost.boards import Board
from nnhost.errors import DeviceError, UsageError
from nnhost.files import write_atomically
from nnhost.generate import Network, prepare
from nnhost.layers.batch_norm import MEAN_UNIT, VARIANCE_UNIT, fold
from nnhost.link import Transport, read_text
from nnhost.optimizers.base import SQUARE
from nnhost.outcome import digest
from nnhost.project import Project
from nnhost.run.boards import board_folder, open_board
from nnhost.simulator import unpack
from nnhost.twin import SILENCE, greet


@dataclass(frozen=True)
class Pulled:
    """What was read from a board: where it is now, and what it is."""

    file: str
    board: str
    program: str
    step: int
    digest: str

    def event(self) -> dict[str, object]:
        """The object that `--json` prints."""
        return {"event": "pulled", **vars(self)}


def pull(project: Project, board: Board, file: Path, port: str | None = None) -> Pulled:
    """Read what the project's board has learned into the .npz `file`; see `read_board`.

    Raises `UsageError` for a file of another kind."""
    if file.suffix != ".npz":
        raise UsageError(
            f"-o {file}: what is written is an .npz", help=f"-o {file.with_suffix('.npz')}"
        )
    folder = board_folder(project.root, board)
    return read_board(
        prepare(project), board, lambda: open_board(project.root, board, port), folder, file
    )


def read_board(
    network: Network, board: Board, connect: Callable[[], Transport], folder: Path, file: Path
) -> Pulled:
    """Read the board's state, checked by its CRC, and write the .npz `file`.

    A virtual board is first given back what `folder` keeps of its last training. A board that
    trains by itself is waited for. Raises `DeviceError`, and `NnhostError` for the file.
    """
    with closing(connect()) as line:
        if network.standalone:
            with suppress(DeviceError):  # silence: it has finished before, and answers
                for _ in read_text(line, SILENCE):
                    pass
        session = greet(line, network, board.name)
        kept = saved.load(folder)
        if kept is not None and kept.program != network.fingerprint:
            kept = None
        if kept is not None and board.kind == "virtual" and session.welcome.step == 0:
            session.write_state(*kept.on_board)
        state = session.read_state()
        step = session.verify().step
    losses = kept.losses if kept is not None and kept.on_board[0] == state else np.zeros(0)
    number = f"{network.fingerprint:08X}"
    arrays = tensors(network, state) | {
        "formats": np.str_(json.dumps(network.plan.describe())),
        "losses": losses,
        "step": np.uint32(step),
        "board": np.str_(board.name),
        "program": np.str_(number),
        "digest": np.str_(digest(state)),
        "state": np.frombuffer(state, np.uint8),
    }
    write_atomically(file, saved.npz(arrays))
    return Pulled(str(file), board.name, number, step, digest(state))


def tensors(network: Network, state: bytes) -> saved.Arrays:
    """Every tensor of a state twice: as real numbers under its name, as integers with "_int".

    "weight1" is float64 of shape (outputs, inputs), "bias1" (outputs,); "velocity1" and
    "bias_velocity1", or another slot's name, are there where the optimizer keeps them. Of a
    normalised layer there are "gamma1" and its slots, "running_mean1" and "running_variance1", all
    of shape (outputs,); its real weight and bias contain the normalisation by the running
    statistics, and real weights of the layer above dropout the share of units that is kept, so that
    activation(weight @ inputs + bias) is what the trained net computes.
    """
    values = unpack(network.program.state, state)
    found: saved.Arrays = {}
    kept_below = 1.0
    for layer in network.plan.layers:
        kinds = ("weight", "bias", "gamma") if layer.batch_norm else ("weight", "bias")
        slots = [
            f"{kind}_{slot}".removeprefix("weight_")
            for slot in network.plan.slots
            for kind in kinds
        ]
        units = {"running_mean": MEAN_UNIT, "running_variance": VARIANCE_UNIT}
        for name in (*kinds, *slots, *(units if layer.batch_norm else ())):
            integers: NDArray[np.int64] = values[f"{name}{layer.number}"]
            if name in units:
                real, kind = integers * np.float64(units[name]), "i8"
            elif name in slots:
                real = layer.real_slot(name, integers)
                kind = "u2" if name.endswith(SQUARE) else "i2"
            else:
                real, kind = layer.real_weights(integers), "i2"
            found[f"{name}{layer.number}"] = real
            found[f"{name}{layer.number}_int"] = integers.astype(kind)
        if layer.batch_norm:
            parts = ("weight", "bias", "gamma", "running_mean", "running_variance")
            folded = fold(*(found[f"{name}{layer.number}"] for name in parts))
            found[f"weight{layer.number}"], found[f"bias{layer.number}"] = folded
        found[f"weight{layer.number}"] = found[f"weight{layer.number}"] * kept_below
        kept_below = layer.keep / 256 or 1.0
    return found
