"""Files that are either old or new, never half written."""

from __future__ import annotations

import os
from pathlib import Path

from nnhost.errors import NnhostError


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file, and the folders it lies in. Raises `NnhostError` where that cannot be."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    if path.is_dir():
        raise NnhostError(f"cannot write {path}: it is a folder", help="name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(data)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise NnhostError(f"cannot write {path}: {error.filename}: {error.strerror}") from None
