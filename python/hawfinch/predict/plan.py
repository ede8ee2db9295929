"""The plan of prediction: from a model to rows in, rows out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..compiler.group import fuse
from ..compiler.rewrite import fresh, rewrite
from ..ir import Graph, Spec, Tensor
from ..nn.module import Module
from ..runtime.plan import Plan
from ..runtime.rows import load_steps, model_places, store_step

MOST_THREADS = 16  # that a plan can be asked to use


def _tensors(y: Any) -> list[Tensor]:
    """What a layer gives: a tensor, or several in a tuple, list or dict."""
    if isinstance(y, Tensor):
        return [y]
    return [t for t in (y.values() if isinstance(y, dict) else y) if isinstance(t, Tensor)]


def prediction_plan(
    model: Module, inputs: Sequence[Spec], capacity: int, max_threads: int, layer: Module | None = None
) -> tuple[Plan, tuple[Spec, ...]]:
    """A plan that loads rows from sources 0.. and stores results to dynamic arrays 0..; and what these are like.

    The results are the model's outputs, or what a layer of it gives, for each of its calls.
    """
    graph = Graph()
    found: list[Tensor] = []

    def keep(called: Module, y: Any) -> Any:
        if called is layer:
            found.extend(_tensors(y))
        return y

    if layer is not None:
        graph.on_output = keep
    xs, ys = model.trace(graph, inputs)
    if layer is not None:
        ys = found
    store = model.home()
    wanted = fresh(graph, ys)
    new, to = rewrite(graph, wanted)
    outputs = [to[id(y)] for y in wanted]
    steps = [*load_steps([to.get(id(x)) for x in xs]), *fuse(new, outputs)]
    steps += [store_step(y, i, store.params.itemsize) for i, y in enumerate(outputs)]
    plan = Plan(
        steps,
        [],
        model_places(new, store.params, store.buffers),
        dtype=store.dtype,
        capacity=capacity,
        buffers={"parameters": [store.params, store.buffers]},
        max_threads=max_threads,
    )
    return plan, tuple([Spec(y.shape, y.dtype) for y in ys])
