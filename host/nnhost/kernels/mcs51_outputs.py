"""The rules of the 8051 for what a step does once an output or a row: losses, draws and factors."""

from __future__ import annotations

from nnhost.activations.base import SLOPE_BITS, sloped
from nnhost.fixed import saturate
from nnhost.ir import (
    INT8,
    INT16,
    INT32,
    UINT8,
    UINT16,
    Draw,
    Expr,
    Interval,
    Load,
    Var,
    clamp,
    eq,
    largest,
    rounded_shift,
    total,
)
from nnhost.kernels.rules import Hole, LoopRule, Rule, Rules
from nnhost.layers.dense import row_factor
from nnhost.losses.base import first
from nnhost.losses.mse import squares
from nnhost.losses.residual import CLASS_FRACTION, LOSS_FRACTION, REGRESSION_FRACTION
from nnhost.losses.softmax_cross_entropy import ONE, gap, gradient, share

#: The longest loop: its counter is a byte.
_LONGEST = 255
_I, _OUTER, _INNER = (Var(name, _LONGEST) for name in ("i", "outer", "inner"))


def _array(name: str, bounds: Interval, space: str = "NN_XDATA") -> Hole:
    return Hole(name, (_LONGEST,), bounds, space=space)


def _scalar(name: str, bounds: Interval) -> Hole:
    return Hole(name, (), bounds)


_NUMBERS, _PAIRS = _array("numbers", UINT16), Hole("draws", (_LONGEST, 2), UINT16, space="NN_XDATA")

#: Random numbers one after the other, in a row or in pairs.
_DRAWS = (
    LoopRule("nn_kernel_draw", Draw(), _I, (_NUMBERS,), _NUMBERS[_I], numbers=(1,)),
    LoopRule("nn_kernel_draw", Draw(), _INNER, (_PAIRS,), _PAIRS[_OUTER, _INNER], outer=_OUTER),
)

_DELTA, _FACTOR = _array("delta", INT16), _array("factor", INT16)
_RATE = _scalar("rate", Interval(128, 255))


def _factor(shift: int) -> LoopRule:
    """The factors of a layer's rows; with such a shift, sums fit 24 bits."""
    return LoopRule(
        "nn_kernel_factor",
        row_factor(_DELTA[_I], _PAIRS[_I, 0], _RATE(), shift),
        _I,
        (_FACTOR, _DELTA, _PAIRS, _RATE),
        _FACTOR[_I],
        strided=_PAIRS,
        numbers=((1 << shift) - 1, shift),
    )


_SEEN = _array("seen", INT8, "NN_IDATA")

#: Deltas as the backward pass of q8 sees them.
_NARROW = LoopRule(
    "nn_kernel_narrow",
    clamp(rounded_shift(_DELTA[_I], 8), INT8),
    _I,
    (_SEEN, _DELTA),
    _SEEN[_I],
)

#: 32 bits wide, such that the difference of two is so, too.
_LOGITS = _array("logits", Interval(-(2**29), 2**29))
_TOP = _scalar("top", Interval(-(2**29), 2**29))
_WANTED = _scalar("wanted", INT32)
_LAST, _TARGET = _scalar("last", UINT8), _scalar("target", UINT8)

_LARGEST = LoopRule("nn_kernel_largest", largest(_I, _LOGITS[_I]), _I, (_LOGITS,))
_FIND = LoopRule(
    "nn_kernel_find",
    first(_I, _LOGITS[_I], _WANTED(), _LAST()),
    _I,
    (_LOGITS, _WANTED, _LAST),
    result="uint8_t",
)

_GAP, _POWER = _array("gap", UINT8), Hole("power", (256,), Interval(0, ONE), space="NN_CODE")
_MASS = _scalar("mass", Interval(ONE, ONE * _LONGEST))


def _gap(shift: int) -> LoopRule:
    """Softmax: distances to the largest logit."""
    return LoopRule(
        "nn_kernel_gap",
        gap(_TOP(), _LOGITS[_I], shift),
        _I,
        (_GAP, _LOGITS, _TOP),
        _GAP[_I],
        numbers=(1 << (8 - shift),),
    )


_SUM = LoopRule("nn_kernel_mass", total(_I, _POWER[_GAP[_I]]), _I, (_GAP, _POWER))
_SHARE = LoopRule(
    "nn_kernel_share",
    gradient(share(_POWER[_GAP[_I]], _MASS()), ONE * eq(_TARGET(), _I)),
    _I,
    (_DELTA, _GAP, _POWER, _MASS, _TARGET),
    _DELTA[_I],
)

#: Layers with so few inputs are updated by one call, with their biases.
_SMALL = 16
_ROW, _COLUMN = Var("row", _LONGEST), Var("column", _SMALL)
_WEIGHT = Hole("weight", (_LONGEST, _SMALL), INT16, space="NN_XDATA")
_BIAS = _array("bias", INT16)
_X = {"u8": _array("x", UINT8, "NN_IDATA"), "s8": _array("x", INT8, "NN_IDATA")}
_ONE, _OFFSET = _scalar("one", UINT8), _scalar("offset", UINT16)


def _rows(kind: str) -> LoopRule:
    """Plain SGD."""

    def moved(place: Load, x: Expr, offset: Expr) -> Expr:
        noise = ((_PAIRS[_ROW, 1] >> 8) + offset) & 255
        return saturate(place - ((_FACTOR[_ROW] * x + noise) >> 8))

    return LoopRule(
        "nn_kernel_rows",
        moved(_WEIGHT[_ROW, _COLUMN], _X[kind][_COLUMN], _COLUMN * 157),
        _COLUMN,
        (_WEIGHT, _X[kind], _FACTOR, _PAIRS, _BIAS, _ONE, _OFFSET),
        _WEIGHT[_ROW, _COLUMN],
        outer=_ROW,
        numbers=(int(kind == "s8"),),
        then=(_BIAS[_ROW], moved(_BIAS[_ROW], _ONE(), _OFFSET())),
    )


def _squares(fraction: int) -> LoopRule:
    """The loss of mse, for so few outputs that it fits 24 bits."""
    shift = 2 * fraction - LOSS_FRACTION
    k = Var("k", (1 << (shift - 6)) - 1)
    pattern = squares(k, _DELTA[k], fraction)
    return LoopRule("nn_kernel_squares", pattern, k, (_DELTA,), numbers=(1 << (16 - shift),))


_GRADIENT, _SLOPE = _scalar("gradient", INT16), _scalar("slope", Interval(0, 1 << SLOPE_BITS))

#: The gradient of tanh and sigmoid.
_SLOPED = Rule("nn_kernel_slope", sloped(_GRADIENT(), _SLOPE()), (_GRADIENT, _SLOPE), "int16_t")

RULES: Rules = (
    _SLOPED,
    *_DRAWS,
    *(_factor(shift) for shift in range(1, 16)),
    _NARROW,
    _LARGEST,
    _FIND,
    *(_gap(shift) for shift in range(1, 9)),
    _SUM,
    _SHARE,
    _squares(CLASS_FRACTION),
    _squares(REGRESSION_FRACTION),
    _rows("u8"),
    _rows("s8"),
)
