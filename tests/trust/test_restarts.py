"""A board whose supply fails ends where an undisturbed one does."""

from __future__ import annotations

import pytest

from nnhost.twin import Twin


@pytest.fixture
def train(small, tmp_path):
    """Trains so many steps, while the supply fails at these requests: before the board hears them,
    or in its answers. The number of requests."""
    world = small.world()
    twin = Twin(small.network, "host", world.connect, tmp_path, clock=world.clock)

    def train(steps, *kills, in_answer=False):
        left = list(kills)

        def at_frame(number):
            if left and number == left[0]:
                left.pop(0)
                if in_answer:
                    world.answer_cut = True
                else:
                    world.restart()

        twin.close()
        world.board.power()
        world.frames, world.at_frame = 0, at_frame
        result = twin.train(steps=steps, score=False)
        assert twin.position().step == steps
        assert result.digest == small.reference(steps).digest, kills
        assert result.losses.tolist() == small.reference(steps).losses.tolist()
        return world.frames

    return train


@pytest.mark.parametrize("in_answer", [False, True])
def test_at_every_frame(train, in_answer):
    frames = train(32)
    assert frames == 40
    for frame in range(1, frames + 1):
        assert train(32, frame, in_answer=in_answer) > frames


@pytest.mark.parametrize("in_answer", [False, True])
def test_at_every_pair_of_frames(train, in_answer):
    """The second of a pair may hit what the host does about the first."""
    frames = train(8)
    assert frames == 15
    for first in range(1, frames + 1):
        for second in range(first + 1, train(8, first, in_answer=in_answer) + 1):
            train(8, first, second, in_answer=in_answer)
