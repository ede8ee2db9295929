"""The hot kernels as plain functions on NumPy arrays, for embedding and for benchmarks.

Design: each is a one-op plan from the same road as a model, cached per shape; there is no second way into C. float64
arrays run in float64, anything else in float32. ``out``: a C-contiguous array of the result's shape and dtype, which
is written and given back. ``threads``: default None chooses by cost; the bits are the same for any number.
Rejected: a hand-written wrapper per kernel (they drift apart: a second place for every shape rule).

>>> import numpy as np
>>> from hawfinch import kernels
>>> kernels.softmax(np.array([[0.0, 0.0]]))
array([[0.5, 0.5]])
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ops
from .compiler.autodiff import gradients, pull
from .errors import ShapeError
from .function import Function
from .ir import Array, Graph, as_array, current_graph
from .ops.elementwise import flag, setting
from .ops.matmul import check_precision
from .values import names_of

__all__ = [
    "batch_norm",
    "batch_norm_grad",
    "gather",
    "layer_norm",
    "layer_norm_grad",
    "log_softmax",
    "matmul",
    "relu",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_grad",
]


@functools.lru_cache(maxsize=64)
def _function(make: Callable[..., Any], *settings: float | str) -> Function:
    return Function(functools.partial(make, *settings) if settings else make, nested=False)


def _matmul(precision: str, x: Any, w: Any, b: Any = None) -> Any:
    y = ops.matmul(x, w, precision=precision)
    return y if b is None else y + b


# _function's lookup would take a third of a small call
_MATMUL = Function(functools.partial(_matmul, "f32"), nested=False)


def matmul(
    x: Any, w: Any, bias: Any = None, *, precision: str = "f32", out: Array | None = None, threads: int | None = None
) -> Array:
    """x (..., k) @ w (k, n) + bias (n,); precision: see ``hf.ops.matmul``; "bf16" makes everything float32 first.

    Raises ShapeError, ArgumentError.

    >>> hf.kernels.matmul([[1.0, 2.0]], [[1.0], [1.0]], [0.5])
    array([[3.5]])
    """
    arrays: tuple[Any, ...] = (x, w) if bias is None else (x, w, bias)
    if isinstance(precision, str) and precision == "f32":
        return _MATMUL.run(arrays, out, threads)
    check_precision(precision)
    arrays = tuple([as_array(a, "matmul").astype(np.float32, copy=False) for a in arrays])
    return _function(_matmul, precision).run(arrays, out, threads)


def relu(x: Any, *, out: Array | None = None, threads: int | None = None) -> Array:
    """max(x, 0), of any shape.

    >>> hf.kernels.relu([-1.0, 2.0])
    array([0., 2.])
    """
    return _function(ops.relu).run((x,), out, threads)


def softmax(x: Any, *, out: Array | None = None, threads: int | None = None) -> Array:
    """exp(x) / sum(exp(x)) over the last axis. Raises ShapeError.

    >>> hf.kernels.softmax([1e4, 1e4])
    array([0.5, 0.5])
    """
    return _function(ops.softmax).run((x,), out, threads)


def log_softmax(x: Any, *, out: Array | None = None, threads: int | None = None) -> Array:
    """x - log(sum(exp(x))) over the last axis. Raises ShapeError.

    >>> hf.kernels.log_softmax([1e4, 1e4])
    array([-0.69314718, -0.69314718])
    """
    return _function(ops.log_softmax).run((x,), out, threads)


def _batch_norm(eps: float, x: Any, gamma: Any, beta: Any) -> Any:
    return ops.batch_norm(x, gamma, beta, eps)


def batch_norm(
    x: Any, gamma: Any, beta: Any, eps: float = 1e-5, *, threads: int | None = None
) -> tuple[Array, Array, Array]:
    """(y, mean (C,), biased variance (C,)) of x (..., C) normalised over all axes but the last.

    gamma, beta: (C,). Raises ShapeError.

    >>> y, mean, var = hf.kernels.batch_norm([[1.0], [3.0]], [1.0], [0.0], eps=0.0)
    >>> y.ravel(), mean, var
    (array([-1.,  1.]), array([2.]), array([1.]))
    """
    return _function(_batch_norm, eps if type(eps) is float else setting("eps", eps)).run(
        (x, gamma, beta), None, threads
    )


def _batch_norm_grad(eps: float, relu: bool, dy: Any, x: Any, gamma: Any, beta: Any) -> Any:
    y = ops.batch_norm(x, gamma, beta, eps)[0]
    y = ops.relu(y) if relu else y
    return y, *_pull(y, dy, (x, gamma, beta))


def batch_norm_grad(
    dy: Any,
    x: Any,
    gamma: Any,
    beta: Any,
    eps: float = 1e-5,
    *,
    relu: bool = False,
    out: tuple[Array, ...] | None = None,
    threads: int | None = None,
) -> tuple[Array, Array, Array, Array]:
    """(y, dx, dgamma, dbeta): batch norm of x (..., C), then max(y, 0) if ``relu``, and the gradients, given that of y.

    dy (..., C): the gradient of y. Forward and backward in one call. Raises ShapeError.

    >>> import numpy as np
    >>> from hawfinch import kernels
    >>> x, ones, zeros = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> y, dx, dgamma, dbeta = kernels.batch_norm_grad(np.array([[1.0], [2.0]]), x, ones, zeros, eps=0.0)
    >>> y.ravel(), dx.ravel(), dgamma, dbeta
    (array([-1.,  1.]), array([0., 0.]), array([1.]), array([3.]))
    """
    return _function(_batch_norm_grad, eps if type(eps) is float else setting("eps", eps), flag("relu", relu)).run(
        (dy, x, gamma, beta), out, threads
    )


def _layer_norm_grad(eps: float, dy: Any, x: Any, gamma: Any, beta: Any) -> Any:
    y = ops.layer_norm(x, gamma, beta, eps)
    return y, *_pull(y, dy, (x, gamma, beta))


def layer_norm_grad(
    dy: Any,
    x: Any,
    gamma: Any,
    beta: Any,
    eps: float = 1e-5,
    *,
    out: tuple[Array, ...] | None = None,
    threads: int | None = None,
) -> tuple[Array, Array, Array, Array]:
    """(y, dx, dgamma, dbeta): layer norm of x (..., C) and its gradients, given dy (..., C), that of y.

    Raises ShapeError.

    >>> y, dx, dgamma, dbeta = hf.kernels.layer_norm_grad([[1.0, 2.0]], [[1.0, 3.0]], [1.0, 1.0], [0.0, 0.0], eps=0.0)
    >>> dx, dgamma, dbeta
    (array([[0., 0.]]), array([-1.,  2.]), array([1., 2.]))
    """
    return _function(_layer_norm_grad, eps if type(eps) is float else setting("eps", eps)).run(
        (dy, x, gamma, beta), out, threads
    )


def _layer_norm(eps: float, x: Any, gamma: Any, beta: Any) -> Any:
    return ops.layer_norm(x, gamma, beta, eps)


def layer_norm(
    x: Any, gamma: Any, beta: Any, eps: float = 1e-5, *, out: Array | None = None, threads: int | None = None
) -> Array:
    """x (..., C) normalised over its last axis, * gamma + beta, each (C,). Raises ShapeError.

    >>> hf.kernels.layer_norm([[1.0, 3.0]], [1.0, 1.0], [0.0, 0.0], eps=0.0)
    array([[-1.,  1.]])
    """
    return _function(_layer_norm, eps if type(eps) is float else setting("eps", eps)).run(
        (x, gamma, beta), out, threads
    )


def _cross_entropy(smoothing: float, x: Any, t: Any) -> Any:
    return ops.softmax_cross_entropy(x, t, smoothing)


def softmax_cross_entropy(
    logits: Any, target: Any, label_smoothing: float = 0.0, *, out: Array | None = None, threads: int | None = None
) -> Array:
    """Loss of each row (rows,): logits (rows, classes), integer labels (rows,) or probabilities (rows, classes).

    Raises ShapeError, ArgumentError, LabelError.

    >>> hf.kernels.softmax_cross_entropy([[0.0, 0.0]], [1])
    array([0.69314718])
    """
    smoothing = label_smoothing if type(label_smoothing) is float else setting("label_smoothing", label_smoothing)
    return _function(_cross_entropy, smoothing).run((logits, target), out, threads)


def _graph() -> Graph:
    graph = current_graph()
    assert graph is not None
    return graph


def _pull(y: Any, dy: Any, by: Sequence[Any]) -> list[Any]:
    """Gradients of sum(y * dy), dy held fixed: what dy is when it reaches ``by``."""
    if y.shape != dy.shape:
        raise ShapeError(f"dy must have the shape of the result, {y.shape}; got {dy.shape}")
    return list(pull(_graph(), [y], [ops.to_real(dy)], list(by)))


def _cross_entropy_grad(smoothing: float, x: Any, t: Any) -> Any:
    rows = ops.softmax_cross_entropy(x, t, smoothing)
    loss = ops.mean(rows)
    return loss, gradients(_graph(), loss, [x])[0]


def softmax_cross_entropy_grad(
    logits: Any, target: Any, label_smoothing: float = 0.0, *, threads: int | None = None
) -> tuple[Any, Array]:
    """(mean loss, its gradient by the logits), in one pass over them; arguments as in ``softmax_cross_entropy``.

    >>> hf.kernels.softmax_cross_entropy_grad([[0.0, 0.0]], [1])
    (np.float64(0.6931471805599453), array([[ 0.5, -0.5]]))
    """
    smoothing = label_smoothing if type(label_smoothing) is float else setting("label_smoothing", label_smoothing)
    return _function(_cross_entropy_grad, smoothing).run((logits, target), None, threads)


def gather(table: Any, index: Any, *, out: Array | None = None, threads: int | None = None) -> Array:
    """table[index] for integer indices in [0, rows). Raises LabelError for others, DTypeError for real ones.

    >>> hf.kernels.gather([[1.0], [2.0]], [1, 0])
    array([[2.],
           [1.]])
    """
    return _function(ops.gather).run((table, index), out, threads)


def __dir__() -> list[str]:
    return names_of(globals())
