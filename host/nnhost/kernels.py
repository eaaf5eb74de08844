"""Rules of an instruction set: shapes of expressions that it has a better way to compute.

A pattern is an expression whose unknowns are scalar buffers of the role "hole"; it is built by the
functions that lowering uses, so the two cannot drift apart. It matches where the proven intervals
fit its holes. The kernel it calls is a C function of firmware/kernels/<instruction set>/. A rule is
admitted when its kernel passes its vectors on the target and is measured to gain; without rules
(``--set build.kernels=portable``) the plain C computes the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnhost.fixed import saturate
from nnhost.ir import INT16, INT32, UINT8, Buffer, Expr, Interval, Load, Op, interval

#: Operators whose operands may change places.
_COMMUTATIVE = ("add", "mul", "min", "max", "and")


@dataclass(frozen=True)
class Rule:
    """``kernel(holes...)`` computes `pattern`; `result` is the C type that it returns."""

    kernel: str
    pattern: Expr
    holes: tuple[Buffer, ...]
    result: str


def _hole(name: str, bounds: Interval) -> Buffer:
    return Buffer(name, (), bounds, "hole")


_WIDE, _WORD, _BYTE = _hole("wide", INT32), _hole("word", INT16), _hole("byte", UINT8)

SATURATE = Rule("nn_kernel_saturate", saturate(_WIDE()), (_WIDE,), "int16_t")
MULTIPLY = Rule("nn_kernel_multiply", _WORD() * _BYTE(), (_WORD, _BYTE), "int32_t")

#: Instruction set -> its rules, the first match wins. Folders of firmware/kernels have these names.
RULES: dict[str, tuple[Rule, ...]] = {"mcs51": (SATURATE, MULTIPLY)}


def match(pattern: Expr, e: Expr, found: dict[Buffer, Expr]) -> bool:
    """Whether `e` has the shape of `pattern`; binds the holes in `found`."""
    match pattern, e:
        case Load(hole, ()), _ if hole.role == "hole":
            lo, hi = interval(e)
            fits = hole.interval.lo <= lo and hi <= hole.interval.hi
            return fits and found.setdefault(hole, e) == e
        case Op(name, expected), Op(other, given) if name == other:
            for order in (given, given[::-1])[: 2 if name in _COMMUTATIVE else 1]:
                trial = dict(found)
                if all(match(p, q, trial) for p, q in zip(expected, order, strict=True)):
                    found.update(trial)
                    return True
            return False
    return pattern == e
