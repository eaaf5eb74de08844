"""Virtual boards that are powered off while they train."""

from __future__ import annotations

from typing import Any

import pytest

from nnhost import simulate, virtual_board
from nnhost.errors import LostError
from nnhost.link import Transport
from nnhost.paths import examples_dir
from nnhost.project import load_project
from nnhost.run import boards as runner

#: What a powered board hears until its supply fails.
REQUESTS = (3, 30, 101, 250)


class Failing:
    """A line to a board whose supply fails at a request."""

    def __init__(self, transport: Transport, requests: int) -> None:
        self._transport = transport
        self._left = requests

    def read(self, timeout: float) -> bytes:
        return self._transport.read(timeout)

    def write(self, data: bytes) -> None:
        self._left -= len(data) > 1
        if self._left <= 0:
            self._transport.close()
            raise LostError("the board is off")
        self._transport.write(data)

    def close(self) -> None:
        self._transport.close()


@pytest.mark.parametrize("name", ["simstc8", "qemu-m3"])
def test_training_goes_on_exact(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = list(REQUESTS)
    original = runner.open_board

    def open_board(*where: Any, **how: Any) -> Failing:
        return Failing(original(*where, **how), left.pop(0) if left else 10**9)

    monkeypatch.setattr("nnhost.apart.open_board", open_board)
    project = load_project(examples_dir() / "iris", ["train.epochs=3"])

    with virtual_board(project, name) as board:
        result = board.train()

    assert left == []
    assert result.exact
    assert result.digest == simulate(project, engine="native").digest
    assert result.link is not None
    assert result.link.lost == len(REQUESTS)
