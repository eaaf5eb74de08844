"""Training in floating point, by the textbook: what the integers are measured against.

Nothing here comes from a Program: the formulas are those of Rumelhart, Hinton and Williams (1986),
with the real-number side of the activations and losses. Given the same weights and visited in the
same order, the reference and the fixed-point net differ by rounding alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nnhost.activations import ACTIVATIONS
from nnhost.layers.batch_norm import EPSILON, MEAN_UNIT, PACE, VARIANCE_UNIT
from nnhost.losses.base import WEIGHT_BITS
from nnhost.losses.softmax_cross_entropy import smoothed
from nnhost.optimizers.base import GATHERED, VELOCITY
from nnhost.pace import FINER, THRESHOLD
from nnhost.plan import LayerPlan, Plan

Real = NDArray[Any]


@dataclass(frozen=True)
class Pass:
    """One sample through the net and back, all lists one entry a layer.

    `inputs` (fan_in,) of each layer, `sums` (fan_out,) before its activation, `deltas` (fan_out,)
    the gradient of the loss with respect to those sums.
    """

    loss: float
    inputs: list[Real]
    sums: list[Real]
    deltas: list[Real]


@dataclass
class Norm:
    """What normalises a layer's sums, all of shape (fan_out,): the scale with its velocity and
    gathered step, and the running statistics. The shift is the layer's bias."""

    gamma: Real
    velocity: Real
    gathered: Real
    mean: Real
    variance: Real

    @classmethod
    def of(cls, width: int, dtype: DTypeLike) -> Norm:
        """As training begins."""
        zeros = [np.zeros(width, dtype) for _ in range(3)]
        return cls(np.ones(width, dtype), zeros[0], zeros[1], zeros[2], np.ones(width, dtype))


@dataclass(frozen=True)
class BatchPass:
    """B samples through a normalised net and back, all lists one entry a layer.

    `losses` (B,); `inputs` (B, fan_in); `sums` (B, fan_out) and `deltas`, the gradients of the
    summed loss with respect to them. Of hidden layers alone: `normals` (B, fan_out), the sums
    normalised; `slopes`, gradients where scale and shift have acted; `means` and `variances`
    (fan_out,) of the sums.
    """

    losses: Real
    inputs: list[Real]
    sums: list[Real]
    deltas: list[Real]
    normals: list[Real]
    slopes: list[Real]
    means: list[Real]
    variances: list[Real]


class Reference:
    """The net and optimizer of a plan in `dtype`, with the plan's own learning rate and momentum.

    `weights` (fan_out, fan_in), `biases` (fan_out,), their `velocities` and the steps `gathered`
    over a batch, of the same shapes, are lists with one entry a layer. The weights start at zero:
    see `load`.
    """

    def __init__(self, plan: Plan, dtype: DTypeLike = np.float64) -> None:
        self.plan, self.dtype = plan, np.dtype(dtype)
        self.activations = [ACTIVATIONS[p.activation] for p in plan.layers if p.activation]
        m, s = plan.layers[0].rate
        #: What the update's factor is divided by, for the rate of one sample's gradient: the
        #: batch's mean is part of it.
        #: Deltas are weighed by the share of the largest class weight, which is in the rate.
        self.unit = 2.0**-s / plan.loss.gradient_scale(plan.n_outputs)
        self.factor = m
        self.stage = self.updates = self.waited = 0
        self.epoch_loss, self.best_loss = 0.0, np.inf
        #: Units of each hidden layer that a step keeps (1) or lets rest (0); None: not training.
        self.masks: list[Real] | None = None
        self.momenta = [p.momentum * 2.0**-p.product_shift for p in plan.layers]
        #: Outputs that each class wants; a lone output stands for class 1.
        self.wanted = np.eye(max(2, plan.n_outputs), dtype=self.dtype)[:, -plan.n_outputs :]
        if plan.label_smoothing:
            on, off = smoothed(plan.label_smoothing, plan.n_outputs)
            self.wanted = ((self.wanted * (on - off) + off) * 2**-15).astype(self.dtype)
        shapes = [(p.fan_out, p.fan_in) for p in plan.layers]
        self.weights = [np.zeros(shape, self.dtype) for shape in shapes]
        self.biases = [np.zeros(rows, self.dtype) for rows, _ in shapes]
        self.velocities = [np.zeros(shape, self.dtype) for shape in shapes]
        self.bias_velocities = [np.zeros(rows, self.dtype) for rows, _ in shapes]
        self.gathered = [np.zeros(shape, self.dtype) for shape in shapes]
        self.bias_gathered = [np.zeros(rows, self.dtype) for rows, _ in shapes]
        self.norms = [Norm.of(p.fan_out, self.dtype) for p in plan.layers if p.batch_norm]
        #: Samples of the batch at hand, behind which are those of the one before.
        self.kept: list[tuple[Real, Any]] = []
        self.place = 0

    def rest(self, random: np.random.Generator) -> None:
        """Draw the units that rest in the next step, if there is dropout."""
        if self.plan.drops:
            self.masks = [
                (random.random(p.fan_out) < (p.keep or 256) / 256).astype(self.dtype)
                for p in self.plan.layers[:-1]
            ]

    def load(self, memory: Mapping[str, Any]) -> None:
        """Take weights, velocities and the schedule's stage from a simulator's memory."""
        self.stage, self.updates = int(memory.get("stage", 0)), int(memory.get("updates", 0))
        for i, p in enumerate(self.plan.layers):
            self.weights[i] = p.real_weights(memory[f"weight{p.number}"]).astype(self.dtype)
            self.biases[i] = p.real_weights(memory[f"bias{p.number}"]).astype(self.dtype)
            unit = 2.0 ** -(p.weight_fraction + p.extra)
            for name, slots, bias_slots in (
                (VELOCITY, self.velocities, self.bias_velocities),
                (GATHERED, self.gathered, self.bias_gathered),
            ):
                if name in self.plan.slots:
                    slots[i] = (memory[f"{name}{p.number}"] * unit).astype(self.dtype)
                    bias_slots[i] = (memory[f"bias_{name}{p.number}"] * unit).astype(self.dtype)
        for norm, p in zip(self.norms, self.plan.layers, strict=False):
            unit = 2.0 ** -(p.weight_fraction + p.extra)
            norm.gamma = p.real_weights(memory[f"gamma{p.number}"]).astype(self.dtype)
            if VELOCITY in self.plan.slots:
                velocity = memory[f"gamma_{VELOCITY}{p.number}"] * unit
                norm.velocity = velocity.astype(self.dtype)
            mean, variance = (memory[f"running_{s}{p.number}"] for s in ("mean", "variance"))
            norm.mean = (mean * MEAN_UNIT).astype(self.dtype)
            norm.variance = (variance * VARIANCE_UNIT).astype(self.dtype)

    @property
    def rate(self) -> float:
        """Learning rate for the gradient of one sample in the schedule's current stage."""
        if self.plan.pace is None:
            return self.factor * self.unit
        return self.plan.pace.rates[self.stage] * 2.0**-FINER * self.unit

    def epoch(self) -> None:
        """An epoch begins: a schedule that waits on a plateau looks at the losses of the last."""
        pace = self.plan.pace
        if pace is None or pace.patience is None:
            return
        if self.epoch_loss < self.best_loss * (1 - 2.0**-THRESHOLD):
            self.best_loss, self.waited = self.epoch_loss or np.inf, 0
        elif self.stage >= len(pace.until):
            self.waited += 1
        if self.waited > pace.patience:
            self.stage, self.waited = min(self.stage + 1, len(pace.rates) - 1), 0
        self.epoch_loss = 0.0

    def _count_update(self) -> None:
        self.updates += 1
        until = self.plan.pace.until if self.plan.pace else ()
        if self.stage < len(until) and until[self.stage] <= self.updates:
            self.stage += 1

    def target(self, y: Any) -> Real:
        """Wanted outputs (K,) for a class index or for real targets (K,)."""
        if self.plan.task == "regression":
            return np.asarray(y, self.dtype)
        wanted: Real = self.wanted[y]
        return wanted

    def forward(self, x: Real) -> tuple[list[Real], list[Real]]:
        """Inputs and sums of each layer for one sample (n,) or many (N, n)."""
        inputs, sums = [x], []
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            if i < len(self.norms):
                norm = self.norms[i]
                normal = (inputs[i] @ w.T - norm.mean) / self._deviation(norm.variance)
                sums.append(norm.gamma * normal + b)
            else:
                sums.append(inputs[i] @ w.T + b)
            if i < len(self.activations):
                keep = self.plan.layers[i].keep / 256 or 1.0
                kept = keep if self.masks is None else self.masks[i]
                inputs.append((self.activations[i].real(sums[i]) * kept).astype(self.dtype))
        return inputs, sums

    def _measure(self, outputs: Real, y: Any) -> tuple[float, Real]:
        """Loss and gradient of a sample's outputs (K,)."""
        loss, delta = self.plan.loss.real(outputs, self.target(y))
        if self.plan.class_weights:
            weight = self.plan.class_weights[int(y)] * 2.0**-WEIGHT_BITS
            loss, delta = loss * weight * self.plan.top_weight, (delta * weight).astype(self.dtype)
        return loss, delta

    def _deviation(self, variance: Real) -> Real:
        return np.asarray(np.sqrt(variance + EPSILON * VARIANCE_UNIT))

    def backward_batch(self, x: Real, y: list[Any]) -> BatchPass:
        """Losses and gradients of samples x (B, n) and classes or targets y, by the statistics of
        the batch (Ioffe and Szegedy, 2015)."""
        inputs, sums, normals, means, variances = [np.asarray(x, self.dtype)], [], [], [], []
        before = []  # the activations
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            if i == len(self.norms):
                sums.append(inputs[i] @ w.T + b)
                break
            sums.append(inputs[i] @ w.T)
            means.append(sums[i].mean(axis=0))
            variances.append(((sums[i] - means[i]) ** 2).mean(axis=0))
            normals.append((sums[i] - means[i]) / self._deviation(variances[i]))
            before.append(self.norms[i].gamma * normals[i] + b)
            inputs.append(self.activations[i].real(before[i]))
        each = [self._measure(z, t) for z, t in zip(sums[-1], y, strict=True)]
        deltas, slopes = [np.stack([delta for _, delta in each])], list[Real]()
        for i in range(len(self.norms) - 1, -1, -1):
            slope = self.activations[i].derivative(before[i], inputs[i + 1])
            slopes.insert(0, (deltas[0] @ self.weights[i + 1]) * slope)
            along = normals[i] * (slopes[0] * normals[i]).mean(axis=0)
            left = slopes[0] - slopes[0].mean(axis=0) - along
            deltas.insert(0, self.norms[i].gamma / self._deviation(variances[i]) * left)
        losses = np.array([loss for loss, _ in each], self.dtype)
        return BatchPass(losses, inputs, sums, deltas, normals, slopes, means, variances)

    def _keep(self, x: Real, y: Any, first: bool) -> None:
        """A sample takes its place in the batch; those behind it are of the batch before."""
        self.place = 0 if first else self.place + 1
        self.kept[self.place : self.place + 1] = [(x, y)]

    def _learn(self) -> None:
        """Train on the batch at hand."""
        p = self.backward_batch(np.stack([x for x, _ in self.kept]), [y for _, y in self.kept])
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            shift = p.slopes[i] if i < len(self.norms) else p.deltas[i]
            self._decay(w, self.plan.layers[i])
            changes = [
                (w, self.velocities[i], self.gathered[i], p.deltas[i].T @ p.inputs[i]),
                (b, self.bias_velocities[i], self.bias_gathered[i], shift.sum(axis=0)),
            ]
            if i < len(self.norms):
                norm = self.norms[i]
                gradient = (p.slopes[i] * p.normals[i]).sum(axis=0)
                changes.append((norm.gamma, norm.velocity, norm.gathered, gradient))
            for tensor, velocity, gathered, gradient in changes:
                self._change(tensor, velocity, gathered, self.rate * gradient, i, True, True)
        for norm, mean, variance in zip(self.norms, p.means, p.variances, strict=True):
            norm.mean += (mean - norm.mean) * 2.0**-PACE
            norm.variance += (variance - norm.variance) * 2.0**-PACE

    def backward(self, x: Real, y: Any) -> Pass:
        """Loss and gradients of a sample x (n,), y a class index or targets (K,)."""
        inputs, sums = self.forward(np.asarray(x, self.dtype))
        loss, delta = self._measure(sums[-1], y)
        deltas = [delta]
        for i in range(len(self.activations) - 1, -1, -1):
            slope = self.activations[i].derivative(sums[i], inputs[i + 1])
            slope = slope if self.masks is None else slope * self.masks[i]
            deltas.insert(0, (deltas[0] @ self.weights[i + 1]) * slope)
        return Pass(loss, inputs, sums, deltas)

    def step(self, x: Real, y: Any, first: bool = True, last: bool = True) -> float:
        """Train on a sample; `first` and `last` of its batch. Returns the loss before it. With
        batch normalisation the last sample trains on all of its batch.

        v = momentum * v - rate * gradient, with the decay once a batch, then w = w + v at its end
        (Polyak, 1964). Without momentum this is plain stochastic gradient descent. Nesterov's
        w = w + momentum * v - rate * gradient, with the new v (Sutskever and others, 2013).
        """
        if self.norms:
            x = np.asarray(x, self.dtype)
            loss, _ = self._measure(self.forward(x)[1][-1], y)
            self.epoch_loss += loss
            self._keep(x, y, first)
            if last:
                self._learn()
                self._count_update()
            return loss
        p = self.backward(x, y)
        self.epoch_loss += p.loss
        for i, (a, delta) in enumerate(zip(p.inputs, p.deltas, strict=True)):
            scaled = self.rate * delta
            for w, v, g, slope in (
                (self.weights[i], self.velocities[i], self.gathered[i], scaled[:, None] * a),
                (self.biases[i], self.bias_velocities[i], self.bias_gathered[i], scaled),
            ):
                if w.ndim == 2 and last:
                    self._decay(w, self.plan.layers[i])
                self._change(w, v, g, slope, i, first, last)
        if last:
            self._count_update()
        return p.loss

    def _decay(self, w: Real, p: LayerPlan) -> None:
        """Weight decay in place, decoupled from the gradient (Loshchilov and Hutter, 2019)."""
        if p.l2:
            w *= 1 - p.l2.real(self.stage)
        if p.l1:
            most = p.l1.real(self.stage) * 2.0**-p.weight_fraction
            w -= np.clip(w, -most, most)

    def _change(
        self, w: Real, v: Real, g: Real, slope: Real, i: int, first: bool, last: bool
    ) -> None:
        """Train a tensor of layer i in place, by a sample's gradient times the learning rate."""
        momentum, ahead = self.momenta[i], self.plan.optimizer == "nesterov"
        if ahead or (momentum and self.plan.layers[i].clip):
            g *= not first
            g -= slope
            if last:
                v *= momentum
                v += self._clipped(g, i)
                w += momentum * v + self._clipped(g, i) if ahead else v
            return
        if first:
            v *= momentum
        gathers = self.plan.layers[i].gathers
        v -= slope if gathers else self._clipped(slope, i)
        if last:
            w += self._clipped(v, i) if gathers and not momentum else v

    def _clipped(self, g: Real, i: int) -> Real:
        """The batch's gradient times the learning rate, clipped by value."""
        p = self.plan.layers[i]
        if not p.clip:
            return g
        fraction = p.weight_fraction + p.extra + (0 if p.gathers else p.product_shift)
        most = p.clip[min(self.stage, len(p.clip) - 1)] * 2.0**-fraction
        clipped: Real = np.clip(g, -most, most)
        return clipped

    def predict(self, x: Real) -> Real:
        """Outputs of the net for samples (N, n): class indices (N,), or real outputs (N, K)."""
        outputs = self.forward(np.asarray(x, self.dtype))[1][-1]
        if self.plan.task == "regression":
            return outputs
        if self.plan.n_outputs > 1:
            return np.asarray(outputs.argmax(axis=1))
        loss = self.plan.loss.real
        on, off = self.target(1), self.target(0)
        return np.array([int(loss(z, on)[0] < loss(z, off)[0]) for z in outputs])
