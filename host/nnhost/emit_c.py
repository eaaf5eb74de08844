"""The C reading of a Program: what the chip runs.

Every Map becomes a function of plain loops. Every node is computed in the narrowest type that holds
its operands and its result, with a cast wherever C would choose another: `int` has 16 bits on the
8051 and 32 elsewhere, and the result must not depend on it. Comments carry the proven intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nnhost.ir import (
    Buffer,
    Const,
    Draw,
    Expr,
    Interval,
    Load,
    Map,
    Op,
    Program,
    Reduce,
    Var,
    c_type,
    children,
    draws,
    free,
    interval,
    skips,
    substitute,
    type_bytes,
    walk,
)
from nnhost.kernels.rules import (
    ALIGNED,
    Found,
    Hole,
    LoopRule,
    Rule,
    Rules,
    Space,
    match,
    row_kernel,
    sum_kernel,
    together,
)

_SYMBOLS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "shl": "<<", "shr": ">>",
    "lt": "<", "eq": "==", "min": "<", "max": ">",
}  # fmt: skip
_INDENT = "    "
#: The function that computes `len`.
LENGTH = [
    "/* Binary digits of x. */",
    "static uint8_t nn_length(uint32_t x) {",
    "    uint8_t digits = 0U;",
    "    while (x > 255U) {",
    "        x >>= 8;",
    "        digits += 8U;",
    "    }",
    "    while (x > 0U) {",
    "        x >>= 1;",
    "        digits++;",
    "    }",
    "    return digits;",
    "}",
    "",
]
#: A longer sub-expression becomes a named constant, so that lines stay readable.
_LONGEST = 56


def c_name(buffer: Buffer) -> str:
    """The buffer's name in C."""
    return f"nn_{buffer.name}"


def literal(value: int, kind: str) -> str:
    """An integer constant for an operation in C type `kind`.

    What fits 16 bits needs no type of its own: the other operand's type decides.
    """
    if kind[0] == "u":
        return f"{value}U" if value <= 0xFFFF else f"(uint32_t){value}UL"
    if value in (-(2**15), -(2**31)):  # the magnitude has no literal of the type
        return "(-32767 - 1)" if value > -40000 else "(-2147483647L - 1)"
    return str(value) if abs(value) <= 0x7FFF else f"(int32_t){value}L"


@dataclass
class Scope:
    """The body of one loop (or of the function): its lines and the values named in it."""

    var: Var | None
    lines: list[str] = field(default_factory=list)
    names: dict[Expr, str] = field(default_factory=dict)


class Function:
    """Writes the body of one Map, as boards run it."""

    def __init__(
        self, m: Map, rules: Rules = (), space: Space | None = None, then: Map | None = None
    ) -> None:
        self.map = m
        self.then = then
        self.sums = 0
        self.room = 0
        self.measures = False
        self.rules = rules
        self.space = space
        self.count = 0
        self.scopes: list[Scope] = [Scope(None)]
        self.uses: dict[Expr, int] = {}
        seen: set[Expr] = set()

        def visit(e: Expr) -> None:
            self.uses[e] = self.uses.get(e, 0) + 1
            if e not in seen:
                seen.add(e)
                for child in children(e):
                    visit(child)

        visit(m.expr)

    # -- where a value lives

    def depth(self, e: Expr) -> int:
        """The outermost scope in which `e` is known: the loop of its innermost index."""
        if draws(e):
            return len(self.map.index)
        variables = free(e)
        return max((i for i, s in enumerate(self.scopes) if s.var in variables), default=0)

    def named(self, e: Expr) -> str | None:
        """The name of a value that has one."""
        return next((s.names[e] for s in reversed(self.scopes) if e in s.names), None)

    def name(self, e: Expr, code: str, kind: str) -> str:
        """Name a value in the outermost scope that knows it."""
        name = self.constant(e, code, kind)
        self.scopes[self.depth(e)].names[e] = name
        return name

    def constant(self, e: Expr, code: str, kind: str) -> str:
        """A constant of C type `kind` for a value, where `e` is known; its name."""
        name = f"t{self.count}"
        self.count += 1
        lo, hi = interval(e)
        line = f"const {kind} {name} = {_bare(code)}; /* {lo}..{hi} */"
        self.scopes[self.depth(e)].lines.append(line)
        return name

    # -- expressions

    def value(self, e: Expr) -> tuple[str, str]:
        """Code of `e` and the C type of that code."""
        if (name := self.named(e)) is not None:
            return name, self.kind(e)
        code = self.fresh(e)
        again = self.uses.get(e, 0) > 1 and not isinstance(e, Const | Var)
        if (again or len(code) > _LONGEST) and not code.isidentifier():
            code = self.name(e, code, self.kind(e))
        return code, self.kind(e)

    @staticmethod
    def kind(e: Expr) -> str:
        """The C type of a value."""
        match e:
            case Load(buffer, _):
                return buffer.c_type
            case Var(_, extent):
                return c_type(Interval(0, extent))
        return c_type(interval(e))

    def operand(self, e: Expr, kind: str, inside: Expr, *, plain: bool = False) -> str:
        """`e` converted to C type `kind`; named first if it can move out of the loop of `inside`
        or if it must be a plain name because it is written twice."""
        if isinstance(e, Const):
            return literal(e.value, kind)
        code, have = self.value(e)
        movable = isinstance(e, Op | Load) and self.depth(e) < self.depth(inside)
        if not code.isidentifier() and (plain or movable):
            code = self.name(e, code, have)
        return code if have == kind else f"({kind}){code}"

    def condition(self, e: Expr, inside: Expr) -> str:
        """`e` where C expects a condition."""
        match e:
            case Op("lt" | "eq" as name, (a, b)):
                kind = c_type(interval(a), interval(b))
                x, y = self.operand(a, kind, inside), self.operand(b, kind, inside)
                return f"{x} {_SYMBOLS[name]} {y}"
        return f"{self.operand(e, self.kind(e), inside)} != 0U"

    def fresh(self, e: Expr) -> str:
        """Code of a value that has no name."""
        result = c_type(interval(e))
        if (code := self.kernel(e, result)) is not None:
            return code
        match e:
            case Const(value):
                return literal(value, result)
            case Var():
                return self.counter(e)
            case Draw():
                return "nn_prng_next()"
            case Load(buffer, index):
                return self.element(buffer, index)
            case Op("sel", (c, a, b)):
                x, y = self.operand(a, result, e), self.operand(b, result, e)
                return _converted(f"(({self.condition(c, e)}) ? {x} : {y})", result, result)
            case Op("min" | "max" as name, (a, b)):
                kind = c_type(interval(a), interval(b))
                x = self.operand(a, kind, e, plain=True)
                y = self.operand(b, kind, e, plain=True)
                return _converted(f"(({x} {_SYMBOLS[name]} {y}) ? {x} : {y})", kind, result)
            case Op("len", (a,)):
                self.measures = True
                return f"nn_length({self.operand(a, 'uint32_t', e)})"
            case Op("lt" | "eq"):
                return f"(({self.condition(e, e)}) ? 1U : 0U)"
            case Op("mul" | "shl" as name, (a, Const(by))) if rest := self.far(name, by, e):
                kind = c_type(interval(a), interval(e))
                inner = a * 256
                code = _converted(f"({self.operand(a, kind, e)} * 256)", kind, kind)
                first = self.name(inner, code, kind)
                return _converted(f"({first} * {literal(rest, kind)})", kind, result)
            case Op("shl" | "shr" as name, (a, b)):
                kind = c_type(interval(a), interval(e)) if name == "shl" else self.kind(a)
                x, n = self.operand(a, kind, e), self.operand(b, "uint8_t", e)
                if name == "shl" and isinstance(a, Const) and type_bytes(kind) == 4:
                    x = f"({kind}){x}"  # no other operand gives it the type
                if name == "shr" and self.two_of_four(kind, b, result):
                    return f"({result}){self.constant(e, f'{x} >> {n}', kind)}"
                return _converted(f"({x} {_SYMBOLS[name]} {n})", kind, result)
            case Op("mul", (a, b)) if self.byte_product(a, b):
                # Both factors fit a byte: the one product that the 8051 has an instruction for.
                wide = "(uint16_t)" if interval(e).hi > 32767 else ""
                x, y = (
                    self.operand(q, "uint8_t" if wide else "int8_t", e)
                    if isinstance(q, Const)
                    else self.operand(q, self.kind(q), e)
                    for q in (a, b)
                )
                return f"({result})({wide}{x} * {y})"
            case Op(name, (a, b)):
                kind = c_type(interval(e), interval(a), interval(b))
                x, y = self.operand(a, kind, e), self.operand(b, kind, e)
                return _converted(f"({x} {_SYMBOLS[name]} {y})", kind, result)
            case Reduce():
                kernel = sum_kernel(self.rules, e, self.space, self.map)
                if kernel is None or (kernel[0].outer and self.sums):
                    return self.reduce(e, result)
                given = kernel[0].result
                start = self.operand(e.init, given, e)
                call = self.all_sums(*kernel) if kernel[0].outer else self.loop_call(*kernel, e)
                code = call if e.op != "sum" or e.init == Const(0) else f"({start} + {call})"
                return _converted(code, given, result)
        raise TypeError(e)

    @staticmethod
    def far(name: str, by: int, e: Expr) -> int:
        """What is left to multiply by after 256 where 32 bits are shifted left by 9 to 15; else 0.
        SDCC 4.2 may lose the upper byte of the sign if it shifts so far in one."""
        factor = 1 << by if name == "shl" else by
        wide = type_bytes(c_type(interval(e))) == 4
        return factor >> 8 if wide and factor in (1 << bits for bits in range(9, 16)) else 0

    @staticmethod
    def two_of_four(kind: str, by: Expr, result: str) -> bool:
        """Whether a shift takes two of four bytes. SDCC 4.2 copies them one after the other, into
        registers of which one may still hold the second: a shift of four bytes first is safe."""
        return type_bytes(kind) == 4 and type_bytes(result) == 2 and by in (Const(8), Const(16))

    def kernel(self, e: Expr, result: str) -> str | None:
        """A call of the kernel whose rule matches `e`, if there is one."""
        if not isinstance(e, Op) or (e.op == "mul" and self.byte_product(*e.args)):
            return None
        if e.op == "mul" and e.args[1] == Const(2):
            return None
        for rule in self.rules:
            if isinstance(rule, Rule) and match(rule.pattern, e, found := Found()):
                given = (self.operand(found.scalars[h], h.c_type, e) for h in rule.holes)
                return _converted(f"{rule.kernel}({', '.join(given)})", rule.result, result)
        return None

    def all_sums(self, rule: LoopRule, found: Found) -> str:
        """The sum of the current round, all of them computed before the loop."""
        assert rule.outer is not None
        var = found.indices[rule.outer]
        assert isinstance(var, Var)
        self.sums = var.extent
        call = self.loop_call(rule, found, self.map.expr)
        self.scopes[0].lines.append(f"{call.replace('(', '(nn_sums, ', 1)};")
        return f"nn_sums[{self.counter(var)}]"

    def loop_call(self, rule: LoopRule, found: Found, inside: Expr) -> str:
        """A call of a kernel that runs a whole loop, or two."""
        loops = [v for v in (found.indices[loop] for loop in rule.loops) if isinstance(v, Var)]
        var = loops[-1]
        given = [text for hole in rule.holes for text in self.argument(hole, found, loops, inside)]
        if rule.room:
            elements = var.extent if rule.room == 1 else -(-var.extent // 8) * 8
            self.room = max(self.room, rule.room * elements)
            given.insert(0, "nn_room")
        given += [f"{v.extent}U" for v in loops]
        if rule.strided is not None:
            matrix = found.arrays[rule.strided]
            step = type_bytes(matrix.buffer.c_type)
            if matrix.index[-1] != var:
                step *= matrix.buffer.shape[-1]
            given.append(f"{step}U")
        given += [f"{number}U" for number in rule.numbers]
        return f"{rule.kernel}({', '.join(given)})"

    def argument(self, hole: Hole, found: Found, loops: list[Var], inside: Expr) -> list[str]:
        """A scalar's value, a table, or the address of an array's element where the loops start,
        and what the kernel must know of its type."""
        if not hole.shape:
            return [self.operand(found.scalars[hole], hole.c_type, inside)]
        matrix = found.arrays[hole]
        if matrix.buffer.role == "table":
            return [c_name(matrix.buffer)]
        at = tuple(Const(0) if i in loops else i for i in matrix.index)
        if hole.space == ALIGNED and matrix.index[0] in loops and len(at) > 1:
            # Not a row's address: C lets no pointer leave the row.
            code = f"({matrix.buffer.c_type} *){c_name(matrix.buffer)}"
            if isinstance(at[-1], Const) and at[-1].value:
                code = f"&({code})[{at[-1].value}]"
        elif matrix.index[-1] in loops:
            code = self.element(matrix.buffer, at[:-1])
        else:
            code = f"&{self.element(matrix.buffer, at)}"
        if not hole.types:
            return [code]
        return [code, f"NN_{matrix.buffer.c_type.removesuffix('_t').upper()}"]

    def byte_product(self, a: Expr, b: Expr) -> bool:
        """Whether both factors fit a byte."""
        return all(type_bytes(self.kind(q)) == 1 for q in (a, b))

    def element(self, buffer: Buffer, index: tuple[Expr, ...]) -> str:
        """``nn_b[i][j]``."""
        return c_name(buffer) + "".join(f"[{i}]" for i in self.indices(index))

    @staticmethod
    def counter(var: Var) -> str:
        """The counter of a loop; there is none for one round."""
        return var.name if var.extent > 1 else "0U"

    def indices(self, index: tuple[Expr, ...]) -> list[str]:
        """Code of each index."""
        return [str(i.value) if isinstance(i, Const) else self.value(i)[0] for i in index]

    def assignment(self, value: str) -> str:
        """The statement that gives the Map's element its value."""
        return f"{self.element(self.map.dst, self.map.place.index)} = {value};"

    def reduce(self, e: Reduce, kind: str) -> str:
        """A loop beside the current scope's statements; its accumulator is the value."""
        depth = self.depth(e)
        hidden = self.scopes[depth + 1 :]
        del self.scopes[depth + 1 :]
        outer = self.scopes[depth]
        total = f"sum{self.count}" if e.op == "sum" else f"{e.op}{self.count}"
        self.count += 1
        start = self.operand(e.init, kind, e)
        lo, hi = interval(e)
        inner = Scope(e.var)
        self.scopes.append(inner)
        if e.op == "sum":
            if e.var.extent > 1:
                self.skip_zeros(e.body)
            added = f"({total} + {self.operand(e.body, kind, e.body)})"
            inner.lines.append(f"{total} = {_bare(_converted(added, kind, kind))};")
        else:
            body = self.operand(e.body, kind, e.body, plain=True)
            inner.lines += [
                f"if ({body} {_SYMBOLS[e.op]} {total}) {{", f"{_INDENT}{total} = {body};", "}"
            ]  # fmt: skip
        self.scopes.pop()
        outer.lines.append(f"{kind} {total} = {_bare(start)}; /* {lo}..{hi} */")
        outer.lines += loop(e.var, inner.lines)
        outer.names[e] = total
        self.scopes += hidden
        return total

    def skip_zeros(self, body: Expr) -> None:
        """Pass over terms that a zero byte makes zero: proven by putting 0 in its place."""
        for n in walk(body):
            if not isinstance(n, Load) or n.buffer.role == "table" or type_bytes(self.kind(n)) > 1:
                continue
            if substitute(body, n, Const(0)) == Const(0):
                code, kind = self.value(n)
                code = code if code.isidentifier() else self.name(n, code, kind)
                depth = self.depth(n)
                if depth == len(self.scopes) - 1:
                    self.scopes[depth].lines += [f"if ({code} == 0) {{", f"{_INDENT}continue;", "}"]
                return

    # -- the whole Map

    def body(self) -> list[str]:
        """The lines of the function."""
        m = self.map
        row = row_kernel(self.rules, m, self.space, self.then)
        loops = m.index if row is None else m.index[: -len(row[0].loops)]
        for var in loops:
            self.scopes.append(Scope(var))
        for zero, rest in skips(m).items():
            if row is None or (rest is None and free(zero) <= set(loops)):
                self.skip_point(zero, rest)
        if row is None:
            value = self.operand(m.expr, m.dst.c_type, m.expr)
            self.scopes[-1].lines.append(self.assignment(_bare(value)))
        else:
            self.scopes[-1].lines.append(f"{self.loop_call(*row, m.expr)};")
        return self.closed()

    def closed(self) -> list[str]:
        """The lines of the function, all loops around their bodies."""
        while len(self.scopes) > 1:
            scope = self.scopes.pop()
            assert scope.var is not None
            self.scopes[-1].lines += loop(scope.var, scope.lines)
        return self.scopes[0].lines

    def skip_point(self, zero: Load, rest: Expr | None) -> None:
        """Leave the rest of a row or point out where a zero proves that nothing changes."""
        depth = self.depth(zero)
        innermost = depth == len(self.scopes) - 1
        if rest is not None and not innermost:
            return
        scope = self.scopes[depth]
        if any(line.startswith("if (") for line in scope.lines):
            return
        code, kind = self.value(zero)
        code = code if code.isidentifier() else self.name(zero, code, kind)
        lines = [f"if ({code} == 0) {{"]
        if rest is not None:
            put = self.operand(rest, self.map.dst.c_type, rest)
            lines.append(f"{_INDENT}{self.assignment(put)}")
        looping = any(s.var and s.var.extent > 1 for s in self.scopes[: depth + 1])
        lines += [f"{_INDENT}{'continue' if looping else 'return'};", "}"]
        scope.lines += lines


def _converted(code: str, computed: str, kind: str) -> str:
    """`code`, an operation on values of type `computed`, as a value of type `kind`.

    C computes narrow types in int, so only a 32-bit operation already has its own type.
    """
    done = computed == kind and (type_bytes(kind) == 4 or code.startswith("nn_kernel_"))
    return code if done else f"({kind}){code}"


def _bare(code: str) -> str:
    """`code` without parentheses around the whole of it."""
    depth = 0
    for at, letter in enumerate(code):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return code[1:-1] if code[0] == "(" and at == len(code) - 1 else code
    return code


def loop(var: Var, lines: list[str]) -> list[str]:
    """The C loop over an index; one round needs none."""
    if var.extent == 1:
        return lines
    kind = c_type(Interval(0, var.extent))
    n = var.name
    return [
        f"for ({kind} {n} = 0U; {n} < {var.extent}U; {n}++) {{",
        *(_INDENT + s for s in lines),
        "}",
    ]


def map_function(group: tuple[Map, ...], function: Function, stacked: bool) -> list[str]:
    """The C function of Maps that run together, with their meaning in comments; `stacked`: see
    `MemoryPlan`."""
    return [
        *(f"/* {c_name(m.dst)}: {m.doc} */" for m in group if m.doc),
        f"static void nn_map_{group[0].name}(void){' NN_STACKED' if stacked else ''} {{",
        *(_INDENT + s for s in function.body()),
        "}",
        "",
    ]


def section_function(name: str, steps: list[tuple[Map, list[str]]], guard: str = "") -> list[str]:
    """``nn_<section>``: the calls for its Maps in order, those with a condition inside an if, and
    each inside another if there is a `guard`."""
    lines = [f"void nn_{name}(void) {{"]
    for m, names in steps:
        calls = [f"{_INDENT}{function}();" for function in names]
        if m.when is not None and calls:
            condition = Function(Map(m.name, m.dst, (), m.when)).condition(m.when, m.when)
            calls = _inside(condition, calls)
        lines += _inside(guard, calls) if guard and calls else calls
    return [*lines, "}", ""]


def _inside(condition: str, lines: list[str]) -> list[str]:
    """Statements of a function's body inside an if."""
    return [f"{_INDENT}if ({condition}) {{", *(_INDENT + line for line in lines), f"{_INDENT}}}"]


def declaration(b: Buffer, space: str) -> str:
    """A buffer in its memory space, without initial value."""
    dims = "".join(f"[{n}]" for n in b.shape)
    prefix = f"{space} " if space else ""
    return f"{prefix}{b.c_type} {c_name(b)}{dims}"


def table_definition(b: Buffer, shared: str = "static ") -> list[str]:
    """A constant table, eight to sixteen entries a line."""
    width = 16 if type_bytes(b.c_type) == 1 else 10
    about = [f"/* {b.doc} */"] if b.doc else []
    values = [literal(v, b.c_type) for v in b.values]
    rows = [", ".join(values[i : i + width]) + "," for i in range(0, len(values), width)]
    head = f"{shared}NN_CODE const {b.c_type} {c_name(b)}[{b.size}] = {{"
    return [*about, head, *(_INDENT + r for r in rows), "};", ""]


def sections(
    program: Program,
    rules: Rules,
    space: Space,
    stacked: frozenset[str] = frozenset(),
    writer: type[Function] = Function,
    done: Mapping[str, list[str]] | None = None,
    guards: Mapping[str, str] | None = None,
) -> list[str]:
    """All Maps and section functions of a Program, with the kernels of a target's rules for
    buffers that live in `space`; the locals of the Maps in `stacked` live on the stack. `done`:
    the functions that are called for a Map in place of its own. `guards`: a condition for each call
    of a section."""
    lines: list[str] = []
    sums, room, measures = 0, 0, False
    for name, maps in program.sections.items():
        steps = []
        for group in together(maps, rules, space):
            first = group[0]
            own = f"nn_map_{first.name}"
            calls = (done or {}).get(first.name, [own])
            if own in calls:
                function = writer(first, rules, space, *group[1:])
                lines += map_function(group, function, first.name in stacked)
                sums, room = max(sums, function.sums), max(room, function.room)
                measures |= function.measures
            steps.append((first, calls))
        lines += section_function(name, steps, (guards or {}).get(name, ""))
    for size, about, declared in (
        (sums, "all sums of a layer, which kernels compute at once", "int32_t nn_sums"),
        (room, "where kernels lay out the inputs of a layer", "NN_ALIGNED int16_t nn_room"),
    ):
        if size:
            lines = [f"static {declared}[{size}]; /* {about} */", "", *lines]
    return [*LENGTH, *lines] if measures else lines
