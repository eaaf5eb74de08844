"""A line that damages and loses frames between the host and a virtual board."""

from __future__ import annotations

import random
from typing import Any

import pytest

from nnhost import simulate, virtual_board
from nnhost.link import Transport
from nnhost.paths import examples_dir
from nnhost.project import load_project
from nnhost.run import boards as runner

#: A byte, of either kind; not a piece read, for frames come in any number of pieces.
FAULTS = 0.0005


class BadLine:
    """Flips a bit in some of the bytes, and loses as many and what comes with them, both ways."""

    def __init__(self, transport: Transport, seed: int) -> None:
        self._transport = transport
        self._random = random.Random(seed)
        self.faults = 0

    def _spoil(self, data: bytes) -> bytes:
        if data and self._random.random() < FAULTS * len(data):
            self.faults += 1
            at = self._random.randrange(len(data))
            return data[:at] + bytes([data[at] ^ 1 << self._random.randrange(8)]) + data[at + 1 :]
        if data and self._random.random() < FAULTS * len(data):
            self.faults += 1
            return data[: self._random.randrange(len(data))]
        return data

    def read(self, timeout: float) -> bytes:
        return self._spoil(self._transport.read(timeout))

    def write(self, data: bytes) -> None:
        self._transport.write(self._spoil(data))

    def close(self) -> None:
        self._transport.close()


@pytest.mark.parametrize("name", ["simstc8", "qemu-m3"])
def test_training_completes_exact_and_counts_the_faults(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[BadLine] = []
    original = runner.open_board

    def open_board(*where: Any, **how: Any) -> BadLine:
        lines.append(BadLine(original(*where, **how), seed=len(name)))
        return lines[-1]

    monkeypatch.setattr("nnhost.apart.open_board", open_board)
    project = load_project(examples_dir() / "iris", ["train.epochs=2"])

    with virtual_board(project, name) as board:
        result = board.train()

    assert result.exact
    assert result.digest == simulate(project, engine="native").digest
    faults = sum(line.faults for line in lines)
    assert faults > 5
    assert result.link is not None
    assert 0 < result.link.retries <= 2 * faults
