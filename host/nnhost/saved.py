"""What a trained board leaves in the project's folder: its state, and the losses it went through.

A virtual board forgets everything when it is powered off, as a real one does; `pull` puts the
saved state back into it first. Of real boards only the losses are needed.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnhost.files import write_atomically
from nnhost.link import state_digest

NAME = "ram.npz"

#: Arrays by name; Any, because numpy's own types would have them be options of savez.
Arrays = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Saved:
    """A board's state after training step `step` of `program`; `losses`: float64, (steps,)."""

    program: int
    step: int
    state: bytes
    losses: NDArray[np.float64]


def save(folder: Path, saved: Saved) -> None:
    """Keep it in `folder`, in place of what was there. Raises `NnhostError`."""
    arrays: Arrays = {
        "program": np.uint32(saved.program),
        "step": np.uint32(saved.step),
        "crc": np.uint16(state_digest(saved.state)),
        "state": np.frombuffer(saved.state, np.uint8),
        "losses": saved.losses,
    }
    write_atomically(folder / NAME, npz(arrays))


def load(folder: Path) -> Saved | None:
    """What was kept in `folder`; None where there is nothing, or nothing that is whole."""
    try:
        arrays = read_npz(folder / NAME)
        state = arrays["state"].tobytes()
        if state_digest(state) != int(arrays["crc"]):
            return None
        return Saved(int(arrays["program"]), int(arrays["step"]), state, arrays["losses"])
    except (OSError, ValueError, KeyError):
        return None


def drop(folder: Path) -> None:
    """Forget what was kept."""
    (folder / NAME).unlink(missing_ok=True)


def npz(arrays: Arrays) -> bytes:
    """The bytes of an .npz file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def read_npz(path: Path) -> Arrays:
    """The arrays of an .npz file. Raises `OSError` or, where it is not whole, `ValueError`."""
    content = io.BytesIO(path.read_bytes())
    try:
        with np.load(content, allow_pickle=False) as file:
            return dict(file)
    except (EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError(str(error)) from None
