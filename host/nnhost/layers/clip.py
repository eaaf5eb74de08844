"""Clipping of a sample's gradient by its norm over all weights and biases: g * min(1, c / |g|).

The gradient of a layer is the outer product of its deltas and inputs, so its norm is the product of
theirs, and nothing has to go over the weights: the deltas are made shorter (Pascanu, Mikolov and
Bengio, 2013).
"""

from __future__ import annotations

from nnhost.ir import (
    INT32,
    UINT16,
    Buffer,
    Const,
    Draw,
    Expr,
    Interval,
    Map,
    clamp,
    length,
    maximum,
    minimum,
    rounded_shift,
    sel,
    total,
)
from nnhost.layers.dense import Dense
from nnhost.plan import NORM_FRACTION
from nnhost.roots import reciprocal_root, root_shift

#: Fraction bits of what is left of the deltas.
_LEFT = 15


def clip_norm(dense: list[Dense]) -> list[Map]:
    """The Maps that clip a sample's gradient, before it is used."""
    most = INT32.hi // len(dense)
    maps = [m for layer in dense for m in _squares(layer, most)]
    squares: Expr = Const(0)
    for m in maps:
        if m.name.startswith("norm"):
            squares = squares + m.dst()
    norm = Buffer("norm", (), Interval(0, INT32.hi),
                  doc=f"square of |gradient| / clip_norm, in 2^-{NORM_FRACTION}")  # fmt: skip
    shift = root_shift(norm())
    root = reciprocal_root(norm(), shift) >> (maximum(shift, NORM_FRACTION // 2) - (
        NORM_FRACTION // 2
    ))  # fmt: skip
    left = Buffer("left", (), Interval(0, 1 << _LEFT), doc=f"share of the deltas, in 2^-{_LEFT}")
    maps += [
        Map("norm", norm, (), squares, doc="of all layers"),
        Map("left", left, (), sel(norm() > Const(1 << NORM_FRACTION), root, 1 << _LEFT),
            doc="min(1, clip_norm / |gradient|)"),
    ]  # fmt: skip
    for layer in dense:
        o, n = layer.rows, layer.plan.number
        drawn = Buffer(f"clip_draws{n}", (o.extent,), UINT16, doc="a random number a delta")
        short = (layer.delta[o] * left() + (drawn[o] >> 1)) >> _LEFT
        maps += [
            Map(f"clip_draw{n}", drawn, (o,), Draw(), doc="noise for stochastic rounding"),
            Map(f"clip_delta{n}", layer.delta, (o,), short, doc="clipped by the norm"),
        ]
    return maps


def _squares(layer: Dense, most: int) -> list[Map]:
    """The square of the norm of a layer's gradient, at most `most`."""
    p, o, j = layer.plan, layer.rows, layer.columns
    assert p.norm is not None
    coarse = rounded_shift(layer.delta[o], p.norm.delta_shift)
    sums = []
    for name, value in (
        (f"delta_square{p.number}", total(o, coarse * coarse)),
        (f"input_square{p.number}", total(j, layer.source[j] * layer.source[j],
                                          1 << (2 * p.input.fraction))),
    ):  # fmt: skip
        doc = f"of layer {p.number}, squared"
        sums.append(Map(name, Buffer(name, (), Interval(0, 2**32 - 1), doc=doc), (), value))
    (x, x_digits), (y, y_digits) = (_mantissa(m.dst()) for m in sums)
    factor, whole = p.norm.ratio
    shift = Const(whole + 24) - x_digits - y_digits
    part = (((x * y) >> 8) * factor) >> clamp(shift, Interval(0, 31))
    square = Buffer(f"norm{p.number}", (), Interval(0, most), doc=f"of layer {p.number}")
    return [
        *sums,
        Map(square.name, square, (), sel(shift < Const(0), most, minimum(part, most)),
            doc="|delta|^2 (|inputs|^2 + 1) / clip_norm^2"),
    ]  # fmt: skip


def _mantissa(x: Expr) -> tuple[Expr, Expr]:
    """The upper 16 digits of x, and how many it has."""
    digits = length(x)
    up = minimum(x, 0xFFFF) << (16 - minimum(digits, 16))
    return minimum(sel(digits < Const(16), up, x >> (maximum(digits, 16) - 16)), 0xFFFF), digits
