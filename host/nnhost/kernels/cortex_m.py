"""The rules of Cortex-M: what firmware/kernels/thumb1, thumb2, dsp and mve compute."""

from __future__ import annotations

from collections.abc import Iterable

from nnhost.ir import INT16, UINT16, Const, Draw, Expr, Interval, Load, Map, Var, total
from nnhost.kernels.rules import ALIGNED, Hole, LoopRule, Rules
from nnhost.layers.dense import Step, noise, spread
from nnhost.optimizers import OPTIMIZERS
from nnhost.plan import MAX_FAN_IN

_LONGEST = MAX_FAN_IN
_ROW, _COLUMN = Var("row", _LONGEST), Var("column", _LONGEST)
_INPUTS = ("uint8_t", "int8_t", "uint16_t", "int16_t")
_ONE = Const(1)


def _matrix(name: str, columns: int = _LONGEST, bounds: Interval = INT16) -> Hole:
    return Hole(name, (_LONGEST, columns), bounds, space=ALIGNED)


def _inputs(bits: int, least: int = -(1 << 15)) -> Hole:
    """Inputs that `bits` bits and a sign hold, from `least` on."""
    bounds = Interval(max(least, -(1 << bits)), (1 << bits) - 1)
    return Hole("x", (_LONGEST,), bounds, space=ALIGNED, types=_INPUTS)


_WEIGHT, _VELOCITY = _matrix("weight"), _matrix("velocity")
_FACTOR = Hole("factor", (_LONGEST,), INT16, space=ALIGNED)
_DRAWS = _matrix("draws", 2, UINT16)
_PLACE = _WEIGHT[_ROW, _COLUMN]


def _sums(seen: int, room: int) -> LoopRule:
    """All sums of a layer."""
    x = _inputs(15)
    pattern = total(_COLUMN, (_PLACE >> seen) * x[_COLUMN])
    return LoopRule(
        "nn_kernel_sums", pattern, _COLUMN, (_WEIGHT, x), outer=_ROW, numbers=(seen,), room=room
    )


def _sums_across(seen: int, room: int) -> LoopRule:
    """All sums of a backward pass: over the rows, for each column."""
    x = _inputs(15)
    pattern = total(_ROW, (_PLACE >> seen) * x[_ROW])
    return LoopRule(
        "nn_kernel_sums_across",
        pattern,
        _ROW,
        (_WEIGHT, x),
        outer=_COLUMN,
        numbers=(seen,),
        room=room,
    )


def _maps(
    optimizer: str,
    x: Hole,
    shift: int,
    extra: int = 0,
    slot: Hole | None = None,
    by: Expr = _ONE,
    first: Expr = _ONE,
) -> list[Map]:
    """How an optimizer changes a matrix with a sample, which is the `first` of its batch or not."""
    drawn = noise(_DRAWS[_ROW, 1], spread(_COLUMN, shift), shift)
    step = Step(_FACTOR[_ROW], x[_COLUMN], drawn, shift, extra, by)
    index = (_ROW, _COLUMN)
    return OPTIMIZERS[optimizer].update(
        step.of(_WEIGHT, (slot,) if slot else (), index, first, _ONE)
    )


def _update(shift: int, room: int) -> LoopRule:
    """Plain SGD. Steps fit 16 bits."""
    x = _inputs(min(shift, 15), 1 - (1 << shift))
    (m,) = _maps("sgd", x, shift)
    holes = (_WEIGHT, x, _FACTOR, _DRAWS)
    return LoopRule(
        "nn_kernel_update", m.expr, _COLUMN, holes, m.place, outer=_ROW, numbers=(shift,), room=room
    )


def _batch(optimizer: str, shift: int, room: int) -> LoopRule:
    """A slot that gathers the steps of a batch. Steps fit 16 bits."""
    x = _inputs(min(shift, 15), 1 - (1 << shift))
    first = Hole("first", (), Interval(0, 1))
    by = Hole("momentum", (), Interval(1, (1 << shift) - 1))
    moves = optimizer == "momentum"
    m, _ = _maps(optimizer, x, shift, 0, _VELOCITY, by() if moves else _ONE, first())
    return LoopRule(
        "nn_kernel_velocity" if moves else "nn_kernel_gather",
        m.expr,
        _COLUMN,
        (_VELOCITY, x, _FACTOR, _DRAWS, first, *((by,) if moves else ())),
        m.place,
        outer=_ROW,
        numbers=(shift,),
        room=room,
    )


def _momentum(
    name: str, shift: int, extra: int, *, room: int, bits: int = 15, more: bool = False
) -> LoopRule:
    """SGD with momentum, of inputs of so many bits; `more`: for momentums of more than a half."""
    most = (1 << shift) - 1
    x = _inputs(bits)
    by = Hole("momentum", (), Interval(most // 2 + 2 if more else 1, most))
    moved, added = _maps("momentum", x, shift, extra, _VELOCITY, by())
    return LoopRule(
        name,
        moved.expr,
        _COLUMN,
        (_VELOCITY, _WEIGHT, x, _FACTOR, _DRAWS, by),
        moved.place,
        outer=_ROW,
        numbers=(shift, extra),
        then=(added.place, added.expr),
        room=room,
    )


def _momentum_biases(shift: int, extra: int) -> LoopRule:
    """The same for biases, whose input and column are constants."""
    x = Hole("input", (), Interval(0, (1 << 15) - 1))
    distance = Hole("distance", (), Interval(0, (1 << 30) - 1))
    by = Hole("momentum", (), Interval(1, (1 << shift) - 1))
    drawn = noise(_DRAWS[_ROW, 1], distance(), shift)
    step = Step(_FACTOR[_ROW], x(), drawn, shift, extra, by())
    weight, velocity = (
        Hole(name, (_LONGEST,), INT16, space=ALIGNED) for name in ("weight", "velocity")
    )
    moved, added = OPTIMIZERS["momentum"].update(step.of(weight, (velocity,), (_ROW,), _ONE, _ONE))
    return LoopRule(
        "nn_kernel_momentum_biases",
        moved.expr,
        _ROW,
        (velocity, weight, _FACTOR, _DRAWS, by, x, distance),
        moved.place,
        numbers=(shift, extra),
        then=(added.place, added.expr),
    )


def _draw() -> LoopRule:
    """The noise of all rows."""
    place: Load = _DRAWS[_ROW, Var("column", 2)]
    loop = place.index[1]
    assert isinstance(loop, Var)
    return LoopRule("nn_kernel_draw", Draw(), loop, (_DRAWS,), place, outer=_ROW)


#: The shifts and extra bits that momentum may have.
_MOMENTUMS = [(shift, extra) for shift in range(8, 16) for extra in range(7)]


def _sums_and_draws(room: int = 0, across: int = 0) -> Iterable[LoopRule]:
    """Rules of all; the room that the kernels of sums and of sums `across` need."""
    for seen in (0, 8):
        yield _sums(seen, room)
        yield _sums_across(seen, across)
    yield _draw()


def _updates(room: int = 0) -> Iterable[LoopRule]:
    """Rules of all for plain steps and batches."""
    for shift in range(1, 17):
        yield _update(shift, room)
        yield _batch("sgd", shift, room)
    for shift in range(8, 16):
        yield _batch("momentum", shift, room)


def _scalar() -> Iterable[LoopRule]:
    yield from _sums_and_draws()
    yield from _updates()
    for shift, extra in _MOMENTUMS:
        yield _momentum_biases(shift, extra)
        yield _momentum("nn_kernel_momentum", shift, extra, room=0)


def _dsp() -> Iterable[LoopRule]:
    yield from _sums_and_draws(room=1)
    yield from _updates(room=1)
    for shift, extra in _MOMENTUMS:
        yield _momentum_biases(shift, extra)
        # Inputs and momentums whose sums with 16 bits of fraction fit 32 bits.
        yield _momentum("nn_kernel_momentum", shift, extra, room=1, bits=shift - 1, more=True)
        yield _momentum("nn_kernel_momentum_wide", shift, extra, room=1)


def _mve() -> Iterable[LoopRule]:
    yield from _sums_and_draws(room=1, across=1)
    # Inputs in 32 bits; what is left, such as biases, is done in lanes (`nnhost.emit_lanes`).
    yield from _updates(room=2)
    for shift, extra in _MOMENTUMS:
        yield _momentum("nn_kernel_momentum", shift, extra, room=2, bits=min(shift, 15), more=True)


SCALAR: Rules = tuple(_scalar())
DSP: Rules = tuple(_dsp())
MVE: Rules = tuple(_mve())
