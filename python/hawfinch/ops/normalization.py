"""Batch and layer normalisation.

Design: y = (x - mean) * rstd * gamma + beta is an elementwise program like any other, so it fuses with the activation
and the dropout behind it; only the statistics (``moments``), the gradients of gamma and beta (``norm_grad``) and the
layer norm's gradient by x, whose two sums need a row at a time (``norm_row_grad``), are kernels of their own. Memory
passes over the activation: forward 1 read + 1 read and write, backward 2 reads + 2 reads and 1 write, the least that
statistics over the batch allow. Rejected: one kernel per normalisation and activation.
"""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..ir import SCALAR, Op, Shape, Size, Step, Tensor, apply, numel, operand
from .elementwise import RELU, RELU_MASK, reciprocal, setting, sqrt, square
from .joint import joint_mean, n_trainers
from .reduction import mean as mean_, sum as sum_
from .shape import reshape, size

COL_GRAIN = 16  # columns per unit of sharing: one cache line of float32


def column(v: Tensor) -> Tensor:
    """A number per row, shaped to broadcast against (rows, C)."""
    return reshape(v, (v.shape[0], 1))


def _sizes(x: Tensor, per_row: bool) -> tuple[Size, Size, Size]:
    """x as (outer, red, inner): (rows, C) by column or by row, or given as such."""
    if x.ndim == 3:
        outer, red, inner = x.shape
        return outer, red, inner
    return (x.shape[0], x.shape[1], 1) if per_row else (1, x.shape[0], x.shape[1])


def _is_by_inner(x: Tensor, per_row: bool) -> bool:
    """Whether threads share the columns; else the rows, or samples. A row is summed in one way, in any batch."""
    return not per_row if x.ndim == 2 else x.shape[0] == 1 and x.shape[2] != 1


def _moments_infer(x: Tensor, *, per_row: bool) -> list[tuple[Shape, str]]:
    shape = x.shape[::2] if x.ndim == 3 else x.shape[:1] if per_row else x.shape[1:]
    return [(shape, "real"), (shape, "real")]


def _moments_lower(node: Any) -> list[Step]:
    x = node.inputs[0]
    mean, var = node.outputs
    outer, red, inner = _sizes(x, node.attrs["per_row"])
    by_inner = _is_by_inner(x, node.attrs["per_row"])
    fields = {"mean": mean, "var": var, "x": x, "outer": outer, "red": red, "inner": inner, "by_inner": int(by_inner)}
    units, grain = (inner, COL_GRAIN) if by_inner else (outer, 1)
    local = (mean, var) if by_inner else (x, mean, var)
    return [
        Step("moments", fields, (mean, var), (x,), units=units, grain=grain, local=local, flops=node.op.flops(node))
    ]


def _moments_parts(x: Tensor, *, per_row: bool) -> tuple[Tensor, Tensor]:
    """The variance from the distances to the mean: x * x would lose it where the mean is large."""
    axis = 1 if per_row or x.ndim == 3 else 0
    mean = mean_(x, axis, True)
    var = mean_(square(x - mean), axis)
    return reshape(mean, var.shape), var


MOMENTS: Op = Op(
    "moments",
    _moments_infer,
    None,
    _moments_lower,
    decompose=_moments_parts,
    flops=lambda node: numel(node.inputs[0].shape) * 4,
    real_inputs=True,
)


def _norm_grad_lower(node: Any) -> list[Step]:
    dy, x, mean, rstd, *relu = node.inputs
    dgamma, dbeta = node.outputs
    by_red = node.attrs["per_row"]
    outer, red, inner = _sizes(x, False)
    by_inner = _is_by_inner(x, False)
    fields = {
        "dgamma": dgamma,
        "dbeta": dbeta,
        "dy": dy,
        "x": x,
        "mean": mean,
        "rstd": rstd,
        "outer": outer,
        "red": red,
        "inner": inner,
        "by_red": int(by_red),
        "by_inner": int(by_inner),
        "scale": None,
        "shift": None,
    }
    if relu:
        fields["scale"], fields["shift"] = relu
    units, grain = (inner, COL_GRAIN) if by_inner else (outer, 1)
    local = (dgamma, dbeta) if by_red else (dgamma, dbeta, mean, rstd, *relu)
    if not by_inner:
        local = (*node.outputs, *node.inputs)
    more = {"units": units, "grain": grain, "local": local, "flops": node.op.flops(node)}
    return [Step("norm_grad", fields, node.outputs, node.inputs, **more)]


def _norm_grad_parts(dy: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, *relu: Tensor, per_row: bool) -> Any:
    if per_row:
        mean, rstd = column(mean), column(rstd)
    if x.ndim == 3:
        mean, rstd = reshape(mean, (mean.shape[0], 1, mean.shape[1])), reshape(rstd, (rstd.shape[0], 1, rstd.shape[1]))
    if relu:
        scale, shift = relu
        dy = apply(RELU_MASK, dy, (x - mean) * scale + shift)
    axis = 1 if x.ndim == 3 else 0
    return sum_(dy * ((x - mean) * rstd), axis), sum_(dy, axis)


NORM_GRAD: Op = Op(
    "norm_grad",
    lambda dy, x, mean, rstd, *relu, per_row: [(x.shape[::2] if x.ndim == 3 else x.shape[1:], "real")] * 2,
    None,
    _norm_grad_lower,
    decompose=_norm_grad_parts,
    flops=lambda node: numel(node.inputs[1].shape) * 4,
)


def _norm_row_grad_lower(node: Any) -> list[Step]:
    """Of a layer norm, and without mean of an RMS norm."""
    dy, x, *mean, rstd = node.inputs[: 3 if node.op is RMS_ROW_GRAD else 4]
    gamma = node.inputs[3 + len(mean) :]
    dx = node.outputs[0]
    rows, cols = x.shape
    fields = {
        "dx": dx,
        "dy": dy,
        "x": x,
        "mean": mean[0] if mean else None,
        "rstd": rstd,
        "gamma": gamma[0] if gamma else None,
        "rows": rows,
        "cols": cols,
    }
    return [
        Step(
            "norm_row_grad",
            fields,
            (dx,),
            node.inputs,
            units=rows,
            local=(dx, dy, x, *mean, rstd),
            flops=node.op.flops(node),
            in_place=((dx, dy), (dx, x)),
        )
    ]


def _norm_row_grad_parts(dy: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, *gamma: Tensor) -> tuple[Tensor]:
    """dx = rstd * (h - mean_row(h) - xhat * mean_row(h * xhat)), h = dy * gamma."""
    h = dy * gamma[0] if gamma else dy
    xhat = (x - column(mean)) * column(rstd)
    return (column(rstd) * (h - mean_(h, 1, True) - xhat * mean_(h * xhat, 1, True)),)


NORM_ROW_GRAD: Op = Op(
    "norm_row_grad",
    lambda dy, x, *_: [(x.shape, "real")],
    None,
    _norm_row_grad_lower,
    decompose=_norm_row_grad_parts,
    flops=lambda node: numel(node.inputs[1].shape) * 8,
)


# norm_row_grad of a norm about 0
RMS_ROW_GRAD: Op = Op(
    "rms_row_grad",
    lambda dy, x, *_: [(x.shape, "real")],
    None,
    _norm_row_grad_lower,
    decompose=lambda dy, x, rstd, *gamma: _rms_row_grad_parts(dy, x, rstd, *gamma),
    flops=lambda node: numel(node.inputs[1].shape) * 8,
)


def _rms_row_grad_parts(dy: Tensor, x: Tensor, rstd: Tensor, *gamma: Tensor) -> tuple[Tensor]:
    """dx = rstd * (h - xhat * mean_row(h * xhat)), h = dy * gamma, xhat = x * rstd."""
    h = dy * gamma[0] if gamma else dy
    xhat = x * column(rstd)
    return (column(rstd) * (h - xhat * mean_(h * xhat, 1, True)),)


# normalize(x, gamma, beta) -> (y, mean, var) of x (rows, C), by column or, with per_row, by row. It has no kernel: its
# parts are the statistics and elementwise ops.
def check_affine(x: Tensor, gamma: Tensor, beta: Tensor) -> None:
    """Raises ShapeError unless gamma and beta have a number for each channel of x (..., C), or are numbers."""
    for name, t in (("gamma", gamma), ("beta", beta)):
        if t.shape != x.shape[-1:] and t.node.op is not SCALAR:
            raise ShapeError(
                f"normalisation of (rows, C) = {x.shape}: {name} must be a number or {x.shape[-1:]}, got {t.shape}"
            )


def _normalize_infer(x: Tensor, gamma: Tensor, beta: Tensor, *, eps: float, per_row: bool) -> Any:
    check_affine(x, gamma, beta)
    statistics = ((x.shape[:1] if per_row else x.shape[1:]), "real")
    return [(x.shape, "real"), statistics, statistics]


def reciprocal_deviation(var: Tensor, eps: float) -> Tensor:
    return reciprocal(sqrt(var + eps))


def _normalize_parts(x: Tensor, gamma: Tensor, beta: Tensor, *, eps: float, per_row: bool) -> tuple[Tensor, ...]:
    mean, var = apply(MOMENTS, x, per_row=per_row)
    rstd = reciprocal_deviation(var, eps)
    if per_row:
        return (x - column(mean)) * column(rstd) * gamma + beta, mean, var
    return (x - mean) * (gamma * rstd) + beta, mean, var


def _normalize_grad(node: Any, g: Tensor | None, g_mean: Tensor | None, g_var: Tensor | None) -> list[Tensor | None]:
    # mean - x, not x - mean: equal nodes are one node, and the forward pass would have to store that difference
    x, gamma, _ = node.inputs
    _, mean, var = node.outputs
    per_row = node.attrs["per_row"]
    n = size(x.shape[1 if per_row else 0])
    dx = dgamma = dbeta = None
    if g is not None:
        rstd = reciprocal_deviation(var, node.attrs["eps"])
        dgamma, dbeta = apply(NORM_GRAD, g, x, mean, rstd, per_row=per_row)
        if not per_row:  # dx = a * g + (mean - x) * rstd * a * dgamma / rows - a * dbeta / rows, a = gamma * rstd
            a = gamma * rstd
            a_mean = a / n
            dx = g * a + ((mean - x) * (a_mean * (rstd * dgamma)) - a_mean * dbeta)
        elif gamma.shape == x.shape[1:]:
            dx = apply(NORM_ROW_GRAD, g, x, mean, rstd, gamma)
        else:
            dx = apply(NORM_ROW_GRAD, g * gamma, x, mean, rstd)
        if gamma.shape == ():
            dgamma, dbeta = sum_(dgamma), sum_(dbeta)
    if g_mean is not None:  # dmean / dx = 1 / n
        part = g_mean / n
        part = column(part) if per_row else part
        dx = part + x * 0.0 if dx is None else dx + part
    if g_var is not None:  # dvar / dx = 2 (x - mean) / n; how the mean depends on x cancels
        part = g_var * (-2.0 / n)
        part = (column(mean) - x) * column(part) if per_row else (mean - x) * part
        dx = part if dx is None else dx + part
    return [dx, dgamma, dbeta]


NORMALIZE: Op = Op("normalize", _normalize_infer, _normalize_grad, decompose=_normalize_parts, real_inputs=True)


def normalize_again(x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, beta: Tensor, *, eps: float) -> Tensor:
    """The result of a batch norm once more, bit for bit, from mean - x, which the backward pass has at hand."""
    return beta - (mean - x) * (gamma * reciprocal_deviation(var, eps))


def normalize_under_relu(g: Tensor) -> Any:
    """The batch norm node where g = relu_mask(dy, relu(batch norm)) and dy comes from memory; else None.

    Then the mask costs less anew than read: y and g stay out of the backward pass. (Where a matmul makes dy, the mask
    is part of its epilogue.)
    """
    if g.node.op is not RELU_MASK:
        return None
    dy, y = g.node.inputs
    if y.node.op is not RELU or not dy.node.op.is_leaf or dy.shape != y.shape:
        return None
    node = y.node.inputs[0].node
    if (
        node.op is not NORMALIZE
        or node.attrs["per_row"]
        or not node.inputs[1].shape == node.inputs[2].shape == y.shape[1:]
    ):
        return None
    return node


def rows_of(x: Any) -> Any:
    """x as (rows, C)."""
    if len(x.shape) == 0:
        raise ShapeError("normalisation needs a last axis of features, got a number")
    return x if len(x.shape) == 2 else reshape(x, (numel(x.shape[:-1]), x.shape[-1]))


def _joint_normalize(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """normalize by column over the batches of all trainers. Each variance is first taken about its own mean, then
    moved to the joint one: no difference of large squares."""
    check_affine(x, gamma, beta)
    own_mean, own_var = apply(MOMENTS, x, per_row=False)
    mean = joint_mean(own_mean)
    var = joint_mean(own_var + square(own_mean - mean))
    return (x - mean) * (gamma * reciprocal_deviation(var, eps)) + beta, mean, var


def batch_norm(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> tuple[Tensor, Tensor, Tensor]:
    """Normalises each column of x (..., C) by its own mean and biased variance: (y, mean (C,), var (C,)).

    y = (x - mean) / sqrt(var + eps) * gamma + beta; gamma, beta: (C,) or numbers; eps: default 1e-5. All three results
    have gradients. Ioffe, Szegedy, ICML 2015. Raises ShapeError, DTypeError.

    >>> y, mean, var = hf.ops.batch_norm([[1.0], [3.0]], [1.0], [0.0], eps=0.0)
    >>> y.ravel(), mean, var
    (array([-1.,  1.]), array([2.]), array([1.]))
    """
    x = x if isinstance(x, Tensor) else operand(x)
    eps = setting("eps", eps)
    if n_trainers():
        y, mean, var = _joint_normalize(rows_of(x), operand(gamma), operand(beta), eps)
    else:
        y, mean, var = apply(NORMALIZE, rows_of(x), gamma, beta, eps=eps, per_row=False)
    return reshape(y, tuple(x.shape)), mean, var


def layer_norm(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Tensor:
    """Normalises each row of x (..., C) by its own mean and biased variance, then * gamma + beta.

    gamma, beta: (C,) or numbers; eps: default 1e-5. Ba, Kiros, Hinton, 2016. Raises ShapeError, DTypeError.

    >>> hf.ops.layer_norm([[1.0, 3.0], [10.0, 30.0]], 1.0, 0.0, eps=0.0)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    x = x if isinstance(x, Tensor) else operand(x)
    y, _, _ = apply(NORMALIZE, rows_of(x), gamma, beta, eps=setting("eps", eps), per_row=True)
    return reshape(y, tuple(x.shape))
