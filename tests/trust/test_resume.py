"""A run whose host was killed goes on, and ends where an undisturbed one does."""

from __future__ import annotations

import errno
import os
import random
import resource
from dataclasses import replace
from itertools import count

import pytest

from nnhost import files, saved
from nnhost.boards import get
from nnhost.errors import NnhostError, UsageError
from nnhost.run.boards import board_folder
from nnhost.view import View
from nnhost.watch import watch

from .conftest import ENDINGS

KILLS = 200
#: Killed runs of each way to end.
RUNS = int(os.environ.get("NNHOST_KILLED_RUNS", "3"))
ENDS = {"early_stopping": "early_stopping", "stop_loss": "stop_loss"}


class Killed(BaseException):
    """What kill -9 looks like from within: nothing is tidied up that has effect."""


class Told(View):
    """Remembers what it is told."""

    def __init__(self):
        self.lines = []

    def tell(self, line):
        self.lines.append(line)


@pytest.fixture
def powered(monkeypatch):
    """A board of a bench that stays powered on, whatever becomes of the host."""

    def powered(bench):
        world = bench.world()
        monkeypatch.setattr("nnhost.watch.open_board", lambda *where, **how: world.connect())
        monkeypatch.setattr("nnhost.watch.prepare", lambda project: bench.network)
        monkeypatch.setattr("nnhost.watch.SAVE_PACE", 0.0)
        monkeypatch.setattr("nnhost.twin.LEAST_CHECKPOINT", 5)
        monkeypatch.setattr("nnhost.twin.CHECKPOINT", 5)
        return world

    return powered


def runner(bench, root, world):
    """Runs `watch` on that board; its result and what was told."""
    project = replace(bench.project, root=root)

    def run(*, resume=False, **length):
        told = Told()
        board = get("host")
        return watch(project, board, told, resume=resume, clock=world.clock, **length), told.lines

    return run


@pytest.fixture
def world(wide, powered):
    return powered(wide)


@pytest.fixture
def run(wide, tmp_path, world):
    return runner(wide, tmp_path, world)


@pytest.fixture
def folder(tmp_path):
    return board_folder(tmp_path, get("host"))


#: What there is to be known of a run.
FACTS = ("steps", "train", "ended_by", "looked_at", "best", "prequential")


def same(result, bench):
    reference = bench.reference(None)
    assert result.digest == reference.digest
    assert result.losses.tolist() == reference.losses.tolist()
    assert [getattr(result, f) for f in FACTS] == [getattr(reference, f) for f in FACTS]


def test_a_host_killed_anywhere(wide, world, run, folder):
    """Between any two bytes of the conversation; the board may have gone further, or restarted."""
    kill_anywhere(wide, world, run, folder, KILLS // 2)  # each of one to three


@pytest.mark.parametrize("key", [*ENDINGS, "kfac"])
def test_a_host_killed_anywhere_in_a_run_that_may_end_early(
    endings, powered, tmp_path, folder, key
):
    bench = endings(key)
    world = powered(bench)
    run = runner(bench, tmp_path, world)
    assert run()[0].ended_by == bench.reference(None).ended_by == ENDS.get(key, "")
    same(run(resume=True)[0], bench)  # once more, of a run that has ended
    kill_anywhere(bench, world, run, folder, RUNS)


def kill_anywhere(bench, world, run, folder, runs):
    chance = random.Random(5)
    world.frames = 0
    run()
    frames = world.frames

    def at_frame(number):
        if number == kill:
            raise Killed

    for number in range(runs):
        saved.drop(folder)
        resumed = False
        for _ in range(1 + number % 3):
            world.frames, world.at_frame = 0, at_frame
            kill = chance.randrange(1, frames)
            try:
                run(resume=resumed)
            except Killed:
                resumed = True
            if chance.randrange(2):
                world.restart()
        world.at_frame = lambda number: None
        kept = saved.load(folder)
        result, told = run(resume=True)
        same(result, bench)
        assert any(line.startswith("resumed at step") for line in told) == (kept is not None)


@pytest.mark.parametrize("stage", range(12))
def test_a_host_killed_while_it_saves(wide, world, run, folder, monkeypatch, stage):
    calls = iter(range(1000))

    def mortal(function):
        def call(*arguments):
            if next(calls) == stage:
                raise Killed
            return function(*arguments)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", mortal(files.os.fsync))
        patch.setattr(files.Path, "replace", mortal(files.Path.replace))
        with pytest.raises(Killed):
            run()
    world.restart()
    result, told = run(resume=True)
    same(result, wide)
    assert (told == []) == (stage < 2)  # nothing was saved yet


def test_a_torn_file_is_refused_and_the_one_before_it_taken(wide, world, run, folder):
    run(steps=10)
    run(resume=True, steps=19)
    path = folder / saved.NAME
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert saved.damaged(folder)
        if size % 16 == 0:
            assert saved.load(folder).step == 15
    for at in range(0, len(whole), 16):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert saved.load(folder).step == 15
    world.restart()
    result, told = run(resume=True)
    same(result, wide)
    assert told == [f"{path} is damaged: the one saved before is taken", "resumed at step 15"]


def test_nothing_whole_is_refused(run, folder):
    run(steps=10)
    for name in (saved.NAME, saved.PREVIOUS):
        (folder / name).write_bytes(b"torn")
    with pytest.raises(UsageError, match="damaged, and none is before it") as caught:
        run(resume=True)
    assert "without --resume" in caught.value.help


def test_a_longer_run_goes_on_where_the_shorter_ended(wide, run):
    run(steps=13)
    result, told = run(resume=True)
    same(result, wide)
    assert told == ["resumed at step 13"]


def test_what_cannot_be_resumed_is_refused(wide, run, folder):
    run(steps=13)
    with pytest.raises(UsageError, match="at step 13, behind step 7"):
        run(resume=True, steps=7)
    kept = saved.load(folder)
    saved.save(folder, replace(kept, program=kept.program ^ 1))
    with pytest.raises(UsageError, match="the run saved is of program"):
        run(resume=True)


def test_a_run_whose_epochs_nobody_looked_at_is_refused(endings, powered, tmp_path):
    """It cannot be known which of them was the best."""
    bench = endings("early_stopping")
    run = runner(bench, tmp_path, powered(bench))
    run(steps=2 * bench.network.plan.rows)
    with pytest.raises(UsageError, match="was not looked at after each epoch"):
        run(resume=True)
    steps = 3 * bench.network.plan.rows
    assert run(resume=True, steps=steps)[0].digest == bench.reference(steps).digest


def test_without_a_run_to_resume_one_begins(wide, run):
    result, told = run(resume=True)
    same(result, wide)
    assert told == []


def test_a_disk_that_fails_anywhere_stops_the_run_and_spoils_nothing(
    wide, world, run, folder, monkeypatch
):
    """Each of the operations of a run fails once: none but the last run comes to its end."""
    run(steps=10)
    begun = (folder / saved.NAME).read_bytes()

    def failing(function):
        def call(*arguments, **options):
            if next(calls) == stage:
                raise OSError(number, files.os.strerror(number))
            return function(*arguments, **options)

        return call

    stage, ended = -1, False
    while not ended:
        stage += 1
        number = (errno.ENOSPC, errno.EIO)[stage % 2]
        saved.drop(folder)
        (folder / saved.NAME).write_bytes(begun)
        world.restart()
        calls = count()
        with monkeypatch.context() as patch:
            patch.setattr(files.os, "fsync", failing(files.os.fsync))
            for name in ("replace", "mkdir"):
                patch.setattr(files.Path, name, failing(getattr(files.Path, name)))
            try:
                run(resume=True)
                ended = True
            except NnhostError as error:
                assert files.os.strerror(number) in error.message
        kept = saved.load(folder)
        assert kept.step >= 10
        assert kept.state == wide.reference(kept.step).state
        assert not list(folder.glob(".*"))  # nor is anything left behind
        same(run(resume=True)[0], wide)
    assert stage > 20


def test_a_full_disk_stops_the_run(wide, world, run, folder):
    """Refused by the system itself, in the middle of a file."""
    run(steps=10)
    before = (folder / saved.NAME).read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limit[1]))
    try:
        with pytest.raises(NnhostError, match="File too large"):
            run(resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (folder / saved.NAME).read_bytes() == before
    assert not list(folder.glob(".*"))
    same(run(resume=True)[0], wide)
