"""The plan of prediction: from a model to rows in, rows out."""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler.group import fuse
from ..compiler.rewrite import fresh, rewrite
from ..ir import Graph, Spec
from ..nn.module import Module
from ..runtime.plan import Plan
from ..runtime.rows import load_steps, model_places, store_step

MOST_THREADS = 16  # that a plan can be asked to use


def prediction_plan(
    model: Module, inputs: Sequence[Spec], capacity: int, max_threads: int
) -> tuple[Plan, tuple[Spec, ...]]:
    """A plan that loads rows from sources 0.. and stores results to dynamic arrays 0..; and what these are like."""
    graph = Graph()
    xs, ys = model.trace(graph, inputs)
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
