"""Matrix product."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ShapeError
from ..graph import Dim, Op, Shape, Size, Tensor, apply, numel, size_at, times
from ..steps import Step
from .elementwise import mul
from .reduction import sum as sum_
from .shape import TRANSPOSE, reshape, transpose

COL_BLOCK = 64  # HF_COL_BLOCK
TYPICAL_BATCH = 128  # rows, where the split is chosen before the batch size is known
# A product is shared by columns, so that threads read w once and not each, from this many multiply-adds on, and where
# reading or transposing this much of w takes longer than multiplying so few rows.
WIDE_WORK, WIDE_WEIGHTS, FEW_ROWS = 1 << 24, 1 << 16, 16


def _infer(x: Tensor, w: Tensor) -> list[tuple[Shape, str]]:
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0]:
        raise ShapeError(f"matmul: shapes {x.shape} and {w.shape} do not fit: expected (m, k) and (k, n)")
    return [((x.shape[0], w.shape[1]), "real")]


def _grad(node: Any, g: Tensor) -> list[Tensor]:
    x, w = node.inputs
    return [apply(MATMUL, g, transpose(w)), apply(MATMUL, transpose(x), g)]


def operand(t: Tensor) -> tuple[Tensor, Size, Size]:
    """(tensor to read, row stride, column stride): a transpose is read through its strides."""
    if t.node.op is TRANSPOSE:
        base = t.node.inputs[0]
        return base, 1, base.shape[1]
    return t, t.shape[1], 1


def _lower(node: Any) -> list[Step]:
    y = node.outputs[0]
    (x, x_row, x_col), (w, w_row, w_col) = operand(node.inputs[0]), operand(node.inputs[1])
    (m, k), n = node.inputs[0].shape, y.shape[1]
    work = size_at(m, TYPICAL_BATCH) * size_at(k, TYPICAL_BATCH) * size_at(n, TYPICAL_BATCH)
    w_bound = (w_col != 1 or size_at(m, TYPICAL_BATCH) <= FEW_ROWS) and isinstance(k, int)
    by_cols = isinstance(n, int) and n >= 4 * COL_BLOCK and (work >= WIDE_WORK or (w_bound and n * k >= WIDE_WEIGHTS))
    fields = {
        "y": y, "x": x, "w": w, "bias": None, "m": m, "n": n, "k": k,
        "x_row": x_row, "x_col": x_col, "w_row": w_row, "w_col": w_col, "by_cols": int(by_cols), "epilogue": None,
    }  # fmt: skip
    blocks = -(-n // COL_BLOCK) if isinstance(n, int) else 1
    local = () if by_cols else (x, y) if x_col == 1 and x is not w else (y,)
    varying = next((s for s in (m, k, n) if isinstance(s, Dim)), 1)
    flops = times(varying, 2 * math.prod(s for s in (m, k, n) if isinstance(s, int)))
    return [Step("matmul", fields, (y,), (x, w), units=blocks if by_cols else m, local=local, flops=flops)]


MATMUL: Op = Op("matmul", _infer, _grad, _lower)


def matmul(x: Any, w: Any) -> Tensor:
    """x @ w for x (..., k) and w (k, n) or (k,).

    Each element is one chain of fused multiply-adds over k ascending, so a row's result does not depend on the other
    rows. Products of two stacks of matrices (both operands with more than two axes) are not supported.
    """
    if len(x.shape) == 0 or len(w.shape) == 0 or len(w.shape) > 2:
        raise ShapeError(f"matmul: expected (..., k) and (k, n) or (k,), got {tuple(x.shape)} and {tuple(w.shape)}")
    if x.shape[-1] != w.shape[0]:
        raise ShapeError(
            f"matmul: shapes {tuple(x.shape)} and {tuple(w.shape)} do not fit: "
            f"{x.shape[-1]} columns against {w.shape[0]} rows"
        )
    out = tuple(x.shape[:-1]) + tuple(w.shape[1:])
    if len(x.shape) == 1 and len(w.shape) == 1:
        return sum_(mul(x, w))
    x2 = x if len(x.shape) == 2 else reshape(x, (numel(x.shape[:-1]), x.shape[-1]))
    w2 = w if len(w.shape) == 2 else reshape(w, (w.shape[0], 1))
    y = apply(MATMUL, x2, w2)
    return y if tuple(y.shape) == out else reshape(y, out)
