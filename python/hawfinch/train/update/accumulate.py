"""Gradient accumulation: the gradients of k batches, weighted by what their losses are divided by, are one.

That is their rows, the sum of their weights, or the count of what is not missing in them.

k that does not divide an epoch: its last batches, fewer than k, update at its end.
"""

from __future__ import annotations

from typing import Any

from ... import ops
from ...compiler.memory import Dynamic
from ...ir import Step, Tensor
from ...nn.store import Store
from .buffers import GRADIENT, Buffers
from .columns import Rows
from .traced import traced_steps


def accumulation_columns(every: int) -> dict[str, Any]:
    """continues: 0 in the first batch of a sum. share: of the batch in the weight of its sum. active: 1 in its last."""
    return {
        "continues": Rows(lambda clock: clock.continues(every)),
        "share": Rows(lambda clock: clock.share(every)),
        "active": Rows(lambda clock: clock.active(every)),
    }


def accumulation_steps(buffers: Buffers, store: Store, number: int, column: int) -> list[Step]:
    """number: of the buffer that holds the sum."""
    n = store.params.size

    def add(total: Tensor, g: Tensor, continues: Tensor, share: Tensor) -> Any:
        part = share * g
        return ops.where(ops.greater(continues, 0.0), total + part, part)  # what a failed batch left is not read

    arrays = [((n,), Dynamic(number)), ((n,), Dynamic(GRADIENT))]
    return traced_steps(buffers, store, add, arrays, [column, column + 1], Dynamic(number), "accumulate")
