"""The order of training: which row at which step, and where batches and epochs begin and end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nnhost.plan import Plan


@dataclass(frozen=True)
class Visit:
    """One training step. `step` counts from 1, `epoch` from 1; `first` and `last` of its batch;
    `opens` tells that a new epoch begins, whose visiting order must be drawn before."""

    step: int
    epoch: int
    row: int
    first: bool
    last: bool
    opens: bool


def visits_in_order(plan: Plan) -> Iterator[Visit]:
    """One step for each row, as they lie: online, where no order is drawn."""
    for row in range(plan.rows):
        step = row + 1
        last = step % plan.batch == 0 or step == plan.rows
        yield Visit(step, 1, row, row % plan.batch == 0, last, opens=False)


def visits(
    plan: Plan,
    new_order: Callable[[], None],
    pick: Callable[[int], int],
    epochs: int,
    done: int = 0,
) -> Iterator[Visit]:
    """All steps of `epochs` epochs but the first `done`. `new_order` draws an order; `pick` maps a
    position to a row, where rows from `plan.rows` on do not exist and are passed over. The last
    batch of an epoch may be smaller than the others."""
    step = done - done % plan.rows
    for epoch in range(step // plan.rows + 1, epochs + 1):
        if step >= done:
            new_order()
        seen = 0
        for position in range(1 << plan.order_bits):
            row = pick(position)
            if row >= plan.rows:
                continue
            step += 1
            seen += 1
            if step <= done:
                continue
            yield Visit(
                step,
                epoch,
                row,
                first=(seen - 1) % plan.batch == 0,
                last=seen % plan.batch == 0 or seen == plan.rows,
                opens=seen == 1,
            )
