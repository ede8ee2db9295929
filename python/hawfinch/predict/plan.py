"""The plan of prediction: from a model to rows in, rows out."""

from __future__ import annotations

from ..compiler.group import fuse
from ..compiler.rewrite import fresh, rewrite
from ..ir import Graph, Shape
from ..nn.module import Module
from ..runtime.plan import Plan
from ..runtime.rows import load_steps, model_places, store_step

MOST_THREADS = 16  # that a plan can be asked to use


def prediction_plan(model: Module, capacity: int, max_threads: int) -> tuple[Plan, list[tuple[Shape, str]]]:
    """A plan that loads rows from sources 0.. and stores results to dynamic arrays 0..; and (shape, dtype) of each."""
    store = model.store(look=True)
    assert model._input is not None
    graph = Graph()
    xs, ys = model.trace(graph, model._input)
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
    return plan, [(y.shape, y.dtype) for y in ys]
