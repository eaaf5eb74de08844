from __future__ import annotations

import random
from dataclasses import replace
from time import sleep

import pytest

from nnhost.clock import Clock
from nnhost.errors import DeviceError
from nnhost.link import Flag, Session, messages, slice_digest, state_digest


def test_hello_says_what_the_board_is(session, model):
    welcome = session.welcome
    assert welcome.program == 0xC0FFEE42
    assert welcome.board == b"test-board"
    assert (welcome.payload, welcome.answer) == (32, 32)
    assert (welcome.sample_bytes, welcome.state_bytes) == (41, 103)
    assert (welcome.step, welcome.crc) == (0, state_digest(model.state()))


def test_expect_names_both_programs_and_the_cure(session):
    session.expect(0xC0FFEE42, "test-board")
    with pytest.raises(DeviceError, match=r"C0FFEE42.*12345678") as caught:
        session.expect(0x12345678)
    assert "nnhost flash" in caught.value.help
    with pytest.raises(DeviceError, match=r"test-board.*simstc8"):
        session.expect(0xC0FFEE42, "simstc8")


def train(session, model, count, chance):
    """Trains board and model on random samples; every report must be the model's."""
    for _ in range(count):
        sample = chance.randbytes(41)
        flags = chance.randrange(8) | chance.choice((0, 16))
        report = session.step(model.steps + 1, flags, sample)
        loss, prediction, trace = model.step(flags, sample)
        if flags & Flag.DIGEST:
            part = slice_digest(model.state(), model.steps)
            assert report == messages.Audit(loss, prediction, trace, part)
        else:
            assert report == messages.Report(loss, prediction)


def test_a_quiet_line(session, model):
    chance = random.Random(1)
    train(session, model, 70, chance)  # each slice twice, and the empty ones
    sample = chance.randbytes(41)
    evaluation = session.evaluate(sample)
    loss, prediction, trace = model.forward(sample)
    assert (evaluation.loss, evaluation.prediction, evaluation.trace) == (loss, prediction, trace)
    assert session.read_state() == model.state()
    state = session.verify()
    assert (state.step, state.crc) == (70, state_digest(model.state()))
    assert (state.corrupt, state.repeated) == (0, 0)
    assert state.executed == session.counters.sent == session.counters.received
    assert session.counters.retries == session.counters.corrupt == 0


def test_the_host_works_while_the_board_does(session, model, monkeypatch):
    """Once the board has been told, and once only, though the frame was lost."""
    order = []
    write, chance = session._transport.write, random.Random(2)

    def lossy(data):
        if len(data) > 1:
            order.append("sent")
            data = b"" if len(order) == 1 else data
        write(data)

    monkeypatch.setattr(session._transport, "write", lossy)
    sample = chance.randbytes(4)
    monkeypatch.setattr(session, "_split", lambda *_: ([], 0))
    monkeypatch.setattr(session, "_first_wait", 0.05)
    with pytest.raises(DeviceError, match="refused STEP"):  # the board is at step 0
        session.step(2, 0, sample, lambda: order.append("worked"))
    assert order == ["sent", "worked", "sent"]


def test_the_largest_payload(wide_program, process_line, model):
    session = Session(process_line(wide_program))
    assert session.hello().payload == 240
    train(session, model, 40, random.Random(9))
    before = session.counters.sent
    state = session.read_state()
    assert state == model.state()
    assert session.counters.sent == before + 2  # READ, VERIFY
    session.write_state(state, 40)
    train(session, model, 3, random.Random(10))
    for too_long in (messages.Step(44, 0, bytes(42)), messages.Evaluate(bytes(42))):
        with pytest.raises(DeviceError, match="do not fit"):
            session._ask(too_long, messages.Done)
    assert session.read_state() == model.state()


def test_a_state_is_checked_when_copied(session, monkeypatch):
    monkeypatch.setattr("nnhost.link.session.state_digest", lambda state: 0x1234)
    with pytest.raises(DeviceError, match="digest 1234"):
        session.read_state()
    with pytest.raises(DeviceError, match="digest 1234"):
        session.write_state(bytes(103), 0)


def test_reset_and_write(session, model):
    train(session, model, 3, random.Random(2))
    state = model.state()
    session.reset(99)
    fresh = type(model)(99)
    assert session.read_state() == fresh.state()
    assert session.verify().step == 0
    session.write_state(state, 3)
    train(session, model, 3, random.Random(3))


def test_refusals_leave_the_state_alone(session, model):
    with pytest.raises(DeviceError, match="STEP: it is at another step"):
        session.step(2, Flag.EPOCH, bytes(41))
    for offset in (100, 104, 0xFFFF, 1 << 16, 0xFFFFFFFF):
        for request in (messages.Read(offset, 4), messages.Write(offset, b"4321")):
            with pytest.raises(DeviceError, match="do not fit"):
                session._ask(request, messages.Done)
    with pytest.raises(ValueError, match="40 bytes"):
        session.step(1, 0, bytes(40))
    assert session.read_state() == model.state()
    train(session, model, 1, random.Random(4))


@pytest.mark.parametrize("rate", [0.0003, 0.003, 0.01])  # of frames: 1%, 10%, 30%
def test_a_bad_line_loses_and_repeats_nothing(line, faulty_line, model, rate, monkeypatch):
    monkeypatch.setattr("nnhost.link.session._FLOOR", 0.01)
    line = faulty_line(line, 7, rate)
    session = Session(line, reply_timeout=0.1, quiet=0.005)
    session.hello()
    session.reset(7)
    count = 1000 if rate < 0.001 else 200
    train(session, model, count, random.Random(rate))
    assert session.read_state() == model.state()
    assert line.faults > 50 * count * rate
    assert session.counters.retries > 0


def test_each_kind_of_fault_is_counted(line):
    """One fault in each direction; the counters of both ends name it."""

    class Damage:
        def __init__(self):
            self.outward = self.inward = lambda data: data

        def read(self, timeout):
            data = line.read(timeout)
            damage, self.inward = self.inward, lambda data: data
            return damage(data)

        def write(self, data):
            damage, self.outward = self.outward, lambda data: data
            line.write(damage(data))

        def close(self):
            line.close()

    def flip(data):
        return data[:4] + bytes([data[4] ^ 1]) + data[5:]

    damage = Damage()
    session = Session(damage, reply_timeout=0.2, quiet=0.02)
    session.hello()

    damage.outward = flip
    before = session.verify()
    assert before.corrupt == 1
    assert (session.counters.refused, session.counters.retries) == (1, 1)

    damage.inward = flip
    after = session.verify()
    assert after == replace(before, executed=before.executed + 1)  # once, though asked twice
    assert (session.counters.corrupt, session.counters.retries) == (1, 2)
    assert session.verify().repeated == 1

    damage.outward = lambda data: b""
    session.verify()
    assert (session.counters.timeouts, session.counters.retries) == (1, 3)

    damage.outward = lambda data: data + data
    session.verify()
    assert session.verify().repeated == 2
    assert (session.counters.repeated, session.counters.retries) == (1, 3)


def test_a_cut_frame_costs_one_repetition_even_if_the_board_cannot_listen_while_it_sends(line):
    class HalfDuplex:
        cut = False
        heard = b""

        def read(self, timeout):
            heard, self.heard = self.heard, b""
            return heard or line.read(timeout)

        def write(self, data):
            if self.cut:
                self.cut = False
                line.write(data[:6])
                return
            line.write(data[:1])
            self.heard = line.read(0.02)
            if not self.heard:
                line.write(data[1:])

        def close(self):
            line.close()

    half_duplex = HalfDuplex()
    session = Session(half_duplex, reply_timeout=0.2, quiet=0.02)
    session.hello()
    half_duplex.cut = True
    session.verify()
    assert (session.counters.timeouts, session.counters.refused) == (1, 1)
    assert session.counters.retries == 1


def test_a_restart_in_training_is_an_error(session, line, model):
    train(session, model, 5, random.Random(5))
    line.power_cycle()
    with pytest.raises(DeviceError, match="restarted") as caught:
        session.step(6, 0, bytes(41))
    assert caught.value.exit_code == 3
    assert session.hello().step == 0


def test_a_second_host_is_an_error(session, line):
    Session(line).hello()
    with pytest.raises(DeviceError, match="another program"):
        session.verify()


def test_restart_ends_the_board(session, line):
    session.restart()
    assert line.process.wait(5) == 0
    with pytest.raises(DeviceError, match="ended"):
        session.hello()


class Mute:
    """A port to which nothing is connected, or something that is not nnhost."""

    def __init__(self, data=b""):
        self.data = data

    def read(self, timeout):
        return self.data

    def write(self, data):
        pass

    def close(self):
        pass


@pytest.mark.parametrize("data", [b"", b"login: ", b"\0\0\0", bytes(range(256))])
def test_ten_failures_are_a_clear_error(data):
    ticks = iter(range(10**9))
    clock = Clock(lambda: next(ticks) / 50)
    session = Session(Mute(data), reply_timeout=0.1, clock=clock)
    with pytest.raises(DeviceError, match=r"does not answer HELLO \(\d+ frames sent") as caught:
        session.hello()
    assert caught.value.exit_code == 3
    assert "nnhost flash" in caught.value.help
    assert session.counters.sent <= 10


def test_an_interrupted_session_goes_on_with_hello(session, line, model, monkeypatch):
    train(session, model, 2, random.Random(6))

    def interrupt(timeout):
        raise KeyboardInterrupt

    sample = bytes(range(41))
    with monkeypatch.context() as patch:
        patch.setattr(line, "read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            session.step(3, 0, sample)
    with pytest.raises(RuntimeError, match="hello"):
        session.verify()
    assert session.hello().step == 2  # the sample's first part was sent, the step was not
    train(session, model, 2, random.Random(7))


def test_a_slow_board_is_waited_for(line, model):
    """Answers slower than the first wait cost repetitions, then none: the waits follow them."""

    class Slow:
        delay = 0.15

        def read(self, timeout):
            if timeout < self.delay:
                sleep(timeout)
                self.delay -= timeout
                return b""
            sleep(self.delay)
            self.delay = 0.15
            return line.read(timeout)

        def write(self, data):
            line.write(data)

        def close(self):
            line.close()

    session = Session(Slow(), reply_timeout=0.05, quiet=0.01)
    session.hello()
    for _ in range(4):
        session.verify()
    before = session.counters.retries
    session.verify()
    session.verify()
    assert session.counters.retries == before


def test_a_state_that_was_written_must_be_resumed_from(session, model):
    sample = bytes(41)
    session.write_state(model.state(), 0)
    session._ask(messages.Write(0, b"\1"), messages.Done)

    with pytest.raises(DeviceError, match="refused STEP: it is at another step"):
        session.step(1, 0, sample)
    with pytest.raises(DeviceError, match="refused EVALUATE"):
        session.evaluate(sample)
    session._ask(messages.Resume(0), messages.Done)
    assert session.step(1, 0, sample)
    assert session.verify().step == 1


def test_a_state_that_cannot_be_is_refused(session, model):
    unsound = model.state()[:-2] + 0xBAD0.to_bytes(2, "little")  # see nn_sound_state

    with pytest.raises(DeviceError, match="refused RESUME"):
        session.write_state(unsound, 0)
    with pytest.raises(DeviceError, match="refused STEP"):
        session.step(1, 0, bytes(41))
    session.reset(7)
    assert session.step(1, 0, bytes(41))
    assert session.verify().step == 1
