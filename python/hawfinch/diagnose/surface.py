"""The loss of a model on given rows as a function of its parameters: value, gradient, and products with its Hessian.

Design: everything is a plan on the one road, over a copy of the model: the trace of a batch as training has it, with
what is wanted of it behind it. A vector of parameters is one flat array without padding, whose parts are inputs of the
plan at offsets of that array, so nothing is copied between a solver and a plan. Rejected: parameters as arguments of a
function (a copy of all of them in each call), and batches that are added up (a batch norm in training mode, and a loss
that looks at several rows, would change).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from ..compiler.autodiff import gradients, pull
from ..compiler.group import fuse
from ..compiler.memory import Dynamic, Place, base_of
from ..compiler.rewrite import fresh, rewrite
from ..errors import ArgumentError, LabelError, NonFiniteError
from ..ir import PARAM, Array, Graph, Tensor, apply, collector_paused, input_tensor, leaf, tracing
from ..nn.module import Module
from ..nn.scaling import TargetScale
from ..ops.elementwise import COPY
from ..runtime.plan import Plan
from ..runtime.rows import load_steps, model_places
from ..train.batch_trace import BatchTrace, StepKey
from ..train.inputs import Data, check_data
from ..train.learn_scales import learn_scales
from ..train.objective import get_losses, get_objective
from ..values import check_flag, check_whole, short
from .run import copied

VECTOR, RESULT = 0, 1  # the arrays of a run
Run = Callable[..., None]  # with these arrays


class Part(NamedTuple):
    """A parameter in a flat vector of them all."""

    name: str
    shape: tuple[int, ...]
    start: int
    size: int

    @property
    def slice(self) -> slice:
        return slice(self.start, self.start + self.size)


class Surface:
    """model: is copied, in this dtype, and built where it is not. training: whether layers are in training mode; their
    random numbers are those of one step, so that the loss is a function. What is frozen is no parameter here. rows: at
    most so many, drawn by seed; default all.
    """

    def __init__(
        self,
        model: Module,
        x: Any,
        y: Any,
        loss: Any,
        *,
        dtype: str = "float64",
        training: bool = False,
        seed: int = 0,
        rows: int | None = None,
        threads: int | None = None,
    ):
        if not isinstance(model, Module):
            raise ArgumentError(f"expected a model, a hf.Module, got {short(model)}")
        if loss is None:
            raise ArgumentError("loss is missing: give the one that the model is trained with, loss=hf.MSE()")
        training = check_flag(training, "training")
        seed, rows = check_whole(seed, "seed"), None if rows is None else check_whole(rows, "rows", 1)
        self.model: Module = copied(model, "a study of the loss").astype(dtype)
        self.seed, self.threads, self.dtype = seed, threads, dtype
        objective = get_objective(get_losses(loss), None, ())
        self.data = check_data(self.model, objective, seed, x, y, shapes={})
        if rows is not None and rows < self.data.rows:
            self.data = _some(
                self.data, np.sort(np.random.default_rng(seed).choice(self.data.rows, rows, replace=False))
            )
        learn_scales(self.model, objective, self.data, joined=False)
        self.store = self.model.store()
        self.trainable = self.store.trainable
        if not self.trainable:
            raise ArgumentError("the model has no parameter that is not frozen: there is nothing to look at")
        weighted = tuple([None if w is None else w.shape[1:] for w in self.data.weight])
        self.key = StepKey(*self.data.specs, weighted, objective, training, "f32", None, self.model.version)
        self.parts: list[Part] = []
        at = 0
        for name, p in self.trainable.items():
            self.parts.append(Part(name, p.shape, at, math.prod(p.shape)))
            at += self.parts[-1].size
        self.size = at
        self.number = np.zeros(1, dtype)

    # ---- the point ----
    @property
    def point(self) -> Array:
        """A copy of the parameters, as one vector."""
        return np.concatenate([np.ravel(p.data) for p in self.trainable.values()])

    def move_to(self, point: Array) -> None:
        """Sets the copy's parameters."""
        for part, p in zip(self.parts, self.trainable.values(), strict=True):
            assert p.data is not None
            p.data[...] = point[part.slice].reshape(part.shape)

    def by_name(self, vector: Array) -> dict[str, Array]:
        """A vector's parts, views in the shapes of the parameters."""
        return {part.name: vector[part.slice].reshape(part.shape) for part in self.parts}

    # ---- what is asked of it ----
    def value(self) -> float:
        """The loss where the parameters are now."""
        self._run_value()
        return float(self.number[0])

    def value_and_gradient(self) -> tuple[float, Array]:
        g = np.zeros(self.size, self.dtype)
        self._run_gradient(g, g)
        return float(self.number[0]), g

    def hvp(self, v: Array, out: Array | None = None) -> Array:
        """The Hessian times v, contiguous and of the surface's dtype; not in place."""
        return self._product(self._run_hvp, v, out)

    def ggn(self, v: Array, out: Array | None = None) -> Array:
        """J' H_out J v: J the Jacobian of the outputs, H_out the Hessian of the loss by them."""
        return self._product(self._run_ggn, v, out)

    def _product(self, run: Run, v: Array, out: Array | None) -> Array:
        out = np.empty(self.size, self.dtype) if out is None else out
        run(v, out)
        return out

    def checked_value(self) -> float:
        """``value``, or NonFiniteError where it is no number."""
        value = self.value()
        if not np.isfinite(value):
            raise NonFiniteError(f"the loss of these rows is {value}: there is nothing to measure around it")
        return value

    # ---- plans ----
    @cached_property
    def _run_value(self) -> Run:
        return self._compile(lambda trace, leaves, vs: [])

    @cached_property
    def _run_gradient(self) -> Run:
        return self._compile(lambda trace, leaves, vs: gradients(trace.graph, trace.loss, leaves))

    @cached_property
    def _run_hvp(self) -> Run:
        def products(trace: BatchTrace, leaves: list[Tensor], vs: list[Tensor]) -> Sequence[Tensor | None]:
            slopes = gradients(trace.graph, trace.loss, leaves)
            return pull(trace.graph, *_both(slopes, vs), leaves)  # the Hessian is symmetric

        return self._compile(products)

    @cached_property
    def _run_ggn(self) -> Run:
        def products(trace: BatchTrace, leaves: list[Tensor], vs: list[Tensor]) -> Sequence[Tensor | None]:
            graph = trace.graph
            scaled = {id(out): z for layer, z, out in graph.scalings if isinstance(layer, TargetScale)}
            zs = [scaled.get(id(z), z) for z in trace.outputs]
            us = [input_tensor(graph, f"u{i}", z.shape) for i, z in enumerate(zs)]
            # J v is the gradient of (J' u) v by u, whatever u is, so the u drop out
            jvs = pull(graph, *_both(pull(graph, zs, us, leaves), vs), us)
            slopes = gradients(graph, trace.loss, zs)
            return pull(graph, zs, pull(graph, *_both(slopes, jvs), zs), leaves)

        return self._compile(products)

    def _compile(self, wanted: Callable[[BatchTrace, list[Tensor], list[Tensor]], Sequence[Tensor | None]]) -> Run:
        """The loss, and the vector that is wanted beside it: one tensor a parameter (None: zeros), written to RESULT.
        wanted(trace, the parameters, the parts of VECTOR)."""
        with collector_paused():
            trace = BatchTrace(self.model, self.key)
            graph, itemsize = trace.graph, np.dtype(self.dtype).itemsize
            leaves = [leaf(graph, PARAM, p) for p in self.trainable.values()]
            vs = [input_tensor(graph, f"v{i}", part.shape) for i, part in enumerate(self.parts)]
            found = wanted(trace, leaves, vs)
            with tracing(graph):
                full = [
                    apply(COPY, 0.0, shape=part.shape) if t is None else t
                    for t, part in zip(found, self.parts if found else (), strict=True)
                ]
            inputs = [(v, Dynamic(VECTOR, part.start * itemsize)) for v, part in zip(vs, self.parts, strict=True)]
            homes = [Dynamic(RESULT, part.start * itemsize) for part in self.parts[: len(full)]]
            return self.plan(graph, trace.sources, inputs, [trace.loss, *full], [(self.number, 0), *homes])

    def plan(
        self,
        graph: Graph,
        sources: Sequence[Tensor | None],
        inputs: Sequence[tuple[Tensor, Place]],
        outputs: Sequence[Tensor],
        homes: Sequence[Place],
    ) -> Run:
        """A function that runs a plan of all rows. sources: what the rows' arrays are loaded into. inputs: where other
        inputs lie; homes: where the outputs go."""
        wanted = fresh(graph, outputs)
        new, to = rewrite(graph, [*wanted, *[t for t, _ in inputs]])
        places: dict[int, Place] = model_places(new, self.store.params, self.store.buffers)
        for t, place in inputs:
            places[id(to[id(t)])] = place
        results = [to[id(t)] for t in wanted]
        for t, place in zip(results, homes, strict=True):
            places[id(base_of(t))] = place
        steps = load_steps([None if t is None else to.get(id(t)) for t in sources]) + fuse(new, results)
        rows = self.data.rows
        plan = Plan(steps, results, places, dtype=self.dtype, capacity=rows)
        for i, array in enumerate(self.data.arrays):
            plan.core.set_source(i, array)
        core, how = plan.core, (1, rows, rows, None, None, self.seed, 0, plan.team(self.threads, rows), -1, 0)

        def run(*vectors: Array) -> None:
            if core.run(vectors, *how)[0] == _core.BAD_INDEX:
                raise LabelError("an index is outside of the table that it reads, or a label outside [0, classes)")

        return run


def _both(ys: Sequence[Tensor | None], gs: Sequence[Tensor | None]) -> tuple[list[Tensor], list[Tensor]]:
    """The pairs in which neither is missing, as two lists."""
    pairs = [(y, g) for y, g in zip(ys, gs, strict=True) if y is not None and g is not None]
    return [y for y, _ in pairs], [g for _, g in pairs]


def _some(data: Data, rows: Array) -> Data:
    """These rows of the data."""
    weight = tuple([None if w is None else w[rows] for w in data.weight])
    return data._replace(x=tuple([a[rows] for a in data.x]), y=tuple([a[rows] for a in data.y]), weight=weight)
