"""Mixed precision: which products of a plan round their operands to bfloat16.

Design: one pass over the steps between fuse and plan. Parameters, gradients, activations and the optimiser stay
float32; a product's kernel rounds its two operands on their way into scratch and sums in float32, so bias, epilogue,
memory and threads are as they were. bfloat16 has float32's range, so the loss is not scaled. Rejected: bfloat16
activations in the arena (less memory traffic, but every elementwise kernel once more for each mix of dtypes).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ArgumentError
from ..ir import Step, size_at
from ..ops.matmul import TYPICAL_BATCH

LEAST = 32  # rows (TYPICAL_BATCH where they vary), columns and depth from which a product gains; measured


def in_precision(steps: Sequence[Step], precision: str, dtype: str) -> list[Step]:
    """The steps of a plan of this dtype with its products in this precision: those that gain, by shape alone."""
    if precision == "f32":
        return list(steps)
    if dtype != "float32":
        raise ArgumentError(f"precision='bf16' needs a float32 model, not {dtype}: bfloat16 has 8 bits of it")
    for step in steps:
        if step.op == "matmul" and all(size_at(step.fields[s], TYPICAL_BATCH) >= LEAST for s in ("m", "n", "k")):
            step.op = "matmul_bf16"
    return list(steps)
