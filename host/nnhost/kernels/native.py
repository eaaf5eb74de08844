"""The rules of the native engine: what firmware/kernels/native computes, all of it for q8."""

from __future__ import annotations

from nnhost.ir import INT16, UINT8, UINT16, Const, Expr, Interval, Map, Var, total
from nnhost.kernels.rules import Hole, LoopRule, Rules
from nnhost.layers.dense import Step, noise, spread
from nnhost.optimizers import OPTIMIZERS
from nnhost.plan import MAX_FAN_IN

#: Shorter loops are the compiler's.
_LEAST = 16
#: Of the products, as q8 has it.
_SHIFT = 8
#: Most extra fraction bits of a slot.
_MOST_EXTRA = 6
_ROW, _COLUMN = Var("row", MAX_FAN_IN), Var("column", MAX_FAN_IN)
_WEIGHT, _SLOT = (Hole(name, (MAX_FAN_IN, MAX_FAN_IN), INT16) for name in ("weight", "slot"))
_X = Hole("x", (MAX_FAN_IN,), Interval(-128, 255), types=("uint8_t", "int8_t"))
_FACTOR, _DRAW = Hole("factor", (), INT16), Hole("draw", (), UINT16)
_MOMENTUM, _FIRST = Hole("momentum", (), UINT8), Hole("first", (), Interval(0, 1))
_ONE = Const(1)


def _maps(optimizer: str, slot: Hole | None, extra: int = 0, first: Expr = _ONE) -> list[Map]:
    """How an optimizer changes a matrix."""
    drawn = noise(_DRAW(), spread(_COLUMN, _SHIFT), _SHIFT)
    step = Step(_FACTOR(), _X[_COLUMN], drawn, _SHIFT, extra, _MOMENTUM())
    slots = (slot,) if slot else ()
    return OPTIMIZERS[optimizer].update(step.of(_WEIGHT, slots, (_ROW, _COLUMN), first, _ONE))


def _row(name: str, m: Map, *holes: Hole, numbers: tuple[int, ...] = ()) -> LoopRule:
    return LoopRule(
        f"nn_kernel_{name}", m.expr, _COLUMN, holes, m.place, least=_LEAST, numbers=numbers
    )


_DOT = LoopRule(
    "nn_kernel_dot",
    total(_COLUMN, (_WEIGHT[_ROW, _COLUMN] >> 8) * _X[_COLUMN]),
    _COLUMN,
    (_WEIGHT, _X),
    least=_LEAST,
)
_STEP = (_X, _FACTOR, _DRAW)

RULES: Rules = (
    _DOT,
    _row("update", _maps("sgd", None)[0], _WEIGHT, *_STEP),
    _row("gather", _maps("sgd", _SLOT, first=_FIRST())[0], _SLOT, *_STEP, _FIRST),
    _row("velocity", _maps("momentum", _SLOT)[0], _SLOT, *_STEP, _MOMENTUM),
    _row(
        "velocity_of_batch",
        _maps("momentum", _SLOT, first=_FIRST())[0],
        *(_SLOT, *_STEP, _MOMENTUM, _FIRST),
    ),
    _row("add", _maps("momentum", _SLOT)[1], _WEIGHT, _SLOT),
    *(
        _row("add_narrow", _maps("momentum", _SLOT, e)[1], _WEIGHT, _SLOT, _DRAW, numbers=(e,))
        for e in range(1, _MOST_EXTRA + 1)
    ),
)
