"""Mixed precision: which products of a plan round their operands to bfloat16.

Design: one pass over the nodes between rewrite and fuse. Parameters, gradients, activations and the optimiser stay
float32; a product's kernel rounds its two operands on their way into scratch and sums in float32, so bias, epilogue,
memory and threads are as they were. bfloat16 has float32's range, so the loss is not scaled. Rejected: bfloat16
activations in the arena (less memory traffic, but every elementwise kernel once more for each mix of dtypes).
"""

from __future__ import annotations

from ..errors import ArgumentError
from ..ir import Graph, size_at
from ..ops.matmul import MATMUL, MATMUL_SYMMETRIC, TYPICAL_BATCH, sizes

LEAST = 32  # rows (TYPICAL_BATCH where they vary), columns and depth from which a product gains; measured


def in_precision(graph: Graph, precision: str, dtype: str) -> Graph:
    """The graph of a plan of this dtype, its products in this precision: those that gain, by shape alone."""
    if precision == "f32":
        return graph
    if dtype != "float32":
        raise ArgumentError(f"precision='bf16' needs a float32 model, not {dtype}: bfloat16 has 8 bits of it")
    for node in graph.nodes:
        given = sizes(node) if node.op is MATMUL else node.inputs[0].shape if node.op is MATMUL_SYMMETRIC else (0,)
        if all([size_at(s, TYPICAL_BATCH) >= LEAST for s in given]):
            node.attrs = {**node.attrs, "precision": precision}
    return graph
