from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from nnhost.clock import Clock
from nnhost.errors import DeviceError, DifferenceError, LostError, StalledError, UsageError
from nnhost.generate import prepare
from nnhost.link.digest import SLICES
from nnhost.link.frames import decode
from nnhost.link.messages import Step
from nnhost.simulation import simulate
from nnhost.twin import CHECKPOINT, Twin

from .conftest import FakeBoard, TextBoard, flip


def evidence(twin_folder, step):
    return json.loads((twin_folder / "evidence" / f"difference-{step}.json").read_text())


def test_a_good_board_is_exact_and_ends_as_simulated(twin, board, project):
    told, scored = [], []
    result = twin.train(on_step=told.append, on_score=lambda *at: scored.append(at))
    reference = simulate(project)
    assert result.exact is True
    assert (result.digest, result.steps) == (reference.digest, 120)
    assert (result.loss, result.train_accuracy) == (reference.loss, reference.train_accuracy)
    assert np.array_equal(result.losses, reference.losses)
    assert [p.step for p in told] == list(range(1, 121))
    assert all(p.exact is True for p in told)
    assert scored == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert result.link is not None
    assert result.link.retries == 0


def test_each_training_begins_with_a_reset(twin):
    first, second = twin.train(steps=20), twin.train(steps=20)
    assert first.digest == second.digest
    assert first.steps == second.steps == 20
    assert twin.state() == second.state
    assert twin.evaluate("train") == second.train
    assert twin.evaluate("test") is None
    with pytest.raises(UsageError, match="no 'tests' set"):
        twin.evaluate("tests")  # type: ignore[arg-type]  # as a program without types may ask


def test_a_fresh_board_is_the_fresh_simulator(twin):
    assert twin.evaluate("train").loss > 0


def test_the_state_is_checked_at_checkpoints_and_at_the_end(twin, board):
    twin.train(epochs=150)  # 600 steps: epochs of four end every 32 steps' worth of slices
    assert board.asked.count("Verify") == 600 // 32 + 1 + 1 + 1  # at the end, reading, scoring


def test_long_epochs_are_checked_within(tmp_path, project):
    project = replace(project, data=replace(project.data, source="digits", test=0.5))
    project = replace(project, net=replace(project.net, loss="softmax-cross-entropy"))
    network = prepare(replace(project, train=replace(project.train, lr=0.03)))
    board = FakeBoard(network)
    with Twin(network, "host", lambda: board, tmp_path) as twin:
        progress = []
        twin.train(
            steps=2 * CHECKPOINT + 5, on_step=progress.append, stopping=lambda: len(progress) > 514
        )
    assert board.asked.count("Verify") == 2 + 1 + 1


LIES = {
    "loss": {"loss": 7},
    "prediction": {"prediction": 9},
    "digest of activations": {"trace": 0x1234},
    "digest of a slice": {"slice": 0x1234},
}


@pytest.mark.parametrize("field", LIES)
def test_a_false_report_stops_the_training(twin, board, tmp_path, field):
    board.faults[16] = lambda board: LIES[field]
    told = []
    with pytest.raises(
        DifferenceError, match=f"host and the simulator differ at step 16: {field}"
    ) as caught:
        twin.train(on_step=told.append)
    assert caught.value.exit_code == 4
    assert "difference-16.json" in caught.value.help
    assert "\n" not in str(caught.value)
    assert [p.exact for p in told] == [True] * 15 + [False]
    kept = evidence(tmp_path, 16)
    ((name, value),) = LIES[field].items()
    assert kept["reported"][name] == value != kept["expected"][name]
    assert kept["board_state"] == kept["simulator_state"]
    assert kept["differing"] == []
    assert kept["step"] == 16
    assert kept["program"] == f"{twin.network.fingerprint:08X}"
    assert len(bytes.fromhex(kept["sample"])) == board.sample_bytes
    assert "the state afterwards is the same" in str(caught.value)


def test_where_a_step_was_sent_ahead_the_evidence_is_of_the_state_after_it(twin, board, tmp_path):
    board.window = 2

    def fault(board):
        flip("weight1", 0, 0)(board)
        return {"loss": 7}

    board.faults[7] = fault
    told = []
    with pytest.raises(DifferenceError, match=r"at step 7: .*; after step 8 weight1\[0, 0\] is"):
        twin.train(on_step=told.append)
    assert [p.step for p in told] == list(range(1, 8))
    kept = evidence(tmp_path, 7)
    assert (kept["step"], kept["reached"]) == (7, 8)


@pytest.mark.parametrize("window", [1, 2])
def test_a_run_that_was_left_is_over_before_the_next_request(network, board, tmp_path, window):
    """So that board and simulator are at the same step."""
    board.window = window

    class Left(Exception):
        pass

    def leave(progress):
        if progress.step == 5:
            raise Left

    with Twin(network, "host", lambda: board, tmp_path) as twin:
        with pytest.raises(Left):
            twin.train(on_step=leave)
        assert twin.position().step == 4 + window
        twin.evaluate("train")
        assert twin.train(steps=9).exact


@pytest.mark.parametrize("window", [1, 2])
def test_who_stops_a_run_is_told_of_all_steps_that_were_made(network, board, tmp_path, window):
    board.window = window
    told = []
    with Twin(network, "host", lambda: board, tmp_path) as twin:
        result = twin.train(on_step=told.append, stopping=lambda: len(told) >= 5)
        assert result.exact
        assert result.steps == len(told) == twin.position().step == 4 + window


def test_evidence_that_cannot_be_kept_hides_nothing(twin, board, tmp_path):
    (tmp_path / "evidence").write_text("a file where the folder should be")
    board.faults[7] = lambda board: {"loss": 7}
    with pytest.raises(DifferenceError, match="differ at step 7") as caught:
        twin.train()
    assert "cannot write" in caught.value.help


def test_both_losses_are_named(twin, board, network):
    reference = simulate(network.project, steps=3).losses[2]
    board.faults[3] = lambda board: {"loss": 1}
    scale = network.plan.loss_scale
    said = rf"loss {scale:.6g} \(1\) on the board, {reference:.6g} \(\d+\) in the simulator"
    with pytest.raises(DifferenceError, match=said):
        twin.train()


@pytest.mark.parametrize(
    ("tensor", "index"), [("weight1", (2, 1)), ("weight2", (0, 3)), ("bias2", (0,))]
)
def test_a_flipped_bit_is_found_and_named(twin, board, tmp_path, tensor, index):
    """Within a turn of the slices, whatever the bit does to the loss."""
    board.faults[10] = flip(tensor, *index)
    with pytest.raises(DifferenceError) as caught:
        twin.train()
    (path,) = (tmp_path / "evidence").iterdir()
    step = json.loads(path.read_text())["step"]
    assert 10 <= step <= 10 + SLICES
    kept = evidence(tmp_path, step)
    elements = {(e["tensor"], tuple(e["index"])) for e in kept["differing"]}
    assert (tensor, index) in elements
    assert kept["board_state"] != kept["simulator_state"]
    assert f"step {step}: " in str(caught.value)
    first = kept["differing"][0]
    place = f"{first['tensor']}[{', '.join(map(str, first['index']))}]"
    assert f"{place} is {first['board']}, not {first['simulator']}" in str(caught.value)


def test_a_bit_that_flips_after_the_last_step_is_found(twin, board):
    board.faults[120] = lambda board: flip("weight2", 0, 0)(board) and {}
    with pytest.raises(DifferenceError, match="weight2"):
        twin.train()


def test_a_bit_that_flips_while_scoring_is_found(twin, board):
    def scored(done, total):
        if done == total:
            flip("weight2", 0, 0)(board)

    with pytest.raises(DifferenceError, match=r"in the state after step 5.*weight2"):
        twin.train(steps=5, on_score=scored)


def test_a_false_prediction_while_scoring_is_found(twin, board, tmp_path):
    board.misjudged = {2}
    with pytest.raises(DifferenceError, match=r"on row 1 of the train set: prediction [12] on"):
        twin.train(steps=5)
    assert evidence(tmp_path, 5)["row"] == 1


def test_without_comparing_nothing_is_claimed(network, board, tmp_path):
    board.faults[3] = lambda board: {"loss": 1}
    board.misjudged = {1}
    told = []
    with Twin(network, "host", lambda: board, tmp_path, compare=False) as twin:
        result = twin.train(on_step=told.append)
    assert result.exact is None
    assert {p.exact for p in told} == {None}
    assert result.losses[2] == network.plan.loss_scale  # what the board said
    assert result.digest == simulate(network.project).digest
    assert list(tmp_path.glob("**/difference*")) == []


def test_it_stops_with_the_step_under_way(twin, project):
    told = []
    result = twin.train(on_step=told.append, stopping=lambda: len(told) == 10)
    assert (result.steps, result.stopped) == (10, True)
    assert result.exact is True
    assert result.train is result.test is None
    assert result.digest == simulate(project, steps=10).digest


def test_it_stops_while_scoring(twin):
    scored = []
    result = twin.train(on_score=lambda *at: scored.append(at), stopping=lambda: bool(scored))
    assert result.stopped
    assert result.train is None
    assert result.steps == 120
    assert len(scored) == 1


def test_a_stopping_run_still_tells_of_a_difference(twin, board):
    board.faults[1] = lambda board: {"loss": 1}
    with pytest.raises(DifferenceError):
        twin.train(stopping=lambda: board.step_count > 0)


def test_a_board_that_is_gone_is_not_looked_for_once_the_run_is_stopping(network, tmp_path):
    board, stopping = FakeBoard(network), []

    def gone():
        if board.step_count:
            stopping.append(True)
            raise LostError("there is no port")
        return board

    def unplug(board):
        board.closed = True
        raise LostError("it was unplugged")

    board.faults[50] = unplug
    kept = []
    with Twin(network, "host", gone, tmp_path) as twin:
        result = twin.train(stopping=lambda: bool(stopping), on_checkpoint=kept.append)
    assert (result.stopped, result.steps, result.state, result.exact) == (True, 49, b"", None)
    assert (kept[-1].step, len(stopping)) == (32, 1)


def test_a_board_that_never_answers_is_not_greeted_once_the_run_is_stopping(twin, board):
    board.read = lambda timeout: b""
    pressed = iter([False] * 3)
    result = twin.train(stopping=lambda: next(pressed, True))
    assert (result.stopped, result.steps, result.state) == (True, 0, b"")


def test_another_program_is_refused(twin, board):
    board.program ^= 1
    with pytest.raises(DeviceError, match="runs program") as caught:
        twin.train()
    assert "nnhost flash" in caught.value.help


def test_another_board_is_refused(twin, board):
    board.name = "simstc8"
    with pytest.raises(DeviceError, match='"simstc8", not for "host"'):
        twin.train()


def test_a_restart_is_made_good(network, board, project, tmp_path):
    def restart(progress):
        if progress.step == 9:
            board.session = board.step_count = 0
            board.simulator.reset(99)

    told = []
    with Twin(
        network, "host", lambda: board, tmp_path, on_resume=lambda *what: told.append(what)
    ) as twin:
        result = twin.train(on_step=restart)
    assert result.digest == simulate(project).digest
    assert (result.steps, result.link.lost) == (120, 1)
    assert told == [(9, "the board has restarted")]


def test_what_had_gone_wrong_before_is_told(network, board, tmp_path):
    board.cause = 5
    told = []
    with Twin(network, "host", lambda: board, tmp_path, on_note=told.append) as twin:
        twin.train(steps=8, score=False)
    assert told == ["the board had restarted before: a hard fault"]


def test_a_board_that_restarts_at_each_step_stops_the_run(network, board, tmp_path):
    class Failing(FakeBoard):
        def write(self, data):
            for block in filter(None, data.split(b"\0")):
                if decode(block).type == Step.NUMBER and decode(block).payload[0] == 9:
                    self.session = self.step_count = 0
            super().write(data)

    board = Failing(network)
    with (
        pytest.raises(StalledError, match=r"after step 8: lost 20 times: .*restarted") as caught,
        Twin(network, "host", lambda: board, tmp_path, clock=instant()) as twin,
    ):
        twin.train()
    assert caught.value.exit_code == 5


def test_a_board_that_does_not_come_back_stops_the_run(network, board, tmp_path):
    def die(progress):
        board.closed = progress.step == 9

    with (
        pytest.raises(
            StalledError, match=r"after step 9: 3\d seconds of silence: .*gone"
        ) as caught,
        Twin(network, "host", lambda: board, tmp_path, clock=instant()) as twin,
    ):
        twin.train(on_step=die)
    assert caught.value.exit_code == 5


def test_a_difference_that_a_lost_line_hides_is_found(network, board, tmp_path):
    """A board that has not restarted is not given its state back in silence."""
    lost = []

    def lose(progress):
        if progress.step == 9:
            flip("weight1", 1, 0)(board)
            lost.append(board.read)
            board.read = once

    def once(timeout):
        board.read = lost[0]
        raise LostError("gone for a moment")

    with (
        pytest.raises(DifferenceError, match=r"in the state after step (9|10)"),
        Twin(network, "host", lambda: board, tmp_path, clock=instant()) as twin,
    ):
        twin.train(on_step=lose)


def instant():
    """A clock on which a pause is over at once."""
    time = [0.0]

    def now():
        time[0] += 0.01
        return time[0]

    return Clock(now, lambda seconds: time.__setitem__(0, time[0] + seconds))


def test_a_bad_line_costs_time_but_nothing_else(network, board, tmp_path, project):
    """Frames lost and corrupted in both directions are repeated, and counted."""
    chance = random.Random(1)
    read, write = board.read, board.write

    def damaged(data):
        if data and chance.random() < 0.02:
            at = chance.randrange(len(data))
            return data[:at] + (bytes([data[at] ^ 4]) + data[at + 1 :] if at % 2 else b"")
        return data

    board.read = lambda timeout: damaged(read(timeout))
    board.write = lambda data: write(damaged(data))
    with Twin(network, "host", lambda: board, tmp_path) as twin:
        result = twin.train()
    assert result.exact is True
    assert result.digest == simulate(project).digest
    assert result.link.retries > 1
    assert result.event()["link"]["retries"] == result.link.retries


def test_the_board_is_let_go(twin, board):
    with twin:
        twin.train(steps=1)
        assert not board.closed
    assert board.closed


def test_batches_and_momentum(project, tmp_path):
    train = replace(project.train, batch=3, optimizer="momentum", lr=0.1)
    project = replace(project, train=train)
    network = prepare(project)
    board = FakeBoard(network)
    with Twin(network, "host", lambda: board, tmp_path) as twin:
        result = twin.train(epochs=3)
    assert result.digest == simulate(project, engine="native", epochs=3).digest


# ---- boards that train by themselves ----


@pytest.fixture
def alone(project):
    return prepare(replace(project, data=replace(project.data, delivery="flash")))


def follow(network, tmp_path, edit=list, **options):
    twin = Twin(network, "host", lambda: TextBoard(network, edit), tmp_path / "evidence", **options)
    told = []
    with twin:
        return twin.train(on_step=told.append), told


def test_a_board_that_trains_by_itself(alone, tmp_path, project):
    result, told = follow(alone, tmp_path)
    reference = simulate(project)
    assert (result.exact, result.digest) == (True, reference.digest)
    assert result.train == reference.train
    assert np.array_equal(result.losses, reference.losses)
    assert [p.step for p in told] == list(range(1, 121))
    assert all(p.exact for p in told)


def test_lost_lines_are_made_up_for(alone, tmp_path):
    def lose(lines):
        return ["16\tloss:0.1\n", *lines[17:50], "step:9\n", *lines[53:119], lines[-1]]

    result, told = follow(alone, tmp_path, lose)
    assert result.exact is True
    assert [p.step for p in told] == list(range(1, 121))


def test_a_false_line_is_a_difference(alone, tmp_path):
    def spoil(lines):
        lines[30] = "step:31\tloss:9.999\n"
        return lines

    with pytest.raises(
        DifferenceError, match=r"at step 31: loss 9\.999 on the board, \d\.\d{3} in"
    ) as caught:
        follow(alone, tmp_path, spoil)
    assert "difference-31.json" in caught.value.help
    kept = evidence(tmp_path, 31)
    assert kept["board_state"] is None
    assert kept["reported"] == {"step": 31, "loss_milli": 9999}


def test_another_program_is_refused_before_it_trains(alone, tmp_path):
    follow(alone, tmp_path, lambda lines: [f"program:{alone.fingerprint:08X}\n", *lines])
    with pytest.raises(DeviceError, match="the board runs program 0000C0DE, the project is"):
        follow(alone, tmp_path, lambda lines: ["program:0000C0DE\n", *lines])


def test_a_false_digest_at_the_end_is_a_difference(alone, tmp_path):
    with pytest.raises(DifferenceError, match="digest of the state 0000 on the board"):
        follow(alone, tmp_path, lambda lines: [*lines[:-1], "done:120\tdigest:0000\n"])


def test_too_few_steps_are_a_difference(alone, tmp_path):
    with pytest.raises(DifferenceError, match="steps 60 on the board, 120 in the simulator"):
        follow(alone, tmp_path, lambda lines: [*lines[:60], "done:60\tdigest:0000\n"])


@pytest.mark.parametrize("line", ["step:5\tloss:0.500\n", "step:121\tloss:0.500\n"])
def test_a_step_that_cannot_be_is_an_error(alone, tmp_path, line):
    with pytest.raises(DeviceError, match=r"after step 40") as caught:
        follow(alone, tmp_path, lambda lines: [*lines[:40], line, *lines[40:]])
    assert "nnhost flash" in caught.value.help


def test_text_without_comparing(alone, tmp_path):
    def spoil(lines):
        lines[30] = "step:31\tloss:9.999\n"
        return lines

    result, told = follow(alone, tmp_path, spoil, compare=False)
    assert result.exact is None
    assert told[30].loss == 9.999
    assert told[0].exact is None


def test_a_board_that_trains_by_itself_sets_its_own_length(alone, tmp_path):
    twin = Twin(alone, "host", lambda: TextBoard(alone), tmp_path)
    with pytest.raises(UsageError, match="for 30 epochs"):
        twin.train(steps=5)
    assert twin.train(epochs=30).steps == 120
    with pytest.raises(UsageError, match="call train"):
        Twin(alone, "host", lambda: TextBoard(alone), tmp_path).state()


def test_stopping_a_board_that_trains_by_itself(alone, tmp_path):
    told = []
    with Twin(alone, "host", lambda: TextBoard(alone), tmp_path) as twin:
        result = twin.train(on_step=told.append, stopping=lambda: len(told) == 10)
    assert result.stopped
    assert result.digest is None  # it still trains: its state cannot be read
    assert result.exact is None


def test_a_silent_board_is_reset(alone, tmp_path, monkeypatch):
    """It has finished before the host came: it answers, and trains again from a reset."""
    monkeypatch.setattr("nnhost.twin.SILENCE", 0.05)

    class Finished(TextBoard):
        def __init__(self, network):
            super().__init__(network)
            self.later, self.out = self.out, b""

        def on_restart(self, request):
            self.late = True
            from nnhost.link import messages

            return messages.Done()

        def read(self, timeout):
            data = super().read(timeout)
            if not data and getattr(self, "late", False):
                self.late = False
                self.session = 0
                return self.later
            return data

    with Twin(alone, "host", lambda: Finished(alone), tmp_path) as twin:
        assert twin.train().exact is True


@pytest.fixture
def keeping(alone):
    """A board that makes checkpoints."""
    train = replace(alone.project.train, checkpoint_every=32)
    return replace(alone, project=replace(alone.project, train=train))


def test_a_board_that_goes_on_from_its_checkpoint(keeping, tmp_path, project):
    started = f"program:{keeping.fingerprint:08X}\n"
    goes_on = []

    def resumed(lines):
        return [started, "resumed:64\n", *lines[64:]]

    def cut(lines):  # it has no checkpoint yet, and later one
        return [*lines[:20], started, *lines[:70], started, "resumed:64\n", *lines[64:]]

    for edit, told in ((resumed, [64]), (cut, [64])):
        goes_on.clear()
        result, made = follow(
            keeping, tmp_path, edit, on_resume=lambda step, why: goes_on.append(step)
        )
        assert goes_on == told
        assert [p.step for p in made] == list(range(1, 121))
        assert (result.exact, result.digest) == (True, simulate(project).digest)


def test_a_checkpoint_of_another_state_is_a_difference(keeping, tmp_path):
    with pytest.raises(DifferenceError, match="at step 65"):
        follow(keeping, tmp_path, lambda ls: ["resumed:64\n", "step:65\tloss:9.999\n", *ls[65:]])
    with pytest.raises(DeviceError, match="at step 121 of 120 after step 0"):
        follow(keeping, tmp_path, lambda ls: ["resumed:121\n", *ls[64:]])
