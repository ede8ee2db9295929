"""What follows the backward pass: an ordered list of kinds of steps, each in a file of its own.

    accumulate    the gradient of several batches becomes one
    reduce        over several trainers, by the caller
    check         is it finite; clip its norm
    sweep         the update rule, over runs of the parameter buffer, with penalties (penalties.py), or over the rows of
                  a table that the batch has touched (rows.py)
    constraints   parameters go back to where they may be
    averages      follow the parameters

Design: records marked ``update`` run only when loss and gradient are finite, so a failed step leaves the model as it
was. The list is data made by the trainer: a kind has a function that gives its steps, asks for columns (columns.py)
for its numbers, and says what of it a plan depends on. So numbers change without a new plan. What is small or rare
(constraints, averages, accumulation) is written in traced ops (traced.py). Rejected: kinds that call one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...averaging import Average
from ...constraints import Constraint
from ...errors import ArgumentError
from ...ir import Step, Tensor
from ...nn.store import Store
from ...optim.base import Optimizer, richest
from ...regularizers import Regularizer
from .accumulate import accumulation_columns, accumulation_steps
from .averages import average_columns, average_steps, check_average
from .buffers import GRADIENT, PARAMS, SLOTS, STATE, Buffers, state_step
from .check import check_steps, product_checks
from .columns import Clock, Columns, Rows
from .constraints import constraint_columns, constraint_steps
from .groups import by_name, check_groups, check_patterns, group_optimizers, pattern_of, sparse_names
from .penalties import SoftThreshold, penalty, penalty_columns
from .products import Product, products_of_optimizer
from .reduce import check_reduce, reduce_steps
from .rows import TouchedRows, rows_sweep, touched_rows
from .state import UpdateState
from .sweep import Run, merged, sweep_steps

__all__ = [
    "GRADIENT",
    "PARAMS",
    "SLOTS",
    "STATE",
    "Buffers",
    "Clock",
    "Product",
    "TouchedRows",
    "Update",
    "UpdateState",
    "products_of_optimizer",
    "touched_rows",
]


class Update:
    """The update of one trainer: settings, checked, and for a model what follows from them.

    optimizer: of all parameters. groups, regularizers, constraints, average, accumulate, reduce: as Trainer
    takes them.
    ``arrange`` makes the rest: ``columns``, and ``signature``, all that the steps follow from.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        groups: Any = None,
        regularizers: Any = None,
        constraints: Any = None,
        average: Any = None,
        accumulate: int = 1,
        reduce: Any = None,
    ):
        self.optimizer = optimizer
        self.groups = check_groups(optimizer, groups)
        self.regularizers = check_patterns("regularizers", regularizers, Regularizer, "{'0.weight': hf.L2(1e-4)}")
        self.constraints = check_patterns("constraints", constraints, Constraint, "{'*.weight': hf.MaxNorm(3.0)}")
        self.average: Average | None = check_average(average)
        whole = isinstance(accumulate, int | np.integer) and not isinstance(accumulate, bool)
        if not whole or not 1 <= accumulate < 1 << 63:
            raise ArgumentError(f"accumulate must be a whole number of batches >= 1, got {accumulate!r}")
        self.accumulate = int(accumulate)
        self.reduce, self.trainers = check_reduce(reduce)
        rules = [optimizer.rule, *(o.rule for o in group_optimizers(optimizer, self.groups, None).values())]
        self.rule = richest(rules)
        self._arranged: Any = None
        self.columns = Columns()
        self.signature: tuple[Any, ...] = ()

    @property
    def slots(self) -> dict[str, str]:
        """State buffers by name, in their order: "parameters" or "state", whose size they have."""
        names = dict.fromkeys(self.optimizer.slots_of(self.rule), "parameters")
        if self.accumulate > 1:
            names["gradient_sum"] = "parameters"
        if self.average is not None:
            names |= {"average": "parameters", "average_state": "state"}
        return names

    @property
    def takes_products(self) -> bool:
        """Whether nobody but the sweep needs the gradient."""
        return self.optimizer.clip_norm is None and self.accumulate == 1 and self.reduce is None

    @property
    def gradient_number(self) -> int:
        """Of the buffer with the gradient that the sweep takes."""
        return SLOTS + list(self.slots).index("gradient_sum") if self.accumulate > 1 else GRADIENT

    def arrange(self, store: Store, state: UpdateState) -> None:
        """For what is trained of a model now, and how often each parameter has been updated before."""
        trainable = store.trainable
        state.follow(trainable)
        key = (store, tuple(trainable), tuple(map(state.lags.__getitem__, trainable)))
        if self._arranged == key:
            return
        self._arranged = key
        names = list(store.parameters)
        self.penalties: dict[str, Regularizer] = by_name("regularizers", self.regularizers, names)
        limits: dict[str, Constraint] = by_name("constraints", self.constraints, names)
        own = group_optimizers(self.optimizer, self.groups, names)
        columns = self.columns = Columns()
        self.clip = columns.add({"clip_norm": self.optimizer.clip_norm or 0.0})
        self.of_accumulation = columns.add(accumulation_columns(self.accumulate)) if self.accumulate > 1 else 0
        self.of_average = columns.add(average_columns(self.average, self.accumulate)) if self.average else 0
        every = self.accumulate  # in functions, self would be a circle that keeps the model's memory
        active = Rows(lambda clock: clock.active(every)) if every > 1 else 1.0
        sets: dict[Any, int] = {}
        self.column_of: dict[str, int] = {}
        for name in trainable:
            optimizer, regularizer, lag = own.get(name, self.optimizer), self.penalties.get(name), state.lags[name]
            chosen = (id(optimizer), id(regularizer), lag)
            if chosen not in sets:
                since = Rows(lambda clock, lag=lag: clock.since(lag, every))  # type: ignore[misc]
                common = {
                    "since": since,
                    "active": active,
                    **penalty_columns(regularizer, pattern_of(self.regularizers, regularizer)),
                }
                sets[chosen] = columns.add(optimizer.columns(self.rule, common))
            self.column_of[name] = sets[chosen]
        self.thresholds: dict[str, tuple[Constraint, int]] = {}
        for k, regularizer in self.penalties.items():
            if regularizer.proximal and k in trainable:
                step = SoftThreshold(
                    own.get(k, self.optimizer).lr, regularizer, pattern_of(self.regularizers, regularizer)
                )
                self.thresholds[k] = step, columns.add(step.numbers)
        self.limits = {
            k: (limits[k], columns.add(constraint_columns(limits[k], pattern_of(self.constraints, limits[k]))))
            for k in trainable
            if k in limits
        }
        alone = self.accumulate == 1 and self.reduce is None and self.average is None  # who else needs every row
        whole = {*limits, *self.thresholds}
        self.sparse = [k for k in sparse_names(self.groups, names) if alone and k in trainable and k not in whole]
        self.runs = self._runs(store, trainable)
        self.signature = (
            self.rule,
            self.optimizer.clip_norm is not None,
            tuple(self.runs),
            tuple((k, self.column_of[k]) for k in self.sparse),
            tuple((k, c.signature, column) for of in (self.thresholds, self.limits) for k, (c, column) in of.items()),
            type(self.average),
            self.accumulate > 1,
            self.trainers,
        )

    def _runs(self, store: Store, trainable: Mapping[str, Any]) -> list[Run]:
        """Each trained parameter with the padding behind it."""
        starts = [p.offset for p in store.parameters.values()] + [store.params.size]
        ends = dict(zip(store.parameters, starts[1:], strict=True))
        return merged([Run(p.offset, ends[k] - p.offset, self.column_of[k]) for k, p in trainable.items()])

    def steps(
        self,
        buffers: Buffers,
        store: Store,
        loss: Tensor,
        products: Sequence[Product],
        touched: Sequence[TouchedRows],
        new_state: Sequence[tuple[Tensor, Tensor]],
    ) -> list[Step]:
        """The first steps are the checks of the products, in their order. new_state: state buffers and their values."""
        slots = list(self.slots)
        tables = _between(self.runs, [*products, *touched])
        source, steps = self.gradient_number, product_checks(products)
        if self.accumulate > 1:
            steps += accumulation_steps(buffers, store, source, self.of_accumulation)
        if self.reduce is not None:
            steps += reduce_steps(buffers, store, source)
        elsewhere = [t.gradient for t in touched]
        checks, scale = check_steps(buffers, tables, loss, store.dtype, self.clip, source, elsewhere)
        taken = [(p, self.column_of[p.name]) for p in products]
        n_slots = len(self.optimizer.slots_of(self.rule))
        steps += checks
        item = store.params.itemsize
        steps += sweep_steps(buffers, self.rule, n_slots, scale, item, tables, taken, source)
        for t in touched:
            steps.append(rows_sweep(buffers, self.rule, n_slots, scale, item, t, self.column_of[t.name]))
        active = self.of_accumulation + 2 if self.accumulate > 1 else None
        for behind in (self.thresholds, self.limits):
            steps += constraint_steps(buffers, store, behind, active)
        steps += [state_step(target, value) for target, value in new_state]
        if self.average is not None:
            steps += average_steps(buffers, store, SLOTS + slots.index("average"), self.of_average)
        return steps

    def penalty(self, store: Store, clock: Clock) -> float:
        """The sum of all penalties at the parameters as they are."""
        return penalty(self.penalties, store, clock)


def _between(runs: Sequence[Run], products: Sequence[Product | TouchedRows]) -> list[list[Run]]:
    """The runs cut at the products, at tables of rows and at what is not trained, as tables without a hole."""
    tables: list[list[Run]] = []
    cuts = sorted((p.offset, p.offset + p.size) for p in products)
    for run in runs:
        at, end = run.offset, run.offset + run.n
        for first, last in [*[c for c in cuts if at <= c[0] < end], (end, end)]:
            if first > at:
                part = Run(at, first - at, run.column)
                joined = tables and tables[-1][-1].offset + tables[-1][-1].n == at
                if joined:
                    tables[-1].append(part)
                else:
                    tables.append([part])
            at = last
    return tables
