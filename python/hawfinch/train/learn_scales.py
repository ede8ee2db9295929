"""The numbers of scaling layers (nn/scaling.py), from the rows that a training begins with."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..function import compile
from ..ir import INPUT, Array, Graph, Tensor, current_graph
from ..nn.module import Module
from ..nn.scaling import TargetScale, _Scaling
from .batch_trace import check_scalable
from .inputs import Data, places
from .objective import Objective


def learn_scales(model: Module, objective: Objective, data: Data, joined: bool) -> None:
    """Of the layers that have not learnt yet, in the order of the forward pass. joined: with other trainers' rows."""
    waiting = [m for _, m in model.modules() if isinstance(m, _Scaling) and not m.buffers()["rows"].any()]
    waiting = [m for m in waiting if not m.is_frozen("rows")]
    if not waiting:
        return
    if joined:
        raise ArgumentError(
            f"{type(waiting[0]).__name__}: with reduce each trainer would learn from its own rows; call the layer's "
            "learn(x) with the same rows in all of them first"
        )
    graph = Graph()
    outputs = model.trace(graph, data.specs[0])[1]
    for layer, x, y in graph.scalings:
        if layer not in waiting:
            continue
        if isinstance(layer, TargetScale):
            layer.learn(_targets(model, objective, data, [out is y for out in outputs]))
        elif x.node.op is INPUT:
            layer.learn(np.asarray(data.x[int(x.node.attrs["name"][1:])]))
        else:
            layer.learn(_input_of(model, layer, data))
        waiting.remove(layer)


def _targets(model: Module, objective: Objective, data: Data, mine: list[bool]) -> Array:
    """The targets of the output that the layer gives."""
    if True not in mine:
        raise ArgumentError("TargetScale: its output must be an output of the model; put it last")
    i = 0
    if not objective.is_single:
        i = places(objective, model.output_names, len(mine)).index(mine.index(True))
    check_scalable(objective.heads[i], data.specs[1][i].dtype)
    return data.y[i]


def _input_of(model: Module, layer: Module, data: Data) -> Array:
    """What the layer reads for these rows."""

    def read(xs: list[Tensor]) -> Any:
        graph = current_graph()
        assert graph is not None
        model(*xs)
        return next(x for found, x, _ in graph.scalings if found is layer)

    found: Array = compile(read)([np.asarray(a) for a in data.x])
    return found
