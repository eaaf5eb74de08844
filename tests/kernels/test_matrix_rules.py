"""Kernels that run two loops of a Map, or two Maps: where they are called, and how."""

from __future__ import annotations

from nnhost.emit_c import sections
from nnhost.fixed import saturate
from nnhost.ir import INT16, INT32, UINT16, Buffer, Expr, Interval, Map, Program, Var, total
from nnhost.kernels.rules import ALIGNED, Hole, LoopRule

_R, _C = Var("r", 99), Var("c", 99)
_M, _V = (Hole(name, (99, 99), INT16, space=ALIGNED) for name in "mv")
_X16 = Hole("x", (99,), Interval(0, 4095), space=ALIGNED, types=("uint8_t", "uint16_t"))
_G = Hole("g", (99, 2), UINT16, space=ALIGNED)
SUMS = LoopRule("nn_kernel_sums", total(_C, _M[_R, _C] * _X16[_C]), _C, (_M, _X16), outer=_R)
ACROSS = LoopRule("nn_kernel_across", total(_R, _M[_R, _C] * _X16[_R]), _R, (_M, _X16), outer=_C)
ROWS = LoopRule(
    "nn_kernel_rows",
    saturate(_V[_R, _C] - ((_X16[_C] * _G[_R, 1]) >> 12)),
    _C,
    (_V, _X16, _G, _M),
    _V[_R, _C],
    outer=_R,
    numbers=(12,),
    then=(_M[_R, _C], saturate(_M[_R, _C] + _V[_R, _C])),
)
LAYER = Buffer("layer", (3, 20), INT16)
SLOT = Buffer("slot", (3, 20), INT16)
WIDE = Buffer("wide", (20,), Interval(0, 1023))
GAIN = Buffer("gain", (3, 2), UINT16)
OUT, IN = Var("o", 3), Var("i", 20)


def emitted(*maps: Map) -> str:
    """The C of a section, every buffer in plain RAM."""
    rules = (SUMS, ACROSS, ROWS)
    return "\n".join(sections(Program({"s": list(maps)}), rules, lambda _: ALIGNED))


def test_all_sums_of_a_map_come_from_one_call_before_its_loop() -> None:
    out = Buffer("out", (3,), INT32)
    text = emitted(Map("m", out, (OUT,), total(IN, LAYER[OUT, IN] * WIDE[IN], OUT * 5) >> 2))
    call = "nn_kernel_sums(nn_sums, (int16_t *)nn_layer, nn_wide, NN_UINT16, 3U, 20U);"
    assert call in text
    assert text.index(call) < text.index("for (")
    assert "+ nn_sums[o])" in text
    assert "static int32_t nn_sums[3];" in text
    back = Buffer("back", (20,), INT32)
    x = Buffer("x", (3,), Interval(0, 200))
    text = emitted(Map("m", back, (IN,), total(OUT, LAYER[OUT, IN] * x[OUT])))
    assert "nn_kernel_across(nn_sums, (int16_t *)nn_layer, nn_x, NN_UINT8, 20U, 3U);" in text
    assert "nn_sums[20]" in text


def test_sums_that_need_other_loops_or_change_while_they_run_stay_loops() -> None:
    square, twice = Buffer("square", (3, 3), INT32), Buffer("twice", (3,), INT32)
    again = Buffer("again", (20,), Interval(0, 1023))
    sum_ = total(IN, LAYER[OUT, IN] * WIDE[IN])
    assert "nn_sums" not in emitted(Map("m", square, (Var("p", 3), OUT), sum_))
    other = total(IN, LAYER[OUT, IN] * again[IN])
    assert emitted(Map("m", twice, (OUT,), (sum_ >> 1) + (other >> 1))).count("nn_kernel") == 1
    part = Var("i", 19)  # not all of a row
    assert "nn_sums" not in emitted(
        Map("m", twice, (OUT,), total(part, LAYER[OUT, part] * WIDE[part]))
    )
    signed = Buffer("signed", (20,), Interval(-512, 511))
    assert "nn_sums" not in emitted(Map("m", twice, (OUT,), total(IN, LAYER[OUT, IN] * signed[IN])))


def step(*, gain: Buffer = GAIN, at: int = 1, when: Expr | None = None) -> tuple[Map, Map]:
    moved = saturate(SLOT[OUT, IN] - ((WIDE[IN] * gain[OUT, at]) >> 12))
    return (
        Map("move", SLOT, (OUT, IN), moved, doc="first"),
        Map(
            "add",
            LAYER,
            (OUT, IN),
            saturate(LAYER[OUT, IN] + SLOT[OUT, IN]),
            when,
            doc="second",
        ),
    )


def test_two_maps_become_one_call() -> None:
    text = emitted(*step())
    arrays = (
        "(int16_t *)nn_slot, nn_wide, NN_UINT16, &((uint16_t *)nn_gain)[1], (int16_t *)nn_layer"
    )
    assert f"nn_kernel_rows({arrays}, 3U, 20U, 12U);" in text
    assert "for (" not in text
    assert "nn_map_add" not in text
    assert "second" in text


def test_two_maps_stay_two_where_anything_is_different() -> None:
    flag = Buffer("flag", (), Interval(0, 1))
    assert "nn_kernel" not in emitted(*step(at=0))
    assert "nn_kernel" not in emitted(*step(when=flag()))
    assert "nn_kernel" not in emitted(*step(gain=Buffer("gain", (3, 3), UINT16)))
    assert "nn_kernel" not in emitted(*step()[::-1])
    assert "nn_kernel" not in emitted(step()[0])
