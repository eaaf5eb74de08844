"""From a plan to a Program: the sections that a training board runs.

init draws the weights; epoch draws the visiting order; pick finds the row of a position; forward
computes outputs and prediction; measure computes the loss and the output gradient; backward the
other gradients; update changes the weights; report is the loss in thousandths for text lines.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import replace
from itertools import filterfalse, zip_longest

from nnhost.errors import UsageError
from nnhost.ir import (
    INT16,
    UINT16,
    BoundError,
    Buffer,
    Const,
    Draw,
    Expr,
    Interval,
    Load,
    Map,
    Operand,
    Program,
    Var,
    interval,
    minimum,
    sel,
)
from nnhost.layers.batch_norm import BatchNorm, update_batch
from nnhost.layers.batches import Batch, needed
from nnhost.layers.clip import clip_batch_norm, clip_norm
from nnhost.layers.dense import Dense
from nnhost.layers.dropout import Dropout, no_training, training_flag
from nnhost.losses.base import Outputs, weigh
from nnhost.optimizers import OPTIMIZERS, forgetting
from nnhost.pace import lower_pace
from nnhost.plan import Plan

#: Length of the random sequence; a step should not share a factor with it.
PERIOD = 65535
#: The generator's state; it lives in the firmware's core, so its name is fixed.
PRNG_STATE = Buffer("prng_state", (), UINT16, "state", doc="state of the generator")


def lower(plan: Plan) -> Program:
    """The whole training of `plan`; raises `UsageError` where a value cannot be proven to fit."""
    try:
        return _lower(plan)
    except BoundError as error:
        raise UsageError(
            f"the net cannot be proven free of overflow: {error}",
            help='use fewer units or inputs, another learning rate, or preset = "q8" in [net]',
        ) from None


def _lower(plan: Plan) -> Program:
    x = Buffer("x", (plan.n_inputs,), plan.layers[0].input.interval, "input", doc="inputs")
    slots = plan.slots
    dense: list[Dense] = []
    forward: list[Map] = []
    source = x
    # Normalised nets learn from whole batches: their steps compute as evaluations do.
    training = None if plan.batch_norm or not plan.drops else training_flag()
    dropout: dict[int, Dropout] = {}
    norms: list[BatchNorm] = []
    for layer in plan.layers[:-1]:
        dense.append(Dense.of(layer, source, slots))
        if layer.batch_norm:
            norms.append(BatchNorm.of(dense[-1], slots))
            forward += norms[-1].forward(plan.fine)
        else:
            forward.append(dense[-1].forward(plan.fine))
        source = forward[-1].dst
        if layer.keep:
            dropout[layer.number] = Dropout(layer, source, training)
            forward += dropout[layer.number].forward()
    top = Dense.of(plan.layers[-1], source, slots)
    dense.append(top)
    forward.append(top.logits())
    logits = forward[-1].dst
    if plan.task == "regression":
        target = Buffer("target", (plan.n_outputs,), INT16, "input", doc="what to learn")
    else:
        target = Buffer("target", (), Interval(0, max(1, len(plan.classes) - 1)), "input",
                        doc="class to learn")  # fmt: skip
    outputs = Outputs(
        logits, top.sum_fraction, Buffer("top", (), logits.interval, doc="largest logit"), target,
        top.delta, plan.layers[-1].delta_fraction, plan.label_smoothing,
    )  # fmt: skip
    forward += plan.loss.predict(outputs)
    measure = plan.loss.measure(outputs)
    loss = next(m.dst for m in measure if m.dst.name == "loss")
    if plan.class_weights:
        measure += weigh(outputs, loss, plan.class_weights)
    backward: list[Map] = []
    for above, below in _pairs(dense):
        backward += above.backward(below)
        if below.plan.number in dropout:
            backward += dropout[below.plan.number].backward(below.delta)

    one = Const(1)
    first: Expr = one
    last: Expr = one
    if plan.batch > 1:
        first = Buffer("first", (), Interval(0, 1), "input", doc="the batch begins")()
        last = Buffer("last", (), Interval(0, 1), "input", doc="the batch ends")()
    in_256ths = loss() >> -8 - round(math.log2(plan.loss.scale(1)))
    paced = lower_pace(plan.pace, in_256ths, last) if plan.pace else None

    def chosen(name: str, factors: tuple[int, ...]) -> Operand:
        return paced.chosen(name, factors) if paced else factors[0]

    optimizer = OPTIMIZERS[plan.optimizer]
    averages = [
        forgetting(key, beta, optimizer.corrected, last)
        for key, beta in zip(optimizer.averages, plan.averages, strict=True)
    ]
    shares = tuple(a.share for a in averages)
    kept: list[Map] = []
    update = [m for a in averages for m in a.maps]
    if norms:
        batch = Batch(plan.batch)
        kept, keep = _kept_rows(batch, x, target, first)
        wanted = needed([*forward, *measure], top.delta)
        learn = _learn(batch, dense, norms, dropout, wanted)
        backward = [*keep, *(replace(m, when=last) for m in learn)]
    if plan.layers[0].norm:
        update += clip_norm(dense)
    by_norm = plan.batch_clip is not None
    changes: list[Map] = []
    for layer_, norm_ in zip_longest(reversed(dense), [None, *reversed(norms)]):
        if norms:
            changes += update_batch(layer_, norm_, batch, plan.optimizer, chosen, shares, by_norm)
        else:
            changes += layer_.update(plan.optimizer, chosen, first, last, shares, by_norm)
    if plan.batch_clip:
        # All of the gradient is gathered before any of it is used.
        held = [(d, (*d.held[-1], *(n.held[-1] for n in norms if n.dense is d))) for d in dense]
        gathered = {b for _, buffers in held for b in buffers}

        def uses(m: Map) -> bool:
            return m.dst.role == "state" and m.dst not in gathered

        clip = [replace(m, when=last) for m in clip_batch_norm(plan.batch_clip, held, chosen)]
        changes = [*filterfalse(uses, changes), *clip, *filter(uses, changes)]
    update += [*changes, *(m for norm in norms for m in norm.follow())]
    update += _padding([*forward, *backward, *update])
    if norms:
        update = [replace(m, when=last) for m in update]
    update += paced.update if paced else []
    update += [no_training("end_training", training)] if training else []
    update = [m if m.when != one else _always(m) for m in update]

    milli = plan.loss.milli(loss(), plan.n_outputs)
    report = Map(
        "milli", Buffer("milli", (), interval(milli), doc="loss in thousandths"), (), milli
    )
    order, no_order, epoch, pick = _shuffle(plan)
    return Program(
        {
            "init": [
                *(m for d in dense for m in d.init(plan.init)),
                *(m for a in averages for m in a.init),
                *(m for norm in norms for m in norm.init()),
                *kept,
                *(paced.init if paced else []),
                no_order,
                *([no_training("init_training", training)] if training else []),
            ],
            "epoch": [*(paced.epoch if paced else []), epoch],
            "pick": [pick],
            "forward": forward,
            "measure": measure,
            "backward": backward,
            "update": update,
            "report": [report],
        },
        state=(
            *(b for d in dense for b in d.parameters),
            *(b for d in dense for b in d.slots),
            *(b for a in averages for b in a.state),
            *(b for norm in norms for b in norm.state),
            *(m.dst for m in kept),
            *(b for d in dense for b in d.inverses),
            *(paced.state if paced else ()),
            order,
            PRNG_STATE,
        ),
        sample=(x, target),
        trace=(*(d.source for d in dense[1:]), logits),
    )


def _kept_rows(batch: Batch, x: Buffer, target: Buffer, first: Expr) -> tuple[list[Map], list[Map]]:
    """The Maps that clear the samples kept, and those that keep one. A batch that ends early has
    rows of the one before behind its own."""
    last = batch.row.extent - 1
    place = Buffer("place", (), Interval(0, last), "state", doc="place in the batch")
    clear: list[Map] = []
    keep = [Map("place", place, (), sel(first, 0, minimum(place() + 1, last)))]
    for b in (x, target):
        j = tuple(Var("j", n) for n in b.shape)
        rows = batch.of(b, "state")
        clear.append(Map(f"init_{rows.name}", rows, (batch.row, *j), Const(0), doc="zero"))
        keep.append(Map(f"keep_{b.name}", rows, j, Load(b, j), row=place()))
    clear.append(Map("init_place", place, (), Const(0), doc="the first"))
    return clear, keep


def _learn(
    batch: Batch,
    dense: list[Dense],
    norms: list[BatchNorm],
    dropout: dict[int, Dropout],
    sample: list[Map],
) -> list[Map]:
    """The gradients of all samples of a batch. `sample`: the Maps that a sample's gradient at the
    outputs needs."""
    sources = {d.source for d in dense[1:]}
    activate = {m.dst: m for m in reversed(sample) if m.dst in sources}
    scales = [norm.scale for norm in norms]
    gradients: list[Map] = []
    for norm, scale, above in zip(norms, scales, dense[1:], strict=True):
        gradients += norm.forward_batch(batch, scale, activate[above.source])
        if norm.dense.plan.number in dropout:
            gradients += batch.maps(dropout[norm.dense.plan.number].rest())
    behind = max(i for i, m in enumerate(sample) if m.dst in sources) + 1
    gradients += batch.maps(sample[behind:])
    for above, norm, scale in zip(dense[:0:-1], norms[::-1], scales[::-1], strict=True):
        gradients += batch.maps(above.backward(norm.dense))
        if norm.dense.plan.number in dropout:
            gradients += batch.maps(dropout[norm.dense.plan.number].backward(norm.dense.delta))
        gradients += norm.backward_batch(batch, scale)
    return gradients


def _pairs(dense: list[Dense]) -> list[tuple[Dense, Dense]]:
    return list(zip(dense[:0:-1], dense[-2::-1], strict=True))


def _always(m: Map) -> Map:
    return Map(m.name, m.dst, m.index, m.expr, None, m.doc)


def _padding(step: list[Map]) -> list[Map]:
    """Extra draws, so that steps do not fall into a short cycle of the random sequence."""
    drawn = sum(m.dst.size for m in step if m.expr == Draw())
    if not drawn:
        return []
    extra = next(p for p in range(PERIOD) if math.gcd(drawn + p, PERIOD) == 1)
    if not extra:
        return []
    unused = Buffer("unused", (extra,), UINT16, doc="draws that no one needs")
    return [Map("pad_draws", unused, (Var("q", extra),), Draw(), doc="keep the cycle long")]


def _shuffle(plan: Plan) -> tuple[Buffer, Map, Map, Map]:
    """An affine order of 2^k places: row = (a * position + c) mod 2^k with a odd."""
    places = 1 << plan.order_bits
    q = Var("q", 2)
    order = Buffer(
        "order", (2,), UINT16, "state", doc="multiplier and offset of the visiting order"
    )
    position = Buffer("position", (), Interval(0, places - 1), "input", doc="place in the epoch")
    row = Buffer("row", (), Interval(0, places - 1), doc="row at that place")
    odd = order[0] + 1 - (order[0] & 1)
    at = (odd * position() + order[1]) & (places - 1)
    return (
        order,
        Map("init_order", order, (q,), Const(0), doc="none yet"),
        Map("epoch", order, (q,), Draw(), doc="a new visiting order"),
        Map("pick", row, (), at, doc="(a * position + c) mod 2^k, with a made odd"),
    )


def fingerprint(program: Program) -> int:
    """32 bits that name the arithmetic: equal fingerprints compute the same bits."""
    text = "\n".join(
        f"{section}:{m.name}:{m.dst}:{m.place.index}:{m.expr}:{m.when}"
        for section, maps in program.sections.items()
        for m in maps
    )
    return zlib.crc32(text.encode())
