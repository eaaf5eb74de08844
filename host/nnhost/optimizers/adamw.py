"""AdamW: Adam whose weights decay beside the gradient, by lr * l2 * w (Loshchilov and Hutter,
2019)."""

from __future__ import annotations

from dataclasses import replace

from nnhost.optimizers.adam import ADAM

ADAMW = replace(ADAM, name="adamw", l2=0.01, decoupled=True)
