"""Small nets on simulated boards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from helpers.damage import Chance
from helpers.simulated import World, compile_board

from nnhost.generate import Network, prepare
from nnhost.link.messages import WINDOW_MOST
from nnhost.outcome import Result
from nnhost.project import Project, load_project
from nnhost.simulation import simulate

#: Samples that need two frames, batches, and momentum: 33 steps, and 13 frames to read the state.
WIDE = """
[net]
hidden = [3]
[train]
lr = 0.02
epochs = 3
batch = 4
optimizer = "momentum"
seed = 5
[data]
source = "breast_cancer"
test = 0.98
"""

#: A state that fits a frame.
SMALL = """
[net]
hidden = [2]
loss = "binary-cross-entropy"
[train]
lr = 0.25
epochs = 9
batch = 3
[data]
source = "xor"
test = 0
"""


#: Parts of the state come from the host, every third step.
WRITTEN = """
[net]
hidden = [2]
loss = "mse"
[train]
lr = 0.05
epochs = 9
optimizer = "kfac"
kfac_every = 3
[data]
source = "xor"
test = 0
"""


#: Runs whose end hangs on what they have seen; the first two end early, the third does not.
ENDINGS = {
    "early_stopping": """
[net]
hidden = [3]
[train]
lr = 0.5
epochs = 40
early_stopping = 2
min_delta = 0.001
[data]
source = "iris"
test = 0.8
validation = 0.5
""",
    "stop_loss": """
[net]
hidden = [4]
[train]
lr = 0.25
epochs = 40
stop_loss = 0.3
schedule = "plateau"
[data]
source = "iris"
test = 0.8
""",
    "max_time": """
[net]
hidden = [2]
[train]
lr = 0.1
epochs = 3
max_time = 1000
[data]
source = "iris"
test = 0.8
validation = 0.3
""",
    "online": """
[net]
hidden = [3]
[train]
lr = 0.1
batch = 4
online = true
[data]
source = "iris"
""",
}
#: Bytes that a port keeps: a frame of 32 bytes, as a Cortex-M does.
ROOM = 48


@dataclass(frozen=True)
class Bench:
    """A net, its firmware by the window of the link, and what an undisturbed training comes to."""

    project: Project
    network: Network
    libraries: dict[int, Path]
    reference: Callable[[int | None], Result]

    def world(self, chance: Chance | None = None, window: int = WINDOW_MOST) -> World:
        """A board that has just been powered on."""
        return World(self.libraries[window], chance, room=ROOM if window > 1 else 0)


def _bench(folder: Path, text: str) -> Bench:
    (folder / "nn.toml").write_text(text + '[board]\nname = "host"\n')
    project = load_project(folder)
    network = prepare(project)
    network = replace(network, test=network.test[:3])
    found: dict[int | None, Result] = {}

    def reference(steps: int | None) -> Result:
        if steps not in found:
            found[steps] = simulate(project, steps=steps)
        return found[steps]

    windows = range(1, WINDOW_MOST + 1)
    libraries = {n: compile_board(network, folder / str(n), n) for n in windows}
    return Bench(project, network, libraries, reference)


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return _bench(tmp_path_factory.mktemp("wide"), WIDE)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return _bench(tmp_path_factory.mktemp("small"), SMALL)


@pytest.fixture(scope="session")
def endings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    """A bench by the key that may end its run, or WRITTEN."""

    @cache
    def bench(key: str) -> Bench:
        return _bench(tmp_path_factory.mktemp(key), (ENDINGS | {"kfac": WRITTEN})[key])

    return bench


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return _bench(tmp_path_factory.mktemp("written"), WRITTEN)
