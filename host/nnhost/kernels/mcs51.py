"""The rules of the 8051: what firmware/kernels/mcs51 computes."""

from __future__ import annotations

from nnhost.fixed import saturate
from nnhost.ir import INT8, INT16, INT32, UINT8, Expr, Interval, Load, Var, sel, total
from nnhost.kernels.mcs51_outputs import RULES as OUTPUT_RULES
from nnhost.kernels.rules import Hole, LoopRule, Rule, Rules


def _scalar(name: str, bounds: Interval) -> Hole:
    return Hole(name, (), bounds)


#: The longest loop of an 8051 kernel, whose counter is a byte. Sums of so many products of bytes
#: fit 24 bits.
_LONGEST = 255
_WIDE, _WORD, _BYTE = _scalar("wide", INT32), _scalar("word", INT16), _scalar("byte", UINT8)
_FLAG = _scalar("flag", Interval(0, 1))
_ROW, _COLUMN = Var("row", _LONGEST), Var("column", _LONGEST)


def _matrix(name: str) -> Hole:
    """int16 in external RAM."""
    return Hole(name, (_LONGEST, _LONGEST), INT16, space="NN_XDATA")


def _vector(name: str, bounds: Interval) -> Hole:
    """Bytes in internal RAM."""
    return Hole(name, (_LONGEST,), bounds, space="NN_IDATA")


SATURATE = Rule("nn_kernel_saturate", saturate(_WIDE()), (_WIDE,), "int16_t")
MULTIPLY = Rule("nn_kernel_multiply", _WORD() * _BYTE(), (_WORD, _BYTE), "int32_t")

#: A macro: less than the call of a product takes.
PICK = Rule("nn_kernel_pick", _WORD() * _FLAG(), (_WORD, _FLAG), "int16_t")

_WEIGHT, _VELOCITY, _SLOT = _matrix("weight"), _matrix("velocity"), _matrix("slot")
_X = {"u8": _vector("x", UINT8), "s8": _vector("x", INT8)}
_FACTOR, _DITHER = _scalar("factor", INT16), _scalar("dither", UINT8)
_FIRST = _scalar("first", Interval(0, 1))


def _dot(kind: str, weight: Load, strided: Hole | None = None) -> LoopRule:
    """The sum of the weights' upper bytes times inputs."""
    pattern = total(_COLUMN, (weight >> 8) * _X[kind][_COLUMN])
    return LoopRule(
        f"nn_kernel_dot_{kind}",
        pattern,
        _COLUMN,
        (_WEIGHT, _X[kind]),
        strided=strided,
        least=4 if kind == "u8" else 2,
    )


#: Noise that moves by 157 from column to column.
_NOISE = (_DITHER() + _COLUMN * 157) & 255


def _step(kind: str) -> Expr:
    """Factor times input."""
    return (_FACTOR() * _X[kind][_COLUMN] + _NOISE) >> 8


def _update(kind: str) -> LoopRule:
    """A row of weights less the step."""
    place = _WEIGHT[_ROW, _COLUMN]
    return LoopRule(
        f"nn_kernel_update_{kind}",
        saturate(place - _step(kind)),
        _COLUMN,
        (_WEIGHT, _X[kind], _FACTOR, _DITHER),
        place,
    )


def _gather(kind: str) -> LoopRule:
    """A row of slots, which a batch begins at zero, less the step."""
    place = _SLOT[_ROW, _COLUMN]
    return LoopRule(
        f"nn_kernel_gather_{kind}",
        saturate(sel(_FIRST(), 0, place) - _step(kind)),
        _COLUMN,
        (_SLOT, _X[kind], _FACTOR, _DITHER, _FIRST),
        place,
    )


#: A row of weights plus its velocities.
_ADD = LoopRule(
    "nn_kernel_add",
    saturate(_WEIGHT[_ROW, _COLUMN] + _VELOCITY[_ROW, _COLUMN]),
    _COLUMN,
    (_WEIGHT, _VELOCITY),
    _WEIGHT[_ROW, _COLUMN],
)

#: The first match wins.
RULES: Rules = (
    SATURATE,
    PICK,
    MULTIPLY,
    _dot("u8", _WEIGHT[_ROW, _COLUMN]),
    _dot("s8", _WEIGHT[_ROW, _COLUMN], _WEIGHT),
    _dot("s8", _WEIGHT[_COLUMN, _ROW], _WEIGHT),
    _update("u8"),
    _update("s8"),
    _gather("u8"),
    _gather("s8"),
    _ADD,
    *OUTPUT_RULES,
)
