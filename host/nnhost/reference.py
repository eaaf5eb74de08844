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
from nnhost.layers.dense import INVERSE
from nnhost.losses.base import WEIGHT_BITS
from nnhost.losses.softmax_cross_entropy import smoothed
from nnhost.optimizers import OPTIMIZERS
from nnhost.optimizers.adaptive import count_fraction
from nnhost.optimizers.base import GATHERED, GRADIENT, MOMENT, SLOT_TYPES, SQUARE, VELOCITY
from nnhost.pace import FINER, THRESHOLD
from nnhost.plan import LayerPlan, Plan

Real = NDArray[Any]
#: A tensor's layer, the tensor, its slots, and the gradient, times the rate but for adaptive ones.
_Change = tuple[int, Real, dict[str, Real], Real]


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
    """What normalises a layer's sums, all of shape (fan_out,): the scale with its slots, and the
    running statistics. The shift is the layer's bias."""

    gamma: Real
    slots: dict[str, Real]
    mean: Real
    variance: Real

    @classmethod
    def of(cls, width: int, dtype: DTypeLike) -> Norm:
        """As training begins."""
        slots = {name: np.zeros(width, dtype) for name in SLOT_TYPES}
        return cls(np.ones(width, dtype), slots, np.zeros(width, dtype), np.ones(width, dtype))


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

    `weights` (fan_out, fan_in) and `biases` (fan_out,) are lists with one entry a layer, and so are
    the optimizer's `slots` by their names, of the same shapes, those of the biases with "bias_" in
    front. The weights start at zero: see `load`.
    """

    def __init__(self, plan: Plan, dtype: DTypeLike = np.float64) -> None:
        self.plan, self.dtype = plan, np.dtype(dtype)
        self.activations = [ACTIVATIONS[p.activation] for p in plan.layers if p.activation]
        m, s = plan.layers[0].rate
        self.optimizer = OPTIMIZERS[plan.optimizer]
        #: What the update's factor is divided by, for the rate of one sample's gradient: the
        #: batch's mean is part of it but for adaptive optimizers.
        #: Deltas are weighed by the share of the largest class weight, which is in the rate.
        self.unit = 2.0**-s
        if not self.optimizer.adaptive:
            self.unit /= plan.loss.gradient_scale(plan.n_outputs)
        self.factor = m
        #: Updates that each average of an adaptive optimizer remembers.
        self.counts = [0.0 for _ in plan.averages]
        #: For K-FAC, of inputs and of outputs of each layer; none: the identity.
        self.inverses: list[tuple[Real, Real]] = []
        self.stage = self.updates = self.waited = 0
        self.epoch_loss, self.best_loss = 0.0, np.inf
        #: Units of each hidden layer that a step keeps (1) or lets rest (0), of all samples of a
        #: batch if they are normalised; None: not training.
        self.masks: list[Real] | None = None
        #: What clipping by its norm leaves of a batch's gradient.
        self.left = 1.0
        self.momenta = [p.momentum * 2.0**-p.product_shift for p in plan.layers]
        #: Outputs that each class wants; a lone output stands for class 1.
        self.wanted = np.eye(max(2, plan.n_outputs), dtype=self.dtype)[:, -plan.n_outputs :]
        if plan.label_smoothing:
            on, off = smoothed(plan.label_smoothing, plan.n_outputs)
            self.wanted = ((self.wanted * (on - off) + off) * 2**-15).astype(self.dtype)
        shapes = [(p.fan_out, p.fan_in) for p in plan.layers]
        self.weights = [np.zeros(shape, self.dtype) for shape in shapes]
        self.biases = [np.zeros(rows, self.dtype) for rows, _ in shapes]
        self.slots = {
            f"{kind}{name}": [np.zeros(s[:axes], self.dtype) for s in shapes]
            for name in SLOT_TYPES for kind, axes in (("", 2), ("bias_", 1))
        }  # fmt: skip
        self.norms = [Norm.of(p.fan_out, self.dtype) for p in plan.layers if p.batch_norm]
        #: Samples of the batch at hand, behind which are those of the one before.
        self.kept: list[tuple[Real, Any]] = []
        self.place = 0

    def rest(self, random: np.random.Generator) -> None:
        """Draw the units that rest in the next step, if there is dropout."""
        if self.plan.drops:
            rows = (self.plan.batch,) if self.norms else ()
            self.masks = [
                (random.random((*rows, p.fan_out)) < (p.keep or 256) / 256).astype(self.dtype)
                for p in self.plan.layers[:-1]
            ]

    def load(self, memory: Mapping[str, Any]) -> None:
        """Take weights, slots, counts, inverse factors and the stage from a simulator's memory."""
        self.stage, self.updates = int(memory.get("stage", 0)), int(memory.get("updates", 0))
        for i, p in enumerate(self.plan.layers):
            self.weights[i] = p.real_weights(memory[f"weight{p.number}"]).astype(self.dtype)
            self.biases[i] = p.real_weights(memory[f"bias{p.number}"]).astype(self.dtype)
            for name in self.plan.slots:
                for slot in (name, f"bias_{name}"):
                    held = memory[f"{slot}{p.number}"]
                    self.slots[slot][i] = p.real_slot(slot, held).astype(self.dtype)
        for k, (key, beta) in enumerate(zip(self.optimizer.averages, self.plan.averages,
                                            strict=True)):  # fmt: skip
            self.counts[k] = memory.get(f"count_{key}", 0) * 2.0 ** -count_fraction(beta)
        self.inverses = [
            (
                p.curvature.inputs.real(memory[f"input{INVERSE}{p.number}"]).astype(self.dtype),
                p.curvature.outputs.real(memory[f"output{INVERSE}{p.number}"]).astype(self.dtype),
            )
            for p in self.plan.layers
            if p.curvature
        ]
        for norm, p in zip(self.norms, self.plan.layers, strict=False):
            norm.gamma = p.real_weights(memory[f"gamma{p.number}"]).astype(self.dtype)
            for name in self.plan.slots:
                held = memory[f"gamma_{name}{p.number}"]
                norm.slots[name] = p.real_slot(name, held).astype(self.dtype)
            mean, variance = (memory[f"running_{s}{p.number}"] for s in ("mean", "variance"))
            norm.mean = (mean * MEAN_UNIT).astype(self.dtype)
            norm.variance = (variance * VARIANCE_UNIT).astype(self.dtype)

    @property
    def learning_rate(self) -> float:
        """As the schedule's current stage has it, for the mean gradient of a batch."""
        if self.optimizer.adaptive:
            return self.rate
        return self.rate * self.plan.batch / self.plan.top_weight

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
                kept = keep if self.masks is None or self.norms else self.masks[i]
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
            inputs.append(self.activations[i].real(before[i]) * self._kept(i, inputs[0]))
        each = [self._measure(z, t) for z, t in zip(sums[-1], y, strict=True)]
        deltas, slopes = [np.stack([delta for _, delta in each])], list[Real]()
        for i in range(len(self.norms) - 1, -1, -1):
            slope = self.activations[i].derivative(before[i], inputs[i + 1])
            slope = slope * self._kept(i, inputs[0])
            slopes.insert(0, (deltas[0] @ self.weights[i + 1]) * slope)
            along = normals[i] * (slopes[0] * normals[i]).mean(axis=0)
            left = slopes[0] - slopes[0].mean(axis=0) - along
            deltas.insert(0, self.norms[i].gamma / self._deviation(variances[i]) * left)
        losses = np.array([loss for loss, _ in each], self.dtype)
        return BatchPass(losses, inputs, sums, deltas, normals, slopes, means, variances)

    def _kept(self, i: int, batch: Real) -> Real:
        """Units of layer i that samples keep."""
        return np.ones(1, self.dtype) if self.masks is None else self.masks[i][: len(batch)]

    def _keep(self, x: Real, y: Any, first: bool) -> None:
        """A sample takes its place in the batch; those behind it are of the batch before."""
        self.place = 0 if first else self.place + 1
        self.kept[self.place : self.place + 1] = [(x, y)]

    def learn(self, x: Real, y: list[Any]) -> None:
        """Train a normalised net on a batch of samples x (B, n) and classes or targets y."""
        p = self.backward_batch(x, y)
        changes: list[_Change] = []
        rate = self._gradient_rate()
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            shift = p.slopes[i] if i < len(self.norms) else p.deltas[i]
            changes.append((i, w, self._held(i, ""), rate * (p.deltas[i].T @ p.inputs[i])))
            changes.append((i, b, self._held(i, "bias_"), rate * shift.sum(axis=0)))
            if i < len(self.norms):
                norm = self.norms[i]
                gradient = (p.slopes[i] * p.normals[i]).sum(axis=0)
                changes.append((i, norm.gamma, norm.slots, rate * gradient))
        self._change_all(changes, True, True)
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
                self.learn(np.stack([x for x, _ in self.kept]), [y for _, y in self.kept])
                self._count_update()
            return loss
        p = self.backward(x, y)
        self.epoch_loss += p.loss
        if self.plan.layers[0].norm:
            self._clip_norm(p)
        changes: list[_Change] = []
        for i, (a, delta) in enumerate(zip(p.inputs, p.deltas, strict=True)):
            turned, one, delta = self._turned(i, a, delta)
            scaled = self._gradient_rate() * delta
            slopes = scaled[:, None] * turned, scaled * one
            changes.append((i, self.weights[i], self._held(i, ""), slopes[0]))
            changes.append((i, self.biases[i], self._held(i, "bias_"), slopes[1]))
        self._change_all(changes, first, last)
        if last:
            self._count_update()
        return p.loss

    def _gradient_rate(self) -> float:
        """What a sample's gradient is multiplied with before the optimizer has it."""
        return self.plan.top_weight / self.plan.batch if self.optimizer.adaptive else self.rate

    def _held(self, i: int, kind: str) -> dict[str, Real]:
        """Slots of layer i's weights, or of its biases."""
        return {name: self.slots[kind + name][i] for name in SLOT_TYPES}

    def _change_all(self, changes: list[_Change], first: bool, last: bool) -> None:
        """Train all tensors in place, by a sample's gradient or, normalised, by a batch's."""
        if last:
            pairs = zip(self.plan.averages, self.counts, strict=True)
            self.counts = [1 + beta * n for beta, n in pairs]
            if self.plan.batch_clip:
                self.left = self._left(changes, first)
        for i, w, held, slope in changes:
            if w.ndim == 2 and last and self.optimizer.decoupled:
                self._decay(w, self.plan.layers[i])
            if self.optimizer.adaptive:
                self._adapt(w, held, slope, i, first, last)
            else:
                self._change(w, held[VELOCITY], held[GATHERED], slope, i, first, last)

    def _left(self, changes: list[_Change], first: bool) -> float:
        """The share that clip_norm leaves of what the batch will have gathered."""
        slot, sign = self.plan.slots[-1], 1 if self.optimizer.adaptive else -1
        gathered = [held[slot] * (not first) + sign * slope for _, _, held, slope in changes]
        norm = np.sqrt(sum(float((g * g).sum()) for g in gathered))
        most = self.plan.clip_norm * (1.0 if self.optimizer.adaptive else self.learning_rate)
        return float(min(1.0, most / norm)) if norm else 1.0

    def _turned(self, i: int, a: Real, delta: Real) -> tuple[Real, Any, Real]:
        """Inputs of layer i, the bias's 1 and deltas, times the inverse factors of K-FAC."""
        if not self.inverses:
            return a, 1.0, delta
        left, right = self.inverses[i]
        turned = left @ np.append(a, 1.0)
        return turned[:-1], turned[-1], right @ delta

    def refresh(self, x: Real, y: NDArray[Any], damping: float) -> None:
        """The inverse factors of K-FAC at these weights, from samples x (N, n) and their classes or
        targets y: of the inputs, and of the deltas of every class as far as the net believes in it
        (Martens and Grosse, 2015)."""
        # Of a mean over the outputs, for the likelihood is the exponential of minus their sum.
        whole = self.plan.loss.scale(1) / self.plan.loss_scale
        inputs = [np.zeros((p.fan_in + 1,) * 2) for p in self.plan.layers]
        outputs = [np.zeros((p.fan_out,) * 2) for p in self.plan.layers]
        for row, target in zip(x, y, strict=True):
            regression = self.plan.task == "regression"
            targets = [target] if regression else range(max(2, len(self.plan.classes)))
            passes = [self.backward(row, t) for t in targets]
            beliefs = np.exp([whole * (passes[0].loss - p.loss) for p in passes])
            for i, a in enumerate(passes[0].inputs):
                one = np.append(a, 1.0)
                inputs[i] += np.outer(one, one)
                for p, belief in zip(passes, beliefs / beliefs.sum(), strict=True):
                    outputs[i] += belief * np.outer(p.deltas[i], p.deltas[i])
        self.inverses = [
            (_inverted(a, damping).astype(self.dtype), _inverted(g, damping).astype(self.dtype))
            for a, g in zip(inputs, outputs, strict=True)
        ]

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
        if ahead or (momentum and (self.plan.layers[i].clip or self.plan.batch_clip)):
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

    def _clip_norm(self, p: Pass) -> None:
        """Shorten a sample's deltas so that its gradient is not longer than the limit (Pascanu,
        Mikolov and Bengio, 2013)."""
        norms = [d @ d * (a @ a + 1) for d, a in zip(p.deltas, p.inputs, strict=True)]
        norm = self.plan.top_weight * np.sqrt(sum(norms))
        if norm > self.plan.clip_norm:
            for delta in p.deltas:
                delta *= self.plan.clip_norm / norm

    def _adapt(
        self, w: Real, held: Mapping[str, Real], slope: Real, i: int, first: bool, last: bool
    ) -> None:
        """Train a tensor of layer i in place by an adaptive optimizer, from a sample's share of the
        batch's gradient.

        AdaGrad (Duchi, Hazan and Singer, 2011) sums its squares, RMSProp (Hinton, 2012) averages
        them, Adam (Kingma and Ba, 2015) averages the gradient too, and corrects both averages.
        Roots below epsilon count as that.
        """
        p, square = self.plan.layers[i], held[SQUARE]
        assert p.adaptation is not None
        total = held[GRADIENT]
        total *= not first
        total += slope
        if not last:
            return
        g = self._clipped(total, i)
        if w.ndim == 2 and not self.optimizer.decoupled:
            g = g + (p.l2.real(0) * 2.0 ** (p.weight_fraction - p.adaptation.fraction) * w
                     if p.l2 else 0)  # fmt: skip
            g = g + (p.l1.real(0) * 2.0**-p.adaptation.fraction * np.sign(w) if p.l1 else 0)
        newest = [1 / n if self.optimizer.corrected else 1 - beta
                  for n, beta in zip(self.counts, self.plan.averages, strict=True)]  # fmt: skip
        direction = g
        if MOMENT in self.plan.slots:
            direction = held[MOMENT]
            direction += newest[0] * (g - direction)
        square += newest[-1] * (g * g - square) if newest else g * g
        w -= self.rate * direction / np.maximum(np.sqrt(square), p.adaptation.epsilon)

    def _clipped(self, g: Real, i: int) -> Real:
        """The batch's gradient times the learning rate, clipped by its norm, then by value."""
        p = self.plan.layers[i]
        if p.gathers:
            g = g * np.asarray(self.left, self.dtype)
        if not p.clip:
            return g
        fraction = p.slot_fraction + (0 if p.gathers else p.product_shift)
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


def _inverted(factor: Real, damping: float) -> Real:
    """The inverse of a factor (n, n) with `damping` times its mean eigenvalue, scaled so that it
    leaves mean vectors as long as they are."""
    size = float(np.trace(factor)) / len(factor)
    if not size:
        return np.eye(len(factor))
    inverse = np.linalg.inv(factor / size + damping * np.eye(len(factor)))
    left = np.trace(inverse) - damping * (inverse * inverse).sum()
    return np.asarray(inverse * np.sqrt(len(factor) / left))
