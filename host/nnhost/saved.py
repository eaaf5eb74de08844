"""What a run leaves in the project's folder: the board's state, and the losses it went through.

It is saved now and then while a run goes on, so that the run can be resumed, and at its end, with
what decides on that end. A virtual board forgets everything when it is powered off, as a real one
does: `pull` puts the saved state back into it first. The file before the last is kept: one of the
two is always whole.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnhost.data.array_files import BROKEN
from nnhost.files import write_atomically

NAME = "run.state"
PREVIOUS = "run.previous"
_CHECKSUM_BYTES = 32

#: Arrays by name; Any, because numpy's own types would have them be options of savez.
Arrays = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Past:
    """What the end of a run hangs on: `seconds` of training; `looks`: float64, (epochs, 2), the
    mean loss and the accuracy on the validation set after each epoch, NaN for no accuracy; the
    state after the best epoch, empty if none is to be kept."""

    seconds: float = 0.0
    looks: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    best_state: bytes = b""


@dataclass(frozen=True, eq=False)
class Saved:
    """A board's state after training step `step` of `program`; `losses`: float64, (steps,).

    `training` names the training, as `Network.training` does. `right`: int8, (steps,), whether each
    sample was known before it was learned, -1 where nobody asks. `left`: the step whose state the
    run has left on the board, of an epoch that was better than the last.
    """

    program: int
    training: int
    step: int
    state: bytes
    losses: NDArray[np.float64]
    right: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    past: Past = field(default_factory=Past)
    left: int | None = None

    @property
    def on_board(self) -> tuple[bytes, int]:
        """The state on the board, and its step."""
        return (self.state, self.step) if self.left is None else (self.past.best_state, self.left)


def save(folder: Path, saved: Saved) -> None:
    """Keep it in `folder`, and what was there before. Raises `NnhostError`: both are as before."""
    left = [] if saved.left is None else [saved.left]
    arrays: Arrays = {
        "numbers": np.array([saved.program, saved.training, saved.step, *left], np.uint32),
        "state": np.frombuffer(saved.state, np.uint8),
        "losses": saved.losses,
        "right": saved.right,
        "seconds": np.float64(saved.past.seconds),
        "looks": saved.past.looks,
        "best_state": np.frombuffer(saved.past.best_state, np.uint8),
    }
    data = npz(arrays)
    # What is damaged must not take the place of what is whole.
    previous = None if damaged(folder) else folder / PREVIOUS
    write_atomically(folder / NAME, _checksum(data) + data, previous)


def load(folder: Path) -> Saved | None:
    """What was kept in `folder` last and is whole; None where there is nothing."""
    return _whole(folder / NAME) or _whole(folder / PREVIOUS)


def damaged(folder: Path) -> bool:
    """Whether the last that was kept in `folder` is not what was written."""
    return (folder / NAME).exists() and _whole(folder / NAME) is None


def drop(folder: Path) -> None:
    """Forget what was kept."""
    for name in (NAME, PREVIOUS):
        (folder / name).unlink(missing_ok=True)


def _whole(path: Path) -> Saved | None:
    """What a file holds, if that is what was written."""
    try:
        return parsed(path.read_bytes())
    except OSError:
        return None


def parsed(content: bytes) -> Saved | None:
    """What a file's content says, if it is what was written."""
    data = content[_CHECKSUM_BYTES:]
    if content[:_CHECKSUM_BYTES] != _checksum(data):
        return None
    try:
        arrays = _arrays(data)
        state, best_state = (arrays[name].tobytes() for name in ("state", "best_state"))
        program, training, step, *left = arrays["numbers"].tolist()
        past = Past(float(arrays["seconds"]), arrays["looks"], best_state)
        losses, right = arrays["losses"], arrays["right"]
        return Saved(program, training, step, state, losses, right, past, *left)
    except (ValueError, TypeError, KeyError):
        return None


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def npz(arrays: Arrays) -> bytes:
    """The bytes of an .npz file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def read_npz(path: Path) -> Arrays:
    """The arrays of an .npz file. Raises `OSError` or, where it is not whole, `ValueError`."""
    return _arrays(path.read_bytes())


def _arrays(content: bytes) -> Arrays:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return dict(file)
    except BROKEN as error:
        raise ValueError(str(error)) from None
