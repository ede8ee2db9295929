"""What follows the backward pass: an ordered list of kinds of steps, each in a file of its own.

    accumulate    the gradient of several batches becomes one
    reduce        over several trainers, by the caller
    check         is it finite; clip its norm, or that of each unit (clip_adaptive.py)
    sweep         the update rule, over runs of the parameter buffer, with penalties (penalties.py), or over the rows of
                  a table that the batch has touched (rows.py), and norms for those who ask (watch.py); or a traced
                  function of a parameter (whole.py)
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

from ..._core import COMMON_COLUMNS
from ...averaging import Average
from ...constraints import Constraint
from ...errors import ArgumentError
from ...ir import Array, Step, Tensor, numel, size_at
from ...nn.store import LINE, Store
from ...optim.base import Optimizer, richest
from ...optim.traced import TracedOptimizer
from ...regularizers import Regularizer
from ...values import matching
from .accumulate import accumulation_columns, accumulation_steps
from .averages import average_columns, average_steps, check_average
from .buffers import GRADIENT, PARAMS, SLOTS, STATE, Buffers, state_step
from .check import check_steps, product_checks
from .clip_adaptive import clip_adaptive_steps
from .columns import Clock, Columns, Rows, of_parameter
from .constraints import constraint_columns, constraint_steps
from .groups import adaptive_limits, by_name, check_groups, check_patterns, group_optimizers, pattern_of, sparse_names
from .penalties import SoftThreshold, penalty, penalty_columns
from .products import Product, products_of_optimizer
from .reduce import check_reduce, reduce_steps
from .rows import TouchedRows, rows_sweep, touched_rows
from .state import UpdateState
from .sweep import Rule, Run, Watched, merged, sums_of_moved, sweep_steps
from .watch import check_watch, norms
from .whole import Slot, Whole, layout, whole_columns, whole_steps

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
    "Watched",
    "products_of_optimizer",
    "touched_rows",
]


class Update:
    """The update of one trainer: settings, checked, and for a model what follows from them.

    optimizer: of all parameters. groups, regularizers, constraints, average, accumulate, reduce, watch: as Trainer
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
        watch: Any = None,
    ):
        self.optimizer, self.kind = optimizer, optimizer.kind
        self.groups, optimizers = check_groups(optimizer, groups)
        self.regularizers = check_patterns("regularizers", regularizers, Regularizer, "{'0.weight': hf.L2(1e-4)}")
        self.constraints = check_patterns("constraints", constraints, Constraint, "{'*.weight': hf.MaxNorm(3.0)}")
        self.average: Average | None = check_average(average)
        if self.average is not None and optimizer.averages:
            raise ArgumentError(f"average={average!r:.60}: {type(optimizer).__name__} averages by itself; leave it out")
        whole = isinstance(accumulate, int | np.integer) and not isinstance(accumulate, bool)
        if not whole or not 1 <= accumulate < 1 << 63:
            raise ArgumentError(f"accumulate must be a whole number of batches >= 1, got {accumulate!r}")
        self.accumulate = int(accumulate)
        self.reduce, self.trainers = check_reduce(reduce)
        self.watch = check_watch(watch)
        if optimizer.searches:
            given = dict(groups=groups, constraints=constraints, average=average, reduce=reduce, watch=watch)
            senseless = [k for k, v in given.items() if v] + ["accumulate"] * (self.accumulate > 1)
            senseless += ["an L1 penalty"] * any(r.l1 != 0 for r in self.regularizers.values())
            if senseless:
                name = type(optimizer).__name__
                raise ArgumentError(
                    f"{name} moves all parameters at once, along a smooth loss: leave out {senseless[0]}"
                )
        self.rule = richest(o.rule for o in optimizers)
        self._layout: Any = None
        self._arranged: Any = None
        self.columns = Columns()
        self.signature: tuple[Any, ...] = ()

    def slots(self, store: Store) -> dict[str, int]:
        """State buffers by name, in their order, and their elements."""
        if self._layout is None or self._layout[0] is not store:
            sizes: dict[str, int] = {}
            places: dict[str, dict[str, Slot]] = {}
            if isinstance(self.optimizer, TracedOptimizer):
                sizes, places = layout(self.optimizer, store)
            n = store.params.size
            sizes = {**dict.fromkeys(self.optimizer.slots_of(self.rule), n), **sizes}
            if self.accumulate > 1:
                sizes["gradient_sum"] = n
            if self.optimizer.searches:
                sizes |= self.optimizer.search_slots(n)
            if self.optimizer.averages:
                sizes["average"] = n
            if self.average is not None:
                sizes |= {"average": n, "average_state": store.buffers.size}
            self._layout = store, sizes, places
        found: dict[str, int] = self._layout[1]
        return found

    @property
    def by_parameter(self) -> bool:
        """Whether each parameter has sums of its own."""
        return bool(self.optimizer.measured or self.watch)

    @property
    def takes_products(self) -> bool:
        """Whether nobody but the sweep needs the gradient."""
        alone = self.accumulate == 1 and self.reduce is None and self.optimizer.clip_norm is None
        return alone and not (self.optimizer.searches or self.optimizer.gradient_twice)

    def gradient_number(self, store: Store) -> int:
        """Of the buffer with the gradient that the sweep takes."""
        return SLOTS + list(self.slots(store)).index("gradient_sum") if self.accumulate > 1 else GRADIENT

    def arrange(self, store: Store, state: UpdateState) -> None:
        """For what is trained of a model now, and how often each parameter has been updated before."""
        trainable = store.trainable
        state.follow(trainable)
        rows = tuple([k for k, p in trainable.items() if p.sparse])
        key = (store, tuple(trainable), tuple(map(state.lags.__getitem__, trainable)), rows)
        if self._arranged == key:
            return
        self._arranged = key
        names = list(store.parameters)
        self.penalties: dict[str, Regularizer] = by_name("regularizers", self.regularizers, names)
        limits: dict[str, Constraint] = by_name("constraints", self.constraints, names)
        parts = {k: self.optimizer.part(k, p.shape) for k, p in store.parameters.items()}
        own = self.own = {**parts, **group_optimizers(parts, self.groups)}
        if isinstance(self.optimizer, TracedOptimizer):
            for pattern in self.optimizer.patterns:
                matching(type(self.optimizer).__name__, pattern, names)
        self.whole: dict[str, Whole] = {}
        columns = self.columns = Columns()
        self.clip = columns.add({"clip_norm": self.optimizer.clip_norm or 0.0})
        self.of_accumulation = columns.add(accumulation_columns(self.accumulate)) if self.accumulate > 1 else 0
        self.of_average = columns.add(average_columns(self.average, self.accumulate)) if self.average else 0
        every = self.accumulate  # in functions, self would be a circle that keeps the model's memory
        active = Rows(lambda clock: clock.active(every)) if every > 1 else 1.0
        sets: dict[Any, tuple[int, tuple[str, ...]]] = {}
        self.column_of: dict[str, int] = {}
        for name in trainable:
            optimizer, regularizer, lag = own[name], self.penalties.get(name), state.lags[name]
            chosen = (id(optimizer), id(regularizer), lag)
            if chosen not in sets:
                since = Rows(lambda clock, lag=lag: clock.since(lag, every))  # type: ignore[misc]
                penalties = penalty_columns(regularizer, pattern_of(self.regularizers, regularizer))
                clip = self.optimizer.clip_value
                if isinstance(optimizer, TracedOptimizer):
                    given = whole_columns(optimizer, clip, regularizer, penalties, every)
                else:
                    common = {"since": since, "active": active, "clip_value": clip or 0.0, **penalties}
                    given = optimizer.columns(self.rule, common)
                sets[chosen] = columns.add(of_parameter(given, lag, every)), tuple(given)
            self.column_of[name] = sets[chosen][0]
            if isinstance(optimizer, TracedOptimizer):
                self.whole[name] = Whole(optimizer, *sets[chosen])
        self.thresholds: dict[str, tuple[Constraint, int]] = {}
        for k, regularizer in self.penalties.items():
            if regularizer.proximal and k in trainable:
                step = SoftThreshold(own[k].lr, regularizer, pattern_of(self.regularizers, regularizer))
                self.thresholds[k] = step, columns.add(step.numbers)
        self.limits = {
            k: (limits[k], columns.add(constraint_columns(limits[k], pattern_of(self.constraints, limits[k]))))
            for k in trainable
            if k in limits
        }
        averaged = self.average is not None or self.optimizer.averages or self.optimizer.searches
        alone = self.accumulate == 1 and self.reduce is None and not averaged  # who else needs every row
        whole = {*limits, *self.thresholds, *self.whole}
        self.sparse = [k for k in sparse_names(self.groups, names, rows) if alone and k in trainable and k not in whole]
        if self.sparse and self.optimizer.measured:
            raise ArgumentError(
                f"groups: sparse and {type(self.optimizer).__name__} exclude each other, for its steps follow from the "
                f"norm of all of {self.sparse[0]!r}"
            )
        limited = adaptive_limits(self.groups, names, self.optimizer.clip_adaptive)
        self.adaptive = {k: columns.add({"clip_adaptive": limited[k]}) for k in trainable if k in limited}
        for name in self.sparse:
            if name in self.adaptive:
                raise ArgumentError(
                    f"groups: sparse and clip_adaptive exclude each other, for {name!r}: set one to None"
                )
        watched = {name for pattern in self.watch for name in matching("watch", pattern, names)}
        self.watched = {name: i for i, name in enumerate(trainable) if name in watched}
        self.moved = [name for name in self.watched if name in self.whole]
        if self.moved:
            self.of_moved = columns.add({**dict.fromkeys(COMMON_COLUMNS, 0.0), "active": active, "lr": 0.0})
        self.places = {p.offset: i for i, p in enumerate(trainable.values())}
        self.runs = self._runs(store, trainable)
        self.swept = self._runs(store, {k: p for k, p in trainable.items() if k not in self.whole})
        self.signature = (
            self.rule,
            tuple((k, w.signature) for k, w in self.whole.items()),
            self.optimizer.clip_norm is not None,
            tuple(self.adaptive.items()),
            tuple(self.runs),
            tuple((k, self.column_of[k]) for k in self.sparse),
            tuple((k, c.signature, column) for of in (self.thresholds, self.limits) for k, (c, column) in of.items()),
            type(self.average),
            self.accumulate > 1,
            self.trainers,
            tuple(self.watched),
            self.of_moved if self.moved else 0,
        )

    def _runs(self, store: Store, trainable: Mapping[str, Any]) -> list[Run]:
        """Each trained parameter with the padding behind it."""
        starts = [p.offset for p in store.parameters.values()] + [store.params.size]
        ends = dict(zip(store.parameters, starts[1:], strict=True))
        runs = [Run(p.offset, ends[k] - p.offset, self.column_of[k]) for k, p in trainable.items()]
        return runs if self.by_parameter else merged(runs)

    def steps(
        self,
        buffers: Buffers,
        store: Store,
        loss: Tensor,
        products: Sequence[Product],
        touched: Sequence[TouchedRows],
        new_state: Sequence[tuple[Tensor, Tensor]],
        watched: Watched | None,
        precision: str,
    ) -> list[Step]:
        """The first steps are the checks of the products, in their order. new_state: state buffers and their values.
        precision: of the products of an optimiser."""
        slots = list(self.slots(store))
        taken_out: list[Product | TouchedRows] = [*products, *touched]
        line = LINE if self.by_parameter else 1
        tables = _between(self.runs, taken_out, line)
        source, steps = self.gradient_number(store), product_checks(products)
        if self.accumulate > 1:
            steps += accumulation_steps(buffers, store, source, self.of_accumulation)
        if self.reduce is not None:
            steps += reduce_steps(buffers, store, source)
        elsewhere = [t.gradient for t in touched]
        checks, scale = check_steps(buffers, tables, loss, store.dtype, self.clip, source, elsewhere)
        taken = [(p, self.column_of[p.name]) for p in products]
        two = self.optimizer.measured, self.optimizer.gradient_twice
        rule = Rule(self.rule, *two, scale, store.params.itemsize, source, watched)
        swept, ranges = _between(self.swept, taken_out, line), list[tuple[int, int]]()
        if self.average is not None and not self.thresholds and not self.limits:  # which move parameters later
            rule = rule._replace(average=(SLOTS + slots.index("average"), self.of_average))
            ranges = [(run.offset, run.offset + run.n) for table in swept for run in table]
            ranges += [(p.offset, p.offset + p.size) for p in products]
        steps += checks
        active = self.of_accumulation + 2 if self.accumulate > 1 else None
        steps += clip_adaptive_steps(buffers, store, source, self.adaptive, active)
        steps += sweep_steps(buffers, rule, swept, taken)
        for t in touched:
            steps += rows_sweep(buffers, rule, t, self.column_of[t.name])
        if self.whole:
            clips = scale if self.optimizer.clip_norm is not None else None
            places = self._layout[2]
            sizes = {k: size_at(numel(store.parameters[k].shape), 1) for k in self.moved}
            changes = {k: buffers.of(np.zeros(n, store.params.dtype)) for k, n in sizes.items()}
            steps += whole_steps(buffers, store, self.whole, places, slots, source, clips, precision, changes)
            for name, change in changes.items():
                run = Run(store.parameters[name].offset, sizes[name], self.of_moved)
                steps += sums_of_moved(buffers, rule, run, change)
        for behind in (self.thresholds, self.limits):
            steps += constraint_steps(buffers, store, behind, active)
        steps += [state_step(target, value) for target, value in new_state]
        if self.average is not None:
            steps += average_steps(buffers, store, SLOTS + slots.index("average"), self.of_average, ranges)
        return steps

    def norms(self, squares: Array) -> dict[str, float]:
        """Of the watched parameters: squares, (trained parameters, 3), in the order of the store."""
        return norms(self.watched, squares)

    def penalty(self, store: Store, clock: Clock) -> float:
        """The sum of all penalties at the parameters as they are."""
        return penalty(self.penalties, store, clock)


def _between(runs: Sequence[Run], products: Sequence[Product | TouchedRows], line: int) -> list[list[Run]]:
    """The runs cut at the products, at tables of rows and at what is not trained, as tables without a hole. line: what
    is cut out ends at a multiple of it."""
    tables: list[list[Run]] = []
    cuts = sorted((p.offset, -(-(p.offset + p.size) // line) * line) for p in products)
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
