"""The twin: a board and its simulator train together, and must agree to the last bit.

Everything a board reports is compared: after each step its loss, its prediction, a digest of its
activations and logits, and a digest of one of 256 slices of the state, in rotation; the digest of
the whole state at checkpoints; the state itself, byte for byte, at the end. A board that trains
by itself prints less: each step's loss in thousandths, and the digest of the state at the end.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Literal

import numpy as np

from nnhost.curvature import curvature_of
from nnhost.difference import Facts, Moment, difference
from nnhost.ending import Ending, OnEpoch
from nnhost.errors import DeviceError, DifferenceError, UsageError
from nnhost.generate import Network
from nnhost.link import (
    Counters,
    Evaluation,
    Flag,
    Report,
    Session,
    State,
    TextDone,
    TextStep,
    Transport,
    crc16,
    read_text,
    slice_bounds,
    state_digest,
    trace_digest,
)
from nnhost.outcome import Progress, Result, Score, length, prequential
from nnhost.simulation import OnStep, make, rehearse, schedule
from nnhost.simulator import Simulator, Step
from nnhost.train import Visit

#: The whole state is compared at least every so many steps, and at the end of an epoch ...
CHECKPOINT = 256
#: ... unless the last time is fewer steps ago.
LEAST_CHECKPOINT = 32

#: A board that trains by itself and has printed nothing for so many seconds has finished before.
SILENCE = 10.0

OnScore = Callable[[int, int], None]
Stopping = Callable[[], bool]
Outcome = tuple[Progress, DifferenceError | None]
Told = Report | Evaluation | State | TextStep | TextDone


def _never() -> bool:
    return False


def _ignore(*_: object) -> None:
    pass


def greet(line: Transport, network: Network, board: str) -> Session:
    """A session with the board at the end of the line, which is known to run this network."""
    session = Session(line)
    session.hello()
    session.expect(network.fingerprint, board)
    return session


class Twin:
    """A network on a board, together with its simulator. A context manager: lets the board go.

    `connect` opens the line to the board (and powers a virtual one on), when it is first needed.
    Evidence of a difference goes to `folder`. Without `compare` the board trains unchecked: the
    simulator only tells which row comes next. `counting`: the board counts its steps' time.

    All methods raise `DeviceError` for a board that is gone, restarts, refuses or runs another
    program, and `DifferenceError` at the first difference.
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
        self._step = 0
        self._state_bytes = sum(b.bytes for b in network.program.state)
        self._expected: Report

    def train(
        self,
        epochs: int | None = None,
        steps: int | None = None,
        *,
        score: bool = True,
        on_step: OnStep = _ignore,
        on_score: OnScore = _ignore,
        on_epoch: OnEpoch = _ignore,
        stopping: Stopping = _never,
    ) -> Result:
        """Reset the board and train it for `epochs`, or `steps`, or as nn.toml says.

        Then read its state back and, to `score` it, let it evaluate the training and the test
        set. `on_step` is called after every step, `on_score` after every sample evaluated, with
        the numbers of samples done and to do, `on_epoch` after an epoch that nn.toml wants looked
        at. A training that has a best epoch puts its state back. Once `stopping` returns True, the
        run ends with the step under way; its `Result` says so and has no scores.
        """
        total = length(self.network, epochs, steps)
        outcomes = self._listen if self.network.standalone else self._lead
        losses = array("d")
        ending, stopped = Ending(self.network, steps, on_epoch), False
        right: list[bool | None] = []

        def validate() -> Score | None:
            return self._scores(("validation",), on_score, stopping).get("validation")

        began = monotonic()
        ending.begin()
        for progress, error in outcomes(total):
            losses.append(progress.loss)
            right.append(progress.right)
            self._step = progress.step
            on_step(progress)
            if error:
                raise error
            stopped = stopping()
            if stopped or ending.reached(losses, validate, self._best_state):
                break
        seconds = monotonic() - began
        state = b""
        scores: dict[str, Score | None] = {}
        best = None if stopped else ending.best
        if self._session is not None:  # else it still trains, by itself
            if best is not None and best.step < self._step:
                self._session.write_state(ending.best_state, best.step)
                self._simulator.set_state(ending.best_state)
                self._step = best.step
            state = self._read_state(self._session)
            if score and not stopped:
                scores = self._scores(("train", "test"), on_score, stopping)
        return Result(
            len(losses),
            self.network.plan.rows,
            np.array(losses),
            scores.get("train"),
            scores.get("test"),
            True if self._compare and state else None,
            seconds,
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
        that is empty."""
        return self._scores((part,), _ignore, _never, rows)[part]

    def position(self) -> State:
        """Where the board stands, and its counters."""
        return self._open().verify()

    def state(self) -> bytes:
        """The board's training state: weights, biases, slots, order and generator."""
        return self._open().read_state()

    @property
    def counters(self) -> Counters | None:
        """What has happened on the line; None while there is no session."""
        return self._session.counters if self._session else None

    def close(self) -> None:
        """Let the board go; a virtual one is powered off."""
        if self._transport is not None:
            self._transport.close()
        self._transport = self._session = None

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
            self._session = greet(self._transport, self.network, self.board)
        return self._session

    def _lead(self, total: int) -> Iterator[Outcome]:
        """Reset the board and stream the samples to it; the outcome of every step."""
        plan = self.network.plan
        session = self._open()
        session.reset(self.network.project.train.seed)
        checked = 0
        curvature = curvature_of(self.network)
        for visit in schedule(self._simulator, self.network, total):
            if curvature and curvature.due(visit.step):
                part = self._simulator.part_of_state(curvature.begin, curvature.end)
                session.overwrite(part, curvature.begin, visit.step - 1)
            sample = self.network.sample(visit).bytes(0)
            flags = visit.first * Flag.FIRST | visit.last * Flag.LAST | visit.opens * Flag.EPOCH
            flags |= self._count
            report = session.step(visit.step, flags, sample, partial(self._rehearse, visit))
            error = self._differ(_at(visit, sample), report, self._expected)
            least = LEAST_CHECKPOINT if visit.step % plan.rows == 0 else CHECKPOINT
            if error is None and visit.step - checked >= least:
                error = self._check_position(session, visit.step)
                checked = visit.step
            right = self.network.judged(visit.row, report.prediction)
            yield self._outcome(visit, report.loss * plan.loss_scale, error, right)

    def _listen(self, total: int) -> Iterator[Outcome]:
        """Follow a board that trains by itself, from its reset on; the outcome of every step."""
        self.close()
        steps = rehearse(self._simulator, self.network, total)
        made = 0
        for line in self._lines():
            told = line if isinstance(line, TextStep) else None
            reached = line.steps if isinstance(line, TextDone) else line.step
            if not made + (told is not None) <= reached <= total:
                raise DeviceError(
                    f"the board is at step {reached} of {total} after step {made}",
                    help="it has restarted, or it was built from another nn.toml: nnhost flash",
                )
            for visit, step in islice(steps, reached - made):
                made = visit.step  # lines that are lost on the way leave the simulator's loss
                yield self._heard(visit, step, told if made == reached else None)
            if isinstance(line, TextDone):
                moment = Moment(made, f"at the end, after step {made}")
                done = TextDone(total, state_digest(self._simulator.state()))
                _raise(self._differ(moment, line, done))
        self._open()

    def _lines(self) -> Iterator[TextStep | TextDone]:
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

    def _read_state(self, session: Session) -> bytes:
        """The board's state, which is the simulator's."""
        _raise(self._check_position(session, self._step))
        state = session.read_state()
        if self._compare and state != self._simulator.state():
            moment = Moment(self._step, f"in the state after step {self._step}")
            raise self._difference(moment, {}, {}, state)
        return state

    def _best_state(self) -> bytes:
        """The board's state, which the simulator has as well if it is compared."""
        return self._simulator.state() if self._compare else self._open().read_state()

    def _scores(
        self,
        parts: tuple[str, ...],
        on_score: OnScore,
        stopping: Stopping,
        rows: int | None = None,
    ) -> dict[str, Score | None]:
        """The board's scores on the sets of these names; nothing if it was stopped meanwhile."""
        session = self._open()
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
                answer = session.evaluate(sample)
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
        _raise(self._check_position(session, self._step))
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

    def _rehearse(self, visit: Visit) -> None:
        """Make a step while the board makes it, and note what it should report."""
        step = make(self._simulator, self.network, visit)
        trace = trace_digest(step.trace)
        part = crc16(self._simulator.part_of_state(*slice_bounds(self._state_bytes, visit.step)))
        self._expected = Report(visit.step, step.loss, step.prediction, trace, part)

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

    def _check_position(self, session: Session, step: int) -> DifferenceError | None:
        """The board's step, and the digest of its whole state."""
        answer = session.verify()
        expected = replace(answer, step=step, crc=state_digest(self._simulator.state()))
        return self._differ(Moment(step, f"in the state after step {step}"), answer, expected)

    def _differ(self, moment: Moment, board: Told, simulator: Told) -> DifferenceError | None:
        """The error to raise if the board told something else than the simulator expects."""
        if not self._compare or board == simulator:
            return None
        state = None
        if self._session is not None:
            with suppress(DeviceError):
                state = self._session.read_state()
        return self._difference(moment, asdict(board), asdict(simulator), state)

    def _difference(
        self, moment: Moment, board: Facts, simulator: Facts, state: bytes | None
    ) -> DifferenceError:
        names = self.network, self.board
        expected = self._simulator.state()
        return difference(*names, moment, board, simulator, state, expected, self._folder)


def _at(visit: Visit, sample: bytes) -> Moment:
    return Moment(visit.step, f"at step {visit.step}", visit.row, sample)


def _raise(error: DifferenceError | None) -> None:
    if error is not None:
        raise error
