"""A line to a board through file descriptors: pipes, sockets and serial ports alike."""

from __future__ import annotations

import os
import select
import weakref
from collections.abc import Callable
from time import monotonic

from nnhost.errors import DeviceError, LostError

#: Seconds for which the other side may refuse bytes.
_PATIENCE = 10.0


class Line:
    """A Transport that reads from one descriptor and writes to another, or the same.

    `name` is what error messages call the other side, `end` gives everything back, once: at
    `close`, when the line is forgotten, or when the program exits. `epitaph` says why the other
    side is gone.
    """

    def __init__(
        self,
        name: str,
        reader: int,
        writer: int,
        end: Callable[[], None],
        epitaph: Callable[[], str],
    ) -> None:
        self.name = name
        self._reader = reader
        self._writer = writer
        self._epitaph = epitaph
        self._end = weakref.finalize(self, end)
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self._readable = select.poll()
        self._readable.register(reader, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(writer, select.POLLOUT)

    def read(self, timeout: float) -> bytes:
        """See `Transport.read`."""
        self._check_open()
        if not self._readable.poll(max(0.0, timeout) * 1000):
            return b""
        try:
            data = os.read(self._reader, 65536)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            raise self._gone()
        return data

    def write(self, data: bytes) -> None:
        """See `Transport.write`."""
        self._check_open()
        deadline = monotonic() + _PATIENCE
        while data:
            if not self._writable.poll(max(0.0, deadline - monotonic()) * 1000):
                raise LostError(f"{self.name} takes no more bytes", help="reset it")
            try:
                data = data[os.write(self._writer, data) :]
            except BlockingIOError:
                continue
            except OSError:
                raise self._gone() from None

    def close(self) -> None:
        """See `Transport.close`."""
        self._end()

    def hold(self, descriptor: int) -> None:
        """Give this descriptor back with the line."""
        ended = self._end.detach()
        assert ended is not None
        end = ended[1]

        def both() -> None:
            end()
            os.close(descriptor)

        self._end = weakref.finalize(self, both)

    def _check_open(self) -> None:
        if not self._end.alive:
            raise DeviceError(f"the line to {self.name} is closed")

    def _gone(self) -> LostError:
        reason = self._epitaph()
        return LostError(f"{self.name} is gone" + (f": {reason}" if reason else ""))
