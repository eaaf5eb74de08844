"""The command line: verbs, their options and their output. What they do lies elsewhere.

Only click is imported at once, so that `nnhost --help` is quick; each verb imports what it needs.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nnhost import __version__
from nnhost.errors import NnhostError, UsageError, from_system
from nnhost.output import emit

if TYPE_CHECKING:
    from rich.console import Console

    from nnhost.bench import Cost
    from nnhost.boards import Board
    from nnhost.build import Built
    from nnhost.outcome import Result
    from nnhost.project import Project
    from nnhost.verify import Verdict

INTERRUPTED = 130


@dataclass
class Settings:
    """What the options that every verb takes have said."""

    root: Path = Path()
    json: bool = False
    debug: bool = False
    overrides: list[str] = field(default_factory=list)

    def project(self) -> Project:
        """The project they name. Raises `UsageError`."""
        from nnhost.project import load_project

        return load_project(self.root, self.overrides)


def _note(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep the value of an option that every verb takes, wherever on the line it stands."""
    settings = context.ensure_object(Settings)
    if parameter.name == "overrides":
        settings.overrides += value
    elif value is not None:
        setattr(settings, str(parameter.name), value)


def _options() -> list[click.Parameter]:
    """The options that every verb takes, before or after its name."""
    common: dict[str, Any] = {"callback": _note, "expose_value": False, "default": None}
    flag: dict[str, Any] = {**common, "is_flag": True, "flag_value": True}
    return [
        click.Option(
            ["-C", "root"],
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="The project's folder, by default the current one.",
            **common,
        ),
        click.Option(
            ["--set", "overrides"],
            metavar="KEY=VALUE",
            multiple=True,
            callback=_note,
            expose_value=False,
            help="Override a key of nn.toml, e.g. --set train.lr=0.02.",
        ),
        click.Option(["--json"], help="Print JSON lines; all else to stderr.", **flag),
        click.Option(["--debug"], help="Show where in nnhost an error arose.", **flag),
    ]


class _Verb(click.Command):
    """A verb: takes the common options, and ends its help with examples."""

    def __init__(self, *, examples: Sequence[str] = (), **details: Any) -> None:
        details["params"] = [*details.get("params", ()), *_options()]
        lines = [f"  nnhost {example}" for example in examples]
        details["epilog"] = "\n".join(["\b", "Examples:", *lines])
        super().__init__(**details)


class _Verbs(click.Group):
    """The verbs in the order they are declared: that of the work."""

    command_class = _Verb

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_Verbs,
    params=_options(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="nnhost %(version)s")
def verbs() -> None:
    """Train small neural networks on microcontrollers, bit for bit as simulated.

    A project is a folder with an nn.toml. No board is needed: virtual ones are built in.
    """


_settings = click.make_pass_decorator(Settings, ensure=True)
_board = click.option("--board", metavar="B", help="The board, instead of nn.toml's.")
_port = click.option("--port", metavar="P", help="The serial port of a real board.")


def _lengths(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how long to train."""
    verb = click.option("--steps", type=int, metavar="N", help="Train for N samples.")(verb)
    return click.option("--epochs", type=int, metavar="N", help="Train for N epochs.")(verb)


@verbs.command(examples=["new mine --template digits", "new ring --template iris --board qemu-m4"])
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--template",
    default="digits",
    show_default=True,
    metavar="T",
    help="xor, iris, digits or mnist; vanishing, exploding or overfitting, which techniques cure.",
)
@click.option("--board", metavar="B", help="The board, instead of the template's.")
@_settings
def new(settings: Settings, folder: Path, template: str, board: str | None) -> None:
    """Make a project in the folder DIR.

    Nothing that is there already is overwritten.
    """
    from nnhost.boards import get
    from nnhost.build import platformio_ini
    from nnhost.paths import firmware_dir
    from nnhost.project import create_project

    if settings.overrides:
        raise UsageError(
            "--set: new writes the template as it is", help="edit its nn.toml, or give --set later"
        )
    root = settings.root / folder
    name = get(board).name if board else None
    create_project(root, template, name, platformio_ini(str(firmware_dir())))
    if settings.json:
        emit({"event": "created", "path": str(root), "template": template}, sys.stdout)
    else:
        click.echo(
            f"{root} is ready: cd {shlex.quote(str(root))}, then nnhost flash and nnhost watch"
        )


@verbs.command(examples=["boards", "boards --json"])
@_settings
def boards(settings: Settings) -> None:
    """List the boards, and what is missing to use them."""
    from nnhost.boards import BOARDS

    if settings.json:
        for board in BOARDS.values():
            emit(board.as_json(), sys.stdout)
        return
    from nnhost.tables import boards_table

    _console(settings).print(boards_table(BOARDS.values()))


@verbs.command(examples=["doctor", "-C mine doctor"])
@_settings
def doctor(settings: Settings) -> int:
    """Look for what is missing, and how to get it.

    Exits with 1 if the project's board cannot work.
    """
    from nnhost.doctor import checks
    from nnhost.project import FILE_NAME

    project = settings.project() if (settings.root / FILE_NAME).exists() else None
    found = checks(project)
    if settings.json:
        for check in found:
            emit({"event": "check", **vars(check)}, sys.stdout)
    else:
        from nnhost.tables import checks_table

        _console(settings).print(checks_table(found))
    return int(any(check.needed and not check.ok for check in found))


@verbs.command(examples=["build", "build --board qemu-m3 --set net.hidden=[32]"])
@_board
@_settings
def build(settings: Settings, board: str | None) -> None:
    """Compile the net for the board; show what it takes."""
    from nnhost.build import build as make
    from nnhost.cost import Cost, check_watchdog, cost
    from nnhost.generate import prepare

    project = settings.project()
    record = _record(project, board)
    _warn(project)
    with _working(settings, f"building for {record.name}"):
        built = make(project, record)
        network = prepare(project)
        found, kept = cost(network, record, built.image), network.checkpoints(record)
        check_watchdog(record, found)
    if settings.json:
        costs = vars(found) if found else dict.fromkeys(f.name for f in fields(Cost))
        checkpoints = {"checkpoints": kept.event() if kept else None}
        emit(_built("built", record, built) | costs | checkpoints, sys.stdout)
    else:
        from nnhost.tables import memory_table

        console = _console(settings)
        console.print(memory_table(built))
        if found is not None:
            rate = f" ({found.steps_per_s:,} a second)" if found.steps_per_s else ""
            console.print(
                f"about {found.per_step:,} {found.unit} a training step{rate},"
                f" {found.forward:,} a forward pass"
            )
        if kept is not None:
            console.print(str(kept), soft_wrap=True)
        console.print(f"program {built.program:08X} in {built.image}", soft_wrap=True)


@verbs.command(examples=["flash", "flash --board disco-f100rb --port /dev/ttyUSB0"])
@_board
@_port
@_settings
def flash(settings: Settings, board: str | None, port: str | None) -> None:
    """Build, and put the firmware on the board."""
    from nnhost.run.boards import flash as put

    project = settings.project()
    record = _record(project, board, port)
    _warn(project)
    with _working(settings, f"flashing {record.name}"):
        built = put(project, record, port)
    if settings.json:
        emit(_built("flashed", record, built) | {"unproven": built.unproven or None}, sys.stdout)
    else:
        runs = f"{record.name} runs program {built.program:08X}"
        if built.unproven:
            runs = f"{record.name} is flashed, but was not asked what it runs: {built.unproven}"
        click.echo(f"{runs}: nnhost watch")


@verbs.command(
    examples=[
        "watch",
        "watch --board simstc8 --epochs 5",
        "watch --steps 200 --json",
        "watch --resume",
    ]
)
@_board
@_port
@_lengths
@click.option("--no-verify", is_flag=True, help="Do not compare the board with the simulator.")
@click.option("--resume", is_flag=True, help="Go on with the last run, from where it was saved.")
@_settings
def watch(
    settings: Settings,
    board: str | None,
    port: str | None,
    epochs: int | None,
    steps: int | None,
    no_verify: bool,
    resume: bool,
) -> int:
    """Train on the board, and watch.

    The board must have been flashed. Everything it reports is compared with the simulator, which
    trains with it, and so is all that it has learned in the end. Ctrl-C ends the training with the
    step under way; what was learned is kept, and --resume goes on there. A board that restarts or
    is unplugged meanwhile is looked for, for 30 seconds, and goes on.
    """
    from nnhost.view import make_view
    from nnhost.watch import watch as train

    project = settings.project()
    result = train(
        project,
        _record(project, board, port),
        make_view(json=settings.json),
        port=port,
        epochs=epochs,
        steps=steps,
        compare=not no_verify,
        resume=resume,
    )
    return INTERRUPTED if result.stopped else 0


@verbs.command(
    examples=[
        "simulate",
        "simulate --engine native --epochs 50",
        "simulate --seeds 32",
        "simulate --seeds 8 --sweep train.lr=0.01,0.02,0.04",
    ]
)
@click.option(
    "--engine",
    type=click.Choice(["numpy", "native"]),
    help="numpy, the reference (default), or native, compiled C (default for many).",
)
@_lengths
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="Train from N seeds.")
@click.option("--sweep", metavar="KEY=V1,V2...", help="Train with each of these settings.")
@_settings
def simulate(
    settings: Settings,
    engine: str | None,
    epochs: int | None,
    steps: int | None,
    seeds: int | None,
    sweep: str | None,
) -> None:
    """Train without a board, to the same bits.

    With --seeds or --sweep many trainings go on at once, and the spread of the results is shown.
    Seeds count from nn.toml's on.
    """
    if seeds or sweep:
        _simulate_many(settings, engine or "native", epochs, steps, seeds or 1, sweep)
        return
    from nnhost.view import make_view
    from nnhost.watch import watch_simulation

    project = settings.project()
    _record(project, None)  # what nn.toml says is right, though no board is needed
    view = make_view(json=settings.json, steps=False)
    watch_simulation(project, engine or "numpy", view, epochs=epochs, steps=steps)


def _simulate_many(
    settings: Settings,
    engine: str,
    epochs: int | None,
    steps: int | None,
    seeds: int,
    sweep: str | None,
) -> None:
    """Every setting with every seed."""
    from nnhost.project import load_project
    from nnhost.spread import Study, simulate_many, with_seeds
    from nnhost.spread import sweep as swept

    candidates = swept(sweep) if sweep else [""]
    projects = []
    for setting in candidates:
        overrides = [*settings.overrides, *([setting] if setting else [])]
        projects += with_seeds(load_project(settings.root, overrides), seeds)
    with _working(settings, f"training {len(projects)} nets") as say:
        done = 0

        def tell(at: int, result: Result) -> None:
            nonlocal done
            done += 1
            say(f"{done}/{len(projects)}")
            if settings.json:
                run = {"set": candidates[at // seeds], "seed": projects[at].train.seed}
                emit(result.event() | {"event": "run"} | run, sys.stdout)

        results = simulate_many(projects, engine, epochs, steps, tell)
    studies = [
        Study(
            setting,
            tuple(project.train.seed for project in projects[at * seeds : (at + 1) * seeds]),
            tuple(results[at * seeds : (at + 1) * seeds]),
        )
        for at, setting in enumerate(candidates)
    ]
    if settings.json:
        for study in studies:
            emit(study.event(), sys.stdout)
        emit({"event": "done", "runs": len(results)}, sys.stdout)
        return
    from nnhost.tables import studies_table

    _console(settings).print(studies_table(studies))


@verbs.command(examples=["verify", "verify --board all", "verify --board sim8052 --board qemu-m0"])
@click.option("--board", "names", metavar="B", multiple=True, help="A board, or all virtual ones.")
@click.argument("more", metavar="[B]...", nargs=-1)
@_port
@click.option("--steps", type=click.IntRange(1), default=200, show_default=True, metavar="N")
@_settings
def verify(
    settings: Settings, names: tuple[str, ...], more: tuple[str, ...], port: str | None, steps: int
) -> int:
    """Train on several boards; compare each with the simulator.

    Each board is built, flashed and trained. A board that cannot hold the net is no failure.

    What is built and flashed for the project stays as it is.
    """
    from nnhost.verify import choose, exit_code
    from nnhost.verify import verify as train

    project = settings.project()
    chosen = choose((*names, *more) or (project.board.name,))
    _check_port(chosen, port)
    with _working(settings, f"verifying {', '.join(b.name for b in chosen)}") as say:

        def tell(verdict: Verdict) -> None:
            say(f"{verdict.board}: {verdict.outcome}")
            if settings.json:
                emit(verdict.event(), sys.stdout)

        verdicts = train(project, chosen, steps, port, tell)
    if settings.json:
        exact = exit_code(verdicts) == 0
        emit({"event": "done", "exact": exact, "boards": len(verdicts)}, sys.stdout)
    else:
        from nnhost.tables import verdicts_table

        _console(settings).print(verdicts_table(verdicts))
    for verdict in verdicts:
        if verdict.outcome in ("differs", "failed"):
            _complain(verdict.message, verdict.help)
    return exit_code(verdicts)


@verbs.command(
    examples=[
        "bisect",
        "bisect --board simstc8 --steps 500",
        "bisect --replay .nnhost/simstc8/bisect-12.npz",
    ]
)
@_board
@_port
@click.option("--steps", type=click.IntRange(1), metavar="N", help="How far to look.")
@click.option(
    "--replay", "report", metavar="FILE.npz", help="Explain a report again, without the board.",
    type=click.Path(path_type=Path),
)  # fmt: skip
@_settings
def bisect(
    settings: Settings,
    board: str | None,
    port: str | None,
    steps: int | None,
    report: Path | None,
) -> int:
    """Find where a board first differs from the simulator.

    Trains what is flashed on the board until it differs; then makes the step in question with
    firmware that can be stopped within it, and names computation, tensor and element. A real board
    must be flashed again afterwards. Exits with 4 if there is a difference.
    """
    from nnhost.bisect import bisect as search
    from nnhost.bisect import replay
    from nnhost.errors import DifferenceError

    project = settings.project()
    if report is not None:
        found, path = replay(project, report), report
    else:
        record = _record(project, board, port)
        with _working(settings, f"comparing {record.name}") as say:
            result = search(project, record, port, steps, say)
        if result is None:
            if settings.json:
                emit({"event": "bisect", "board": record.name, "exact": True}, sys.stdout)
            else:
                click.echo(f"{record.name} does not differ from the simulator")
            return 0
        found, path = result
    if settings.json:
        emit(found.event() | {"report": str(path)}, sys.stdout)
    else:
        from nnhost.tables import finding_text

        _console(settings).print(finding_text(found, path))
    return DifferenceError.exit_code


@verbs.command(examples=["bench", "bench --board all --json", "bench qemu-m4 --steps 100"])
@click.option("--board", "names", metavar="B", multiple=True, help="A board, or all virtual ones.")
@click.argument("more", metavar="[B]...", nargs=-1)
@_port
@click.option("--steps", type=click.IntRange(1), metavar="N", help="An epoch, if not given.")
@_settings
def bench(
    settings: Settings,
    names: tuple[str, ...],
    more: tuple[str, ...],
    port: str | None,
    steps: int | None,
) -> int:
    """Count what a training step costs on boards.

    The boards count themselves, from the sample complete to the report ready: machine cycles on an
    8051, cycles on a real Cortex-M, instructions in QEMU. Each board is compared with the simulator
    meanwhile; what is built and flashed for the project stays as it is.
    """
    from nnhost.bench import bench as measure
    from nnhost.verify import choose

    project = settings.project()
    given = (*names, *more) or (project.board.name,)
    # A process cannot count: "all" does without it.
    chosen = [b for b in choose(given) if b.unit or b.name in given]
    _check_port(chosen, port)
    with _working(settings, f"measuring {', '.join(b.name for b in chosen)}") as say:

        def tell(cost: Cost) -> None:
            if settings.json:
                emit(cost.event(), sys.stdout)

        costs = measure(
            project, chosen, steps, port, tell, lambda board, step: say(f"{board}: step {step:,}")
        )
    if not settings.json:
        from nnhost.tables import costs_table

        _console(settings).print(costs_table(costs))
    for cost in costs:
        if cost.failed:
            _complain(cost.message, cost.help)
    return int(any(c.failed for c in costs) or all(c.refused for c in costs))


@verbs.command(examples=["pull -o weights.npz", "pull -o weights.npz --board qemu-m3"])
@click.option(
    "-o", "file", required=True, metavar="FILE.npz", type=click.Path(path_type=Path),
    help="The file to write.",
)  # fmt: skip
@_board
@_port
@_settings
def pull(settings: Settings, file: Path, board: str | None, port: str | None) -> None:
    """Read what was learned into a file.

    The .npz holds weights, biases and velocities, as real numbers and as the board's integers
    ("_int"), their formats, and the history of the loss.
    """
    from nnhost.pull import pull as read

    project = settings.project()
    with _working(settings, "reading the board"):
        pulled = read(project, _record(project, board, port), file, port)
    if settings.json:
        emit(pulled.event(), sys.stdout)
    else:
        click.echo(f"{file}: {pulled.board} after step {pulled.step}, digest {pulled.digest}")


# ---- common to the verbs ----


def _record(project: Project, name: str | None, port: str | None = None) -> Board:
    """The board of that name, or the project's. Raises `UsageError`, also for a port that it does
    not have."""
    from nnhost.boards import get

    record = get(name or project.board.name)
    _check_port([record], port)
    return record


def _check_port(boards: Sequence[Board], port: str | None) -> None:
    if port and not any(board.official for board in boards):
        names = ", ".join(board.name for board in boards)
        raise UsageError(f"--port: {names} has no port", help="virtual boards need none")


def _console(settings: Settings) -> Console:
    from nnhost.view import make_console

    return make_console(json=settings.json)


@contextmanager
def _working(settings: Settings, what: str) -> Iterator[Callable[[str], None]]:
    """Shows on a terminal that something goes on; the function it gives changes the words."""
    from nnhost.view import make_console

    console = make_console(json=True)
    if settings.json or not sys.stderr.isatty() or console.is_dumb_terminal:
        yield lambda words: None
        return
    try:
        with console.status(f"{what} ...") as status:
            yield lambda words: status.update(f"{what} ... {words}")
    finally:
        console.show_cursor()  # hidden, if Ctrl-C came before the status had begun


def _built(event: str, board: Board, built: Built) -> dict[str, object]:
    sizes = {"flash": built.flash, "flash_limit": built.flash_limit}
    return {
        "event": event,
        "board": board.name,
        "image": str(built.image),
        "program": f"{built.program:08X}",
        **sizes,
        "ram": built.ram,
        "ram_limit": built.ram_limit,
    }


def _warn(project: Project) -> None:
    """Say aloud that a firmware is wrong on purpose."""
    if project.build.inject:
        print(f"warning: a fault is injected: {project.build.inject}", file=sys.stderr)


def _complain(message: str, help: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    if help:
        print(f"help: {help}", file=sys.stderr)


def _as_called(cure: str, settings: Settings) -> str:
    """A cure that is a command, for the same project with the same overrides."""
    if not cure.startswith("nnhost flash --board "):
        return cure
    folder = [] if settings.root == Path() else ["-C", str(settings.root)]
    overrides = [word for setting in settings.overrides for word in ("--set", setting)]
    return shlex.join(["nnhost", *folder, *shlex.split(cure)[1:], *overrides])


def _failed(settings: Settings, message: str, help: str, code: int) -> int:
    """Say why, to people and programs; the exit code."""
    _complain(message, help)
    if settings.json:
        event = {"event": "error", "message": message, "help": help, "exit_code": code}
        try:
            emit(event, sys.stdout)
        except OSError:
            _mute()
    return code


def _mute() -> None:
    """Nobody reads standard output, or its disk is full. Python would complain at the end, when it
    writes what is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str], settings: Settings) -> int:
    """Carry the command line out; the exit code. Every error becomes a line."""
    try:
        return int(verbs.main(arguments, "nnhost", standalone_mode=False, obj=settings) or 0)
    except NnhostError as error:
        if settings.debug:
            traceback.print_exc()
        return _failed(settings, error.message, _as_called(error.help, settings), error.exit_code)
    except click.UsageError as error:
        settings.json |= "--json" in arguments  # click may have stopped before it
        path = error.ctx.command_path if error.ctx else "nnhost"
        return _failed(settings, error.format_message(), f"{path} --help", error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _failed(settings, "interrupted", "", INTERRUPTED)
    except BrokenPipeError:
        _mute()  # whoever read has enough
        return 1
    except Exception as error:
        if settings.debug:
            traceback.print_exc()
        cure = "nnhost --debug shows where it arose"
        if isinstance(error, OSError):
            told = from_system(error)
            return _failed(settings, told.message, told.help or cure, 1)
        return _failed(settings, f"{type(error).__name__}: {error}", cure, 1)


def _make_printable() -> None:
    """See that every character can be written, if only as "?", even where nobody reads."""
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The command `nnhost`."""
    _make_printable()
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_run(given or ["--help"], Settings()))
