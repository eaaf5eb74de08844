"""Weight initialisation on the chip, from 16-bit draws. Biases start at zero.

he: uniform in +-sqrt(6 / fan_in) (He et al., 2015); glorot: uniform in +-sqrt(6 / (fan_in +
fan_out)) (Glorot and Bengio, 2010); uniform: +-1 / sqrt(fan_in); normal: standard deviation
1 / sqrt(fan_in) (LeCun et al., 1998), by 256 equally likely quantiles; zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

from nnhost.fixed import nearest, ratio
from nnhost.ir import Const, Draw, Expr, rounded_shift, table

#: 256 quantiles of a normal distribution of standard deviation 1, in 2^-13.
QUANTILES = [NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)]
_DEVIATION = math.sqrt(sum(q * q for q in QUANTILES) / 256)
NORMAL = table("normal", [nearest(8192 * q / _DEVIATION) for q in QUANTILES], "normal quantiles")


def _uniform(limit: float, fraction: int) -> Expr:
    """Uniform in +-limit, with `fraction` fraction bits."""
    m, s = ratio(limit * 2.0**fraction / 32768)
    return rounded_shift((Draw() - 32768) * m, s)


def _he(fan_in: int, fan_out: int, fraction: int) -> Expr:
    return _uniform(math.sqrt(6 / fan_in), fraction)


def _glorot(fan_in: int, fan_out: int, fraction: int) -> Expr:
    return _uniform(math.sqrt(6 / (fan_in + fan_out)), fraction)


def _plain(fan_in: int, fan_out: int, fraction: int) -> Expr:
    return _uniform(1 / math.sqrt(fan_in), fraction)


def _normal(fan_in: int, fan_out: int, fraction: int) -> Expr:
    m, s = ratio(2.0**fraction / math.sqrt(fan_in) / 8192)
    return rounded_shift(NORMAL[Draw() >> 8] * m, s)


def _zeros(fan_in: int, fan_out: int, fraction: int) -> Expr:
    return Const(0)


#: name -> f(fan_in, fan_out, fraction) -> the weight with that many fraction bits.
INITIALIZERS: dict[str, Callable[[int, int, int], Expr]] = {
    "he": _he,
    "glorot": _glorot,
    "uniform": _plain,
    "normal": _normal,
    "zeros": _zeros,
}
