"""docs/semantics.md as a program: plain Python, section by section, and none of the project's code.

It is slow and knows no proofs. What it shares with nnhost is the page alone.
"""

from __future__ import annotations

import copy
import itertools
import math
import operator
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from statistics import NormalDist

Rows = list[list[int]]


def R(x: int, s: int) -> int:
    return (x + ((1 << s) >> 1)) >> s if s >= 0 else x << -s


def clamp(x: int, lo: int, hi: int) -> int:
    return max(lo, min(hi, x))


def sat16(x: int) -> int:
    return clamp(x, -32768, 32767)


def near(r: float) -> int:
    return math.floor(r + 0.5)


def ratio(r: float) -> tuple[int, int]:
    s = 7 - math.floor(math.log2(r))
    m = round(r * 2.0**s)
    return (128, s - 1) if m == 256 else (m, s)


EXP = [near(32768 * math.exp(-i / 16)) for i in range(256)]
LN = [near(256 * math.log(1 + i / 128)) for i in range(128)]
LOGISTIC = [near(32768 / (1 + math.exp(-i / 16))) for i in range(256)]
SOFTPLUS = [near(256 * math.log(1 + math.exp(-i / 16))) for i in range(256)]
QUANTILES = [NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)]
SPREAD = math.sqrt(sum(q * q for q in QUANTILES) / 256)
NORMAL = [near(8192 * q / SPREAD) for q in QUANTILES]


@dataclass
class Layer:
    """Formats of one layer, then its state, then what the last step computed."""

    n: int
    K: int
    activation: str  # "" for the last
    lo: int  # of the inputs
    hi: int
    fa: int
    Fw: int
    fd: int
    U: Rows = field(default_factory=list)
    UB: list[int] = field(default_factory=list)
    v: Rows = field(default_factory=list)
    vB: list[int] = field(default_factory=list)
    g: Rows = field(default_factory=list)
    gB: list[int] = field(default_factory=list)
    G: list[int] = field(default_factory=list)
    vG: list[int] = field(default_factory=list)
    gG: list[int] = field(default_factory=list)
    mean: list[int] = field(default_factory=list)
    variance: list[int] = field(default_factory=list)
    PA: Rows = field(default_factory=list)  # inverse factors of kfac
    PG: Rows = field(default_factory=list)
    a: list[int] = field(default_factory=list)
    acc: list[int] = field(default_factory=list)
    delta: list[int] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)  # of the units above
    held: list[tuple[Rows, list[int], list[int]]] = field(default_factory=list)


@dataclass
class Course:
    """A schedule's keys in [train]."""

    schedule: str
    epochs: int
    warmup: float = 0.0
    lr_min: float = 0.0
    decay: float | None = None
    decay_every: int | None = None
    cycle: int = 1
    cycle_growth: int = 2
    rise: float = 0.3
    patience: int = 3


Stages = list[tuple[float, float]]  # until, share


def staircase(a: float, b: float, n: int, f: Callable[[float], float]) -> Stages:
    width = (b - a) / n
    return [(a + (i + 1) * width, f((i + 0.5) / n)) for i in range(n)]


def fall(low: float, t: float) -> float:
    return low + (1 - low) * (1 + math.cos(math.pi * t)) / 2


def stages(c: Course, low: float) -> Stages:
    E = c.epochs - c.warmup
    d = 0.1 if c.decay is None else c.decay
    if c.schedule == "constant":
        return [(E, 1.0)]
    if c.schedule == "step":
        every = c.decay_every or math.ceil(E / 3)
        return [((i + 1) * every, max(low, d**i)) for i in range(math.ceil(E / every))]
    if c.schedule == "exponential":
        left = 0.01 if c.decay is None else c.decay**E
        return staircase(0, E, 32, lambda t: max(low, left**t))
    if c.schedule == "cosine":
        return staircase(0, E, 32, lambda t: fall(low, t))
    if c.schedule == "warm-restarts":
        ends = [0.0]
        while ends[-1] < E:
            ends.append(ends[-1] + c.cycle * c.cycle_growth ** (len(ends) - 1))
        n = max(4, 32 // (len(ends) - 1))
        found: Stages = []
        for a, b in itertools.pairwise(ends):
            found += staircase(a, b, n, lambda t: fall(low, t))
        return [s for i, s in enumerate(found) if i == 0 or found[i - 1][0] < E]
    if c.schedule == "one-cycle":
        up = clamp(round(32 * c.rise), 1, 31)
        return [
            *staircase(0, c.rise * E, up, lambda t: max(low, fall(1 / 25, 1 - t))),
            *staircase(c.rise * E, E, 32 - up, lambda t: fall(max(low, 1 / 10000), t)),
        ]
    shares = [1.0]
    floor = max(low, 2.0**-14)
    while shares[-1] > floor:
        shares.append(max(floor, shares[-1] * d))
    return [(0, share) for share in shares]


@dataclass
class Net:
    """What nn.toml and the data's shape say. `real`: real targets."""

    sizes: list[int]
    activation: str
    loss: str
    preset: str
    init: str
    optimizer: str
    momentum: float
    lr: float
    B: int
    N: int
    kind: str
    real: bool
    smoothing: float = 0.0
    course: Course | None = None
    clip: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    dropout: float = 0.0  # of every hidden layer
    weights: tuple[float, ...] = ()  # a class
    norm: bool = False
    clip_norm: float = 0.0
    betas: tuple[float, ...] = ()  # of an adaptive optimizer's averages
    epsilon: float = 0.0001
    x: int = 1
    order: tuple[int, int] = (0, 0)
    layers: list[Layer] = field(default_factory=list)

    # ---- Formats ----

    def __post_init__(self) -> None:
        self.q8 = self.preset == "q8"
        count = len(self.sizes) - 1
        for i in range(count):
            n, last = self.sizes[i], i == count - 1
            b = 8 if self.q8 else min(14, 16 - n.bit_length() - last)
            half, whole = 2 ** (b - 1), 2**b
            lo, hi, fa = {
                "range": (0, whole - 1, b - 1),
                "z-score": (-half, half - 1, b - 3),
                "relu": (0, whole - 1, b - 4),
                "linear": (-half, half - 1, b - 5),
                "leaky-relu": (-half, half - 1, b - 5),
                "tanh": (-half, half - 1, b - 1),
                "sigmoid": (0, half - 1, b - 1),
                "hard-tanh": (-half, half - 1, b - 1),
                "hard-sigmoid": (0, half - 1, b - 1),
            }[self.activation if i else self.kind]
            fw = (12 if n <= 3 else 13) if self.q8 else 12
            fd = 13
            if last:
                fd = 15 if "entropy" in self.loss else 13 if self.real else 14
            self.layers.append(
                Layer(n, self.sizes[i + 1], "" if last else self.activation, lo, hi, fa, fw, fd)
            )
        self.apart = apart = self.B > 1 and (not self.norm or self.clip_norm > 0)
        self.slots = self.optimizer not in ("sgd", "kfac") or apart
        clips = self.clip > 0 or self.clip_norm > 0
        self.gathers = apart and (
            self.optimizer == "nesterov" or (self.optimizer == "momentum" and clips)
        )
        self.left = 32768
        per_output = {"mse": 2, "mae": 1, "huber": 1, "binary-cross-entropy": 1}
        self.c = per_output[self.loss] / self.sizes[-1] if self.loss in per_output else 1.0

        self.c *= max(self.weights, default=1.0)
        self.adaptive = self.optimizer in ("adagrad", "rmsprop", "adam", "adamw")
        self.slots &= not self.adaptive
        self.full = self.lr if self.adaptive else self.lr * self.c / self.B
        m, self.s = ratio(self.full)
        self.rates, self.until, self.finer = [m], list[int](), 0
        if self.course:
            self.schedule(self.course)

    def schedule(self, c: Course) -> None:
        full = self.full * 2.0 ** (self.s + 7)
        u = -(-self.N // self.B)
        waits = c.schedule == "plateau"
        curve = stages(c, c.lr_min / self.lr)
        timed = [] if waits else [(until + c.warmup, share) for until, share in curve]
        if c.warmup:
            timed = staircase(0, c.warmup, 8, lambda t: t) + timed
        self.rates, self.finer = [], 7
        for until, share in timed:
            end, rate = near(until * u), near(full * share)
            if end <= (self.until[-1] if self.until else 0):
                continue
            if self.rates and self.rates[-1] == rate:
                self.until[-1] = end
            else:
                self.rates.append(rate)
                self.until.append(end)
        if waits:
            self.rates += [near(full * share) for _, share in curve]
        else:
            self.until.pop()

    def seen(self, weight: int) -> int:
        return weight >> 8 if self.q8 else weight

    def fv(self, layer: Layer) -> int:
        return layer.Fw - 8 if self.q8 else layer.Fw

    def quantised(self, reals: list[float]) -> list[int]:
        p = self.layers[0]
        return [clamp(near(r * 2.0**p.fa), p.lo, p.hi) for r in reals]

    # ---- Random numbers ----

    def draw(self) -> int:
        x = self.x
        x = (x ^ (x << 7)) & 65535
        x = x ^ (x >> 9)
        self.x = (x ^ (x << 8)) & 65535
        return self.x

    def reset(self, seed: int) -> None:
        self.x, self.order = seed or 1, (0, 0)
        offset = 128 if self.q8 else 0
        self.stage = self.updates = self.waited = 0
        self.counts = [0] * len(self.betas[: 0 if self.optimizer == "rmsprop" else 2])
        self.best = 2**31 - 1
        self.total = 2**30 - 1
        for p in self.layers:
            p.U = [[sat16(self.initial(p) + offset) for _ in range(p.n)] for _ in range(p.K)]
            p.UB, p.v, p.vB = [offset] * p.K, [[0] * p.n for _ in range(p.K)], [0] * p.K
            p.g, p.gB = [[0] * p.n for _ in range(p.K)], [0] * p.K
            # Of each slot: rows of weights, biases, scales.
            slots = len(self.betas) + (self.optimizer == "adagrad") + self.apart
            p.held = [([[0] * p.n for _ in range(p.K)], [0] * p.K, [0] * p.K) for _ in range(slots)]
            p.G, p.vG, p.gG = [offset + 2**p.Fw] * p.K, [0] * p.K, [0] * p.K
            p.mean, p.variance = [0] * p.K, [2**22] * p.K
            hA, hG = self.inverse_bits(p)
            p.PA = [[2 ** (hA - 4) * (i == j) for j in range(p.n + 1)] for i in range(p.n + 1)]
            p.PG = [[2 ** (hG - 4) * (i == j) for j in range(p.K)] for i in range(p.K)]
        targets = self.layers[-1].K if self.real else 1
        self.kept = [([0] * self.sizes[0], [0] * targets) for _ in range(self.B)]
        self.place = 0

    def initial(self, p: Layer) -> int:
        if self.init == "zeros":
            return 0
        x = self.draw()
        if self.init == "normal":
            m, s = ratio(2.0**p.Fw / math.sqrt(p.n) / 8192)
            return R(NORMAL[x >> 8] * m, s)
        limit = {"he": math.sqrt(6 / p.n), "glorot": math.sqrt(6 / (p.n + p.K)),
                 "uniform": 1 / math.sqrt(p.n)}[self.init]  # fmt: skip
        m, s = ratio(limit * 2.0**p.Fw / 32768)
        return R((x - 32768) * m, s)

    def epoch(self) -> Iterator[int]:
        """Draws the visiting order; the rows in it."""
        if self.course and self.course.schedule == "plateau":
            if self.total < self.best - (self.best >> 13):
                self.best, self.waited = self.total, 0
            elif self.stage >= len(self.until):
                self.waited += 1
            else:
                self.waited = 0
            if self.waited > self.course.patience:
                self.stage, self.waited = min(self.stage + 1, len(self.rates) - 1), 0
            self.total = 0
        self.order = (self.draw(), self.draw())
        places = 2 ** max(1, (self.N - 1).bit_length())
        rows = (((self.order[0] | 1) * i + self.order[1]) % places for i in range(places))
        return (row for row in rows if row < self.N)

    # ---- Forward ----

    def forward(self, x: list[int], *, training: bool = True) -> list[int]:
        k = clamp(near(256 * (1 - self.dropout)), 1, 255)
        self.drawn = 0
        for i, p in enumerate(self.layers):
            p.a = x
            p.acc = [
                sum(self.seen(w) * a for w, a in zip(row, x, strict=True))
                + self.seen(bias) * 2**p.fa
                for row, bias in zip(p.U, p.UB, strict=True)
            ]
            fs = self.fv(p) + p.fa
            if p.activation and self.norm:
                fs = p.Fw + 12
                means = [R(m, 8) for m in p.mean]
                p.acc = self.scaled(p, self.normal(means, p.variance, self.sums(p, x)))
            if p.activation:
                x = [self.activate(acc, fs, self.layers[i + 1]) for acc in p.acc]
                p.kept = [True] * p.K
                if self.dropout and training and not self.norm:
                    p.kept = [self.draw() >> 8 < k for _ in x]
                    self.drawn += p.K
                    x = [a if kept else 0 for a, kept in zip(x, p.kept, strict=True)]
                elif self.dropout:
                    x = [R(a * k, 8) for a in x]
        return self.layers[-1].acc

    def activate(self, acc: int, fs: int, above: Layer) -> int:
        lo, hi, fo = above.lo, above.hi, above.fa
        if self.activation == "hard-sigmoid":
            return clamp(R(acc, fs + 2 - fo) + 2 ** (fo - 1), lo, hi)
        if self.activation in ("linear", "relu", "hard-tanh"):
            return clamp(R(acc, fs - fo), lo, hi)
        if self.activation == "leaky-relu":
            y = R(acc, fs - fo)
            return clamp(y >> 3 if y < 0 else y, lo, hi)
        t = 5 if self.activation == "tanh" else 4

        def entry(i: int) -> int:
            if t == 5:
                return clamp(near(2**fo * math.tanh(i / 32)), -hi, hi)
            return min(near(2**fo / (1 + math.exp(-i / 16))), hi)

        if self.q8:
            return entry(clamp(R(acc, fs - t), -128, 127))
        p = clamp(R(acc, fs - t - 6), -8192, 8191)
        i = p >> 6
        return entry(i) + ((entry(i + 1) - entry(i)) * (p & 63) >> 6)

    def prediction(self) -> int:
        acc, p = self.layers[-1].acc, self.layers[-1]
        if len(acc) > 1:
            return acc.index(max(acc))
        return int(acc[0] > (0 if "entropy" in self.loss else 2 ** (self.fv(p) + p.fa - 1)))

    # ---- Losses ----

    def measure(self, target: int | list[int]) -> tuple[int, int]:
        """The loss, and in thousandths."""
        self.target = target
        loss = self.measured(target)
        if self.weights:
            loss = self.weighed(loss, target)
        milli = R(loss * 1000, 8)
        if self.loss != "softmax-cross-entropy":
            in_256ths = loss if "entropy" in self.loss else loss >> 8
            milli = in_256ths * 125 // (32 * self.layers[-1].K)
        self.last_loss = loss if "entropy" in self.loss else loss >> 8
        return loss, milli

    def weighed(self, loss: int, target: int | list[int]) -> int:
        p = self.layers[-1]
        assert isinstance(target, int)
        W = near(32768 * self.weights[target] / max(self.weights))
        p.delta = [R(d * W, 15) for d in p.delta]
        most = {"softmax-cross-entropy": 0, "binary-cross-entropy": 4257, "mse": 2**18}
        r = max(0, (p.K * most.get(self.loss, 2**17)).bit_length() - 15)
        return R((loss >> r) * W, 15 - r)

    def measured(self, target: int | list[int]) -> int:
        p = self.layers[-1]
        acc, fs, count = p.acc, self.fv(p) + p.fa, p.K
        if isinstance(target, list):
            return self.residuals([sat16(R(z, fs - p.fd) - y)
                                   for z, y in zip(acc, target, strict=True)])  # fmt: skip
        t = [target] if count == 1 else [int(k == target) for k in range(count)]
        if "entropy" not in self.loss:
            return self.residuals([sat16(R(z, fs - p.fd) - y * 2**p.fd)
                                   for z, y in zip(acc, t, strict=True)])  # fmt: skip
        if self.loss == "binary-cross-entropy":
            loss, p.delta = 0, []
            for z, y in zip(acc, t, strict=True):
                s = min(R(abs(z), fs - 4), 255)
                chance = LOGISTIC[s] if z >= 0 else 32768 - LOGISTIC[s]
                loss += 16 * s * ((z < 0) if y == 1 else (z > 0)) + SOFTPLUS[s]
                p.delta.append(sat16(chance - 32768 * y))
            return loss
        d = [min(R(max(acc) - z, fs - 4), 255) for z in acc]
        e = [EXP[i] for i in d]
        total = sum(e)
        h = max(0, total.bit_length() - 16)
        off = near(32768 * self.smoothing / count)
        on = 32768 - (count - 1) * off
        w = [on if y else off for y in t]
        away = R(sum(a * b for a, b in zip(w, d, strict=True)), 11)
        loss = away + 177 * h + LN[(total >> (8 + h)) - 128]
        p.delta = [min(((e[k] << 15) + (total >> 1)) // total - w[k], 32767) for k in range(count)]
        return loss

    def residuals(self, e: list[int]) -> int:
        p = self.layers[-1]
        one = 2**p.fd
        if self.loss == "mse":
            p.delta = e
            loss = sum((d * d) >> (2 * p.fd - 16) for d in e)
        elif self.loss == "mae":
            p.delta = [one * ((d > 0) - (d < 0)) for d in e]
            loss = sum(abs(d) << (16 - p.fd) for d in e)
        else:
            p.delta = [clamp(d, -one, one) for d in e]
            h = [min(abs(d), one) for d in e]
            loss = sum((b * (2 * abs(d) - b)) >> (2 * p.fd - 15) for b, d in zip(h, e, strict=True))
        return loss

    # ---- Backward ----

    def backward(self) -> None:
        for below, p in reversed(list(zip(self.layers[:-1], self.layers[1:], strict=True))):
            below.delta = self.delta_below(p, p.delta, p.a)
            below.delta = [d * kept for d, kept in zip(below.delta, below.kept, strict=True)]

    def delta_below(self, p: Layer, delta: list[int], a: list[int]) -> list[int]:
        if self.q8:
            d, seen = p.fd - 8, [clamp(R(x, 8), -128, 127) for x in delta]
        else:
            b = 15 - (p.K - 1).bit_length()
            d = p.fd - 15 + b
            seen = [clamp(R(x, 15 - b), -(2**b), 2**b - 1) for x in delta]
        below = []
        for j in range(p.n):
            g = sum(self.seen(p.U[o][j]) * seen[o] for o in range(p.K))
            g = R(g, self.fv(p) + d - 13)
            below.append(sat16(self.derivative(g, a[j], p.fa)))
        return below

    def derivative(self, g: int, a: int, fo: int) -> int:
        return {
            "linear": lambda: g,
            "hard-tanh": lambda: g if -(2**fo) < a < 2**fo - 1 else 0,
            "hard-sigmoid": lambda: R(g, 2) if 0 < a < 2**fo - 1 else 0,
            "relu": lambda: g if a > 0 else 0,
            "leaky-relu": lambda: g >> 3 if a < 0 else g,
            "tanh": lambda: R(sat16(g) * (16384 - R(a * a, 2 * fo - 14)), 14),
            "sigmoid": lambda: R(sat16(g) * R(a * (2**fo - a), 2 * fo - 14), 14),
        }[self.activation]()

    # ---- Update ----

    def update(self, first: bool, last: bool) -> None:
        if self.clip_norm and self.B > 1 and last:
            trial = copy.deepcopy(self)  # in which all is gathered
            trial.change_all(first, last)
            self.left = trial.share_left(self.stage)
        self.change_all(first, last)

    def change_all(self, first: bool, last: bool) -> None:
        m = self.rates[self.stage]
        count = self.drawn
        if self.norm:
            self.place = 0 if first else self.place + 1
            target = self.target if isinstance(self.target, list) else [self.target]
            self.kept[self.place] = (self.layers[0].a, target)
            count = self.learn() if last else 0
        if self.clip_norm and self.B == 1:
            self.shorten()
            count += sum(p.K for p in self.layers)
        if self.adaptive and not self.norm:
            count += self.adapt(first, last)
        for p in () if self.norm or self.adaptive else reversed(self.layers):
            _, P, q = self.shifts(p)
            delta, inputs = self.turned(p)
            for o in range(p.K):
                x1, x2 = self.draw(), self.draw()
                count += 2
                dither = x1 & (2**q - 1) if q <= 16 else x1 << (q - 16)
                F = sat16((delta[o] * m + dither) >> q)
                if last:
                    self.decay(p, p.U[o], x2)
                for j, a in enumerate(inputs):
                    tensors = (p.U[o], p.v[o], p.g[o]) if j < p.n else (p.UB, p.vB, p.gB)
                    at = j if j < p.n else o
                    numbers = noise(x2, P, j), noise(x1, 15, j)
                    self.change(p, tensors, at, F * a, numbers, first, last)
        while count and math.gcd(count, 65535) != 1:
            self.draw()
            count += 1
        self.total = min(self.total + self.last_loss, 2**30 - 1)
        if last and self.until:
            self.updates = min(self.updates + 1, self.until[-1])
            if self.stage < len(self.until) and self.until[self.stage] <= self.updates:
                self.stage += 1

    # ---- Clipping by the norm ----

    def shorten(self) -> None:
        Q, most = 0, (2**31 - 1) // len(self.layers)
        for p in self.layers:
            e = max(0, (p.K.bit_length() - 1) // 2)
            D = sum(R(d, e) ** 2 for d in p.delta)
            A = sum(a * a for a in p.a) + 2 ** (2 * p.fa)
            m, s = ratio((2.0 ** (e - p.fd - p.fa) / (self.clip_norm / self.c)) ** 2 * 256)
            shift = s + 24 - D.bit_length() - A.bit_length()
            part = ((top16(D) * top16(A)) >> 8) * m
            Q += most if shift < 0 else min(part >> min(shift, 31), most)
        t, s = root(Q) if Q else (0, 0)
        left = t >> (s - 4) if Q > 256 else 32768
        for p in self.layers:
            p.delta = [(d * left + (self.draw() >> 1)) >> 15 for d in p.delta]

    def share_left(self, stage: int) -> int:
        """Of what the batch has gathered."""
        f = [self.adaptive_shifts(p)[1] if self.adaptive else p.Fw + self.shifts(p)[0]
             for p in self.layers]  # fmt: skip
        rows: Rows = []
        for p, own in zip(self.layers, f, strict=True):
            slots = (p.v, p.vB, p.vG)
            if self.adaptive:
                slots = p.held[-1]
            elif self.gathers:
                slots = (p.g, p.gB, p.gG)
            for o in range(p.K):
                row = [*slots[0][o], slots[1][o]]
                row += [slots[2][o]] if self.norm and p.activation else []
                rows.append([abs(g) << (max(f) - own) for g in row])
        widest = max(p.n + 1 + (self.norm and p.activation != "") for p in self.layers)
        b = (32 - widest.bit_length()) >> 1
        e = max(0, max(g for row in rows for g in row).bit_length() - b)
        h = (len(rows).bit_length() + 1) >> 1
        Q = sum(sum(R(g, e) ** 2 for g in row) >> (2 * h) for row in rows)
        unit = 2.0 ** -(self.s + self.finer) * self.B / self.c
        lrs = [1.0] if self.adaptive else [m * unit for m in self.rates]
        limits = [self.clip_norm * lr * 2.0 ** max(f) for lr in lrs]
        z = 14 - math.floor(math.log2(max(limits)))
        limit = max(2, near(limits[0 if self.adaptive else stage] * 2.0**z))
        t, s = root(Q) if Q else (32767, 0)
        return min((t * limit) >> clamp(s + e + z + h, 0, 31), 32768)

    def short(self, g: int, dither: int) -> int:
        return (g * self.left + dither) >> 15

    # ---- Adaptive optimizers ----

    def adaptive_shifts(self, p: Layer) -> tuple[int, int, int]:
        """P, f, and the shift of a row's factor."""
        shift = 8
        if self.norm:
            shift += 15 - self.factor_bits(p)
        w = p.fd + ratio(self.c / self.B)[1] + p.fa - shift
        P = clamp(w - 15 - (self.B.bit_length() - 1) // 2, 1, 16)
        return P, w - P, shift

    def forget(self) -> list[int]:
        """The shares of the newest gradient, at the end of a batch."""
        for k, beta in enumerate(self.betas[: len(self.counts)]):
            d, h = ratio(1 - beta)
            one = 1 << count_bits(beta)
            grown = self.counts[k] - R(self.counts[k] * d, h) + one
            self.counts[k] = clamp(grown, one, 2**24 - 1)
        if self.optimizer == "rmsprop":
            return [max(1, near((1 - self.betas[0]) * 32768))]
        return [
            clamp((1 << (15 + count_bits(beta))) // n, 1, 32768)
            for beta, n in zip(self.betas, self.counts, strict=False)
        ]

    def adapt(self, first: bool, last: bool) -> int:
        """How many numbers were drawn."""
        m, _ = ratio(self.c / self.B)
        shares = self.forget() if last else []
        for p in reversed(self.layers):
            for o in range(p.K):
                drawn = self.draw(), self.draw(), self.draw()
                F = sat16((p.delta[o] * m + (drawn[0] & 255)) >> 8)
                if last and self.optimizer == "adamw":
                    self.decay(p, p.U[o], drawn[1])
                for j, a in enumerate([*p.a, 2**p.fa]):
                    held = [rows[o] if j < p.n else lone for rows, lone, _ in p.held]
                    at = j if j < p.n else o
                    weights = p.U[o] if j < p.n else p.UB
                    self.adapt_one(p, weights, held, at, j, F * a, drawn, shares, first, last)
        return 3 * sum(p.K for p in self.layers)

    def adapt_one(
        self, p: Layer, weights: list[int], held: list[list[int]], at: int, j: int, product: int,
        drawn: tuple[int, int, int], shares: list[int], first: bool, last: bool,
    ) -> None:  # fmt: skip
        x1, x2, x3 = drawn
        P, f, _ = self.adaptive_shifts(p)
        if not self.apart:
            product = self.bounded(product, f + P)
        g = sat16((product + noise(x2, P, j)) >> P)
        if self.apart:
            step = (product + noise(x2, P, j)) >> P
            held[-1][at] = sat16((0 if first else held[-1][at]) + step)
            g = held[-1][at]
            if self.clip_norm:
                g = self.short(g, noise(x2, 15, j))
            g = self.bounded(g, f)
        if not last:
            return
        if j < p.n and self.optimizer != "adamw":
            g = self.with_decay(g, weights[j] - 128 * self.q8, x2, j, f, p.Fw)
        direction = g
        if len(shares) == 2:
            moved = (g - held[0][at]) * shares[0] + noise(x3, 15, j)
            direction = held[0][at] = sat16(held[0][at] + (moved >> 15))
        squares = held[1] if len(shares) == 2 else held[0]
        share = shares[-1] if shares else 0
        squares[at] = squared(squares[at], g, share, noise(x3, 16, j))
        code = max(squares[at], code_of(max(self.epsilon * 2.0**f, 1.0) ** 2))
        whole = self.s - 5 - p.Fw
        z = min(whole, -1)
        shift = min((code >> 11) + z, 30)
        t = R(inverse_root(code) * self.rates[self.stage], 8 + self.finer + whole - z)
        dither = (noise(x1, 16, j) << 14) >> (30 - shift)
        weights[at] = sat16(weights[at] - ((direction * t + dither) >> shift))

    def bounded(self, x: int, fraction: int) -> int:
        if not self.clip:
            return x
        most = max(1, near(min(self.clip * 2.0**fraction, 2.0**30)))
        return clamp(x, -most, most)

    def with_decay(self, g: int, r: int, x2: int, j: int, f: int, Fw: int) -> int:
        if self.l2:
            s = clamp(ratio(self.l2 * 2.0 ** (f - Fw))[1], 8, 29)
            g += (r * near(self.l2 * 2.0 ** (f - Fw) * 2.0**s) + wide(x2, s, j)) >> s
        if self.l1:
            s = clamp(ratio(self.l1 * 2.0**f)[1], 1, 29)
            g += clamp(r, -1, 1) * ((near(self.l1 * 2.0**f * 2.0**s) + wide(x2, s, j)) >> s)
        return sat16(g)

    def shifts(self, p: Layer) -> tuple[int, int, int]:
        """E, P, q."""
        kfac = self.optimizer == "kfac"
        w = p.fd - 2 * kfac + self.s + p.fa - p.Fw
        E = clamp(w - 20, 0, 6) if self.slots else 0
        least, most = (8, 15) if self.optimizer in ("momentum", "nesterov") else (1, 16)
        h = (self.B - 1).bit_length() if self.norm else 0
        P = 8 if self.q8 else clamp(w - E - 8 - h, least, most)
        q = w - E - P + self.finer
        assert self.finer <= q <= 29
        return E, P + 4 * (kfac and self.q8), q

    def change(
        self, p: Layer, tensors: tuple[list[int], ...], at: int, product: int,
        random: tuple[int, int], first: bool, last: bool,
    ) -> None:  # fmt: skip
        weights, slots, gathered = tensors
        N, dither = random
        E, P, _ = self.shifts(p)
        M = min(2**P - 1, round(2**P * self.momentum))
        top = p.Fw + E
        if not self.apart:
            product = self.clipped(product, top + P)
        step = (product + N) >> P
        if not self.slots:
            weights[at] = sat16(weights[at] - step)
            return
        if self.optimizer == "nesterov" or self.gathers:
            numbers = (product, N, P, M, E, top, dither)
            self.nesterov(weights, slots, gathered, at, numbers, first, last)
            return
        if not first:
            slots[at] = sat16(slots[at] - step)
        elif self.optimizer in ("sgd", "kfac"):
            slots[at] = sat16(-step)
        else:
            slots[at] = sat16((slots[at] * M - product + N) >> P)
        if last:
            v = slots[at]
            if self.optimizer in ("sgd", "kfac"):
                v = self.clipped(self.short(v, dither) if self.clip_norm else v, top)
            weights[at] = sat16(weights[at] + ((v + (N >> (P - E))) >> E))

    def decay(self, p: Layer, weights: list[int], x2: int) -> None:
        """l2, then l1, each with random numbers of its own shift."""
        offset = 128 if self.q8 else 0
        unit = 2.0 ** -(self.s + self.finer) * (1 if self.adaptive else self.B / self.c)
        for j in range(p.n):  # unit: of RATES, as learning rates
            if self.l2:
                f, s = self.share(self.l2 * unit)
                weights[j] = sat16(weights[j] - (((weights[j] - offset) * f + wide(x2, s, j)) >> s))
            if self.l1:
                f, s = self.share(self.l1 * unit * 2.0**p.Fw)
                most = (f + wide(x2, s, j)) >> s
                weights[j] = sat16(weights[j] - clamp(weights[j] - offset, -most, most))

    def clipped(self, x: int, fraction: int) -> int:
        if not self.clip:
            return x
        unit = 2.0 ** -(self.s + self.finer) * self.B / self.c
        most = self.clip * (self.rates[self.stage] * unit) * 2.0**fraction
        most = max(1, near(min(most, 2.0**30)))
        return clamp(x, -most, most)

    def share(self, weight: float) -> tuple[int, int]:
        s = min(29, ratio(weight * max(self.rates))[1] + (7 if len(self.rates) > 1 else 0))
        return near(weight * self.rates[self.stage] * 2.0**s), s

    def nesterov(
        self, w: list[int], v: list[int], g: list[int], at: int, numbers: tuple[int, ...],
        first: bool, last: bool,
    ) -> None:  # fmt: skip
        slope, N, P, M, E, top, dither = numbers
        if self.gathers:
            g[at] = sat16((0 if first else g[at]) - ((slope + N) >> P))

        def moved() -> int:
            if self.gathers:
                step = self.short(g[at], dither) if self.clip_norm else g[at]
                return sat16(((v[at] * M + N) >> P) + self.clipped(step, top))
            return sat16((v[at] * M - slope + N) >> P)

        if last:
            v[at] = moved()
            change = moved() if self.optimizer == "nesterov" else v[at]
            w[at] = sat16(w[at] + ((change + (N >> (P - E))) >> E))

    # ---- K-FAC ----

    def inverse_bits(self, p: Layer) -> tuple[int, int]:
        largest = max(-p.lo, p.hi) * p.n + 2**p.fa
        return min(15, 31 - largest.bit_length()), min(15, 16 - p.K.bit_length())

    def turned(self, p: Layer) -> tuple[list[int], list[int]]:
        inputs = [*p.a, 2**p.fa]
        if self.optimizer != "kfac":
            return p.delta, inputs
        hA, hG = self.inverse_bits(p)
        x = 4 if self.q8 else 0
        return (
            [sat16(R(sum(map(operator.mul, row, p.delta)), hG - 4 + 2)) for row in p.PG],
            [sat16(R(sum(map(operator.mul, row, inputs)), hA - 4 - x)) for row in p.PA],
        )

    def refresh(self, rows: list[tuple[list[int], int | list[int]]], classes: int, damping: float,
                ) -> None:  # fmt: skip
        """The inverse factors for the training set, a row its inputs and its target."""
        c = min(self.N, 32)
        count = c * (min(self.N, 256) // c)
        A = [[[0] * (p.n + 1) for _ in range(p.n + 1)] for p in self.layers]
        G = [[[0] * p.K for _ in range(p.K)] for p in self.layers]
        for i in range(count):
            x, y = rows[i * self.N // count]
            self.forward(x, training=False)
            for p, a in zip(self.layers, A, strict=True):
                add(a, [*p.a, 2**p.fa], 1)
            targets = [y] if self.real else list(range(max(2, classes)))
            losses, deltas = [], []
            for t in targets:
                losses.append(self.measure(t)[0])
                self.backward()
                deltas.append([p.delta for p in self.layers])
            unit = 2.0**-8 if "entropy" in self.loss else 2.0**-16
            powers = [near(32768 * math.exp(-unit * (x - min(losses)))) for x in losses]
            for power, found in zip(powers, deltas, strict=True):
                for g, d in zip(G, found, strict=True):
                    add(g, d, 32768 * power // sum(powers))
        for p, a, g in zip(self.layers, A, G, strict=True):
            hA, hG = self.inverse_bits(p)
            p.PA, p.PG = inverse(a, damping, hA), inverse(g, damping, hG)

    # ---- Batch normalisation ----

    def sums(self, p: Layer, x: list[int]) -> list[int]:
        z = [sum(self.seen(w) * a for w, a in zip(row, x, strict=True)) for row in p.U]
        return [sat16(R(acc, self.fv(p) + p.fa - 11)) for acc in z]

    def normal(self, mu: list[int], var: list[int], z: list[int]) -> list[int]:
        found = []
        for value, mean, variance in zip(z, mu, var, strict=True):
            t, s = root(variance + 4096)
            found.append(sat16(R(clamp(value - mean, -32767, 32767) * t, s + 3)))
        return found

    def scaled(self, p: Layer, normal: list[int]) -> list[int]:
        c = 128 if self.q8 else 0
        return [(g - c) * n + (b - c) * 2**12 for g, n, b in zip(p.G, normal, p.UB, strict=True)]

    def average(self, values: Iterable[int]) -> int:
        return (sum(values) + self.B // 2) // self.B

    def learn(self) -> int:
        """From the kept rows; how many numbers were drawn."""
        rows, h, c = range(self.B), (self.B - 1).bit_length(), 128 if self.q8 else 0
        hidden, top = self.layers[:-1], self.layers[-1]
        k = clamp(near(256 * (1 - self.dropout)), 1, 255)
        stays: list[list[list[bool]]] = []
        count = 0
        xs, normals, means, variances = [[x for x, _ in self.kept]], [], [], []
        for p, above in zip(hidden, self.layers[1:], strict=True):
            z = [self.sums(p, x) for x in xs[-1]]
            mu = [self.average(z[b][o] for b in rows) for o in range(p.K)]
            var = []
            for o in range(p.K):
                d = [clamp(z[b][o] - mu[o], -32767, 32767) for b in rows]
                var.append(self.average(R(v * v, h) for v in d) << h)
            means.append(mu)
            variances.append(var)
            normals.append([self.normal(mu, var, row) for row in z])
            accs = [self.scaled(p, n) for n in normals[-1]]
            xs.append([[self.activate(acc, p.Fw + 12, above) for acc in row] for row in accs])
            stays.append([[True] * p.K for _ in rows])
            if self.dropout:
                stays[-1] = [[self.draw() >> 8 < k for _ in range(p.K)] for _ in rows]
                count += self.B * p.K
                xs[-1] = [
                    [a * stay for a, stay in zip(x, kept, strict=True)]
                    for x, kept in zip(xs[-1], stays[-1], strict=True)
                ]
        deltas: Rows = []
        for x, (_, target) in zip(xs[-1], self.kept, strict=True):
            top.acc = [
                sum(self.seen(w) * a for w, a in zip(row, x, strict=True))
                + self.seen(bias) * 2**top.fa
                for row, bias in zip(top.U, top.UB, strict=True)
            ]
            wanted = target if self.real else target[0]
            loss = self.measured(wanted)
            if self.weights:
                self.weighed(loss, wanted)
            deltas.append(top.delta)
        changes = [(top, deltas, xs[-1], ([0], [0]))]
        for i in range(len(hidden) - 1, -1, -1):
            p, n = hidden[i], normals[i]
            slopes = [self.delta_below(self.layers[i + 1], deltas[b], xs[i + 1][b]) for b in rows]
            slopes = [
                [d * stay for d, stay in zip(slopes[b], stays[i][b], strict=True)] for b in rows
            ]
            deltas = [[0] * p.K for _ in rows]
            betas = [self.average(slopes[b][o] for b in rows) for o in range(p.K)]
            gammas = [
                sat16(self.average(R(slopes[b][o] * n[b][o], 12) for b in rows)) for o in range(p.K)
            ]
            for b, o in itertools.product(rows, range(p.K)):
                t, s = root(variances[i][o] + 4096)
                gain = sat16(R((p.G[o] - c) * t, 15))
                left = sat16(slopes[b][o] - betas[o] - R(n[b][o] * gammas[o], 12))
                deltas[b][o] = sat16(R(left * gain, s + p.Fw - 11))
            changes.append((p, deltas, xs[i], (betas, gammas)))
        self.shares = self.forget() if self.adaptive else []
        for p, delta, x, (betas, gammas) in changes:
            count += self.learn_layer(p, delta, x, betas, gammas)
        for p, mu, var in zip(hidden, means, variances, strict=True):
            for o in range(p.K):
                p.mean[o] += ((mu[o] << 8) - p.mean[o]) >> 3
                p.variance[o] += (var[o] - p.variance[o]) >> 3
        return count

    def learn_layer(
        self, p: Layer, delta: Rows, x: Rows, betas: list[int], gammas: list[int]
    ) -> int:
        B, m = self.B, self.rates[self.stage]
        if self.adaptive:
            m = ratio(self.c / B)[0]
            P, _, q = self.adaptive_shifts(p)
        else:
            _, P, q = self.shifts(p)
        C = 2 ** self.factor_bits(p)
        for o in range(p.K):
            drawn = tuple(self.draw() for _ in range(2 + self.adaptive))
            x1, x2 = drawn[:2]

            def factor(slope: int, j: int, x1: int = x1) -> int:
                return clamp((slope * m + wide(x1, q, j)) >> q, -C, C - 1)

            F = [factor(delta[b][o], b) for b in range(B)]
            if not self.adaptive or self.optimizer == "adamw":
                self.decay(p, p.U[o], x2)
            held = [rows[o] for rows, _, _ in p.held]
            changes = [
                ((p.U[o], p.v[o], p.g[o]), held, j, j, sum(F[b] * x[b][j] for b in range(B)))
                for j in range(p.n)
            ]
            product = (factor(betas[o], B) * B if p.activation else sum(F)) * 2**p.fa
            held = [lone for _, lone, _ in p.held]
            changes.append(((p.UB, p.vB, p.gB), held, o, p.n, product))
            if p.activation:
                product = factor(gammas[o], B + 1) * B * 2**p.fa
                held = [scales for _, _, scales in p.held]
                changes.append(((p.G, p.vG, p.gG), held, o, p.n + 1, product))
            for tensors, slots, at, j, product in changes:
                if self.adaptive:
                    three = (x1, x2, drawn[2])
                    self.adapt_one(p, tensors[0], slots, at, j, product, three, self.shares,
                                   True, True)  # fmt: skip
                else:
                    numbers = noise(x2, P, j), noise(x1, 15, j)
                    self.change(p, tensors, at, product, numbers, True, True)
        return (2 + self.adaptive) * p.K

    def factor_bits(self, p: Layer) -> int:
        return min(15, 30 - (self.B - 1).bit_length() - max(p.hi, -p.lo).bit_length())

    # ---- State ----

    def state(self) -> bytes:
        numbers = [u for p in self.layers for row in (*p.U, p.UB) for u in row]
        for p in self.layers:
            numbers += [v for row in (*p.v, p.vB) for v in row] if self.slots else []
            numbers += [v for row in (*p.g, p.gB) for v in row] if self.gathers else []
        for p in self.layers if self.optimizer == "kfac" else []:
            numbers += [u for row in (*p.PA, *p.PG) for u in row]
        packed = struct.pack(f"<{len(numbers)}h", *numbers)
        if self.adaptive:
            packed += self.adaptive_state()
        if self.norm:
            packed += self.norm_state()
        if self.course:
            if self.until:
                size = "BHI"[(self.until[-1] > 255) + (self.until[-1] > 65535)]
                packed += struct.pack(f"<{size}", self.updates)
            packed += struct.pack("<B", self.stage)
            if self.course.schedule == "plateau":
                packed += struct.pack("<IIB", self.total, self.best, self.waited)
        return packed + struct.pack("<3H", *self.order, self.x)

    def adaptive_state(self) -> bytes:
        packed = b""
        squares = len(self.betas) == 2
        for p in self.layers:
            for k, (rows, lone, _) in enumerate(p.held):
                numbers = [x for row in (*rows, lone) for x in row]
                packed += struct.pack(f"<{len(numbers)}{'H' if k == squares else 'h'}", *numbers)
        return packed + struct.pack(f"<{len(self.counts)}I", *self.counts)

    def norm_state(self) -> bytes:
        packed = b""
        for p in self.layers[:-1]:
            slots = [*(p.vG if self.slots else []), *(p.gG if self.gathers else [])]
            packed += struct.pack(f"<{p.K + len(slots)}h", *p.G, *slots)
            for k, (_, _, scales) in enumerate(p.held if self.adaptive else []):
                kind = "H" if k == (len(self.betas) == 2) else "h"
                packed += struct.pack(f"<{p.K}{kind}", *scales)
            packed += struct.pack(f"<{p.K}i{p.K}I", *p.mean, *p.variance)
        first = self.layers[0]
        size = "bBhH"[2 * (not self.q8) + (first.lo == 0)]
        inputs = [a for x, _ in self.kept for a in x]
        targets = [t for _, target in self.kept for t in target]
        packed += struct.pack(f"<{len(inputs)}{size}", *inputs)
        packed += struct.pack(f"<{len(targets)}{'h' if self.real else 'B'}", *targets)
        return packed + struct.pack("<B", self.place)


def root(x: int) -> tuple[int, int]:
    s = (x.bit_length() - 1) // 2
    y = x << (14 - 2 * s) if s < 7 else x >> (2 * s - 14)
    low, high = (min(32767, near(2**17 / math.sqrt(i))) for i in (y >> 10, (y >> 10) + 1))
    return low - ((low - high) * (y & 1023) >> 10), s


def add(matrix: Rows, vector: list[int], weight: int) -> None:
    for row, a in zip(matrix, vector, strict=True):
        for j, b in enumerate(vector):
            row[j] += weight * a * b


def inverse(matrix: Rows, damping: float, h: int) -> Rows:
    n = len(matrix)
    mean = math.fsum(matrix[i][i] for i in range(n)) / n
    if mean == 0:
        return [[2 ** (h - 4) * (i == j) for j in range(n)] for i in range(n)]
    m = [[x / mean + damping * (i == j) for j, x in enumerate(row)] for i, row in enumerate(matrix)]
    for k in range(n):
        pivot = m[k][k]
        row = [x / pivot for x in m[k]]
        for i in range(n):
            if i != k:
                m[i] = [
                    x - m[i][k] * y if j != k else -m[i][k] / pivot
                    for j, (x, y) in enumerate(zip(m[i], row, strict=True))
                ]
        m[k] = [x if j != k else 1 / pivot for j, x in enumerate(row)]
    trace = math.fsum(m[i][i] for i in range(n))
    left = trace - damping * math.fsum(x * x for row in m for x in row)
    top = (2**h - 1) * 2.0 ** (4 - h)
    scale = min(math.sqrt(n / left), top / max(abs(x) for row in m for x in row))
    return [[clamp(near(x * scale * 2.0 ** (h - 4)), -(2**h), 2**h - 1) for x in r] for r in m]


def top16(x: int) -> int:
    k = x.bit_length()
    return x << (16 - k) if k < 16 else x >> (k - 16)


def count_bits(beta: float) -> int:
    return min(16, math.floor(math.log2((2**24 - 1) * (1 - beta))))


def code_of(r: float) -> int:
    e = math.floor(math.log2(r))
    return clamp(((e + 24) << 10) + math.floor((r * 2.0**-e - 1) * 1024), 0, 65535)


def inverse_root(code: int) -> int:
    return root(((code & 1023) + 1024) << (4 + ((code >> 10) & 1)))[0]


def squared(code: int, g: int, share: int, random: int) -> int:
    """A code moved towards g * g by a share, or that added for share 0."""
    e, X = code >> 10, ((code & 1023) + 1024) << 18
    size = min(abs(g), 32767)
    k = size.bit_length()
    Y, d = ((size << (15 - k)) ** 2) >> 1, 2 * k + 23
    top = max(e, d)
    X, Y = X >> min(31, top - e), Y >> min(31, top - d)
    Z = X + ((((Y >> 13) - (X >> 13)) * share) >> 2) if share else X + Y
    Z = max(Z, 2048)
    h = Z.bit_length() - 11
    Z = (Z + ((random << 3) >> (19 - h))) >> h
    return clamp(((top + h - 18) << 10) + Z - 1024, 0, 65535)


def wide(x2: int, bits: int, j: int) -> int:
    return noise(x2, min(16, bits), j) << max(0, bits - 16)


def noise(x2: int, bits: int, j: int) -> int:
    multiple = (157 << (bits - 8)) | 1 if bits >= 8 else (157 >> (8 - bits)) | 1
    return ((x2 >> (16 - bits)) + j * multiple) & ((1 << bits) - 1)
