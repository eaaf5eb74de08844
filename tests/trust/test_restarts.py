"""A board whose supply fails, or whose cable is out, ends where an undisturbed one does."""

from __future__ import annotations

import pytest

from nnhost.twin import Twin

HOW = ("listening", "answering", "unplugged")
#: The first request that it may happen to: a board that cannot be greeted is not trained.
FIRST = {"listening": 1, "answering": 1, "unplugged": 2}


def trainer(bench, folder, window):
    """Trains so many steps, while the supply fails at these requests, before the board hears them
    or in its answers, or the cable is out. The number of requests."""
    world = bench.world(window=window)
    twin = Twin(bench.network, "host", world.connect, folder, clock=world.clock)

    def train(steps, *kills, how=""):
        left = list(kills)

        def at_frame(number):
            if left and number == left[0]:
                left.pop(0)
                if how == "answering":
                    world.answer_cut = True
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
        train(11, frame, how=how)


@pytest.mark.parametrize("how", HOW)
def test_at_every_frame(train, how):
    frames = train(32)
    assert frames == 40
    for frame in range(FIRST[how], frames + 1):
        assert train(32, frame, how=how) > frames


@pytest.mark.parametrize("how", HOW)
def test_at_every_pair_of_frames(train, how):
    """The second of a pair may hit what the host does about the first."""
    frames = train(8)
    assert frames == 15
    for first in range(FIRST[how], frames + 1):
        for second in range(first + 1, train(8, first, how=how) + 1):
            train(8, first, second, how=how)
