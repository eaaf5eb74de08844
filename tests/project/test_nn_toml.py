"""nn.toml and --set: what is accepted, and that every mistake is named with its line and cure."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnhost.errors import NnhostError, UsageError
from nnhost.project import (
    BoardSpec,
    BuildSpec,
    DataSpec,
    NetSpec,
    TrainSpec,
    load_project,
)

FULL = """\
[net]
hidden = [32, 16]
activation = ["relu", "tanh"]
loss = "mse"
preset = "q16"
init = "glorot"

[train]
optimizer = "momentum"
lr = 0.5
momentum = 0
batch = "full"
epochs = 7
seed = 65535

[data]
source = "flowers.csv"
test = 0.25
scale = "z-score"
delivery = "flash"
label = "species"

[board]
name = "qemu-m4"

[build]
kernels = "portable"
"""

SHORT = """\
[net]
hidden = [16]
[data]
source = "digits"
[board]
name = "simstc8"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nn.toml").write_text(SHORT)
    return tmp_path


def refused(folder: Path, *overrides: str, text: str | None = None) -> UsageError:
    if text is not None:
        (folder / "nn.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_project(folder, overrides)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message + caught.value.help
    return caught.value


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "nn.toml").write_text(FULL)
    project = load_project(tmp_path)
    assert project.net == NetSpec((32, 16), ("relu", "tanh"), "mse", "q16", "glorot")
    assert project.train == TrainSpec("momentum", 0.5, 0.0, 0, 7, 65535)
    assert project.data == DataSpec("flowers.csv", 0.25, "z-score", "flash", "species")
    assert project.board == BoardSpec("qemu-m4")
    assert project.build == BuildSpec("portable")
    assert project.path == tmp_path / "nn.toml"


def test_keys_left_out_have_defaults(folder: Path) -> None:
    project = load_project(str(folder))
    assert project.net == NetSpec((16,), ("relu",), "softmax-cross-entropy", "q8", "he")
    assert project.train == TrainSpec("sgd", 0.03125, 0.9, 1, 3, 1)
    assert project.data == DataSpec("digits", 0.2, "auto", "stream", None)
    assert project.build == BuildSpec("auto")


def test_windows_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "nn.toml").write_bytes(b"\xef\xbb\xbf" + FULL.replace("\n", "\r\n").encode())
    assert load_project(tmp_path).train.epochs == 7


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.lr=1", 1.0),
        ("train.lr = 2e-3", 0.002),
        ("train.batch=full", 0),
        ('train.batch="full"', 0),
        ("train.batch=16", 16),
        ("net.hidden=[]", ()),
        ("net.hidden=[1024, 1]", (1024, 1)),
        ("net.loss=mse", "mse"),
        ("net.batch_norm=true", True),
        ("data.source=my flowers.csv", "my flowers.csv"),
        ("data.source='a=b.csv'", "a=b.csv"),
        ("data.test=0", 0.0),
        ("data.label=species", "species"),
        ("board.name=host", "host"),
    ],
)
def test_overrides(folder: Path, override: str, value: object) -> None:
    project = load_project(folder, [override])
    section, key = override.partition("=")[0].strip().split(".")
    assert getattr(getattr(project, section), key) == value


def test_the_last_override_counts(folder: Path) -> None:
    assert load_project(folder, ["train.seed=2", "train.seed=3"]).train.seed == 3


def test_one_activation_serves_all_hidden_layers(folder: Path) -> None:
    overrides = ["net.activation=tanh", "net.hidden=[4, 3, 2]"]
    assert load_project(folder, overrides).net.activation == ("tanh",) * 3
    assert load_project(folder, ["net.hidden=[]"]).net.activation == ()


def test_dropout_is_of_all_hidden_layers_or_of_each(folder: Path) -> None:
    both = ["net.hidden=[4, 3]", "net.dropout=0.5"]
    assert load_project(folder, both).net.dropout == (0.5, 0.5)
    assert load_project(folder, [both[0], "net.dropout=[0, 0.2]"]).net.dropout == (0.0, 0.2)
    assert load_project(folder, ["net.dropout=[0]"]).net.dropout == ()
    message = refused(folder, "net.dropout=[0.2, 0.2]").message
    assert message.endswith("dropout lists 2 values for 1 hidden layers")
    assert "from 0 up to, not including, 1" in refused(folder, "net.dropout=1").message


def test_activations_and_layers_are_counted_after_the_overrides(tmp_path: Path) -> None:
    (tmp_path / "nn.toml").write_text(FULL)
    both = ["net.hidden=[8]", 'net.activation=["sigmoid"]']
    assert load_project(tmp_path, both).net.activation == ("sigmoid",)
    error = refused(tmp_path, "net.hidden=[8]")
    assert error.message == "nn.toml:3: activation lists 2 values for 1 hidden layers"
    error = refused(tmp_path, 'net.activation=["relu"]')
    assert error.message.startswith('--set net.activation=["relu"]: activation lists 1 values')


@pytest.mark.parametrize(
    ("line", "message", "help"),
    [
        ("[net]\nhiden = 3", '2: unknown key "hiden" in [net]', 'did you mean "hidden"?'),
        ("[net]\n\nlr = 3", '3: unknown key "lr" in [net]', "lr belongs in [train]"),
        ("[nte]\nhidden = 3", "1: unknown section [nte]", 'did you mean "net"?'),
        ("lr = 3", '1: "lr" is not in a section', "lr belongs in [train]"),
        ("\nnet = 3", '2: "net" is not in a section', "write [net] and its keys below it"),
        ("[[net]]\nhidden = [3]", '1: "net" is not in a section', "write [net]"),
        ("# x\n[net]\nhidden =", "3: Invalid value", "toml.io"),
        ("[net]\nhidden = [3\n\n", "2: Unclosed array", "brackets"),
        ("[net]\nhidden = [3]\nhidden = [4]", "3: Cannot overwrite a value", "toml.io"),
        ("[net]\nhidden = 16", "2: hidden must be a list of widths", "for example"),
        ("[net]\nhidden = [\n 3,\n true\n]", "2: hidden must be a list", "not [3, true]"),
        ("[net]\nhidden = [0]", "2: hidden must be a list of widths from 1 to 1024", ""),
        ("[net]\nhidden = [1025]", "2: hidden must be a list of widths from 1 to 1024", ""),
        ("[net]\nhidden = [1.0]", "2: hidden must be a list of widths from 1 to 1024", ""),
        ("net.hidden = [3]\nnet.init = 'hee'", "2: init must be one of he, glorot", '"he"?'),
        ("net = {hidden = [3], preset = 'q4'}", "1: preset must be one of q8, q16", '"q8"?'),
        ("[net]\nactivation = 'rellu'", "2: activation must be one of", '"relu"?'),
        ("[net]\nactivation = ['tanh', 3]", "2: activation must be one of", "there are: linear"),
        ("[net]\nloss = ''", "2: loss must be one of softmax-cross-entropy, mse", "there are:"),
        ("[train]\nlr = 0", "2: lr must be a number above 0, not 0", ""),
        ("[train]\nlr = nan", "2: lr must be a number above 0, not NaN", ""),
        ("[train]\nlr = inf", "2: lr must be a number above 0, not Infinity", ""),
        ("[train]\nlr = '0.1'", '2: lr must be a number above 0, not "0.1"', ""),
        ("[train]\nlr = true", "2: lr must be a number above 0, not true", ""),
        (f"[train]\nlr = 1{'0' * 400}", "2: lr must be a number above 0, not 1000", "..."),
        ("[train]\nmomentum = 1", "2: momentum must be a number from 0 up to", ""),
        ("[train]\nmomentum = -0.1", "2: momentum must be a number from 0 up to", ""),
        ("[train]\nbatch = 0", '2: batch must be a whole number from 1 to 65535, or "full"', ""),
        ("[train]\nbatch = 'half'", "2: batch must be", 'not "half"'),
        ("[train]\nepochs = 0", "2: epochs must be a whole number from 1 to 65535", ""),
        ("[train]\nseed = 65536", "2: seed must be a whole number from 1 to 65535", ""),
        ("[train]\nseed = true", "2: seed must be a whole number", "not true"),
        ("[train]\nseed = 1979-05-27", "2: seed must be a whole number", '"1979-05-27"'),
        ("[data]\ntest = 1.0", "2: test must be a number from 0 up to, not including, 1", ""),
        ("[data]\nsource = ''", "2: source must be a name in quotes", ""),
        ("[data]\nsource = 3", "2: source must be a name in quotes", ""),
        ('[data]\nlabel = "a\\nb"', "2: label must be a name in quotes", r"a\nb"),
        ("[build]\nkernels = 'fast'", "2: kernels must be one of auto, portable", ""),
        ('[net]\n"hid\\nden" = 3', r'2: unknown key "hid\nden" in [net]', "hidden"),
        ("[net]\n[board]\nname = 'host'", " hidden is missing from [net]", "hidden = [16]"),
        ("[net]\nhidden = [1]", " source is missing from [data]", 'source = "digits"'),
        ("[" * 5000, "", ""),
        ("a = " + "[" * 5000, "", ""),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, line: str, message: str, help: str) -> None:
    error = refused(tmp_path, text=line)
    assert error.message.startswith(f"nn.toml:{message}")
    assert help in f"{error.message} {error.help}"


@pytest.mark.parametrize(
    ("override", "message", "help"),
    [
        ("lr", "--set lr: not an override", "section.key=value"),
        ("lr=3", "--set lr=3: not an override", "section.key=value"),
        ("=", "--set =: not an override", "section.key=value"),
        ("trian.lr=3", '--set trian.lr=3: unknown section "trian"', 'did you mean "train"?'),
        ("train.lrr=3", '--set train.lrr=3: unknown key "lrr" in [train]', 'did you mean "lr"?'),
        ("train.hidden=3", "--set train.hidden=3: unknown key", "hidden belongs in [net]"),
        ("train.lr=fast", "--set train.lr=fast: lr must be a number", 'not "fast"'),
        ("train.lr=", "--set train.lr=: lr must be a number", 'not ""'),
        ("net.hidden=16", "--set net.hidden=16: hidden must be a list", "hidden = [16]"),
        ("train.seed=1\nx = 2", r"--set train.seed=1\nx = 2: seed must be", ""),
        ("data.source=a\nb", r"--set data.source=a\nb: source must be a name", ""),
        ("\udcff.x=3", "--set ", "there are: net, train, data, board, build"),
    ],
)
def test_mistakes_in_overrides(folder: Path, override: str, message: str, help: str) -> None:
    error = refused(folder, override)
    assert error.message.startswith(message)
    assert help in f"{error.message} {error.help}"


def test_a_folder_without_a_project(tmp_path: Path) -> None:
    error = refused(tmp_path)
    assert error.message == f"no nn.toml in {tmp_path}"
    assert "nnhost new" in error.help


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "nn.toml").write_bytes(b"\xff\xfe[net]")
    assert "is not text" in refused(tmp_path).message
    (tmp_path / "nn.toml").unlink()
    (tmp_path / "nn.toml").mkdir()
    assert "cannot read" in refused(tmp_path).message


_WORDS = """[net] [train] [data] [board] [[net]] net train.lr hidden batch activation lr seed source
 name = [ ] { } , . # 16 0.5 "q8" relu nan inf -1 true " ' \r\n"""
_TEXTS = st.text() | st.lists(st.sampled_from(_WORDS.split(" "))).map(" ".join)


@given(text=_TEXTS, override=_TEXTS)
def test_no_text_ends_in_anything_but_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, text: str, override: str
) -> None:
    folder = tmp_path_factory.mktemp("project")
    for written, overrides in ((text, []), (SHORT + text, []), (SHORT, [override])):
        (folder / "nn.toml").write_text(written, errors="surrogatepass")
        try:
            project = load_project(folder, overrides)
        except NnhostError as error:
            assert len(error.message.splitlines()) == 1
        else:
            assert len(project.net.hidden) == len(project.net.activation)


@given(
    widths=st.lists(st.integers(1, 1024), max_size=5),
    comments=st.integers(0, 5),
    key=st.sampled_from(["hiddden", "x", '"é"', "deep.er"]),
)
def test_the_line_is_that_of_the_key(
    tmp_path_factory: pytest.TempPathFactory, widths: list[int], comments: int, key: str
) -> None:
    # Before it come a list over several lines and a string that looks like the key.
    before = ["[net]", "hidden = [", *(f"  {width}," for width in widths), "]", "[data]"]
    before += ['label = """\\', "[train]\\", "x = 1\\", 'deep.er = 1"""', "[train]"]
    before += ["# x = 1"] * comments
    text = "\n".join([*before, f"{key} = [", "1]", "[board]", "x = 1"])
    error = refused(tmp_path_factory.mktemp("project"), text=text)
    assert error.message.startswith(f"nn.toml:{len(before) + 1}: unknown key")
