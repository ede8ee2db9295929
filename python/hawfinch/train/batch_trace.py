"""The trace of a batch: forward pass, losses and metrics, as one graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..errors import ArgumentError, DTypeError, HawfinchError, ShapeError
from ..ir import BATCH, Array, ById, Graph, Spec, Tensor, input_tensor, tracing
from ..losses import Loss, per_row
from ..losses.base import rows_text
from ..losses.classes import columns, rows_of_positions
from ..metrics import MeanMetric, Metric, RowMetric
from ..metrics.base import BoundMetric
from ..nn.module import Module
from ..nn.scaling import TargetScale
from ..ops.joint import joint_mean
from ..ops.shape import size
from ..values import short
from .inputs import places
from .objective import Head, Objective

ONE_NUMBER = "a loss or metric that gives one number can't be weighted: it must give one value per row"


class StepKey(NamedTuple):
    """All that plans for one model's parameters differ in."""

    inputs: tuple[Spec, ...]
    targets: tuple[Spec, ...]
    weighted: tuple[tuple[int, ...] | None, ...]  # for each loss, of what a row has weights; None: of nothing
    objective: Objective
    training: bool
    precision: str
    update: Hashable  # what the update is made of; None for evaluation
    version: int  # of the model: its layers, their options, what is frozen
    mixes: bool = False  # rows with others, see hawfinch.augment.Mixup
    trainers: int = 0  # whose batches are one; 0: they are not joined


class Column(NamedTuple):
    """What the epoch sums keep for a loss or a metric: its numbers and vectors in a batch, and how they become one."""

    name: str
    numbers: list[Tensor]
    weight: Tensor | None  # of the batch; None: its rows
    metric: Metric | None  # None: the mean
    share: float | None  # of a loss in the whole one
    kept: tuple[Tensor, Tensor | None] | None = None  # what a RowMetric keeps of the rows, and their weights

    @property
    def sizes(self) -> list[int]:
        """How many numbers each is."""
        return [math.prod(t.shape) for t in self.numbers]  # type: ignore[arg-type]

    def value(self, sums: Array, kept: Callable[[Tensor], Array]) -> float | Array:
        """sums: (sum of sizes, 2), the sum of each and of the weights. kept: the rows that were kept of a tensor."""
        if self.kept is not None:
            assert isinstance(self.metric, RowMetric)
            rows, weight = self.kept
            return _plain(self.metric.finalise_rows(kept(rows), None if weight is None else kept(weight)), self.name)
        if self.metric is not None:
            return _plain(self.metric.finalise(sums[:, 0]), self.name)
        return float(sums[0, 0] / sums[0, 1]) if sums[0, 1] else float("nan")


def _plain(value: Any, name: str) -> float | Array:
    if isinstance(value, np.ndarray) and value.ndim:
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ArgumentError(f"metric {name!r}: finalise must give a number or an array, got {short(value)}") from None


class BatchTrace:
    """Inputs (x.., y.., weights..), forward pass, losses and metrics.

    ``loss``: the number that is minimised. ``checked``: the one that must be finite, that of all trainers.
    ``columns``: what is summed over an epoch. ``sources``: the inputs. ``outputs``: the model's. on_output: gets each
    layer and its output, and gives what follows in the place of that.
    """

    def __init__(self, model: Module, key: StepKey, on_output: Callable[[Module, Any], Any] | None = None):
        self.store = model.store()
        self.param_names = {id(p): k for k, p in {**self.store.parameters, **self.store.state}.items()}
        assert model.inputs is not None
        self.partners: list[tuple[Tensor, int]] = []  # what is loaded from the next row, and from which source
        self.share: Tensor | None = None  # of a row, where it is mixed with the next
        mixed = self._mixed(key) if key.mixes else None
        plain = not key.trainers and mixed is None and on_output is None
        if key.training and key.inputs == model.inputs and plain:
            self.graph, xs, outputs = model.training_trace()
        else:
            self.graph = Graph(training=key.training)
            self.graph.trainers, self.graph.on_output = key.trainers, on_output
            xs, outputs = model.trace(self.graph, key.inputs, mixed)
        self.outputs = outputs
        with tracing(self.graph):
            ys = [input_tensor(self.graph, f"y{i}", *spec) for i, spec in enumerate(key.targets)]
            ws = [
                None if shape is None else input_tensor(self.graph, f"weight{i}", (BATCH, *shape))
                for i, shape in enumerate(key.weighted)
            ]
            self.columns: list[Column] = []
            self.advice: list[str] = []
            self.gaps: list[Tensor] = []  # targets in which a NaN is nothing wrong
            if key.objective.is_single:
                names = model.output_names
                together = [(_one_or_all(outputs, names), _one_or_all(ys, names if len(ys) > 1 else ()))]
            else:
                order = places(key.objective, model.output_names, len(outputs))
                together = [(outputs[i], y) for i, y in zip(order, ys, strict=True)]
            self.sources = [*xs, *ys, *[w for w in ws if w is not None]]
            self.following: dict[int, Tensor] = {}  # that of the next row, by the number of a target's or weight's node
            if self.share is not None:
                for i, t in enumerate(self.sources[len(xs) :], len(xs)):
                    self.following[t.node.index] = input_tensor(self.graph, f"next_{i}", t.shape, t.dtype)
                    self.partners.append((self.following[t.node.index], i))
                self.sources.append(self.share)
            losses = [
                self._head(head, prediction, y, w)
                for head, (prediction, y), w in zip(key.objective.heads, together, ws, strict=True)
            ]
            self.loss = losses[0]
            for term in losses[1:]:
                self.loss = self.loss + term
            self.checked = joint_mean(self.loss) if key.trainers else self.loss

    def _mixed(self, key: StepKey) -> Callable[[list[Tensor]], list[Tensor]]:
        """share x + (1 - share) (the next row of the batch's x)."""

        def mixed(xs: list[Tensor]) -> list[Tensor]:
            graph = self.graph
            self.share = share = input_tensor(graph, "share", (BATCH,))
            found = []
            for i, (x, spec) in enumerate(zip(xs, key.inputs, strict=True)):
                partner = input_tensor(graph, f"next_x{i}", *spec)
                self.partners.append((partner, i))
                part = ops.reshape(share, (BATCH, *[1] * (x.ndim - 1)))
                found.append(partner + part * (x - partner))
            return found

        return mixed

    def _head(self, head: Head, prediction: Any, y: Any, w: Tensor | None) -> Tensor:
        """Its part of the loss; appends its columns."""
        prefix, what = (f"{head.name}_", f" of output {head.name!r}") if head.name else ("", "")
        if isinstance(prediction, Tensor):
            self.advice += filter(None, [head.loss.advice(prediction)])
        rows, counts = self._weighted(head, prediction, y, w, f"the loss{what}")
        if self.share is not None:
            partner = self._weighted(head, prediction, self._next(y), self._next(w), f"the loss{what}")
            rows = self.share * rows + (1.0 - self.share) * partner[0]
            if counts is not None:
                counts = self.share * counts + (1.0 - self.share) * partner[1]
        observed = None if counts is None else ops.sum(counts)
        mean, total = _totals(rows, None, observed)
        self.columns.append(Column(f"{prefix}loss", [total], observed, None, head.weight))
        for name, metric in head.metrics:
            try:
                self.columns.append(_metric_column(f"{prefix}{name}", metric, head.loss, prediction, y, w))
            except HawfinchError as error:
                beside = type(head.loss).__name__
                error.args = (f"the metric {name!r}, beside {beside}: {error}", *error.args[1:])
                raise
        return mean if head.weight == 1.0 else mean * head.weight

    def _weighted(self, head: Head, prediction: Any, y: Any, w: Tensor | None, what: str) -> tuple[Tensor, Any]:
        """Of each row: its loss times its weight; and what it counts, (rows,), by its weights and by what is not
        missing in it, None: 1."""
        guess, truth = self._scaled(head, prediction, y)
        if w is None or w.ndim == 1:
            rows = _rows_of(lambda: head.loss(guess, truth), what)
            if w is not None and rows.shape == ():
                raise ShapeError(ONE_NUMBER)
            rows = rows if w is None else rows * w
        else:
            rows = _weighted_rows(head.loss, guess, truth, w, what)
        if head.loss.ignore_nan:
            self.gaps.append(y)
            return rows, _counts(head.loss.observed(y), w)
        return rows, None if w is None else per_row(w)

    def _next(self, value: Any) -> Any:
        """The targets, or the weights, of each next row."""
        if isinstance(value, Tensor):
            return self.following[value.node.index]
        if isinstance(value, Mapping):
            return {k: self._next(v) for k, v in value.items()}
        return value if value is None else tuple([self._next(v) for v in value])

    def _scaled(self, head: Head, prediction: Any, y: Any) -> tuple[Any, Any]:
        """Prediction and target as the loss sees them: before a TargetScale, if the output is that of one."""
        for layer, z, out in self.graph.scalings:
            if out is prediction and isinstance(layer, TargetScale):
                check_scalable(head, y.dtype)
                return z, layer.scaled(y)
        return prediction, y

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
        columns = tuple(
            (c.name, c.metric, c.share, place(c.weight), *map(place, c.numbers), *map(place, c.kept or ()))
            for c in self.columns
        )
        partners = tuple((place(t), number) for t, number in self.partners)
        wanted = (place(self.loss), columns, tuple(map(place, self.sources)), partners)
        return (self.graph.training, store.dtype, nodes, layout, len(store.parameters), updates, wanted)


def check_scalable(head: Head, dtype: str) -> None:
    """Raises ArgumentError where targets of this dtype mean something to the loss that scaled ones do not."""
    if head.loss.checks_values or dtype == "int":
        what = f" of output {head.name!r}" if head.name else ""
        raise ArgumentError(
            f"{type(head.loss).__name__}{what} has targets with a meaning of their own, which the model's last layer, "
            "TargetScale, can't scale: leave that layer out, or take a loss of numbers"
        )


def _one_or_all(values: list[Tensor], names: Sequence[str]) -> Any:
    """By name where there are names; a tuple of several, or the only one."""
    if len(names) == len(values):
        return dict(zip(names, values, strict=True))
    return values[0] if len(values) == 1 else tuple(values)


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


def _weighted_rows(loss: Loss, prediction: Any, target: Any, w: Tensor, what: str) -> Tensor:
    """(rows,): the mean of each row's parts, which have weights of their own."""
    each = _called(lambda: loss(prediction, target), what)
    shape = getattr(each, "shape", ())
    if shape != w.shape:
        wanted = "" if shape[1:] == () else f", or {rows_text(shape[1:])} for its parts"
        raise ShapeError(
            f"sample_weight: expected one number per row, (rows,){wanted}; got {rows_text(w.shape[1:])} for {what}"
        )
    return per_row(each * w)


def _counts(seen: Tensor | None, w: Tensor | None) -> Tensor:
    """(rows,): what a row counts, by what is not missing in it and by its weights."""
    assert seen is not None
    shares = ops.where(seen, 1.0, 0.0)
    if w is None:
        return per_row(shares)
    if w.ndim == 1:
        return per_row(shares) * w
    return per_row(ops.reshape(shares, (*shares.shape, *(1,) * (w.ndim - shares.ndim))) * w)


def _metric_column(name: str, metric: Metric, loss: Loss, prediction: Any, y: Any, w: Tensor | None) -> Column:
    what = "its function"
    weight = None if w is None else ops.sum(per_row(w))
    if isinstance(metric, BoundMetric):
        at_rows = prediction
        prediction, y, w = rows_of_positions(loss, prediction, y, w)
        if isinstance(metric, RowMetric) and (at_rows is not prediction or (w is not None and w.ndim > 1)):
            raise ArgumentError("it keeps numbers of rows, and takes neither labels nor weights of a row's positions")
        w = w if w is None or w.ndim == 1 else columns(w)
    elif w is not None:
        w = per_row(w)
    if isinstance(metric, RowMetric):
        rows = _called(lambda: metric.keep(prediction, y), what)
        if not isinstance(rows, Tensor) or rows.shape[:1] != (BATCH,) or rows.ndim > 2:
            raise ShapeError(f"keep must give (rows, k); got {rows!r}")
        return Column(name, [], weight, metric, None, (rows, w))
    if isinstance(metric, MeanMetric):
        rows = _rows_of(lambda: metric.rows(prediction, y), what)
        return Column(name, [_totals(rows, w, weight)[1]], weight, None, None)
    given = _called(lambda: metric.sums(prediction, y, w), what)
    numbers: list[Tensor] = []
    for t in given if isinstance(given, list | tuple) else [given]:
        if not isinstance(t, Tensor) or t.ndim > 1 or not all(isinstance(n, int) for n in t.shape):
            raise ShapeError(f"sums must give numbers and vectors, summed over the rows; got {t!r}")
        numbers.append(t)
    return Column(name, numbers, weight, metric, None)


def _totals(values: Tensor, w: Tensor | None, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """(mean, sum) of one value per row, weighted; rows that all weigh 0 have the mean 0, not NaN. weight: the sum of
    the weights, or of the shares of rows that are not missing; None: the rows."""
    rows: Any = size(BATCH) if weight is None else weight
    if values.shape == () and w is not None:
        raise ShapeError(ONE_NUMBER)
    if values.shape == ():  # a loss function that gave the mean itself
        return values, values * rows
    total = ops.sum(values if w is None else values * w)
    return total / (rows if weight is None else ops.where(ops.equal(weight, 0.0), 1.0, weight)), total
