"""The errors a user sees: a cause, a cure and an exit code, never a traceback."""

from __future__ import annotations

import difflib
import errno
import json
from collections.abc import Iterable


class NnhostError(Exception):
    """Something went wrong that the user can mend.

    The command line prints it as two lines, ``error: message`` and ``help: help``, and exits with
    ``exit_code``: 1 failure, 2 usage, 3 port or device, 4 chip and simulator differ, 5 no progress.
    """

    exit_code = 1

    def __init__(self, message: str, *, help: str = "", exit_code: int | None = None) -> None:
        self.message = printable(message)
        self.help = printable(help)
        super().__init__(self.message)
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(NnhostError):
    """The command line or nn.toml asks for something that does not exist or cannot be."""

    exit_code = 2


class CapacityError(NnhostError):
    """The firmware does not fit the board's memory; the message says by how many bytes."""


class DeviceError(NnhostError):
    """The port or the board on it does not answer as it should."""

    exit_code = 3


class LostError(DeviceError):
    """The board or its line is gone, or the board has restarted; another greeting may help."""


class RestartedError(LostError):
    """The board has started anew, and has forgotten its session."""


class StalledError(DeviceError):
    """Nothing has gone forward for too long, whatever was tried."""

    exit_code = 5


class DifferenceError(NnhostError):
    """The chip computed something else than the simulator."""

    exit_code = 4


def from_system(error: OSError, doing: str = "") -> NnhostError:
    """What the operating system refuses, and the cure of what a user can mend."""
    cure = {
        errno.ENOSPC: "make room on the disk",
        errno.EDQUOT: "make room on the disk",
        errno.EROFS: "work on a copy of the project, in a folder of yours",
        errno.EACCES: "work on a copy of the project, in a folder of yours",
    }.get(error.errno or 0, "")
    parts = (doing, error.filename, error.strerror or str(error))
    return NnhostError(": ".join(str(part) for part in parts if part), help=cure)


def printable(text: str) -> str:
    """Text on one line that no terminal takes for a command: files and boards may say anything."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quote(value: object) -> str:
    """A value of the user's as an error shows it: quoted if text, on one line, not too long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if not text.isprintable():
        text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(value: object, names: Iterable[str]) -> str:
    """The cure for a wrong name: the one that was probably meant, or all there are."""
    names = list(names)
    close = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    return f"did you mean {quote(close[0])}?" if close else f"there are: {', '.join(names)}"
