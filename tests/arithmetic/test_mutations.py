"""A mistake in one reading is seen by comparing it with another: the checks themselves, checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import bare_boards
from helpers.drawn_nets import first_rows

from nnhost.generate import Network, prepare
from nnhost.paths import examples_dir
from nnhost.project import BuildSpec, load_project
from nnhost.simulator import Simulator


@pytest.fixture(scope="module")
def network() -> Network:
    """Two dozen steps of the digits example, its rows in flash."""
    overrides = ["data.delivery=flash", "train.epochs=1"]
    return first_rows(prepare(load_project(examples_dir() / "digits", overrides)), 24)


def replacing(pattern: str, by: str) -> Callable[[str], str]:
    """An edit of the first place where `pattern` stands; it must stand there."""

    def edit(text: str) -> str:
        changed, count = re.subn(pattern, by, text, count=1)
        assert count == 1, f"nothing like {pattern!r} in the generated C"
        return changed

    return edit


def test_a_dropped_cast_is_right_on_the_host_and_wrong_on_the_8051(
    network: Network, tmp_path: Path
) -> None:
    # exp(-gap) * 256 needs 24 bits: `int` has them on the host, and 16 on the 8051.
    edit = replacing(r"\(uint32_t\)(nn_exp\[[^;]*?\]\]) \* 256", r"(uint32_t)(\1 * 256)")
    wanted = bare_boards.expected(network)
    plain = replace(network, project=replace(network.project, build=BuildSpec("portable")))
    assert bare_boards.host(network, tmp_path / "host", edit) == wanted
    assert bare_boards.mcs51(plain, tmp_path / "mcs51") == wanted
    assert bare_boards.mcs51(plain, tmp_path / "broken", edit) != wanted


def test_floor_for_half_up_is_seen(network: Network, tmp_path: Path) -> None:
    edit = replacing(r"\((sum\d+) \+ \d+\) >>", r"(\1 + 0) >>")
    assert bare_boards.host(network, tmp_path, edit) != bare_boards.expected(network)


def test_a_wrong_shift_is_seen_on_a_cortex_m(network: Network, tmp_path: Path) -> None:
    def edit(text: str) -> str:
        head, update = text.split("static void nn_map_factor1", 1)
        return (
            head
            + "static void nn_map_factor1"
            + replacing(r">> (\d+)U\)", r">> (\1U - 1U))")(update)
        )

    got = bare_boards.cortex_m(network, tmp_path, "qemu-m4", edit)
    assert got != bare_boards.expected(network)


def test_a_mistake_in_the_numpy_reading_is_seen(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = bare_boards.host(network, tmp_path)
    assert bare_boards.expected(network) == right
    original = Simulator.step

    def forgets_the_bias(self: Simulator, *sample: object) -> object:
        result = original(self, *sample)  # type: ignore[arg-type]
        self.memory["bias1"] = self.memory["bias1"] * 0 + 128
        return result

    monkeypatch.setattr(Simulator, "step", forgets_the_bias)
    assert bare_boards.expected(network) != right
