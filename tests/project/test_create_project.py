"""`create_project` and the examples it copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnhost.data import load
from nnhost.errors import UsageError
from nnhost.paths import examples_dir, firmware_dir
from nnhost.project import TEMPLATES, create_project, load_project

INI = "[platformio]\n"
#: Of templates that are not named after their data.
SOURCES = {
    "mnist": "mnist_sample", "vanishing": "digits", "exploding": "digits",
    "overfitting": "noisy.csv",
}  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_project_works(tmp_path: Path, template: str) -> None:
    root = tmp_path / "my projects" / template
    create_project(root, template, None, INI)
    project = load_project(root)
    dataset = load(project.data, project.train.seed, root)
    assert dataset.name == project.data.source
    assert len(dataset.classes) >= 2
    assert (root / "platformio.ini").read_text() == INI
    assert project.data.source == SOURCES.get(template, template)
    assert (root / "README.md").exists()


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_board_is_put_in(tmp_path: Path, template: str) -> None:
    create_project(tmp_path, template, "qemu-m55", INI)
    project, example = load_project(tmp_path), load_project(examples_dir() / template)
    assert project.board.name == "qemu-m55"
    assert (project.net, project.train, project.data) == (example.net, example.train, example.data)


def test_every_example_is_a_template() -> None:
    folders = {path.parent.name for path in examples_dir().glob("*/nn.toml")}
    assert folders == set(TEMPLATES)


def test_the_root_of_the_repository_is_the_digits_project() -> None:
    root = Path(__file__).parents[2]
    assert (root / "nn.toml").read_text() == (examples_dir() / "digits" / "nn.toml").read_text()
    assert firmware_dir() == root / "firmware"


@pytest.mark.parametrize("name", ["nn.toml", "platformio.ini", "README.md", ".gitignore"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=f"{name} exists"):
        create_project(tmp_path, "xor", None, INI)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "flowers.csv").write_text("mine")
    create_project(tmp_path, "xor", None, INI)
    assert (tmp_path / "flowers.csv").read_text() == "mine"


def test_unknown_templates_and_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        create_project(tmp_path, "digit", None, INI)
    assert caught.value.help == 'did you mean "digits"?'
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        with pytest.raises(UsageError, match="cannot write"):
            create_project(tmp_path / folder, "xor", None, INI)
