"""Ops, tensors and nodes.

Design: a ``Tensor`` has NumPy's operators, but nothing in ir/ knows an op; ops/ fills ``OPERATORS``, the table that
they look their functions up in. Rejected: importing ops inside each method: a circle of imports, a look-up per call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import TraceError
from .sizes import Array, Dim, Shape, Size, numel

OPERATORS: dict[str, Callable[..., Any]] = {}  # operator -> function of ops/


class Op:
    """A primitive: the one place that says what it is.

    ``infer(*inputs, **attrs)`` gives (shape, dtype) of each output and raises ShapeError on bad input.
    ``grad(node, *g)`` gives the gradient of each input (None: there is none) from those of the outputs (None: nothing
        came).
    ``decompose(*inputs, **attrs)`` gives the outputs, as a tuple, made of smaller ops. It is the gradient rule of an op
        that has no ``grad``, what an op without a kernel runs as, and the reference that a kernel is held against.
    ``lower(node)`` gives its steps (see steps.py). An elementwise op has none: it becomes an instruction of a program,
        named as the op is; ``swapped`` names the instruction whose first operand is a number.
    ``fold(*numbers)`` gives its result on numbers that are known while tracing.
    ``flops(node)`` counts its arithmetic, by default an operation per element of its first output.
    ``scratch``: bytes of workspace that its kernel asks of a thread.
    ``real_inputs``: integers are converted to real numbers first. ``is_leaf``: it has no inputs, its value is given.
    ``is_view``: the output is the input's memory. ``hosts_epilogue``: its kernel can run an elementwise program on what
        it has just computed.
    """

    __slots__ = (
        "_flops",
        "decompose",
        "elementwise",
        "fold",
        "grad",
        "hosts_epilogue",
        "infer",
        "is_leaf",
        "is_view",
        "lower",
        "name",
        "real_inputs",
        "scratch",
        "swapped",
    )

    def __init__(
        self,
        name: str,
        infer: Callable[..., list[tuple[Shape, str]]],
        grad: Callable[..., Sequence[Tensor | None]] | None = None,
        lower: Callable[..., Any] | None = None,
        *,
        decompose: Callable[..., tuple[Any, ...]] | None = None,
        elementwise: bool = False,
        swapped: str | None = None,
        fold: Callable[..., float] | None = None,
        flops: Callable[[Node], Size] | None = None,
        scratch: int = 0,
        real_inputs: bool = False,
        is_leaf: bool = False,
        is_view: bool = False,
        hosts_epilogue: bool = False,
    ):
        self.name, self.infer, self.grad, self.lower, self.decompose = name, infer, grad, lower, decompose
        self.elementwise, self.swapped, self.fold, self._flops, self.scratch = (
            elementwise,
            swapped,
            fold,
            flops,
            scratch,
        )
        self.real_inputs, self.is_leaf, self.is_view = real_inputs or elementwise, is_leaf, is_view
        self.hosts_epilogue = hosts_epilogue

    def flops(self, node: Node) -> Size:
        return numel(node.outputs[0].shape) if self._flops is None else self._flops(node)

    def __repr__(self) -> str:
        return f"Op({self.name})"


class Tensor:
    """A symbol: output ``index`` of ``node``. dtype is "real", "int" (int64) or "mask" (0 or 1, stored as real).
    view_of: the tensor whose memory this is, None where it has its own."""

    __slots__ = ("dtype", "index", "node", "shape", "view_of")
    __array_ufunc__ = None
    node: Node
    index: int
    shape: Shape
    dtype: str
    view_of: Tensor | None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def name(self) -> str:
        """How listings call it: %number of the node, .index where that has several outputs."""
        return f"%{self.node.index}" + (f".{self.index}" if len(self.node.outputs) > 1 else "")

    @property
    def T(self) -> Tensor:
        """The transpose: all axes reversed."""
        return OPERATORS["transpose"](self)

    def __repr__(self) -> str:
        return f"Tensor({self.node.op.name}, shape={self.shape}, dtype={self.dtype})"

    def __bool__(self) -> bool:
        raise TraceError("a traced value has no truth value: forward() is traced once per shape; use hf.ops.where")

    def __array__(self, *_: object, **__: object) -> Array:
        raise TraceError("a traced value is not an array: use hf.ops functions instead of numpy's inside forward()")

    def __float__(self) -> float:
        raise TraceError("a traced value is no number yet: its function is traced once, then run on arrays")

    __int__: Any = __float__

    def __len__(self) -> int:
        if not self.shape or isinstance(self.shape[0], Dim):
            raise TraceError("the batch size is not known while tracing")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        for i in range(len(self)):
            yield self[i]

    def __add__(self, o: Any) -> Tensor:
        return OPERATORS["add"](self, o)

    def __radd__(self, o: Any) -> Tensor:
        return OPERATORS["add"](o, self)

    def __sub__(self, o: Any) -> Tensor:
        return OPERATORS["sub"](self, o)

    def __rsub__(self, o: Any) -> Tensor:
        return OPERATORS["sub"](o, self)

    def __mul__(self, o: Any) -> Tensor:
        return OPERATORS["mul"](self, o)

    def __rmul__(self, o: Any) -> Tensor:
        return OPERATORS["mul"](o, self)

    def __truediv__(self, o: Any) -> Tensor:
        return OPERATORS["div"](self, o)

    def __rtruediv__(self, o: Any) -> Tensor:
        return OPERATORS["div"](o, self)

    def __pow__(self, o: Any) -> Tensor:
        return OPERATORS["pow"](self, o)

    def __rpow__(self, o: Any) -> Tensor:
        return OPERATORS["pow"](o, self)

    def __matmul__(self, o: Any) -> Tensor:
        return OPERATORS["matmul"](self, o)

    def __rmatmul__(self, o: Any) -> Tensor:
        return OPERATORS["matmul"](o, self)

    def __neg__(self) -> Tensor:
        return OPERATORS["neg"](self)

    def __abs__(self) -> Tensor:
        return OPERATORS["abs"](self)

    def __gt__(self, o: Any) -> Tensor:
        return OPERATORS["greater"](self, o)

    def __ge__(self, o: Any) -> Tensor:
        return OPERATORS["greater_equal"](self, o)

    def __lt__(self, o: Any) -> Tensor:
        return OPERATORS["less"](self, o)

    def __le__(self, o: Any) -> Tensor:
        return OPERATORS["less_equal"](self, o)

    # As tensors are keys, equal means the same object there: tuples and dicts look at that first.
    __hash__ = object.__hash__

    def __eq__(self, o: object) -> Any:
        return OPERATORS["equal"](self, o)

    def __ne__(self, o: object) -> Any:
        return OPERATORS["not_equal"](self, o)

    def __getitem__(self, key: Any) -> Tensor:
        return OPERATORS["getitem"](self, key)

    def reshape(self, *shape: Any) -> Tensor:
        return OPERATORS["reshape"](self, *shape)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return OPERATORS["sum"](self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return OPERATORS["mean"](self, axis, keepdims)


class Node:
    """One primitive applied: ``outputs = op(inputs, **attrs)``. ``scope`` is the layer that it came from. Made by
    ``Graph.add`` alone."""

    __slots__ = ("attrs", "index", "inputs", "op", "outputs", "scope")

    op: Op
    inputs: tuple[Tensor, ...]
    attrs: dict[str, Any]
    index: int
    scope: str
    outputs: tuple[Tensor, ...]

    def show(self) -> str:
        """One line: name, op, inputs, attributes, shapes, scope."""
        inputs = [repr(t.node.attrs["value"]) if "value" in t.node.attrs else t.name for t in self.inputs]
        attrs = [f"{k}={v}" for k, v in self.attrs.items() if k not in ("ref", "sign")]
        shapes = ", ".join([f"{t.dtype}({', '.join(map(str, t.shape))})" for t in self.outputs])
        call = f"%{self.index} = {self.op.name}({', '.join(inputs + attrs)})"
        return f"  {call:<60} {shapes}  {self.scope}".rstrip()
