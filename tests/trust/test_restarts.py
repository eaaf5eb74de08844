"""A board whose supply fails, or whose cable is out, ends where an undisturbed one does."""

from __future__ import annotations

import pytest
from helpers.damage import Chance

from nnhost.twin import Twin

HOW = ("listening", "answering", "answered", "unplugged")
#: The first request that it may happen to: a board that cannot be greeted is not trained.
FIRST = {"listening": 1, "answering": 1, "answered": 1, "unplugged": 2}


class AtTheEnd(Chance):
    """Cuts an answer before its last byte: whatever the board says next makes it whole."""

    def below(self, limit):
        return limit - 1


def hear_twice(board):
    """Lets the supply fail once the board has answered, and the line double what it has heard."""
    feed = board.feed

    def twice(data):
        read, answer = feed(data)
        if answer:
            board.feed = feed
            board.power()
            feed(data[:read])
        return read, answer

    board.feed = twice


def trainer(bench, folder, window):
    """Trains so many steps, while something happens at some requests: the supply fails, before the
    board hears them, in its answers or at their very end, or the cable is out. The number of
    requests."""
    world = bench.world(window=window)
    twin = Twin(bench.network, "host", world.connect, folder, clock=world.clock)

    def train(steps, *kills):
        left = list(kills)

        def at_frame(number):
            if left and number == left[0][0]:
                how = left.pop(0)[1]
                world.chance = AtTheEnd(0) if how == "answered" else Chance(0)
                if how in ("answering", "answered"):
                    world.answer_cut = True
                elif how == "heard twice":
                    hear_twice(world.board)
                elif how == "listening":
                    world.restart()
                else:
                    world.unplug()

        twin.close()
        world.board.power()
        world.frames, world.at_frame = 0, at_frame
        result = twin.train(steps=steps, score=False)
        assert twin.position().step == steps
        assert result.digest == bench.reference(steps).digest, kills
        assert result.losses.tolist() == bench.reference(steps).losses.tolist()
        return world.frames

    return train


@pytest.fixture(params=[1, 2])
def window(request):
    return request.param


@pytest.fixture
def train(small, tmp_path, window):
    return trainer(small, tmp_path, window)


@pytest.mark.parametrize("how", HOW)
def test_at_every_frame_where_the_host_writes_too(written, tmp_path, how, window):
    train = trainer(written, tmp_path, window)
    for frame in range(FIRST[how], train(11) + 1):
        train(11, (frame, how))


@pytest.mark.parametrize("how", HOW)
def test_at_every_frame(train, how):
    frames = train(32)
    assert frames == 40
    for frame in range(FIRST[how], frames + 1):
        assert train(32, (frame, how)) > frames


@pytest.mark.parametrize(
    ("how", "then"),
    [
        ("listening", "listening"),
        ("answering", "answering"),
        ("unplugged", "unplugged"),
        ("unplugged", "answered"),  # a WELCOME that is true no longer
        ("unplugged", "heard twice"),
    ],
)
def test_at_every_pair_of_frames(train, how, then):
    """The second of a pair may hit what the host does about the first."""
    frames = train(8)
    assert frames == 15
    for first in range(FIRST[how], frames + 1):
        for second in range(first + 1, train(8, (first, how)) + 1):
            train(8, (first, how), (second, then))
