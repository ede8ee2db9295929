"""The plan of a prediction, and what it has in common with those of training: where a model lives, how rows come in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..compiler.group import fuse
from ..compiler.memory import Dynamic, Place, Source
from ..compiler.rewrite import rewrite
from ..errors import ArgumentError
from ..function import fresh
from ..ir import BATCH, CONST, PARAM, SCALAR, STATE, Graph, Spec, Step, Tensor, numel
from ..nn.module import Module
from ..nn.store import Parameter, Store
from ..runtime.plan import Plan


def model_places(graph: Graph, store: Store, numbers: tuple[int, int] | None = None) -> dict[int, Place]:
    """Where parameters, state and constants live.

    numbers: of the arrays, given at each run, that are the store's two buffers; None: the plan is bound to this store.
    """
    places: dict[int, Place] = {}
    itemsize = store.params.itemsize
    for node in graph.nodes:
        t = node.outputs[0]
        if node.op is PARAM or node.op is STATE:
            p: Parameter = node.attrs["ref"].value
            if p.store is not store:
                raise ArgumentError(f"the trace uses {p.layer} ({p.name!r} of shape {p.shape}) of another model")
            i, offset = int(node.op is STATE), p.offset * itemsize
            places[id(t)] = Dynamic(numbers[i], offset) if numbers else ((store.params, store.buffers)[i], offset)
        elif node.op is CONST:
            value = node.attrs["ref"].value
            kind = value.dtype if value.dtype == np.int64 else store.dtype
            places[id(t)] = (np.ascontiguousarray(value, dtype=kind), 0)
        elif node.op is SCALAR:
            places[id(t)] = (np.full(1, node.attrs["value"], store.dtype), 0)
    return places


def load_step(t: Tensor, number: int) -> Step:
    """Fills t with the batch's rows of source array ``number``."""
    fields = {
        "dst": t,
        "source": Source(number),
        "rows": t.shape[0],
        "elems": numel(t.shape[1:]),
        "to_int": int(t.dtype == "int"),
    }
    return Step("load_batch", fields, (t,), (), units=t.shape[0], local=(t,), scope="batch")


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
    steps = [load_step(to[id(x)], i) for i, x in enumerate(xs) if id(x) in to]
    steps += fuse(new, outputs)
    itemsize = np.dtype(store.dtype).itemsize
    for i, y in enumerate(outputs):
        row_bytes = numel((*y.shape[1:], 8 if y.dtype == "int" else itemsize))
        fields = {"dst": Dynamic(i), "src": y, "rows": BATCH, "row_bytes": row_bytes}
        steps.append(Step("store_batch", fields, (), (y,), units=BATCH, local=(y,), scope="result"))
    plan = Plan(
        steps,
        [],
        model_places(new, store),
        dtype=store.dtype,
        capacity=capacity,
        buffers={"parameters": [store.params, store.buffers]},
        max_threads=max_threads,
    )
    return plan, tuple([Spec(y.shape, y.dtype) for y in ys])
