"""Where the rules of the 8051 match, and where they must not."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from nnhost import boards
from nnhost.fixed import saturate
from nnhost.generate import board_sources, prepare
from nnhost.ir import INT8, INT16, UINT8, Buffer, Expr, Interval, Map, Var, total
from nnhost.kernels import RULES, mcs51_outputs
from nnhost.kernels.rules import row_kernel, sum_kernel
from nnhost.memory import make_memory
from nnhost.paths import examples_dir
from nnhost.project import load_project

MCS51 = RULES["mcs51"]
ROW, J = Var("o", 3), Var("j", 20)
X, SIGNED_X = Buffer("x", (20,), UINT8), Buffer("s", (20,), INT8)
W, BIAS = Buffer("w", (3, 20), INT16), Buffer("b", (3,), INT16)
FACTOR, DRAWS = Buffer("f", (3,), INT16), Buffer("d", (3,), UINT8)


def space(buffer: Buffer) -> str:
    return "NN_IDATA" if buffer in (X, SIGNED_X) else "NN_XDATA"


def called(e: Expr) -> str:
    kernel = sum_kernel(MCS51, e, space)
    return kernel[0].kernel if kernel else ""


def test_a_sum_is_matched_by_the_type_of_its_inputs_whatever_its_start() -> None:
    assert called(total(J, (W[ROW, J] >> 8) * X[J])) == "nn_kernel_dot_u8"
    assert called(total(J, X[J] * (W[ROW, J] >> 8), BIAS[ROW] * 7)) == "nn_kernel_dot_u8"
    assert called(total(J, (W[ROW, J] >> 8) * SIGNED_X[J])) == "nn_kernel_dot_s8"
    assert called(total(ROW, (W[ROW, J] >> 8) * Buffer("y", (3,), INT8)[ROW])) == ""  # y in xdata


@pytest.mark.parametrize(
    "other",
    [
        total(J, (W[ROW, J] >> 7) * X[J]),
        total(J, W[ROW, J] * X[J]),
        total(J, (X[J] >> 8) * X[J]),
        total(J, (W[ROW, J] >> 8) * (X[J] >> 1)),
        total(J, (Buffer("v", (20,), INT16)[J] >> 8) * X[J]),
        total(J, (Buffer("v", (3, 20), Interval(0, 99))[ROW, J] >> 1) * X[J]),
        total(J, (Buffer("v", (20, 20), INT16)[J, J] >> 8) * X[J]),
    ],
)  # fmt: skip
def test_other_sums_are_left_alone(other: Expr) -> None:
    assert called(other) == ""


def test_loops_that_are_too_long_or_not_worth_a_call_are_left_alone() -> None:
    for n, kernel in ((3, ""), (4, "nn_kernel_dot_u8"), (255, "nn_kernel_dot_u8"), (256, "")):
        j, x, w = Var("j", n), Buffer("x", (n,), UINT8), Buffer("w", (3, n), INT16)
        dot = total(j, (w[ROW, j] >> 8) * x[j])
        spaces = {x: "NN_IDATA", w: "NN_XDATA"}
        found = sum_kernel(MCS51, dot, spaces.__getitem__)
        assert (found[0].kernel if found else "") == kernel


def test_buffers_must_live_where_the_kernel_reads_them() -> None:
    dot = total(J, (W[ROW, J] >> 8) * X[J])
    assert sum_kernel(MCS51, dot, lambda _: "NN_XDATA") is None
    assert sum_kernel(MCS51, dot, lambda _: "NN_IDATA") is None
    assert sum_kernel(MCS51, dot) is not None


def update(factor: Expr, x: Buffer = X, multiple: int = 157) -> Map:
    dither = (DRAWS[ROW] + J * multiple) & 255
    return Map("u", W, (ROW, J), saturate(W[ROW, J] - ((factor * x[J] + dither) >> 8)))


def test_a_row_is_matched_where_factor_and_dither_stand_still() -> None:
    def row(m: Map) -> str:
        kernel = row_kernel(MCS51, m, space)
        return kernel[0].kernel if kernel else ""

    assert row(update(FACTOR[ROW])) == "nn_kernel_update_u8"
    assert row(update(FACTOR[ROW], SIGNED_X)) == "nn_kernel_update_s8"
    assert row(update(FACTOR[ROW], multiple=155)) == ""
    assert row(update(Buffer("g", (20,), INT16)[J])) == ""
    assert row(update(Buffer("wide", (3,), Interval(-40000, 40000))[ROW] >> 1)) != ""
    bias = Map("b", BIAS, (ROW,), saturate(BIAS[ROW] - ((FACTOR[ROW] * 128 + DRAWS[ROW]) >> 8)))
    assert row(bias) == ""


def test_what_the_kernels_read_is_placed_first_and_weights_stay_outside() -> None:
    network = prepare(load_project(examples_dir() / "digits", []))
    buffers = {b.name: b for b in network.program.buffers}
    memory = make_memory(network.program, 90, MCS51)
    inside = {"x", "activation1", "seen_delta2"}
    assert all(memory.space[buffers[name]] == "NN_IDATA" for name in inside)
    assert memory.used["idata"] == 90
    xor = prepare(load_project(examples_dir() / "xor", []))
    memory = make_memory(xor.program, 64, MCS51)
    assert all(s == "NN_XDATA" for b, s in memory.space.items() if b.name.startswith("weight"))


@pytest.mark.parametrize(
    ("example", "settings", "kernels"),
    [
        ("digits", [], {"dot_u8", "dot_s8", "update_u8"}),
        ("digits", ["train.optimizer=momentum"], {"dot_u8", "dot_s8", "add"}),
        ("digits", ["train.batch=8"], {"dot_u8", "dot_s8", "gather_u8"}),
        ("iris", [], {"dot_u8", "dot_s8"}),
        ("xor", [], {"dot_s8"}),
        ("iris", ["build.kernels=portable"], set()),
        ("iris", ["net.preset=q16"], set()),
    ],
)
def test_a_net_calls_the_kernels_it_can_and_only_those_are_compiled(
    example: str, settings: list[str], kernels: set[str]
) -> None:
    network = prepare(load_project(examples_dir() / example, settings))
    board = boards.get("simstc8")
    # Without room for planes, in which passes would do the work of kernels.
    board = replace(board, ram=board.ram | {"xram": boards.Memory(0, 0)})
    files = board_sources(network, board)
    called = {name.lower() for name in re.findall(r"#define NN_KERNEL_(\w+)", files["nn_config.h"])}
    outputs = {rule.kernel.removeprefix("nn_kernel_") for rule in mcs51_outputs.RULES}
    assert called - outputs - {"saturate", "pick", "multiply"} == kernels
    for name in called:
        assert f"nn_kernel_{name}(" in files["nn_net.c"]
