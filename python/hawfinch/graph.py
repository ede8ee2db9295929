"""Trace: calling a function with symbols records its primitive ops in a ``Graph``.

Design
(a) A graph is a list of nodes in the order of their creation, which is a topological order. Rejected: a pointer graph
    that every stage has to sort again.
(b) The batch size is a symbol in shapes (``Dim``), affine in one unknown, so a plan serves every batch size.
    Rejected: one trace per batch size, as JAX does: the short last batch of every epoch would be a second compilation.
(c) Equal nodes are recorded once (hash-consing): gradient rules may repeat themselves freely.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import gc
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .errors import DTypeError, ShapeError

Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]


class Dim:
    """A size that depends on the batch size B: ``per_row * B + fixed``."""

    __slots__ = ("fixed", "per_row")

    def __init__(self, per_row: int, fixed: int = 0):
        self.per_row, self.fixed = per_row, fixed

    def at(self, batch: int) -> int:
        return self.per_row * batch + self.fixed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and (self.per_row, self.fixed) == (other.per_row, other.fixed)

    def __hash__(self) -> int:
        return hash((self.per_row, self.fixed))

    def __add__(self, other: Size) -> Size:
        if isinstance(other, Dim):
            return dim(self.per_row + other.per_row, self.fixed + other.fixed)
        return Dim(self.per_row, self.fixed + other)

    __radd__ = __add__

    def __sub__(self, other: Size) -> Size:
        return self + (other * -1)

    def __mul__(self, other: int) -> Size:
        return dim(self.per_row * other, self.fixed * other)

    __rmul__ = __mul__

    def divided_by(self, n: int) -> Size:
        if n == 0 or self.per_row % n or self.fixed % n:
            raise ShapeError(f"{self} is not divisible by {n} for every batch size")
        return dim(self.per_row // n, self.fixed // n)

    def __repr__(self) -> str:
        text = "B" if self.per_row == 1 else f"{self.per_row}B"
        return text if self.fixed == 0 else f"{text}{self.fixed:+d}"


Size = int | Dim
Shape = tuple[Size, ...]
BATCH = Dim(1)


def dim(per_row: int, fixed: int) -> Size:
    return Dim(per_row, fixed) if per_row else fixed


def times(a: Size, b: Size) -> Size:
    """a * b; at most one of them may depend on the batch size."""
    if isinstance(a, int):
        return b * a
    if isinstance(b, int):
        return a * b
    raise ShapeError("a shape can't hold the square of the batch size")


def numel(shape: Sequence[Size]) -> Size:
    n: Size = shape[0] if shape else 1
    for s in shape[1:]:
        n = times(n, s)
    return n


def size_at(size: Size, batch: int) -> int:
    return size.at(batch) if isinstance(size, Dim) else size


class Op:
    """A primitive: the one place that says what it is.

    ``infer(*inputs, **attrs)`` gives (shape, dtype) of each output and raises ShapeError on bad input; ``grad(node,
    *g)`` gives the gradient of each input (None: not differentiable there); ``lower`` turns a node into steps (see
    steps.py). Elementwise ops have no ``lower``: fuse.py makes programs of them.
    """

    __slots__ = ("elementwise", "grad", "infer", "lower", "name")

    def __init__(
        self, name: str, infer: Callable[..., list[tuple[Shape, str]]],
        grad: Callable[..., Sequence[Tensor | None]] | None = None, lower: Callable[..., Any] | None = None,
        elementwise: bool = False,
    ):  # fmt: skip
        self.name, self.infer, self.grad, self.lower, self.elementwise = name, infer, grad, lower, elementwise


class Tensor:
    """A symbol: output ``index`` of ``node``. dtype is "real", "int" (int64) or "mask" (0 or 1, stored as real)."""

    __slots__ = ("dtype", "index", "node", "shape")
    __array_ufunc__ = None

    def __init__(self, node: Node, index: int, shape: Shape, dtype: str):
        self.node, self.index, self.shape, self.dtype = node, index, shape, dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def T(self) -> Tensor:
        """The transpose: all axes reversed."""
        return ops().transpose(self)

    def __repr__(self) -> str:
        return f"Tensor({self.node.op.name}, shape={self.shape}, dtype={self.dtype})"

    def __bool__(self) -> bool:
        raise TypeError("a traced value has no truth value: forward() is traced once per shape; use hf.ops.where")

    def __array__(self, *_: object, **__: object) -> Array:
        raise TypeError("a traced value is not an array: use hf.ops functions instead of numpy's inside forward()")

    def __len__(self) -> int:
        if not self.shape or isinstance(self.shape[0], Dim):
            raise TypeError("the batch size is not known while tracing")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        for i in range(len(self)):
            yield self[i]

    def __add__(self, o: Any) -> Tensor: return ops().add(self, o)  # fmt: skip

    def __radd__(self, o: Any) -> Tensor: return ops().add(o, self)  # fmt: skip

    def __sub__(self, o: Any) -> Tensor: return ops().sub(self, o)  # fmt: skip

    def __rsub__(self, o: Any) -> Tensor: return ops().sub(o, self)  # fmt: skip

    def __mul__(self, o: Any) -> Tensor: return ops().mul(self, o)  # fmt: skip

    def __rmul__(self, o: Any) -> Tensor: return ops().mul(o, self)  # fmt: skip

    def __truediv__(self, o: Any) -> Tensor: return ops().div(self, o)  # fmt: skip

    def __rtruediv__(self, o: Any) -> Tensor: return ops().div(o, self)  # fmt: skip

    def __pow__(self, o: Any) -> Tensor: return ops().pow(self, o)  # fmt: skip

    def __rpow__(self, o: Any) -> Tensor: return ops().pow(o, self)  # fmt: skip

    def __matmul__(self, o: Any) -> Tensor: return ops().matmul(self, o)  # fmt: skip

    def __rmatmul__(self, o: Any) -> Tensor: return ops().matmul(o, self)  # fmt: skip

    def __neg__(self) -> Tensor: return ops().neg(self)  # fmt: skip

    def __abs__(self) -> Tensor: return ops().abs(self)  # fmt: skip

    def __gt__(self, o: Any) -> Tensor: return ops().greater(self, o)  # fmt: skip

    def __ge__(self, o: Any) -> Tensor: return ops().greater_equal(self, o)  # fmt: skip

    def __lt__(self, o: Any) -> Tensor: return ops().less(self, o)  # fmt: skip

    def __le__(self, o: Any) -> Tensor: return ops().less_equal(self, o)  # fmt: skip

    def __getitem__(self, key: Any) -> Tensor: return ops().getitem(self, key)  # fmt: skip

    def reshape(self, *shape: Any) -> Tensor: return ops().reshape(self, *shape)  # fmt: skip

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return ops().sum(self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return ops().mean(self, axis, keepdims)


@functools.cache
def ops() -> Any:
    """The ops package, late: it imports this module."""
    from . import ops as module

    return module


class Node:
    """One primitive applied: ``outputs = op(inputs, **attrs)``. ``scope`` is the layer that it came from."""

    __slots__ = ("attrs", "index", "inputs", "op", "outputs", "scope")

    def __init__(
        self, op: Op, inputs: tuple[Tensor, ...], attrs: dict[str, Any], index: int, scope: str,
        like: Node | None = None,
    ):  # fmt: skip
        """like: a node whose outputs are of the same shapes and dtypes; by default they are inferred."""
        self.op, self.inputs, self.attrs, self.index, self.scope = op, inputs, attrs, index, scope
        if like is None:
            outputs = [Tensor(self, i, s, t) for i, (s, t) in enumerate(op.infer(*inputs, **attrs))]
        else:
            outputs = [Tensor(self, t.index, t.shape, t.dtype) for t in like.outputs]
        self.outputs: tuple[Tensor, ...] = tuple(outputs)


class Graph:
    """Nodes in topological order. ``training`` is what layers ask; ``updates`` are state tensors to write at the
    end."""

    def __init__(self, *, training: bool = False):
        self.nodes: list[Node] = []
        self.training = training
        self.scope = ""
        self.updates: list[tuple[Tensor, Tensor]] = []
        self.n_streams = 0
        self.captured: dict[
            int, tuple[Any, Tensor]
        ] = {}  # arrays met in the trace; held, so that their ids stay theirs
        self._seen: dict[Any, Node] = {}

    def __del__(self) -> None:
        for node in self._seen.values():  # nodes and their outputs would keep each other until a cyclic collection
            node.outputs = ()

    def add(self, op: Op, inputs: tuple[Tensor, ...], attrs: dict[str, Any], like: Node | None = None) -> Node:
        key = (op, inputs, *attrs.items())
        node = self._seen.get(key)
        if node is None:
            node = self._seen[key] = Node(op, inputs, attrs, len(self.nodes), self.scope, like)
            self.nodes.append(node)
        return node

    def new_stream(self) -> int:
        """A number for a new random mask."""
        self.n_streams += 1
        return self.n_streams


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


def current_graph() -> Graph | None:
    return _current.get()


class ById:
    """Wraps a value so that nodes are equal only for the same object."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ById) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


# Leaves. ``input``: one array per run; ``param`` and ``state``: a view of the model's buffers; ``const``: a captured
# array; ``scalar``: a number known while tracing.
INPUT = Op("input", lambda *, name, shape, dtype: [(shape, dtype)])
PARAM = Op("param", lambda *, ref: [(ref.value.shape, "real")])
STATE = Op("state", lambda *, ref: [(ref.value.shape, "real")])
CONST = Op("const", lambda *, ref: [(ref.value.shape, "int" if ref.value.dtype.kind in "iu" else "real")])
SCALAR = Op("scalar", lambda *, value, sign: [((), "real")])
REAL_ONLY = frozenset({"matmul", "reduce", "softmax", "moments", "normalize"})  # integers are converted first
LEAVES = frozenset({"input", "param", "state", "const", "scalar"})


def input_tensor(graph: Graph, name: str, shape: Shape, dtype: str = "real") -> Tensor:
    return graph.add(INPUT, (), {"name": name, "shape": shape, "dtype": dtype}).outputs[0]


def scalar(graph: Graph, value: float) -> Tensor:
    return graph.add(SCALAR, (), {"value": float(value), "sign": math.copysign(1.0, value)}).outputs[0]  # 0.0 == -0.0


def leaf(graph: Graph, op: Op, value: Any) -> Tensor:
    """A param, state or const tensor; the same object gives the same tensor."""
    return graph.add(op, (), {"ref": ById(value)}).outputs[0]


def scalar_value(t: Tensor) -> float | None:
    """The number that a scalar tensor stands for, None for every other tensor."""
    return t.node.attrs["value"] if t.node.op is SCALAR else None


# arithmetic on numbers known while tracing, as gradient rules do it
FOLDED: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: (
        a / b if b else math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1, b)
    ),
    "neg": lambda a: -a,
    "square": lambda a: a * a,
}


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
        from .compile import run_now

        return run_now(op, inputs, attrs)
    tensors = tuple([as_tensor(graph, v) for v in inputs])
    if op.elementwise or op.name in REAL_ONLY:
        tensors = tuple([ops().to_real(t) if t.dtype == "int" else t for t in tensors])
    if op.name in FOLDED and all(t.node.op is SCALAR for t in tensors):
        return scalar(graph, FOLDED[op.name](*[t.node.attrs["value"] for t in tensors]))
    node = graph.add(op, tensors, attrs)
    return node.outputs[0] if len(node.outputs) == 1 else node.outputs
