"""What follows the backward pass: an ordered list of kinds of steps, each in a file of its own.

    check       is the gradient finite; clip its norm
    sweep       the update rule, over runs of the parameter buffer

Design: records marked ``update`` run only when loss and gradient are finite, so a failed step leaves the model as it
was. The list is data made by the trainer; its numbers are columns (columns.py), so it is made again only when another
rule or another kind of step is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import Step, Tensor, numel, single
from ...nn.store import Store
from ...optim import Optimizer
from .buffers import GRADIENT, PARAMS, SLOTS, STATE, Buffers
from .check import check_steps, product_checks
from .columns import Clock, Columns
from .products import Product, take_products
from .sweep import Run, merged, sweep_steps

__all__ = [
    "GRADIENT",
    "PARAMS",
    "SLOTS",
    "STATE",
    "Buffers",
    "Clock",
    "Product",
    "Update",
    "state_step",
    "take_products",
]


class Update:
    """The update of one trainer.

    optimizer: of all parameters. ``signature``: all that its steps follow from. ``columns``: their numbers.
    """

    def __init__(self, optimizer: Optimizer):
        self.optimizer = optimizer
        self.columns = Columns()
        self.clip = self.columns.add({"clip_norm": optimizer.clip_norm or 0.0})
        self.column = self.columns.add(optimizer.columns())

    @property
    def slots(self) -> tuple[str, ...]:
        return self.optimizer.slots

    @property
    def takes_products(self) -> bool:
        """Whether nobody but the sweep needs the gradient."""
        return self.optimizer.clip_norm is None

    @property
    def signature(self) -> tuple[object, ...]:
        return self.optimizer.signature

    def steps(self, buffers: Buffers, store: Store, loss: Tensor, products: Sequence[Product]) -> list[Step]:
        """The first steps are the checks of the products, in their order."""
        at, tables = 0, []
        apart = [(p.offset, p.size) for p in products]
        apart += [(p.offset, p.room) for p in store.parameters.values() if p.frozen]
        for offset, n in [*sorted(apart), (store.params.size, 0)]:
            if offset > at:
                tables.append(merged([Run(at, offset - at, self.column)]))
            at = offset + n
        spans = [(table[0].offset, sum(run.n for run in table)) for table in tables]
        checks, scale = check_steps(buffers, spans, loss, store.dtype, self.clip)
        taken = [(p, self.column) for p in products]
        sweeps = sweep_steps(buffers, self.optimizer, scale, store.params.itemsize, tables, taken)
        return [*product_checks(products), *checks, *sweeps]


def state_step(target: Tensor, value: Tensor) -> Step:
    """A state buffer takes a new value."""
    n = numel(value.shape)
    fields = {
        "y": target,
        "x": value,
        "dim": [n, 1, 1, 1, 1, 1],
        "y_stride": [1, 0, 0, 0, 0, 0],
        "x_stride": [1, 0, 0, 0, 0, 0],
        "itemsize": "itemsize",
    }
    return single("copy", fields, (target,), (value,), units=n, update=True, scope="state")
