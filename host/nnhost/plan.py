"""Formats and shifts of a net: what the designer decides before any code exists.

`make_plan` looks at the net and the data's shape (for balanced class weights, at the number of rows
of each class), never at values, so the same nn.toml and data shape give the same plan.
docs/semantics.md explains every number chosen here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnhost.activations import ACTIVATIONS
from nnhost.data import Dataset
from nnhost.errors import UsageError
from nnhost.fixed import Format, nearest, ratio, signed, unsigned
from nnhost.floating import MANTISSA, ONE, code_of, value_of
from nnhost.ir import INT8, INT16, Interval
from nnhost.losses import LOSSES, Loss
from nnhost.losses.base import WEIGHT_BITS
from nnhost.optimizers import OPTIMIZERS
from nnhost.optimizers.base import SQUARE
from nnhost.pace import FINER, Pace, make_pace
from nnhost.project import NetSpec, Project, TrainSpec

Integers = NDArray[np.int64]

MAX_FAN_IN = 4095
MAX_ROWS = 65535
MAX_NORM_BATCH = 4096
#: Optimizers that take the gradient of a whole batch at once, as batch normalisation has it.
NORM_OPTIMIZERS = tuple(name for name, optimizer in OPTIMIZERS.items() if not optimizer.curved)
LEAST_BITS = 6
#: Rows that are quantised at once: the arrays on the way have eight times the bytes of the result.
_BLOCK = 1024
#: The least factor of a decay: smaller ones say too little of it.
LEAST_DECAY = 16
#: Inverse factors of K-FAC stay within 2^INVERSE, and have so many bits at least.
INVERSE = 4
LEAST_INVERSE_BITS = 8
#: Deltas may grow by 2^COARSER when they are multiplied with theirs.
COARSER = 2


@dataclass(frozen=True)
class Preset:
    """Widths of a family of formats.

    `seen_shift`: the forward and backward passes see weight >> seen_shift. `activation_bits`:
    magnitude bits of unsigned activations (None: as many as the fan-in allows in 32-bit sums).
    """

    name: str
    seen_shift: int
    activation_bits: int | None
    weight_fraction: int


PRESETS = {
    "q8": Preset("q8", 8, 8, 13),
    "q16": Preset("q16", 0, None, 12),
}
#: A net with few inputs a unit needs larger weights: one fraction bit is given up for range.
FEW_INPUTS = 3
#: Fraction bits that the gradient has for an adaptive optimizer, batch 1, where it can; and the
#: shift of a row's factor, which then never saturates.
GRADIENT_FRACTION = 15
ADAPTIVE_ROW_SHIFT = 8
#: Fraction bits of the square of the gradient's norm, of which clip_norm is 1.
NORM_FRACTION = 8
#: Of the 15 bits of learning rate times 1 / root, how many a small rate may go without.
MOST_LOST = 10


@dataclass(frozen=True)
class Decay:
    """What an update takes from a weight: `factors` (an entry a stage of the schedule, or one)
    times 2^-shift, of the weight (l2) or of its last bit (l1)."""

    factors: tuple[int, ...]
    shift: int

    def real(self, stage: int) -> float:
        """What the factor of a stage stands for."""
        return self.factors[min(stage, len(self.factors) - 1)] * 2.0**-self.shift


@dataclass(frozen=True)
class Curvature:
    """Formats of a layer's inverse factors for K-FAC, int16, shapes (fan_in + 1, fan_in + 1) and
    (fan_out, fan_out). Inputs have `finer` more fraction bits once they have been multiplied with
    theirs, deltas COARSER fewer."""

    inputs: Format
    outputs: Format
    finer: int


@dataclass(frozen=True)
class Adaptation:
    """How an adaptive optimizer steps. Gradients have `fraction` bits; `scale` is the factor m that
    divides them by the batch's rows. A step is (g * ((rate * t) >> root_shift)) >> (shift + h),
    with (t, h) from the larger of the square's code and `least`."""

    fraction: int
    scale: int
    least: int
    root_shift: int
    shift: int

    @property
    def epsilon(self) -> float:
        """The least root of a square."""
        return math.sqrt(value_of(self.least)) * 2.0**-self.fraction


@dataclass(frozen=True)
class NormScale:
    """How a layer's part in the square of the gradient's norm is found: deltas are shifted right
    by `delta_shift` first, and `ratio` (m, s) makes clip_norm 1, in 2^-NORM_FRACTION."""

    delta_shift: int
    ratio: tuple[int, int]


@dataclass(frozen=True)
class BatchClip:
    """How the norm of what a batch has gathered is found and clipped. `shifts`, one a layer, give
    all numbers the fraction of the finest; as many bits are then left out as the largest of them
    has beyond `bits`. Sums of squares, a row each, are shifted right by 2 * `halves` before they
    are summed. `limits`: clip_norm in units of the finest, with `finer` bits more, as `rates`."""

    shifts: tuple[int, ...]
    bits: int
    halves: int
    limits: tuple[int, ...]
    finer: int


@dataclass(frozen=True)
class LayerPlan:
    """One dense layer: out = activation(W in + b), all in integers.

    Weights are int16, shape (fan_out, fan_in), with `weight_fraction` bits and an `offset` that
    makes the seen weight (weight >> seen_shift) a rounded one. `output` is None for the last
    layer, whose exact sums the loss takes. `delta_fraction`: of the gradient at the layer's
    output; the backward pass sees it shifted right by `seen_delta_shift` within `seen_delta`.
    The update is ((delta * rate[0] + dither) >> row_shift) * input >> product_shift, in units of
    the weight with `extra` more fraction bits; rate is (m, s) for learning rate m * 2^-s. `rates`:
    the factor m, with a pace one a stage, and then finer. `l1`, `l2`: weight decay, or None.
    `clip`: largest magnitude of a gradient times the learning rate, as `rates`, or (); in units of
    the slot if the optimizer `gathers` batches (in its last slot), else of the product of factor
    and input.
    Momentum is `momentum` * 2^-product_shift, 0 for optimizers without. `keep`: 256ths of the
    outputs that dropout keeps, 0 without dropout. `batch_norm`: the sums are normalised before the
    activation, and the biases are added after that. `curvature`: of K-FAC. With an `adaptation`,
    the product is the gradient, and `clip`, `l1` and `l2` are in its units but for a decoupled
    decay.
    """

    number: int
    fan_in: int
    fan_out: int
    activation: str | None
    input: Format
    output: Format | None
    weight_fraction: int
    seen_shift: int
    delta_fraction: int
    seen_delta_shift: int
    seen_delta: Interval
    rate: tuple[int, int]
    row_shift: int
    product_shift: int
    extra: int
    momentum: int
    l1: Decay | None = None
    l2: Decay | None = None
    rates: tuple[int, ...] = ()
    clip: tuple[int, ...] = ()
    gathers: bool = False
    keep: int = 0
    batch_norm: bool = False
    curvature: Curvature | None = None
    adaptation: Adaptation | None = None
    norm: NormScale | None = None

    @property
    def offset(self) -> int:
        """The integer that stands for weight 0."""
        return (1 << self.seen_shift) >> 1

    @property
    def seen_fraction(self) -> int:
        """Fraction bits of the seen weight."""
        return self.weight_fraction - self.seen_shift

    @property
    def weights(self) -> int:
        """Weights and biases."""
        return self.fan_out * (self.fan_in + 1)

    def factor_bits(self, rows: int) -> int:
        """Bits of a row's factor that leave sums over so many rows of it times inputs 31."""
        return factor_bits(self.input, rows)

    @property
    def slot_fraction(self) -> int:
        """Fraction bits of the optimizer's slots."""
        return self.adaptation.fraction if self.adaptation else self.weight_fraction + self.extra

    def real_slot(self, name: str, integers: Integers) -> NDArray[np.float64]:
        """What a slot's integers stand for."""
        if name.endswith(SQUARE):
            squares: NDArray[np.float64] = np.vectorize(value_of, otypes=[np.float64])(integers)
            return squares * np.float64(4.0**-self.slot_fraction)
        return integers * np.float64(2.0**-self.slot_fraction)

    def real_weights(self, integers: Integers) -> NDArray[np.float64]:
        """What stored weights stand for."""
        return (integers - self.offset).astype(np.float64) * 2.0**-self.weight_fraction


@dataclass(frozen=True)
class Samples:
    """Samples as the board stores them: x (N, n) integers, in the narrowest type of numpy; targets
    (N,) classes or (N, K) int16, as int64."""

    x: NDArray[Any]
    target: Integers
    x_dtype: str
    target_dtype: str

    def __len__(self) -> int:
        return len(self.x)

    def block(self) -> bytes:
        """The bytes of all rows, one after the other."""
        parts = ((self.x, self.x_dtype), (self.target, self.target_dtype))
        columns = [
            np.ascontiguousarray(values, kind)
            .reshape(len(self), int(np.prod(values.shape[1:])))
            .view(np.uint8)
            for values, kind in parts
        ]
        joined: bytes = np.hstack(columns).tobytes()
        return joined

    def __getitem__(self, rows: slice) -> Samples:
        """Some of the samples."""
        return replace(self, x=self.x[rows], target=self.target[rows])

    def bytes(self, row: int) -> bytes:
        """Inputs, then the target, little endian."""
        x: bytes = self.x[row].astype(self.x_dtype).tobytes()
        target: bytes = self.target[row].astype(self.target_dtype).tobytes()
        return x + target


@dataclass(frozen=True)
class Plan:
    """Everything that `lower` needs, and what others ask about the net."""

    layers: tuple[LayerPlan, ...]
    preset: Preset
    loss: Loss
    task: str
    classes: tuple[str, ...]
    optimizer: str
    init: str
    rows: int
    batch: int
    learning_rate: float
    label_smoothing: float
    pace: Pace | None
    class_weights: tuple[int, ...] = ()
    """In 2^-15 of the largest; () where classes count as they come."""
    top_weight: float = 1.0
    """The largest class weight, which the learning rate and the unit of the loss contain."""
    batch_norm: bool = False
    clip_norm: float = 0.0
    batch_clip: BatchClip | None = None
    """With clip_norm and batches larger than 1."""
    averages: tuple[float, ...] = ()
    """How the optimizer's averages forget, by the keys that it names."""

    @property
    def n_inputs(self) -> int:
        """Inputs of the net."""
        return self.layers[0].fan_in

    @property
    def n_outputs(self) -> int:
        """Outputs of the net."""
        return self.layers[-1].fan_out

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of each layer, inputs first."""
        return (self.n_inputs, *(p.fan_out for p in self.layers))

    @property
    def weights(self) -> int:
        """Weights and biases of the net."""
        return sum(p.weights for p in self.layers)

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of what the optimizer keeps for each weight."""
        first = self.layers[0]
        clips = first.clip != () or self.clip_norm > 0
        return OPTIMIZERS[self.optimizer].slots(self.batch if first.gathers else 1, clips)

    @property
    def momentum(self) -> float:
        """Momentum as computed; the layers' differ in the number of bits. 0 for optimizers
        without."""
        first = self.layers[0]
        return first.momentum * 2.0**-first.product_shift

    @property
    def drops(self) -> bool:
        """Whether units rest by chance while the net trains."""
        return any(p.keep for p in self.layers)

    @property
    def fine(self) -> bool:
        """Whether tables are interpolated."""
        return self.preset.activation_bits is None

    @property
    def order_bits(self) -> int:
        """The visiting order permutes 2^order_bits places."""
        return max(1, (self.rows - 1).bit_length())

    @property
    def loss_scale(self) -> float:
        """Real loss of one unit of the integer loss."""
        return self.loss.scale(self.n_outputs) * self.top_weight

    @property
    def target_fraction(self) -> int:
        """Fraction bits of regression targets."""
        return self.layers[-1].delta_fraction

    @property
    def input_type(self) -> str:
        """numpy type of the inputs without byte order: u1, i1, u2 or i2."""
        lo, hi = self.layers[0].input.interval
        return ("u" if lo >= 0 else "i") + (
            "1" if max(hi, -lo - 1) < (256 if lo >= 0 else 128) else "2"
        )

    def samples(self, x: NDArray[np.float64], y: NDArray[np.float64] | Integers) -> Samples:
        """Quantise scaled inputs (N, n) and class indices (N,) or scaled targets (N, K)."""
        if self.task == "regression":
            target = Format(INT16, self.target_fraction).quantise(np.asarray(y, np.float64))
            kind = "<i2"
        else:
            target, kind = np.asarray(y, np.int64), "u1"
        inputs = np.empty(x.shape, self.input_type)
        for at in range(0, len(x), _BLOCK):
            inputs[at : at + _BLOCK] = self.layers[0].input.quantise(x[at : at + _BLOCK])
        return Samples(inputs, target, "<" + self.input_type, kind)

    def describe(self) -> dict[str, object]:
        """The formats as plain data, for reports and for files with weights."""
        return {
            "sizes": list(self.sizes),
            "activations": [p.activation or "" for p in self.layers[:-1]],
            "loss": self.loss.name,
            "preset": self.preset.name,
            "optimizer": self.optimizer,
            "momentum": self.momentum,
            "batch": self.batch,
            "batch_norm": self.batch_norm,
            "schedule": list(self.pace.rates) if self.pace else [],
            "learning_rate": self.layers[0].rate[0] * 2.0 ** -self.layers[0].rate[1],
            "classes": list(self.classes),
            "layers": [
                {
                    "input": str(p.input),
                    "weight_fraction": p.weight_fraction,
                    "weight_offset": p.offset,
                    "velocity_fraction": p.slot_fraction,
                }
                for p in self.layers
            ],
        }


def _bits(preset: Preset, fan_in: int, number: int, last: bool) -> int:
    """Magnitude bits of unsigned inputs of a layer, so that its sums are proven in 32 bits.

    16-bit weights times (fan_in + 1) inputs of b bits stay below 2^31 when
    (fan_in + 1) * 2^b <= 2^16; the last layer's sums are also subtracted from each other.
    """
    if preset.activation_bits is not None:
        return preset.activation_bits
    bits = min(14, 16 - fan_in.bit_length() - int(last))
    if bits < LEAST_BITS:
        raise UsageError(
            f"layer {number} sums {fan_in} inputs: 32 bits leave each of them {bits} beside the"
            f" 16-bit weights of preset {preset.name}, and less than {LEAST_BITS} do not learn",
            help='set preset = "q8" in [net], or use fewer units or inputs',
        )
    return bits


def _input_format(kind: str, bits: int) -> Format:
    if kind == "range":
        return Format(unsigned(bits), bits - 1)
    return Format(signed(bits - 1), bits - 3)


def factor_bits(given: Format, rows: int) -> int:
    """Bits of a factor beside its sign, so that sums over so many rows of it times a number of the
    format have 31."""
    return min(15, 30 - (rows - 1).bit_length() - given.interval.largest.bit_length())


def _check_rate(lr: float, shift: int, finer: int, number: int) -> None:
    """Refuse a learning rate whose updates of a layer do not fit their shift, `finer` bits of
    which are those of a schedule."""
    if shift < finer:
        bits = 16 - shift + finer
        raise UsageError(
            f"the learning rate is too large: factor{number}, the learning rate times the"
            f" gradients of layer {number}, would need {bits} bits, and has 16",
            help=f"set [train] lr to at most {lr * 2.0 ** (shift - finer):.3g}",
        )
    if shift > 29:
        raise UsageError(
            f"the learning rate is too small: no update would reach a weight of layer {number}",
            help=f"set [train] lr to at least {lr * 2.0 ** (shift - 29):.3g}",
        )


def _curvature(given: Format, fan_in: int, fan_out: int, finer: int, number: int) -> Curvature:
    """Inverse factors with as many bits as sums over them leave in 32, and range INVERSE."""
    low, high = given.interval
    largest = max(-low, high) * fan_in + (1 << given.fraction)
    inputs, outputs = (min(15, 31 - n.bit_length()) for n in (largest, fan_out << 15))
    if min(inputs, outputs) < LEAST_INVERSE_BITS:
        raise UsageError(
            f"layer {number} of {fan_in} inputs and {fan_out} units is too large for kfac: 32 bits"
            f" leave its inverse factors less than {LEAST_INVERSE_BITS}",
            help="use fewer units, or another [train] optimizer",
        )
    return Curvature(
        Format(signed(inputs), inputs - INVERSE), Format(signed(outputs), outputs - INVERSE), finer
    )


def _adapt(
    train: TrainSpec,
    rate: tuple[int, int],
    finer: int,
    weights: int,
    fraction: int,
    scale: int,
    number: int,
) -> Adaptation:
    """The steps of an adaptive optimizer for weights and gradients of so many fraction bits.
    Refuses a learning rate whose shifts do not fit."""
    least = code_of(max(train.epsilon * 2.0**fraction, 1.0) ** 2)
    # Of the learning rate times 1 / root, in units of the weight.
    whole = rate[1] - (8 - 15 + ONE // 2) - weights
    shift = min(whole, -1)  # so that the shift of a step stays below 31
    if whole - shift > MOST_LOST:
        raise UsageError(
            f"the learning rate is too small: no update would reach a weight of layer {number}",
            help=f"set [train] lr to at least {train.lr * 2.0 ** (whole - shift - MOST_LOST):.2g}",
        )
    if (room := shift + (least >> (MANTISSA + 1))) < 1:
        raise UsageError(
            f"the learning rate is too large for the weights of layer {number}, or epsilon too"
            " small",
            help=f"set [train] lr to at most {train.lr * 2.0 ** (room - 1):.2g}",
        )
    return Adaptation(fraction, scale, least, 8 + finer + whole - shift, shift)


def _decay(key: str, weight: float, rates: list[float], least: int) -> Decay | None:
    """The decay of `weight` times the rates, below 2^(8 - least); None for none. Refuses what has
    no room."""
    if not weight:
        return None
    finer = FINER if len(rates) > 1 else 0
    whole = ratio(weight * max(rates))[1] + finer
    least += finer
    shift = min(whole, 29)
    if shift < least or weight * max(rates) * 2.0**shift < LEAST_DECAY:
        size, allowed = "large", weight * 2.0 ** (whole - least)
        if shift >= least:
            size, allowed = "small", LEAST_DECAY * 2.0**-shift / max(rates)
        raise UsageError(
            f"[train] {key} = {weight:g} is too {size} beside the learning rate",
            help=f"set {key} to about {allowed:.2g}, or leave it out",
        )
    return Decay(tuple(nearest(weight * r * 2.0**shift) for r in rates), shift)


def _norm(most: float, deltas: int, inputs: int, rows: int) -> NormScale:
    """How a layer's gradient of deltas and inputs with so many fraction bits counts in the norm of
    a sample's, of which there is at `most` this."""
    shift = max(0, (rows.bit_length() - 1) // 2)
    unit = 2.0 ** (shift - deltas - inputs) / most
    return NormScale(shift, ratio(unit * unit * 2.0**NORM_FRACTION))


def _batch_clip(most: float, layers: list[LayerPlan], rates: list[float]) -> BatchClip:
    """How a batch's gradient times the rates is clipped by its norm, of which there is at `most`
    this. Refuses a limit below the last bit of the gradient."""
    finest = max(p.slot_fraction for p in layers)
    limits = [most * r * 2.0**finest for r in rates]
    if max(limits) < 1:
        raise UsageError(
            f"[train] clip_norm = {most:g} leaves nothing of a gradient",
            help=f"set clip_norm to at least {most / max(limits):.2g}",
        )
    finer = 14 - math.floor(math.log2(max(limits)))
    columns = max(p.fan_in + 1 + p.batch_norm for p in layers)
    rows = sum(p.fan_out for p in layers)
    return BatchClip(
        tuple(finest - p.slot_fraction for p in layers),
        (32 - columns.bit_length()) // 2,
        (rows.bit_length() + 1) // 2,
        # Two at least: so that a limit beyond all norms is one at any shift.
        tuple(max(2, nearest(x * 2.0**finer)) for x in limits),
        finer,
    )


def _slope(key: str, weight: float, scale: float, least: int) -> Decay | None:
    """A decay that is a part of the gradient, whose units are `scale` times the weights'; None for
    none. Refuses what has no room."""
    if not weight:
        return None
    shift = min(max(ratio(weight * scale)[1], least), 29)
    factor = nearest(weight * scale * 2.0**shift)
    if not LEAST_DECAY <= factor <= INT16.hi:
        size, allowed = ("small", LEAST_DECAY) if factor < LEAST_DECAY else ("large", INT16.hi)
        raise UsageError(
            f"[train] {key} = {weight:g} is too {size} to be a part of the gradient",
            help=f"set {key} to about {allowed * 2.0**-shift / scale:.2g}, or leave it out",
        )
    return Decay((factor,), shift)


def _clip(most: float, rates: list[float], fraction: int) -> tuple[int, ...]:
    """A clip of the gradient as the rates see it, at least 1; () for none."""
    if not most:
        return ()
    if most * max(rates) * 2.0**fraction < 1:
        raise UsageError(
            f"[train] clip_value = {most:g} leaves nothing of a gradient",
            help=f"set clip_value to at least {2.0**-fraction / max(rates):.2g}",
        )
    return tuple(max(1, nearest(min(most * r * 2.0**fraction, 2.0**30))) for r in rates)


def _class_weights(given: str | tuple[float, ...], dataset: Dataset) -> tuple[float, ...]:
    """A weight a class, () for none; "balanced" ones are rows / (classes * rows of the class)."""
    if not given:
        return ()
    if dataset.task == "regression":
        raise UsageError(
            f"{dataset.name} has no classes to weigh", help="leave class_weights out of [train]"
        )
    count = len(dataset.classes)
    if given == "balanced":
        rows = np.bincount(dataset.y_train, minlength=count)
        return tuple((rows.sum() / (count * rows)).tolist())
    assert not isinstance(given, str)
    if len(given) != count:
        raise UsageError(
            f"[train] class_weights has {len(given)} weights for {count} classes",
            help=f"they are, in this order: {', '.join(dataset.classes[:20])}",
        )
    return given


def _keep(dropout: float) -> int:
    """256ths of a layer's outputs that are kept; 0 without dropout."""
    return max(1, min(255, nearest(256 * (1 - dropout)))) if dropout else 0


def _check_batch_norm(net: NetSpec, optimizer: str, batch: int) -> None:
    """Refuse batch normalisation where there is nothing to normalise."""
    if not net.batch_norm:
        return
    if optimizer not in NORM_OPTIMIZERS:
        raise UsageError(
            f"batch_norm has no update by {optimizer}",
            help=f"set optimizer in [train] to one of {', '.join(NORM_OPTIMIZERS)}",
        )
    if not net.hidden:
        raise UsageError(
            "batch_norm has no hidden layer to normalise",
            help="leave batch_norm out of [net], or give it hidden layers",
        )
    if not 2 <= batch <= MAX_NORM_BATCH:
        raise UsageError(
            f"batch_norm learns from 2 to {MAX_NORM_BATCH} rows at a time, not {batch}",
            help="set batch in [train], for example batch = 16",
        )


def make_plan(project: Project, dataset: Dataset) -> Plan:
    """Choose all formats; raises `UsageError` where the net cannot be computed in 32 bits."""
    net, train = project.net, project.train
    preset, loss, optimizer = PRESETS[net.preset], LOSSES[net.loss], OPTIMIZERS[train.optimizer]
    rows = len(dataset.x_train)
    regression = dataset.task == "regression"
    if regression and not loss.real_targets:
        raise UsageError(
            f"the labels of {dataset.name} are real numbers, which {loss.name} cannot learn",
            help='set loss = "mse" in [net]',
        )
    if train.label_smoothing and not loss.smooths:
        raise UsageError(
            f"{loss.name} has no label smoothing",
            help='set loss = "softmax-cross-entropy" in [net], or label_smoothing = 0 in [train]',
        )
    if rows > MAX_ROWS:
        raise UsageError(
            f"{rows} training rows; at most {MAX_ROWS} are supported",
            help="raise [data] test or use fewer rows",
        )
    outputs = dataset.y_train.shape[1] if regression else loss.outputs(len(dataset.classes))
    sizes = (dataset.x_train.shape[1], *net.hidden, outputs)
    if max(sizes) > MAX_FAN_IN:
        raise UsageError(
            f"a layer of {max(sizes)} units; at most {MAX_FAN_IN} are supported",
            help="reduce the inputs or [net] hidden",
        )
    batch = train.batch or rows
    if batch > rows:
        raise UsageError(
            f"[train] batch = {batch} is larger than the {rows} training rows",
            help='use a smaller batch or batch = "full"',
        )
    weights = _class_weights(train.class_weights, dataset)
    top = max(weights, default=1.0)
    scale = loss.gradient_scale(outputs) * top
    _check_batch_norm(net, train.optimizer, batch)
    # Rows whose gradients are summed before an optimizer sees them, and whether it gathers those of
    # a batch in a slot.
    summed = batch if net.batch_norm else 1
    gathers = summed < batch or (batch > 1 and train.clip_norm > 0)
    clips = max(train.clip_value, train.clip_norm) > 0
    # An adaptive optimizer has its learning rate in the step alone, not in the gradient.
    factor = train.lr if optimizer.adaptive else train.lr / batch * scale
    rate = ratio(factor)
    pace = make_pace(train, -(-rows // batch), factor * 2.0 ** (rate[1] + FINER))
    finer = FINER if pace else 0
    # Learning rates as the board has them, an entry a stage.
    unit = 2.0 ** -(rate[1] + finer) * (1 if optimizer.adaptive else batch / scale)
    rates = [m * unit for m in (pace.rates if pace else (rate[0],))]
    depth = len(sizes) - 1
    layers: list[LayerPlan] = []
    given = _input_format(dataset.kind, _bits(preset, sizes[0], 1, depth == 1))
    for n in range(depth):
        fan_in, fan_out = sizes[n], sizes[n + 1]
        last = n == depth - 1
        fraction = preset.weight_fraction - int(preset.seen_shift > 0 and fan_in <= FEW_INPUTS)
        delta_fraction = loss.delta_fraction(dataset.task) if last else 13
        activation, output = None, None
        if not last:
            activation = net.activation[n]
            kind = ACTIVATIONS[activation]
            bits = _bits(preset, sizes[n + 1], n + 2, n + 1 == depth - 1)
            output = kind.format(bits if kind.unsigned else bits - 1)
        if preset.seen_shift:
            seen_delta_shift, seen_delta = 8, INT8
        else:
            # As many bits as 16-bit weights summed over the fan-out leave in 31 bits.
            bits = 15 - (fan_out - 1).bit_length()
            seen_delta_shift, seen_delta = 15 - bits, signed(bits)
        # Shift of the whole update, from delta * m * input to units of the weight.
        whole = delta_fraction + rate[1] + given.fraction - fraction
        curvature = None
        if optimizer.curved:
            # The eight bits of an input in q8 are few for one that takes all directions alike.
            more = 4 if preset.seen_shift else 0
            curvature = _curvature(given, fan_in, fan_out, more, n + 1)
            whole -= COARSER
        extra, product = 0, 8
        if optimizer.slots(batch if gathers else 1, clips):
            extra = min(6, max(0, whole - 8 - 12))
        if not preset.seen_shift:
            # Leave the row factor all of its 16 bits, but never let it saturate.
            # Over a batch, products are summed before they are shifted.
            product = min(16, max(1, whole - extra - 8 - (summed - 1).bit_length()))
        momentum = 0
        if optimizer.momentum:
            # Enough bits for the momentum, and room for its product with a velocity.
            product = min(15, max(8, product))
            momentum = min((1 << product) - 1, round(train.momentum * (1 << product)))
        row_shift = whole - extra - product + finer
        product += curvature.finer if curvature else 0
        clip_rates, clip_fraction = rates, fraction + extra + (0 if gathers else product)
        adaptation = None
        if optimizer.adaptive:
            m, s = ratio(scale / batch)
            row_shift, extra = ADAPTIVE_ROW_SHIFT + 15 - factor_bits(given, summed), 0
            whole = delta_fraction + s + given.fraction - row_shift
            product = min(16, max(1, whole - GRADIENT_FRACTION - (batch.bit_length() - 1) // 2))
            adaptation = _adapt(train, rate, finer, fraction, whole - product, m, n + 1)
            clip_rates = [1.0]
            clip_fraction = adaptation.fraction + (0 if gathers else product)
        if optimizer.decoupled or adaptation is None:
            l1 = _decay("l1", train.l1, [r * 2.0**fraction for r in rates], 1)
            l2 = _decay("l2", train.l2, rates, 8)
        else:
            l1 = _slope("l1", train.l1, 2.0**adaptation.fraction, 1)
            l2 = _slope("l2", train.l2, 2.0 ** (adaptation.fraction - fraction), 8)
        layer = LayerPlan(
            n + 1,
            fan_in,
            fan_out,
            activation,
            given,
            output,
            fraction,
            preset.seen_shift,
            delta_fraction,
            seen_delta_shift,
            seen_delta,
            rate,
            row_shift,
            product,
            extra,
            momentum,
            l1,
            l2,
            pace.rates if pace else rate[:1],
            _clip(train.clip_value, clip_rates, clip_fraction),
            gathers,
            keep=_keep(net.dropout[n]) if net.dropout and not last else 0,
            batch_norm=net.batch_norm and not last,
            curvature=curvature,
            adaptation=adaptation,
            norm=_norm(train.clip_norm / scale, delta_fraction, given.fraction, fan_out)
            if train.clip_norm and batch == 1
            else None,
        )
        if not adaptation:
            _check_rate(train.lr, layer.row_shift, finer, n + 1)
        layers.append(layer)
        if output is not None:
            given = output
    return Plan(
        tuple(layers),
        preset,
        loss,
        dataset.task,
        dataset.classes,
        train.optimizer,
        net.init,
        rows,
        batch,
        train.lr,
        train.label_smoothing,
        pace,
        class_weights=tuple(nearest(w / top * 2**WEIGHT_BITS) for w in weights),
        top_weight=top,
        batch_norm=net.batch_norm,
        clip_norm=train.clip_norm,
        batch_clip=_batch_clip(train.clip_norm, layers, [1.0] if optimizer.adaptive else rates)
        if train.clip_norm and batch > 1
        else None,
        averages=tuple(getattr(train, key) for key in optimizer.averages),
    )
