"""Tables that people read: boards, checks, memories, verdicts."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nnhost.bench import Cost
from nnhost.bisect import Finding
from nnhost.boards import Board
from nnhost.build import Built
from nnhost.curve import Curve
from nnhost.doctor import Check
from nnhost.spread import Study, spreads
from nnhost.verify import Verdict

_OUTCOME_STYLES = {"exact": "green", "refused": "yellow", "differs": "bold red", "failed": "red"}


def boards_table(boards: Iterable[Board]) -> RenderableType:
    """One line a board; below, what is missing and to which."""
    table = _table("board", "chip", "flash", "RAM", "clock", "status", "")
    lacking: dict[str, list[str]] = {}
    for board in boards:
        ram = " + ".join(f"{_size(memory.size)} {space}" for space, memory in board.ram.items())
        missing = board.as_json()["missing"]
        assert isinstance(missing, list)
        for need in missing:
            lacking.setdefault(need, []).append(board.name)
        clock = f"{board.clock / 1e6:g} MHz" if board.clock else ""
        table.add_row(
            Text(board.name, "bold"), board.cpu, _size(board.flash.size), ram.removesuffix(" ram"),
            clock, board.status, Text("not ready" if missing else "", "yellow"),
        )  # fmt: skip
    notes = [
        Text(f"{', '.join(names)}: missing {need}", "yellow") for need, names in lacking.items()
    ]
    return Group(table, *([""] if notes else []), *notes)


def checks_table(checks: Iterable[Check]) -> RenderableType:
    """One line a check; below it the command that helps."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for check in checks:
        mark = Text("✓", "green") if check.ok else Text("✗", "red" if check.needed else "yellow")
        table.add_row(mark, Text(check.name, "bold"), check.detail)
        if not check.ok and check.cure:
            table.add_row("", "", Text(check.cure, "cyan"))
    return table


def memory_table(built: Built) -> RenderableType:
    """How full each memory is."""
    table = _table("memory", ">used", ">of", ">")
    used = {"flash": built.flash, **built.ram}
    limits = {"flash": built.flash_limit, **built.ram_limit}
    for memory, size in used.items():
        limit = limits[memory]
        table.add_row(memory, f"{size:,}", f"{limit:,} bytes", f"{size / limit:.0%}")
    return table


def verdicts_table(verdicts: Iterable[Verdict]) -> RenderableType:
    """One line a board."""
    table = _table("board", "outcome", ">steps", "digest", ">steps/s", "")
    for v in verdicts:
        ran = v.outcome == "exact"
        table.add_row(
            Text(v.board, "bold"), Text(v.outcome, _OUTCOME_STYLES[v.outcome]),
            f"{v.steps:,}" if ran else "", v.digest or "",
            f"{v.steps / v.seconds:,.0f}" if ran and v.seconds else "",
            v.message.replace(f"{v.board}: ", ""),
        )  # fmt: skip
    return table


def studies_table(studies: Sequence[Study]) -> RenderableType:
    """The spread of each study's figures; the course of the loss, if there is one study."""
    table = _table("", "", ">mean", ">std", ">worst", ">best", ">seed")
    for study in studies:
        title = study.setting or f"{len(study.seeds)} seeds from {study.seeds[0]} on"
        for spread in spreads(study.results):
            share = spread.name.endswith("accuracy")
            mean, std, worst, best = (
                f"{100 * value:.1f} %" if share else f"{value:.4f}"
                for value in (spread.mean, spread.std, spread.worst, spread.best)
            )
            if len(study.seeds) == 1:
                std = ""
            table.add_row(
                Text(title, "bold"), spread.name.replace("_", " "), Text(mean, "bold"), std, worst,
                best, str(study.seeds[spread.best_run]),
            )  # fmt: skip
            title = ""
    if len(studies) > 1:
        return table
    losses = studies[0].losses()
    curve = Curve(len(losses))
    curve.extend(losses)
    lines, top = curve.draw(80, 5)
    head = Text(f"mean loss of {len(losses):,} steps, from 0 to {top:.2f}", "dim")
    return Group(table, "", head, *(Text(line, "cyan") for line in lines))


def finding_text(f: Finding, path: Path) -> RenderableType:
    """Where a board differs, in words."""
    if f.kind == "reset":
        when = "after the reset, in the weights drawn"
    elif f.kind == "memory":
        when = f"before step {f.step}, in memory that does not keep what is written to it"
    else:
        when = f"at step {f.step} (row {f.row})"
    lines = [f"{f.board} differs {when}"]
    if f.reported:
        lines.append(f"  it reports {f.reported}")
    if f.kind == "once":
        lines.append("  but not when the step was made again: check the supply, the clock, the RAM")
    elif not f.tensor:
        lines.append("  though the state afterwards is right: the report is wrong")
    else:
        more = f", {f.differing:,} elements of it differ" if f.differing > 1 else ""
        lines.append(f"  {f.place} is {f.value}, not {f.expected}{more}")
    if f.computed_by:
        maps = f" ({', '.join(f.maps)})" if len(f.maps) > 1 else ""
        lines.append(f"  computed by {f.computed_by}{maps}")
    elif f.tensor:
        lines.append("  firmware with a probe does not fit, or does not differ: no more is known")
    if f.code:
        lines.append(f"  {f.file}:{f.line}: {f.code}")
    if f.expression:
        lines += ["", f"{f.map}: {f.expression}"]
        lines += [f"  {o.text} = {', '.join(map(str, o.values))}" for o in f.operands]
    if len(f.near) > 1:
        lines += ["", "near it: board, simulator"]
        for n in f.near:
            mark = "" if n.board == n.expected else "  <"
            place = f"{f.tensor}[{', '.join(map(str, n.index))}]"
            lines.append(f"  {place:<20} {n.board:>11} {n.expected:>11}{mark}")
    lines += ["", f"nnhost bisect --replay {shlex.quote(str(path))} explains this again"]
    return Text("\n".join(lines))


def costs_table(costs: Iterable[Cost]) -> RenderableType:
    """One line a board."""
    table = _table(
        "board", ">a step", "", ">forward", ">code", ">RAM", ">stack", ">steps/s", ""
    )  # fmt: skip
    for c in costs:
        figures = (c.per_step, c.forward, c.code, c.ram, c.stack, c.steps_per_s)
        a_step, *others = [f"{n:,.0f}" if c.unit else "" for n in figures]
        why = c.message.replace(f"{c.board}: ", "")
        table.add_row(Text(c.board, "bold"), a_step, c.unit or "", *others, why)
    return table


def _table(*columns: str) -> Table:
    """Without lines; a column whose head begins with > is flush right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head in columns:
        table.add_column(head.removeprefix(">"), justify="right" if head[:1] == ">" else "left")
    return table


def _size(size: int) -> str:
    """65536 is 64 KB."""
    for unit, name in ((1 << 20, "MB"), (1 << 10, "KB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size:,} B"
