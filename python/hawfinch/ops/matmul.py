"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..errors import ArgumentError, ShapeError
from ..ir import Op, Shape, Size, Step, Tensor, apply, numel, operand, size_at, times
from .elementwise import mul
from .reduction import sum as sum_
from .shape import reshape, transpose

COL_BLOCK = _core.CONSTANTS["HF_COL_BLOCK"]
SCRATCH = _core.CONSTANTS["HF_MATMUL_SCRATCH"]  # bytes of a thread, for packed operands
TYPICAL_BATCH = 128  # rows, where the split is chosen before the batch size is known
# A product is shared by columns, so that threads read w once and not each, from this many multiply-adds on, and where
# reading or transposing this much of w takes longer than multiplying so few rows.
WIDE_WORK, WIDE_WEIGHTS, FEW_ROWS = 1 << 24, 1 << 16, 16


PRECISIONS = ("f32", "bf16")


def check_precision(precision: str) -> str:
    """precision itself; raises ArgumentError unless it is known and this processor has its instructions."""
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise ArgumentError(f"precision {precision!r} is not known: choose 'f32' or 'bf16'")
    if precision == "bf16" and not (_core.has_fast_kernel("matmul_bf16") or _core.kernel_isa() == "ref"):
        raise ArgumentError(
            "precision='bf16' needs AVX512-BF16 (AMD Zen 4, Intel Cooper Lake or Sapphire Rapids, and later), which "
            f"this processor lacks or HAWFINCH_ISA leaves out (kernels: {_core.kernel_isa()}); use precision='f32'"
        )
    return precision


# compiler/rewrite.py adds a third input, the bias, and x_turned and w_turned: the operand is read as its transpose.
def _infer(x: Tensor, w: Tensor, precision: str = "f32") -> list[tuple[Shape, str]]:
    if len(x.shape) != 2 or len(w.shape) != 2 or x.shape[1] != w.shape[0]:
        raise ShapeError(f"matmul: shapes {x.shape} and {w.shape} do not fit: expected (m, k) and (k, n)")
    return [((x.shape[0], w.shape[1]), "real")]


def _grad(node: Any, g: Tensor) -> list[Tensor]:
    x, w = node.inputs
    return [apply(MATMUL, g, transpose(w), **node.attrs), apply(MATMUL, transpose(x), g, **node.attrs)]


def sizes(node: Any) -> tuple[Size, Size, Size]:
    """m, n and k of x(m, k) w(k, n)."""
    m, n = node.outputs[0].shape
    return m, n, node.inputs[0].shape[0 if node.attrs.get("x_turned") else 1]


def _lower(node: Any) -> list[Step]:
    y = node.outputs[0]
    x, w, *bias = node.inputs
    m, n, k = sizes(node)
    flops = _work(m, n, k)
    x_row, x_col = (1, x.shape[1]) if node.attrs.get("x_turned") else (x.shape[1], 1)
    w_row, w_col = (1, w.shape[1]) if node.attrs.get("w_turned") else (w.shape[1], 1)
    w_bound = w_col != 1 or size_at(m, TYPICAL_BATCH) <= FEW_ROWS
    wide = size_at(flops, TYPICAL_BATCH) // 2 >= WIDE_WORK or (
        w_bound and isinstance(k, int) and size_at(n, 1) * k >= WIDE_WEIGHTS
    )
    by_cols = isinstance(n, int) and n >= 4 * COL_BLOCK and wide
    fields = {
        "y": y,
        "x": x,
        "w": w,
        "bias": bias[0] if bias else None,
        "m": m,
        "n": n,
        "k": k,
        "x_row": x_row,
        "x_col": x_col,
        "w_row": w_row,
        "w_col": w_col,
        "by_cols": int(by_cols),
        "epilogue": None,
    }
    blocks = -(-n // COL_BLOCK) if isinstance(n, int) else 1
    local = () if by_cols else (x, y) if x_col == 1 and x is not w else (y,)
    op = "matmul_bf16" if node.attrs["precision"] == "bf16" else "matmul"
    units = blocks if by_cols else m
    return [Step(op, fields, (y,), node.inputs, units=units, local=local, flops=flops, scratch=node.op.scratch)]


def _flops(node: Any) -> Size:
    return _work(*sizes(node))


def _work(m: Size, n: Size, k: Size) -> Size:
    """Floating-point operations of x(m, k) w(k, n)."""
    fixed, varying = 2, None
    for size in (m, k, n):
        if isinstance(size, int):
            fixed *= size
        else:
            varying = size if varying is None else varying
    return fixed if varying is None else varying * fixed


MATMUL: Op = Op("matmul", _infer, _grad, _lower, flops=_flops, scratch=SCRATCH, real_inputs=True, hosts_epilogue=True)


# What a symmetric product is of: rows of x with each other, its columns, or x(n, n), which is symmetric, with itself.
GRAM_KINDS = ("rows", "columns", "square")
SYMMETRIC_BLOCK = _core.CONSTANTS["HF_SYMMETRIC_BLOCK"]


def _symmetric_sizes(x: Tensor, kind: str) -> tuple[Size, Size]:
    """n and k of y(n, n)."""
    return (x.shape[1], x.shape[0]) if kind == "columns" else (x.shape[0], x.shape[1])


def _symmetric_infer(x: Tensor, *, kind: str, scale: float, add: float, diagonal: float, precision: str) -> Any:
    assert len(x.shape) == 2 and kind in GRAM_KINDS and (add == 0 or kind == "square")
    n, _ = _symmetric_sizes(x, kind)
    return [((n, n), "real")]


def _symmetric_parts(
    x: Tensor, *, kind: str, scale: float, add: float, diagonal: float, precision: str
) -> tuple[Tensor, ...]:
    turned = transpose(x)
    factors = {"rows": (x, turned), "columns": (turned, x), "square": (x, x)}[kind]
    y = mul(apply(MATMUL, *factors, precision=precision), scale)
    if add:
        y = y + x * add
    return (y + np.eye(size_at(y.shape[0], 1)) * diagonal if diagonal else y,)


def _symmetric_lower(node: Any) -> list[Step]:
    x, y, attrs = node.inputs[0], node.outputs[0], node.attrs
    n, k = _symmetric_sizes(x, attrs["kind"])
    wide, bf16 = x.shape[1], attrs["precision"] == "bf16"
    row, col = (1, wide) if attrs["kind"] == "columns" else (wide, 1)
    fields = {"y": y, "x": x, "n": n, "k": k, "row": row, "col": col, "square": int(attrs["kind"] == "square")}
    fields |= {"bf16": int(bf16), **{name: float(attrs[name]) for name in ("scale", "add", "diagonal")}}
    blocks = -(-size_at(n, 1) // (SYMMETRIC_BLOCK << bf16))
    flops = node.op.flops(node)
    return [Step("matmul_symmetric", fields, (y,), (x,), units=(blocks + 1) // 2, flops=flops, scratch=SCRATCH)]


def _symmetric_flops(node: Any) -> Size:
    n, k = _symmetric_sizes(node.inputs[0], node.attrs["kind"])
    return times(times(n, n), k)


# y(n, n) = scale (x x', x' x or x x) + diagonal I, for a square also + add x; of fixed sizes. For optimisers.
MATMUL_SYMMETRIC: Op = Op(
    "matmul_symmetric",
    _symmetric_infer,
    lower=_symmetric_lower,
    decompose=_symmetric_parts,
    flops=_symmetric_flops,
    scratch=SCRATCH,
)


def matmul(x: Any, w: Any, *, precision: str = "f32") -> Tensor:
    """x @ w for x (..., k) and w (k, n) or (k,).

    Each element is one chain of fused multiply-adds over k ascending, or with few columns 16 chains and a fixed tree,
    so a row's result does not depend on the other rows. Products of two stacks of matrices (both operands with more
    than two axes) are not supported.
    precision: default "f32"; "bf16" rounds x and w to bfloat16 first, in the gradients' products too, and sums in
    float32 (subnormals count as 0); float64 arrays go through the slow reference kernel. Raises ShapeError, and
    ArgumentError where the processor lacks AVX512-BF16.

    >>> hf.ops.matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    array([3., 7.])
    """
    x = x if isinstance(x, Tensor) else operand(x)
    w = w if isinstance(w, Tensor) else operand(w)
    if len(x.shape) == 0 or len(w.shape) == 0 or len(w.shape) > 2:
        raise ShapeError(f"matmul: expected (..., k) and (k, n) or (k,), got {tuple(x.shape)} and {tuple(w.shape)}")
    if x.shape[-1] != w.shape[0]:
        raise ShapeError(
            f"matmul: shapes {tuple(x.shape)} and {tuple(w.shape)} do not fit: "
            f"{x.shape[-1]} columns against {w.shape[0]} rows"
        )
    out = tuple(x.shape[:-1]) + tuple(w.shape[1:])
    if len(x.shape) == 1 and len(w.shape) == 1 and precision == "f32":
        return sum_(mul(x, w))
    x2 = x if len(x.shape) == 2 else reshape(x, (numel(x.shape[:-1]), x.shape[-1]))
    w2 = w if len(w.shape) == 2 else reshape(w, (w.shape[0], 1))
    y = apply(MATMUL, x2, w2, precision=check_precision(precision))
    return y if tuple(y.shape) == out else reshape(y, out)
