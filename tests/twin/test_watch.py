"""The verbs that speak with a board, from the command line down to a board without a chip."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from time import monotonic

import pytest

from nnhost import saved
from nnhost.boards import get
from nnhost.build import Built
from nnhost.cli import main
from nnhost.errors import CapacityError, DeviceError, LostError
from nnhost.generate import prepare
from nnhost.simulation import simulate
from nnhost.twin import NO_PROGRESS, Twin
from nnhost.verify import Verdict, choose, exit_code, verify

from .conftest import FakeBoard, TextBoard, arrays, flip


@pytest.fixture
def call(project, capsys):
    """Runs nnhost; its exit code, its JSON objects and its standard error."""

    def call(*arguments, json_lines=True):
        with pytest.raises(SystemExit) as caught:
            main(["-C", str(project.root), *(["--json"] * json_lines), *arguments])
        out, err = capsys.readouterr()
        return (
            caught.value.code,
            [json.loads(x) for x in out.splitlines()] if json_lines else out,
            err,
        )

    return call


@pytest.fixture
def plugged(board, monkeypatch):
    """The board on its line, powered on anew each time, as a virtual one is."""

    def open_board(root, record, port, seen=None):
        assert record.name == "host"
        if board.closed:
            board.__init__(board.network)
        return board

    monkeypatch.setattr("nnhost.watch.open_board", open_board)
    monkeypatch.setattr("nnhost.pull.open_board", open_board)
    return board


def test_watch_prints_each_step_then_the_result(call, plugged, project):
    code, events, err = call("watch")
    reference = simulate(project)
    *steps, done = events
    assert code == 0
    assert [e["step"] for e in steps] == list(range(1, 121))
    assert all(e.keys() == {"event", "step", "epoch", "loss", "exact"} for e in steps)
    assert all(e["event"] == "step" and e["exact"] is True for e in steps)
    assert [e["loss"] for e in steps] == list(reference.losses)
    assert steps[-1]["epoch"] == 30
    assert done["event"] == "done"
    assert done["exact"] is True
    mine, theirs = dict(done), reference.event()
    for own in ("exact", "seconds", "link"):
        mine.pop(own, None)
        theirs.pop(own, None)
    assert mine == theirs
    assert done["link"]["retries"] == 0
    assert "bit-exact through step 120" in err
    assert plugged.closed


@pytest.mark.parametrize(("option", "steps"), [(["--steps", "7"], 7), (["--epochs", "2"], 8)])
def test_how_long(call, plugged, option, steps):
    code, events, _ = call("watch", *option)
    assert (code, events[-1]["steps"]) == (0, steps)


def test_lengths_exclude_each_other(call, plugged):
    code, events, err = call("watch", "--steps", "7", "--epochs", "2")
    assert code == 2
    assert events == [{
        "event": "error", "exit_code": 2, "message": "both epochs and steps are given",
        "help": "choose one of them",
    }]  # fmt: skip
    assert err.splitlines() == [
        "error: both epochs and steps are given",
        "help: choose one of them",
    ]


def test_no_verify_claims_nothing(call, plugged):
    plugged.faults[3] = lambda board: {"loss": 1}
    code, events, err = call("watch", "--no-verify")
    assert code == 0
    assert {e["exact"] for e in events} == {None}
    assert "exact" not in err


def test_plain_lines_go_to_standard_output(call, plugged):
    code, out, err = call("watch", json_lines=False)
    assert code == 0
    assert "xor 2-4-1, q8, sgd on host: 120 steps, 30 epochs" in out
    assert "training set" in out
    assert err == ""


def test_a_difference_stops_with_4(call, plugged, project):
    plugged.faults[9] = flip("weight1", 1, 0)
    code, events, err = call("watch")
    assert code == 4
    *_, last, error = events
    assert last["exact"] is False
    assert error["event"] == "error"
    assert error["exit_code"] == 4
    path = project.root / ".nnhost" / "host" / f"difference-{last['step']}.json"
    assert str(path) in error["help"]
    kept = json.loads(path.read_text())
    assert kept["differing"]
    assert err.splitlines()[-2:] == [f"error: {error['message']}", f"help: {error['help']}"]


def test_the_port_of_a_real_board_is_passed_on(call, monkeypatch):
    opened = []

    def open_board(root, record, port, seen=None):
        opened.append((record.name, port))
        raise DeviceError("nothing is there")

    monkeypatch.setattr("nnhost.watch.open_board", open_board)
    call("watch", "--board", "stc89c52rc", "--steps", "1", "--port", "/dev/ttyUSB7")
    assert opened == [("stc89c52rc", "/dev/ttyUSB7")]


def test_what_was_learned_is_there_for_pull(call, plugged, project, tmp_path):
    _, events, _ = call("watch")
    code, pulled, _ = call("pull", "-o", str(tmp_path / "w.npz"))
    assert code == 0
    assert pulled[0]["event"] == "pulled"
    assert pulled[0]["step"] == 120
    assert pulled[0]["digest"] == events[-1]["digest"]
    file = arrays(tmp_path / "w.npz")
    assert list(file["losses"]) == [e["loss"] for e in events[:-1]]


def test_a_training_that_begins_wipes_the_one_before(call, plugged, project):
    call("watch")
    plugged.__init__(plugged.network)
    plugged.faults[5] = lambda board: {"loss": 1}
    folder = project.root / ".nnhost" / "host"
    assert saved.load(folder).step == 120
    assert call("watch")[0] == 4
    assert saved.load(folder) is None


def test_a_board_that_cannot_be_had_leaves_it_alone(call, plugged, project):
    call("watch")
    plugged.__init__(plugged.network)
    plugged.program ^= 1
    code, events, _ = call("watch")
    assert code == 3
    assert "flash --board host" in events[-1]["help"]
    assert saved.load(project.root / ".nnhost" / "host").step == 120


def test_ctrl_c_stops_with_the_step_under_way(call, plugged, project):
    def press(board):
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    plugged.faults[11] = press
    before = signal.getsignal(signal.SIGINT)
    code, events, err = call("watch")
    assert code == 130
    done = events[-1]
    assert (done["event"], done["stopped"], done["steps"], done["exact"]) == (
        "done",
        True,
        11,
        True,
    )
    assert done["digest"] == simulate(project, steps=11).digest
    assert done["train_accuracy"] is None
    assert "stopped after 11 of 120 steps" in err
    assert saved.load(project.root / ".nnhost" / "host").step == 11
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_the_board_is_looked_for_ends_the_run(call, plugged, project, monkeypatch):
    def unplug(board):
        board.closed = True
        monkeypatch.setattr("nnhost.watch.open_board", absent)
        raise LostError("it was unplugged")

    def absent(root, record, port, seen=None):
        os.kill(os.getpid(), signal.SIGINT)
        raise DeviceError("there is no port")

    plugged.faults[40] = unplug
    began = monotonic()
    code, events, err = call("watch")
    assert code == 130
    assert (events[-1]["stopped"], events[-1]["steps"], events[-1]["digest"]) == (True, 39, None)
    assert "what the board has learned in the end could not be read" in err
    assert monotonic() - began < NO_PROGRESS / 2
    assert saved.load(project.root / ".nnhost" / "host").step == 32
    monkeypatch.setattr("nnhost.watch.open_board", lambda *where, **how: FakeBoard(plugged.network))
    code, events, _ = call("watch", "--resume")
    assert (code, events[-1]["digest"]) == (0, simulate(project).digest)


def test_ctrl_c_twice_stops_at_once(call, plugged, project):
    def press(board):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    plugged.faults[11] = press
    code, events, _ = call("watch")
    assert code == 130
    assert events[-1] == {
        "event": "error", "message": "interrupted", "help": "", "exit_code": 130
    }  # fmt: skip
    assert plugged.closed


def test_a_board_that_vanishes(call, plugged):
    def vanish(board):
        board.closed = True
        raise DeviceError("host is gone: it was unplugged")

    plugged.faults[4] = vanish
    code, _, err = call("watch")
    assert code == 3
    assert err.splitlines()[-1] == "error: host is gone: it was unplugged"


def test_text_of_a_board_that_trains_by_itself(call, project, monkeypatch):
    network = prepare(replace(project, data=replace(project.data, delivery="flash")))
    monkeypatch.setattr("nnhost.watch.open_board", lambda *_, **__: TextBoard(network))
    code, events, err = call("watch", "--set", "data.delivery=flash")
    assert code == 0
    assert len(events) == 121
    assert all(e["exact"] is True for e in events)
    assert events[-1]["digest"] == simulate(project).digest
    assert "as simulated through step 4" in err
    assert "bit-exact through step 120" in err


# ---- verify ----


@pytest.fixture
def benches(network, monkeypatch, tmp_path):
    """What is on the bench, by the board's name: a twin to train, or an error to raise."""
    from contextlib import contextmanager

    things = {}

    @contextmanager
    def apart(project, board, port=None, counting=False):
        thing = things[board.name]
        if isinstance(thing, Exception):
            raise thing
        network, evidence = prepare(project), tmp_path / "evidence"
        with Twin(network, board.name, lambda: thing, evidence, counting=counting) as twin:
            yield twin, Built(tmp_path, 1, 5000, 8192, {"iram": 200, "xram": 100}, {})

    monkeypatch.setattr("nnhost.verify.apart", apart)
    monkeypatch.setattr("nnhost.bench.apart", apart)
    return things


def test_verify_tells_of_each_board(call, benches, network, project):
    benches["host"] = FakeBoard(network)
    benches["sim8052"] = FakeBoard(network, "sim8052")
    benches["sim8052"].faults[8] = lambda board: {"loss": 1}
    benches["sim89c52"] = CapacityError("sim89c52: 12 more than there are", help="smaller")
    benches["qemu-m0"] = DeviceError("qemu-m0 needs qemu-system-arm, which is missing", help="apt")
    names = ["host", "sim8052", "sim89c52", "qemu-m0"]
    code, events, err = call("verify", *(f"--board={name}" for name in names), "--steps", "20")
    assert code == 4
    *verdicts, done = events
    outcomes = {v["board"]: v for v in verdicts}
    assert {name: v["outcome"] for name, v in outcomes.items()} == {
        "host": "exact", "sim8052": "differs", "sim89c52": "refused", "qemu-m0": "failed",
    }  # fmt: skip
    keys = {"event", "board", "outcome", "steps", "digest", "seconds", "message", "help"}
    assert all(v.keys() == keys and v["event"] == "verified" for v in verdicts)
    assert outcomes["host"]["digest"] == simulate(project, steps=20).digest
    assert outcomes["host"]["steps"] == 20
    assert "12 more" in outcomes["sim89c52"]["message"]
    assert done == {"event": "done", "exact": False, "boards": 4}
    assert "error: sim8052 and the simulator differ at step 8" in err
    assert "error: qemu-m0 needs" in err


def test_verify_prints_a_table(call, benches, network):
    benches["host"] = FakeBoard(network)
    benches["sim89c52"] = CapacityError("sim89c52: 12 more than there are", help="smaller")
    code, out, err = call("verify", "host", "sim89c52", json_lines=False)
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [
        ["host", "exact"], ["sim89c52", "refused"],
    ]  # fmt: skip
    assert "12 more than there are" in out
    assert err == ""


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (["exact"], 0),
        (["exact", "refused"], 0),
        (["refused"], 1),
        (["exact", "failed"], 1),
        (["failed", "differs"], 4),
    ],
)
def test_exit_codes_of_verify(outcomes, code):
    assert exit_code([Verdict("b", outcome) for outcome in outcomes]) == code


def test_boards_to_verify():
    assert [b.name for b in choose(["qemu-m0", "host", "qemu-m0"])] == ["qemu-m0", "host"]
    virtual = choose(["all"])
    assert {b.kind for b in virtual} == {"virtual"}
    assert get("host") in virtual


def test_verify_by_itself_makes_whole_epochs(project, benches, monkeypatch):
    project = replace(project, data=replace(project.data, delivery="flash"))
    short = replace(project, train=replace(project.train, epochs=3))
    benches["host"] = TextBoard(prepare(short))
    (verdict,) = verify(project, [get("host")], steps=10)
    assert (verdict.outcome, verdict.steps) == ("exact", 12)


# ---- bench ----


def test_bench_gives_means(call, benches, network):
    """Of a board whose n-th step takes 1000 + n cycles, by a counter that goes round."""
    benches["sim8052"] = FakeBoard(network, "sim8052")
    code, events, err = call("bench", "sim8052", "--steps", "100")
    assert (code, err) == (0, "")
    (cost,) = events
    assert cost["event"] == "bench"
    assert (cost["board"], cost["net"], cost["steps"]) == ("sim8052", "2-4-1", 100)
    assert (cost["preset"], cost["optimizer"]) == ("q8", "sgd")
    assert (cost["per_step"], cost["unit"], cost["forward"]) == (round(1050.5), "cycles", 300)
    assert (cost["code"], cost["ram"], cost["stack"]) == (5000, 300, 29)
    assert cost["steps_per_s"] > 0


def test_bench_measures_an_epoch_where_nothing_is_said(call, benches, network):
    benches["qemu-m0"] = FakeBoard(network, "qemu-m0")
    _, (cost,), _ = call("bench", "--board", "qemu-m0")
    assert (cost["steps"], cost["unit"]) == (network.plan.rows, "instructions")


def test_bench_tells_of_boards_without_figures(call, benches, network):
    benches["sim89c52"] = CapacityError("sim89c52: 12 more than there are", help="smaller")
    benches["sim8052"] = FakeBoard(network, "sim8052")
    benches["sim8052"].faults[3] = lambda board: {"loss": 1}
    code, events, err = call("bench", "sim89c52", "sim8052", "--steps", "5")
    assert code == 1
    costs = {cost["board"]: cost for cost in events}
    assert costs["sim89c52"]["refused"]
    assert costs["sim89c52"]["per_step"] is None
    assert "differ at step 3" in costs["sim8052"]["message"]
    assert err.startswith("error: sim8052 and the simulator differ at step 3")
    assert call("bench", "sim89c52")[0] == 1


def test_bench_prints_a_table(call, benches, network):
    benches["sim89c52"] = CapacityError("sim89c52: 12 more than there are", help="smaller")
    benches["sim8052"] = FakeBoard(network, "sim8052")
    code, out, err = call("bench", "sim89c52", "sim8052", "--steps", "100", json_lines=False)
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert lines["sim8052"][:5] == ["1,050", "cycles", "300", "5,000", "300"]
    assert " ".join(lines["sim89c52"]) == "12 more than there are"


def test_a_virtual_board_has_no_port_to_bench(call, benches, network):
    code, _, err = call("bench", "sim8052", "--port", "/dev/ttyUSB7")
    assert code == 2
    assert err.splitlines()[0] == "error: --port: sim8052 has no port"


def test_a_process_cannot_count(call, benches, network):
    code, (event,), err = call("bench", "host")
    assert code == 2
    assert err.startswith("error: host is a process, which counts no cycles\nhelp: nnhost bench")
    assert event["event"] == "error"


def test_a_run_goes_on(call, plugged, project, tmp_path):
    """Rates and mean losses are those of the run, not of what is left of it."""
    call("watch", "--steps", "50")
    code, (resumed, *steps, done), err = call("watch", "--resume")
    reference = simulate(project)
    assert code == 0
    assert resumed == {"event": "resumed", "step": 50, "why": ""}
    assert [e["step"] for e in steps] == list(range(51, 121))
    assert (done["digest"], done["steps"]) == (reference.digest, 120)
    assert "resumed at step 50" in err
    assert "70 steps in" in err
    assert f"mean loss {reference.losses[48:52].mean():.4f}" in err
