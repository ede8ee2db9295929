"""Trace: calling a function with symbols records its primitive ops in the current ``Graph``."""

from __future__ import annotations

import contextlib
import contextvars
import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, HawfinchError, ShapeError, TraceError
from .graph import CONST, SCALAR, Graph, leaf, scalar
from .nodes import OPERATORS, Op, Tensor
from .sizes import Array

MOST_INT = 2**63 - 1

_current: contextvars.ContextVar[Graph | None] = contextvars.ContextVar("hawfinch_graph", default=None)


@contextlib.contextmanager
def tracing(graph: Graph) -> Iterator[Graph]:
    """Ops called inside record into ``graph``."""
    token = _current.set(graph)
    try:
        yield graph
    except TypeError as error:
        if "__array_ufunc__" in str(error):  # what NumPy says of an operand that is none of its own
            raise TraceError("NumPy's functions take no traced values: use operators and hf.ops instead") from error
        raise
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
    """``function(op, inputs, attrs, seed=0)``: how an op runs on arrays, outside of a trace."""
    _run_now[:] = [function]


def run_at_once(op: Op, inputs: tuple[Any, ...], attrs: dict[str, Any], seed: int) -> Any:
    """An op on arrays, outside of a trace, with a seed for its random numbers."""
    return _run_now[0](op, inputs, attrs, seed)


def current_graph() -> Graph | None:
    return _current.get()


def as_array(value: Any, name: str) -> Array:
    """value as an array of numbers of at most 8 bytes; name: how to call it in an error.

    Raises ShapeError for ragged lists, DTypeError for what is no real number, ArgumentError for masked values,
    TraceError for traced ones.
    """
    if isinstance(value, Tensor):
        raise TraceError(f"{name}: a traced value is used outside of the function that was traced; return it instead")
    try:
        array = np.asarray(value)
    except HawfinchError:
        raise
    except ValueError as error:
        raise ShapeError(f"{name}: not a regular array of numbers ({error})") from None
    except Exception as error:
        raise DTypeError(f"{name}: {type(value).__name__} can't be made an array ({error})") from error
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        given = "" if isinstance(value, np.ndarray) else f" of {type(value).__name__}"
        raise DTypeError(
            f"{name}: dtype {array.dtype}{given} is not supported; expected real numbers (float, int or bool)"
        )
    parts = value if isinstance(value, list | tuple) else (value,)
    if any([isinstance(v, np.ndarray) and np.any(getattr(v, "mask", False)) for v in parts]):
        raise ArgumentError(f"{name}: has masked values, which have no number; give them one with .filled(...)")
    if array.dtype == np.uint64 and array.size and array.max() > MOST_INT:
        raise DTypeError(f"{name}: holds integers beyond 2**63 - 1, which int64 can't; pass floats")
    return array


def as_number(value: Any) -> float:
    """A Python or NumPy number as a float."""
    try:
        return float(value)
    except OverflowError:
        raise ArgumentError(f"an integer of {len(str(abs(value)))} digits is too large for a float") from None


def operand(value: Any) -> Any:
    """What an op takes, as something that has a shape: a tensor in a trace, an array outside of one."""
    if isinstance(value, Tensor):
        return value
    graph = _current.get()
    return as_array(value, "hf.ops") if graph is None else as_tensor(graph, value)


def as_tensor(graph: Graph, value: Any) -> Tensor:
    """value as a tensor of the graph: a number known while tracing, or a constant (one tensor for one object)."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, int | float | np.floating | np.integer | np.bool_):
        return scalar(graph, as_number(value))
    known = graph.captured.get(id(value))
    if known is None:
        array = as_array(value, "hf.ops")
        if array.ndim == 0 and array.dtype.kind not in "iu":  # an index or a label stays an integer
            return scalar(graph, float(array))
        kept = array.astype(np.int64 if array.dtype.kind in "iu" else np.float64)
        known = graph.captured[id(value)] = (value, leaf(graph, CONST, kept))
    return known[1]


def apply(op: Op, *inputs: Any, **attrs: Any) -> Any:
    """Records op in the current graph; on plain arrays, outside of tracing, runs it at once.

    Gives the output tensor, or a tuple of them.
    """
    graph = _current.get()
    if graph is None:
        return _run_now[0](op, inputs, attrs)
    tensors = []
    numbers = op.fold is not None  # whether all inputs are numbers that are known already
    for v in inputs:
        t = v if isinstance(v, Tensor) else as_tensor(graph, v)
        if t.dtype == "int" and op.real_inputs:
            t = OPERATORS["to_real"](t)
        numbers = numbers and t.node.op is SCALAR
        tensors.append(t)
    if numbers and op.fold is not None:
        return scalar(graph, op.fold(*[t.node.attrs["value"] for t in tensors]))
    node = graph.add(op, tuple(tensors), attrs)
    return node.outputs[0] if len(node.outputs) == 1 else node.outputs
