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
from ..ir import LEAVES, SCALAR, Op, Shape, Step, Tensor, apply, numel
from .elementwise import RELU, RELU_MASK, reciprocal, sqrt
from .shape import reshape, size

COL_GRAIN = 16  # columns per unit of sharing: one cache line of float32


def _moments_infer(x: Tensor, *, per_row: bool) -> list[tuple[Shape, str]]:
    n = x.shape[0] if per_row else x.shape[1]
    return [((n,), "real"), ((n,), "real")]


def _moments_lower(node: Any) -> list[Step]:
    x = node.inputs[0]
    mean, var = node.outputs
    rows, cols = x.shape
    per_row = node.attrs["per_row"]
    fields = {"mean": mean, "var": var, "x": x, "rows": rows, "cols": cols, "per_row": int(per_row)}
    units, grain = (rows, 1) if per_row else (cols, COL_GRAIN)
    local = (x, mean, var) if per_row else (mean, var)
    return [Step("moments", fields, (mean, var), (x,), units=units, grain=grain, local=local, flops=numel(x.shape) * 4)]


MOMENTS: Op = Op("moments", _moments_infer, None, _moments_lower)


def _norm_grad_lower(node: Any) -> list[Step]:
    dy, x, mean, rstd, *relu = node.inputs
    dgamma, dbeta = node.outputs
    rows, cols = x.shape
    fields = {
        "dgamma": dgamma,
        "dbeta": dbeta,
        "dy": dy,
        "x": x,
        "mean": mean,
        "rstd": rstd,
        "rows": rows,
        "cols": cols,
        "per_row": int(node.attrs["per_row"]),
        "scale": None,
        "shift": None,
    }
    if relu:
        fields["scale"], fields["shift"] = relu
    return [
        Step(
            "norm_grad",
            fields,
            node.outputs,
            node.inputs,
            units=cols,
            grain=COL_GRAIN,
            local=(dgamma, dbeta) if node.attrs["per_row"] else (dgamma, dbeta, mean, rstd, *relu),
            flops=numel(x.shape) * 4,
        )
    ]


NORM_GRAD: Op = Op(
    "norm_grad", lambda dy, x, mean, rstd, *relu, per_row: [((x.shape[1],), "real")] * 2, None, _norm_grad_lower
)


def _norm_row_grad_lower(node: Any) -> list[Step]:
    dy, x, mean, rstd, *gamma = node.inputs
    dx = node.outputs[0]
    rows, cols = x.shape
    fields = {
        "dx": dx,
        "dy": dy,
        "x": x,
        "mean": mean,
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
            local=(dx, dy, x, mean, rstd),
            flops=numel(x.shape) * 8,
            in_place=((dx, dy), (dx, x)),
        )
    ]


NORM_ROW_GRAD: Op = Op("norm_row_grad", lambda dy, x, *_: [(x.shape, "real")], None, _norm_row_grad_lower)


# normalize(x, mean, var, gamma, beta): mean and var are functions of x (their gradient is part of this rule). It is not
# lowered: expand() rewrites it to elementwise ops before fusing.
def _normalize_infer(x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, beta: Tensor, **_: Any) -> Any:
    for name, t in (("gamma", gamma), ("beta", beta)):
        if t.shape != x.shape[1:] and t.node.op is not SCALAR:
            raise ShapeError(
                f"normalisation of (rows, C) = {x.shape}: {name} must be a number or {x.shape[1:]}, got {t.shape}"
            )
    return [(x.shape, "real")]


def _statistics(node: Any) -> tuple[Tensor, Tensor, Tensor]:
    """mean and rstd shaped to broadcast against x, and rstd as a vector."""
    _, mean, var, _, _ = node.inputs
    rstd = reciprocal(sqrt(var + node.attrs["eps"]))
    if node.attrs["per_row"]:
        return reshape(mean, (mean.shape[0], 1)), reshape(rstd, (rstd.shape[0], 1)), rstd
    return mean, rstd, rstd


def _normalize_grad(node: Any, g: Tensor) -> list[Tensor | None]:
    # mean - x, not x - mean: equal nodes are one node, and the forward pass would have to store that difference
    x, mean_vector, _, gamma, _ = node.inputs
    mean, rstd, rstd_vector = _statistics(node)
    dgamma, dbeta = apply(NORM_GRAD, g, x, mean_vector, rstd_vector, per_row=node.attrs["per_row"])
    if node.attrs["per_row"]:  # dx = rstd * (h - mean_row(h) - xhat * mean_row(h * xhat)), h = g * gamma
        if gamma.shape == x.shape[1:]:
            dx = apply(NORM_ROW_GRAD, g, x, mean_vector, rstd_vector, gamma)
        else:
            dx = apply(NORM_ROW_GRAD, g * gamma, x, mean_vector, rstd_vector)
    else:  # dx = a * g + (mean - x) * rstd * a * dgamma / rows - a * dbeta / rows, a = gamma * rstd
        a = gamma * rstd
        a_mean = a / size(x.shape[0])
        dx = g * a + ((mean - x) * (a_mean * (rstd * dgamma)) - a_mean * dbeta)
    return [dx, None, None, dgamma, dbeta]


NORMALIZE: Op = Op("normalize", _normalize_infer, _normalize_grad, None)


def expand_normalize(node: Any) -> Tensor:
    """The elementwise ops that a normalize node stands for."""
    x, _, _, gamma, beta = node.inputs
    mean, rstd, _ = _statistics(node)
    if node.attrs["per_row"]:
        return (x - mean) * rstd * gamma + beta
    return (x - mean) * (gamma * rstd) + beta


def expand_again(node: Any) -> Tensor:
    """The same numbers of a batch norm once more, bit for bit, from mean - x, which the backward pass has at hand."""
    x, _, _, gamma, beta = node.inputs
    mean, rstd, _ = _statistics(node)
    return beta - (mean - x) * (gamma * rstd)


def normalize_under_relu(g: Tensor) -> Any:
    """The batch norm node where g = relu_mask(dy, relu(batch norm)) and dy comes from memory; else None.

    Then the mask costs less anew than read: y and g stay out of the backward pass. (Where a matmul makes dy, the mask
    is part of its epilogue.)
    """
    if g.node.op is not RELU_MASK:
        return None
    dy, y = g.node.inputs
    if y.node.op is not RELU or dy.node.op.name not in LEAVES or dy.shape != y.shape:
        return None
    node = y.node.inputs[0].node
    if (
        node.op is not NORMALIZE
        or node.attrs["per_row"]
        or not node.inputs[3].shape == node.inputs[4].shape == y.shape[1:]
    ):
        return None
    return node


def _rows(x: Any) -> Any:
    """x as (rows, C)."""
    if len(x.shape) == 0:
        raise ShapeError("normalisation needs a last axis of features, got a number")
    return x if len(x.shape) == 2 else reshape(x, (numel(x.shape[:-1]), x.shape[-1]))


def batch_norm(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> tuple[Tensor, Tensor, Tensor]:
    """Normalises each column of x (..., C) by its own mean and biased variance: (y, mean (C,), var (C,)).

    y = (x - mean) / sqrt(var + eps) * gamma + beta. Ioffe, Szegedy, ICML 2015.
    """
    x2 = _rows(x)
    mean, var = apply(MOMENTS, x2, per_row=False)
    y = apply(NORMALIZE, x2, mean, var, gamma, beta, eps=float(eps), per_row=False)
    return reshape(y, tuple(x.shape)), mean, var


def layer_norm(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Tensor:
    """Normalises each row of x (..., C) by its own mean and biased variance, then * gamma + beta.

    Ba, Kiros, Hinton, 2016.
    """
    x2 = _rows(x)
    mean, var = apply(MOMENTS, x2, per_row=True)
    y = apply(NORMALIZE, x2, mean, var, gamma, beta, eps=float(eps), per_row=True)
    return reshape(y, tuple(x.shape))
