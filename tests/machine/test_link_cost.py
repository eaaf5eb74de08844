"""What digests and the link take of a training step on an 8051.

Counted from the STEP being complete in memory to its answer being ready to be sent: its checksum,
COBS and rules, the report, every sixteenth time with digests, and the same of the answer. Not what
its sample takes, which has come in SAMPLEs before it, nor what the line does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nnhost import boards, build, project
from nnhost.generate import prepare
from nnhost.link import STEPS_A_SLICE, Flag, messages
from nnhost.link.frames import DELIMITER, Frame, decode, encode
from nnhost.machine.mcs51 import _OUTSIDE, _SP, Mcs51, _sfr
from nnhost.paths import firmware_dir
from nnhost.simulation import rehearse
from nnhost.simulator import Simulator

STEPS = 2 * STEPS_A_SLICE
MOST = 0.06  # of the training step itself
MOST_FLASH = 8192  # of the whole firmware, for the chips that have no more
SESSION = 0x1234


class Chip(Mcs51):
    """An 8051 whose port is here, and takes no time. `link` and `training` are the cycles spent
    between requests and their answers."""

    def __init__(self, image: Path) -> None:
        super().__init__(image)
        self.call("nn_port_init")
        self.sequence = 0
        self.waiting: list[int] = []
        self.said = bytearray()
        self.busy = False
        self.link = self.training = 0
        port: dict[str, Callable[[int], int]] = {
            "nn_port_listen": self._listen,
            "nn_port_read": self._read,
            "nn_port_write": self._write,
        }
        self.port = {self.symbol(name): function for name, function in port.items()}

    def _listen(self, on: int) -> int:
        self.busy = not on & 255
        return on

    def _read(self, _: int) -> int:
        return self.waiting.pop(0)

    def _write(self, byte: int) -> int:
        self.busy = False
        self.said.append(byte & 255)
        return byte

    def ask(self, request: messages.Message) -> Frame:
        """The answer to a request."""
        frame = encode(Frame(request.NUMBER, SESSION, self.sequence, request.pack()))
        self.sequence += 1
        self.waiting, self.said = list(frame), bytearray()
        self._serve()
        return decode(bytes(self.said).strip(DELIMITER))

    def _serve(self) -> None:
        """One call of nn_link_serve."""
        training = {self.symbol("nn_train_step"), self.symbol("nn_epoch")}
        memory, sp = self.inside, _sfr(_SP)
        memory[sp] = self.stack + 2
        memory[self.stack + 1], memory[self.stack + 2] = _OUTSIDE & 255, _OUTSIDE >> 8
        pc, a, b, c, v, d = self.symbol("nn_link_serve"), 0, 0, 0, 0, 0
        trained = _OUTSIDE  # where training returns to
        while pc != _OUTSIDE:
            back = memory[memory[sp] - 1] | memory[memory[sp]] << 8
            if pc in self.port:
                d = self.port[pc](d)
                memory[sp] -= 2
                pc = back
                continue
            if pc in training:
                trained = back
            elif pc == trained:
                trained = _OUTSIDE
            run = self.runs.get(pc) or self._translated(pc)
            pc, taken, a, b, c, v, d = run(a, b, c, v, d)
            if trained != _OUTSIDE:
                self.training += taken
            elif self.busy:
                self.link += taken


def test_digits_fit_8_kb_and_the_link_takes_6_percent_of_a_step(tmp_path: Path) -> None:
    root, board = tmp_path / "net", boards.get("simstc8")
    project.create_project(root, "digits", None, build.platformio_ini(str(firmware_dir())))
    loaded = project.load_project(root)
    network = prepare(loaded)
    built = build.build(loaded, board)
    assert built.flash <= MOST_FLASH
    chip = Chip(built.image)
    chip.call("nn_train_reset", loaded.train.seed)
    chip.ask(messages.Hello())
    link = 0
    simulator = Simulator(network.program)
    for visit, expected in rehearse(simulator, network, STEPS):
        sample = network.sample(visit).bytes(0)
        chip.ask(messages.Sample(0, sample))
        chip.link = 0
        flags = visit.first * Flag.FIRST | visit.last * Flag.LAST | visit.opens * Flag.EPOCH
        flags |= (visit.step % STEPS_A_SLICE == 0) * Flag.DIGEST
        answer = chip.ask(messages.Step(visit.step, flags, b""))
        loss, prediction = expected.loss, expected.prediction
        assert answer.payload.startswith(messages.Report(loss, prediction).pack())
        link += chip.link
    share = link / chip.training
    print(f"{link / STEPS:.0f} of {chip.training / STEPS:.0f} cycles, {share:.2%}")
    assert share <= MOST
