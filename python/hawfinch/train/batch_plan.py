"""The plan over batches: evaluation, and the training step.

Design: both go down the same road and differ only in what is wanted of the graph. A training step's records are load
the batch, forward, loss, backward, the update (update/), state. Rejected: separate forward and backward
plans, which would keep every activation.

A plan for batches does not know whose parameters it works on: it is told at each run, so nets of the same architecture
take turns on one plan and one arena (``fit_many``). Rejected: copying parameters in and out of a plan's own buffers,
which callbacks could then not see or change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..compiler.autodiff import gradients
from ..compiler.group import fuse
from ..compiler.memory import Dynamic, base_of
from ..compiler.precision import in_precision
from ..compiler.rewrite import fresh, rewrite
from ..ir import BATCH, PARAM as PARAM_OP, STATE as STATE_OP, Array, Step, Tensor, apply, leaf, single, size_at, tracing
from ..ops.elementwise import COPY
from ..runtime.plan import Plan
from ..runtime.rows import load_step, load_steps, model_places, store_step
from .batch_trace import BatchTrace
from .update import (
    GRADIENT,
    PARAMS,
    SLOTS,
    STATE,
    Buffers,
    Product,
    TouchedRows,
    Update,
    products_of_optimizer,
    touched_rows,
)

LINE = 16  # elements that fill a cache line of float32
MOST_THREADS = 16  # that a plan can be asked to use


class BatchPlan:
    """A plan over batches of (x.., y.., weights..): evaluation, or with an update the training step.

    ``sums`` holds, for each number of the trace's columns, its sum and that of the weights, in float64. ``bind`` says
    which arrays it works on: parameters, state, and for training the gradient and the optimiser's slots. Plans of equal
    traces, capacities, updates and precisions differ in nothing else.
    """

    def __init__(
        self,
        trace: BatchTrace,
        capacity: int,
        update: Update | None,
        buffers: tuple[Array, ...],
        precision: str = "f32",
    ):
        graph, store = trace.graph, trace.store
        self.update = update
        self.watches = tuple(graph.watches)  # of models that the loss calls
        self.capacity, self.buffers, self.columns = capacity, buffers, trace.columns
        self.kept: list[Array] = []  # what metrics keep of the rows of a run: to be set before it, see ``new_kept``
        self._param_names = trace.param_names
        totals = [t for column in trace.columns for t in column.numbers]
        weights = [column.weight for column in trace.columns for _ in column.numbers]
        training = update is not None
        trainable = store.trainable if training else {}
        grads: list[Tensor] = []
        if training:
            found = gradients(graph, trace.loss, [leaf(graph, PARAM_OP, p) for p in trainable.values()])
            with tracing(graph):
                grads = [_zeros(p.shape) if g is None else g for p, g in zip(trainable.values(), found, strict=True)]
        updates = graph.updates if training else []
        kept_weights = list({id(w): w for w in weights if w is not None}.values())
        kept = [trace.loss, *totals, *kept_weights]
        pairs = [column.kept for column in trace.columns if column.kept is not None]
        self._rows_kept = list({id(t): t for pair in pairs for t in pair if t is not None}.values())
        self.keeps_rows = bool(pairs)  # whether there are metrics that need the rows of a whole epoch
        joined = [trace.checked] if graph.trainers else []
        wanted = fresh(graph, [*kept, *grads, *(value for _, value in updates), *joined, *self._rows_kept])
        new, to = rewrite(graph, [*wanted, *(target for target, _ in updates)])
        rest = iter([to[id(t)] for t in wanted])
        values = [next(rest) for _ in kept]
        gradient_of = {name: next(rest) for name in trainable}
        new_state = [(to[id(target)], next(rest)) for target, _ in updates]
        checked = next(rest) if joined else values[0]
        rows_kept = list(rest)

        places = model_places(new, store.params, store.buffers, (PARAMS, STATE))
        itemsize = store.params.itemsize
        sizes = [1, *[n for column in trace.columns for n in column.sizes], *[1 for _ in kept_weights]]
        lines = [-(-n // LINE) for n in sizes]
        self._n_sums = {column.name: sum(column.sizes) for column in trace.columns}
        self.value = np.zeros(sum(lines) * LINE, store.dtype)  # the loss first; a cache line each
        self.sums = np.zeros((sum(sizes[1 : 1 + len(totals)]), 2))
        for i, t in enumerate(values):
            places[id(base_of(t))] = (self.value, LINE * sum(lines[:i]) * itemsize)
        self._gradient_names: dict[int, str] = {}
        for name, t in gradient_of.items():
            self._gradient_names[id(base := base_of(t))] = name
            places[id(base)] = Dynamic(GRADIENT, trainable[name].offset * itemsize)

        self._gaps = {id(base_of(to[id(t)])) for t in trace.gaps if id(t) in to}
        memory = Buffers(new, places)
        steps = load_steps([to.get(id(t)) for t in trace.sources])
        steps += [load_step(to[id(t)], number, 1) for t, number in trace.partners if id(t) in to]
        steps += fuse(in_precision(new, precision, store.dtype), [to[id(t)] for t in wanted])
        self.products: list[Product] = []
        touched: list[TouchedRows] = []
        if update is not None:
            steps, touched = touched_rows(steps, memory, store, gradient_of, capacity, update.sparse)
            self._gradient_names.update({id(t.gradient): t.name for t in touched})
        if update is not None and update.takes_products:
            swept = {name: t for name, t in gradient_of.items() if name not in update.whole}
            steps, self.products = products_of_optimizer(steps, memory, store, swept, capacity)
        steps += [store_step(t, len(buffers) + i, itemsize) for i, t in enumerate(rows_kept)]
        self.n_compute = len(steps)
        if update is not None:
            steps += update.steps(memory, store, checked, self.products, touched, new_state, precision)
        self._graphs = memory.graphs
        weight_of = {id(w): t for w, t in zip(kept_weights, values[1 + len(totals) :], strict=True)}
        sums = memory.of(self.sums)
        for i, (t, w) in enumerate(zip(values[1 : 1 + len(totals)], weights, strict=True)):
            offset = 2 * sum(sizes[1 : 1 + i]) * 8 // itemsize
            steps.append(_sum_step(sums, offset, t, sizes[1 + i], None if w is None else weight_of[id(w)]))
        self._yields = [step for step in steps if step.yields]
        for i, step in enumerate(self._yields):
            step.fields["tag"] = i
        kinds = {"parameters": buffers[:GRADIENT], "gradients": buffers[GRADIENT:SLOTS], "optimizer": buffers[SLOTS:]}
        self.plan = Plan(
            steps,
            [to[id(t)] for t in wanted],
            places,
            dtype=store.dtype,
            capacity=capacity,
            buffers=kinds,
            max_threads=MOST_THREADS,
        )
        self.core = self.plan.core

    @property
    def nbytes(self) -> int:
        """What the plan itself holds."""
        return self.plan.arena.nbytes

    def reduce(self) -> tuple[int, int]:
        """After a run that has yielded: ``reduce`` gets what each yield holds, and the run goes on, to its end."""
        assert self.update is not None and self.update.reduce is not None
        status, step = _core.YIELDED, 0
        while status == _core.YIELDED:
            array = self.plan.view(self._yields[self.core.yielded].writes[0], self.capacity, self.buffers)
            assert array is not None
            try:
                self.update.reduce(array)
            except BaseException:
                self.core.abandon()
                raise
            status, step = self.core.resume()
        return status, step

    def new_kept(self, rows: int) -> list[Array]:
        """Arrays for what metrics keep of so many rows."""
        return [np.zeros((rows, *[size_at(n, rows) for n in t.shape[1:]]), self.plan.dtype) for t in self._rows_kept]

    def set_data(self, arrays: Sequence[Array]) -> None:
        """The sources of the next run; ``core.drop_sources`` lets go of them."""
        for i, a in enumerate(arrays):
            self.core.set_source(i, a)

    def results(self, kept: Sequence[Array] = ()) -> dict[str, Any]:
        """The loss, the losses of the outputs and the metrics since the sums were last cleared. kept: of all rows."""
        at, loss = 0, 0.0
        found: dict[str, Any] = {}
        for column in self.columns:
            n = self._n_sums[column.name]
            value = found[column.name] = column.value(
                self.sums[at : at + n], lambda t: kept[[id(k) for k in self._rows_kept].index(id(t))]
            )
            at += n
            if column.share is not None:
                assert isinstance(value, float)
                loss += value if column.share == 1.0 else column.share * value
        return {"loss": loss, **found}

    def first_nonfinite(self, run: dict[str, Any], step: int) -> str | None:
        """Runs the step's records one by one and names the first tensor with a NaN or infinity."""
        plan = self.plan
        batch = min(run["batch"], run["rows"] - step * run["batch"])
        run = {**run, "n_steps": step + 1, "first_step": step, "threads": 1}
        for i, record in enumerate(plan.steps[: self.n_compute]):
            self.core.run((*self.buffers, *self.kept), **run, only_record=i)
            for t in (*record.reads, *record.writes):
                array = None if id(base_of(t)) in self._gaps else plan.view(t, batch, self.buffers)
                if array is not None and not np.isfinite(array).all():
                    return self._tensor_name(t, record)
        for i, product in enumerate(self.products, self.n_compute):
            if self.core.run((*self.buffers, *self.kept), **run, only_record=i)[0] != _core.OK:
                return f"gradient of parameter {product.name!r}"
        return None

    def _tensor_name(self, t: Tensor, record: Step) -> str:
        base = base_of(t)
        if base.node.op in (PARAM_OP, STATE_OP):
            return f"parameter {self._param_names[id(base.node.attrs['ref'].value)]!r}"
        if id(base) in self._gradient_names:
            return f"gradient of parameter {self._gradient_names[id(base)]!r}"
        where = f"layer {record.scope!r}" if record.scope else "the loss"
        return f"output of {record.op} in {where}"


def _sum_step(sums: Tensor, offset: int, value: Tensor, n: int, weight: Tensor | None) -> Step:
    """From sums[offset] on, for each of the n values: one += the value, the next += the weight, or the rows."""
    fields = {"sums": (sums, offset), "value": value, "weight": weight, "rows": BATCH}
    reads = (value,) if weight is None else (value, weight)
    return single("accumulate", fields, (sums,), reads, units=n, update=True, scope="epoch sums")


def _zeros(shape: tuple[int, ...]) -> Tensor:
    return apply(COPY, 0.0, shape=shape)
