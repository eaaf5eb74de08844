"""Clipping of the gradient by its norm over all weights and biases: g * min(1, c / |g|).

Pascanu, Mikolov and Bengio, 2013. The gradient of a sample is, in each layer, the outer product of
deltas and inputs, so its norm is the product of theirs, and nothing has to go over the weights: the
deltas are made shorter. That of a larger batch is what the optimizer has gathered: its squares are
summed, and its share of each weight is made shorter as it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nnhost.ir import (
    INT32,
    UINT16,
    Buffer,
    Const,
    Draw,
    Expr,
    Interval,
    Map,
    Operand,
    clamp,
    interval,
    largest,
    length,
    maximum,
    minimum,
    rounded_shift,
    sel,
    total,
)
from nnhost.layers.dense import LEFT, LEFT_BITS, Dense
from nnhost.plan import NORM_FRACTION, BatchClip
from nnhost.roots import reciprocal_root, root_shift

_UINT32 = Interval(0, 2**32 - 1)


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
    maps += [
        Map("norm", norm, (), squares, doc="of all layers"),
        Map("left", LEFT, (), sel(norm() > Const(1 << NORM_FRACTION), root, 1 << LEFT_BITS),
            doc="min(1, clip_norm / |gradient|)"),
    ]  # fmt: skip
    for layer in dense:
        o, n = layer.rows, layer.plan.number
        drawn = Buffer(f"clip_draws{n}", (o.extent,), UINT16, doc="a random number a delta")
        short = (layer.delta[o] * LEFT() + (drawn[o] >> 1)) >> LEFT_BITS
        maps += [
            Map(f"clip_draw{n}", drawn, (o,), Draw(), doc="noise for stochastic rounding"),
            Map(f"clip_delta{n}", layer.delta, (o,), short, doc="clipped by the norm"),
        ]
    return maps


def clip_batch_norm(
    clip: BatchClip,
    gathered: Iterable[tuple[Dense, tuple[Buffer, ...]]],
    chosen: Callable[[str, tuple[int, ...]], Operand],
) -> list[Map]:
    """The Maps that find what is left of the gradient of a batch. `gathered`: of each layer, where
    that of its weights is, and those of its numbers of one a row."""
    numbers = list(zip(gathered, clip.shifts, strict=True))
    tops: list[Map] = []
    for (layer, (weights, *others)), finer in numbers:
        o, j, n = layer.rows, layer.columns, layer.plan.number
        top: Expr = largest(j, _magnitude(weights[o, j], finer))
        for b in others:
            top = maximum(top, _magnitude(b[o], finer))
        rows = _rows(f"row_top{n}", layer, top, "largest number of a row")
        tops += [rows, _alone(f"top{n}", largest(o, rows.dst[o]), f"largest of layer {n}")]
    top = Const(0)
    for m in tops[1::2]:
        top = maximum(top, m.dst())
    excess = maximum(length(top) - clip.bits, 0)
    lost = _alone("lost", excess, "bits that are left out of numbers before they are squared")
    squares: list[Map] = []
    for (layer, (weights, *others)), finer in numbers:
        o, j, n = layer.rows, layer.columns, layer.plan.number

        def square(g: Expr, finer: int = finer) -> Expr:
            half = (Const(1) << lost.dst()) >> 1
            # Within these bounds anyway, which is not proven.
            short = minimum((_magnitude(g, finer) + half) >> lost.dst(), 1 << clip.bits)
            return short * short

        row = total(j, square(weights[o, j]), sum((square(b[o]) for b in others), Const(0)))
        rows = _rows(f"row_norm{n}", layer, row, "sum of the squares of a row")
        part = total(o, rows.dst[o] >> (2 * clip.halves))
        squares += [rows, _alone(f"norm{n}", part, f"of layer {n}, squared")]
    norm = _alone(
        "norm",
        sum((m.dst() for m in squares[3::2]), squares[1].dst()),
        "square of the norm of the gathered gradient",
    )
    root = root_shift(norm.dst())
    right = clamp(root + lost.dst() + (clip.finer + clip.halves), Interval(0, 31))
    limit = chosen("norms", clip.limits) if len(clip.limits) > 1 else clip.limits[0]
    share = (reciprocal_root(norm.dst(), root) * limit) >> right
    left = Map("left", LEFT, (), minimum(share, 1 << LEFT_BITS),
               doc="min(1, clip_norm / |gradient|)")  # fmt: skip
    return [*tops, lost, *squares, norm, left]


def _magnitude(g: Expr, finer: int) -> Expr:
    return maximum(maximum(g, 0 - g), 0) * (1 << finer)


def _rows(name: str, layer: Dense, value: Expr, doc: str) -> Map:
    """A number for each row of a layer."""
    buffer = Buffer(name, (layer.plan.fan_out,), interval(value), doc=doc)
    return Map(name, buffer, (layer.rows,), value, doc=doc)


def _alone(name: str, value: Expr, doc: str) -> Map:
    return Map(name, Buffer(name, (), interval(value), doc=doc), (), value, doc=doc)


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
        sums.append(Map(name, Buffer(name, (), _UINT32, doc=doc), (), value))
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
