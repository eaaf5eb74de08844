"""The rules of the native engine: what firmware/kernels/native computes."""

from __future__ import annotations

from nnhost.fixed import saturate
from nnhost.ir import INT8, INT16, UINT8, Interval, Var, total
from nnhost.kernels.rules import Hole, LoopRule, Rules
from nnhost.plan import MAX_FAN_IN

#: Shorter loops are the compiler's.
_LEAST = 16
_ROW, _COLUMN = Var("row", MAX_FAN_IN), Var("column", MAX_FAN_IN)
_WEIGHT = Hole("weight", (MAX_FAN_IN, MAX_FAN_IN), INT16)
_FACTOR, _DITHER = Hole("factor", (), INT16), Hole("dither", (), UINT8)


def _dot(kind: str, bounds: Interval) -> LoopRule:
    """The sum of the weights' upper bytes times inputs."""
    x = Hole("x", (MAX_FAN_IN,), bounds)
    pattern = total(_COLUMN, (_WEIGHT[_ROW, _COLUMN] >> 8) * x[_COLUMN])
    return LoopRule(f"nn_kernel_dot_{kind}", pattern, _COLUMN, (_WEIGHT, x), least=_LEAST)


def _update(kind: str, bounds: Interval) -> LoopRule:
    """A row of weights less factor times input, with noise that moves by 157 a column."""
    x = Hole("x", (MAX_FAN_IN,), bounds)
    place = _WEIGHT[_ROW, _COLUMN]
    step = (_FACTOR() * x[_COLUMN] + ((_DITHER() + _COLUMN * 157) & 255)) >> 8
    holes = (_WEIGHT, x, _FACTOR, _DITHER)
    return LoopRule(
        f"nn_kernel_update_{kind}", saturate(place - step), _COLUMN, holes, place, least=_LEAST
    )


RULES: Rules = tuple(
    rule(kind, bounds) for rule in (_dot, _update) for kind, bounds in (("u8", UINT8), ("s8", INT8))
)
