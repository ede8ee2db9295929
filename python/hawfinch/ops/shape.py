"""Movement ops: they change where elements stand, never their values.

reshape costs nothing (a view of the same memory); transpose, slice, concat and pad are one strided copy each, and a
transpose in front of a matmul is absorbed into its strides (compiler/group.py).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._core import FIELDS
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ir import (
    Dim,
    Op,
    Shape,
    Size,
    Step,
    Tensor,
    apply,
    as_array,
    as_tensor,
    current_graph,
    numel,
    operand,
    single,
    times,
)
from .elementwise import COPY, as_shape, broadcast_shapes, is_whole, items, mul, setting
from .instructions import fill_step

_, _, MAX_DIMS = FIELDS["copy"]["dim"]


def contiguous_strides(shape: Sequence[Size]) -> list[Size]:
    strides: list[Size] = []
    n: Size = 1
    for s in reversed(shape):
        strides.append(n)
        n = times(n, s)
    return strides[::-1]


def _copy_step(
    y: Tensor,
    x: Tensor,
    dims: Sequence[Size],
    y_stride: Sequence[Size],
    x_stride: Sequence[Size],
    y_offset: Size = 0,
    x_offset: Size = 0,
    scope: str = "",
) -> Step:
    pad = MAX_DIMS - len(dims)
    if pad < 0:
        raise ShapeError(f"arrays of more than {MAX_DIMS} dimensions are not supported, got {len(dims)}")
    fill: list[Size] = [1] * pad
    fields = {
        "y": (y, y_offset),
        "x": (x, x_offset),
        "dim": [*dims[:1], *fill, *dims[1:]] if dims else [1] * MAX_DIMS,
        "y_stride": [*y_stride[:1], *[0] * pad, *y_stride[1:]] if dims else [0] * MAX_DIMS,
        "x_stride": [*x_stride[:1], *[0] * pad, *x_stride[1:]] if dims else [0] * MAX_DIMS,
        "itemsize": "itemsize",
    }
    return Step("copy", fields, (y,), (x,), units=dims[0] if dims else 1, scope=scope)


# ---- reshape ----
def _reshape_infer(x: Tensor, *, shape: Shape) -> list[tuple[Shape, str]]:
    if numel(shape) != numel(x.shape):
        raise ShapeError(f"can't reshape {x.shape} to {shape}: {numel(x.shape)} elements against {numel(shape)}")
    return [(shape, x.dtype)]


RESHAPE: Op = Op(
    "reshape",
    _reshape_infer,
    lambda node, g: [apply(RESHAPE, g, shape=node.inputs[0].shape)],
    is_view=True,
    flops=lambda node: 0,
)


def reshape(x: Any, *shape: Any) -> Tensor:
    """x with another shape, same elements in the same order; one size may be -1. Never copies inside a plan.

    shape: sizes, or one tuple or list of them. Raises ShapeError.

    >>> hf.ops.reshape(np.arange(6.0), 2, -1)
    array([[0., 1., 2.],
           [3., 4., 5.]])
    """
    x = x if isinstance(x, Tensor) else operand(x)
    listed = items(shape[0]) if len(shape) == 1 else None
    sizes: list[Any] = list(shape) if listed is None else listed
    x_shape: Shape = tuple(x.shape)
    fixed = [s for s in sizes if not isinstance(s, Dim)]
    if any([not is_whole(s) or s < -1 for s in fixed]) or fixed.count(-1) > 1:
        raise ShapeError(f"can't reshape {x_shape} to {tuple(sizes)}: sizes are whole numbers, at most one of them -1")
    if -1 in sizes:
        at = sizes.index(-1)
        rest = numel(tuple([s for i, s in enumerate(sizes) if i != at]))
        total = numel(x_shape)
        if isinstance(rest, Dim):
            if total == 0:  # a size 0 beside the batch axis
                total = Dim(0)
            if not isinstance(total, Dim) or rest.fixed or total.fixed or total.per_row % rest.per_row:
                raise ShapeError(f"can't reshape {x_shape} to {tuple(sizes)}")
            sizes[at] = total.per_row // rest.per_row
        elif isinstance(total, Dim):
            sizes[at] = total.divided_by(rest)
        elif rest == 0 or total % rest:
            raise ShapeError(f"can't reshape {x_shape} to {tuple(sizes)}")
        else:
            sizes[at] = total // rest
    if isinstance(x, Tensor) and tuple(sizes) == x.shape:
        return x
    return apply(RESHAPE, x, shape=tuple([s if isinstance(s, Dim) else int(s) for s in sizes]))


# ---- transpose ----
def contiguous_copy(y: Tensor, x: Tensor, n: Size) -> Step:
    """y = x, n elements."""
    return _copy_step(y, x, (n,), (1,), (1,))


def _transpose_lower(node: Any) -> list[Step]:
    x, y = node.inputs[0], node.outputs[0]
    strides = contiguous_strides(x.shape)
    permuted = [strides[a] for a in node.attrs["axes"]]
    return [_copy_step(y, x, y.shape, contiguous_strides(y.shape), permuted)]


def _transpose_grad(node: Any, g: Tensor) -> list[Tensor]:
    axes = node.attrs["axes"]
    return [apply(TRANSPOSE, g, axes=tuple(sorted(range(len(axes)), key=axes.__getitem__)))]


TRANSPOSE: Op = Op(
    "transpose", lambda x, *, axes: [(tuple([x.shape[a] for a in axes]), x.dtype)], _transpose_grad, _transpose_lower
)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """x with its axes permuted; default: reversed. Negative axes count from the end. Raises ShapeError.

    >>> hf.ops.transpose([[1.0, 2.0], [3.0, 4.0]])
    array([[1., 3.],
           [2., 4.]])
    """
    x = x if isinstance(x, Tensor) else operand(x)
    n = len(x.shape)
    order = tuple(range(n)[::-1])
    if axes is not None:
        given = items(axes) or ()
        order = tuple([int(a) + n if a < 0 else int(a) for a in given if is_whole(a)])
        if len(given) != n or sorted(order) != list(range(n)):
            raise ShapeError(f"axes {axes} are not a permutation of the {n} axes of shape {tuple(x.shape)}")
    if isinstance(x, Tensor) and x.node.op is TRANSPOSE:  # a transpose of a transpose is one
        inner = x.node.attrs["axes"]
        return transpose(x.node.inputs[0], [inner[a] for a in order])
    if order == tuple(range(n)) and isinstance(x, Tensor):
        return x
    return apply(TRANSPOSE, x, axes=order)


# ---- slice and pad: each the other's gradient ----
# bounds: per axis (start, step, size); the input keeps its own shape in attr "full" for the way back
def _slice_infer(x: Tensor, *, bounds: tuple[Any, ...]) -> list[tuple[Shape, str]]:
    return [(tuple(size for _, _, size in bounds), x.dtype)]


def _slice_view(shape: Shape, bounds: Any) -> tuple[list[Size], Size]:
    strides = contiguous_strides(shape)
    offset: Size = 0
    for (start, _, _), s in zip(bounds, strides, strict=True):
        offset = offset + times(start, s)
    return [times(s, step) for (_, step, _), s in zip(bounds, strides, strict=True)], offset


def _slice_lower(node: Any) -> list[Step]:
    x, y = node.inputs[0], node.outputs[0]
    strides, offset = _slice_view(x.shape, node.attrs["bounds"])
    return [_copy_step(y, x, y.shape, contiguous_strides(y.shape), strides, x_offset=offset)]


def _pad_lower(node: Any) -> list[Step]:
    x, y = node.inputs[0], node.outputs[0]
    strides, offset = _slice_view(y.shape, node.attrs["bounds"])
    return [
        fill_step(y, node.attrs["value"]),
        _copy_step(y, x, x.shape, strides, contiguous_strides(x.shape), y_offset=offset),
    ]


def _pad_infer(x: Tensor, *, full: Shape, bounds: Any, value: float) -> list[tuple[Shape, str]]:
    if x.dtype == "int":
        raise DTypeError("pad: integer tensors are not supported; use hf.ops.to_real(x) first")
    return [(full, x.dtype)]


SLICE: Op = Op(
    "slice",
    _slice_infer,
    lambda node, g: [apply(PAD, g, full=node.inputs[0].shape, bounds=node.attrs["bounds"], value=0.0)],
    _slice_lower,
)
PAD: Op = Op("pad", _pad_infer, lambda node, g: [apply(SLICE, g, bounds=node.attrs["bounds"])], _pad_lower)


def getitem(x: Any, key: Any) -> Tensor:
    """x[key] for integers, slices, None and Ellipsis; the batch axis takes only ``:``.

    Raises ShapeError where an index is out of bounds, DTypeError for other kinds of index (see ``gather``).

    >>> hf.ops.getitem(np.arange(6.0).reshape(2, 3), (slice(None), -1))
    array([2., 5.])
    """
    x = x if isinstance(x, Tensor) else operand(x)
    keys = list(key) if isinstance(key, tuple) else [key]
    n_real = sum(k is not None and k is not Ellipsis for k in keys)
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    keys[at : at + 1] = [slice(None)] * (len(x.shape) - n_real)
    bounds: list[tuple[Size, int, Size]] = []
    out: list[Size] = []
    axis = 0
    for k in keys:
        if k is None:
            out.append(1)
            continue
        if axis >= len(x.shape):
            raise ShapeError(f"too many indices for shape {x.shape}: {key}")
        size = x.shape[axis]
        axis += 1
        if isinstance(k, slice):
            if isinstance(size, Dim):
                if k != slice(None):
                    raise ShapeError("the batch axis can't be sliced inside a trace: its size is not known")
                bounds.append((0, 1, size))
                out.append(size)
                continue
            try:
                start, stop, step = k.indices(size)
            except (TypeError, ValueError) as error:
                raise ArgumentError(f"{k} can't be used as an index: {error}") from None
            count = len(range(start, stop, step))
            bounds.append((start, step, count))
            out.append(count)
        elif is_whole(k):
            if isinstance(size, Dim):
                raise ShapeError("the batch axis can't be indexed inside a trace")
            if not -size <= k < size:
                raise ShapeError(f"index {k} is out of bounds for axis of size {size} in shape {x.shape}")
            bounds.append((int(k) % size, 1, 1))
        else:
            raise DTypeError(f"an index must be an int, slice, None or ..., got {type(k).__name__}; see hf.ops.gather")
    whole = all(b == (0, 1, s) for b, s in zip(bounds, x.shape, strict=True))
    y = x if whole else apply(SLICE, x, bounds=tuple(bounds))
    return y if tuple(y.shape) == tuple(out) else reshape(y, tuple(out))


def pad(x: Any, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """x with ``widths[axis] = (before, after)`` elements of ``value`` around it. Raises ShapeError, DTypeError.

    >>> hf.ops.pad([1.0, 2.0], [(1, 2)])
    array([0., 1., 2., 0., 0.])
    """
    x = x if isinstance(x, Tensor) else operand(x)
    try:
        pairs = [(operator.index(a), operator.index(b)) for a, b in widths]
    except (TypeError, ValueError):
        raise ShapeError(f"pad widths must be pairs of whole numbers, one per axis; got {widths!r}") from None
    if len(pairs) != len(x.shape):
        raise ShapeError(f"pad needs one (before, after) per axis of {tuple(x.shape)}, got {pairs}")
    if any(w < 0 for pair in pairs for w in pair):
        raise ShapeError(f"pad widths must not be negative, got {pairs}")
    full = as_shape([s + (a + b) for s, (a, b) in zip(x.shape, pairs, strict=True)])
    bounds = tuple((a, 1, s) for s, (a, _) in zip(x.shape, pairs, strict=True))
    return apply(PAD, x, full=full, bounds=bounds, value=setting("value", value))


# ---- concat ----
def _concat_infer(*xs: Tensor, axis: int) -> list[tuple[Shape, str]]:
    first = xs[0]
    total: Size = 0
    for t in xs:
        if (
            t.dtype != first.dtype
            or t.ndim != first.ndim
            or any(a != b for i, (a, b) in enumerate(zip(t.shape, first.shape, strict=True)) if i != axis)
        ):
            if t.dtype != first.dtype:
                raise ShapeError(
                    f"concat along axis {axis}: {first.shape} is {first.dtype} and {t.shape} is {t.dtype}; an input "
                    "that is used as indices is whole numbers throughout: pass indices and numbers as two inputs"
                )
            raise ShapeError(f"concat along axis {axis}: {first.shape} and {t.shape} differ in another axis")
        total = t.shape[axis] + total
    return [((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)]


def _parts(shape: Shape, sizes: Sequence[Size], axis: int) -> list[tuple[Any, ...]]:
    bounds, start = [], 0  # type: tuple[list[Any], Size]
    for size in sizes:
        bounds.append(tuple((start, 1, size) if i == axis else (0, 1, s) for i, s in enumerate(shape)))
        start = size + start
    return bounds


def _concat_lower(node: Any) -> list[Step]:
    y, axis = node.outputs[0], node.attrs["axis"]
    steps = []
    for x, bounds in zip(node.inputs, _parts(y.shape, [t.shape[axis] for t in node.inputs], axis), strict=True):
        strides, offset = _slice_view(y.shape, bounds)
        steps.append(_copy_step(y, x, x.shape, strides, contiguous_strides(x.shape), y_offset=offset))
    return steps


def _concat_grad(node: Any, g: Tensor) -> list[Tensor]:
    axis = node.attrs["axis"]
    return [apply(SLICE, g, bounds=b) for b in _parts(g.shape, [t.shape[axis] for t in node.inputs], axis)]


CONCAT: Op = Op("concat", _concat_infer, _concat_grad, _concat_lower)


def concat(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """The arrays of xs one after the other along an existing axis; all of one dtype. Raises ShapeError.

    >>> hf.ops.concat([[1.0, 2.0], [3.0]])
    array([1., 2., 3.])
    """
    given = list(xs) if isinstance(xs, np.ndarray) and xs.ndim else items(xs)
    if given is None:
        raise ArgumentError(f"concat takes a list of arrays, got {type(xs).__name__}")
    parts = [x if isinstance(x, Tensor) else operand(x) for x in given]
    if not parts:
        raise ShapeError("concat needs at least one array")
    n = len(parts[0].shape)
    if not is_whole(axis) or not -n <= axis < n:
        raise ShapeError(f"concat: axis {axis!r} is out of bounds for shape {tuple(parts[0].shape)}")
    return apply(CONCAT, *parts, axis=int(axis) % n)


# ---- gather ----
def _gather_infer(table: Tensor, index: Tensor) -> list[tuple[Shape, str]]:
    if index.dtype != "int":
        error = DTypeError(f"gather needs integer indices, got {index.dtype} numbers; convert them with .astype(int)")
        error.indices = index  # type: ignore[attr-defined]  # a model makes integers of its inputs behind them
        raise error
    if table.ndim < 1 or isinstance(table.shape[0], Dim):
        raise ShapeError(f"gather takes rows of a table with a fixed number of rows, got shape {table.shape}")
    return [((*index.shape, *table.shape[1:]), table.dtype)]


def _gather_lower(node: Any) -> list[Step]:
    table, index = node.inputs
    y = node.outputs[0]
    fields = {
        "y": y,
        "table": table,
        "index": index,
        "rows": numel(index.shape),
        "cols": numel(table.shape[1:]),
        "table_rows": table.shape[0],
        "itemsize": "itemsize",
    }
    how: dict[str, Any] = {"units": numel(index.shape), "local": (y, index), "by_rows": ((table, y),)}
    return [Step("gather", fields, (y,), (table, index), **how)]


def _scatter_lower(node: Any) -> list[Step]:
    dy, index = node.inputs
    y = node.outputs[0]
    fields = {
        "dtable": y,
        "dy": dy,
        "index": index,
        "rows": numel(index.shape),
        "cols": numel(y.shape[1:]),
        "table_rows": y.shape[0],
    }
    return [Step("scatter_add", fields, (y,), (dy, index), units=y.shape[0])]


GATHER: Op = Op(
    "gather",
    _gather_infer,
    lambda node, g: [apply(SCATTER_ADD, g, node.inputs[1], shape=node.inputs[0].shape), None],
    _gather_lower,
)
SCATTER_ADD: Op = Op(
    "scatter_add",
    lambda dy, index, *, shape: [(shape, "real")],
    lambda node, g: [apply(GATHER, g, node.inputs[1]), None],
    _scatter_lower,
)


def gather(table: Any, index: Any) -> Tensor:
    """Rows of a table: y[i] = table[index[i]], y of shape index.shape + table.shape[1:].

    index: integers in [0, rows), checked when the plan is run (LabelError). The gradient by the table adds up rows that
    were taken twice. Raises ShapeError, DTypeError for indices that are no integers.

    >>> hf.ops.gather([[1.0, 2.0], [3.0, 4.0]], np.array([1, 1, 0]))
    array([[3., 4.],
           [3., 4.],
           [1., 2.]])
    """
    return apply(GATHER, table, np.asarray(index) if is_whole(index) else index)


# ---- broadcasting ----
def broadcast_to(x: Any, shape: Sequence[Size]) -> Tensor:
    """x repeated to a shape by NumPy's rule. Raises ShapeError.

    >>> hf.ops.broadcast_to([1.0, 2.0], (2, 2))
    array([[1., 2.],
           [1., 2.]])
    """
    x = x if isinstance(x, Tensor) else operand(x)
    shape = as_shape(shape)
    if broadcast_shapes(tuple(x.shape), shape) != shape:
        raise ShapeError(f"can't broadcast {tuple(x.shape)} to {shape}")
    return x if tuple(x.shape) == shape and isinstance(x, Tensor) else apply(COPY, x, shape=shape)


# ---- sizes and integers ----
DIM_VALUE: Op = Op(
    "dim_value",
    lambda *, n: [((), "real")],
    None,
    lambda node: [single("dim_value", {"y": node.outputs[0], "n": node.attrs["n"]}, node.outputs, ())],
)


def size(n: Size) -> Tensor | float:
    """A size as a number inside the graph: the batch size is only known when the plan runs."""
    return apply(DIM_VALUE, n=n) if isinstance(n, Dim) else float(n)


def _to_real_lower(node: Any) -> list[Step]:
    x, y = node.inputs[0], node.outputs[0]
    rows = x.shape[0] if x.shape else 1
    fields = {"y": y, "x": x, "rows": rows, "elems": numel(x.shape[1:])}
    return [Step("int_to_real", fields, (y,), (x,), units=rows, local=(y, x))]


TO_REAL: Op = Op("to_real", lambda x: [(x.shape, "real")], lambda node, g: [None], _to_real_lower)


def to_real(x: Any) -> Tensor:
    """Integers as real numbers; real input is given back. Raises DTypeError.

    >>> hf.ops.to_real(np.array([1, 2]))
    array([1., 2.], dtype=float32)
    """
    graph = current_graph()
    if graph is not None:
        x = as_tensor(graph, x)
        if x.dtype == "real":
            return x
        if x.dtype == "mask":
            return mul(x, 1.0)
    else:
        x = as_array(x, "to_real")
        if x.dtype.kind not in "iu":
            return mul(x, 1.0)
    return apply(TO_REAL, x)
