"""Rules by instruction set, one file each; `rules` says what a rule is."""

from __future__ import annotations

from nnhost.kernels import cortex_m, mcs51, native
from nnhost.kernels.rules import Rules

#: Instruction set -> its rules. Folders of firmware/kernels have these names.
RULES: dict[str, Rules] = {
    "mcs51": mcs51.RULES,
    "native": native.RULES,
    "thumb1": cortex_m.SCALAR,
    "thumb2": cortex_m.SCALAR,
    "dsp": cortex_m.DSP,
    "mve": cortex_m.MVE,
}

__all__ = ["RULES"]
