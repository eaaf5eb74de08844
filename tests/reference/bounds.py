"""How far one training step of the integers may be from the same step in real numbers.

Bounds, not estimates: every rounding of docs/semantics.md is charged with its largest error, and
errors are carried on by the mean value theorem. Both sides start from the same stored weights and
the same quantised sample. All arrays are one entry an element.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnhost.fixed import INTERPOLATION_BITS
from nnhost.optimizers.adaptive import count_fraction
from nnhost.optimizers.base import GATHERED, GRADIENT, MOMENT, SLOT_TYPES, SQUARE, VELOCITY
from nnhost.plan import COARSER, LayerPlan, Plan
from nnhost.reference import BatchPass, Pass, Reference

Real = NDArray[Any]


class Near(NamedTuple):
    """Real numbers and how far the integers may be from them."""

    value: Real
    error: Real


class MaySaturate(Exception):
    """A value may leave its format, where the integers clip and real numbers do not."""


@dataclass(frozen=True)
class Bounds:
    """Largest errors after a step: of the loss, the deltas (without the loss's constant factor)
    and the stored changes of weights and biases, in real units; lists have an entry a layer.
    `slots`: of the optimizer's, by their names."""

    loss: float
    deltas: list[Real]
    slots: dict[str, list[Real]]
    weights: list[Real]
    biases: list[Real]


@dataclass(frozen=True)
class Curve:
    """A tabulated function: steepest slope, largest second derivative, step 2^-fraction, and how
    far it still is from its limit at z."""

    slope: float
    bend: float
    fraction: int
    tail: Callable[[float], float]

    def error(self, z: Real, e: Real, unit: float, fine: bool) -> Real:
        """Of the looked-up value, from the error `e` of z."""
        step = 2.0**-self.fraction
        place = step / 2 / (2**INTERPOLATION_BITS if fine else 1)  # position to the nearest
        chord = self.bend / 8 * step**2 + unit if fine else 0.0  # straight line, then floor
        cut = np.where(np.abs(z) + e + place > 127 * step, self.tail(127 * step), 0.0)
        # An entry is rounded (unit / 2) or held below 1 (at most a unit).
        return self.slope * (e + place) + chord + cut + unit


CURVES = {
    "tanh": Curve(1.0, 0.77, 5, lambda z: 1 - math.tanh(z)),
    "sigmoid": Curve(0.25, 0.0963, 4, lambda z: 1 / (1 + math.exp(z))),
}


#: Where the hard ones bend, and their slope inside.
HARD = {"hard-sigmoid": (2.0, 0.25), "hard-tanh": (1.0, 1.0)}


def forward_error(name: str, z: Real, e: Real, unit: float, fine: bool) -> Real:
    """Error of an activation's value with fraction step `unit`, from the error `e` of z."""
    if name in CURVES:
        return CURVES[name].error(z, e, unit, fine)
    # To the nearest; the leaky side is floored once more, after a division by eight; the hard ones
    # end a unit below 1.
    return e * (1 / 4 if name == "hard-sigmoid" else 1) + unit * {
        "linear": 1 / 2, "relu": 1 / 2, "leaky-relu": 9 / 8, "hard-sigmoid": 1, "hard-tanh": 1,
    }[name]  # fmt: skip


def backward_error(name: str, g: Near, z: Near, a: Near, unit: float, last: float) -> Real:
    """Error of g times the derivative; `unit` and `last` are the steps of a and of the result."""
    if name == "linear":
        return g.error
    size = np.abs(g.value)
    if name in ("relu", "leaky-relu"):
        lost = size * (1 if name == "relu" else 7 / 8)  # if the signs of z differ
        return np.asarray(g.error + np.where(np.abs(z.value) <= z.error + unit / 2, lost, 0) + last)
    if name in HARD:
        end, slope = HARD[name]
        # What is looked up is the rounded value, which may touch an end before z does, or after.
        unsure = np.abs(np.abs(z.value) - end) <= z.error + 3 / 2 * unit / slope
        return np.asarray(slope * g.error + np.where(unsure, slope * size, 0) + last)
    slope, change = {
        "tanh": (1 - a.value**2, 2 * np.abs(a.value)),
        "sigmoid": (a.value * (1 - a.value), np.abs(1 - 2 * a.value)),
    }[name]
    e_slope = (change + a.error) * a.error + 2.0**-15
    return np.asarray((slope + e_slope) * g.error + size * e_slope + last / 2)


def loss_error(plan: Plan, p: Pass, e: Real, target: Real) -> tuple[float, Real]:
    """Errors of the loss and of its gradient, from the errors `e` of the outputs."""
    count = plan.n_outputs
    near = 1 / 32  # logits are rounded to sixteenths
    if plan.loss.real_targets:
        d = np.abs(p.sums[-1] - target)
        fraction = plan.layers[-1].delta_fraction
        e_d = e + 2.0 ** -(fraction + 1)
        inside(d, e_d, 2.0 ** (15 - fraction))
        return {
            "mse": lambda: (float(np.mean((2 * d + e_d) * e_d + 2.0**-16)), e_d),
            "mae": lambda: (float(np.mean(e_d)), np.where(d <= e_d, 2.0, 0.0)),
            "huber": lambda: (float(np.mean(np.minimum(d + e_d, 1) * e_d + 2.0**-16)), e_d),
        }[plan.loss.name]()
    if plan.loss.name == "binary-cross-entropy":
        return float(np.mean(e + near + 1 / 512)), (e + near) / 4 + 2.0**-15
    worst = e.max() + near
    table = (count + 4) * 2.0**-16  # entries of exp, the quotient, the clip at 1
    logarithm = (2.5 + 0.45 * math.ceil(math.log2(count))) / 256 + count * 2.0**-16
    logarithm += 1 / 512 if plan.label_smoothing else 0.0  # of the weighed distances
    return 2 * worst + logarithm, np.full(count, worst / 2 + table)


def step_bounds(r: Reference, x: Real, y: Any, first: bool, last: bool) -> Bounds:
    """The bounds of a step that starts from the weights of `r`; raises MaySaturate."""
    plan, p = r.plan, r.backward(x, y)
    factor = plan.loss.gradient_scale(plan.n_outputs)
    deltas = [d / factor for d in p.deltas]
    e_in: list[Real] = [np.zeros_like(p.inputs[0])]
    e_sum: list[Real] = []
    for i, layer in enumerate(plan.layers):
        e_w = seen_error(layer)
        w = np.abs(r.weights[i]) + e_w
        e_sum.append(w @ e_in[i] + e_w * (np.abs(p.inputs[i]).sum() + 1))
        if layer.activation and layer.output:
            unit = 2.0**-layer.output.fraction
            e_in.append(forward_error(layer.activation, p.sums[i], e_sum[i], unit, plan.fine))
            if layer.activation not in (*CURVES, *HARD):
                inside(p.inputs[i + 1], e_in[-1], layer.output.interval.hi * unit)

    loss, e_top = loss_error(plan, p, e_sum[-1], r.target(y))
    if plan.class_weights:
        # The loss has 15 bits or more left, of at most 16 (nats) or 4 (mean squares); delta 16.
        weight = plan.class_weights[int(y)] * 2.0**-15
        loss = loss * weight * plan.top_weight + plan.top_weight * 2.0**-9
        e_top = e_top * weight + 2.0 ** -(plan.layers[-1].delta_fraction + 1)
    e_delta = [e_top]
    for i in range(len(plan.layers) - 1, 0, -1):
        layer, below = plan.layers[i], plan.layers[i - 1]
        assert below.activation
        assert below.output
        last = 2.0**-below.delta_fraction
        g, e_g = gradient_bounds(layer, deltas[i], e_delta[0], r.weights[i])
        inside(g, e_g, 2.0 ** (15 - below.delta_fraction))
        e_delta.insert(0, backward_error(
            below.activation, Near(g, e_g), Near(p.sums[i - 1], e_sum[i - 1]),
            Near(p.inputs[i], e_in[i]), 2.0**-below.output.fraction, last,
        ))  # fmt: skip

    found = Bounds(loss, e_delta, {slot: [] for slot in r.slots}, [], [])
    if r.optimizer.adaptive:
        after = stepped(r, x, y, first, last)
        for i in range(len(plan.layers)):
            delta, a = Near(deltas[i] * factor, e_delta[i] * factor), Near(p.inputs[i], e_in[i])
            adaptive_error(found, r, after, i, delta, a)
        return found
    for i, layer in enumerate(plan.layers):
        delta, a = Near(deltas[i], e_delta[i]), Near(p.inputs[i], e_in[i])
        one = Near(np.ones(1), np.zeros(1))
        if layer.curvature:
            delta, a, one = turned(layer, *r.inverses[i], delta, a)
        rate = r.rate * factor  # of the deltas without the loss's factor
        ahead = plan.optimizer == "nesterov"
        slot = np.abs(r.slots[VELOCITY][i]) + np.abs(r.slots[GATHERED][i])
        slots, stored = update_error(layer, rate, delta, a, r.weights[i], slot, ahead)
        for name in (VELOCITY, GATHERED):
            found.slots[name].append(slots)
        found.weights.append(stored)
        slot = np.abs(r.slots[f"bias_{VELOCITY}"][i]) + np.abs(r.slots[f"bias_{GATHERED}"][i])
        slots, stored = update_error(
            layer, rate, delta, one, r.biases[i][:, None], slot[:, None], ahead
        )
        for name in (VELOCITY, GATHERED):
            found.slots[f"bias_{name}"].append(slots[:, 0])
        found.biases.append(stored[:, 0])
    return found


@dataclass(frozen=True)
class BatchBounds:
    """Largest errors after a normalised batch: of the deltas (B, fan_out) without the loss's
    factor; of the slots and the stored values of the weights, the biases and the scales, the last
    of hidden layers; of the running means and variances. Lists have an entry a layer."""

    deltas: list[Real]
    slots: list[list[dict[str, Real]]]
    stored: list[list[Real]]
    means: list[Real]
    variances: list[Real]


@dataclass(frozen=True)
class Normal:
    """A layer's normalisation of a batch: the roots (fan_out,), the sums normalised (B, fan_out),
    what the activation sees."""

    root: Near
    value: Near
    shifted: Near


def normal_bounds(r: Reference, i: int, z: Near, p: BatchPass) -> tuple[Normal, Real, Real]:
    """Of layer i, from its sums; and the errors of their means and variances."""
    rows, norm, half = len(z.value), r.norms[i], 2.0**-12
    inside(z.value, z.error, 16)
    e_mean = z.error.mean(axis=0) + half
    d = z.value - p.means[i]
    e_d = z.error + e_mean
    inside(d, e_d, 15.99)
    # The squares are rounded by as many bits as a sum of them gains, and so is their mean.
    e_variance = ((2 * np.abs(d) + e_d) * e_d).mean(axis=0) + 2.0 ** ((rows - 1).bit_length() - 22)
    s = p.variances[i] + 2.0**-10
    lowest = np.maximum(s - e_variance, 2.0**-10) ** -0.5
    root = s**-0.5
    e_root = np.maximum(lowest - root, root - (s + e_variance) ** -0.5) + lowest * 2.0**-11
    e_normal = np.abs(d) * e_root + (root + e_root) * e_d + half / 2
    inside(p.normals[i], e_normal, 8)
    gamma = np.abs(norm.gamma)
    shifted = norm.gamma * p.normals[i] + r.biases[i]
    found = Normal(
        Near(root, e_root), Near(p.normals[i], e_normal), Near(shifted, gamma * e_normal)
    )
    return found, e_mean, e_variance


def batch_bounds(r: Reference, xs: Real, ys: list[Any]) -> BatchBounds:
    """The bounds of the last step of a batch of samples xs (B, n) that starts from the weights of
    `r`; raises MaySaturate."""
    plan, p = r.plan, r.backward_batch(xs, ys)
    factor = plan.loss.gradient_scale(plan.n_outputs)
    hidden = len(r.norms)
    e_in: list[Real] = [np.zeros_like(p.inputs[0])]
    normals: list[Normal] = []
    found = BatchBounds([], [], [], [], [])
    for i, layer in enumerate(plan.layers):
        e_w = seen_error(layer)
        e_z = e_in[i] @ (np.abs(r.weights[i]) + e_w).T
        e_z = e_z + e_w * (np.abs(p.inputs[i]).sum(axis=1) + (i == hidden))[:, None]
        if i == hidden:
            e_top = e_z
            break
        normal, e_mean, e_variance = normal_bounds(r, i, Near(p.sums[i], e_z + 2.0**-12), p)
        normals.append(normal)
        # A difference moves a running value by an eighth of its error, and it is rounded down.
        found.means.append(e_mean / 8 + 2.0**-19)
        found.variances.append(e_variance / 8 + 2.0**-22)
        assert layer.activation
        assert layer.output
        unit = 2.0**-layer.output.fraction
        kept = 1.0 if r.masks is None else r.masks[i]
        e_in.append(forward_error(layer.activation, *normal.shifted, unit, plan.fine) * kept)
        if layer.activation not in (*CURVES, *HARD):
            inside(p.inputs[i + 1], e_in[-1], layer.output.interval.hi * unit)

    rows = [Pass(0.0, [], [z], []) for z in p.sums[-1]]
    e_deltas = [
        loss_error(plan, row, e, r.target(y))[1] for row, e, y in zip(rows, e_top, ys, strict=True)
    ]
    found.deltas.append(np.stack(e_deltas))
    slopes: list[tuple[Near, Near]] = []  # mean gradients of shifts and scales
    for i in range(hidden - 1, -1, -1):
        layer, above, normal = plan.layers[i], plan.layers[i + 1], normals[i]
        last = 2.0**-layer.delta_fraction
        g, e_g = gradient_bounds(above, p.deltas[i + 1] / factor, found.deltas[0], r.weights[i + 1])
        inside(g, e_g, 2.0 ** (15 - layer.delta_fraction))
        assert layer.activation
        assert layer.output
        e_slope = backward_error(
            layer.activation, Near(g, e_g), normal.shifted, Near(p.inputs[i + 1], e_in[i + 1]),
            2.0**-layer.output.fraction, last,
        )  # fmt: skip
        e_slope = e_slope * (1.0 if r.masks is None else r.masks[i])
        slope, n, e_n = p.slopes[i] / factor, *normal.value
        beta = Near(slope.mean(axis=0), e_slope.mean(axis=0) + last / 2)
        e_along = np.abs(slope) * e_n + (np.abs(n) + e_n) * e_slope
        gamma = Near((slope * n).mean(axis=0), e_along.mean(axis=0) + last)
        inside(gamma.value, gamma.error, 32767 * last)
        slopes.insert(0, (beta, gamma))
        e_taken = np.abs(n) * gamma.error + (np.abs(gamma.value) + gamma.error) * e_n + last / 2
        left = slope - beta.value - n * gamma.value
        e_left = e_slope + beta.error + e_taken
        inside(left, e_left, 32767 * last)
        scale, root = np.abs(r.norms[i].gamma), normal.root
        inside(scale, scale * 0, 32000 * 2.0**-layer.weight_fraction)
        # Half of the product's last bit, which is below the root by the scale's fraction.
        e_gain = scale * root.error + (root.value + root.error) * 2.0**-layer.weight_fraction
        gain = scale * root.value
        e_delta = np.abs(left) * e_gain + (gain + e_gain) * e_left + last / 2
        inside(p.deltas[i] / factor, e_delta, 32767 * last)
        found.deltas.insert(0, e_delta)

    count, rate, slack = len(xs), r.rate * factor, 0.0
    after = r
    if r.optimizer.adaptive:
        # The mean's factor has 8 bits.
        rate, slack = plan.top_weight / plan.batch * factor, 2.0**-8
        after = copy.deepcopy(r)
        after.learn(xs, ys)
    for i, layer in enumerate(plan.layers):
        unit = 2.0**-layer.slot_fraction
        row = unit * 2.0 ** (layer.input.fraction - layer.product_shift)
        room = (2 ** layer.factor_bits(count) - 1) * row
        delta, e_d = p.deltas[i] / factor, found.deltas[i]
        inside(delta * rate, e_d * rate + row, room)
        x, e_x = np.abs(p.inputs[i]), e_in[i]
        error = rate * (np.abs(delta).T @ e_x + e_d.T @ (x + e_x)) + row * (x + e_x).sum(axis=0)
        error = error + slack * rate * np.abs(delta).T @ x
        lone = rate * (e_d + slack * np.abs(delta)).sum(axis=0) + row * count
        changes = [
            (rate * np.abs(delta.T @ p.inputs[i]), error, r.weights[i], after.weights[i]),
            (rate * np.abs(delta.sum(axis=0)), lone, r.biases[i], after.biases[i]),
        ]
        for norm, other, pair in zip(r.norms[i : i + 1], after.norms[i : i + 1], slopes[i : i + 1],
                                     strict=True):  # fmt: skip
            sizes = [rate * np.abs(slope.value) for slope in pair]
            errors = [rate * slope.error + row + slack * size
                      for slope, size in zip(pair, sizes, strict=True)]  # fmt: skip
            for size, e in zip(sizes, errors, strict=True):
                inside(size, e, room)
            changes[1] = (count * sizes[0], count * errors[0], r.biases[i], after.biases[i])
            changes.append((count * sizes[1], count * errors[1], norm.gamma, other.gamma))
        slots: list[dict[str, Real]] = []
        stored: list[Real] = []
        for at, (size, e, w, changed) in enumerate(changes):
            held, new = tensor_slots(r, i, at), tensor_slots(after, i, at)
            if r.optimizer.adaptive:
                one, error = adaptive_part(r, after, i, Near(size, e + unit), held, new, w, changed)
            else:
                v = np.abs(held[VELOCITY])
                moved, error = stored_error(
                    layer, v + size, e + unit, w, plan.optimizer == "nesterov"
                )
                one = {VELOCITY: moved}
            slots.append(one)
            stored.append(error)
        found.slots.append(slots)
        found.stored.append(stored)
    return found


def tensor_slots(r: Reference, i: int, at: int) -> dict[str, Real]:
    """The slots of a layer's weights, biases or scales, by their names."""
    if at == 2:
        return r.norms[i].slots
    return {name: r.slots[("", "bias_")[at] + name][i] for name in SLOT_TYPES}


def gradient_bounds(layer: LayerPlan, deltas: Real, errors: Real, weights: Real) -> Near:
    """The deltas (B, fan_out) of a layer through its weights, before the derivative below."""
    unit = 2.0 ** -(layer.delta_fraction - layer.seen_delta_shift)
    top, d = layer.seen_delta.hi * unit, np.abs(deltas)
    # Rounded to the nearest; what int16 holds is at most a unit beyond the top.
    e_seen = errors + np.where(d + errors + unit >= top, 1.5, 0.5) * unit
    e_w = seen_error(layer)
    e_g = e_seen @ (np.abs(weights) + e_w) + e_w * d.sum(axis=-1, keepdims=True) + 2.0**-14
    return Near(deltas @ weights, e_g)


def turned(
    layer: LayerPlan, left: Real, right: Real, delta: Near, a: Near
) -> tuple[Near, Near, Near]:
    """Deltas, inputs and the bias's constant as K-FAC turns them: rounded once more."""
    assert layer.curvature
    fractions = (layer.delta_fraction - COARSER, layer.input.fraction + layer.curvature.finer)
    whole = Near(np.append(a.value, 1), np.append(a.error, 0))
    found = []
    for inverse, x, fraction in zip((right, left), (delta, whole), fractions, strict=True):
        near = Near(inverse @ x.value, np.abs(inverse) @ x.error + 2.0 ** -(fraction + 1))
        inside(near.value, near.error, 32767 * 2.0**-fraction)
        found.append(near)
    value, error = found[1]
    return found[0], Near(value[:-1], error[:-1]), Near(value[-1:], error[-1:])


def update_error(
    layer: LayerPlan, rate: float, delta: Near, a: Near, weight: Real, slot: Real, ahead: bool
) -> tuple[Real, Real]:
    """Errors of an update's slot and stored weight, from the layer's deltas and inputs `a`; `slot`:
    largest magnitude of what is in the slots; `ahead`: the momentum is applied once more."""
    unit = 2.0 ** -(layer.weight_fraction + layer.extra)  # of the slot
    finer = layer.curvature.finer if layer.curvature else 0
    # Last bit of the row factor.
    row = unit * 2.0 ** (layer.input.fraction + finer - layer.product_shift)
    inside(delta.value * rate, delta.error * rate, 32767 * row)
    d, e_d, x = np.abs(delta.value)[:, None], delta.error[:, None], np.abs(a.value)
    change = slot + rate * d * x
    error = rate * (d * a.error + x * e_d + e_d * a.error) + row * (x + a.error) + unit
    return stored_error(layer, change, error, weight, ahead)


def stored_error(
    layer: LayerPlan, change: Real, error: Real, weight: Real, ahead: bool
) -> tuple[Real, Real]:
    """Errors of slot and stored weight, from the largest `change` of the slot and its error."""
    unit = 2.0 ** -(layer.weight_fraction + layer.extra)
    # A limit is a unit off at most; and momentum times the slot is rounded on its own.
    error = error + 2 * unit * (layer.clip != ())
    inside(change, error, 32767 * unit)
    last = 2.0**-layer.weight_fraction
    # To the nearest above or below: narrowing, and what the decays take.
    stored = error + last * ((layer.extra > 0) + (layer.l1 is not None) + (layer.l2 is not None))
    if ahead:
        # The slot's error once more, less than itself, and the rounding of momentum times slot.
        change, stored, error = 2 * change, stored + error + 2 * unit, error + unit
        inside(change, stored, 32767 * unit)
    inside(np.abs(weight) + change, stored, 32000 * last)
    return error, stored


def stepped(r: Reference, x: Real, y: Any, first: bool, last: bool) -> Reference:
    """The reference after a step; `r` stays as it is."""
    after = copy.copy(r)
    after.weights, after.biases = ([a.copy() for a in b] for b in (r.weights, r.biases))
    after.slots = {name: [a.copy() for a in held] for name, held in r.slots.items()}
    after.step(x, y, first, last)
    return after


def adaptive_error(
    found: Bounds, r: Reference, after: Reference, i: int, delta: Near, a: Near
) -> None:
    """Add the errors of an adaptive optimizer's step of layer i to `found`."""
    layer, plan = r.plan.layers[i], r.plan
    unit = 2.0**-layer.slot_fraction
    row = unit * 2.0 ** (layer.input.fraction - layer.product_shift)
    mean = plan.top_weight / plan.batch
    inside(delta.value * mean, delta.error * mean, 32767 * row)
    d, e_d = np.abs(delta.value)[:, None], delta.error[:, None]
    for kind, x, weight, changed in (
        ("", a, r.weights[i], after.weights[i]),
        ("bias_", Near(np.ones(1), np.zeros(1)), r.biases[i], after.biases[i]),
    ):
        slope = (mean * d * np.abs(x.value)).reshape(weight.shape)
        e_g = mean * (d * x.error + np.abs(x.value) * e_d + e_d * x.error).reshape(weight.shape)
        # The mean's factor has 8 bits.
        e_g = e_g + slope * 2.0**-8 + unit + row * (np.abs(x.value) + x.error)
        held, new = (tensor_slots(net, i, int(kind != "")) for net in (r, after))
        slots, error = adaptive_part(r, after, i, Near(slope, e_g), held, new, weight, changed)
        for name, e in slots.items():
            found.slots[f"{kind}{name}"].append(e)
        (found.biases if kind else found.weights).append(error)


def adaptive_part(
    r: Reference, after: Reference, i: int, slope: Near, before: dict[str, Real],
    now: dict[str, Real], weight: Real, changed: Real,
) -> tuple[dict[str, Real], Real]:  # fmt: skip
    """Errors of the slots and of the stored value of a tensor of layer i, from the largest gradient
    that is added to what is gathered; its slots `before` and `now`."""
    layer, plan = r.plan.layers[i], r.plan
    way = layer.adaptation
    assert way is not None
    unit, last = 2.0**-way.fraction, 2.0**-layer.weight_fraction
    # Of the newest gradient's share: of its 15 bits, of the count's fraction, of 1 - beta.
    newest = [1 / n if r.optimizer.corrected else 1 - beta
              for n, beta in zip(after.counts, plan.averages, strict=True)]  # fmt: skip
    e_newest = [2.0**-15 + s * (2.0**-8 * (1 - b) + s * 2.0 ** -count_fraction(b))
                for s, b in zip(newest, plan.averages, strict=True)]  # fmt: skip
    found: dict[str, Real] = {}
    e_g = slope.error
    g = slope.value + np.abs(before[GRADIENT])
    found[GRADIENT] = e_g
    inside(g, e_g, 32767 * unit)
    e_g = e_g + 2 * unit * (layer.clip != ())
    if weight.ndim == 2 and not r.optimizer.decoupled:
        for decay, size in ((layer.l2, np.abs(weight) / last), (layer.l1, 1.0)):
            if decay:
                g, e_g = g + decay.real(0) * size * unit, e_g + unit
    inside(g, e_g, 32767 * unit)
    moment, square = np.abs(before[MOMENT]), before[SQUARE]
    direction, e_y = np.abs(now[MOMENT]), e_g
    if MOMENT in plan.slots:
        e_y = newest[0] * e_g + e_newest[0] * (g + e_g + moment) + unit
    else:
        direction = g
    found[MOMENT] = e_y
    share, e_share = (newest[-1], e_newest[-1]) if newest else (1.0, 0.0)
    top = np.maximum(square, (g + e_g) ** 2)
    # A mantissa's last bit; what alignment leaves out; the smallest of what is computed with.
    e_s = share * (2 * g + e_g) * e_g + e_share * (top + (g + e_g) ** 2)
    e_s = e_s + (now[SQUARE] + e_s) * 2.0**-10 + top * 2.0**-13 + unit**2 * 2.0**-12
    found[SQUARE] = e_s
    s, least = now[SQUARE], way.epsilon**2
    rates = plan.pace.rates if plan.pace else layer.rates
    product = 2.0 ** (14 - way.root_shift) * rates[r.stage]
    rho = 2.0**-10 + 1 / product  # of the table of roots, and of its product with the rate
    root = 1 / np.sqrt(np.maximum(s, least))
    high = (1 + rho) / np.sqrt(np.maximum(s - e_s, least))
    low = (1 - rho) / np.sqrt(np.maximum(s + e_s, least))
    error = r.rate * (e_y * high + direction * np.maximum(high - root, root - low)) + last
    error = error + last * ((layer.l1 is not None) + (layer.l2 is not None))
    inside(np.abs(weight) + np.abs(changed - weight), error, 32000 * last)
    return found, error


def seen_error(layer: LayerPlan) -> float:
    """Of a weight as the passes see it: half a step where bits are left out."""
    return 2.0 ** -(layer.seen_fraction + 1) if layer.seen_shift else 0.0


def inside(values: Real, errors: Real, limit: float) -> None:
    """Raise MaySaturate unless the values surely stay within +-limit."""
    if (np.abs(values) + errors).max() >= limit:
        raise MaySaturate
