"""The dense layer: out = activation(W in + b), its gradients, and its update in integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from nnhost.activations import ACTIVATIONS
from nnhost.fixed import saturate
from nnhost.floating import inverse_root
from nnhost.initializers import INITIALIZERS
from nnhost.ir import (
    INT16,
    UINT16,
    Buffer,
    Const,
    Draw,
    Expr,
    Interval,
    Map,
    Operand,
    Var,
    clamp,
    eq,
    interval,
    maximum,
    minimum,
    rounded_shift,
    total,
    wrap,
)
from nnhost.optimizers import OPTIMIZERS, Moments, Parameter
from nnhost.optimizers.base import GATHERED, GRADIENT, MOMENT, SLOT_TYPES, SQUARE, VELOCITY
from nnhost.plan import COARSER, Decay, LayerPlan

#: Odd multiples of the golden ratio spread one draw over the weights of a row (Weyl sequence).
WEYL = 157
#: In the names of inverse factors, between their side and their layer.
INVERSE = "_inverse"
#: What clipping by its norm leaves of the gradient, and how many fraction bits that has.
LEFT_BITS = 15
LEFT = Buffer("left", (), Interval(0, 1 << LEFT_BITS),
              doc=f"share of the gradient, in 2^-{LEFT_BITS}")  # fmt: skip
#: Words for how many numbers are drawn.
COUNTS = {2: "two", 3: "three"}
#: What slots are called in the generated C.
SLOTS = {
    VELOCITY: "velocities", GATHERED: "gathered steps", GRADIENT: "gathered gradients",
    MOMENT: "averages of the gradients", SQUARE: "squares of the gradients",
}  # fmt: skip


def row_factor(delta: Expr, drawn: Expr, rate: Operand, shift: int) -> Expr:
    """delta * rate * 2^-shift, rounded stochastically: what a row's inputs are multiplied with."""
    # `shift` random bits; beyond 16 the upper ones are random.
    dither = (drawn << max(0, shift - 16)) & ((1 << shift) - 1)
    return saturate((delta * rate + dither) >> shift)


def spread(column: Operand, bits: int) -> Operand:
    """How far a column's `bits` random bits are from those of column 0."""
    return column * ((WEYL << max(0, bits - 8) >> max(0, 8 - bits)) | 1)


def noise(draw: Expr, distance: Operand, bits: int) -> Expr:
    """`bits` random bits for a column, from a row's draw of 16."""
    return ((draw >> (16 - bits)) + distance) & ((1 << bits) - 1)


def decay_noise(draws: Buffer, row: Var, column: Var, decay: Decay) -> Expr:
    """Random bits for what a decay takes from a weight."""
    bits = min(16, decay.shift)
    return noise(draws[row, 1], spread(column, bits), bits) << (decay.shift - bits)


def slot_unit(plan: LayerPlan, name: str) -> str:
    """What a slot's numbers are in, for people."""
    return "codes of their squares" if name.endswith(SQUARE) else f"2^-{plan.slot_fraction}"


def clipped(x: Expr, most: Operand | None) -> Expr:
    """x within -most..most, anywhere for None."""
    return x if most is None else minimum(maximum(x, 0 - wrap(most)), most)


@dataclass(frozen=True)
class Step:
    """An update in integers: (factor * x + noise) >> shift, with `extra` more fraction bits than
    the weight. `noise` has `shift` bits; momentum is `momentum` * 2^-shift. `clip`: the largest
    magnitude of factor * x; `clip_sum`: of what is gathered over a batch; None for any. `short`:
    noise of `LEFT_BITS` bits for what is gathered and clipped by its norm; None if it is not."""

    factor: Expr
    x: Operand
    noise: Expr
    shift: int
    extra: int
    momentum: Operand
    clip: Operand | None = None
    clip_sum: Operand | None = None
    short: Expr | None = None

    @property
    def product(self) -> Expr:
        """Factor times x, clipped."""
        return clipped(self.factor * self.x, self.clip)

    def kept(self, v: Expr) -> Expr:
        """Momentum times v."""
        return (v * self.momentum + self.noise) >> self.shift

    def decayed(self, v: Expr) -> Expr:
        """Momentum times v less the step, rounded once."""
        return (v * self.momentum - self.product + self.noise) >> self.shift

    def narrow(self, v: Expr) -> Expr:
        """v without its extra bits."""
        if not self.extra:
            return v
        return (v + (self.noise >> (self.shift - self.extra))) >> self.extra

    def clipped(self, g: Expr) -> Expr:
        """What has been gathered over a batch, clipped by its norm and then by value."""
        if self.short is not None:
            g = (g * LEFT() + self.short) >> LEFT_BITS
        return clipped(g, self.clip_sum)

    def of(
        self,
        weight: Buffer,
        slots: tuple[Buffer, ...],
        index: tuple[Var, ...],
        first: Expr,
        last: Expr,
    ) -> Parameter:
        """What the optimizer works on."""
        moved = (self.product + self.noise) >> self.shift
        return Parameter(
            weight.name,
            weight,
            slots,
            index,
            moved,
            first,
            last,
            self.kept,
            self.decayed,
            self.narrow,
            self.clipped,
        )


@dataclass(frozen=True)
class Dense:
    """The buffers of one layer. `held`: the optimizer's slots, of the weights and of the biases;
    `inverses`: the factors of inputs and of outputs that gradients are multiplied with, or ()."""

    plan: LayerPlan
    source: Buffer
    weight: Buffer
    bias: Buffer
    held: tuple[tuple[Buffer, Buffer], ...]
    delta: Buffer
    inverses: tuple[Buffer, ...] = ()

    @classmethod
    def of(cls, plan: LayerPlan, source: Buffer, slots: tuple[str, ...]) -> Dense:
        """The buffers of a planned layer that reads `source`, with slots of such names."""
        n, shape = plan.number, (plan.fan_out, plan.fan_in)
        point = f"2^-{plan.weight_fraction}"

        def state(name: str, dims: tuple[int, ...], doc: str, kind: Interval = INT16) -> Buffer:
            return Buffer(f"{name}{n}", dims, kind, "state", doc=doc)

        def slot(name: str, dims: tuple[int, ...], doc: str) -> Buffer:
            kind = SLOT_TYPES[name.removeprefix("bias_")]
            return state(name, dims, f"{doc}, in {slot_unit(plan, name)}", kind)

        return cls(
            plan,
            source,
            state("weight", shape, f"weights of layer {n} less {plan.offset}, in {point}"),
            state("bias", shape[:1], f"biases of layer {n} less {plan.offset}, in {point}"),
            tuple(
                (
                    slot(name, shape, f"{SLOTS[name]} of layer {n}"),
                    slot(f"bias_{name}", shape[:1], "and of its biases"),
                )
                for name in slots
            ),
            Buffer(
                f"delta{n}", shape[:1], INT16,
                doc=f"gradient at the output of layer {n}, in 2^-{plan.delta_fraction}",
            ),
            tuple(
                Buffer(f"{side}{INVERSE}{n}", (size, size), form.interval, "state",
                       doc=f"inverse factor of layer {n}'s {side}s, in 2^-{form.fraction}")
                for side, size, form in (
                    ("input", plan.fan_in + 1, plan.curvature.inputs),
                    ("output", plan.fan_out, plan.curvature.outputs),
                )
            ) if plan.curvature else (),
        )  # fmt: skip

    @property
    def rows(self) -> Var:
        """Index of the outputs."""
        return Var("o", self.plan.fan_out)

    @property
    def columns(self) -> Var:
        """Index of the inputs."""
        return Var("j", self.plan.fan_in)

    @property
    def parameters(self) -> tuple[Buffer, ...]:
        """Weights and biases."""
        return (self.weight, self.bias)

    @property
    def slots(self) -> tuple[Buffer, ...]:
        """The optimizer's buffers, if it has any."""
        return tuple(b for pair in self.held for b in pair)

    def seen(self, stored: Expr) -> Expr:
        """The weight as the forward and backward passes see it."""
        return stored >> self.plan.seen_shift

    def init(self, name: str) -> list[Map]:
        """Draw the weights; everything else starts at zero."""
        p, o, j = self.plan, self.rows, self.columns
        drawn = INITIALIZERS[name](p.fan_in, p.fan_out, p.weight_fraction)
        maps = [
            Map(f"init_{self.weight.name}", self.weight, (o, j), saturate(drawn + p.offset),
                doc=name),
            Map(f"init_{self.bias.name}", self.bias, (o,), Const(p.offset), doc="zero"),
        ]  # fmt: skip
        for slot in self.slots:
            index = (o, j) if len(slot.shape) == 2 else (o,)
            maps.append(Map(f"init_{slot.name}", slot, index, Const(0), doc="zero"))
        if p.curvature:
            formats = (p.curvature.inputs, p.curvature.outputs)
            for inverse, form in zip(self.inverses, formats, strict=True):
                i, k = Var("i", inverse.shape[0]), Var("k", inverse.shape[0])
                one = eq(i, k) * (1 << form.fraction)
                maps.append(Map(f"init_{inverse.name}", inverse, (i, k), one, doc="the identity"))
        return maps

    def sums(self) -> Expr:
        """The exact pre-activation sum of output o."""
        o, j = self.rows, self.columns
        bias = self.seen(self.bias[o]) * (1 << self.plan.input.fraction)
        return total(j, self.seen(self.weight[o, j]) * self.source[j], bias)

    @property
    def sum_fraction(self) -> int:
        """Fraction bits of the sums."""
        return self.plan.seen_fraction + self.plan.input.fraction

    def forward(self, fine: bool) -> Map:
        """Hidden layer: the activation of the sums, into a new buffer (see `Map.dst`)."""
        return self.activate(self.sums(), self.sum_fraction, fine)

    def activate(self, sums: Expr, fraction: int, fine: bool) -> Map:
        """The activation of `sums` with `fraction` bits, into a new buffer."""
        p = self.plan
        assert p.activation is not None
        assert p.output is not None
        value = ACTIVATIONS[p.activation].forward(sums, fraction, p.output, fine)
        out = Buffer(
            f"activation{p.number}", (p.fan_out,), p.output.interval,
            doc=f"{p.activation} outputs of layer {p.number}, in 2^-{p.output.fraction}",
        )  # fmt: skip
        return Map(f"forward{p.number}", out, (self.rows,), value,
                   doc=f"{p.activation}(W in + b)")  # fmt: skip

    def logits(self) -> Map:
        """Last layer: the exact sums."""
        n, value = self.plan.number, self.sums()
        out = Buffer("logits", (self.plan.fan_out,), interval(value),
                     doc=f"sums of the last layer, in 2^-{self.sum_fraction}")  # fmt: skip
        return Map(f"forward{n}", out, (self.rows,), value, doc="W in + b")

    def backward(self, below: Dense) -> list[Map]:
        """The gradient at the output of the layer below, whose output is this layer's input."""
        p, o, j = self.plan, self.rows, self.columns
        q = below.plan
        assert q.activation is not None
        assert q.output is not None
        seen = Buffer(f"seen_delta{p.number}", (p.fan_out,), p.seen_delta,
                      doc=f"delta{p.number} as the backward pass sees it")  # fmt: skip
        rounded = rounded_shift(self.delta[o], p.seen_delta_shift)
        gradient = total(o, self.seen(self.weight[o, j]) * seen[o])
        shift = p.seen_fraction + p.delta_fraction - p.seen_delta_shift - q.delta_fraction
        activation = ACTIVATIONS[q.activation]
        value = activation.backward(rounded_shift(gradient, shift), self.source[j], q.output)
        return [
            Map(f"see_delta{p.number}", seen, (o,), clamp(rounded, p.seen_delta)),
            Map(f"backward{p.number}", below.delta, (j,), saturate(value),
                doc=f"W^T delta times the derivative of {q.activation}"),
        ]  # fmt: skip

    def update(
        self,
        optimizer: str,
        chosen: Callable[[str, tuple[int, ...]], Operand],
        first: Expr,
        last: Expr,
        shares: tuple[Operand, ...] = (),
        by_norm: bool = False,
    ) -> list[Map]:
        """Learning rate times gradient into the optimizer, row by row. `chosen(name, factors)`: of
        the factors of the schedule's stages, the one that counts; a lone factor is it. `shares`:
        of the newest gradient in the averages of an adaptive optimizer. `by_norm`: whether what is
        gathered is clipped by its norm."""
        p, o, j, n = self.plan, self.rows, self.columns, self.plan.number
        draws, draw = self.drawn()
        factor = Buffer(f"factor{n}", (p.fan_out,), INT16, doc="learning rate times delta, a row")
        rate = chosen("rates", p.rates)
        turned = self._turned()
        delta = turned[1].dst if turned else self.delta
        scale = p.adaptation.scale if p.adaptation else rate
        scaled = row_factor(delta[o], draws[o, 0], scale, p.row_shift)
        bits = p.product_shift
        maps = [
            *turned,
            draw,
            Map(f"factor{n}", factor, (o,), scaled, doc="lr * delta"),
        ]
        if OPTIMIZERS[optimizer].decoupled:
            maps += [replace(m, when=last) for m in self.decays(draws, chosen)]
        clips = self.clips(chosen)
        inputs: tuple[Operand, Operand] = (self.source[j], 1 << p.input.fraction)
        if turned:
            inputs = (turned[0].dst[j], turned[0].dst[p.fan_in])
        for at, weight, index, column, x in (
            (0, self.weight, (o, j), j, inputs[0]),
            (1, self.bias, (o,), p.fan_in, inputs[1]),
        ):
            random = noise(draws[o, 1], spread(column, bits), bits)
            short = self.short(draws, column) if by_norm else None
            step = Step(factor[o], x, random, bits, p.extra, p.momentum, *clips, short)
            slots = tuple(pair[at] for pair in self.held)
            given = step.of(weight, slots, index, first, last)
            moments = self.moments(optimizer, draws, index, column, rate, shares)
            maps += OPTIMIZERS[optimizer].update(replace(given, moments=moments))
        return maps

    def drawn(self) -> tuple[Buffer, Map]:
        """The random numbers of an update, and the Map that draws them."""
        p, n = self.plan, self.plan.number
        q = Var("q", 3 if p.adaptation else 2)
        draws = Buffer(f"draws{n}", (p.fan_out, q.extent), UINT16,
                       doc=f"{COUNTS[q.extent]} random numbers a row")  # fmt: skip
        doc = "noise for stochastic rounding"
        return draws, Map(f"draw{n}", draws, (self.rows, q), Draw(), doc=doc)

    def clips(
        self, chosen: Callable[[str, tuple[int, ...]], Operand]
    ) -> tuple[Operand | None, Operand | None]:
        """The largest magnitudes of a step and of what is gathered, None for any."""
        p = self.plan
        if not p.clip:
            return None, None
        most = p.clip[0] if p.adaptation else chosen(f"clips{p.number}", p.clip)
        return (None, most) if p.gathers else (most, None)

    def short(self, draws: Buffer, column: Operand) -> Expr:
        """Random bits for what clipping by the norm leaves of a gradient. They are none of those
        that round what comes after it."""
        drawn = draws[self.rows, 1 if self.plan.adaptation else 0]
        return noise(drawn, spread(column, LEFT_BITS), LEFT_BITS)

    def _turned(self) -> list[Map]:
        """Inputs, the bias's constant last, and deltas times the inverse factors, if it has any."""
        p, j, n = self.plan, self.columns, self.plan.number
        if p.curvature is None:
            return []
        i, o, k = Var("i", p.fan_in + 1), self.rows, Var("k", p.fan_out)
        left, right = self.inverses
        finer = p.curvature.finer
        x = Buffer(
            f"turned_x{n}",
            (p.fan_in + 1,),
            INT16,
            doc=f"inputs of layer {n} as K-FAC turns them, in 2^-{p.input.fraction + finer}",
        )
        delta = Buffer(
            f"turned_delta{n}",
            (p.fan_out,),
            INT16,
            doc=f"delta{n} as K-FAC turns it, in 2^-{p.delta_fraction - COARSER}",
        )
        inputs = total(j, left[i, j] * self.source[j], left[i, p.fan_in] * (1 << p.input.fraction))
        deltas = total(k, right[o, k] * self.delta[k])
        return [
            Map(f"turn_x{n}", x, (i,),
                saturate(rounded_shift(inputs, p.curvature.inputs.fraction - finer)), doc="A^-1 x"),
            Map(f"turn_delta{n}", delta, (o,),
                saturate(rounded_shift(deltas, p.curvature.outputs.fraction + COARSER)),
                doc="G^-1 delta"),
        ]  # fmt: skip

    def moments(
        self,
        optimizer: str,
        draws: Buffer,
        index: tuple[Var, ...],
        column: Operand,
        rate: Operand,
        shares: tuple[Operand, ...],
    ) -> Moments | None:
        """What an adaptive optimizer works with in a column of weights, or in a tensor of one
        number a row; None for others."""
        p, o, j = self.plan, self.rows, self.columns
        a = p.adaptation
        if a is None:
            return None
        decays = len(index) == 2 and not OPTIMIZERS[optimizer].decoupled

        def with_decay(g: Expr) -> Expr:
            weight = self.weight[o, j] - p.offset
            if p.l2:
                g = g + ((weight * p.l2.factors[0] + decay_noise(draws, o, j, p.l2)) >> p.l2.shift)
            if p.l1:
                most = (decay_noise(draws, o, j, p.l1) + p.l1.factors[0]) >> p.l1.shift
                g = g + clamp(weight, Interval(-1, 1)) * most
            return saturate(g)

        def change(m: Expr, square: Expr) -> Expr:
            root, halves = inverse_root(maximum(square, a.least))
            shift = minimum(halves + a.shift, 30)
            # The upper ones of 30 bits are random.
            dither = (noise(draws[o, 0], spread(column, 16), 16) << 14) >> (30 - shift)
            return (m * rounded_shift(root * rate, a.root_shift) + dither) >> shift

        def random(bits: int) -> Expr:
            return noise(draws[o, 2], spread(column, bits), bits)

        return Moments(shares, random, with_decay if decays else lambda g: g, change)

    def decays(self, draws: Buffer, chosen: Callable[[str, tuple[int, ...]], Operand]) -> list[Map]:
        """What an update takes from the weights, whatever their gradient; biases keep theirs."""
        p, o, j = self.plan, self.rows, self.columns
        weight = self.weight[o, j]
        real = weight - p.offset
        maps = []
        for name, decay in (("l2", p.l2), ("l1", p.l1)):
            if decay is None:
                continue
            factor = chosen(f"{name}_rates{p.number}", decay.factors)
            random = decay_noise(draws, o, j, decay)
            if name == "l2":
                taken = (real * factor + random) >> decay.shift
            else:
                most = (random + factor) >> decay.shift
                taken = minimum(maximum(real, 0 - most), most)  # never beyond zero
            maps.append(
                Map(f"{name}_{self.weight.name}", self.weight, (o, j), saturate(weight - taken),
                    doc="w - lr * l2 * w" if name == "l2" else "w - lr * l1 * sign(w)")
            )  # fmt: skip
        return maps
