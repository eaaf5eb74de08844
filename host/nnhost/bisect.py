"""Where a board first differs from its simulator: the step, the computation, tensor and element.

The firmware on the board is asked first. From a state that both have in common it trains on for
half of the steps in question, and is put back to a common state by WRITE and RESUME: so the first
step that differs is found in about twice the steps between two checkpoints. That step is then made
by firmware with a probe (see nnhost.probe), which can be stopped after each of its computations.
What was seen is `Evidence`; `explain` finds the same in it without the board.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from nnhost.apart import flashed_apart
from nnhost.boards import Board
from nnhost.boards import get as get_board
from nnhost.curvature import curvature_of
from nnhost.difference import differing
from nnhost.errors import CapacityError, DeviceError, UsageError
from nnhost.files import write_atomically
from nnhost.generate import Network, board_sources, prepare
from nnhost.ir import Buffer, Const, Draw, Expr, Load, Map, Op, Program, Reduce, Var, free, walk
from nnhost.link import (
    Audit,
    Flag,
    Report,
    Session,
    crc16,
    slice_bounds,
    state_digest,
    trace_digest,
)
from nnhost.outcome import length
from nnhost.probe import COUNTER, Computation, computations
from nnhost.project import Project
from nnhost.run.boards import board_folder, open_board
from nnhost.saved import npz, read_npz
from nnhost.simulation import make, rehearse
from nnhost.simulator import Simulator, pack, unpack
from nnhost.train import Visit
from nnhost.twin import CHECKPOINT, greet

#: States of the simulator are kept so many steps apart.
_STRIDE = 256
#: Elements on each side that are shown of a tensor's last dimension, and of the one before.
_AROUND = (3, 1)
#: So many values of an operand are shown.
_MOST_VALUES = 64

OnProgress = Callable[[str], None]

#: What an evidence is about: a step; the weights drawn at a reset; memory that does not keep what
#: is written to it; a step that differed once, and not again.
STEP, RESET, MEMORY, ONCE = "step", "reset", "memory", "once"


@dataclass(frozen=True)
class Evidence:
    """What a board did from a state that it had in common with its simulator.

    `before`: that state, of training alone. `visit` was made on `sample`. `after`: the board's
    state then; with `made` computations of the step, from a firmware with a probe, all that a step
    writes; None for the whole step, of which only the state is known. `reported`: by what names
    the report differs, the board's values.
    """

    kind: str
    board: str
    program: int
    visit: Visit
    sample: bytes
    before: bytes
    after: bytes
    made: int | None = None
    reported: str = ""


@dataclass(frozen=True)
class Operand:
    """A value that an expression reads, or the values along an index of a sum."""

    text: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Near:
    """An element of the tensor, at the one in question or near it."""

    index: tuple[int, ...]
    board: int
    expected: int


@dataclass(frozen=True)
class Finding:
    """The first element in which a board differs. `map` and what follows from it are empty where
    only the state is known; `computed_by`: the function in C or assembly, `maps`: all whose work
    it does. `differing`: elements of the tensor that differ."""

    kind: str
    board: str
    step: int
    row: int
    tensor: str
    index: tuple[int, ...]
    value: int
    expected: int
    differing: int
    map: str
    maps: tuple[str, ...]
    computed_by: str
    expression: str
    operands: tuple[Operand, ...]
    file: str
    line: int
    code: str
    near: tuple[Near, ...]
    reported: str

    @property
    def place(self) -> str:
        """The element's name."""
        return _element(self.tensor, self.index)

    def event(self) -> dict[str, object]:
        """The object that `--json` prints."""
        near = [vars(n) for n in self.near]
        return {"event": "bisect", "exact": False} | vars(self) | {
            "operands": {o.text: list(o.values) for o in self.operands}, "near": near,
        }  # fmt: skip


def bisect(
    project: Project,
    board: Board,
    port: str | None = None,
    steps: int | None = None,
    on_progress: OnProgress = lambda words: None,
) -> tuple[Finding, Path] | None:
    """The first difference within the training, or its first `steps`, and the file that keeps the
    evidence; None if there is none. The board must have been flashed; a real one has firmware with
    a probe on it afterwards.

    Raises `NnhostError` as `watch` and `flash` do.
    """
    network = prepare(project)
    if network.standalone:
        raise UsageError(
            "a board that trains by itself cannot be bisected",
            help="--set data.delivery=stream, then flash and bisect",
        )
    course = Course(network, length(network, None, steps))
    with greet(open_board(project.root, board, port), network, board.name) as session:
        evidence = _Search(session, course, board.name, on_progress).run()
    if evidence is None:
        return None
    if evidence.kind == STEP:
        on_progress("building firmware with a probe")
        evidence = _closer(project, board, port, evidence)
    path = board_folder(project.root, board) / f"bisect-{evidence.visit.step}.npz"
    write_atomically(path, npz(_arrays(evidence)))
    return explain(project, evidence), path


def replay(project: Project, path: Path) -> Finding:
    """The finding of evidence that was kept. Raises `UsageError` if the file is none, or of another
    project."""
    return explain(project, _load(path))


# ---- the first step ------------------------------------------------------------------------------


class Course:
    """The right course of a training of `total` steps: its visits, what each step reports, and the
    state after any."""

    def __init__(self, network: Network, total: int) -> None:
        self.network = network
        self.total = total
        self.visits: list[Visit] = []
        self.reports: list[Audit] = []
        self._simulator = Simulator(network.program)
        self._simulator.reset(network.project.train.seed)
        self._kept = [self._simulator.state()]
        self._ahead = rehearse(self._simulator, network, total)
        self._again = Simulator(network.program)
        self._curvature = curvature_of(network)

    def extend(self, step: int) -> None:
        """Know the steps up to this one."""
        size = len(self._kept[0])
        while len(self.visits) < step:
            visit, made = next(self._ahead)
            part = crc16(self._simulator.part_of_state(*slice_bounds(size, visit.step)))
            trace = trace_digest(made.trace)
            self.visits.append(visit)
            self.reports.append(Audit(made.loss, made.prediction, trace, part))
            if visit.step % _STRIDE == 0:
                self._kept.append(self._simulator.state())

    def visit(self, step: int) -> Visit:
        """What step `step`, from 1 on, does."""
        self.extend(step)
        return self.visits[step - 1]

    def sample(self, visit: Visit) -> bytes:
        """The bytes that the board gets for it."""
        return self.network.sample(visit).bytes(0)

    def state(self, step: int) -> bytes:
        """The state after a step; of 0, after the reset."""
        self.extend(step)
        kept = step // _STRIDE
        self._again.set_state(self._kept[kept])
        for visit in self.visits[kept * _STRIDE : step]:
            if self._curvature and self._curvature.due(visit.step):
                self._curvature.refresh(self._again.memory)
            if visit.opens:
                self._again.epoch()
            make(self._again, self.network, visit)
        return self._again.state()

    def before(self, step: int) -> bytes:
        """The state that a step begins with."""
        state = self.state(step - 1)
        if self._curvature and self._curvature.due(step):
            state = self._curvature.refreshed(state)
        return state

    def written(self, step: int) -> tuple[bytes, int] | None:
        """What the host writes into the state before a step, and where."""
        curvature = self._curvature
        if curvature is None or not curvature.due(step):
            return None
        return self.before(step)[curvature.begin : curvature.end], curvature.begin


class _Differs(Exception):
    """The search is over."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__()
        self.evidence = evidence


class _Search:
    """The search for the first step. Invariant: the board makes step `good` as it should, from the
    state of the step before on; in the steps up to `bad` it differs."""

    def __init__(
        self, session: Session, course: Course, board: str, on_progress: OnProgress
    ) -> None:
        self.session = session
        self.course = course
        self.board = board
        self.on_progress = on_progress
        self.good = 0
        self.at: int | None = None  # the step whose right state the board is in

    def run(self) -> Evidence | None:
        """The evidence of the first step that differs, if there is one."""
        try:
            bad = self._climb()
            while bad is not None and bad - self.good > 1:
                middle = (self.good + bad) // 2
                self.on_progress(f"step {self.good} to {bad}")
                bad = self._train(middle) or bad
            return None if bad is None else self._single(bad)
        except _Differs as found:
            return found.evidence

    def _climb(self) -> int | None:
        """Train from the reset until something differs; a step up to which it does."""
        self.session.reset(self.course.network.project.train.seed)
        if self.session.verify().crc != state_digest(self.course.state(0)):
            raise _Differs(self._evidence(RESET, 1, b"", self.session.read_state()))
        self.at = 0
        while self.good < self.course.total:
            self.on_progress(f"step {self.good}")
            bad = self._train(min(self.good + CHECKPOINT, self.course.total))
            if bad is not None:
                return bad
        return None

    def _train(self, until: int) -> int | None:
        """Train from the good step on; a step up to which it differs, if it does until the end."""
        self._restore()
        self.at = None
        for step in range(self.good + 1, until + 1):
            if self._step(step) != self.course.reports[step - 1]:
                return step
        if self.session.verify().crc != state_digest(self.course.state(until)):
            return until
        self.good = self.at = until
        return None

    def _step(self, step: int) -> Report:
        visit = self.course.visit(step)
        ahead = partial(self.course.extend, min(step + 1, self.course.total))
        if written := self.course.written(step):
            self.session.overwrite(*written, step - 1)
        return self.session.step(step, _flags(visit), self.course.sample(visit), ahead)

    def _restore(self) -> None:
        """Put the board into the state of the good step."""
        if self.at == self.good:
            return
        state = self.course.state(self.good)
        try:
            self.session.write_state(state, self.good)
        except DeviceError:
            kept = self.session.read_state()
            if kept == state:
                raise
            raise _Differs(self._evidence(MEMORY, self.good + 1, state, kept)) from None

    def _single(self, step: int) -> Evidence:
        """Make the one step that differs, and read what came of it."""
        self._restore()
        report, expected = self._step(step), self.course.reports[step - 1]
        after = self.session.read_state()
        same = report == expected and after == self.course.state(step)
        evidence = self._evidence(ONCE if same else STEP, step, self.course.before(step), after)
        facts = [
            f"{name} {_shown(name, value)} instead of {_shown(name, getattr(expected, name))}"
            for name, value in vars(report).items()
            if value != getattr(expected, name)
        ]
        return replace(evidence, reported=", ".join(facts))

    def _evidence(self, kind: str, step: int, before: bytes, after: bytes) -> Evidence:
        visit = self.course.visit(step)
        number, sample = self.course.network.fingerprint, self.course.sample(visit)
        return Evidence(kind, self.board, number, visit, sample, before, after)


def _shown(name: str, value: int) -> str:
    return f"{value:04X}" if name in ("trace", "slice") else str(value)


def _flags(visit: Visit) -> int:
    flags = visit.first * Flag.FIRST | visit.last * Flag.LAST | visit.opens * Flag.EPOCH
    return flags | Flag.DIGEST


# ---- the first computation of that step ----------------------------------------------------------


@dataclass(frozen=True)
class _Probe:
    """A network's firmware with a probe on a board: its Program and the step's computations."""

    program: Program
    made: list[Computation]

    @classmethod
    def of(cls, network: Network, board: Board, visit: Visit) -> _Probe:
        """For the step of a visit."""
        target = network.target(board)
        program = replace(network, project=_with_probe(network.project)).on_board(target)
        found = computations(target.memory(program), network.program, target.rules)
        return cls(program, [c for c in found if visit.opens or c.section != "epoch"])


def _with_probe(project: Project) -> Project:
    return replace(project, build=replace(project.build, probe=True))


class _Rehearsal:
    """The simulator's reading of a step, one computation after the other."""

    def __init__(self, network: Network, probe: _Probe, evidence: Evidence) -> None:
        right = {m.name: m for m in network.program.maps()}
        self.made = [replace(c, maps=tuple(right[m.name] for m in c.maps)) for c in probe.made]
        sections = {m.name: [m] for c in self.made for m in c.maps}
        program, visit = network.program, evidence.visit
        self._simulator = Simulator(
            Program({"init": program.sections["init"], **sections}, program.state, program.sample)
        )
        self.memory = self._simulator.memory
        self.memory |= unpack(program.state, evidence.before)
        self.others = [b for b in probe.program.state if b not in (*program.state, COUNTER)]
        for b in self.others:
            self.memory[b.name] = np.zeros(b.shape, np.int64) if b.shape else 0
        values = unpack(program.sample, evidence.sample)
        self._simulator.begin(values["x"], values["target"], visit.first, visit.last)

    def make(self, computation: Computation) -> None:
        """Run its Maps."""
        for m in computation.maps:
            self._simulator.run(m.name)

    def dump(self, left: int) -> bytes:
        """What the board's extended state should be, its counter being `left`."""
        buffers = (*self._simulator.program.state, *self.others)
        known = b"".join(pack(b, self.memory[b.name]) for b in buffers)
        return known + pack(COUNTER, left)


def _closer(project: Project, board: Board, port: str | None, evidence: Evidence) -> Evidence:
    """The evidence of the first computation that differs; the same if that cannot be had."""
    network = prepare(project)
    probe = _Probe.of(network, board, evidence.visit)
    rehearsal = _Rehearsal(network, probe, evidence)
    begin = rehearsal.dump(0)[: -COUNTER.bytes]
    expected = []
    for computation in rehearsal.made:
        rehearsal.make(computation)
        expected.append(rehearsal.dump(0))
    try:
        with (
            flashed_apart(_with_probe(project), board, port) as (moved, _),
            greet(open_board(moved.root, board, port), prepare(moved), board.name) as session,
        ):

            def after(made: int) -> bytes:
                visit = evidence.visit
                session.write_state(begin + pack(COUNTER, made), visit.step - 1)
                session.step(visit.step, _flags(visit), evidence.sample)
                return session.read_state()

            good, bad = 0, len(expected)
            dump = after(bad)
            if dump == expected[-1]:
                return evidence
            while bad - good > 1:
                middle = (good + bad) // 2
                found = after(middle)
                if found == expected[middle - 1]:
                    good = middle
                else:
                    bad, dump = middle, found
            return replace(evidence, after=dump, made=bad)
    except CapacityError:
        return evidence


# ---- what the evidence says ----------------------------------------------------------------------


def explain(project: Project, evidence: Evidence) -> Finding:
    """Compare the evidence with the simulator. Raises `UsageError` if it is of another project."""
    network = prepare(project)
    if network.fingerprint != evidence.program:
        raise UsageError(
            f"the report is of program {evidence.program:08X},"
            f" the project is {network.fingerprint:08X}",
            help="use the nn.toml, the data and the --set with which it was made",
        )
    if evidence.made is None:
        return _explain_state(network, evidence)
    board = get_board(evidence.board)
    rehearsal = _Rehearsal(network, _Probe.of(network, board, evidence.visit), evidence)
    for computation in rehearsal.made[: evidence.made - 1]:
        rehearsal.make(computation)
    state = (*network.program.state, *rehearsal.others, COUNTER)
    there = unpack(state, evidence.after)
    last = rehearsal.made[evidence.made - 1]
    for m in last.maps:
        given = dict(rehearsal.memory)
        rehearsal.make(replace(last, maps=(m,)))
        # What lies only in registers of a pass is not there to be compared.
        if m.dst.name in there and _differ(there, rehearsal.memory, m.dst):
            return _explain_map(network, board, evidence, last, m, there, rehearsal.memory, given)
    for b in state[:-1]:
        if _differ(there, rehearsal.memory, b):  # written by what should not write it
            return _finding(evidence, b, there[b.name], rehearsal.memory[b.name], last)
    raise UsageError("the report shows no difference", help="was it changed?")


def _differ(there: dict[str, Any], here: dict[str, Any], b: Buffer) -> bool:
    return bool(np.any(np.asarray(there[b.name]) != np.asarray(here[b.name])))


def _explain_state(network: Network, evidence: Evidence) -> Finding:
    """What can be said where only the training state is known."""
    simulator = Simulator(network.program)
    if evidence.kind == RESET:
        simulator.reset(network.project.train.seed)
    else:
        simulator.set_state(evidence.before)
    if evidence.kind in (STEP, ONCE):
        if evidence.visit.opens:
            simulator.epoch()
        make(simulator, network, evidence.visit)
    right = simulator.state()
    found = differing(network.program, evidence.after, right)
    buffers = {b.name: b for b in network.program.state}
    if not found:
        return Finding(
            evidence.kind, evidence.board, evidence.visit.step, evidence.visit.row, "", (), 0, 0,
            0, "", (), "", "", (), "", 0, "", (), evidence.reported,
        )  # fmt: skip
    name = found[0].tensor
    values = unpack(network.program.state, evidence.after)[name]
    return _finding(
        evidence, buffers[name], values, unpack(network.program.state, right)[name], None
    )


def _finding(
    evidence: Evidence, b: Buffer, theirs: Any, ours: Any, by: Computation | None
) -> Finding:
    """The finding about a buffer's values, without the expression."""
    board, expected = np.asarray(theirs), np.asarray(ours)
    places = np.argwhere(board != expected)
    index = tuple(int(i) for i in places[0])
    near = tuple(Near(at, int(board[at]), int(expected[at])) for at in _near(index, b.shape))
    name = _function(by) if by else ""
    return Finding(
        evidence.kind, evidence.board, evidence.visit.step, evidence.visit.row, b.name, index,
        int(board[index]), int(expected[index]), len(places), "",
        tuple(m.name for m in by.maps) if by else (), name, "", (), "", 0, "", near,
        evidence.reported,
    )  # fmt: skip


def _function(computation: Computation) -> str:
    return computation.kernel or f"nn_map_{computation.maps[0].name}"


def _explain_map(
    network: Network,
    board: Board,
    evidence: Evidence,
    by: Computation,
    m: Map,
    there: dict[str, Any],
    here: dict[str, Any],
    given: dict[str, Any],
) -> Finding:
    found = _finding(evidence, m.dst, there[m.dst.name], here[m.dst.name], by)
    where = dict(zip((v.name for v in m.index), found.index[-len(m.index) or 1 :], strict=True))
    formula = f"{text(m.place)} = {text(m.expr)}"
    places = [f"{name} = {i}" for name, i in where.items()]
    file, line, code = _line_of(network, board, by, m)
    return replace(
        found, map=m.name, expression=", ".join([formula, *places]),
        operands=tuple(_operands(m, where, given)), file=file, line=line, code=code,
    )  # fmt: skip


def _near(index: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The places around one, itself included."""
    around = (0,) * len(index) + tuple(reversed(_AROUND))
    reach = around[len(around) - len(index) :] if index else ()
    if len(index) == 1:
        reach = _AROUND[:1]
    return product(*(
        range(max(0, i - r), min(n, i + r + 1))
        for i, r, n in zip(index, reach, shape, strict=True)
    ))  # fmt: skip


def _line_of(network: Network, board: Board, by: Computation, m: Map) -> tuple[str, int, str]:
    """File, number and text of the line of generated C that gives the elements their values; the
    function's first for a pass."""
    file = "nn_passes.c" if by.kernel else "nn_net.c"
    lines = board_sources(network, board)[file].splitlines()
    head = f"_{by.kernel}::" if by.kernel else f"static void {_function(by)}(void)"
    begin = next((i for i, line in enumerate(lines) if line.startswith(head)), None)
    if begin is None:
        return "", 0, ""
    at = begin
    if not by.kernel:
        end = lines.index("}", begin)
        writes = re.compile(rf"\bnn_{m.dst.name}\b|nn_planes_put")
        at = max((i for i in range(begin + 1, end) if writes.search(lines[i])), default=begin)
    return f"build/{board.name}/{file}", at + 1, lines[at].strip()


# ---- expressions in words ------------------------------------------------------------------------

_SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "shl": "<<", "shr": ">>",
    "lt": "<", "eq": "==",
}  # fmt: skip


def text(e: Expr) -> str:
    """An expression as a formula."""
    match e:
        case Const(value):
            return str(value)
        case Var(name, _):
            return name
        case Draw():
            return "the next random number"
        case Load(buffer, index):
            return _element(buffer.name, tuple(text(i) for i in index))
        case Op("sel", (c, a, b)):
            return f"({text(c)} ? {text(a)} : {text(b)})"
        case Op("min" | "max" as name, (a, b)):
            return f"{name}({text(a)}, {text(b)})"
        case Op(name, (a, b)):
            return f"({text(a)} {_SIGNS[name]} {text(b)})"
        case Reduce(name, var, body, init):
            reduced = f"{name} over {var.name} of {text(body)}"
            return f"({text(init)} + {reduced})" if init != Const(0) and name == "sum" else reduced
    raise TypeError(e)


def _element(name: str, index: tuple[object, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def _operands(m: Map, where: dict[str, int], memory: dict[str, Any]) -> Iterator[Operand]:
    """What an expression reads for one element; values along the index of a sum, if there is one.
    What is looked up at a computed place is left out."""
    for load in (n for n in walk(m.expr) if isinstance(n, Load)):
        if load.buffer.role == "table" or not all(isinstance(i, Var | Const) for i in load.index):
            continue
        inner = sorted((v for v in free(load) if v.name not in where), key=lambda v: v.name)
        values = [
            int(np.asarray(memory[load.buffer.name])[
                tuple(_at(i, where | dict(zip((v.name for v in inner), at, strict=True)))
                      for i in load.index)
            ])
            for at in product(*(range(v.extent) for v in inner))
        ]  # fmt: skip
        index = tuple(str(where.get(text(i), text(i))) for i in load.index)
        yield Operand(_element(load.buffer.name, index), tuple(values[:_MOST_VALUES]))


def _at(i: Expr, where: dict[str, int]) -> int:
    return i.value if isinstance(i, Const) else where[text(i)]


# ---- keeping the evidence ------------------------------------------------------------------------


def _arrays(evidence: Evidence) -> dict[str, Any]:
    visit = evidence.visit
    return {
        "kind": np.array(evidence.kind),
        "board": np.array(evidence.board),
        "program": np.uint32(evidence.program),
        "visit": np.array([visit.step, visit.epoch, visit.row], np.int64),
        "flags": np.uint8(_flags(visit)),
        "sample": np.frombuffer(evidence.sample, np.uint8),
        "before": np.frombuffer(evidence.before, np.uint8),
        "after": np.frombuffer(evidence.after, np.uint8),
        "made": np.int64(-1 if evidence.made is None else evidence.made),
        "reported": np.array(evidence.reported),
    }


def _load(path: Path) -> Evidence:
    try:
        arrays = read_npz(path)
        step, epoch, row = (int(n) for n in arrays["visit"])
        flags, made = int(arrays["flags"]), int(arrays["made"])
        visit = Visit(
            step, epoch, row, first=bool(flags & Flag.FIRST), last=bool(flags & Flag.LAST),
            opens=bool(flags & Flag.EPOCH),
        )  # fmt: skip
        return Evidence(
            str(arrays["kind"]), str(arrays["board"]), int(arrays["program"]), visit,
            arrays["sample"].tobytes(), arrays["before"].tobytes(), arrays["after"].tobytes(),
            None if made < 0 else made, str(arrays["reported"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"{path} is no report of nnhost bisect",
            help="the reports are .nnhost/BOARD/bisect-STEP.npz in the project's folder",
        ) from None
