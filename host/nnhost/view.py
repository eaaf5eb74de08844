"""How training looks: live on a terminal, plain lines elsewhere, JSON lines for programs.

Views draw what they are told; the runs are `watch`'s and `simulate`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from time import monotonic
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nnhost.link import Counters
from nnhost.meter import Meter, Run, counted, duration, rate_text
from nnhost.outcome import EpochEnd, Progress, Result, Score
from nnhost.output import emit

#: Plain lines come at least so many seconds apart, those of an epoch's end so many.
_PACE, _EPOCH_PACE = 2.0, 0.25
_REFRESH = 8.0  # pictures a second
_WIDTH = 100
_LEAST_WIDTH, _LEAST_HEIGHT = 70, 14  # of a terminal for the live picture


def make_view(*, json: bool, steps: bool = True) -> View:
    """The view for where the output goes; `json` with an object for each of the `steps`."""
    console = make_console(json=json)
    if json:
        return JsonView(sys.stdout, PlainView(console), steps=steps)
    # Not console.is_terminal: FORCE_COLOR sets that, and would put a moving picture into a pipe.
    able = sys.stdout.isatty() and not console.is_dumb_terminal and console.encoding == "utf-8"
    large = console.width >= _LEAST_WIDTH and console.height >= _LEAST_HEIGHT
    return LiveView(console) if able and large else PlainView(console)


def make_console(*, json: bool) -> Console:
    """Where people read: standard output, or standard error when programs read the other."""
    file = sys.stderr if json else sys.stdout
    return Console(file=file, highlight=False, width=None if file.isatty() else _WIDTH)


class View:
    """Is told of a run; a context manager, so that a picture is finished before an error shows."""

    def begin(self, run: Run) -> None:
        """The run begins."""

    def resume(self, step: int, why: str) -> None:
        """Training goes on after a step: of an earlier run, or of a board that was lost."""
        self.tell(f"{why}: resumed at step {step:,}" if why else f"resumed at step {step:,}")

    def tell(self, line: str) -> None:
        """Something to know happens."""

    def step(self, progress: Progress, losses: Sequence[float] = ()) -> None:
        """A step has been made, or as many as there are `losses`, of which it is the last."""

    def score(self, done: int, total: int) -> None:
        """A sample has been evaluated."""

    def epoch(self, end: EpochEnd) -> None:
        """An epoch has been looked at."""

    def stop(self) -> None:
        """The user wants the run to stop."""

    def end(self, result: Result) -> None:
        """The run is over."""

    def __enter__(self) -> View:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""


class PlainView(View):
    """Lines at a steady rate."""

    def __init__(self, console: Console, clock: Callable[[], float] = monotonic) -> None:
        self._console = console
        self._clock = clock
        self._meter: Meter
        self._said = 0.0
        self._epoch_said = 0.0

    def begin(self, run: Run) -> None:
        """One line about the net, the board and the length of the run."""
        self._meter = Meter(run, self._clock)
        epochs = f", {counted(run.epochs, 'epoch')}" if run.total % run.rows == 0 else ""
        self._say(f"{run.net} on {run.place}: {counted(run.total, 'step')}{epochs}")
        self._said = self._clock()

    def resume(self, step: int, why: str) -> None:
        """Say so; the rate counts from there on."""
        self._meter.resume(step)
        super().resume(step, why)

    def tell(self, line: str) -> None:
        """Say so at once."""
        self._say(line)

    def step(self, progress: Progress, losses: Sequence[float] = ()) -> None:
        """Now and then a line."""
        meter, now = self._meter, self._clock()
        run = meter.run
        if meter.add(progress, losses) and now - self._epoch_said >= _EPOCH_PACE:
            self._epoch_said = now
            claim = f"  {claim_text(meter)}" if progress.exact else ""
            self._say(
                f"epoch {progress.epoch}/{run.epochs}  mean loss {meter.epoch_loss:.4f}{claim}"
            )
        elif now - self._said >= _PACE:
            self._said = now
            exact = f"  {run.claim}" if progress.exact else ""
            self._say(
                f"step {progress.step:,}/{run.total:,}  epoch {progress.epoch}  "
                f"{known_text(meter)}  {rate_text(meter.rate)}  {meter.left} left{exact}"
            )

    def score(self, done: int, total: int) -> None:
        """Now and then a line."""
        now = self._clock()
        if now - self._said >= _PACE:
            self._said = now
            self._say(f"evaluating {done:,}/{total:,}")

    def epoch(self, end: EpochEnd) -> None:
        """A line about the validation set."""
        if end.validation is not None:
            epochs = self._meter.run.epochs
            self._say(f"epoch {end.epoch}/{epochs}  validation {score_text(end.validation)}")

    def stop(self) -> None:
        """Say so at once."""
        self._say("stopping; Ctrl-C again to stop at once")

    def end(self, result: Result) -> None:
        """The table of the results."""
        self._console.print(summary(self._meter, result))

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False)
        self._console.file.flush()


class LiveView(View):
    """A picture that keeps moving; for terminals."""

    def __init__(self, console: Console, clock: Callable[[], float] = monotonic) -> None:
        self._console = console
        self._clock = clock
        self._meter: Meter
        self._scored = (0, 0)
        self._looked_at: EpochEnd | None = None
        self._stopping = False
        self._live: Live | None = None

    def begin(self, run: Run) -> None:
        """Show the first picture."""
        self._meter = Meter(run, self._clock)
        self._live = Live(
            console=self._console, refresh_per_second=_REFRESH, get_renderable=self._picture
        )
        self._live.start(refresh=True)

    def resume(self, step: int, why: str) -> None:
        """Print it above the picture; the rate counts from there on."""
        self._meter.resume(step)
        super().resume(step, why)

    def tell(self, line: str) -> None:
        """Print it above the picture."""
        self._console.print(line, soft_wrap=True, markup=False)

    def step(self, progress: Progress, losses: Sequence[float] = ()) -> None:
        """The next picture will show it."""
        self._scored = 0, 0
        self._meter.add(progress, losses)

    def score(self, done: int, total: int) -> None:
        """The next picture will show it."""
        self._scored = done, total

    def epoch(self, end: EpochEnd) -> None:
        """The next picture will show it."""
        self._looked_at = end

    def stop(self) -> None:
        """The next picture will show it."""
        self._stopping = True

    def end(self, result: Result) -> None:
        """Leave the last picture, and the table of the results below it."""
        self.close()
        self._console.print(summary(self._meter, result))

    def close(self) -> None:
        """Stop moving."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _picture(self) -> RenderableType:
        meter = self._meter
        run = meter.run
        width = min(_WIDTH, self._console.width)
        head = Table.grid(expand=True)
        head.add_column()
        head.add_column(justify="right")
        head.add_row(
            Text.assemble((run.net, "bold"), " on ", (run.place, "bold cyan"), overflow="ellipsis"),
            f"epoch {meter.epoch}/{run.epochs}",
        )
        done, total = self._scored
        if total:
            bar = ProgressBar(total=total, completed=done, complete_style="green")
            pace = Text.assemble("evaluating ", (f"{done:,}", "bold"), f"/{total:,}")
        else:
            bar = ProgressBar(total=run.total, completed=meter.step, complete_style="cyan")
            pace = Text.assemble(
                (f"{meter.step:,}", "bold"), f"/{run.total:,} steps  {rate_text(meter.rate)}  ",
                f"{meter.left} left",
            )  # fmt: skip
        progress = Table.grid(expand=True, padding=(0, 2, 0, 0))
        progress.add_column(ratio=1)
        progress.add_column(justify="right")
        progress.add_row(bar, pace)
        return Panel(
            Group(head, progress, "", self._curve(width - 4), "", self._status()),
            title="nnhost",
            width=width,
            padding=(0, 1),
            border_style="dim",
        )

    def _curve(self, width: int) -> RenderableType:
        height = max(3, min(9, self._console.height - 10))
        lines, top = self._meter.curve.draw(width - 9, height)
        labels = {0: f"{top:.2f}", height - 1: "0"}
        rows = [
            Text.assemble((f"{labels.get(at, ''):>6} │ ", "dim"), (line, "cyan"))
            for at, line in enumerate(lines)
        ]
        return Group(*rows)

    def _status(self) -> RenderableType:
        meter = self._meter
        loss = Text.assemble("loss ", (known_text(meter).removeprefix("loss "), "bold"))
        end = self._looked_at
        if end is not None and end.validation is not None:
            loss.append(f", validation {end.validation.loss:.4f}")
        line = Table.grid(expand=True)
        line.add_column()
        line.add_column(justify="right")
        line.add_row(loss, claim_text(meter))
        trouble = link_text(meter.run.counters())
        rows: list[RenderableType] = [line]
        if trouble:
            rows.append(Text(trouble, "yellow"))
        if self._stopping:
            rows.append(Text("stopping; Ctrl-C again to stop at once", "yellow"))
        return Group(*rows)


class JsonView(View):
    """One object a line on standard output; what people read goes to another view."""

    def __init__(self, out: TextIO, people: View, *, steps: bool) -> None:
        self._out = out
        self._people = people
        self._steps = steps

    def begin(self, run: Run) -> None:
        """Nothing that programs read."""
        self._people.begin(run)

    def resume(self, step: int, why: str) -> None:
        """An object."""
        emit({"event": "resumed", "step": step, "why": why}, self._out)
        self._people.resume(step, why)

    def tell(self, line: str) -> None:
        """Nothing that programs read."""
        self._people.tell(line)

    def step(self, progress: Progress, losses: Sequence[float] = ()) -> None:
        """An object a step."""
        if self._steps:
            emit(progress.event(), self._out)
        self._people.step(progress, losses)

    def score(self, done: int, total: int) -> None:
        """Nothing that programs read."""
        self._people.score(done, total)

    def epoch(self, end: EpochEnd) -> None:
        """An object an epoch."""
        emit(end.event(), self._out)
        self._people.epoch(end)

    def stop(self) -> None:
        """Nothing that programs read."""
        self._people.stop()

    def end(self, result: Result) -> None:
        """The last object."""
        emit(result.event(), self._out)
        self._people.end(result)

    def close(self) -> None:
        """Close the other view."""
        self._people.close()


def claim_text(meter: Meter) -> Text:
    """What has been proven so far."""
    if meter.exact is None:
        return Text("not compared with the simulator" if meter.run.claim else "", "dim")
    if meter.exact:
        return Text.assemble(("✓ ", "green"), f"{meter.run.claim} through step {meter.step:,}")
    return Text(f"✗ the board and the simulator differ at step {meter.step:,}", "bold red")


def link_text(counters: Counters | None) -> str:
    """What went wrong on the line, if anything did."""
    if counters is None or not counters.retries:
        return ""
    return (
        f"link: {counters.retries:,} of {counters.sent:,} frames sent again "
        f"({counters.timeouts} lost, {counters.refused + counters.corrupt} corrupted); "
        "none was carried out twice"
    )


def known_text(meter: Meter) -> str:
    """The recent loss and, online, the share of samples that were known before."""
    right = "" if meter.accuracy is None else f", {100 * meter.accuracy:.1f} % known before"
    return f"loss {meter.loss:.4f}{right}"


def score_text(score: Score) -> str:
    """A score in a few words."""
    right = "" if score.accuracy is None else f", {100 * score.accuracy:.1f} %"
    return f"loss {score.loss:.4f}{right}"


def ending_text(result: Result) -> str:
    """Why a training ended before its last epoch, and which state it left; "" for the usual."""
    best, epoch = result.best, -(-result.steps // result.rows)
    reason = {
        "early_stopping": f"early stopping at epoch {epoch}",
        "stop_loss": f"stopped at epoch {epoch}: its mean loss is below stop_loss",
        "max_time": f"stopped in epoch {epoch}: max_time is over",
        "": "",
    }[result.ended_by]
    if best is None or best.step == result.steps:
        return reason
    kept = f"epoch {best.epoch} had the lowest validation loss, and its weights are kept"
    return f"{reason}; {kept}" if reason else kept


def summary(meter: Meter, result: Result) -> RenderableType:
    """The results, for both views."""
    run = meter.run
    lines: list[RenderableType] = [""]
    if result.stopped:
        made = f"{result.steps:,} of {counted(run.total, 'step')}"
        lines.append(Text(f"stopped after {made}", "yellow"))
    else:
        lines += [_scores(result), ""]
        if ending := ending_text(result):
            lines.append(Text(ending, "yellow"))
    new = result.steps - meter.made_before
    pace = new / result.seconds if result.seconds > 0 else 0.0
    if result.steps:
        lines.append(
            f"{counted(new, 'step')} in {duration(result.seconds)}, {rate_text(pace)}; "
            f"mean loss of the last epoch {result.loss:.4f}"
        )
    if run.claim:
        proof = "every report and the whole state at the end are the simulator's"
        if result.exact:
            lines.append(
                Text.assemble(("✓ ", "green"), f"bit-exact through step {result.steps:,}: {proof}")
            )
        elif meter.exact:
            lines.append(Text("what the board has learned in the end could not be read", "yellow"))
        else:
            lines.append(Text("not compared with the simulator", "dim"))
    if trouble := link_text(result.link):
        lines.append(Text(trouble, "yellow"))
    if result.digest:
        lines.append(Text.assemble(("digest of the state ", "dim"), result.digest))
    return Group(*lines)


def _scores(result: Result) -> RenderableType:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("")
    table.add_column("loss", justify="right")
    table.add_column("accuracy", justify="right")
    sets = (
        ("training set", result.train),
        ("validation set", result.validation),
        ("test set", result.test),
        ("before learning", result.prequential),
    )
    for name, score in sets:
        if score is not None:
            right = "" if score.accuracy is None else f"{100 * score.accuracy:.1f} %"
            table.add_row(name, f"{score.loss:.4f}", Text(right, "bold"))
    return table
