"""``init="data"``: weights scaled so that each layer's output has variance 1 (``hf.initializers.Data``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..data.decoded import Decoded
from ..function import compile
from ..initializers import Data
from ..ir import Array, Tensor, current_graph
from ..nn.module import Module

MOST_ROWS = 1024


def scale_weights(model: Module, arrays: Sequence[Array]) -> None:
    """One pass: within the trace each output is divided by its deviation, so that the layers behind it see what they
    will see. arrays: the inputs, of whose rows at most MOST_ROWS are used, evenly spread."""
    rows = len(arrays[0])
    if not rows:
        return
    chosen = np.arange(min(rows, MOST_ROWS)) * rows // min(rows, MOST_ROWS)
    layers: dict[Module, Tensor] = {}

    def pass_on(layer: Module, y: Any) -> Any:
        graph = current_graph()
        names = [k for k, p in layer._hf.own.items() if isinstance(p.init, Data)]
        if graph is None or not names or not isinstance(y, Tensor):
            return y
        if layer not in layers:
            std = ops.sqrt(ops.mean(ops.square(y - ops.mean(y))))
            layers[layer] = ops.where(std > 0.0, std, 1.0)
        return y / layers[layer]

    def pass_through(xs: list[Tensor]) -> list[Tensor]:
        graph = current_graph()
        assert graph is not None
        graph.on_output = pass_on
        model(*xs)
        return list(layers.values())

    stds = compile(pass_through)([a.take(chosen) if isinstance(a, Decoded) else a[chosen] for a in arrays])
    for layer, std in zip(layers, stds, strict=True):
        for p in layer._hf.own.values():
            if isinstance(p.init, Data) and p.data is not None:
                p.data /= std
