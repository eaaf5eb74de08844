"""The C reading of a Program for the native engine: the same statements, arranged for SIMD.

A board saves instructions by passing over zeros; this computer computes sixteen points at once if
nothing branches. So only whole rows are passed over, sums are taken for all points of a Map before
anything is done with them, matrices are read in the order they lie in memory, random numbers come
from a table of the generator's whole period, and quotients from the floating-point unit, exactly.
"""

from __future__ import annotations

from nnhost.emit_c import Function, Scope, loop
from nnhost.ir import (
    Draw,
    Expr,
    Load,
    Op,
    Reduce,
    c_type,
    draws,
    free,
    interval,
    walk,
)

#: The generator's period: a Map with more draws takes them one by one.
_PERIOD = 65535


class NativeFunction(Function):
    """Writes the body of one Map."""

    def body(self) -> list[str]:
        """See `Function.body`; a Map that draws takes all of its numbers first."""
        lines = super().body()
        if draws(self.map.expr) and self.map.dst.size <= _PERIOD:
            taken = f"const uint16_t *const drawn = nn_prng_take({self.map.dst.size}U);"
            return [taken, *lines]
        return lines

    def fresh(self, e: Expr) -> str:
        """See `Function.fresh`."""
        match e:
            case Draw() if self.map.dst.size <= _PERIOD:
                at = "0U"
                for var in self.map.index:
                    at = f"({at} * {var.extent}U + {self.counter(var)})"
                return f"drawn[{at}]"
            case Op("div", (a, b)):
                # A double's 53 bits hold both operands, and their quotient comes no nearer to the
                # next integer than 2^-32: it cannot be rounded up to it.
                x, y = (self.operand(q, c_type(interval(q)), e) for q in (a, b))
                return f"({c_type(interval(e))})((double){x} / (double){y})"
            case Op("len", (a,)):
                x = self.operand(a, "uint32_t", e, plain=True)
                return f"(({x} == 0U) ? 0U : (uint8_t)(32 - __builtin_clz({x})))"
            case Reduce("sum", _, _, _) if self._for_all_points(e):
                return self._sums(e)
        return super().fresh(e)

    def _for_all_points(self, e: Reduce) -> bool:
        """Whether a sum differs from point to point of the Map's innermost loop."""
        index = self.map.index
        return bool(index) and self.scopes[-1].var == index[-1] and index[-1] in free(e)

    def _sums(self, e: Reduce) -> str:
        """A sum at every point of the innermost loop, taken before that loop."""
        point = self.scopes.pop()
        var = point.var
        assert var is not None
        outer = self.scopes[-1]
        name, kind = f"sums{self.count}", c_type(interval(e))
        self.count += 1
        outer.lines.append(f"{kind} {name}[{var.extent}];")
        starts = Scope(var)
        self.scopes.append(starts)
        columns = any(
            isinstance(n, Load) and len(n.index) > 1 and n.index[-1] == var and e.var in n.index
            for n in walk(e.body)
        )
        if columns:
            starts.lines.append(f"{name}[{self.counter(var)}] = {self.operand(e.init, kind, e)};")
            self.scopes.pop()
            outer.lines += loop(var, starts.lines)
            across, along = Scope(e.var), Scope(var)
            self.scopes += [across, along]
            added = self.operand(e.body, kind, e.body)
            along.lines.append(f"{name}[{self.counter(var)}] += {added};")
            across.lines += loop(var, along.lines)
            outer.lines += loop(e.var, across.lines)
            self.scopes[-2:] = []
        else:
            starts.lines.append(f"{name}[{self.counter(var)}] = {super().fresh(e)};")
            self.scopes.pop()
            outer.lines += loop(var, starts.lines)
        self.scopes.append(point)
        return f"{name}[{self.counter(var)}]"

    def skip_zeros(self, body: Expr) -> None:
        """Nothing is passed over inside a sum."""

    def skip_point(self, zero: Load, rest: Expr | None) -> None:
        """Only rows are passed over."""
        if rest is None and 0 < self.depth(zero) < len(self.map.index):
            super().skip_point(zero, rest)
