from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from nnhost import saved
from nnhost.boards import get
from nnhost.errors import DeviceError, NnhostError
from nnhost.generate import prepare
from nnhost.paths import examples_dir
from nnhost.project import load_project
from nnhost.pull import read_board, tensors
from nnhost.reference import Reference
from nnhost.simulation import simulate
from nnhost.simulator import Simulator

from .conftest import FakeBoard, TextBoard, arrays


@pytest.fixture
def trained(project):
    return simulate(project, steps=50)


@pytest.fixture
def pull(network, tmp_path):
    def pull(board, name="host", file="out/w.npz"):
        read_board(network, get(name), lambda: board, tmp_path / "ram", tmp_path / file)
        return arrays(tmp_path / file)

    return pull


def keep(network, trained, folder, program=0):
    ram = saved.Saved(
        program or network.fingerprint, 0, trained.steps, trained.state, trained.losses
    )
    saved.save(folder, ram)


def test_a_virtual_board_is_given_its_ram_back(network, trained, pull, board, tmp_path):
    keep(network, trained, tmp_path / "ram")
    file = pull(board)
    assert file["state"].tobytes() == trained.state
    assert file["step"] == 50
    assert np.array_equal(file["losses"], trained.losses)
    assert str(file["digest"]) == trained.digest
    assert str(file["program"]) == f"{network.fingerprint:08X}"
    assert board.simulator.state() == trained.state  # it went through the board
    assert board.closed


def test_weights_are_there_as_reals_and_as_integers(network, trained, pull, board, tmp_path):
    keep(network, trained, tmp_path / "ram")
    file = pull(board)
    formats = json.loads(str(file["formats"]))
    assert formats["sizes"] == [2, 4, 1]
    state = np.frombuffer(trained.state, "<i2")
    assert np.array_equal(file["weight1_int"], state[:8].reshape(4, 2))
    assert np.array_equal(file["bias1_int"], state[8:12])
    for n, layer in enumerate(formats["layers"], 1):
        for name in (f"weight{n}", f"bias{n}"):
            integers = file[f"{name}_int"].astype(float)
            real = (integers - layer["weight_offset"]) / 2 ** layer["weight_fraction"]
            assert np.array_equal(file[name], real)
    assert "velocity1" not in file


def computed(file, x):
    """The logits (N, K) of samples x (N, n) by the weights in a file, two hidden layers of tanh."""
    for n in (1, 2):
        x = np.tanh(x @ file[f"weight{n}"].T + file[f"bias{n}"])
    return x @ file["weight3"].T + file["bias3"]


def test_batch_norm_is_folded_into_the_weights():
    """The layers alone, without normalisation, compute what the trained net computes."""
    overrides = ["net.batch_norm=true", "net.hidden=[6, 5]", "net.activation=tanh",
                 "train.batch=8", "train.optimizer=momentum", "train.epochs=3"]  # fmt: skip
    network = prepare(load_project(examples_dir() / "iris", overrides))
    state = simulate(network.project, engine="native").state
    file = tensors(network, state)
    assert {file[f"{kind}velocity1"].size for kind in ("", "bias_", "gamma_")} == {24, 6}
    simulator, reference = Simulator(network.program), Reference(network.plan)
    simulator.set_state(state)
    reference.load(simulator.memory)
    x = network.plan.layers[0].input.real(network.train.x)
    logits = computed(file, x)
    np.testing.assert_allclose(logits, reference.forward(x)[1][-1], atol=1e-12)
    samples = zip(network.train.x, network.train.target, strict=True)
    board = [simulator.evaluate(x, y).prediction for x, y in samples]
    assert np.mean(logits.argmax(axis=1) == board) > 0.98


@pytest.mark.parametrize(
    "more", [[], ["net.batch_norm=true", "train.batch=8", "train.optimizer=adam"]]
)
def test_pulled_weights_contain_what_dropout_keeps(more):
    overrides = ["net.dropout=[0.25, 0]", "net.hidden=[6, 5]", "net.activation=tanh", *more]
    network = prepare(load_project(examples_dir() / "iris", overrides))
    state = simulate(network.project, engine="native").state
    file = tensors(network, state)
    simulator, reference = Simulator(network.program), Reference(network.plan)
    simulator.set_state(state)
    reference.load(simulator.memory)
    x = network.plan.layers[0].input.real(network.train.x)
    logits = computed(file, x)
    np.testing.assert_allclose(logits, reference.forward(x)[1][-1], atol=1e-12)


def test_velocities_are_there_where_the_optimizer_has_them(project, tmp_path):
    train = replace(project.train, optimizer="momentum")
    network = prepare(replace(project, train=train))
    board = FakeBoard(network)
    board.simulator.memory["velocity1"] = np.full((4, 2), 3)
    read_board(network, get("host"), lambda: board, tmp_path, tmp_path / "w.npz")
    file = arrays(tmp_path / "w.npz")
    layer = json.loads(str(file["formats"]))["layers"][0]
    assert np.all(file["velocity1"] == 3 / 2 ** layer["velocity_fraction"])
    assert np.all(file["velocity1_int"] == 3)
    assert file["bias_velocity2"].shape == (1,)


def test_nothing_was_trained(network, pull, board):
    file = pull(board)
    assert file["step"] == 0
    assert len(file["losses"]) == 0
    assert file["state"].tobytes() == FakeBoard(network).simulator.state()


def test_what_another_program_left_is_not_put_back(network, trained, pull, board, tmp_path):
    keep(network, trained, tmp_path / "ram", program=network.fingerprint ^ 1)
    assert pull(board)["step"] == 0


def test_a_damaged_ram_is_not_put_back(network, trained, pull, board, tmp_path):
    keep(network, trained, tmp_path / "ram")
    path = tmp_path / "ram" / saved.NAME
    data = bytearray(path.read_bytes())
    data[data.index(trained.state) + 3] ^= 1
    path.write_bytes(data)
    assert pull(board)["step"] == 0


def test_a_real_board_is_only_read(network, trained, pull, tmp_path):
    """It still holds what it learned; the file's losses are those that led there."""
    board = FakeBoard(network, "microbit")
    board.simulator.set_state(trained.state)
    board.step_count = 50
    keep(network, trained, tmp_path / "ram")
    file = pull(board, "microbit")
    assert file["step"] == 50
    assert np.array_equal(file["losses"], trained.losses)
    assert "Write" not in board.asked


def test_losses_of_another_state_are_left_out(network, trained, pull, tmp_path):
    board = FakeBoard(network, "microbit")
    keep(network, trained, tmp_path / "ram")
    file = pull(board, "microbit")
    assert file["step"] == 0
    assert len(file["losses"]) == 0


def test_another_program_on_the_board(pull, board):
    board.program ^= 1
    with pytest.raises(DeviceError, match="runs program"):
        pull(board)


def test_a_state_that_changes_while_it_is_read(pull, board):
    original = board.on_read

    def spoiled(request):
        chunk = original(request)
        return type(chunk)(bytes([chunk.data[0] ^ 1, *chunk.data[1:]]))

    board.on_read = spoiled
    with pytest.raises(DeviceError, match="digest"):
        pull(board)


@pytest.mark.parametrize("file", ["", "taken/w.npz"])
def test_a_file_that_cannot_be_written(pull, board, tmp_path, file):
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(NnhostError, match=r"cannot write .*: (it is a folder|.*taken: )"):
        pull(board, file=file)
    assert not list(tmp_path.glob("**/.*.npz*"))


def test_its_own_file_is_written_anew(pull, network):
    first, second = pull(FakeBoard(network)), pull(FakeBoard(network))
    assert first["state"].tobytes() == second["state"].tobytes()


def test_a_board_that_trains_by_itself_is_waited_for(project, tmp_path):
    network = prepare(replace(project, data=replace(project.data, delivery="flash")))
    board = TextBoard(network)
    read_board(network, get("host"), lambda: board, tmp_path, tmp_path / "w.npz")
    file = arrays(tmp_path / "w.npz")
    assert file["step"] == 120
    assert str(file["digest"]) == simulate(project).digest
