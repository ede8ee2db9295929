"""RMS normalisation, on the kernels of layer norm.

Design: the mean square is var + mean^2 of the statistics that a kernel takes in one pass, both positive, so nothing
cancels; the gradient by x is layer norm's without a mean. Rejected: reductions of products, each a pass over memory
more than the norm needs.
"""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..ir import SCALAR, Op, Tensor, apply, operand
from .elementwise import COPY, setting, square
from .normalization import MOMENTS, NORM_GRAD, RMS_ROW_GRAD, check_affine, column, reciprocal_deviation, rows_of
from .reduction import sum as sum_
from .shape import reshape, size

__all__ = ["rms_norm"]


def _infer(x: Tensor, gamma: Tensor, *, eps: float) -> Any:
    check_affine(x, gamma, gamma)
    return [(x.shape, "real"), (x.shape[:1], "real")]


def _parts(x: Tensor, gamma: Tensor, *, eps: float) -> tuple[Tensor, Tensor]:
    mean, var = apply(MOMENTS, x, per_row=True)
    mean_square = var + square(mean)
    return x * column(reciprocal_deviation(mean_square, eps)) * gamma, mean_square


def _grad(node: Any, g: Tensor | None, g_square: Tensor | None) -> list[Tensor | None]:
    x, gamma = node.inputs
    mean_square = node.outputs[1]
    dx = dgamma = None
    if g is not None:
        rstd = reciprocal_deviation(mean_square, node.attrs["eps"])
        dgamma, _ = apply(NORM_GRAD, g, x, apply(COPY, 0.0, shape=x.shape[:1]), rstd, per_row=True)
        if gamma.node.op is SCALAR:
            dx, dgamma = apply(RMS_ROW_GRAD, g * gamma, x, rstd), sum_(dgamma)
        else:
            dx = apply(RMS_ROW_GRAD, g, x, rstd, gamma)
    if g_square is not None:  # d mean(x^2) / dx = 2 x / n
        part = x * column(g_square * (2.0 / size(x.shape[1])))
        dx = part if dx is None else dx + part
    return [dx, dgamma]


RMS_NORMALIZE: Op = Op("rms_normalize", _infer, _grad, decompose=_parts, real_inputs=True)


def rms_norm(x: Any, gamma: Any, eps: float = 1e-6) -> Tensor:
    """Divides each row of x (..., C) by its root mean square, sqrt(mean(x**2) + eps), then * gamma.

    gamma: (C,) or a number; eps: default 1e-6. Zhang, Sennrich, NeurIPS 2019. Raises ShapeError, DTypeError.

    >>> hf.ops.rms_norm([[3.0, 4.0]], 12.5**0.5, eps=0.0)
    array([[3., 4.]])
    """
    x = x if isinstance(x, Tensor) else operand(x)
    if len(x.shape) == 0:
        raise ShapeError("rms_norm needs a last axis of features, got a number")
    y, _ = apply(RMS_NORMALIZE, rows_of(x), gamma, eps=setting("eps", eps))
    return reshape(y, tuple(x.shape))
