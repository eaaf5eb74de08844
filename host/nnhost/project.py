"""nn.toml: what the user asks for, read, checked and frozen.

`load_project` turns a folder into a `Project`. Whatever is wrong with the file ends in one
`UsageError` that names the line (or the `--set` option), the key and what is allowed there.
docs/nn-toml.md describes every key.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from nnhost.activations import ACTIVATIONS
from nnhost.errors import UsageError, nearest, quote
from nnhost.initializers import INITIALIZERS
from nnhost.losses import LOSSES
from nnhost.optimizers import OPTIMIZERS
from nnhost.paths import examples_dir
from nnhost.schedules import SCHEDULES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "nn.toml"
#: Bytes of a file, at most.
_LONGEST = 1 << 16
PRESETS = ("q8", "q16")
SCALES = ("auto", "range", "z-score", "none")
DELIVERIES = ("stream", "flash")
KERNELS = ("auto", "portable")
TEMPLATES = ("xor", "iris", "digits", "mnist", "vanishing", "exploding", "overfitting")


@dataclass(frozen=True)
class NetSpec:
    """[net]: the layers; inputs and outputs come from the data."""

    hidden: tuple[int, ...]
    activation: tuple[str, ...]
    """One name per hidden layer."""
    loss: str
    preset: str
    init: str
    dropout: tuple[float, ...] = ()
    """Share of each hidden layer's units that rests in a step; () for none."""
    batch_norm: bool = False
    """Whether the sums of hidden layers are normalised over the batch."""


@dataclass(frozen=True)
class TrainSpec:
    """[train]: how the weights learn."""

    optimizer: str
    lr: float
    momentum: float
    batch: int
    """Rows a batch; 0 is the whole training set."""
    epochs: int
    seed: int
    """1 to 65535, the seed of the board's generator and of the split."""
    label_smoothing: float = 0.0
    """Share of a class target that is spread over all classes."""
    beta1: float = 0.9
    """Of the average of the gradient; beta2 and rho: of its square."""
    beta2: float = 0.999
    rho: float = 0.99
    epsilon: float = 0.0001
    """The least root of a squared gradient that a step is divided by."""
    clip_norm: float = 0.0
    """Largest norm of a sample's gradient; 0 for none."""
    clip_value: float = 0.0
    """Largest magnitude of a batch's gradient for a weight; 0 for none."""
    l1: float = 0.0
    l2: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    """Epochs in which the learning rate climbs to lr, before the schedule begins."""
    lr_min: float = 0.0
    decay: float | None = None
    decay_every: int | None = None
    cycle: int = 1
    cycle_growth: int = 2
    rise: float = 0.3
    patience: int = 3
    early_stopping: int = 0
    """Epochs without a lower validation loss after which training ends; 0 for never."""
    min_delta: float = 0.0
    stop_loss: float = 0.0
    """An epoch with a lower mean loss is the last; 0 for none."""
    max_steps: int = 0
    """Steps at most; 0 for any."""
    max_time: float = 0.0
    """Seconds of training at most; 0 for any."""
    online: bool = False
    """Whether samples come in the order of the source, once, and none is held out."""
    class_weights: str | tuple[float, ...] = ()
    """How much an error in each class counts; "balanced": all classes alike; () for no matter."""
    damping: float = 0.1
    """Of kfac: added to the factors, in mean eigenvalues."""
    kfac_every: int = 100
    """Steps between two inversions of the factors."""
    checkpoint_every: int = 0
    """Steps between two checkpoints that a board which trains alone makes; 0 for none."""


@dataclass(frozen=True)
class AugmentSpec:
    """[data] augment: how training samples change from epoch to epoch."""

    shift: int = 0
    """Pixels that an image moves at most, down or up and right or left."""
    flip: bool = False
    """Whether half of the images are mirrored, left to right."""
    noise: float = 0.0
    """Standard deviation of normal noise, in units of the scaled inputs."""
    scale: float = 0.0
    """A sample is multiplied by 1 - scale to 1 + scale."""


@dataclass(frozen=True)
class DataSpec:
    """[data]: where the samples come from and how they reach the board."""

    source: str
    test: float
    """Share of the rows held out for testing, 0 <= test < 1."""
    scale: str
    delivery: str
    label: str | None
    """Name of the CSV column to learn; None is the last one."""
    validation: float = 0.0
    """Share of the training rows held out to watch the training, 0 <= validation < 1."""
    shape: tuple[int, ...] = ()
    """Of an image: rows, columns and perhaps channels; () for what the source tells."""
    augment: AugmentSpec = AugmentSpec()


@dataclass(frozen=True)
class BoardSpec:
    """[board]: the board to train on."""

    name: str


@dataclass(frozen=True)
class BuildSpec:
    """[build]: how the firmware is built."""

    kernels: str
    inject: str = ""
    """A fault to put into the firmware (see nnhost.faults), to see that it is found."""
    probe: bool = False
    """Whether the firmware can stop within a step and show all that it computes."""


@dataclass(frozen=True)
class Project:
    """A project folder, as its nn.toml and the overrides describe it."""

    root: Path
    net: NetSpec
    train: TrainSpec
    data: DataSpec
    board: BoardSpec
    build: BuildSpec

    @property
    def path(self) -> Path:
        """The project's nn.toml."""
        return self.root / FILE_NAME


class _Invalid(Exception):
    """A value that its key does not allow: what is allowed, and what to write instead."""

    def __init__(self, allowed: str, help: str = "") -> None:
        super().__init__(allowed)
        self.allowed = allowed
        self.help = help


@dataclass(frozen=True)
class _Required:
    """Stands for the default of a key that has none."""

    example: str


@dataclass(frozen=True)
class _Key:
    """A key of nn.toml: its value when left out, and the check that returns the value in use."""

    default: object
    check: Callable[[Any], Any]


def _one_of(names: Collection[str]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if isinstance(value, str) and value in names:
            return value
        raise _Invalid(f"one of {', '.join(names)}", nearest(value, names))

    return check


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise _Invalid(f"a whole number from {low} to {high}")

    return check


def _number(allowed: str, inside: Callable[[float], bool]) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if type(value) in (int, float) and value <= sys.float_info.max and inside(value):
            return float(value)
        raise _Invalid(f"a number {allowed}")

    return check


_share = _number("from 0 up to, not including, 1", lambda share: 0 <= share < 1)

_from_0 = _number("from 0 on", lambda number: number >= 0)

_average = _number("from 0 to 0.9999", lambda beta: 0 <= beta <= 0.9999)

_between = _number("between 0 and 1", lambda share: 0 < share < 1)


def _text(value: Any) -> str:
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value
    raise _Invalid("a name in quotes")


_row_count = _integer(1, 65535)


def _truth(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise _Invalid("true or false")


def _batch(value: Any) -> int:
    if value == "full":
        return 0
    try:
        return _row_count(value)
    except _Invalid as invalid:
        raise _Invalid(f'{invalid.allowed}, or "full"') from None


def _hidden(value: Any) -> tuple[int, ...]:
    if isinstance(value, list) and all(type(w) is int and 1 <= w <= 1024 for w in value):
        return tuple(value)
    raise _Invalid("a list of widths from 1 to 1024", "for example hidden = [16] or [32, 16] or []")


_activation_name = _one_of(ACTIVATIONS)


def _activation(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_activation_name(name) for name in value)
    return _activation_name(value)


def _class_weights(value: Any) -> str | tuple[float, ...]:
    if value == "balanced":
        return "balanced"
    if isinstance(value, list):
        with suppress(_Invalid):
            weights = tuple(_from_0(weight) for weight in value)
            if not weights or any(weights):
                return weights
    raise _Invalid('"balanced", or a list of weights, a class each, not all of them 0')


def _shape(value: Any) -> tuple[int, ...]:
    numbers = isinstance(value, list) and all(type(n) is int and 1 <= n <= 4095 for n in value)
    if numbers and len(value) in (2, 3):
        return tuple(value)
    raise _Invalid("rows, columns and perhaps channels of an image", "for example shape = [8, 8]")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _Invalid("true or false")


#: The keys of [data] augment.
_AUGMENT: Mapping[str, Callable[[Any], Any]] = {
    "shift": _integer(0, 4095),
    "flip": _flag,
    "noise": _from_0,
    "scale": _share,
}


def _augment(value: Any) -> AugmentSpec:
    if not isinstance(value, dict):
        raise _Invalid(f"a table of {', '.join(_AUGMENT)}", "for example augment = { shift = 1 }")
    checked = {}
    for key, given in value.items():
        if key not in _AUGMENT:
            raise _Invalid(f"a table of {', '.join(_AUGMENT)}", nearest(key, _AUGMENT))
        try:
            checked[key] = _AUGMENT[key](given)
        except _Invalid as invalid:
            raise _Invalid(f"a table whose {key} is {invalid.allowed}") from None
    return AugmentSpec(**checked)


def _dropout(value: Any) -> float | tuple[float, ...]:
    if isinstance(value, list):
        return tuple(_share(share) for share in value)
    return _share(value)


_KEYS: Mapping[str, Mapping[str, _Key]] = {
    "net": {
        "hidden": _Key(_Required("[16]"), _hidden),
        "activation": _Key("relu", _activation),
        "loss": _Key("softmax-cross-entropy", _one_of(LOSSES)),
        "preset": _Key("q8", _one_of(PRESETS)),
        "init": _Key("he", _one_of(INITIALIZERS)),
        "dropout": _Key(0.0, _dropout),
        "batch_norm": _Key(False, _flag),
    },
    "train": {
        "optimizer": _Key("sgd", _one_of(OPTIMIZERS)),
        "lr": _Key(None, _number("above 0", lambda lr: lr > 0)),
        "momentum": _Key(0.9, _share),
        "beta1": _Key(0.9, _average),
        "beta2": _Key(0.999, _average),
        "rho": _Key(0.99, _average),
        "epsilon": _Key(0.0001, _number("above 0", lambda least: least > 0)),
        "batch": _Key(1, _batch),
        "epochs": _Key(3, _integer(1, 65535)),
        "seed": _Key(1, _integer(1, 65535)),
        "label_smoothing": _Key(0.0, _share),
        "clip_norm": _Key(0.0, _number("from 0 on", lambda most: most >= 0)),
        "clip_value": _Key(0.0, _number("from 0 on", lambda most: most >= 0)),
        "l1": _Key(0.0, _number("from 0 on", lambda weight: weight >= 0)),
        "l2": _Key(None, _number("from 0 on", lambda weight: weight >= 0)),
        "online": _Key(False, _flag),
        "class_weights": _Key((), _class_weights),
        "schedule": _Key("constant", _one_of(SCHEDULES)),
        "warmup": _Key(0.0, _number("of epochs, 0 or more", lambda epochs: epochs >= 0)),
        "lr_min": _Key(0.0, _number("from 0 on", lambda lr: lr >= 0)),
        "decay": _Key(None, _between),
        "decay_every": _Key(None, _integer(1, 65535)),
        "cycle": _Key(1, _integer(1, 65535)),
        "cycle_growth": _Key(2, _integer(1, 16)),
        "rise": _Key(0.3, _between),
        "patience": _Key(3, _integer(0, 200)),
        "early_stopping": _Key(0, _integer(0, 65535)),
        "min_delta": _Key(0.0, _from_0),
        "stop_loss": _Key(0.0, _from_0),
        "max_steps": _Key(0, _integer(0, 2**31 - 1)),
        "max_time": _Key(0.0, _number("of seconds, 0 or more", lambda seconds: seconds >= 0)),
        "damping": _Key(0.1, _number("above 0", lambda damping: damping > 0)),
        "kfac_every": _Key(100, _integer(1, 65535)),
        "checkpoint_every": _Key(0, _integer(0, 65535)),
    },
    "data": {
        "source": _Key(_Required('"digits"'), _text),
        "test": _Key(0.2, _share),
        "scale": _Key("auto", _one_of(SCALES)),
        "delivery": _Key("stream", _one_of(DELIVERIES)),
        "label": _Key(None, _text),
        "validation": _Key(0.0, _share),
        "shape": _Key((), _shape),
        "augment": _Key(AugmentSpec(), _augment),
    },
    "board": {"name": _Key(_Required('"simstc8"'), _text)},
    "build": {
        "kernels": _Key("auto", _one_of(KERNELS)),
        "inject": _Key("", _text),
        "probe": _Key(False, _truth),
    },
}


def load_project(root: Path | str = ".", overrides: Sequence[str] = ()) -> Project:
    """Read `root`/nn.toml, put the overrides on top and check every value.

    An override is "section.key=value", the value in TOML's syntax or a bare word for a string.
    Raises UsageError.
    """
    root = Path(root)
    text = _read(root / FILE_NAME)
    settings = [*_file_settings(text), *map(_override_setting, overrides)]

    values: dict[str, dict[str, Any]] = {
        section: {name: key.default for name, key in keys.items()}
        for section, keys in _KEYS.items()
    }
    for setting in settings:
        values[setting.section][setting.key] = _checked(setting)
    for section, keys in values.items():
        for key, value in keys.items():
            if isinstance(value, _Required):
                raise UsageError(
                    f"{FILE_NAME}: {key} is missing from [{section}]",
                    help=f"for example: {key} = {value.example}",
                )

    net = values["net"]
    for key in ("activation", "dropout"):
        if not isinstance(net[key], tuple):
            net[key] = (net[key],) * len(net["hidden"])
        if len(net[key]) != len(net["hidden"]):
            place = [s.place() for s in settings if (s.section, s.key) == ("net", key)][-1]
            raise UsageError(
                f"{place}: {key} lists {len(net[key])} values "
                f"for {len(net['hidden'])} hidden layers",
                help="give one for all hidden layers, or one for each",
            )
    if not any(net["dropout"]):
        net["dropout"] = ()
    optimizer = OPTIMIZERS[values["train"]["optimizer"]]
    for key, default in (("lr", optimizer.lr), ("l2", optimizer.l2)):
        if values["train"][key] is None:
            values["train"][key] = default
    project = Project(
        root=root,
        net=NetSpec(**net),
        train=TrainSpec(**values["train"]),
        data=DataSpec(**values["data"]),
        board=BoardSpec(**values["board"]),
        build=BuildSpec(**values["build"]),
    )
    _check_together(project, settings)
    if project.train.online:
        return replace(
            project,
            train=replace(project.train, epochs=1),
            data=replace(project.data, test=0.0),
        )
    return project


#: What the host does while it streams samples, by section: a board that trains alone cannot.
_OF_THE_HOST = {
    "train": ("early_stopping", "stop_loss", "max_steps", "max_time", "online"),
    "data": ("validation", "augment"),
}


def _check_together(project: Project, settings: Sequence[_Setting]) -> None:
    """Refuse keys that need another one, or exclude it."""

    def place(section: str, key: str) -> str:
        return [s.place() for s in settings if (s.section, s.key) == (section, key)][-1]

    if project.data.delivery == "flash":
        if OPTIMIZERS[project.train.optimizer].curved:
            raise UsageError(
                f"{place('train', 'optimizer')}: {project.train.optimizer} needs a host that finds"
                ' the curvature, and a board with delivery = "flash" trains alone',
                help='choose another optimizer, or set delivery = "stream" in [data]',
            )
        for section, keys in _OF_THE_HOST.items():
            for key in keys:
                if getattr(getattr(project, section), key) != _KEYS[section][key].default:
                    raise UsageError(
                        f"{place(section, key)}: {key} is the host's part, and a board with"
                        ' delivery = "flash" trains alone',
                        help=f'leave {key} out, or set delivery = "stream" in [data]',
                    )
    elif project.train.checkpoint_every:
        raise UsageError(
            f"{place('train', 'checkpoint_every')}: checkpoint_every is for a board that trains"
            " alone; the host keeps the state of all others",
            help='leave checkpoint_every out, or set delivery = "flash" in [data]',
        )
    if project.train.online:
        given = {(s.section, s.key) for s in settings}
        if ("train", "epochs") in given and project.train.epochs > 1:
            raise UsageError(
                f"{place('train', 'epochs')}: with online = true every sample comes once",
                help="leave epochs out of [train], or online",
            )
        for key in ("test", "validation"):
            if ("data", key) in given and getattr(project.data, key):
                raise UsageError(
                    f"{place('data', key)}: {key} holds samples out, and with online = true each is"
                    " tested before it is learned",
                    help=f"leave {key} out of [data], or online out of [train]",
                )
        if project.train.schedule == "plateau":
            raise UsageError(
                f"{place('train', 'schedule')}: plateau compares epochs, and online = true has one",
                help='choose another schedule, such as "exponential"',
            )
    if project.train.early_stopping and not project.data.validation:
        raise UsageError(
            f"{place('train', 'early_stopping')}: early_stopping needs rows to look at",
            help="hold some of the training rows out: validation = 0.1 in [data]",
        )


def create_project(root: Path, template: str, board: str | None, platformio_ini: str) -> None:
    """Make the folder `root` a copy of the example `template`, for `board` if one is given.

    `platformio_ini` is the text of the project's platformio.ini. Nothing that exists is ever
    overwritten: raises UsageError naming the file that is in the way.
    """
    if template not in TEMPLATES:
        raise UsageError(f"unknown template {quote(template)}", help=nearest(template, TEMPLATES))
    example = examples_dir() / template
    texts = {
        path.name: path.read_text(encoding="utf-8")
        for path in example.iterdir()
        if path.suffix in (".toml", ".md", ".csv", ".svg")
    }
    if board is not None:
        texts[FILE_NAME] = re.sub(
            r'(?m)^name = "[^"]*"', lambda _: f'name = "{board}"', texts[FILE_NAME]
        )
    texts["platformio.ini"] = platformio_ini
    texts[".gitignore"] = "/build/\n/.pio/\n/.nnhost/\n"

    try:
        root.mkdir(parents=True, exist_ok=True)
        for name in texts:
            if (root / name).exists():
                raise UsageError(f"{root / name} exists", help="choose another folder")
        for name, text in texts.items():
            with (root / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise UsageError(f"cannot write to {root}: {error.strerror}") from None


@dataclass(frozen=True)
class _Setting:
    """One key as the user wrote it; `place` says where, for errors."""

    section: str
    key: str
    value: object
    place: Callable[[], str]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise UsageError(f"{path} has more than {_LONGEST:,} bytes")
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(
            f"no {FILE_NAME} in {path.parent}",
            help="choose a project's folder with -C, or make one: nnhost new DIR --template digits",
        ) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text", help="save it as UTF-8") from None


def _file_settings(text: str) -> Iterator[_Setting]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _syntax_error(error, text) from None
    for section, table in document.items():
        if not isinstance(table, dict):
            raise UsageError(
                f"{FILE_NAME}:{_line(text, section)}: {quote(section)} is not in a section",
                help=_home(section) or f"write [{section}] and its keys below it",
            )
        if section not in _KEYS:
            raise UsageError(
                f"{FILE_NAME}:{_line(text, section)}: unknown section [{_plain(section)}]",
                help=nearest(section, _KEYS),
            )
        for key, value in table.items():
            place = partial(_file_place, text, section, key)
            yield _Setting(section, key, value, place)


def _syntax_error(error: Exception, text: str) -> UsageError:
    if isinstance(error, RecursionError):
        return UsageError(f"{FILE_NAME}: nested too deeply")
    place = re.search(r" \(at (?:line (\d+)|end of document).*\)$", str(error))
    cause = str(error)[: place.start()] if place else str(error)
    line = place[1] if place and place[1] else 1 + text.rstrip().count("\n")
    return UsageError(
        f"{FILE_NAME}:{line}: {_plain(cause)}",
        help="strings want quotes, lists brackets: see https://toml.io",
    )


def _file_place(text: str, section: str, key: str) -> str:
    return f"{FILE_NAME}:{_line(text, section, key)}"


def _line(text: str, *path: str) -> int:
    """The line on which the key at `path` is written.

    The file's first n lines are a document of their own unless they end inside a value. So the
    statement that brings the key in begins after the longest such document without the key.
    """
    lines = text.split("\n")
    before = 0
    for end in range(1, len(lines)):
        try:
            found: Any = tomllib.loads("\n".join(lines[:end]))
        except ValueError:
            continue
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if found is not None:
            break
        before = end
    return before + 1


def _override_setting(override: str) -> _Setting:
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    place = f"--set {_plain(override)}"
    if not (equals and dot):
        raise UsageError(f"{place}: not an override", help="write --set section.key=value")
    if section not in _KEYS:
        raise UsageError(f"{place}: unknown section {quote(section)}", help=nearest(section, _KEYS))
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        document = {}
    value = document["value"] if document.keys() == {"value"} else text.strip()
    return _Setting(section, key, value, lambda: place)


def _checked(setting: _Setting) -> Any:
    keys = _KEYS[setting.section]
    if setting.key not in keys:
        raise UsageError(
            f"{setting.place()}: unknown key {quote(setting.key)} in [{setting.section}]",
            help=_home(setting.key) or nearest(setting.key, keys),
        )
    try:
        return keys[setting.key].check(setting.value)
    except _Invalid as invalid:
        raise UsageError(
            f"{setting.place()}: {setting.key} must be {invalid.allowed}, "
            f"not {quote(setting.value)}",
            help=invalid.help,
        ) from None


def _home(key: str) -> str:
    """Where a key that stands in the wrong place belongs, or nothing."""
    return next((f"{key} belongs in [{s}]" for s, keys in _KEYS.items() if key in keys), "")


def _plain(text: str) -> str:
    """Text from the user on one line."""
    return quote(text)[1:-1] if not text.isprintable() else text
