"""The numpy reading of a Program: the oracle that a board is compared with.

Each section becomes one Python function that reads like hand-written numpy; `Simulator.source`
holds the text. Arrays are int64 and scalars Python integers, so that nothing can overflow
unnoticed; the proven intervals make every intermediate fit 32 bits on the chip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnhost.ir import (
    Buffer,
    Const,
    Draw,
    Expr,
    Load,
    Map,
    Op,
    Program,
    Reduce,
    Var,
    children,
    draws,
    free,
    interval,
    walk,
)

Integers = NDArray[np.int64]
Axes = tuple[Var, ...]

_ARRAY = {
    "add": "({} + {})",
    "sub": "({} - {})",
    "mul": "({} * {})",
    "div": "({} // {})",
    "and": "({} & {})",
    "shl": "({} << {})",
    "shr": "({} >> {})",
    "min": "minimum({}, {})",
    "max": "maximum({}, {})",
    "lt": "({} < {}).astype(int64)",
    "eq": "({} == {}).astype(int64)",
    "sel": "where({}, {}, {})",
    "len": "frexp({})[1].astype(int64)",
}
_SCALAR = _ARRAY | {
    "min": "min({}, {})",
    "max": "max({}, {})",
    "lt": "int({} < {})",
    "eq": "int({} == {})",
    "sel": "({1} if {0} else {2})",
    "len": "int({}).bit_length()",
}


@lru_cache(maxsize=1)
def _sequence() -> Integers:
    """The generator's whole period, starting at 1, twice: any stretch of it is a slice."""
    x, out = 1, np.zeros(65535, np.int64)
    for i in range(65535):
        out[i] = x
        x ^= (x << 7) & 0xFFFF
        x ^= x >> 9
        x ^= (x << 8) & 0xFFFF
    twice = np.concatenate([out, out])
    twice.setflags(write=False)  # its slices become buffers of the simulators
    return twice


@lru_cache(maxsize=1)
def _positions() -> Integers:
    where = np.zeros(65536, np.int64)
    where[_sequence()[:65535]] = np.arange(65535)
    return where


def draw(state: int, count: int) -> Integers:
    """The `count` 16-bit numbers after `state` (1..65535) of the xorshift 7-9-8 generator."""
    sequence, start = _sequence(), int(_positions()[state]) + 1
    if start + count <= len(sequence):
        return sequence[start : start + count]
    found: Integers = sequence[(start + np.arange(count)) % 65535]
    return found


def within(value: Any, lo: int, hi: int, what: str) -> Any:
    """`value`, after checking a proven interval; used by the checking simulator only."""
    least, most = int(np.min(value)), int(np.max(value))
    if least < lo or most > hi:
        raise AssertionError(f"{what}: {least}..{most} outside the proven {lo}..{hi}")
    return value


class _Writer:
    """Writes one section as a Python function."""

    def __init__(self, checked: bool) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self.checked = checked
        self.temporaries = 0
        self.known: dict[Expr, tuple[str, Axes]] = {}
        self.uses: dict[Expr, int] = {}
        self.map: Map

    def constant(self, value: Any) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = value
        return name

    @staticmethod
    def lift(code: str, have: Axes, want: Axes) -> str:
        """Make `code` with the axes `have` broadcast against the axes `want`."""
        order = tuple(v for v in want if v in have)
        if have != order:
            code = f"{code}.transpose({', '.join(str(have.index(v)) for v in order)})"
        missing = want[want.index(order[0]) :] if order else ()
        if order == missing:
            return code
        return f"{code}[{', '.join(':' if v in order else 'None' for v in missing)}]"

    def expr(self, e: Expr, order: Axes) -> tuple[str, Axes]:
        """Code and axes of `e`; nodes used more than once become temporaries."""
        if e in self.known:
            return self.known[e]
        code, axes = self.fresh(e, order)
        if self.checked and not isinstance(e, Const | Var):
            lo, hi = interval(e)
            code = f"within({code}, {lo}, {hi}, {self.map.name!r})"
        if self.uses.get(e, 0) > 1 and not code.isidentifier() and not isinstance(e, Const):
            name = f"t{self.temporaries}"
            self.temporaries += 1
            self.lines.append(f"{name} = {code}")
            code = name
        self.known[e] = code, axes
        return code, axes

    def fresh(self, e: Expr, order: Axes) -> tuple[str, Axes]:
        match e:
            case Const(value):
                return str(value), ()
            case Var(_, extent):
                return self.constant(np.arange(extent, dtype=np.int64)), (e,)
            case Draw():
                shape = tuple(v.extent for v in order)
                size = int(np.prod(shape))
                return f"draw({size}).reshape({shape})", order
            case Load(buffer, index):
                return self.load(buffer, index, order)
            case Op(name, args):
                pairs = [self.expr(a, order) for a in args]
                axes = tuple(v for v in order if any(v in a for _, a in pairs))
                codes = [self.lift(code, have, axes) for code, have in pairs]
                if name == "sel" and not pairs[0][1]:
                    return _SCALAR["sel"].format(*codes), axes
                return (_ARRAY if axes else _SCALAR)[name].format(*codes), axes
            case Reduce():
                return self.reduce(e, order)
        raise TypeError(e)

    def load(self, buffer: Buffer, index: tuple[Expr, ...], order: Axes) -> tuple[str, Axes]:
        if not index:
            return buffer.name, ()
        if all(isinstance(i, Var | Const) for i in index):
            variables = tuple(i for i in index if isinstance(i, Var))
            whole = all(
                isinstance(i, Var) and i.extent == n
                for i, n in zip(index, buffer.shape, strict=True)
            )
            parts = (str(i.value) if isinstance(i, Const) else f":{i.extent}" for i in index
                     if isinstance(i, Var | Const))  # fmt: skip
            code = buffer.name if whole else f"{buffer.name}[{', '.join(parts)}]"
            return (code if variables else f"int({code})"), variables
        pairs = [self.expr(i, order) for i in index]
        axes = tuple(v for v in order if any(v in a for _, a in pairs))
        inside = ", ".join(self.lift(code, have, axes) for code, have in pairs)
        return (f"{buffer.name}[{inside}]" if axes else f"int({buffer.name}[{inside}])"), axes

    def reduce(self, e: Reduce, order: Axes) -> tuple[str, Axes]:
        inner = (*order, e.var)
        code, axes = self.product(e, inner)
        if not code:
            body, have = self.expr(e.body, inner)
            axes = tuple(v for v in have if v != e.var)
            if e.var in have:
                code = f"{body}.{e.op}(axis={have.index(e.var)})"
            else:
                code = f"({body} * {e.var.extent})" if e.op == "sum" else body
        if not axes:
            code = f"int({code})"
        if e.op != "sum" or e.init == Const(0):
            return code, axes
        init, have = self.expr(e.init, order)
        both = tuple(v for v in order if v in axes or v in have)
        return f"({self.lift(code, axes, both)} + {self.lift(init, have, both)})", both

    def product(self, e: Reduce, inner: Axes) -> tuple[str, Axes]:
        """A matrix times a vector, where the body is one; else ("", ())."""
        match e.body:
            case Op("mul", (p, q)) if e.op == "sum" and not draws(e.body):
                if free(q) == {e.var} and len(free(p)) == 2 and e.var in free(p):
                    matrix, have = self.expr(p, inner)
                    vector, _ = self.expr(q, inner)
                    matrix = matrix if have[-1] == e.var else f"{matrix}.T"
                    return f"({matrix} @ {vector})", tuple(v for v in have if v != e.var)
        return "", ()

    def write(self, m: Map) -> None:
        self.map, self.known, self.uses = m, {}, {}
        seen: set[Expr] = set()

        def count(e: Expr) -> None:
            self.uses[e] = self.uses.get(e, 0) + 1
            if e not in seen:
                seen.add(e)
                for child in children(e):
                    count(child)

        count(m.expr)
        start = len(self.lines)
        code, axes = self.expr(m.expr, m.index)
        shape = tuple(v.extent for v in m.index)
        if not axes and shape:
            code = f"full({shape}, {code})"
        elif axes != m.index:
            code = f"broadcast_to({self.lift(code, axes, m.index)}, {shape}).copy()"
        if m.row is None:
            self.lines.append(f"{m.dst.name} = {code}")
        else:
            row, _ = self.expr(m.row, ())
            self.lines += [f"{m.dst.name} = {m.dst.name}.copy()", f"{m.dst.name}[{row}] = {code}"]
        if m.when is not None:
            self.known = {}
            condition, _ = self.expr(m.when, ())
            self.lines[start:] = [f"if {condition}:", *("    " + s for s in self.lines[start:])]

    def function(self, name: str, maps: list[Map]) -> tuple[str, Callable[..., None]]:
        for m in maps:
            self.lines.append(f"# {m.name}: {m.doc}" if m.doc else f"# {m.name}")
            self.write(m)
        written = dict.fromkeys(m.dst for m in maps)
        loaded: dict[Buffer, None] = {}
        for m in maps:
            for root in m.roots():
                loaded.update((n.buffer, None) for n in walk(root) if isinstance(n, Load))
        tables = {b.name: np.array(b.values, np.int64) for b in loaded if b.role == "table"}
        # Conditional Maps leave their buffer as it was, so what is written is fetched first.
        fetched = [b.name for b in dict.fromkeys((*loaded, *written)) if b.role != "table"]
        text = "\n".join([
            f"def {name}(memory, draw):",
            *(f"    {b} = memory.get({b!r})" for b in fetched),
            *(f"    {line}" for line in self.lines),
            *(f"    memory[{b.name!r}] = {b.name}" for b in written),
            "    return",
        ])  # fmt: skip
        space: dict[str, Any] = {
            "minimum": np.minimum, "maximum": np.maximum, "where": np.where, "int64": np.int64,
            "frexp": np.frexp, "full": np.full, "broadcast_to": np.broadcast_to, "within": within,
            **tables, **self.constants,
        }  # fmt: skip
        exec(compile(text, f"<{name}>", "exec"), space)  # our own text, from our own Program
        return text, space[name]


@dataclass(frozen=True)
class Step:
    """What a step leaves to compare: integer loss, predicted class, bytes of the trace."""

    loss: int
    prediction: int
    trace: bytes


class Simulator:
    """Runs a Program. `checked` verifies every proven interval while it runs (slow)."""

    def __init__(self, program: Program, *, checked: bool = False) -> None:
        self.program = program
        self.source: dict[str, str] = {}
        self._run: dict[str, Callable[..., None]] = {}
        for name, maps in program.sections.items():
            self.source[name], self._run[name] = _Writer(checked).function(name, maps)
        self._batched = any(b.name == "first" for b in program.buffers)
        self._drops = any(b.name == "training" for b in program.buffers)
        self._measures = program.sample[1].shape
        self.memory: dict[str, Any] = {}
        self.reset(1)

    def run(self, section: str) -> None:
        """Run one section on `memory`."""
        self._run[section](self.memory, self._draw)

    def _draw(self, count: int) -> Integers:
        numbers = draw(self.memory["prng_state"], count)
        self.memory["prng_state"] = int(numbers[-1])
        return numbers

    def reset(self, seed: int) -> None:
        """Draw new weights from `seed` (0 stands for 1)."""
        self.memory = {"prng_state": seed or 1, "prediction": 0}
        self.run("init")

    def epoch(self) -> None:
        """Draw the next epoch's visiting order."""
        self.run("epoch")

    def pick(self, position: int) -> int:
        """The row that the current order visits at `position`; it may not exist."""
        self.memory["position"] = position
        self.run("pick")
        return int(self.memory["row"])

    def _load(self, x: Integers, target: Integers | int) -> None:
        self.memory["x"] = np.asarray(x, np.int64)
        self.memory["target"] = np.asarray(target, np.int64) if self._measures else int(target)

    def begin(self, x: Integers, target: Integers | int, first: bool, last: bool) -> None:
        """Set what a training step reads; see `step`, which then runs it."""
        self._load(x, target)
        if self._batched:
            self.memory["first"], self.memory["last"] = int(first), int(last)
        if self._drops:
            self.memory["training"] = 1

    def step(self, x: Integers, target: Integers | int, first: bool, last: bool) -> Step:
        """One training step on a sample: x (n,), target a class index or (K,) integers."""
        self.begin(x, target, first, last)
        self.run("forward")
        self.run("measure")
        step = self._result()
        self.run("backward")
        self.run("update")
        return step

    def evaluate(self, x: Integers, target: Integers | int) -> Step:
        """Loss and prediction of a sample; the state does not change."""
        self._load(x, target)
        self.run("forward")
        self.run("measure")
        return self._result()

    def _result(self) -> Step:
        trace = b"".join(pack(b, self.memory[b.name]) for b in self.program.trace)
        return Step(int(self.memory["loss"]), int(self.memory["prediction"]), trace)

    def state(self) -> bytes:
        """The training state as the board keeps it in memory, buffer after buffer."""
        return b"".join(pack(b, self.memory[b.name]) for b in self.program.state)

    def part_of_state(self, begin: int, end: int) -> bytes:
        """The bytes of the state from `begin` until `end`, without making the others."""
        found = b""
        at = 0
        for b in self.program.state:
            first, last = max(begin - at, 0), min(end - at, b.bytes)
            if first < last:
                width = b.bytes // b.size
                skipped = first // width
                values = np.ravel(self.memory[b.name])[skipped : -(-last // width)]
                found += pack(b, values)[first - skipped * width : last - skipped * width]
            at += b.bytes
        return found

    def set_state(self, data: bytes) -> None:
        """Put back what `state` returned."""
        self.memory |= unpack(self.program.state, data)


DTYPES = {
    "uint8_t": "<u1", "int8_t": "<i1", "uint16_t": "<u2", "int16_t": "<i2",
    "uint32_t": "<u4", "int32_t": "<i4",
}  # fmt: skip


def pack(buffer: Buffer, value: Any) -> bytes:
    """The bytes of a buffer in memory, little endian."""
    return np.asarray(value, np.int64).astype(DTYPES[buffer.c_type]).tobytes()


def unpack(buffers: tuple[Buffer, ...], data: bytes) -> dict[str, Any]:
    """The values of buffers that lie one after the other in `data`."""
    found: dict[str, Any] = {}
    at = 0
    for b in buffers:
        raw = np.frombuffer(data, DTYPES[b.c_type], b.size, at).astype(np.int64)
        found[b.name] = raw.reshape(b.shape) if b.shape else int(raw[0])
        at += b.bytes
    if at != len(data):
        raise ValueError(f"{len(data)} bytes of state where {at} are expected")
    return found
