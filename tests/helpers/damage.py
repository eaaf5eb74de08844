"""What goes wrong on a line, drawn from a seed, so that a failure can be had again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from nnhost.errors import NnhostError
from nnhost.link.messages import State
from nnhost.outcome import Result
from nnhost.twin import Twin


@dataclass
class Chance:
    """The faults of a line, `rate` of them a frame, until `quota` are used up; then it is quiet.

    So are the first greeting and its answer: a board that cannot be greeted is not trained.
    """

    seed: int
    rate: float = 0.0
    quota: int = 0
    accidents: bool = True
    faults: int = 0
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def strikes(self) -> bool:
        """Whether something happens to this frame."""
        if self.faults >= self.quota or self._random.random() >= self.rate:
            return False
        self.faults += 1
        return True

    def pick(self, kinds: tuple[str, ...]) -> str:
        return self._random.choice(kinds)

    def below(self, limit: int) -> int:
        return self._random.randrange(limit)

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


#: What happens to one frame in so many that something happens to.
ACCIDENT = 40
DAMAGE = ("flip", "burst", "drop", "insert", "cut", "lose", "twice", "delay", "stale")
#: Rarer, for they cost the host a greeting.
ACCIDENTS = ("reset", "reset in the answer", "unplug")


def damaged(chance: Chance, data: bytes, past: list[bytes]) -> list[tuple[float, bytes]]:
    """What becomes of a frame: parts that arrive, each so many seconds later than it should. `past`
    holds some of the frames that went the same way before."""
    past.append(data)
    del past[:-20]
    at = chance.below(len(data))
    kind = chance.pick(DAMAGE)
    if kind == "flip":
        return [(0.0, data[:at] + bytes([data[at] ^ 1 << chance.below(8)]) + data[at + 1 :])]
    if kind == "burst":
        size = len(data[at : at + 6])
        return [(0.0, data[:at] + chance.bytes(size) + data[at + size :])]
    if kind == "drop":
        return [(0.0, data[:at] + data[at + 1 :])]
    if kind == "insert":
        return [(0.0, data[:at] + chance.bytes(1 + chance.below(4)) + data[at:])]
    if kind == "cut":
        return [(0.0, data[:at])]
    if kind == "lose":
        return []
    if kind == "twice":
        return [(0.0, data), (0.0, data)]
    if kind == "delay":
        return [(0.001 * (1 << chance.below(10)), data)]
    return [(0.0, past[chance.below(len(past))]), (0.0, data)]


def train_undisturbed(
    twin: Twin, reference: Result, what: str, score: bool = False
) -> tuple[Result, State]:
    """Train over a bad line, and come to what a good one comes to; `what` names a failure."""
    try:
        result = twin.train(score=score)
        position = twin.position()
    except NnhostError as error:
        pytest.fail(f"{what}: {error}")
    assert result.digest == reference.digest, what
    assert result.losses.tolist() == reference.losses.tolist(), what
    assert position.step == result.steps, what
    return result, position
