"""Batch normalisation of a layer's sums, and the update of all layers from a whole batch.

Ioffe and Szegedy, 2015: x = (z - mean) / sqrt(variance + epsilon), y = gamma * x + beta. A training
step on one sample computes with running statistics, as the trained net does; its sample is kept.
The last step of a batch then learns from all samples together, with the statistics of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nnhost.fixed import saturate, signed
from nnhost.ir import (
    INT16,
    Buffer,
    Const,
    Expr,
    Interval,
    Map,
    Operand,
    Var,
    clamp,
    interval,
    rounded_shift,
    total,
)
from nnhost.layers.batches import Batch
from nnhost.layers.dense import SLOTS, Dense, Step, noise, slot_unit, spread
from nnhost.optimizers import OPTIMIZERS
from nnhost.optimizers.base import SLOT_TYPES
from nnhost.roots import reciprocal_root, root_shift

Real = NDArray[np.float64]

#: Fraction bits of the sums before they are normalised, of which there are 16.
SUM_FRACTION = 11
#: Fraction bits of normalised sums, and of gamma's gradients.
NORMAL_FRACTION = 12
#: Fraction bits of variances; a sum's last bit squared.
VARIANCE_FRACTION = 2 * SUM_FRACTION
#: What is added to a variance, in its last bits: 2^-10.
EPSILON = 1 << (VARIANCE_FRACTION - 10)
#: Running statistics move by 2^-3 of the way to each batch's.
PACE = 3
#: More fraction bits of a running mean than the sums have.
FINER = 8
#: What the integers of running statistics stand for.
MEAN_UNIT, VARIANCE_UNIT = 2.0 ** -(SUM_FRACTION + FINER), 2.0**-VARIANCE_FRACTION
#: Deviations from a mean are held within 15 bits and a sign.
_DEVIATION = Interval(-INT16.hi, INT16.hi)


def fold(weight: Real, bias: Real, gamma: Real, mean: Real, variance: Real) -> tuple[Real, Real]:
    """Weights (K, n) and biases (K,) of the layer without normalisation that computes the same by
    these statistics (K,), all in real numbers."""
    scale = gamma / np.sqrt(variance + EPSILON * VARIANCE_UNIT)
    return weight * scale[:, None], bias - scale * mean


def average(row: Var, term: Expr) -> Expr:
    """The mean of `term` over the rows of a batch, to the nearest integer, halves up."""
    least = interval(term).lo
    return (total(row, term - least) + row.extent // 2) // row.extent + least


@dataclass(frozen=True)
class Scale:
    """1 / sqrt(variance + epsilon) of each sum of a layer, as root * 2^-(15 + shift), and the Maps
    that compute it; both of shape (K,)."""

    shift: Buffer
    root: Buffer
    maps: list[Map]

    @classmethod
    def of(cls, prefix: str, variance: Buffer, o: Var) -> Scale:
        """The factor for variances with `VARIANCE_FRACTION` bits."""
        number = variance.name.lstrip("abcdefghijklmnopqrstuvwxyz_")
        x = variance[o] + EPSILON
        value = root_shift(x)
        shift = Buffer(f"{prefix}_shift{number}", (o.extent,), interval(value), doc="of the roots")
        value = reciprocal_root(x, shift[o])
        root = Buffer(f"{prefix}_root{number}", (o.extent,), interval(value),
                      doc="reciprocal roots, in 2^-(15 + shift)")  # fmt: skip
        maps = [
            Map(shift.name, shift, (o,), root_shift(x)),
            Map(root.name, root, (o,), value, doc="1 / sqrt(variance + epsilon)"),
        ]
        return cls(shift, root, maps)


@dataclass(frozen=True)
class BatchNorm:
    """The buffers of a normalised layer, all of shape (K,).

    `sums`: of a sample, and then the same normalised. `gamma` and its `held` slots; beta is the
    layer's bias, `gamma_slope` and `beta_slope` are their gradients. `running_mean`,
    `running_variance`: what a single sample is normalised with; `mean`, `variance`: those of a
    batch.
    """

    dense: Dense
    sums: Buffer
    gamma: Buffer
    held: tuple[Buffer, ...]
    beta_slope: Buffer
    gamma_slope: Buffer
    running_mean: Buffer
    running_variance: Buffer
    mean: Buffer
    variance: Buffer

    @classmethod
    def of(cls, dense: Dense, slots: tuple[str, ...]) -> BatchNorm:
        """The buffers that normalise a dense layer, with slots of such names."""
        p = dense.plan
        n, shape = p.number, (p.fan_out,)
        point = f"2^-{p.weight_fraction}"
        slope = f"2^-{p.delta_fraction}"
        square = Interval(0, 1 << 30)

        def temp(name: str, values: Interval, doc: str) -> Buffer:
            return Buffer(f"{name}{n}", shape, values, doc=doc)

        def state(name: str, values: Interval, doc: str) -> Buffer:
            return Buffer(f"{name}{n}", shape, values, "state", doc=doc)

        return cls(
            dense,
            temp("sums", INT16, f"sums of layer {n}, in 2^-{SUM_FRACTION}, then normalised, in"
                 f" 2^-{NORMAL_FRACTION}"),
            state("gamma", INT16, f"scales of layer {n} less {p.offset}, in {point}"),
            tuple(state(f"gamma_{s}", SLOT_TYPES[s], f"{SLOTS[s]} of gamma, in {slot_unit(p, s)}")
                  for s in slots),
            temp("beta_slope", INT16, f"mean gradient of beta, in {slope}"),
            temp("gamma_slope", INT16, f"mean gradient of gamma, in {slope}"),
            state("running_mean", Interval(INT16.lo << FINER, INT16.hi << FINER),
                  f"running means of the sums of layer {n}, in 2^-{SUM_FRACTION + FINER}"),
            state("running_variance", square,
                  f"running variances of the same, in 2^-{VARIANCE_FRACTION}"),
            temp("mean", INT16, f"means of the batch's sums, in 2^-{SUM_FRACTION}"),
            temp("variance", square, f"their variances, in 2^-{VARIANCE_FRACTION}"),
        )  # fmt: skip

    @property
    def state(self) -> tuple[Buffer, ...]:
        """What is kept beside the dense layer's own."""
        return (self.gamma, *self.held, self.running_mean, self.running_variance)

    def init(self) -> list[Map]:
        """Gamma is 1, the running statistics are 0 and 1."""
        o, p = self.dense.rows, self.dense.plan
        one = p.offset + (1 << p.weight_fraction)
        return [
            Map(f"init_{b.name}", b, (o,), Const(value), doc=doc)
            for b, value, doc in (
                (self.gamma, one, "one"),
                *((b, 0, "zero") for b in self.held),
                (self.running_mean, 0, "zero"),
                (self.running_variance, 1 << VARIANCE_FRACTION, "one"),
            )
        ]

    # -- forward

    def _sum(self) -> Map:
        d, o, j = self.dense, self.dense.rows, self.dense.columns
        exact = total(j, d.seen(d.weight[o, j]) * d.source[j])
        value = rounded_shift(exact, d.sum_fraction - SUM_FRACTION)
        return Map(self.sums.name, self.sums, (o,), saturate(value), doc="W in")

    def _normalise(self, mean: Expr, scale: Scale) -> Map:
        o = self.dense.rows
        deviation = clamp(self.sums[o] - mean, _DEVIATION)
        # The fractions of the deviation and of the variance's root cancel out.
        bits = scale.shift[o] + (15 - NORMAL_FRACTION)
        value = (deviation * scale.root[o] + (Const(1) << (bits - 1))) >> bits
        return Map(f"normal{self.dense.plan.number}", self.sums, (o,), saturate(value),
                   doc="(sum - mean) / sqrt(variance + epsilon)")  # fmt: skip

    def _activate(self, fine: bool) -> Map:
        d, o, p = self.dense, self.dense.rows, self.dense.plan
        scaled = (self.gamma[o] - p.offset) * self.sums[o]
        shifted = scaled + (d.bias[o] - p.offset) * (1 << NORMAL_FRACTION)
        return d.activate(shifted, p.weight_fraction + NORMAL_FRACTION, fine)

    def forward(self, fine: bool) -> list[Map]:
        """A sample's activations by the running statistics; the last Map has them."""
        scale = Scale.of("running", self.running_variance, self.dense.rows)
        now = rounded_shift(self.running_mean[self.dense.rows], FINER)
        return [self._sum(), *scale.maps, self._normalise(now, scale), self._activate(fine)]

    @property
    def scale(self) -> Scale:
        """By which a batch is normalised."""
        return Scale.of("batch", self.variance, self.dense.rows)

    def forward_batch(self, batch: Batch, scale: Scale, activate: Map) -> list[Map]:
        """The same for all samples of a batch, by its own statistics. `activate`: the sample's
        last Map."""
        o, b = self.dense.rows, batch.row
        sums = list(batch.maps([self._sum()]))
        term = batch.each(self.sums[o])
        deviation = clamp(term - self.mean[o], _DEVIATION)
        # The squares lose as many bits as their sum gains.
        lost = (b.extent - 1).bit_length()
        square = average(b, rounded_shift(deviation * deviation, lost)) * (1 << lost)
        return [
            *sums,
            Map(self.mean.name, self.mean, (o,), average(b, term)),
            Map(self.variance.name, self.variance, (o,), square, doc="mean squared deviation"),
            *scale.maps,
            *batch.maps([self._normalise(self.mean[o], scale), activate]),
        ]

    # -- backward

    def backward_batch(self, batch: Batch, scale: Scale) -> list[Map]:
        """From the gradients at the outputs to those at the sums, of all samples, in place."""
        p, o, b = self.dense.plan, self.dense.rows, batch.row
        delta = batch.of(self.dense.delta)
        slope, normals = delta[b, o], batch.each(self.sums[o])
        along = rounded_shift(slope * normals, NORMAL_FRACTION)
        gain = Buffer(f"gain{p.number}", (p.fan_out,), INT16, doc="gamma times the roots")
        gained = rounded_shift((self.gamma[o] - p.offset) * scale.root[o], 15)
        taken = rounded_shift(normals * self.gamma_slope[o], NORMAL_FRACTION)
        left = saturate(slope - self.beta_slope[o] - taken)
        bits = scale.shift[o] + (p.weight_fraction - SUM_FRACTION)
        value = (left * gain[o] + (Const(1) << (bits - 1))) >> bits
        return [
            Map(self.beta_slope.name, self.beta_slope, (o,), average(b, slope)),
            Map(self.gamma_slope.name, self.gamma_slope, (o,), saturate(average(b, along))),
            Map(gain.name, gain, (o,), saturate(gained)),
            Map(f"normal_{delta.name}", delta, (b, o), saturate(value), doc="gradient at the sums"),
        ]  # fmt: skip

    def follow(self) -> list[Map]:
        """Running statistics move towards those of a batch."""
        o = self.dense.rows
        return [
            Map(f"follow_{kept.name}", kept, (o,),
                clamp(kept[o] + ((new - kept[o]) >> PACE), kept.interval),
                doc=f"by 2^-{PACE} of the difference")
            for kept, new in (
                (self.running_mean, self.mean[o] * (1 << FINER)),
                (self.running_variance, self.variance[o]),
            )
        ]  # fmt: skip


def update_batch(
    dense: Dense,
    norm: BatchNorm | None,
    batch: Batch,
    optimizer: str,
    chosen: Callable[[str, tuple[int, ...]], Operand],
    shares: tuple[Operand, ...],
    by_norm: bool,
) -> list[Map]:
    """Learning rate times the gradient of a batch into the optimizer, as `Dense.update` does for a
    sample. `norm`: what normalises the layer, if anything does."""
    p, o, j, n, b = dense.plan, dense.rows, dense.columns, dense.plan.number, batch.row
    rows = b.extent
    draws, draw = dense.drawn()
    # Beside a decayed slot.
    room = signed(p.factor_bits(rows))
    rate = chosen("rates", p.rates)
    scale = p.adaptation.scale if p.adaptation else rate

    def factor(name: str, index: tuple[Var, ...], gradient: Expr, place: Operand) -> Map:
        drawn = min(16, p.row_shift)
        dither = noise(draws[o, 0], spread(place, drawn), drawn) << (p.row_shift - drawn)
        value = clamp((gradient * scale + dither) >> p.row_shift, room)
        shape = tuple(v.extent for v in index)
        return Map(name, Buffer(name, shape, room, doc="lr * gradient"), index, value)

    sample = factor(f"batch_factor{n}", (b, o), batch.each(dense.delta[o]), b)
    one = 1 << p.input.fraction
    each = total(b, sample.dst[b, o] * batch.each(dense.source[j]))
    maps = [draw, sample]
    if OPTIMIZERS[optimizer].decoupled:
        maps += dense.decays(draws, chosen)
    slots, bias_slots = tuple(s for s, _ in dense.held), tuple(s for _, s in dense.held)
    # Of each tensor: slots, index, the sum of factors times inputs, and the column of its noise.
    gradients: list[tuple[Buffer, tuple[Buffer, ...], tuple[Var, ...], Expr, Operand]] = [
        (dense.weight, slots, (o, j), each, j)
    ]
    if norm is None:
        alone = total(b, sample.dst[b, o]) * one
        gradients.append((dense.bias, bias_slots, (o,), alone, p.fan_in))
    else:
        betas = factor(f"beta_factor{n}", (o,), norm.beta_slope[o], rows)
        gammas = factor(f"gamma_factor{n}", (o,), norm.gamma_slope[o], rows + 1)
        maps += [betas, gammas]
        gradients += [
            (dense.bias, bias_slots, (o,), betas.dst[o] * (rows * one), p.fan_in),
            (norm.gamma, norm.held, (o,), gammas.dst[o] * (rows * one), p.fan_in + 1),
        ]
    clips = dense.clips(chosen)
    shift, always = p.product_shift, Const(1)
    for weight, held, index, gradient, column in gradients:
        random = noise(draws[o, 1], spread(column, shift), shift)
        short = dense.short(draws, column) if by_norm else None
        step = Step(gradient, 1, random, shift, p.extra, p.momentum, *clips, short)
        moments = dense.moments(optimizer, draws, index, column, rate, shares)
        given = step.of(weight, held, index, always, always)
        maps += OPTIMIZERS[optimizer].update(replace(given, moments=moments))
    return maps
