"""What a run leaves in the project's folder: the board's state, and the losses it went through.

It is saved now and then while a run goes on, so that the run can be resumed, and at its end. A
virtual board forgets everything when it is powered off, as a real one does: `pull` puts the saved
state back into it first. The file before the last is kept: one of the two is always whole.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
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
class Saved:
    """A board's state after training step `step` of `program`; `losses`: float64, (steps,).

    `training` names the training, as `Network.training` does.
    """

    program: int
    training: int
    step: int
    state: bytes
    losses: NDArray[np.float64]


def save(folder: Path, saved: Saved) -> None:
    """Keep it in `folder`, and what was there before. Raises `NnhostError`: both are as before."""
    arrays: Arrays = {
        "program": np.uint32(saved.program),
        "training": np.uint32(saved.training),
        "step": np.uint32(saved.step),
        "state": np.frombuffer(saved.state, np.uint8),
        "losses": saved.losses,
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
        content = path.read_bytes()
    except OSError:
        return None
    data = content[_CHECKSUM_BYTES:]
    if content[:_CHECKSUM_BYTES] != _checksum(data):
        return None
    try:
        arrays = _arrays(data)
        state = arrays["state"].tobytes()
        program, training, step = (int(arrays[name]) for name in ("program", "training", "step"))
        return Saved(program, training, step, state, arrays["losses"])
    except (ValueError, KeyError):
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
