"""What the adaptive optimizers share: averages of the gradient and of its square.

The averages have no bias: the newest gradient counts as 1 / n, n = 1 + beta * (the n before), which
is (1 - beta) / (1 - beta^t) at update t. Kingma and Ba (2015) let them start at 0 and divide by
1 - beta^t instead, which gives the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nnhost.fixed import nearest, ratio, saturate
from nnhost.floating import ONE_SHARE, SHARE_BITS
from nnhost.ir import (
    Buffer,
    Const,
    Expr,
    Interval,
    Map,
    Operand,
    maximum,
    minimum,
    rounded_shift,
)

#: Bits of the count n, and the most of them that are a fraction.
COUNT_BITS, COUNT_FRACTION = 24, 16


@dataclass(frozen=True)
class Average:
    """How an average forgets. `share`: of the newest value, `ONE_SHARE` for all of it. `state`:
    what that takes; `init`, `maps`: how it begins, and what comes before an update."""

    share: Operand
    state: tuple[Buffer, ...] = ()
    init: tuple[Map, ...] = ()
    maps: tuple[Map, ...] = ()


def count_fraction(beta: float) -> int:
    """Fraction bits of n, as many as leave room for 1 / (1 - beta)."""
    return min(COUNT_FRACTION, math.floor(math.log2(((1 << COUNT_BITS) - 1) * (1 - beta))))


def forgetting(key: str, beta: float, corrected: bool, last: Expr) -> Average:
    """The average that nn.toml's `key` describes; `last`: 1 as an update is made. One that is not
    `corrected` starts from 0."""
    if not corrected:
        return Average(max(1, nearest((1 - beta) * ONE_SHARE)))
    most = (1 << COUNT_BITS) - 1
    lost, shift = ratio(1 - beta)
    bits = count_fraction(beta)
    count = Buffer(f"count_{key}", (), Interval(0, most), "state",
                   doc=f"updates that the average remembers, in 2^-{bits}")  # fmt: skip
    one = 1 << bits
    grown = count() - rounded_shift(count() * lost, shift) + one
    share = Buffer(f"share_{key}", (), Interval(1, ONE_SHARE), doc="of the newest, in 2^-15")
    part = maximum(Const(one << SHARE_BITS) // maximum(count(), one), 1)
    return Average(
        share(),
        (count,),
        (Map(f"init_count_{key}", count, (), Const(0), doc="none yet"),),
        (
            Map(f"count_{key}", count, (), minimum(maximum(grown, one), most), last,
                "1 + beta * n"),
            Map(f"share_{key}", share, (), minimum(part, ONE_SHARE), last, "1 / n"),
        ),
    )  # fmt: skip


def averaged(m: Expr, g: Expr, share: Operand, noise: Expr) -> Expr:
    """m moved towards g by a share. `noise`: `SHARE_BITS` bits."""
    return saturate(m + (((g - m) * share + noise) >> SHARE_BITS))


@dataclass(frozen=True)
class Moments:
    """What an adaptive optimizer works with at the end of a batch.

    `shares`: of the newest gradient in each of its averages. `noise(bits)`: random bits for
    them. `with_decay(g)`: the gradient and the decay that counts as one. `change(m, v)`: what a
    weight loses, the learning rate times m / sqrt(v), v a code of `nnhost.floating`.
    """

    shares: tuple[Operand, ...]
    noise: Callable[[int], Expr]
    with_decay: Callable[[Expr], Expr]
    change: Callable[[Expr, Expr], Expr]
