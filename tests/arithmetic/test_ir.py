"""The expressions themselves: intervals that hold, simplifications that change nothing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnhost.ir import (
    INT16,
    OPS,
    BoundError,
    Buffer,
    Const,
    Draw,
    Expr,
    Interval,
    Load,
    Map,
    Op,
    Program,
    Reduce,
    Var,
    c_type,
    check,
    clamp,
    free,
    interval,
    op,
    rounded_shift,
    skips,
    substitute,
    total,
    type_bytes,
)

MEANING = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a // b,
    "and": lambda a, b: a & b,
    "shl": lambda a, b: a << b,
    "shr": lambda a, b: a >> b,
    "min": min,
    "max": max,
    "lt": lambda a, b: int(a < b),
    "eq": lambda a, b: int(a == b),
    "sel": lambda c, a, b: a if c else b,
    "len": int.bit_length,
}


def evaluate(e: Expr, values: dict[Buffer, int]) -> int:
    """The plain meaning of an expression over scalars."""
    match e:
        case Const(value):
            return value
        case Load(buffer, ()):
            return values[buffer]
        case Op(name, args):
            return int(MEANING[name](*(evaluate(a, values) for a in args)))
    raise TypeError(e)


@st.composite
def intervals(draw: st.DrawFn, least: int = -40, most: int = 40) -> Interval:
    lo = draw(st.integers(least, most))
    return Interval(lo, draw(st.integers(lo, most)))


@pytest.mark.parametrize("name", sorted(OPS))
@given(data=st.data())
def test_intervals_hold_every_result_and_no_more_than_they_must(
    name: str, data: st.DataObject
) -> None:
    ranges = {
        "div": [intervals(0), intervals(1)],
        "shl": [intervals(0), intervals(0, 6)],
        "shr": [intervals(), intervals(0, 6)],
        "and": [intervals(0), intervals()],
        "len": [intervals(0)],
        "sel": [st.just(Interval(0, 1)), intervals(-9, 9), intervals(-9, 9)],
    }.get(name, [intervals(-12, 12), intervals(-12, 12)])
    given_ = [data.draw(r) for r in ranges]
    buffers = [Buffer(f"b{i}", (), r) for i, r in enumerate(given_)]
    built = op(name, *(b() for b in buffers))
    points = itertools.product(*(range(r.lo, r.hi + 1) for r in given_))
    results = [(p, int(MEANING[name](*p))) for p in points]
    lo, hi = interval(built)
    for point, wanted in results:
        assert lo <= wanted <= hi
        assert evaluate(built, dict(zip(buffers, point, strict=True))) == wanted
    if name not in ("and",):  # whose bound is loose on purpose
        assert lo == min(r for _, r in results) or name in ("eq",)
        assert hi == max(r for _, r in results) or name in ("eq",)


@given(st.integers(-(2**30), 2**30), st.integers(-3, 20))
def test_rounded_shift_is_the_nearest_integer_with_halves_up(x: int, bits: int) -> None:
    source = Buffer("x", (), Interval(-(2**30), 2**30))
    if bits < 0 and abs(x) >= 2**27:
        return
    small = Buffer("x", (), Interval(-(2**27), 2**27)) if bits < 0 else source
    got = evaluate(rounded_shift(small(), bits), {small: x})
    assert got == ((2 * x + 2**bits) // 2 ** (bits + 1) if bits > 0 else x * 2**-bits)


def test_a_clamp_that_cannot_act_is_left_out() -> None:
    x = Buffer("x", (), Interval(-5, 5))
    assert clamp(x(), INT16) == x()
    assert clamp(x(), Interval(-3, 9)) == Op("max", (x(), Const(-3)))


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (0, 255, "uint8_t"), (-1, 127, "int8_t"), (-1, 128, "int16_t"), (0, 256, "uint16_t"),
        (-1, 65535, "int32_t"), (0, 2**32 - 1, "uint32_t"), (-(2**31), 0, "int32_t"),
    ],
)  # fmt: skip
def test_the_narrowest_type_is_chosen(low: int, high: int, kind: str) -> None:
    assert c_type(Interval(low, high)) == kind
    assert type_bytes(kind) == int(kind.strip("uint_")) // 8


def test_what_fits_no_type_is_refused() -> None:
    with pytest.raises(BoundError, match="fit no 32-bit type"):
        c_type(Interval(-1, 2**32 - 1))
    wide = Buffer("w", (70000,), INT16)
    j = Var("j", 70000)
    with pytest.raises(BoundError):
        interval(total(j, wide[j] * wide[j]))


def test_an_index_outside_its_buffer_is_refused() -> None:
    table = Buffer("t", (4,), Interval(0, 1), "table", (0, 1, 0, 1))
    with pytest.raises(BoundError, match="index from 0 to 4 in a dimension of 4"):
        interval(table[Var("j", 5)])


def test_a_map_must_fit_its_buffer_and_keep_its_points_apart() -> None:
    narrow, j = Buffer("n", (3,), Interval(0, 7)), Var("j", 3)
    with pytest.raises(BoundError, match="do not fit n"):
        check(Map("m", narrow, (j,), narrow[j] + 1))
    with pytest.raises(ValueError, match="at another point"):
        check(Map("m", narrow, (j,), narrow[2 - j]))
    with pytest.raises(ValueError, match="draws twice"):
        check(Map("m", Buffer("w", (), Interval(0, 2**20)), (), Draw() + (Drawn() >> 1)))


class Drawn(Draw):
    """A draw that is another node than the first."""


def test_two_buffers_may_not_share_a_name() -> None:
    a, b = Buffer("same", (), INT16), Buffer("same", (), INT16)
    with pytest.raises(ValueError, match="same"):
        Program({"s": [Map("m", a, (), Const(1)), Map("n", b, (), Const(2))]})


def test_skips_are_proven() -> None:
    weight, factor, x = (Buffer(n, s, INT16) for n, s in
                         (("w", (2, 3)), ("f", (2,)), ("x", (3,))))  # fmt: skip
    o, j = Var("o", 2), Var("j", 3)
    plain = Map("update", weight, (o, j), clamp(weight[o, j] - (factor[o] * x[j] >> 8), INT16))
    assert skips(plain) == {factor[o]: None, x[j]: None}
    # With half a step of noise added, a zero no longer leaves the weight as it is.
    noisy = Map("update", weight, (o, j),
                clamp(weight[o, j] - (factor[o] * x[j] + 300 >> 8), INT16))  # fmt: skip
    assert skips(noisy) == {}
    decayed = (weight[o, j] * 230 >> 8) - (factor[o] * x[j] >> 16)
    decaying = Map("decay", weight, (o, j), clamp(decayed, INT16))
    assert x[j] not in skips(decaying)


def test_substitution_simplifies_again() -> None:
    x, y, j = Buffer("x", (3,), INT16), Buffer("y", (), INT16), Var("j", 3)
    dot = total(j, x[j] * y())
    assert substitute(dot, y(), Const(0)) == Const(0)
    assert free(dot) == frozenset()
    assert isinstance(substitute(dot, y(), Const(2)), Reduce)
