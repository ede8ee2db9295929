"""A model as a table."""

from __future__ import annotations

import math

from ..errors import NotBuiltError
from ..ir import Graph, size_at
from ..ops.matmul import MATMUL
from .module import Module


def summary(model: Module) -> str:
    """Layer, output shape, parameters, bytes and FLOPs of one row (multiplications and additions of matrix
    products)."""
    if model.inputs is None:
        raise NotBuiltError("summary needs the sizes: call build(input_shape), fit or predict first")
    store = model.home()
    graph = Graph()
    model.trace(graph, model.inputs)
    itemsize = store.params.itemsize
    rows: list[tuple[str, str, str, str, str]] = []
    total_flops = 0
    for path, layer in model.modules():
        if not path or next(layer.children(), None) is not None:
            continue
        nodes = [n for n in graph.nodes if n.scope == path and n.inputs]
        shape = "x".join(map(str, nodes[-1].outputs[0].shape)) if nodes else "same"
        flops = 0
        for n in nodes:
            if n.op is MATMUL:
                flops += size_at(n.op.flops(n), 1)
        total_flops += flops
        own = [p for p in layer._hf.own.values() if p.trainable]
        state = [p for p in layer._hf.own.values() if not p.trainable]
        count = sum(math.prod(p.shape) for p in own)
        nbytes = (count + sum(math.prod(p.shape) for p in state)) * itemsize
        rows.append((f"{path} ({type(layer).__name__})", shape, f"{count:,}", f"{nbytes:,}", f"{flops:,}"))
    total = model.n_parameters
    nbytes = (total + sum(b.size for b in model.buffers().values())) * itemsize
    head = ("layer", "output (B: rows)", "parameters", "bytes", "FLOPs/row")
    foot = ("total", "", f"{total:,}", f"{nbytes:,}", f"{total_flops:,}")
    widths = [max(len(r[i]) for r in [head, *rows, foot]) for i in range(5)]
    rule = "-" * (sum(widths) + 8)

    def line(r: tuple[str, ...]) -> str:
        return "  ".join(v.ljust(w) if i < 2 else v.rjust(w) for i, (v, w) in enumerate(zip(r, widths, strict=True)))

    return "\n".join([line(head), rule, *map(line, rows), rule, line(foot)])
