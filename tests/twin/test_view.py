from __future__ import annotations

import io
import json
import math
import os
import random

import numpy as np
import pytest
from rich.console import Console

from nnhost.curve import Curve
from nnhost.link import Counters
from nnhost.meter import Meter, Run, clock_time, duration, rate_text
from nnhost.outcome import EpochEnd, Progress, Result, Score
from nnhost.view import JsonView, LiveView, PlainView, View, make_view


class Clock:
    """Time that passes when told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def run(total=400, rows=100, **more):
    return Run("digits 64-16-10, q8, sgd", "simstc8", rows, total, "bit-exact", **more)


def result(**changes):
    details = {
        "steps": 400, "rows": 100, "losses": np.linspace(2, 1, 400), "train": Score(0.2, 0.943),
        "test": Score(0.25, 0.9), "exact": True, "seconds": 8.0, "state": b"abc",
    }  # fmt: skip
    return Result(**(details | changes))


def train(view, clock, steps, seconds_a_step=0.02, exact=True, rows=100):
    for step in range(1, steps + 1):
        clock.now += seconds_a_step
        view.step(Progress(step, (step - 1) // rows + 1, 2.0 - step / 400, exact))


# ---- curve ----


def test_the_curve_falls_as_the_loss_does():
    curve = Curve(1000)
    for step in range(1000):
        curve.add(4.0 * (1 - step / 1000))
    lines, top = curve.draw(20, 5)
    assert top == pytest.approx(4.0, rel=0.03)
    assert [len(line) for line in lines] == [20] * 5
    tops = [min(row for row in range(5) if lines[row][x] != " ") for x in range(20)]
    assert tops == sorted(tops)
    assert (tops[0], tops[-1]) == (0, 4)


def test_the_curve_fills_as_the_run_proceeds():
    curve = Curve(1000)
    for _ in range(500):
        curve.add(1.0)
    lines, _ = curve.draw(20, 3)
    assert "".join(lines[0]).rstrip() == lines[0][:10]
    assert lines[1:] == [" " * 20] * 2


@pytest.mark.parametrize("total", [1, 3, 40, 511, 512, 513, 5000, 12345])
def test_the_curve_keeps_means_in_bounded_memory(total):
    chance = random.Random(total)
    losses = [chance.random() for _ in range(total)]
    curve = Curve(total, most=64)
    for loss in losses:
        curve.add(loss)
    assert len(curve._sums) <= 64
    means = curve.means(1)
    assert means == [pytest.approx(sum(losses) / total)]
    many = curve.means(200)
    assert len(many) <= 200
    assert all(0 <= mean <= 1 for mean in many)
    assert min(losses) <= min(many)
    assert max(many) <= max(losses)


def test_an_empty_curve_and_a_flat_one():
    curve = Curve(10)
    assert curve.draw(5, 2) == (["     ", "     "], 1.0)
    for _ in range(10):
        curve.add(0.0)
    assert curve.draw(5, 2)[1] == 1.0


# ---- meter ----


def test_the_meter():
    clock = Clock()
    meter = Meter(run(), clock)
    assert meter.left == "--:--"
    ends = []
    for step in range(1, 151):
        clock.now += 0.1
        ends.append(meter.add(Progress(step, 1 + step // 101, float(step), True)))
    assert [n for n, end in enumerate(ends, 1) if end] == [100]
    assert meter.epoch_loss == pytest.approx(50.5)
    assert meter.loss == pytest.approx(np.mean(range(51, 151)))  # the last hundred
    assert meter.rate == pytest.approx(10, rel=0.01)
    assert meter.left == "0:25"


@pytest.mark.parametrize("stride", [1, 3, 99, 100, 101, 250, 300])
def test_steps_at_once_are_as_good_as_one_by_one(stride: int) -> None:
    losses = [float(step * step % 37) for step in range(1, 601)]
    single, many = Meter(run(total=600)), Meter(run(total=600))
    at = 0
    while at < len(losses):
        part = losses[at : at + stride]
        ends = [single.add(Progress(at + i, 1, loss, None)) for i, loss in enumerate(part, 1)]
        at += len(part)
        assert many.add(Progress(at, 1, part[-1], None), part) == any(ends)
        assert many.loss == pytest.approx(single.loss)
        assert many.epoch_loss == pytest.approx(single.epoch_loss)
        assert many.curve.means(40) == pytest.approx(single.curve.means(40))


def test_the_rate_is_that_of_the_last_seconds():
    clock = Clock()
    meter = Meter(run(total=100_000), clock)
    for step in range(1, 1001):
        clock.now += 1.0 if step <= 50 else 0.1
        meter.add(Progress(step, 1, 1.0, None))
    assert meter.rate == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (75, "1:15"), (3725, "1:02:05")]
)
def test_clock_time(seconds, text):
    assert clock_time(seconds) == text


def test_units():
    assert duration(7.46) == "7.5 s"
    assert duration(75) == "1:15 min"
    assert rate_text(31.24) == "31.2 steps/s"
    assert rate_text(5120.4) == "5,120 steps/s"


# ---- plain ----


def plain():
    out, clock = io.StringIO(), Clock()
    return PlainView(Console(file=out, width=100, highlight=False), clock), out, clock


def test_plain_lines_come_at_a_steady_rate():
    view, out, clock = plain()
    view.begin(run())
    train(view, clock, 400)  # 8 seconds, 4 epochs
    view.end(result())
    lines = out.getvalue().splitlines()
    assert lines[0] == "digits 64-16-10, q8, sgd on simstc8: 400 steps, 4 epochs"
    steps = [line for line in lines if line.startswith("step ")]
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == 4
    assert 2 <= len(steps) <= 4
    assert epochs[0] == "epoch 1/4  mean loss 1.8737  ✓ bit-exact through step 100"
    assert "50.0 steps/s" in steps[0]
    assert steps[0].endswith("left  bit-exact")
    assert "\x1b" not in out.getvalue()
    text = out.getvalue()
    assert "test set       0.2500     90.0 %" in text
    assert "400 steps in 8.0 s, 50.0 steps/s" in text
    assert "✓ bit-exact through step 400" in text
    assert result().digest in text


def test_one_step_of_one_epoch_in_a_moment():
    view, out, clock = plain()
    view.begin(run(total=1, rows=1))
    train(view, clock, 1)
    view.end(result(steps=1, rows=1, losses=np.ones(1), seconds=0.04))
    assert "simstc8: 1 step, 1 epoch\n" in out.getvalue()
    assert "1 step in 40 ms, 25.0 steps/s" in out.getvalue()


def test_steps_that_a_board_has_kept_from_an_earlier_run_are_not_counted():
    view, out, clock = plain()
    view.begin(run())
    view.resume(100, "")
    train(view, clock, 400)  # the first hundred as the simulator has them
    view.resume(300, "lost power")
    view.end(result(seconds=6.0))
    assert "300 steps in 6.0 s, 50.0 steps/s" in out.getvalue()


def test_many_short_epochs_do_not_flood():
    view, out, clock = plain()
    view.begin(run(total=4000, rows=4))
    train(view, clock, 4000, seconds_a_step=0.001, rows=4)
    assert len(out.getvalue().splitlines()) < 25


def test_nothing_is_claimed_that_was_not_compared():
    view, out, clock = plain()
    view.begin(run())
    train(view, clock, 400, exact=None)
    view.end(result(exact=None))
    assert "exact" not in out.getvalue()
    assert "not compared with the simulator" in out.getvalue()


def test_what_a_stopped_run_leaves():
    view, out, clock = plain()
    view.begin(run())
    train(view, clock, 30)
    view.stop()
    view.end(result(steps=30, losses=np.ones(30), train=None, test=None, stopped=True))
    assert "stopped after 30 of 400 steps" in out.getvalue()
    assert "accuracy" not in out.getvalue()


def test_regression_shows_losses_only():
    view, out, clock = plain()
    view.begin(run())
    train(view, clock, 4)
    view.end(result(train=Score(0.5, None), test=None))
    assert "training set   0.5000" in out.getvalue()
    assert "%" not in out.getvalue()


def test_trouble_on_the_line_is_shown():
    view, out, clock = plain()
    counters = Counters(sent=1000, received=990, retries=12, timeouts=3, corrupt=4, refused=5)
    view.begin(run())
    train(view, clock, 4)
    view.end(result(link=counters))
    assert "12 of 1,000 frames sent again (3 lost, 9 corrupted)" in out.getvalue()
    view.end(result(link=Counters(sent=5, received=5)))
    assert out.getvalue().count("frames") == 1


# ---- live ----


def live(width=100, height=30):
    out, clock = io.StringIO(), Clock()
    console = Console(
        file=out, width=width, height=height, force_terminal=True, color_system=None,
        highlight=False,
    )  # fmt: skip
    return LiveView(console, clock), out, clock


def picture(view, width=100, height=30):
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(view._picture())
    return console.file.getvalue()


def test_the_live_picture():
    view, out, clock = live()
    counters = Counters(sent=500)
    with view:
        view.begin(run(counters=lambda: counters))
        assert "0/400 steps" in picture(view)
        train(view, clock, 250)
        text = picture(view)
        assert "digits 64-16-10, q8, sgd on simstc8" in text
        assert "epoch 3/4" in text
        assert "250/400 steps  50.0 steps/s  0:03 left" in text
        assert "✓ bit-exact through step 250" in text
        assert any("⠁" <= c <= "⣿" for c in text)
        assert "link" not in text
        counters.retries = 3
        assert "3 of 500 frames sent again" in picture(view)
        view.score(40, 160)
        assert "evaluating 40/160" in picture(view)
        view.stop()
        assert "Ctrl-C again" in picture(view)
        view.end(result())
    text = out.getvalue()
    assert "test set       0.2500     90.0 %" in text
    assert text.endswith("\n")


def test_the_live_picture_names_a_difference():
    view, _, clock = live()
    with view:
        view.begin(run())
        train(view, clock, 9)
        view.step(Progress(10, 1, 1.0, False))
        assert "✗ the board and the simulator differ at step 10" in picture(view)


def test_the_validation_set_is_shown_after_each_epoch():
    end = EpochEnd(2, 200, 0.6, Score(0.25, 0.91))
    view, out, clock = plain()
    view.begin(run())
    view.epoch(end)
    view.epoch(EpochEnd(3, 300, 0.6, None))  # one without such a set
    assert out.getvalue().splitlines()[1:] == ["epoch 2/4  validation loss 0.2500, 91.0 %"]
    view, _, clock = live()
    with view:
        view.begin(run())
        train(view, clock, 200)
        view.score(3, 40)
        assert "evaluating 3/40" in picture(view)
        view.epoch(end)
        view.step(Progress(201, 3, 0.5, True))
        assert ", validation 0.2500 " in picture(view)
        assert "201/400 steps" in picture(view)  # training goes on
    out = io.StringIO()
    json_view = JsonView(out, View(), steps=False)
    json_view.epoch(end)
    assert json.loads(out.getvalue()) == end.event()


@pytest.mark.parametrize(("width", "height"), [(70, 14), (80, 24), (200, 60)])
def test_the_live_picture_fits(width, height):
    view, _, clock = live(width, height)
    with view:
        view.begin(run(counters=lambda: Counters(sent=9, retries=1)))
        train(view, clock, 100)
        view.epoch(EpochEnd(1, 100, 0.6, Score(0.25, 0.91)))
        view.stop()
        lines = picture(view, width, height).splitlines()
    assert len(lines) <= height
    assert all(len(line) <= min(width, 100) for line in lines)


def test_the_terminal_is_given_back_after_an_error():
    view, out, clock = live()

    def fail():
        with view:
            view.begin(run())
            train(view, clock, 5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert out.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again


# ---- JSON ----


def test_json_lines():
    out, people = io.StringIO(), io.StringIO()
    view = JsonView(out, PlainView(Console(file=people)), steps=True)
    with view:
        view.begin(run())
        train(view, Clock(), 3)
        view.score(1, 2)
        view.end(result(link=Counters(sent=7)))
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert events[0] == {"event": "step", "step": 1, "epoch": 1, "loss": 1.9975, "exact": True}
    assert [e["event"] for e in events] == ["step"] * 3 + ["done"]
    assert events[-1]["link"]["sent"] == 7
    assert "simstc8" in people.getvalue()


def test_no_losses_is_valid_json():
    event = result(steps=0, losses=np.zeros(0), stopped=True).event()
    assert event["loss"] is None
    assert "NaN" not in json.dumps(event)
    assert math.isnan(result(steps=0, losses=np.zeros(0)).loss)


# ---- which view ----


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_no_moving_picture_in_a_pipe(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert isinstance(make_view(json=False), PlainView)
    assert isinstance(make_view(json=True), JsonView)


def view_on_terminal(monkeypatch, json=False) -> View:
    master, slave = os.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as terminal, os.fdopen(master):
        monkeypatch.setattr("sys.stdout", terminal)
        return make_view(json=json)


def test_a_moving_picture_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(view_on_terminal(monkeypatch), LiveView)
    assert isinstance(view_on_terminal(monkeypatch, json=True), JsonView)
    monkeypatch.setenv("LINES", "10")  # too low for a picture
    assert isinstance(view_on_terminal(monkeypatch), PlainView)
    monkeypatch.delenv("LINES")
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(view_on_terminal(monkeypatch), PlainView)
