"""Mean squared error of linear outputs: loss = mean (y - t)^2, gradient 2 (y - t) / K.

A residual that saturates acts as a clipped gradient.
"""

from __future__ import annotations

from nnhost.ir import Expr, Map, Var, total
from nnhost.losses import residual
from nnhost.losses.base import Outputs, Real, loss_buffer


def squares(k: Var, error: Expr, fraction: int) -> Expr:
    """The sum of squared errors with `fraction` fraction bits."""
    # A square has up to 30 bits: the sum keeps 16 fraction bits of it.
    return total(k, (error * error) >> (2 * fraction - residual.LOSS_FRACTION))


def _measure(o: Outputs) -> list[Map]:
    k = Var("k", o.count)
    loss = squares(k, o.delta[k], o.delta_fraction)
    return [
        Map("delta_out", o.delta, (k,), residual.residual(o, k), doc="output - target"),
        Map("loss", loss_buffer(loss), (), loss, doc="sum of squared errors"),
    ]


def _real(z: Real, t: Real) -> tuple[float, Real]:
    error = z - t
    return float(error @ error) / len(z), 2.0 * error / len(z)


MSE = residual.make("mse", _measure, _real, 2.0)
