"""From a model to plans: prediction, evaluation, and the training step.

Design: all three go down the same road and differ only in what is wanted of the graph. A training step's records are
load the batch, forward, loss, backward, check (clip), optimiser, state (update.py). Rejected: separate forward and
backward plans, which would keep every activation.

A plan for batches does not know whose parameters it works on: it is told at each run, so nets of the same architecture
take turns on one plan and one arena (``fit_many``). Rejected: copying parameters in and out of a plan's own buffers,
which callbacks could then not see or change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _core, ops
from ..compiler.autodiff import gradients
from ..compiler.group import fuse
from ..compiler.memory import Dynamic, base_of
from ..compiler.precision import in_precision
from ..compiler.rewrite import rewrite
from ..errors import DTypeError, HawfinchError, ShapeError
from ..function import fresh
from ..ir import (
    BATCH,
    PARAM as PARAM_OP,
    Array,
    ById,
    Graph,
    Shape,
    Step,
    Tensor,
    apply,
    input_tensor,
    leaf,
    single,
    tracing,
)
from ..losses import Loss, per_row
from ..metrics import MeanMetric, Metric
from ..nn.module import Module
from ..ops.elementwise import COPY
from ..ops.shape import size
from ..optim import Optimizer
from ..predict.plan import load_step, model_places
from ..predict.predictor import SCRATCH_THREADS
from ..runtime.plan import Plan
from .update import GRADIENT, PARAMS, SLOTS, STATE, Aux, Product, state_step, take_products, update_steps

LINE = 16  # elements that fill a cache line of float32


class Column(NamedTuple):
    """What the epoch sums keep for the loss or a metric: its numbers in a batch, and how they become one."""

    name: str
    numbers: list[Tensor]
    metric: Metric | None  # None: the sum over the weight

    def value(self, sums: Array) -> float:
        """sums: (numbers, 2), the sum of each and of the weights."""
        if self.metric is not None:
            return float(self.metric.finalise(sums[:, 0]))
        return float(sums[0, 0] / sums[0, 1]) if sums[0, 1] else float("nan")


class BatchGraph:
    """The trace of a batch: inputs (x.., y, weight), forward pass, loss and metrics."""

    def __init__(
        self,
        model: Module,
        loss: Loss,
        metrics: Mapping[str, Metric],
        target: tuple[Shape, str],
        weighted: bool,
        training: bool,
    ):
        self.store = model.store()
        self.param_names = {id(p): k for k, p in {**self.store.parameters, **self.store.state}.items()}
        assert model.inputs is not None
        if training:
            graph, xs, ys = model.training_trace()
        else:
            graph = Graph()
            xs, ys = model.trace(graph, model.inputs)
        prediction: Any = ys[0] if len(ys) == 1 else tuple(ys)
        with tracing(graph):
            y = input_tensor(graph, "y", *target)
            w = input_tensor(graph, "weight", (BATCH,)) if weighted else None
            self.weight = ops.sum(w) if w is not None else None
            rows = _rows_of(lambda: loss(prediction, y), "the loss")
            self.mean, total = _totals(rows, w, self.weight)
            self.columns = [Column("loss", [total], None)]
            for name, metric in metrics.items():
                self.columns.append(_column(name, metric, prediction, y, w, self.weight))
        self.graph, self.sources = graph, [*xs, y, *([] if w is None else [w])]

    def signature(self) -> tuple[Any, ...]:
        """Equal for two graphs exactly if a plan for one serves the other: all that later stages read, with arrays
        and parameters by value and name."""

        def place(t: Tensor | None) -> tuple[int, int] | None:
            return None if t is None else (t.node.index, t.index)

        def value(v: Any) -> Any:
            if not isinstance(v, ById):
                return v
            if isinstance(v.value, np.ndarray):
                return v.value.dtype.char, v.value.shape, v.value.tobytes()
            return self.param_names.get(id(v.value), v)

        nodes = tuple(
            (n.op, n.scope, *map(place, n.inputs), *((k, value(v)) for k, v in n.attrs.items()))
            for n in self.graph.nodes
        )
        store = self.store
        layout = tuple((k, p.shape, p.offset, p.frozen) for k, p in (*store.parameters.items(), *store.state.items()))
        updates = tuple((place(a), place(b)) for a, b in self.graph.updates)
        columns = [(c.name, c.metric, *map(place, c.numbers)) for c in self.columns]
        wanted = (place(self.mean), place(self.weight), *columns)
        sources = tuple(map(place, self.sources))
        return (self.graph.training, store.dtype, nodes, layout, len(store.parameters), updates, wanted, sources)


class BatchPlan:
    """A plan over batches of (x.., y, weight): evaluation, or with an optimiser the training step.

    ``sums`` holds, for the loss and each metric, the weighted sum over rows and the weight, in float64. ``buffers`` are
    the arrays that it works on: parameters, state, and for training the gradient and the optimiser's slots. Plans of
    equal ``signature`` differ in nothing else.
    """

    def __init__(
        self,
        batch: BatchGraph,
        capacity: int,
        optimizer: Optimizer | None,
        buffers: tuple[Array, ...],
        precision: str = "f32",
        signature: Any = None,
    ):
        graph, store, mean, weight = batch.graph, batch.store, batch.mean, batch.weight
        totals = [t for column in batch.columns for t in column.numbers]
        self.capacity, self.buffers, self.signature = capacity, buffers, signature
        self._names = batch.param_names
        self.columns = batch.columns
        training = optimizer is not None
        trainable = store.trainable if training else {}
        grads: list[Tensor] = []
        if training:
            found = gradients(graph, mean, [leaf(graph, PARAM_OP, p) for p in trainable.values()])
            with tracing(graph):
                grads = [_zeros(p.shape) if g is None else g for p, g in zip(trainable.values(), found, strict=True)]
        updates = graph.updates if training else []
        wanted = fresh(graph, [mean, *totals, *([] if weight is None else [weight]), *grads, *(v for _, v in updates)])
        new, to = rewrite(graph, [*wanted, *(target_leaf for target_leaf, _ in updates)])
        rest = iter([to[id(t)] for t in wanted])
        values = [next(rest) for _ in range(1 + len(totals) + (weight is not None))]
        gradient_of = {name: next(rest) for name in trainable}
        new_state = [(to[id(target_leaf)], next(rest)) for target_leaf, _ in updates]

        places = model_places(new, store, (PARAMS, STATE))
        itemsize = store.params.itemsize
        self.value = np.zeros(len(values) * LINE, store.dtype)  # the loss first; a cache line each
        self.sums = np.zeros(2 * len(totals))
        for i, t in enumerate(values):
            places[id(base_of(t))] = (self.value, LINE * i * itemsize)
        for name, t in gradient_of.items():
            places[id(base_of(t))] = Dynamic(GRADIENT, trainable[name].offset * itemsize)
        self.grad_names = {id(base_of(t)): name for name, t in gradient_of.items()}

        aux = Aux(new, places)
        steps = [load_step(to[id(t)], i) for i, t in enumerate(batch.sources) if id(t) in to]
        steps += in_precision(fuse(new, [to[id(t)] for t in wanted]), precision, store.dtype)
        self.products: list[Product] = []
        if optimizer is not None and optimizer.clip_norm is None:
            steps, self.products = take_products(steps, aux, store, gradient_of, capacity)
        self.n_compute = len(steps)
        if optimizer is not None:
            steps += update_steps(aux, store, optimizer, values[0], self.products)
            steps += [state_step(target_leaf, value) for target_leaf, value in new_state]
        steps += self._sum_steps(aux, values[1 : 1 + len(totals)], values[-1] if weight is not None else None, itemsize)
        kinds = {"parameters": buffers[:GRADIENT], "gradients": buffers[GRADIENT:SLOTS], "optimizer": buffers[SLOTS:]}
        self.plan = Plan(
            steps,
            [to[id(t)] for t in wanted],
            places,
            dtype=store.dtype,
            capacity=capacity,
            buffers=kinds,
            max_threads=SCRATCH_THREADS,
        )
        self.core = self.plan.core

    def run(self, *args: Any, **more: Any) -> tuple[int, int]:
        """``_core.Plan.run`` on the buffers."""
        return self.core.run(self.buffers, *args, **more)

    def _sum_steps(self, aux: Aux, totals: Sequence[Tensor], weight: Tensor | None, itemsize: int) -> list[Step]:
        sums = aux.tensor(self.sums)
        steps = []
        for i, t in enumerate(totals):
            fields = {"sums": (sums, 2 * i * 8 // itemsize), "value": t, "weight": weight, "rows": BATCH}
            reads = (t,) if weight is None else (t, weight)
            steps.append(single("accumulate", fields, (sums,), reads, update=True, scope="epoch sums"))
        return steps

    def set_data(self, x: Sequence[Array], y: Array, weight: Array | None) -> None:
        for i, a in enumerate((*x, y)):
            self.core.set_source(i, a)
        if weight is not None:
            self.core.set_source(len(x) + 1, weight)

    def results(self) -> dict[str, float]:
        """The loss and the metrics since the sums were last cleared."""
        sums, at, found = self.sums.reshape(-1, 2), 0, {}
        for column in self.columns:
            found[column.name] = column.value(sums[at : at + len(column.numbers)])
            at += len(column.numbers)
        return found

    def first_nonfinite(self, run: dict[str, Any], step: int) -> str | None:
        """Runs the step's records one by one and names the first tensor with a NaN or infinity."""
        plan = self.plan
        batch = min(run["batch"], run["rows"] - step * run["batch"])
        run = {**run, "n_steps": step + 1, "first_step": step, "threads": 1}
        for i, record in enumerate(plan.steps[: self.n_compute]):
            self.run(**run, only_record=i)
            for t in (*record.reads, *record.writes):
                array = plan.view(t, batch, self.buffers)
                if array is not None and not np.isfinite(array).all():
                    return self._tensor_name(t, record)
        for i, product in enumerate(self.products, self.n_compute):
            if self.run(**run, only_record=i)[0] != _core.OK:
                return f"gradient of parameter {product.name!r}"
        return None

    def _tensor_name(self, t: Tensor, record: Step) -> str:
        base = base_of(t)
        if base.node.op.name in ("param", "state"):
            return f"parameter {self._names[id(base.node.attrs['ref'].value)]!r}"
        if id(base) in self.grad_names:
            return f"gradient of parameter {self.grad_names[id(base)]!r}"
        where = f"layer {record.scope!r}" if record.scope else "the loss"
        return f"output of {record.op} in {where}"


class PlanPool:
    """Plans of one worker, for nets that take turns. ``halt``, an Event, ends their runs when it is set."""

    def __init__(self, halt: Any):
        self.halt = halt
        self.free: dict[Any, BatchPlan] = {}

    def take(self, signature: Any) -> BatchPlan | None:
        return self.free.pop(signature, None)

    def give(self, plans: Iterable[BatchPlan]) -> None:
        for plan in plans:
            plan.buffers = ()
            self.free[plan.signature] = plan


def _zeros(shape: tuple[int, ...]) -> Tensor:
    return apply(COPY, 0.0, shape=shape)


def _rows_of(function: Callable[[], Any], what: str) -> Tensor:
    """What the user's function gives: one value per row, or one number."""
    values = _called(function, what)
    if not isinstance(values, Tensor):
        raise DTypeError(f"{what} gave {type(values).__name__}, expected a traced value (made with hf.ops)")
    if values.shape == ():
        return values
    if values.shape[:1] != (BATCH,):
        raise ShapeError(f"{what} must give one value per row, (rows, ...); got shape {values.shape}")
    return per_row(values)


def _called(function: Callable[[], Any], what: str) -> Any:
    """The user's function on traced values; what NumPy and Python say of these is not what is wrong."""
    try:
        return function()
    except HawfinchError:
        raise
    except (TypeError, AttributeError) as error:
        raise DTypeError(
            f"{what} failed on traced values ({type(error).__name__}: {error}). It is called once with symbols, not "
            "with arrays: use operators and hf.ops instead of numpy's functions"
        ) from error


def _column(name: str, metric: Metric, prediction: Any, y: Tensor, w: Tensor | None, weight: Tensor | None) -> Column:
    what = f"metric {name!r}"
    if isinstance(metric, MeanMetric):
        return Column(name, [_totals(_rows_of(lambda: metric.rows(prediction, y), what), w, weight)[1]], None)
    given = _called(lambda: metric.sums(prediction, y, w), what)
    numbers: list[Tensor] = []
    for t in given if isinstance(given, list | tuple) else [given]:
        if not isinstance(t, Tensor) or t.ndim > 1 or not all(isinstance(n, int) for n in t.shape):
            raise ShapeError(f"{what}: sums must give numbers and vectors, summed over the rows; got {t!r}")
        numbers += [t] if t.ndim == 0 else [t[i] for i in range(len(t))]
    return Column(name, numbers, metric)


def _totals(values: Tensor, w: Tensor | None, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """(mean, sum) of one value per row, weighted; rows that all weigh 0 have the mean 0, not NaN."""
    rows: Any = size(BATCH) if weight is None else weight
    if values.shape == () and w is not None:
        raise ShapeError("a loss or metric that gives one number can't be weighted: it must give one value per row")
    if values.shape == ():  # a loss function that gave the mean itself
        return values, values * rows
    total = ops.sum(values if w is None else values * w)
    return total / (rows if weight is None else ops.where(ops.equal(weight, 0.0), 1.0, weight)), total
