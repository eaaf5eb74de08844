"""Files that are either old or new, never half written."""

from __future__ import annotations

import os
from pathlib import Path

from nnhost.errors import NnhostError, from_system


def write_atomically(path: Path, data: bytes, previous: Path | None = None) -> None:
    """Write a file, and the folders it lies in; it is on the disk when this returns.

    What was there before goes to `previous`, if that is named. Raises `NnhostError` where that
    cannot be; then the file is what it was.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    if path.is_dir():
        raise NnhostError(f"cannot write {path}: it is a folder", help="name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if previous is not None and path.exists():
                path.replace(previous)
            draft.replace(path)
            _settle(path.parent)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        if error.filename == str(draft):  # a name that says nothing to the user
            error.filename = None
        raise from_system(error, f"cannot write {path}") from None


def _settle(folder: Path) -> None:
    """Get the names in a folder onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
