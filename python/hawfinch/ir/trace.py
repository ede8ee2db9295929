"""Trace: calling a function with symbols records its primitive ops in the current ``Graph``."""

from __future__ import annotations

import contextlib
import contextvars
import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import DTypeError
from .graph import CONST, SCALAR, Graph, leaf, scalar
from .nodes import OPERATORS, Op, Tensor

_current: contextvars.ContextVar[Graph | None] = contextvars.ContextVar("hawfinch_graph", default=None)


@contextlib.contextmanager
def tracing(graph: Graph) -> Iterator[Graph]:
    """Ops called inside record into ``graph``."""
    token = _current.set(graph)
    try:
        yield graph
    finally:
        _current.reset(token)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No cyclic garbage collection inside: a graph of thousands of live objects would be scanned again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


_run_now: list[Callable[..., Any]] = []


def set_run_now(function: Callable[..., Any]) -> None:
    """``function(op, inputs, attrs)``: how an op runs on arrays, outside of a trace."""
    _run_now[:] = [function]


def current_graph() -> Graph | None:
    return _current.get()


def as_tensor(graph: Graph, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, int | float | np.floating | np.integer | np.bool_):
        return scalar(graph, float(value))
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise DTypeError(
            f"hf.ops takes numbers and arrays of numbers, got {type(value).__name__} of dtype {array.dtype}"
        )
    if array.ndim == 0:
        return scalar(graph, float(array))
    if id(value) not in graph.captured:
        kept = array.astype(np.int64) if array.dtype.kind in "iu" else array.astype(np.float64)
        graph.captured[id(value)] = (value, leaf(graph, CONST, kept))
    return graph.captured[id(value)][1]


def apply(op: Op, *inputs: Any, **attrs: Any) -> Any:
    """Records op in the current graph; on plain arrays, outside of tracing, runs it at once.

    Gives the output tensor, or a tuple of them.
    """
    graph = _current.get()
    if graph is None:
        return _run_now[0](op, inputs, attrs)
    tensors = tuple([as_tensor(graph, v) for v in inputs])
    if op.real_inputs:
        tensors = tuple([OPERATORS["to_real"](t) if t.dtype == "int" else t for t in tensors])
    if op.fold is not None and all([t.node.op is SCALAR for t in tensors]):
        return scalar(graph, op.fold(*[t.node.attrs["value"] for t in tensors]))
    node = graph.add(op, tensors, attrs)
    return node.outputs[0] if len(node.outputs) == 1 else node.outputs
