"""Steps that are sent before the board has made those before them."""

from __future__ import annotations

import random

import pytest

from nnhost.errors import DeviceError
from nnhost.link import Session, messages
from nnhost.link.frames import DELIMITER, Frame, decode, encode
from nnhost.link.messages import Objection


class Tapped:
    """A line that remembers what the host has sent and is not answered, and loses what it must."""

    def __init__(self, line):
        self._line = line
        self.lost = []  # numbers, from now on, of the answers to be lost
        self.heard = 0
        self.under_way = 0
        self.most = 0
        self._partial = b""

    def read(self, timeout):
        *blocks, self._partial = (self._partial + self._line.read(timeout)).split(DELIMITER)
        data = b""
        for block in filter(None, blocks):
            self.heard += 1
            self.under_way -= 1
            if self.heard not in self.lost:
                data += DELIMITER + block + DELIMITER
        return data

    def write(self, data):
        if len(data) > 1:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        self._line.write(data)

    def lose(self, *answers):
        """These answers, the next being 1."""
        self.lost = [self.heard + answer for answer in answers]

    def close(self):
        self._line.close()


@pytest.fixture
def tapped(ahead_program, process_line):
    return Tapped(process_line(ahead_program))


@pytest.fixture
def session(tapped):
    session = Session(tapped, reply_timeout=0.2, quiet=0.02)
    session.hello()
    return session


def train(session, model, count, seed):
    """Sends each step before the report of the one before it is looked at."""
    chance = random.Random(seed)
    samples = [chance.randbytes(41) for _ in range(count)]
    first = model.steps + 1
    for at, sample in enumerate(samples):
        session.send_step(first + at, 0, sample)
        if at:
            assert session.report().loss == model.step(0, samples[at - 1])[0]
    assert session.report().loss == model.step(0, samples[-1])[0]


def test_steps_are_sent_ahead_and_made_in_order(session, tapped, model):
    assert session.welcome.window == 2
    train(session, model, 30, 1)
    assert tapped.most == 2
    assert session.read_state() == model.state()
    assert (session.counters.retries, session.counters.repeated) == (0, 0)


@pytest.mark.parametrize("answers", [(1,), (2,), (3,), (4,), (1, 2), (3, 4), (1, 2, 3, 4, 5)])
def test_an_answer_that_is_lost_is_had_again(session, tapped, model, answers):
    train(session, model, 3, 2)
    before = session.verify()
    tapped.lose(*answers)
    train(session, model, 9, 3)
    tapped.lost = []
    after = session.verify()
    assert session.read_state() == model.state()
    assert after.executed == before.executed + 2 * 9 + 1  # each sample has two parts
    assert after.repeated > 0


def test_two_failures_in_a_row_leave_one_request_under_way(session, tapped, model):
    train(session, model, 2, 4)
    tapped.lose(1, 2, 3, 4)
    train(session, model, 2, 5)
    tapped.lost, tapped.under_way, tapped.most = [], 0, 0
    train(session, model, 6, 6)
    assert tapped.most == 1
    train(session, model, 10, 7)
    tapped.most = 0
    train(session, model, 10, 8)
    assert tapped.most == 2


def test_which_numbers_the_board_takes(session, tapped):
    """Last + 1; last and last - 1, answered from memory, if they were of this session."""

    def ask(number, of=None):
        request = messages.Verify()
        frame = Frame(request.NUMBER, of or session._session, number % 65536, request.pack())
        tapped.write(encode(frame))
        heard = b""
        while heard.strip(DELIMITER) == b"" or not heard.endswith(DELIMITER):
            heard += tapped.read(1.0)
        return decode(heard.strip(DELIMITER))

    def refused(number):
        answer = ask(number)
        assert answer.type == messages.Nak.NUMBER
        return answer.sequence if answer.payload == bytes([Objection.SEQUENCE]) else None

    assert refused(-1) == 1  # that was nothing: HELLO is the first
    first = ask(1)
    second = ask(2)
    assert (ask(2), ask(1)) == (second, first)
    assert refused(0) == refused(4) == refused(65535) == 3
    assert ask(3).sequence == 3
    assert (ask(2), refused(1)) == (second, 4)
    former = session._session
    session.hello()
    assert refused(-1) == 1
    assert ask(2, former).payload == bytes([Objection.SESSION])


def test_no_larger_window_is_believed(session, monkeypatch):
    monkeypatch.setattr("nnhost.link.session.WINDOW_MOST", 1)
    with pytest.raises(DeviceError, match="takes 2 requests at a time"):
        session.hello()
