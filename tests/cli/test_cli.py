"""The command line as such: help, options, errors; and the verbs that need no board."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys

import click
import pytest

from nnhost.boards import get
from nnhost.cli import main, verbs

NET = '[net]\nhidden = [3]\n[train]\nepochs = 2\n[data]\nsource = "iris"\n[board]\nname = "host"\n'


@pytest.fixture
def call(capsys, monkeypatch):
    """Runs nnhost in this process: its exit code, standard output and standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([str(a) for a in arguments])
        return caught.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nn.toml").write_text(NET)
    return tmp_path


def python(*code, **options):
    return subprocess.run(
        [sys.executable, *code], capture_output=True, text=True, check=False, timeout=60, **options
    )


VERBS = [
    "new",
    "boards",
    "doctor",
    "build",
    "flash",
    "watch",
    "simulate",
    "verify",
    "bisect",
    "bench",
    "pull",
]


# ---- help ----


def test_the_verbs_are_listed_in_the_order_of_the_work(call):
    for arguments in ([], ["--help"], ["-h"]):
        code, out, err = call(*arguments)
        assert (code, err) == (0, "")
        listed = out.partition("Commands:")[2].splitlines()[1:]
        assert [line.split()[0] for line in listed if line.strip()] == VERBS
        assert "..." not in out.partition("Commands:")[2]  # every summary fits


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples_that_parse(call, verb):
    code, out, _ = call(verb, "--help")
    assert code == 0
    assert all(name in out for name in ("-C", "--set", "--json"))
    examples = out.partition("Examples:")[2].split("\n")
    examples = [line.strip() for line in examples if line.strip()]
    assert examples
    for example in examples:
        name, *arguments = shlex.split(example)
        assert name == "nnhost"
        with click.Context(verbs, info_name="nnhost") as context:
            verbs.parse_args(context, arguments)
            given = [*context._protected_args, *context.args]
            found, command, rest = verbs.resolve_command(context, given)
            assert found == verb
            command.make_context(verb, rest, parent=context)


def test_help_is_light():
    """Neither numpy nor rich nor pyserial is loaded to print it."""
    done = python(
        "-c",
        "import sys\nfrom nnhost.cli import main\n"
        "try: main(['watch', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'rich', 'serial', 'nnhost.project') if m in sys.modules])",
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version(call):
    import nnhost

    assert call("--version") == (0, f"nnhost {nnhost.__version__}\n", "")
    assert python("-m", "nnhost", "--version").stdout == f"nnhost {nnhost.__version__}\n"


# ---- options and errors ----


@pytest.mark.parametrize(
    ("arguments", "message", "cure"),
    [
        (["watch", "--boar"], "No such option '--boar'", "nnhost watch --help"),
        (["frobnicate"], "No such command 'frobnicate'", "nnhost --help"),
        (["simulate", "--epochs", "x"], "'x' is not a valid integer", "nnhost simulate --help"),
        (["pull"], "Missing option '-o'", "nnhost pull --help"),
        (["verify", "--steps", "0"], "0 is not in the range", "nnhost verify --help"),
        (["simulate", "--engine", "abacus"], "'numpy', 'native'", "nnhost simulate --help"),
        (["build", "--board", "qemu-m9"], 'no board "qemu-m9"', "qemu-m"),
        (["verify", "--board", "qemu-m9"], 'no board "qemu-m9"', "qemu-m"),
        (["simulate", "--set", "train.lrr=1"], "--set train.lrr=1: unknown key", "lr"),
        (["simulate", "--set", "train.lr"], "--set train.lr: not an override", "section.key"),
        (["simulate", "--set", "net.hidden=[0]"], "hidden must be a list of widths", ""),
    ],
)
@pytest.mark.parametrize("json_lines", [False, True])
def test_usage_errors_are_one_line_with_a_cure(call, folder, arguments, message, cure, json_lines):
    code, out, err = call("-C", folder, *arguments, *(["--json"] * json_lines))
    assert code == 2
    first, *rest = err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert len(rest) <= 1
    assert cure in "".join(rest)
    if json_lines:
        event = json.loads(out)
        assert event.keys() == {"event", "message", "help", "exit_code"}
        assert (event["event"], event["exit_code"]) == ("error", 2)
        assert message in event["message"]
    else:
        assert out == ""


def test_no_project(call, tmp_path):
    code, _, err = call("-C", tmp_path, "simulate")
    assert code == 2
    assert "no nn.toml" in err
    assert "nnhost new" in err


def test_new_does_not_pass_over_an_override(call, tmp_path):
    code, _, err = call("new", tmp_path / "mine", "--set", "train.lr=3")
    assert code == 2
    assert "--set" in err
    assert not (tmp_path / "mine").exists()


def test_a_faulty_nn_toml_names_the_line(call, folder):
    (folder / "nn.toml").write_text(NET.replace("epochs", "epoch"))
    code, _, err = call("-C", folder, "simulate")
    assert code == 2
    assert "nn.toml:4" in err


def test_what_is_pulled_is_an_npz(call, folder):
    code, _, err = call("-C", folder, "pull", "-o", "weights.h")
    assert code == 2
    assert err.splitlines()[-2:] == [
        "error: -o weights.h: what is written is an .npz", "help: -o weights.npz"
    ]  # fmt: skip


def test_nothing_flashed(call, folder):
    code, out, err = call("-C", folder, "watch", "--json")
    assert code == 3
    assert err.splitlines()[-2:] == [
        "error: nothing is flashed on host",
        f"help: nnhost -C {shlex.quote(str(folder))} flash --board host",
    ]
    assert json.loads(out)["exit_code"] == 3


def test_common_options_stand_anywhere(call, folder):
    once = call("-C", folder, "--json", "--set", "train.epochs=1", "simulate")
    again = call("simulate", "--set", "train.epochs=1", "--json", "-C", folder)
    first, second = json.loads(once[1]), json.loads(again[1])
    assert first["epochs"] == second["epochs"] == 1
    assert first["digest"] == second["digest"]


def test_overrides_add_up(call, folder):
    overrides = ["--set", "train.epochs=1", "--set", "net.hidden=[5]", "--set", "net.preset=q16"]
    _, out, err = call("-C", folder, *overrides[:2], "simulate", *overrides[2:], "--json")
    assert json.loads(out)["epochs"] == 1
    assert "iris 4-5-3, q16, sgd" in err


def test_a_bug_is_one_line_unless_debugged(call, folder, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("nnhost.project.load_project", broken)
    code, out, err = call("-C", folder, "simulate")
    assert (code, out) == (1, "")
    assert err == "error: ZeroDivisionError: oops\nhelp: nnhost --debug shows where it arose\n"
    assert "Traceback" in call("-C", folder, "--debug", "simulate")[2]


def test_debug_shows_where_an_error_arose(call, tmp_path):
    code, _, err = call("--debug", "-C", tmp_path, "simulate")
    assert code == 2
    assert "Traceback" in err
    assert err.splitlines()[-2].startswith("error: no nn.toml")


def test_ctrl_c_is_130(call, folder, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nnhost.watch.watch_simulation", interrupt)
    assert call("-C", folder, "simulate")[0] == 130


def test_ctrl_c_leaves_the_cursor(call, folder, monkeypatch):
    def interrupted(status):
        status.console.show_cursor(False)
        raise KeyboardInterrupt

    monkeypatch.setattr("rich.status.Status.start", interrupted)
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setattr("rich.console.Console.is_dumb_terminal", False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, _, err = call("-C", folder, "build")
    assert code == 130
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert err.index(hidden) < err.index(shown)


def test_a_reader_that_has_enough_is_no_error(folder):
    command = [sys.executable, "-m", "nnhost", "boards", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 1


def test_a_full_disk_is_an_error_in_two_lines(folder):
    command = [sys.executable, "-m", "nnhost", "boards", "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device\nhelp: make room on the disk\n"


def test_a_terminal_without_unicode_gets_what_it_can_show(folder):
    command = [sys.executable, "-m", "nnhost", "-C", str(folder), "doctor"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert b"?  gcc" in done.stdout
    assert done.stderr == b""


def test_standard_output_may_be_closed(folder):
    command = [sys.executable, "-m", "nnhost", "-C", str(folder), "simulate", "--steps", "3"]
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_is_quick_because_it_imports_little() -> None:
    code = "import sys; from nnhost.cli import main\n" \
        "try: main(['--help'])\nfinally: print(*sys.modules, file=sys.stderr)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in done.stderr.split()}
    assert not modules & {"numpy", "rich", "platformio", "serial", "SCons", "tomllib", "asyncio"}
    own = {name for name in done.stderr.split() if name.startswith("nnhost.")}
    assert own == {"nnhost.cli", "nnhost.errors", "nnhost.output"}


# ---- simulate ----


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_simulate(call, folder, engine):
    code, out, err = call("-C", folder, "simulate", "--engine", engine, "--steps", "100", "--json")
    assert code == 0
    (done,) = [json.loads(line) for line in out.splitlines()]
    assert done.keys() == {
        "event", "steps", "epochs", "loss", "train_accuracy", "test_accuracy", "train_loss",
        "test_loss", "exact", "digest", "seconds", "stopped",
    }  # fmt: skip
    assert (done["event"], done["steps"], done["exact"]) == ("done", 100, None)
    assert 0 <= done["test_accuracy"] <= 1
    assert len(done["digest"]) == 16
    assert f"the {engine} simulator" in err


def test_both_engines_print_one_digest(call, folder):
    outs = [call("-C", folder, "simulate", "--engine", e)[1] for e in ("numpy", "native")]
    digests = [out.splitlines()[-1] for out in outs]
    assert digests[0] == digests[1]
    assert digests[0].startswith("digest of the state ")


def test_many_trainings_at_once(call, folder):
    many = ["simulate", "--seeds", "3", "--sweep", "train.lr=0.01,0.02", "--steps", "60"]
    code, out, _ = call("-C", folder, *many, "--json")
    assert code == 0
    events = [json.loads(line) for line in out.splitlines()]
    assert [e["event"] for e in events] == ["run"] * 6 + ["spread"] * 2 + ["done"]
    single = ["--set", "train.lr=0.02", "--set", "train.seed=3", "--steps", "60", "--json"]
    alone = json.loads(call("-C", folder, "simulate", *single)[1])
    (same,) = [e for e in events if (e.get("set"), e.get("seed")) == ("train.lr=0.02", 3)]
    assert same["digest"] == alone["digest"]
    code, out, _ = call("-C", folder, *many)
    assert code == 0
    assert "train.lr=0.02  test accuracy" in out
    assert "3 seeds from 1 on" in call("-C", folder, "simulate", "--seeds", "3", "--steps", "9")[1]


# ---- new, boards, doctor ----


def test_new_makes_a_project_that_simulates(call, tmp_path):
    code, out, _ = call("-C", tmp_path, "new", "mine", "--template", "xor", "--board", "qemu-m0")
    assert code == 0
    assert str(tmp_path / "mine") in out
    text = (tmp_path / "mine" / "nn.toml").read_text()
    assert 'name = "qemu-m0"' in text
    assert "[env:simstc8]" in (tmp_path / "mine" / "platformio.ini").read_text()
    assert call("-C", tmp_path / "mine", "simulate", "--steps", "4")[0] == 0
    code, _, err = call("-C", tmp_path, "new", "mine", "--template", "xor")
    assert code == 2
    assert "exists" in err
    assert (tmp_path / "mine" / "nn.toml").read_text() == text


def test_new_for_programs(call, tmp_path):
    _, out, _ = call("new", tmp_path / "a", "--json")
    path = str(tmp_path / "a")
    assert json.loads(out) == {"event": "created", "path": path, "template": "digits"}


def test_new_for_a_board_that_is_none(call, tmp_path):
    assert call("new", tmp_path / "a", "--board", "simstc9")[0] == 2
    assert not (tmp_path / "a").exists()


def test_boards_for_programs(call):
    code, out, _ = call("boards", "--json")
    boards = {b["name"]: b for b in map(json.loads, out.splitlines())}
    assert code == 0
    keys = {"name", "kind", "cpu", "flash", "ram", "clock", "toolchain", "ready", "missing"}
    assert all(keys <= b.keys() for b in boards.values())
    assert boards["simstc8"]["kind"] == "virtual"
    assert boards["simstc8"]["ram"]["xram"] == 8192
    assert boards["stc89c52rc"]["kind"] == "real"
    assert isinstance(boards["host"]["ready"], bool)


def test_boards_for_people(call):
    _, out, _ = call("boards")
    board = get("simstc8")
    line = next(line for line in out.splitlines() if line.startswith("simstc8"))
    clock = f"{board.clock / 1e6:g} MHz"
    assert " ".join(line.split()) == (
        f"simstc8 8052 64 KB 256 B iram + 8 KB xram {clock} {board.status}"
    )


def test_a_missing_compiler(call, folder, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    code, out, _ = call("-C", folder, "doctor")
    assert code == 1
    assert "✗  gcc" in out
    assert "apt-get install gcc" in out
    _, out, _ = call("-C", folder, "doctor", "--json")
    checks = {c["name"]: c for c in map(json.loads, out.splitlines())}
    assert checks["gcc"]["ok"] is False
    assert checks["gcc"]["needed"] is True
    assert checks["sdcc"]["needed"] is False
    _, out, _ = call("boards", "--json")
    host = next(b for b in map(json.loads, out.splitlines()) if b["name"] == "host")
    assert (host["ready"], host["missing"]) == (False, ["gcc"])


@pytest.mark.parametrize("verb", ["flash", "watch", "verify", "pull -o w.npz"])
def test_a_virtual_board_has_no_port(call, folder, verb):
    code, _, err = call("-C", folder, *verb.split(), "--board", "host", "--port", "/dev/ttyUSB0")
    assert code == 2
    assert err.splitlines()[0] == "error: --port: host has no port"


def test_simulate_refuses_a_board_that_is_none(call, folder):
    code, _, err = call("-C", folder, "simulate", "--set", "board.name=simstc9", "--steps", "1")
    assert (code, err.splitlines()[1]) == (2, "help: did you mean simstc8?")


def test_doctor_knows_versions_and_what_is_still_to_be_downloaded(call, tmp_path):
    call("new", tmp_path / "mine")
    out = call("-C", tmp_path / "mine", "doctor", "--set", "board.name=microbit", "--json")[1]
    checks = {c["name"]: c for c in map(json.loads, out.splitlines())}
    assert all(
        re.fullmatch(r"\d+(\.\d+)+", checks[name]["detail"])
        for name in ("platformio", "sdcc", "gcc", "s51", "qemu-system-arm", "arm-none-eabi-gcc")
    )
    (board,) = [c for name, c in checks.items() if name.startswith("microbit")]
    assert (board["ok"], board["needed"]) == (False, False)
    assert "nordicnrf51 is downloaded" in board["detail"]
    assert "pio pkg install" in board["cure"]


def test_doctor_without_a_project(call, tmp_path):
    code, out, _ = call("-C", tmp_path, "doctor")
    assert code == 0
    assert "platformio" in out


def test_the_table_of_memories():
    from pathlib import Path

    from rich.console import Console

    from nnhost.build import Built
    from nnhost.tables import memory_table

    console = Console(width=80)
    with console.capture() as shown:
        ram = {"iram": 200, "xram": 3000}, {"iram": 256, "xram": 8192}
        console.print(memory_table(Built(Path("x"), 1, 16384, 65536, *ram)))
    rows = [line.split() for line in shown.get().splitlines()]
    assert rows[1:] == [
        ["flash", "16,384", "65,536", "bytes", "25%"],
        ["iram", "200", "256", "bytes", "78%"],
        ["xram", "3,000", "8,192", "bytes", "37%"],
    ]
