"""A session: one host's conversation with one board, exactly once for each request.

A request whose answer does not come, or comes corrupted, is sent again under the same number; the
board carries a number out once and repeats its answer when it sees the number again. Training steps
may be sent ahead: as many requests are then under way as the board's window allows, but one at a
time once two attempts in a row have failed.
"""

from __future__ import annotations

import secrets
import shlex
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from types import TracebackType

from nnhost.clock import REAL, Clock
from nnhost.errors import DeviceError, LostError, RestartedError
from nnhost.link import messages
from nnhost.link.digest import state_digest
from nnhost.link.frames import DELIMITER, LARGEST, Frame, FrameError, decode, encode
from nnhost.link.messages import (
    PAYLOAD_LEAST,
    PAYLOAD_MOST,
    WINDOW_MOST,
    Cause,
    Flag,
    M,
    Message,
    Reason,
    abi,
)
from nnhost.link.transport import Transport

#: Failures in a row after which a board counts as gone.
ATTEMPTS = 10

_FAILURES = 2  # so many in a row, and one request at a time is under way ...
_CLEAN = 16  # ... until so many answers in a row have come at the first attempt

_SLOWEST_RETRY = 4.0  # doubling the wait for an answer stops here, seconds
_FLOOR = 0.1  # scheduling of a busy host, latency of USB, seconds
_MARGIN = 4.0  # times the slowest of the recent answers
_LONGEST_DRAIN = 1.0  # a line that never falls silent is not waited for, seconds
_FAREWELL = 2.0  # for an answer, from when the user wants to stop, seconds
_GLANCE = 0.25  # between two looks at whether the user does, seconds

_REASONS: dict[int, str] = {
    Reason.UNKNOWN: "it does not know the message",
    Reason.RANGE: "the bytes do not fit its sample or its state",
    Reason.STEP: "it is at another step",
    Reason.STANDALONE: "it trains by itself, on the data in its flash",
    Reason.STACK: "its stack has run out, and may have spoilt what it has learned",
}

_CAUSES: dict[int, str] = {
    Cause.POWER: "its supply failed",
    Cause.SOFTWARE: "it was asked to",
    Cause.WATCHDOG: "its watchdog: a request took too long",
    Cause.PIN: "its reset line",
    Cause.FAULT: "a hard fault",
}


def _nothing() -> None:
    pass


def _never() -> bool:
    return False


@dataclass
class Counters:
    """What has happened on the line, as the host saw it."""

    sent: int = 0
    """frames sent, repetitions included"""
    received: int = 0
    """answers taken"""
    retries: int = 0
    """requests sent again"""
    timeouts: int = 0
    """answers that did not come in time"""
    corrupt: int = 0
    """blocks that were no sound frame"""
    refused: int = 0
    """frames that the board reported as corrupt or out of order"""
    repeated: int = 0
    """answers that had been taken already"""
    lost: int = 0
    """times that the board was lost, and found again"""

    def __str__(self) -> str:
        return (
            f"{self.sent} frames sent, {self.received} answered, {self.retries} sent again, "
            f"{self.timeouts} timeouts, {self.corrupt} corrupt here, {self.refused} at the board"
        )


@dataclass(eq=False)
class _Request:
    """A request that has its number."""

    kind: type[Message]
    frame: Frame
    sent: float | None = None
    """when; None: it is to be sent, for the first time or again"""
    repeated: bool = False
    answer: Frame | None = None


class Session:
    """Talks to the board at the other end of ``transport``. Begin with ``hello``.

    ``reply_timeout`` is the wait for the first answer of each kind, in seconds; later waits follow
    what was measured. ``quiet`` is the silence after which a disturbed line is taken to be idle: it
    must exceed the time that a frame takes on the line, and the adapter's latency. Once
    ``stopping`` returns True, a board is no longer greeted, and one that does not answer is soon
    given up.

    All methods raise ``LostError`` if the board is gone, has restarted, or has failed to answer
    ``ATTEMPTS`` times in a row, and ``DeviceError`` if it refuses. After an exchange that was cut
    short, by an error of the line or by ``KeyboardInterrupt``, the next call must be ``hello``: it
    tells at which step the board is.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        reply_timeout: float = 1.0,
        quiet: float = 0.05,
        clock: Clock = REAL,
        stopping: Callable[[], bool] = _never,
    ) -> None:
        self.counters = Counters()
        self._transport = transport
        self._clock = clock
        self._stopping = stopping
        self._former: set[int] = set()  # sessions that this one has opened
        self._first_wait = reply_timeout
        self._quiet = quiet
        # Some chips lose what comes before their UART is on: the first HELLO may need another.
        self._waits: dict[type[Message], float] = {messages.Hello: _FLOOR}
        self._slowest: dict[type[Message], float] = {}
        self._answered: type[Message] = messages.Hello
        self._blocks: deque[bytes] = deque()
        self._partial = b""
        self._session = 0
        self._sequence = 0
        self._greeting = False
        self._settled = False
        self._under_way: deque[_Request] = deque()  # without an answer, the first at least
        # Sent ahead: parts of the sample and the step, and its flags.
        self._steps: deque[tuple[list[_Request], int]] = deque()
        self._window = 1  # requests that may be under way
        self._failures = 0  # attempts in a row that have failed
        self._clean = 0  # answers in a row that have come at the first attempt
        self._welcome: messages.Welcome | None = None
        self.heard = clock.now()
        """when the last answer came"""

    def hello(self, patience: float = 12.0) -> messages.Welcome:
        """Opens a new session; what the board is and where it stands.

        Gives up after ``patience`` seconds. Raises ``DeviceError`` if the board speaks another
        version of the protocol.
        """
        self._session = secrets.randbelow(0xFFFF) + 1
        self._former.add(self._session)
        self._sequence = 0xFFFF
        self._greeting = self._settled = True
        self._under_way.clear()
        self._steps.clear()
        self._window = 1
        answer = self._exchange(messages.Hello(), patience)
        self._greeting = False
        if answer.type == messages.Error.NUMBER:
            self._settled = False
            raise _refusal(messages.Hello, answer)
        theirs = int.from_bytes(answer.payload[:2], "little")
        if theirs != abi():
            self._settled = False
            raise DeviceError(
                f"the board speaks protocol {theirs:04X}, this nnhost {abi():04X}",
                help="put this version's firmware on it: nnhost flash",
            )
        welcome = _unpacked(messages.Welcome, answer.payload)
        if not all(PAYLOAD_LEAST <= n <= PAYLOAD_MOST for n in (welcome.payload, welcome.answer)):
            raise DeviceError(f"the board takes {welcome.payload} bytes and sends {welcome.answer}")
        if not 1 <= welcome.window <= WINDOW_MOST:
            raise DeviceError(f"the board takes {welcome.window} requests at a time")
        self._welcome = welcome
        self._window = welcome.window
        return self._welcome

    def reconnect(self, transport: Transport) -> None:
        """Go on through another transport, the one before being closed. ``hello`` must follow."""
        self._transport = transport
        self._blocks.clear()
        self._partial = b""
        self._settled = False

    @property
    def welcome(self) -> messages.Welcome:
        """What the last ``hello`` learned."""
        if self._welcome is None:
            raise RuntimeError("call hello() first")
        return self._welcome

    def expect(self, program: int, board: str | None = None) -> None:
        """Raises ``DeviceError`` unless the board runs this program (and is this board)."""
        found = self.welcome.board.decode("ascii", "replace")
        if board is not None and found != board:
            raise DeviceError(
                f'this board\'s firmware is built for "{found}", not for "{board}"',
                help=f"nnhost flash --board {board}",
            )
        if self.welcome.program != program:
            raise wrong_program(self.welcome.program, program, found)

    def reset(self, seed: int) -> None:
        """Draws new weights on the board, from ``seed`` (1 .. 65535), and goes to step 0."""
        self._ask(messages.Reset(seed), messages.Done)

    def step(
        self, step: int, flags: int, sample: bytes, meanwhile: Callable[[], None] = _nothing
    ) -> messages.Report:
        """One training step; ``step`` is the board's last one + 1, ``flags`` are of ``Flag``. Its
        report, with ``Flag.DIGEST`` an ``Audit``.

        ``meanwhile`` is called once the board has been told, while it computes.
        """
        requests = self._submit_step(step, flags, sample)
        meanwhile()
        return self._report(requests, flags)

    def send_step(self, step: int, flags: int, sample: bytes) -> None:
        """Sends a training step, perhaps before the board has made the one before it.

        The reports of the steps sent so are to be asked for with ``report``, in that order. With
        ``Flag.COUNT`` no other request may follow before that.
        """
        self._steps.append((self._submit_step(step, flags, sample), flags))

    def report(self) -> messages.Report:
        """The report of the first of the steps sent with ``send_step``."""
        return self._report(*self._steps.popleft())

    def evaluate(self, sample: bytes) -> messages.Evaluation:
        """One forward pass; nothing is trained."""
        parts, offset = self._split(sample, messages.Evaluate.LAYOUT.size)
        for part in parts:
            self._ask(part, messages.Done)
        return self._ask(messages.Evaluate(sample[offset:]), messages.Evaluation)

    def read_state(self) -> bytes:
        """The whole training state, checked against the board's own digest of it."""
        size = self.welcome.state_bytes
        state = b""
        while len(state) < size:
            request = messages.Read(len(state), min(self.welcome.answer, size - len(state)))
            data = self._ask(request, messages.Chunk).data
            if len(data) != request.length:
                raise DeviceError(f"the board sends {len(data)} bytes of {request.length}")
            state += data
        self._check(state)
        return state

    def write_state(self, state: bytes, step: int) -> None:
        """Puts the board into the state of training step ``step``, and checks its digest."""
        if len(state) != self.welcome.state_bytes:
            raise ValueError(f"{len(state)} bytes; the state has {self.welcome.state_bytes}")
        self.overwrite(state, 0, step)
        self._check(state)

    def overwrite(self, data: bytes, begin: int, step: int) -> None:
        """Writes a part of the state of training step ``step``, from byte ``begin`` on."""
        size = self.welcome.payload - messages.Write.LAYOUT.size
        for at in range(0, len(data), size):
            self._ask(messages.Write(begin + at, data[at : at + size]), messages.Done)
        self._ask(messages.Resume(step), messages.Done)

    def verify(self) -> messages.State:
        """The board's step, the digest of its state, and its own counters."""
        return self._ask(messages.Verify(), messages.State)

    def cause(self) -> str:
        """Why the board started last, in words; "" if it does not tell."""
        told = _CAUSES.get(self.welcome.cause, "")
        if self.welcome.cause in (Cause.WATCHDOG, Cause.FAULT):
            at = int.from_bytes(self.verify().health[:4], "little")
            told += f", at 0x{at:08x}" if at else ""
        return told

    def restart(self) -> None:
        """Resets the chip: it starts anew and has forgotten what it learned."""
        self._ask(messages.Restart(), messages.Done)
        self._settled = False

    def close(self) -> None:
        """Closes the transport."""
        self._transport.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self, state: bytes) -> None:
        here, there = state_digest(state), self.verify().crc
        if here != there:
            raise DeviceError(
                f"the state copied has digest {here:04X}, the board's {there:04X}",
                help="the board's memory changes while it is idle: check its supply and its RAM",
            )

    def _split(self, sample: bytes, header: int) -> tuple[list[messages.Sample], int]:
        """Messages with all of the sample that the last cannot hold, and how much that is."""
        if len(sample) != self.welcome.sample_bytes:
            raise ValueError(f"{len(sample)} bytes; a sample has {self.welcome.sample_bytes}")
        size = self.welcome.payload - messages.Sample.LAYOUT.size
        parts: list[messages.Sample] = []
        offset = 0
        while len(sample) - offset > self.welcome.payload - header:
            parts.append(messages.Sample(offset, sample[offset : offset + size]))
            offset += len(parts[-1].data)
        return parts, offset

    def _submit_step(self, step: int, flags: int, sample: bytes) -> list[_Request]:
        parts, offset = self._split(sample, messages.Step.LAYOUT.size)
        last = messages.Step(step & 0xFFFF, flags, sample[offset:])
        return [self._submit(message) for message in (*parts, last)]

    def _report(self, requests: list[_Request], flags: int) -> messages.Report:
        for part in requests[:-1]:
            self._result(part, messages.Done)
        return self._result(
            requests[-1], messages.Audit if flags & Flag.DIGEST else messages.Report
        )

    def _ask(self, request: Message, kind: type[M]) -> M:
        """The answer, of the given kind. Raises ``DeviceError`` if the board refuses."""
        return self._result(self._submit(request), kind)

    def _exchange(self, request: Message, patience: float = 60.0) -> Frame:
        """The board's answer, of any kind."""
        return self._answer(self._submit(request), patience)

    def _result(self, request: _Request, kind: type[M]) -> M:
        answer = self._answer(request)
        if answer.type == messages.Error.NUMBER:
            raise _refusal(request.kind, answer)
        if answer.type != kind.NUMBER:
            name = request.kind.__name__.upper()
            raise DeviceError(f"the board answered {name} with message {answer.type}")
        return _unpacked(kind, answer.payload)

    def _answer(self, request: _Request, patience: float = 60.0) -> Frame:
        while request.answer is None:
            self._complete(patience)
        return request.answer

    def _submit(self, request: Message) -> _Request:
        """Gives the request its number, and sends it once the window has room for it."""
        if not self._settled:
            raise RuntimeError("the last exchange was interrupted: call hello() first")
        while len(self._under_way) >= self._window:
            self._complete()
        self._settled = False
        self._sequence = (self._sequence + 1) & 0xFFFF
        kind = type(request)
        numbered = Frame(kind.NUMBER, self._session, self._sequence, request.pack())
        self._under_way.append(_Request(kind, numbered))
        self._dispatch()
        self._settled = True
        return self._under_way[-1]

    def _dispatch(self) -> None:
        """Sends what is to be sent, as far as the window reaches."""
        for request in islice(self._under_way, self._window):
            if request.sent is None and request.answer is None:
                request.sent = self._clock.now()
                self.counters.retries += request.repeated
                self._send(encode(request.frame))

    def _complete(self, patience: float = 60.0) -> None:
        """Waits for the answer to the first request under way; sends it, and those behind it, until
        it comes."""
        if not self._settled:
            raise RuntimeError("the last exchange was interrupted: call hello() first")
        self._settled = False
        first = self._under_way[0]
        wait = self._waits.get(first.kind, self._first_wait)
        began, before = self._clock.now(), self.heard
        for _ in range(ATTEMPTS):
            self._dispatch()
            asked = self._clock.now()
            if self._listen(wait, drain=False):
                self._note_success(first, before)
                return
            if self._clock.now() - asked >= wait:
                self.counters.timeouts += 1
                wait = _doubled(wait)
            self._failures += 1
            self._clean = 0
            if self._failures >= _FAILURES:
                self._window = 1
            # Ends what the board may still hold of a cut frame, and lets the line fall silent.
            self._send(DELIMITER)
            if self._listen(self._quiet, drain=True):
                self._note_success(first, before)
                return
            if self._stopping():
                patience = 0.0 if self._greeting else min(patience, _FAREWELL)
            if self._clock.now() - began > patience:
                break
            for request in self._under_way:
                request.repeated |= request.sent is not None
                request.sent = None
        raise LostError(
            f"the board does not answer {first.kind.__name__.upper()} ({self.counters})",
            help="is it powered, flashed (nnhost flash), and the port the right one?",
        )

    def _send(self, data: bytes) -> None:
        self._transport.write(data)
        if data != DELIMITER:
            self.counters.sent += 1

    def _note_success(self, first: _Request, before: float) -> None:
        """The first request under way is answered; the last answer but this came ``before``."""
        if self._failures == 0 and not first.repeated and first.sent is not None:
            elapsed = self.heard - max(first.sent, before)
            slowest = max(elapsed, 0.9 * self._slowest.get(first.kind, 0.0))
            self._slowest[first.kind] = slowest
            self._waits[first.kind] = _FLOOR + _MARGIN * slowest
            self._clean += 1
            if self._clean >= _CLEAN and self._welcome is not None:
                self._window = self._welcome.window
        self._failures = 0
        self._answered = first.kind
        while self._under_way and self._under_way[0].answer is not None:
            self._under_way.popleft()
        self._dispatch()
        self._settled = True

    def _listen(self, wait: float, *, drain: bool) -> bool:
        """Whether the answer to the first request under way comes within ``wait`` seconds.

        Returns False at the first sign that it will not, or, to ``drain`` a disturbed line, after
        ``wait`` seconds of silence.
        """
        began = self._clock.now()
        deadline = began + wait
        while (block := self._next_block(deadline)) is not None:
            try:
                frame = decode(block)
            except FrameError:
                self.counters.corrupt += 1
            else:
                if frame.type == messages.Nak.NUMBER:
                    self._note_objection(frame)
                elif not self._note_answer(frame):
                    continue
                elif self._under_way[0].answer is not None:
                    return True
            if not drain:
                return False  # an answer before the first's, too: that one is lost
            deadline = min(self._clock.now() + wait, began + _LONGEST_DRAIN)
        return False

    def _note_answer(self, frame: Frame) -> bool:
        """Whether a request under way has been waiting for this."""
        for request in self._under_way:
            asked = request.frame
            if (frame.session, frame.sequence) == (asked.session, asked.sequence):
                if request.answer is None:
                    request.answer = frame
                    self.counters.received += 1
                    self.heard = self._clock.now()
                return True
        # Perhaps the last answer was merely late, and asked for twice.
        hasty = self._waits.get(self._answered, self._first_wait)
        self._waits[self._answered] = _doubled(hasty)
        self.counters.repeated += 1
        return False

    def _next_block(self, deadline: float) -> bytes | None:
        """The next bytes between delimiters; None when the time is up."""
        while not self._blocks:
            left = deadline - self._clock.now()
            if left <= 0 or (self._greeting and self._stopping()):
                return None
            heard = self._transport.read(min(left, _GLANCE) if self._greeting else left)
            *blocks, self._partial = (self._partial + heard).split(DELIMITER)
            if len(self._partial) > LARGEST:
                blocks.append(self._partial)
                self._partial = b""
            self._blocks.extend(block for block in blocks if block)
        return self._blocks.popleft()

    def _note_objection(self, frame: Frame) -> None:
        self.counters.refused += 1
        if self._greeting or frame.session == self._session:
            return
        if frame.session == 0:
            raise RestartedError(
                "the board has restarted", help="check its supply and its reset line"
            )
        if frame.session in self._former:
            raise LostError("an old greeting has reached the board again")
        raise DeviceError(
            "another program has opened a session with the board",
            help="close it: only one can train the board at a time",
        )


def _refusal(request: type[Message], answer: Frame) -> DeviceError:
    """The error for a request that the board refused."""
    reason = _unpacked(messages.Error, answer.payload).reason
    name = request.__name__.upper()
    cure = "switch it off and on; a smaller net needs less stack" if reason == Reason.STACK else ""
    return DeviceError(f"the board refused {name}: {_REASONS.get(reason, reason)}", help=cure)


def wrong_program(found: int, wanted: int, board: str) -> DeviceError:
    """The error for a board that has firmware of another program."""
    return DeviceError(
        f"the board runs program {found:08X}, the project is {wanted:08X}",
        help=f"nnhost flash --board {shlex.quote(board)}",
    )


def _unpacked(kind: type[M], payload: bytes) -> M:
    """A board's answer, which may have any length."""
    try:
        return kind.unpack(payload)
    except struct.error:
        name = kind.__name__.upper()
        raise DeviceError(f"the board answers with a {name} of {len(payload)} bytes") from None


def _doubled(wait: float) -> float:
    return max(wait, min(2 * wait, _SLOWEST_RETRY))
