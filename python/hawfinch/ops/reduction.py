"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._core import REDUCE_KINDS
from ..errors import DTypeError, ShapeError
from ..ir import Op, Shape, Step, Tensor, apply, numel, operand
from .elementwise import div, equal, flag, is_whole, items, where
from .shape import broadcast_to, reshape, size, transpose

WIDE_INNER = 64  # a reduction down columns is shared between threads by columns from here on


def _infer(x: Tensor, *, kind: str, first: int, last: int) -> list[tuple[Shape, str]]:
    if x.dtype == "int":
        raise DTypeError(f"{kind}: integer tensors have no reductions; use hf.ops.to_real(x) first")
    if kind in ("max", "min", "argmax") and numel(x.shape[first:last]) == 0:
        raise ShapeError(f"{kind} over no elements: shape {x.shape}, axes {first} to {last - 1}")
    return [(x.shape[:first] + x.shape[last:], "int" if kind == "argmax" else "real")]


def _lower(node: Any) -> list[Step]:
    x, y = node.inputs[0], node.outputs[0]
    first, last = node.attrs["first"], node.attrs["last"]
    outer, red, inner = numel(x.shape[:first]), numel(x.shape[first:last]), numel(x.shape[last:])
    by_inner = outer == 1
    fields = {
        "y": y,
        "x": x,
        "outer": outer,
        "red": red,
        "inner": inner,
        "kind": REDUCE_KINDS[node.attrs["kind"]],
        "by_inner": int(by_inner),
    }
    small = by_inner and isinstance(inner, int) and inner < WIDE_INNER
    local = () if by_inner else (x, y)
    return [
        Step(
            "reduce",
            fields,
            (y,),
            (x,),
            units=inner if by_inner else outer,
            local=local,
            grain=16 if by_inner else 1,
            single=small,
            flops=node.op.flops(node),
        )
    ]


def _grad(node: Any, g: Tensor) -> list[Tensor | None]:
    x, y, kind = node.inputs[0], node.outputs[0], node.attrs["kind"]
    first, last = node.attrs["first"], node.attrs["last"]
    kept = x.shape[:first] + (1,) * (last - first) + x.shape[last:]
    if kind == "argmax":
        return [None]
    if kind == "mean":
        g = div(g, size(numel(x.shape[first:last])))
    g = reshape(g, kept)
    if kind in ("max", "min"):  # ties share the gradient evenly, as in PyTorch's amax
        hit = where(equal(x, reshape(y, kept)), 1.0, 0.0)
        return [hit * (g / reshape(apply(REDUCE, hit, kind="sum", first=first, last=last), kept))]
    return [broadcast_to(g, x.shape)]


REDUCE: Op = Op("reduce", _infer, _grad, _lower, real_inputs=True, flops=lambda node: numel(node.inputs[0].shape))


# the largest or least of several axes that are reduced one after the other: the ties among all of them share a gradient
def _extreme_grad(node: Any, g: Tensor) -> list[Tensor]:
    x, y, axes = node.inputs[0], node.outputs[0], node.attrs["axes"]
    kept = tuple(1 if i in axes else s for i, s in enumerate(x.shape))
    hit = where(equal(x, reshape(y, kept)), 1.0, 0.0)
    return [hit * (reshape(g, kept) / sum(hit, axes, True))]


EXTREME: Op = Op(
    "extreme",
    lambda x, *, kind, axes: [(tuple(s for i, s in enumerate(x.shape) if i not in axes), "real")],
    _extreme_grad,
    decompose=lambda x, *, kind, axes: (_one_after_the_other(kind, x, axes),),
    real_inputs=True,
    flops=lambda node: numel(node.inputs[0].shape),
)


def _chosen_axes(kind: str, x: Any, axis: Any) -> list[int]:
    """The axes to reduce over, ascending."""
    n = len(x.shape)
    axes = range(n) if axis is None else [axis] if is_whole(axis) else items(axis)
    if axes is None or not all([is_whole(a) for a in axes]):
        raise ShapeError(f"{kind}: an axis is a whole number, got {axis!r}")
    if kind == "argmax" and axis is not None and len(axes) != 1:
        raise ShapeError(f"argmax: expected one axis or None, got {axis}")
    if any([not -n <= a < n for a in axes]):
        raise ShapeError(f"{kind}: axis {axis} is out of bounds for shape {tuple(x.shape)}")
    return sorted({int(a) % n for a in axes})


def _next_run(kind: str, axes: Sequence[int]) -> int:
    """Adjacent axes reduce together, the last ones first; the leading axis alone, so that rows stay with threads
    (a mean is then one of means of as many each).

    Returns the first of the last run of axes.
    """
    first = axes[-1]
    while first - 1 in axes and (first - 1 != 0 or kind == "argmax"):
        first -= 1
    return first


def _one_after_the_other(kind: str, x: Any, axes: Sequence[int]) -> Any:
    while axes:
        first = _next_run(kind, axes)
        x = apply(REDUCE, x, kind=kind, first=first, last=axes[-1] + 1)
        axes = [a for a in axes if a < first]
    return x


def _reduce(kind: str, x: Any, axis: int | Sequence[int] | None, keepdims: bool) -> Tensor:
    x = x if isinstance(x, Tensor) else operand(x)
    n = len(x.shape)
    keepdims = keepdims if isinstance(keepdims, bool) else flag("keepdims", keepdims)
    chosen = _chosen_axes(kind, x, axis)
    kept = tuple([1 if i in chosen else s for i, s in enumerate(x.shape)])
    out = tuple([s for i, s in enumerate(x.shape) if i not in chosen])
    if kind == "argmax" and axis is None:
        x, chosen = reshape(x, (-1,) if 0 not in x.shape else (0,)), [0]
    elif kind in ("mean", "argmax") and len(chosen) > 1 and chosen[-1] - chosen[0] != len(chosen) - 1:
        rest = [i for i in range(n) if i not in chosen]
        x = transpose(x, rest + chosen)
        chosen = list(range(len(rest), n))
    if kind in ("max", "min") and chosen and _next_run(kind, chosen) != chosen[0]:
        y = apply(EXTREME, x, kind=kind, axes=tuple(chosen))
    else:
        y = _one_after_the_other(kind, x, chosen)
    wanted = kept if keepdims else out
    return y if tuple(y.shape) == wanted else reshape(y, wanted)


def sum(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """Sum over axes (default: all), in a fixed order: lanes and a tree along rows, chunks of rows down columns.

    axis: an int or several; keepdims: whether the axes stay, with size 1. Raises ShapeError.

    >>> hf.ops.sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    array([4., 6.])
    """
    return _reduce("sum", x, axis, keepdims)


def mean(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """Mean over axes (default: all); axis, keepdims and errors as in ``sum``. NaN over no elements.

    >>> hf.ops.mean([[1.0, 2.0], [3.0, 4.0]], axis=1)
    array([1.5, 3.5])
    """
    return _reduce("mean", x, axis, keepdims)


def max(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """Maximum over axes (default: all); NaN wins; ties share the gradient evenly. Arguments and errors as in ``sum``.

    Over no elements: ShapeError.

    >>> hf.ops.max([[1.0, 2.0], [3.0, 4.0]], axis=1, keepdims=True)
    array([[2.],
           [4.]])
    """
    return _reduce("max", x, axis, keepdims)


def min(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """Minimum over axes (default: all); NaN wins; ties share the gradient evenly. Arguments and errors as in ``sum``.

    >>> hf.ops.min([[1.0, 2.0], [3.0, 4.0]])
    np.float64(1.0)
    """
    return _reduce("min", x, axis, keepdims)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the first maximum along an axis (default: of the flattened array), int64. Raises ShapeError.

    >>> hf.ops.argmax([[1.0, 2.0], [3.0, 0.0]], axis=1)
    array([1, 0])
    """
    return _reduce("argmax", x, axis, keepdims)
