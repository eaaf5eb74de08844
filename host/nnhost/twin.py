"""The twin: a board and its simulator train together, and must agree to the last bit.

Everything a board reports is compared: after each step its loss and its prediction; every sixteenth
step a digest of its activations and logits, and a digest of one of 256 slices of the state, in
rotation; the digest of the whole state at checkpoints; the state itself, byte for byte, at the end.
A board that trains by itself prints less: each step's loss in thousandths, and the digest of the
state at the end.

A board that is lost (it has restarted, its line is cut, it does not answer) is looked for, and
brought back to the step that it was at: to the simulator's state there, if it has lost its own.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np

from nnhost.clock import REAL, Clock
from nnhost.curvature import Curvature, curvature_of
from nnhost.difference import Facts, Moment, difference
from nnhost.ending import Ending, OnEpoch
from nnhost.errors import (
    DeviceError,
    DifferenceError,
    LostError,
    RestartedError,
    StalledError,
    UsageError,
)
from nnhost.generate import Network
from nnhost.link import (
    STEPS_A_SLICE,
    Audit,
    Cause,
    Counters,
    Evaluation,
    Flag,
    Report,
    Session,
    State,
    Text,
    TextDone,
    TextProgram,
    TextResumed,
    TextStep,
    Transport,
    Welcome,
    crc16,
    read_text,
    slice_bounds,
    state_digest,
    trace_digest,
    wrong_program,
)
from nnhost.outcome import Progress, Result, Score, length, prequential
from nnhost.saved import Saved
from nnhost.simulation import OnStep, make, rehearse, schedule
from nnhost.simulator import Simulator, Step, pack, unpack
from nnhost.train import Visit

#: The whole state is compared at least every so many steps, and at the end of an epoch ...
CHECKPOINT = 256
#: ... unless the last time is fewer steps ago.
LEAST_CHECKPOINT = 32

#: A board that trains by itself and has printed nothing for so many seconds has finished before.
SILENCE = 10.0

#: A board that has been lost is looked for until it has not answered for so many seconds ...
NO_PROGRESS = 30.0
#: ... or has been found so many times without making a step.
MOST_FOUND = 20
#: Seconds between two attempts, the first and the longest.
_BACK_OFF = 0.05, 0.3

OnScore = Callable[[int, int], None]
#: Is told a step from which training goes on, and why.
OnResume = Callable[[int, str], None]
OnCheckpoint = Callable[[Saved], None]
Stopping = Callable[[], bool]
Outcome = tuple[Progress, DifferenceError | None]
Told = Report | Evaluation | State | TextStep | TextDone
T = TypeVar("T")


def _never() -> bool:
    return False


def _ignore(*_: object) -> None:
    pass


@dataclass
class _Ahead:
    """A step that was sent to the board, and what the simulator makes of it."""

    visit: Visit
    flags: int
    sample: bytes
    expected: Report | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    """the simulator's, after the step"""
    report: Report | None = None


def greet(
    line: Transport,
    network: Network,
    board: str,
    clock: Clock = REAL,
    stopping: Stopping = _never,
) -> Session:
    """A session with the board at the end of the line, which is known to run this network."""
    session = Session(line, clock=clock, stopping=stopping)
    session.hello()
    session.expect(network.fingerprint, board)
    return session


class Twin:
    """A network on a board, together with its simulator. A context manager: lets the board go.

    `connect` opens the line to the board (and powers a virtual one on), when it is first needed.
    Evidence of a difference goes to `folder`. Without `compare` the board trains unchecked: the
    simulator only tells which row comes next. `counting`: the board counts its steps' time.
    `on_resume` is told when a board that was lost has been found and goes on, `on_note` what else
    should be known of it.

    All methods raise `DeviceError` for a board that refuses or runs another program,
    `StalledError` for one that is lost and not found, and `DifferenceError` at the first
    difference.
    """

    def __init__(
        self,
        network: Network,
        board: str,
        connect: Callable[[], Transport],
        folder: Path,
        *,
        compare: bool = True,
        counting: bool = False,
        on_resume: OnResume = _ignore,
        on_note: Callable[[str], None] = _ignore,
        clock: Clock = REAL,
    ) -> None:
        self.network = network
        self.board = board
        self._connect = connect
        self._folder = folder
        self._compare = compare
        self._count = Flag.COUNT if counting else Flag(0)
        self._simulator = Simulator(network.program)
        self._simulator.reset(network.project.train.seed)
        self._transport: Transport | None = None
        self._session: Session | None = None
        self._stopping: Stopping = _never
        self._on_resume = on_resume
        self._on_note = on_note
        self._clock = clock
        self._unsettled = False  # while the host changes the state itself
        self._found = 0  # times that the board was found again since something went forward
        self._step = 0
        self._behind = self._simulator.memory  # as it was after that step
        self._ahead: deque[_Ahead] = deque()  # steps that the simulator has made since
        self._outcomes: deque[Outcome] = deque()  # that nobody has been told
        self._looks = self._halted = False  # after each epoch; no further step is to be sent
        self._checked = 0  # the step after which the whole states were last compared
        self._state_bytes = sum(b.bytes for b in network.program.state)

    def train(
        self,
        epochs: int | None = None,
        steps: int | None = None,
        *,
        score: bool = True,
        on_step: OnStep = _ignore,
        on_score: OnScore = _ignore,
        on_epoch: OnEpoch = _ignore,
        on_checkpoint: OnCheckpoint = _ignore,
        stopping: Stopping = _never,
        resume: Saved | None = None,
    ) -> Result:
        """Reset the board and train it for `epochs`, or `steps`, or as nn.toml says.

        With `resume`, which this program has left, go on there: from the step that the board is at
        if it has come further and nothing has been missed, else from the state saved, which it is
        given. What is saved is this program's. `on_checkpoint` is given what to save whenever the
        whole state has been compared, and at the end.

        Then read its state back and, to `score` it, let it evaluate the training and the test
        set. `on_step` is called after every step, `on_score` after every sample evaluated, with
        the numbers of samples done and to do, `on_epoch` after an epoch that nn.toml wants looked
        at. A training that has a best epoch puts its state back. Once `stopping` returns True, the
        run ends with the steps under way; its `Result` says so and has no scores, nor a state if
        the board is being looked for.
        """
        self._stopping = stopping
        total = length(self.network, epochs, steps)
        losses = array("d", resume.losses if resume else ())
        right: list[bool | None] = []
        if resume:
            right += [None if known < 0 else known > 0 for known in resume.right.tolist()]
        ending, stopped = Ending(self.network, steps, on_epoch, self._clock.now), False
        ending.begin(resume.past if resume else None, losses)
        self._looks, self._halted = ending.looks, False

        def validate() -> Score | None:
            return self._scores(("validation",), on_score, stopping).get("validation")

        def reached(state: bytes, left: int | None = None) -> Saved:
            names = self.network.fingerprint, self.network.training
            known = np.array([-1 if r is None else r for r in right], np.int8)
            numbers = np.array(losses), known
            return Saved(*names, len(losses), state, *numbers, ending.past, left)

        began = ended = self._clock.now()
        state = b""
        scores: dict[str, Score | None] = {}
        best = None
        try:
            outcomes = self._listen(total) if self.network.standalone else self._lead(total)
            if not self.network.standalone:
                for progress in self._begin(total, resume, ahead=not ending.looks):
                    losses.append(progress.loss)
                    right.append(progress.right)
                    on_step(progress)
            over = resume is not None and ending.reached(losses, validate, self._best_state)
            stopped = resume is not None and not over and stopping()
            for progress, error in () if over or stopped else outcomes:
                losses.append(progress.loss)
                right.append(progress.right)
                on_step(progress)
                if error:
                    raise error
                if not self._halted:
                    over = not stopping() and ending.reached(losses, validate, self._best_state)
                    stopped = not over and stopping()
                    self._halted = over or stopped
                if self._checked == progress.step:
                    on_checkpoint(reached(self._simulator.state()))
                if self._halted and not self._ahead and not self._outcomes:
                    break
            ended = self._clock.now()
            best = None if stopped else ending.best
            if self._session is not None:  # else it still trains, by itself
                state = self._read_state()
                last = state
                if best is not None and best.step < self._step:
                    self._return_to(best.step, ending.best_state)
                    place = ending.best_state, best.step
                    self._ask(lambda session: session.write_state(*place))
                    state = self._read_state()
                on_checkpoint(reached(last, best.step if best else None))
                if score and not stopped:
                    scores = self._scores(("train", "test"), on_score, stopping)
        except LostError:
            if not stopping():
                raise
            stopped, ended = True, self._clock.now()
        return Result(
            len(losses),
            self.network.plan.rows,
            np.array(losses),
            scores.get("train"),
            scores.get("test"),
            True if self._compare and state else None,
            ended - began,
            state,
            stopped or (score and not scores),
            self.counters,
            ending.reason,
            tuple(ending.epochs),
            best,
            prequential(losses, right) if self.network.online else None,
        )

    def evaluate(
        self, part: Literal["train", "test"] = "test", rows: int | None = None
    ) -> Score | None:
        """How the board does on the "train" or the "test" set, or its first `rows`; None where
        that is empty. Raises `UsageError` for the name of another."""
        if part not in ("train", "test"):
            raise UsageError(f"there is no {part!r} set to evaluate", help='"train" or "test"')
        return self._scores((part,), _ignore, _never, rows)[part]

    def position(self) -> State:
        """Where the board stands, and its counters. It may be a step further than was told."""
        return self._ask(Session.verify)

    def state(self) -> bytes:
        """The board's training state: weights, biases, slots, order and generator."""
        return self._ask(Session.read_state)

    @property
    def counters(self) -> Counters | None:
        """What has happened on the line; None while there is no session."""
        return self._session.counters if self._session else None

    def close(self) -> None:
        """Let the board go; a virtual one is powered off."""
        if self._transport is not None:
            self._transport.close()
        self._transport = self._session = None
        self._ahead.clear()
        self._outcomes.clear()

    def __enter__(self) -> Twin:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # ---- the board ----

    def _open(self) -> Session:
        """The session with the board, which is known to run this program."""
        if self._session is None:
            if self._transport is None:
                if self.network.standalone:
                    raise UsageError("the board trains by itself: call train() first")
                self._transport = self._connect()
            names = self.network, self.board
            self._session = greet(self._transport, *names, self._clock, lambda: self._stopping())
            if self._session.welcome.cause in (Cause.WATCHDOG, Cause.FAULT):
                self._on_note(f"the board had restarted before: {self._session.cause()}")
        return self._session

    def _lead(self, total: int) -> Iterator[Outcome]:
        """Stream the samples to the board from where it is on; the outcome of every step."""
        curvature = curvature_of(self.network)
        for visit in schedule(self._simulator, self.network, total, self._step):
            if curvature and curvature.due(visit.step):
                self._refresh(curvature)
            self._send(visit)
            writes = curvature is not None and curvature.due(visit.step + 1)
            looks = self._checkpoint(visit) or (self._looks and self._ends(visit))
            alone = writes or looks or self._count != 0
            yield from self._arrivals(0 if alone else self._open().welcome.window - 1)
            if self._halted:
                break
        yield from self._arrivals(0)

    def _ends(self, visit: Visit) -> bool:
        """Whether the step ends an epoch."""
        return visit.step % self.network.plan.rows == 0

    def _checkpoint(self, visit: Visit) -> bool:
        """Whether the whole states are compared after the step."""
        least = LEAST_CHECKPOINT if self._ends(visit) else CHECKPOINT
        return visit.step - self._checked >= least

    def _begin(self, total: int, resume: Saved | None, *, ahead: bool) -> list[Progress]:
        """Reset the board and the simulator, or bring them to where they `resume`; the steps that
        the board has made since, if it may be `ahead`."""
        self._await_all()  # if a run was left
        self._outcomes.clear()
        self._simulator.reset(self.network.project.train.seed)
        self._checked = 0
        self._advance(0)
        if resume is None:
            self._ask(lambda session: session.reset(self.network.project.train.seed), back=False)
            return []
        self._open()
        self._return_to(resume.step, resume.state)
        found = self._ask(lambda session: session.verify(), back=False)
        if resume.step <= found.step <= (total if ahead else resume.step):
            network, made = self.network, []
            for visit, step in rehearse(self._simulator, network, found.step, resume.step):
                right = network.judged(visit.row, step.prediction)
                loss = step.loss * network.plan.loss_scale
                made.append(self._outcome(visit, loss, None, right)[0])
            if state_digest(self._simulator.state()) == found.crc:
                self._advance(found.step)
                self._on_resume(found.step, "")
                return made
            self._return_to(resume.step, resume.state)
        self._ask(lambda session: session.write_state(resume.state, resume.step))
        self._on_resume(resume.step, "")
        return []

    def _return_to(self, step: int, state: bytes) -> None:
        """Bring the simulator to where it was after a step."""
        self._simulator.set_state(state)
        self._checked = step
        self._advance(step)

    def _refresh(self, curvature: Curvature) -> None:
        """Give the board the part of the state that the host computes."""
        begin, end, step = curvature.begin, curvature.end, self._step
        part = self._simulator.part_of_state(begin, end)
        state = self._packed(self._behind)
        self._behind = unpack(self.network.program.state, state[:begin] + part + state[end:])
        self._unsettled = True
        self._ask(lambda session: session.overwrite(part, begin, step))
        self._unsettled = False

    def _send(self, visit: Visit) -> None:
        """Let the board make a step, once it has made those before, and the simulator meanwhile."""
        flags = visit.first * Flag.FIRST | visit.last * Flag.LAST | visit.opens * Flag.EPOCH
        flags |= self._count | _digests(visit) * Flag.DIGEST
        ahead = _Ahead(visit, flags, self.network.sample(visit).bytes(0))
        session = self._open()
        self._ahead.append(ahead)
        try:
            session.send_step(visit.step, flags, ahead.sample)
        except LostError as error:
            self._rehearse(ahead)
            self._send_again(error)
        else:
            self._rehearse(ahead)

    def _send_again(self, lost: LostError) -> None:
        """Find the board again, and send what it has not made of the steps under way."""
        session = self._open()
        while True:
            step = self._recover(lost)
            try:
                for ahead in self._ahead:
                    if ahead.visit.step <= step:
                        ahead.report = ahead.expected  # it was lost: the states are the same
                    else:
                        ahead.report = None  # or it was made before, and is lost again
                        session.send_step(ahead.visit.step, ahead.flags, ahead.sample)
            except LostError as error:
                lost = error
            else:
                return

    def _arrivals(self, left: int) -> Iterator[Outcome]:
        """Wait until no more than these steps are under way; the outcomes of the others."""
        while len(self._ahead) > left or self._outcomes:
            if not self._outcomes:
                self._arrive()
            yield self._outcomes.popleft()

    def _await_all(self) -> None:
        """Wait until no step is under way."""
        while self._ahead:
            self._arrive()

    def _arrive(self) -> None:
        """Wait for the report of the first step under way, and compare it."""
        ahead = self._ahead[0]
        while ahead.report is None:
            try:
                ahead.report = self._open().report()
            except LostError as lost:
                self._send_again(lost)
        self._ahead.popleft()
        visit, report = ahead.visit, ahead.report
        assert ahead.expected is not None
        error = self._differ(_at(visit, ahead.sample), report, ahead.expected)
        checkpoint = self._checkpoint(visit)
        self._advance(visit.step, ahead.memory)
        if error is None and checkpoint:
            error = self._check_position(visit.step)
            self._checked = visit.step
        right = self.network.judged(visit.row, report.prediction)
        loss = report.loss * self.network.plan.loss_scale
        self._outcomes.append(self._outcome(visit, loss, error, right))

    def _ask(self, request: Callable[[Session], T], *, back: bool = True) -> T:
        """The board's answer to what may be asked twice. A board that was lost is found again, and
        brought `back` to where it was. Steps under way are waited for."""
        self._await_all()
        while True:
            session = self._open()
            try:
                answer = request(session)
            except LostError as error:
                if self.network.standalone:
                    raise
                self._recover(error, back=back)
            else:
                self._found = 0
                return answer

    def _advance(self, step: int, memory: dict[str, Any] | None = None) -> None:
        """Note that the board has made this step, as the simulator has, with this `memory`."""
        self._found = 0
        self._step = step
        self._behind = dict(self._simulator.memory) if memory is None else memory

    def _recover(self, lost: LostError, *, back: bool = True) -> int:
        """Find the board again, and bring it `back`; the step that it is at: the last one known to
        be made, or the one under way."""
        assert self._session is not None
        session, why = self._session, lost.message
        restarted = isinstance(lost, RestartedError)
        least, longest = _BACK_OFF
        while True:
            silence = self._clock.now() - session.heard
            if silence > NO_PROGRESS or self._found >= MOST_FOUND:
                silent = f"{silence:.0f} seconds of silence"
                tried = silent if silence > NO_PROGRESS else f"lost {self._found} times"
                raise StalledError(
                    f"no progress after step {self._step}: {tried}: {lost.message}", help=lost.help
                ) from None
            try:
                welcome = self._find(session)
                self._found += 1
                restarted |= welcome.step < self._step
                step = self._restore(session, welcome) if back else welcome.step
                cause = session.cause() if restarted else ""
            except LostError as error:
                if self._stopping():
                    raise
                lost = error
                restarted |= isinstance(lost, RestartedError)
            else:
                session.counters.lost += 1
                why = "the board has restarted" if restarted else why
                self._on_resume(step, f"{why}: {cause}" if cause else why)
                return step
            self._clock.sleep(least)
            least = min(2 * least, longest)

    def _find(self, session: Session) -> Welcome:
        """Greet the board, over a new line if it does not answer over the one there is."""
        if self._transport is None:
            try:
                self._transport = self._connect()
            except DeviceError as error:  # a cable that is out; it may come back
                raise LostError(error.message, help=error.help) from None
            session.reconnect(self._transport)
        try:
            welcome = session.hello()
        except LostError:
            self._transport.close()
            self._transport = None
            raise
        session.expect(self.network.fingerprint, self.board)
        return welcome

    def _restore(self, session: Session, welcome: Welcome) -> int:
        """Give the board back what it has lost; the step that it then is at.

        A restarted board that hears the HELLO again opens the same session: its WELCOME from before
        is believed only if the session's next answer says the same.
        """
        step = welcome.step
        known = {self._step: self._behind}
        known |= {ahead.visit.step: ahead.memory for ahead in self._ahead}
        if step in known:
            now = session.verify()
            if (now.step, now.crc) != (step, welcome.crc):
                raise RestartedError("the board has restarted while it was greeted")
            state = self._packed(known[step])
            if not self._compare or welcome.crc == state_digest(state):
                return step
            if step != 0 and not self._unsettled:  # else it has restarted, or part of it is new
                _raise(self._differ_position(step, state, now))
        session.write_state(self._packed(self._behind), self._step)
        return self._step

    def _packed(self, memory: dict[str, Any]) -> bytes:
        return b"".join(pack(b, memory[b.name]) for b in self.network.program.state)

    def _listen(self, total: int) -> Iterator[Outcome]:
        """Follow a board that trains by itself, from its reset on; the outcome of every step."""
        self.close()
        steps = rehearse(self._simulator, self.network, total)
        made = 0
        keeps = self.network.project.train.checkpoint_every > 0
        for line in self._lines():
            if isinstance(line, TextProgram):
                if line.program != self.network.fingerprint:
                    raise wrong_program(line.program, self.network.fingerprint, self.board)
                continue
            told = line if isinstance(line, TextStep) else None
            reached = line.steps if isinstance(line, TextDone) else line.step
            if isinstance(line, TextResumed):
                self._on_resume(reached, "")
            if keeps and reached <= made and not isinstance(line, TextDone):
                continue  # it has lost power, and repeats what came after its last checkpoint
            if not made + (told is not None) <= reached <= total:
                raise DeviceError(
                    f"the board is at step {reached} of {total} after step {made}",
                    help="it has restarted, or it was built from another nn.toml: nnhost flash",
                )
            for visit, step in islice(steps, reached - made):
                made = visit.step  # lines that are lost on the way leave the simulator's loss
                self._advance(made)
                yield self._heard(visit, step, told if made == reached else None)
            if isinstance(line, TextDone):
                moment = Moment(made, f"at the end, after step {made}")
                done = TextDone(total, state_digest(self._simulator.state()))
                _raise(self._differ(moment, line, done))
        self._open()

    def _lines(self) -> Iterator[Text]:
        """What the board prints from its reset on; it is reset if it has finished before."""
        self._transport = self._connect()
        silent = True
        try:
            for line in read_text(self._transport, SILENCE):
                silent = False
                yield line
            return
        except DeviceError:
            if not silent:
                raise
        greet(self._transport, self.network, self.board).restart()
        yield from read_text(self._transport, SILENCE)

    def _read_state(self) -> bytes:
        """The board's state, which is the simulator's."""
        _raise(self._check_position(self._step))
        state = self.state()
        if self._compare and state != self._simulator.state():
            moment = Moment(self._step, f"in the state after step {self._step}")
            raise self._difference(moment, {}, {}, state)
        return state

    def _best_state(self) -> bytes:
        """The board's state, which the simulator has as well if it is compared."""
        return self._simulator.state() if self._compare else self.state()

    def _scores(
        self,
        parts: tuple[str, ...],
        on_score: OnScore,
        stopping: Stopping,
        rows: int | None = None,
    ) -> dict[str, Score | None]:
        """The board's scores on the sets of these names; nothing if it was stopped meanwhile."""
        sets = {"train": self.network.train[:rows], "test": self.network.test[:rows]}
        if self.network.validation is not None:
            sets["validation"] = self.network.validation[:rows]
        total = sum(len(sets[part]) for part in parts)
        done = 0
        scores = {}
        for part in parts:
            samples = sets[part]
            answers = []
            for row in range(len(samples)):
                sample = samples.bytes(row)
                answer = self._ask(partial(_evaluate, sample))
                if self._compare:
                    step = self._simulator.evaluate(samples.x[row], samples.target[row])
                    expected = Evaluation(step.loss, step.prediction, trace_digest(step.trace))
                    moment = Moment(self._step, f"on row {row} of the {part} set", row, sample)
                    _raise(self._differ(moment, answer, expected))
                answers.append(answer)
                done += 1
                on_score(done, total)
                if stopping():
                    return {}
            losses, predictions = [a.loss for a in answers], [a.prediction for a in answers]
            scores[part] = Score.of(self.network.plan, samples, losses, predictions)
        _raise(self._check_position(self._step))
        return scores

    # ---- comparing ----

    def _outcome(
        self,
        visit: Visit,
        loss: float,
        error: DifferenceError | None,
        right: bool | None = None,
    ) -> Outcome:
        exact = error is None if self._compare else None
        return Progress(visit.step, visit.epoch, loss, exact, right), error

    def _rehearse(self, ahead: _Ahead) -> None:
        """Make a step while the board makes it, and note what it should report."""
        visit = ahead.visit
        step = make(self._simulator, self.network, visit)
        if _digests(visit):
            bounds = slice_bounds(self._state_bytes, visit.step)
            digests = trace_digest(step.trace), crc16(self._simulator.part_of_state(*bounds))
            ahead.expected = Audit(step.loss, step.prediction, *digests)
        else:
            ahead.expected = Report(step.loss, step.prediction)
        ahead.memory = dict(self._simulator.memory)

    def _heard(self, visit: Visit, step: Step, line: TextStep | None) -> Outcome:
        """What the board prints of a training step; nothing if the line was lost."""
        loss = step.loss * self.network.plan.loss_scale
        if line is None:
            return self._outcome(visit, loss, None)
        if not self._compare:
            printed = line.loss_milli / 1000 * self.network.plan.top_weight
            return self._outcome(visit, printed, None)
        self._simulator.run("report")
        expected = TextStep(visit.step, int(self._simulator.memory["milli"]))
        sample = self.network.sample(visit).bytes(0)
        return self._outcome(visit, loss, self._differ(_at(visit, sample), line, expected))

    def _check_position(self, step: int) -> DifferenceError | None:
        """The board's step, and the digest of its whole state, which is to be the simulator's."""
        return self._differ_position(step, self._simulator.state(), self.position())

    def _differ_position(self, step: int, state: bytes, answer: State) -> DifferenceError | None:
        expected = replace(answer, step=step, crc=state_digest(state))
        return self._differ(Moment(step, f"in the state after step {step}"), answer, expected)

    def _differ(self, moment: Moment, board: Told, simulator: Told) -> DifferenceError | None:
        """The error to raise if the board told something else than the simulator expects."""
        if not self._compare or board == simulator:
            return None
        state = None
        if self._session is not None:
            with suppress(DeviceError):
                state = self._session.read_state()
        return self._difference(moment, _facts(board), _facts(simulator), state)

    def _difference(
        self, moment: Moment, board: Facts, simulator: Facts, state: bytes | None
    ) -> DifferenceError:
        names = self.network, self.board
        if self._ahead:  # the board has made these, too
            moment = replace(moment, reached=self._ahead[-1].visit.step)
        expected = self._simulator.state()
        return difference(*names, moment, board, simulator, state, expected, self._folder)


def _facts(told: Told) -> Facts:
    return {name: value for name, value in asdict(told).items() if isinstance(value, int)}


def _at(visit: Visit, sample: bytes) -> Moment:
    return Moment(visit.step, f"at step {visit.step}", visit.row, sample)


def _digests(visit: Visit) -> bool:
    """Whether the board's report of the step has digests."""
    return visit.step % STEPS_A_SLICE == 0


def _evaluate(sample: bytes, session: Session) -> Evaluation:
    return session.evaluate(sample)


def _raise(error: DifferenceError | None) -> None:
    if error is not None:
        raise error
