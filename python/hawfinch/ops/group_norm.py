"""Group and instance normalisation, of channels that come last.

Design: statistics and the sums of the gradient are taken per sample and channel, by the kernels of batch norm over
(outer, red, inner), and joined over the channels of a group: a few numbers per channel. So the activation is read where
it is and never transposed. Rejected: groups as rows of a layer norm, two copies per pass where there is more than one
position.
"""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, ShapeError
from ..ir import Op, Tensor, apply, numel, operand
from .elementwise import add, is_whole, mul, setting, square
from .normalization import MOMENTS, NORM_GRAD, NORMALIZE, check_affine, reciprocal_deviation
from .reduction import mean as mean_, sum as sum_
from .shape import broadcast_to, reshape, size


def _grouped(v: Tensor, groups: int) -> Tensor:
    """(samples, C) as (samples, groups, channels of a group)."""
    samples, channels = v.shape
    assert isinstance(channels, int)
    return reshape(v, (samples, groups, channels // groups))


def _spread(v: Tensor, channels: int) -> Tensor:
    """(samples, groups) as (samples, C): each group's number for all of its channels."""
    samples, groups = v.shape
    assert isinstance(groups, int)
    if groups == channels:
        return v
    each = broadcast_to(reshape(v, (samples, groups, 1)), (samples, groups, channels // groups))
    return reshape(each, (samples, channels))


def _along(v: Tensor) -> Tensor:
    """(samples, C) to broadcast against (samples, positions, C)."""
    return reshape(v, (v.shape[0], 1, v.shape[1]))


def _parts(x: Tensor, gamma: Tensor, beta: Tensor, *, groups: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """var of a group = mean over its channels of (their var + (their mean - the group's mean)^2)."""
    channels = x.shape[2]
    assert isinstance(channels, int)
    mean, var = apply(MOMENTS, x, per_row=False)
    if groups != channels:
        means = _grouped(mean, groups)
        mean = mean_(means, 2)
        var = mean_(_grouped(var, groups) + square(means - reshape(mean, (*mean.shape, 1))), 2)
    rstd = _along(_spread(reciprocal_deviation(var, eps), channels))
    return (x - _along(_spread(mean, channels))) * (gamma * rstd) + beta, mean, var


def _grad(node: Any, g: Tensor | None, g_mean: Tensor | None, g_var: Tensor | None) -> list[Tensor | None]:
    """dx = rstd (h - mean(h) - xhat mean(h xhat)), h = g gamma, means over a group; these follow from the sums per
    channel that gamma and beta need. Wu, He, 2018."""
    x, gamma, _ = node.inputs
    _, mean, var = node.outputs
    groups, channels = node.attrs["groups"], x.shape[2]
    n = size(numel((x.shape[1], channels // groups)))
    means = _spread(mean, channels)
    dx = dgamma = dbeta = None
    if g is not None:
        rstd = _spread(reciprocal_deviation(var, node.attrs["eps"]), channels)
        along, total = apply(NORM_GRAD, g, x, means, rstd, per_row=False)
        dgamma, dbeta = sum_(along, 0), sum_(total, 0)
        of_group = [_spread(sum_(_grouped(part * gamma, groups), 2), channels) for part in (along, total)]
        a, b = (rstd * (part / n) for part in of_group)
        dx = g * (gamma * _along(rstd)) + ((_along(means) - x) * _along(rstd * a) - _along(b))
        if gamma.shape == ():
            dgamma, dbeta = sum_(dgamma), sum_(dbeta)
    if g_mean is not None:  # dmean / dx = 1 / n
        part = _along(_spread(g_mean / n, channels))
        dx = part + x * 0.0 if dx is None else dx + part
    if g_var is not None:  # dvar / dx = 2 (x - mean) / n
        part = (x - _along(means)) * _along(_spread(g_var * (2.0 / n), channels))
        dx = part if dx is None else dx + part
    return [dx, dgamma, dbeta]


def _infer(x: Tensor, gamma: Tensor, beta: Tensor, *, groups: int, eps: float) -> Any:
    check_affine(x, gamma, beta)
    return [(x.shape, "real"), ((x.shape[0], groups), "real"), ((x.shape[0], groups), "real")]


NORMALIZE_GROUPS: Op = Op("normalize_groups", _infer, _grad, decompose=_parts, real_inputs=True)


def group_norm(x: Any, groups: int, gamma: Any, beta: Any, eps: float = 1e-5) -> Tensor:
    """Normalises each sample's groups of channels by their own mean and biased variance, then * gamma + beta.

    x (samples, ..., C), channels last; groups: a divisor of C (C itself: instance norm); each group is all positions of
    C / groups channels that follow each other. gamma, beta: (C,) or numbers; eps: default 1e-5. Wu, He, ECCV 2018;
    Ulyanov, Vedaldi, Lempitsky, 2016. Raises ShapeError, DTypeError, ArgumentError.

    >>> hf.ops.group_norm([[1.0, 3.0, 10.0, 30.0]], 2, 1.0, 0.0, eps=0.0)
    array([[-1.,  1., -1.,  1.]])
    """
    x = x if isinstance(x, Tensor) else operand(x)
    shape, eps = tuple(x.shape), setting("eps", eps)
    if len(shape) < 2 or not isinstance(shape[-1], int):
        raise ShapeError(f"group_norm: expected (samples, ..., C), got {shape}")
    channels = shape[-1]
    if not is_whole(groups) or groups < 1 or channels % groups:
        raise ArgumentError(f"group_norm: groups must be a divisor of the {channels} channels, got {groups!r}")
    if len(shape) == 2:  # a group is a row
        rows = reshape(x, (numel((shape[0], int(groups))), channels // groups))
        y, _, _ = apply(NORMALIZE, rows, 1.0, 0.0, eps=eps, per_row=True)
        return add(mul(reshape(y, shape), gamma), beta)
    x3 = reshape(x, (shape[0], numel(shape[1:-1]), channels))
    y, _, _ = apply(NORMALIZE_GROUPS, x3, gamma, beta, groups=int(groups), eps=eps)
    return reshape(y, shape)
