"""The C reading of a Program for the Cortex-M55: innermost loops in four lanes of 32 bits.

Every node of an expression fits 32 bits, so a point of a Map is what one lane computes. A loop
whose expression the vector extension can compute becomes a few lines of assembly in a loop of the
hardware, which leaves out the lanes beyond the last point (DLSTP, LETP). The compiler's intrinsics
are not used: GCC 12 drops stores of zeros. All else is plain C.

Source: Armv8-M Architecture Reference Manual (Arm DDI 0553), M-profile vector extension.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nnhost.emit_c import Function, Scope
from nnhost.ir import (
    INT16,
    INT32,
    Const,
    Expr,
    Load,
    Op,
    Reduce,
    Var,
    children,
    draws,
    free,
    interval,
    skips,
    type_bytes,
)
from nnhost.kernels.rules import row_kernel, sum_kernel

#: Shorter loops are not worth their start.
_LEAST = 4
_LANES = 4
#: Vector registers; those of other kinds that the compiler can spare, and of those the lower ones.
_VECTORS, _SCALARS, _LOW = 8, 9, 4
#: By how much VIDUP can count.
_STEPS = (1, 2, 4, 8)
_TURNS = {"add": "vadd.i32", "sub": "vsub.i32", "mul": "vmul.i32", "and": "vand"}
_LETTER = {1: "b", 2: "h", 4: "w"}


class _UnfitError(Exception):
    """The loop has something that lanes do not compute, or too much of it."""


@dataclass
class _Loop:
    """The assembly of a loop over `var`: what comes before it, its round, and its operands."""

    function: LaneFunction
    var: Var
    #: Whether numbers that are the same in all lanes get a vector before the loop.
    early: bool
    setup: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    #: What a pointer that moves points to -> its name.
    pointers: dict[str, str] = field(default_factory=dict)
    moves: dict[str, list[str]] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    held: dict[Expr, str] = field(default_factory=dict)
    uses: dict[Expr, int] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    idle: list[str] = field(default_factory=lambda: [f"q{i}" for i in range(_VECTORS)][::-1])
    low: int = 0

    # -- registers

    def take(self) -> str:
        """A free vector register."""
        if not self.idle:
            raise _UnfitError
        register = self.idle.pop()
        self.used.add(register)
        return register

    def keep(self, what: str) -> str:
        """A vector register that holds `what` in all rounds: none that has held anything else."""
        fresh = [q for q in self.idle if q not in self.used]
        if not fresh:
            raise _UnfitError
        register = self.kept[what] = fresh[-1]
        self.idle.remove(register)
        self.used.add(register)
        return register

    def drop(self, register: str) -> None:
        """A vector register is free again, unless it is kept for all rounds."""
        if register[0] == "q" and register not in self.kept.values():
            self.idle.append(register)
            self.idle.sort(reverse=True)

    def scalar(self, code: str) -> str:
        """An operand that is the same in all lanes and rounds."""
        if code not in self.inputs:
            self.inputs[code] = f"c{len(self.inputs)}"
        self.room()
        return f"%[{self.inputs[code]}]"

    def room(self) -> None:
        """All operands have a register."""
        if len(self.inputs) + len(self.outputs) > _SCALARS or self.low > _LOW:
            raise _UnfitError

    def pointer(self, code: str, kind: str, *, low: bool, constant: bool = True) -> str:
        """An operand that moves from round to round and points to `kind`, at first to `code`."""
        if code not in self.pointers:
            name = f"p{len(self.pointers)}"
            self.pointers[code] = name
            self.declared.append(f"{'const ' * constant}{kind} *{name} = {code};")
            self.outputs.append(f'[{name}] "+&{"l" if low else "r"}"({name})')
            self.low += low
            self.room()
        return f"%[{self.pointers[code]}]"

    def everywhere(self, code: str, value: int | None = None) -> str:
        """A vector with the same number in all lanes."""
        how = f"vmov.i32 {{}}, #{value}" if value is not None and 0 <= value <= 255 else ""
        if not how:
            how = f"vdup.32 {{}}, {self.scalar(code)}"
        if not self.early:
            register = self.take()
            self.lines.append(how.format(register))
            return register
        if code not in self.kept:
            self.setup.append(how.format(self.keep(code)))
        return self.kept[code]

    def indices(self) -> str:
        """The vector of the loop's index."""
        if "index" not in self.kept:
            self.moves["index"] = [f"vidup.u32 {self.ramp('index')}, %[first], #1"]
        return self.kept["index"]

    def ramp(self, what: str, step: int = 1) -> str:
        """A vector of 0, 1, 2, 3 before the loop, times `step`, to be kept as `what`. %[first] is 4
        at the end, if any step is 1."""
        if '[first] "=&Te"(first)' not in self.outputs:
            self.declared.append("uint32_t first;")
            self.outputs.append('[first] "=&Te"(first)')
            self.room()
        register = self.keep(what)
        at = len(self.setup) if step == 1 else 0
        self.setup[at:at] = ["mov %[first], #0", f"vidup.u32 {register}, %[first], #{step}"]
        return register

    # -- values

    def same(self, e: Expr) -> bool:
        """Whether all lanes have the same value."""
        return self.var not in free(e)

    def code(self, e: Expr) -> str:
        """C of a value that is the same in all lanes, in 32 bits."""
        kind = "uint32_t" if interval(e).hi > INT32.hi else "int32_t"
        if isinstance(e, Const):
            return f"(int32_t){e.value}L" if kind == "int32_t" else f"{e.value}UL"
        if draws(e) or isinstance(e, Reduce):
            raise _UnfitError
        code, have = self.function.value(e)
        return code if have == kind else f"({kind}){code}"

    def number(self, e: Expr) -> str:
        """An operand of a value that is the same in all lanes."""
        return self.scalar(self.code(e))

    def vector(self, e: Expr) -> str:
        """The register of a value, computed once; each use takes one from `uses`."""
        if self.same(e):
            return self.everywhere(self.code(e), e.value if isinstance(e, Const) else None)
        if e not in self.held:
            self.held[e] = self.fresh(e)
        return self.held[e]

    def done(self, e: Expr, register: str) -> None:
        """A use of a value is over."""
        if self.same(e):
            self.drop(register)
            return
        self.uses[e] -= 1
        if self.uses[e] == 0:
            self.drop(register)

    def result(self, *given: tuple[Expr, str]) -> str:
        """A register for what is made of values whose use ends there."""
        for e, register in given:
            self.done(e, register)
        return self.take()

    @staticmethod
    def sign(*values: Expr) -> str:
        """The letter of a comparison's or a shift's type."""
        return "u" if any(interval(v).hi > INT32.hi for v in values) else "s"

    def fresh(self, e: Expr) -> str:
        """Compute a value that differs from lane to lane."""
        match e:
            case Var():
                return self.indices()
            case Load():
                return self.load(e)
            case Reduce():
                return self.sum(e)
            case Op("min" | "max") if (inner := _saturated(e)) is not None:
                register = self.saturated(inner)
                result = self.take()
                self.lines.append(f"vmovlb.s16 {result}, {register}")
                self.drop(register)
                return result
            case Op("min" | "max" as name, (a, b)):
                kind = self.sign(a, b)
                x, y = self.vector(a), self.vector(b)
                result = self.result((a, x), (b, y))
                self.lines.append(f"v{name}.{kind}32 {result}, {x}, {y}")
                return result
            case Op("sel", (c, a, b)):
                x, y = self.vector(a), self.vector(b)
                self.condition(c)
                result = self.result((a, x), (b, y))
                self.lines.append(f"vpsel {result}, {x}, {y}")
                return result
            case Op("lt" | "eq"):
                x, y = self.everywhere("1U", 1), self.everywhere("0U", 0)
                self.compare(e)
                self.drop(x)
                self.drop(y)
                result = self.take()
                self.lines.append(f"vpsel {result}, {x}, {y}")
                return result
            case Op("len", (a,)):
                x = self.vector(a)
                result = self.result((a, x))
                self.lines += [f"vclz.i32 {result}, {x}", f"vneg.s32 {result}, {result}",
                               f"vadd.i32 {result}, {result}, {self.scalar('32U')}"]  # fmt: skip
                return result
            case Op("shl" | "shr" as name, (a, b)):
                return self.shift(name, a, b)
            case Op("and", (a, Const(mask))) if mask == 0xFFFF:
                x = self.vector(a)
                result = self.result((a, x))
                self.lines.append(f"vmovlb.u16 {result}, {x}")
                return result
            case Op("div", (a, b)) if self.same(b):
                return self.quotient(a, b)
            case Op("mul", (a, Const(by))) if by > 0 and by & (by - 1) == 0:
                return self.shift("shl", a, Const(by.bit_length() - 1))
            case Op("add" | "sub" as name, (a, b)):
                return self.sum_of(name, a, b)
            case Op("mul" | "and" as name, (a, b)):
                if self.same(a):
                    a, b = b, a
                x = self.vector(a)
                y = self.number(b) if name == "mul" and self.same(b) else self.vector(b)
                result = self.result((a, x), (b, y))
                self.lines.append(f"{_TURNS[name]} {result}, {x}, {y}")
                return result
        raise _UnfitError

    def quotient(self, a: Expr, b: Expr) -> str:
        """a div b: the core divides, lane by lane."""
        pair = ("one", "other")
        for name in pair:
            if f'[{name}] "=&r"({name})' not in self.outputs:
                self.declared.append(f"uint32_t {name};")
                self.outputs.append(f'[{name}] "=&r"({name})')
        by = self.number(b)
        x = self.vector(a)
        result = self.result((a, x))
        one, other = (f"%[{name}]" for name in pair)
        for lane in (0, 1):
            self.lines += [
                f"vmov {one}, {other}, {x}[{lane + 2}], {x}[{lane}]",
                f"udiv {one}, {one}, {by}",
                f"udiv {other}, {other}, {by}",
                f"vmov {result}[{lane + 2}], {result}[{lane}], {one}, {other}",
            ]
        return result

    def sum_of(self, name: str, a: Expr, b: Expr) -> str:
        """a + b or a - b; products with a number are added to what is not needed again."""
        if name == "add" and self.same(a):
            a, b = b, a
        factors = (b.args if isinstance(b, Op) and b.op == "mul" else ())[::-1]
        if factors and not self.same(a) and self.uses[b] == 1 and b not in self.held:
            number, factor = factors if self.same(factors[0]) else factors[::-1]
            plain = not (isinstance(number, Const) and number.value & (number.value - 1) == 0)
            if self.same(number) and plain:
                x, y = self.vector(a), self.vector(factor)
                code = self.code(number)
                by = self.scalar(code if name == "add" else f"-({code})")
                if self.uses[a] > 1 or x in self.kept.values():
                    copy = self.take()
                    self.lines.append(f"vorr {copy}, {x}, {x}")
                    self.done(a, x)
                    x = copy
                else:
                    self.uses[a] -= 1
                self.done(factor, y)
                self.lines.append(f"vmla.s32 {x}, {y}, {by}")
                return x
        if self.same(a):  # a number less a vector
            y = self.vector(b)
            result = self.result((b, y))
            self.lines.append(f"vneg.s32 {result}, {y}")
            self.lines.append(f"vadd.i32 {result}, {result}, {self.number(a)}")
            return result
        x = self.vector(a)
        y = self.number(b) if self.same(b) else self.vector(b)
        result = self.result((a, x), (b, y))
        self.lines.append(f"{_TURNS[name]} {result}, {x}, {y}")
        return result

    def shift(self, name: str, a: Expr, b: Expr) -> str:
        """a shifted by b; to the right rounded if the half has been added before."""
        kind = self.sign(a)
        if isinstance(b, Const):
            rounds = ""
            once = isinstance(a, Op) and a.op == "add" and self.uses[a] == 1 and a not in self.held
            if once and name == "shr" and children(a)[1] == Const(1 << b.value >> 1):
                rounds, a = "r", children(a)[0]
            x = self.vector(a)
            result = self.result((a, x))
            how = "vshl.i32" if name == "shl" else f"v{rounds}shr.{kind}32"
            self.lines.append(f"{how} {result}, {x}, #{b.value}")
            return result
        x, by = self.vector(a), self.vector(b)
        if name == "shr":
            back = self.take()
            self.lines.append(f"vneg.s32 {back}, {by}")
            self.done(b, by)
            result = self.result((a, x))
            self.drop(back)
            by = back
        else:
            result = self.result((a, x), (b, by))
        self.lines.append(f"vshl.{kind}32 {result}, {x}, {by}")
        return result

    def condition(self, c: Expr) -> None:
        """Compare with zero, or what is to be compared, for what is chosen next."""
        if not isinstance(c, Op) or c.op not in ("lt", "eq") or self.same(c) or self.uses[c] > 1:
            x = self.vector(c)
            self.lines.append(f"vcmp.i32 ne, {x}, zr")
            self.done(c, x)
            return
        self.compare(c)

    def compare(self, c: Op) -> None:
        """Whether one value is less than another, or the same."""
        a, b = c.args
        if c.op == "eq":
            a, b = (b, a) if self.same(a) else (a, b)
            x = self.vector(a)
            y = self.number(b) if self.same(b) else self.vector(b)
            self.lines.append(f"vcmp.i32 eq, {x}, {y}")
        elif self.sign(a, b) == "u":
            x, y = self.vector(a), self.vector(b)
            self.lines.append(f"vcmp.u32 hi, {y}, {x}")
        elif self.same(a):
            x, y = self.number(a), self.vector(b)
            self.lines.append(f"vcmp.s32 gt, {y}, {x}")
        else:
            x = self.vector(a)
            y = self.number(b) if self.same(b) else self.vector(b)
            self.lines.append(f"vcmp.s32 lt, {x}, {y}")
        self.done(a, x)
        self.done(b, y)

    def saturated(self, inner: Expr) -> str:
        """A value clamped to 16 bits, in the lower halves of the lanes."""
        x = self.vector(inner)
        if self.uses[inner] > 1 or x in self.kept.values():
            copy = self.take()
            self.lines.append(f"vorr {copy}, {x}, {x}")
            self.done(inner, x)
            x = copy
        else:
            self.uses[inner] -= 1
        self.lines.append(f"vqmovnb.s32 {x}, {x}")
        return x

    # -- memory

    def load(self, e: Load) -> str:
        """Elements that follow each other, that lie apart, or that an index picks."""
        kind = e.buffer.c_type
        size = type_bytes(kind)
        form = _loading(kind)
        if e.index[-1] == self.var and all(self.same(i) for i in e.index[:-1]):
            at = f"&{self.function.element(e.buffer, (*e.index[:-1], Const(0)))}"
            return self.contiguous(at, kind, e == self.function.map.place)
        *outer, picked = e.index
        if outer and not all(self.same(i) for i in e.index if i != self.var):
            raise _UnfitError
        if outer:  # a column
            stride = e.buffer.size // e.buffer.shape[0]
            if e.index[0] != self.var or len(e.index) != 2:
                raise _UnfitError
            at = f"&{self.function.element(e.buffer, (Const(0), picked))}"
            if stride * size * _LANES > 4095:
                raise _UnfitError
            known = f"every {stride * size}"
            if known not in self.kept:
                step = stride * size
                index = self.ramp(known, step if step in _STEPS else 1)
                if step not in _STEPS:
                    self.setup.append(f"vmul.i32 {index}, {index}, {self.scalar(f'{step}U')}")
            base = self.pointer(at, kind, low=False)
            self.moves[base] = [f"add {base}, {base}, #{stride * size * _LANES}"]
            result = self.take()
            self.lines.append(f"{form} {result}, [{base}, {self.kept[known]}]")
            return result
        x = self.vector(picked)
        result = self.take()  # another than x
        self.done(picked, x)
        shift = f", uxtw #{size // 2}" if size > 1 else ""
        base = self.scalar(f"&{self.function.element(e.buffer, (Const(0),))}")
        self.lines.append(f"{form} {result}, [{base}, {x}{shift}]")
        return result

    def contiguous(self, at: str, kind: str, written: bool) -> str:
        """Elements that follow each other. The store moves the pointer of what is `written`."""
        size = type_bytes(kind)
        base = self.pointer(at, kind, low=size < 4, constant=not written)
        form = _loading(kind)
        result = self.take()
        self.lines.append(f"{form} {result}, [{base}]" + ("" if written else f", #{size * _LANES}"))
        return result

    def sum(self, e: Reduce) -> str:
        """A sum that a kernel has computed with all others."""
        function = self.function
        kernel = sum_kernel(function.rules, e, function.space, function.map)
        if kernel is None or not kernel[0].outer or function.sums:
            raise _UnfitError
        if kernel[1].indices[kernel[0].outer] != self.var or e.op != "sum":
            raise _UnfitError
        function.all_sums(*kernel)
        if e.init == Const(0):
            return self.contiguous("nn_sums", "int32_t", written=False)
        start = self.number(e.init) if self.same(e.init) else self.vector(e.init)
        sums = self.contiguous("nn_sums", "int32_t", written=False)
        self.done(e.init, start)
        self.drop(sums)
        result = self.take()
        self.lines.append(f"vadd.i32 {result}, {sums}, {start}")
        return result

    # -- the whole

    def count(self, *roots: Expr) -> None:
        """How often each value is used."""
        todo: list[Expr] = list(roots)
        while todo:
            e = todo.pop()
            self.uses[e] = self.uses.get(e, 0) + 1
            if self.uses[e] > 1 or self.same(e):
                continue
            inner = _saturated(e)
            if inner is not None:
                todo.append(inner)
            elif isinstance(e, Reduce):
                todo.append(e.init)
            elif isinstance(e, Load) and len(e.index) > 1:
                continue
            else:
                todo += [c for c in children(e) if c != self.var or not isinstance(e, Load)]

    def text(self) -> list[str]:
        """The statement."""
        self.room()
        start = [f"mov lr, #{self.var.extent}", "dlstp.32 lr, lr", "1:"]
        if len(self.inputs) + len(self.outputs) < _SCALARS:  # the compiler may have the number
            start = [f"dlstp.32 lr, {self.scalar(f'{self.var.extent}U')}", "1:"]
        last = [line for lines in self.moves.values() for line in lines]
        inputs = ", ".join(f'[{name}] "r"({code})' for code, name in self.inputs.items())
        clobbers = ", ".join(f'"{r}"' for r in ("lr", "cc", "memory", *sorted(self.used)))
        body = [*self.setup, *start, *self.lines, *last, "letp lr, 1b"]
        return [
            "{",
            *(f"    {line}" for line in self.declared),
            "    __asm volatile(",
            *(f'        "{line}\\n"' for line in body),
            f"        : {', '.join(self.outputs)}",
            f"        : {inputs}",
            f"        : {clobbers});",
            "}",
        ]


def _loading(kind: str) -> str:
    """The instruction that loads elements of a C type into lanes."""
    size = type_bytes(kind)
    return f"vldr{_LETTER[size]}.{'u' if kind[0] == 'u' or size == 4 else 's'}32"


def _saturated(e: Expr) -> Expr | None:
    """x where `e` is x clamped to 16 bits with a sign, and x has one of 32."""
    match e:
        case Op("min", (Op("max", (x, Const(INT16.lo))), Const(INT16.hi))):
            pass
        case Op("min", (x, Const(INT16.hi))) if interval(x).lo >= INT16.lo:
            pass
        case Op("max", (x, Const(INT16.lo))) if interval(x).hi <= INT16.hi:
            pass
        case _:
            return None
    return x if interval(x).hi <= INT32.hi else None


class LaneFunction(Function):
    """Writes the body of one Map."""

    def body(self) -> list[str]:
        """See `Function.body`."""
        m = self.map
        lanes = bool(m.index) and m.index[-1].extent >= _LEAST and not draws(m.expr)
        if lanes and self.then is None and row_kernel(self.rules, m, self.space) is None:
            for early in (True, False):
                trial = LaneFunction(m, self.rules, self.space)
                try:
                    lines = trial.in_lanes(early)
                except _UnfitError:
                    continue
                self.sums, self.room, self.measures = trial.sums, trial.room, trial.measures
                return lines
        return super().body()

    def in_lanes(self, early: bool) -> list[str]:
        """The whole Map, its innermost loop in lanes."""
        m = self.map
        *outer, var = m.index
        for v in outer:
            self.scopes.append(Scope(v))
        for zero, rest in skips(m).items():
            if rest is None and free(zero) <= set(outer):
                self.skip_point(zero, rest)
        work = _Loop(self, var, early)
        if work.same(m.expr):  # a loop of stores is the compiler's
            raise _UnfitError
        inner = _saturated(m.expr)
        work.count(m.expr if inner is None else inner)
        kind = m.dst.c_type
        size = type_bytes(kind)
        register = work.vector(m.expr) if inner is None else work.saturated(inner)
        at = f"&{self.element(m.dst, (*m.place.index[:-1], Const(0)))}"
        base = work.pointer(at, kind, low=size < 4, constant=False)
        work.lines.append(f"vstr{_LETTER[size]}.32 {register}, [{base}], #{size * _LANES}")
        self.scopes[-1].lines += work.text()
        return self.closed()

    def reduce(self, e: Reduce, kind: str) -> str:
        """See `Function.reduce`."""
        for early in (True, False) if e.var.extent >= _LEAST else ():
            depth = self.depth(e)
            hidden = self.scopes[depth + 1 :]
            del self.scopes[depth + 1 :]
            scope = self.scopes[depth]
            known, names, count = len(scope.lines), dict(scope.names), self.count
            try:
                return self.reduced(e, kind, early, scope)
            except _UnfitError:
                del scope.lines[known:]
                scope.names, self.count = names, count
            finally:
                self.scopes += hidden
        return super().reduce(e, kind)

    def reduced(self, e: Reduce, kind: str, early: bool, scope: Scope) -> str:
        """A sum, largest or smallest of all lanes."""
        work = _Loop(self, e.var, early)
        work.count(e.body)
        wide = "uint32_t" if kind[0] == "u" else "int32_t"
        total = f"{e.op}{self.count}"
        self.count += 1
        start = self.operand(e.init, wide, e)
        work.outputs.append(f'[total] "+&Te"({total})')
        register = work.vector(e.body)
        how = "vaddva" if e.op == "sum" else f"v{e.op}v"
        work.lines.append(f"{how}.{wide[0] if wide[0] == 'u' else 's'}32 %[total], {register}")
        lo, hi = interval(e)
        scope.lines.append(f"{wide} {total} = {start}; /* {lo}..{hi} */")
        scope.lines += work.text()
        if wide != kind:
            narrow = f"t{self.count}"
            self.count += 1
            scope.lines.append(f"const {kind} {narrow} = ({kind}){total};")
            total = narrow
        scope.names[e] = total
        return total
